/* SPDX-License-Identifier: Apache-2.0 */
#include "host/telemetry/traces.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/telemetry/traces_post.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"

#define NS_PER_MS      UINT64_C(1000000)
#define NS_PER_S       UINT64_C(1000000000)
#define BACKOFF_MAX_MS 30000u

struct thaw_traces {
	struct thaw_traces_config config;
	char *region;
	struct traces_post *post; /* the thread's own */
	bool failing;             /* the last batch did; the thread's own */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool ending;
	uint64_t flush_end_ns; /* once it is ending */
	struct thaw_traces_counts counts;
	/* A ring. */
	struct thaw_trace *line;
	struct thaw_trace *batch; /* the thread's own: what it has taken */
	uint32_t first, count;
	size_t spans;      /* of those in line */
	uint64_t since_ns; /* the oldest of them came at about this time */
};

/* --- the line --- */

void thaw_traces_add(struct thaw_traces *traces, const struct thaw_trace *trace)
{
	size_t spans = thaw_trace_spans(trace);

	pthread_mutex_lock(&traces->lock);
	if (traces->count == traces->config.line) {
		traces->counts.dropped += spans;
	} else {
		traces->line[(traces->first + traces->count) % traces->config.line] = *trace;
		size_t before = traces->spans;
		traces->spans += spans;
		/* The thread is woken for a first one, whose clock begins to run, and for a whole
		 * batch. */
		if (traces->count++ == 0)
			traces->since_ns = thaw_monotonic_ns();
		if (before == 0 || (before < traces->config.batch_spans &&
				    traces->spans >= traces->config.batch_spans))
			pthread_cond_signal(&traces->wake);
	}
	pthread_mutex_unlock(&traces->lock);
}

/* Takes as many invocations as a batch may have spans, or one. */
static size_t line_take(struct thaw_traces *traces, size_t *spans)
{
	size_t count = 0;

	*spans = 0;
	while (traces->count) {
		const struct thaw_trace *trace = &traces->line[traces->first];
		size_t more = thaw_trace_spans(trace);
		if (count && *spans + more > traces->config.batch_spans)
			break;
		traces->batch[count++] = *trace;
		*spans += more;
		traces->first = (traces->first + 1) % traces->config.line;
		traces->count--;
	}
	traces->spans -= *spans;
	traces->since_ns = thaw_monotonic_ns();
	return count;
}

void thaw_traces_count(struct thaw_traces *traces, struct thaw_traces_counts *counts)
{
	pthread_mutex_lock(&traces->lock);
	*counts = traces->counts;
	pthread_mutex_unlock(&traces->lock);
}

/* --- the thread --- */

static void wait_until(struct thaw_traces *traces, uint64_t ns)
{
	struct timespec until = {.tv_sec = (time_t)(ns / NS_PER_S),
				 .tv_nsec = (long)(ns % NS_PER_S)};

	pthread_cond_timedwait(&traces->wake, &traces->lock, &until);
}

/* With the lock held. */
static void wait_for_batch(struct thaw_traces *traces)
{
	const struct thaw_traces_config *config = &traces->config;

	while (!traces->ending && traces->spans < config->batch_spans) {
		uint64_t due = traces->since_ns + config->batch_ms * NS_PER_MS;
		if (!traces->count)
			pthread_cond_wait(&traces->wake, &traces->lock);
		else if (thaw_monotonic_ns() < due)
			wait_until(traces, due);
		else
			break;
	}
}

/* Between two tries. The end cuts it short, once; false: there is no time for another. */
static bool pause_for(struct thaw_traces *traces, uint64_t ms)
{
	uint64_t end = thaw_monotonic_ns() + ms * NS_PER_MS;

	pthread_mutex_lock(&traces->lock);
	bool ending = traces->ending;
	bool good = !ending || end < traces->flush_end_ns;
	while (good && traces->ending == ending && thaw_monotonic_ns() < end)
		wait_until(traces, end);
	pthread_mutex_unlock(&traces->lock);
	return good;
}

/* Several hosts must not come back at the same moment: a quarter more, by chance. */
static uint64_t backoff_ms(const struct thaw_traces *traces, uint32_t tries)
{
	uint64_t ms = (uint64_t)traces->config.backoff_ms << (tries < 16 ? tries - 1 : 15);

	if (ms > BACKOFF_MAX_MS)
		ms = BACKOFF_MAX_MS;
	return ms + thaw_monotonic_ns() / 1000 % (ms / 4 + 1);
}

static void batch_send(struct thaw_traces *traces, const char *body, size_t size,
		       struct traces_post_outcome *outcome)
{
	for (uint32_t tries = 1;; tries++) {
		traces_post_send(traces->post, body, size, outcome);
		if (outcome->result != TRACES_POST_AGAIN || tries >= traces->config.tries ||
		    !pause_for(traces, outcome->retry_after_ms ?: backoff_ms(traces, tries)))
			return;
	}
}

/* Told when it begins and when it is over, not for each batch. */
static void batch_tell(struct thaw_traces *traces, const struct traces_post_outcome *outcome)
{
	bool failing = outcome->result != TRACES_POST_DONE;

	if (failing && !traces->failing)
		thaw_log(THAW_LOG_WARN, "traces are lost: the collector: %s", outcome->why);
	else if (!failing && traces->failing)
		thaw_log(THAW_LOG_INFO, "the collector takes traces again");
	traces->failing = failing;
}

static void batch_post(struct thaw_traces *traces, size_t count, size_t spans)
{
	struct traces_post_outcome outcome = {.result = TRACES_POST_REFUSED,
					      .why = "no memory left"};
	char *body = NULL;
	size_t size = 0;

	FILE *out = open_memstream(&body, &size);
	bool good = out && thaw_traces_write(out, traces->region,
					     (int64_t)(thaw_realtime_ns() - thaw_monotonic_ns()),
					     traces->batch, count);
	good = out && fclose(out) == 0 && good;
	if (good)
		batch_send(traces, body, size, &outcome);
	free(body);
	batch_tell(traces, &outcome);
	uint64_t lost = outcome.result != TRACES_POST_DONE ? spans
			: outcome.rejected < spans         ? outcome.rejected
							   : spans;
	pthread_mutex_lock(&traces->lock);
	traces->counts.exported += spans - lost;
	traces->counts.failed += lost;
	pthread_mutex_unlock(&traces->lock);
}

static void *traces_thread(void *opaque)
{
	struct thaw_traces *traces = opaque;
	size_t spans;

	pthread_mutex_lock(&traces->lock);
	for (;;) {
		wait_for_batch(traces);
		if (!traces->count ||
		    (traces->ending && thaw_monotonic_ns() >= traces->flush_end_ns))
			break;
		size_t count = line_take(traces, &spans);
		pthread_mutex_unlock(&traces->lock);
		batch_post(traces, count, spans);
		pthread_mutex_lock(&traces->lock);
	}
	traces->counts.dropped += traces->spans;
	pthread_mutex_unlock(&traces->lock);
	return NULL;
}

/* --- beginning and end --- */

static void default_to(uint32_t *number, uint32_t value)
{
	if (!*number)
		*number = value;
}

static void traces_release(struct thaw_traces *traces)
{
	traces_post_free(traces->post);
	free(traces->region);
	free(traces->line);
	free(traces->batch);
	free(traces);
}

static int traces_begin(struct thaw_traces *traces)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&traces->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&traces->wake, &attr);
	pthread_condattr_destroy(&attr);
	return pthread_create(&traces->thread, NULL, traces_thread, traces);
}

struct thaw_traces *thaw_traces_new(const struct thaw_traces_config *config, struct thaw_error *err)
{
	if (!thaw_traces_url_valid(config->url)) {
		thaw_error_set(err, EINVAL, "\"%s\" is no URL of http or https", config->url);
		return NULL;
	}
	struct thaw_traces *traces = calloc(1, sizeof(*traces));
	int rc = traces ? 0 : ENOMEM;
	if (rc == 0) {
		traces->config = *config;
		default_to(&traces->config.line, 2048);
		default_to(&traces->config.batch_spans, 512);
		default_to(&traces->config.batch_ms, 1000);
		default_to(&traces->config.timeout_ms, 10000);
		default_to(&traces->config.backoff_ms, 1000);
		default_to(&traces->config.tries, 5);
		default_to(&traces->config.flush_ms, 2000);
		traces->region = strdup(config->region);
		traces->line = calloc(traces->config.line, sizeof(*traces->line));
		traces->batch = calloc(traces->config.batch_spans, sizeof(*traces->batch));
		traces->post = traces_post_new(config->url, traces->config.timeout_ms, NULL);
		rc = traces->region && traces->line && traces->batch && traces->post ? 0 : ENOMEM;
	}
	if (rc == 0)
		rc = traces_begin(traces);
	if (rc == 0)
		return traces;
	if (traces)
		traces_release(traces);
	thaw_error_errno(err, rc, "starting what posts traces");
	return NULL;
}

void thaw_traces_free(struct thaw_traces *traces)
{
	if (!traces)
		return;
	uint64_t end_ns = thaw_monotonic_ns() + traces->config.flush_ms * NS_PER_MS;
	pthread_mutex_lock(&traces->lock);
	traces->ending = true;
	traces->flush_end_ns = end_ns;
	pthread_cond_signal(&traces->wake);
	pthread_mutex_unlock(&traces->lock);
	traces_post_hurry(traces->post, end_ns);
	pthread_join(traces->thread, NULL);
	if (traces->counts.dropped || traces->counts.failed)
		thaw_log(THAW_LOG_WARN, "of the spans of traces %llu were dropped, %llu failed",
			 (unsigned long long)traces->counts.dropped,
			 (unsigned long long)traces->counts.failed);
	pthread_cond_destroy(&traces->wake);
	pthread_mutex_destroy(&traces->lock);
	traces_release(traces);
}
