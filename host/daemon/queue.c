/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/queue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "host/daemon/queue_internal.h"
#include "lib/clock.h"
#include "lib/log.h"

#define AGE_MS 21600000 /* what an event may age without a configuration */

/* --- times and counts --- */

int64_t queue_now_ms(void)
{
	return (int64_t)(thaw_realtime_ns() / 1000000);
}

int64_t queue_scaled(const struct thaw_queue *queue, int64_t ms)
{
	return (int64_t)((double)ms * queue->service->config->retry_scale);
}

int64_t queue_backoff(const struct thaw_queue *queue, int64_t backoffs, int64_t base_ms, int factor,
		      int64_t max_ms)
{
	int64_t wait = base_ms;
	uint32_t chance = 0;

	while (backoffs-- > 0 && wait < max_ms)
		wait *= factor;
	if (wait > max_ms)
		wait = max_ms;
	/* All that were refused together must not come back together. */
	(void)!getrandom(&chance, sizeof(chance), GRND_NONBLOCK);
	wait -= (int64_t)((double)wait / 2 * chance / UINT32_MAX);
	return queue_scaled(queue, wait);
}

void queue_note(struct thaw_queue *queue, enum thaw_queue_what what, const char *account,
		int64_t function_id, const char *name, int64_t received_ms)
{
	struct thaw_queue_note note = {.what = what,
				       .account = account,
				       .name = name,
				       .function_id = function_id,
				       .age_ms = queue_now_ms() - received_ms};

	pthread_mutex_lock(&queue->lock);
	queue->what[what]++;
	if (queue->note)
		queue->note(queue->note_opaque, &note);
	pthread_mutex_unlock(&queue->lock);
}

void queue_note_job(struct queue_job *job, enum thaw_queue_what what)
{
	queue_note(job->queue, what, job->event.account, job->event.function_id, job->name,
		   job->event.received_ms);
}

void thaw_queue_observe(struct thaw_queue *queue,
			void (*note)(void *opaque, const struct thaw_queue_note *note),
			void *opaque)
{
	pthread_mutex_lock(&queue->lock);
	queue->note = note;
	queue->note_opaque = opaque;
	pthread_mutex_unlock(&queue->lock);
}

unsigned int queue_under_way(const struct thaw_queue *queue)
{
	unsigned int count = 0;

	for (size_t i = 0; i < THAW_QUEUE_SLOTS; i++)
		count += queue->jobs[i] != NULL;
	return count;
}

int thaw_queue_count(struct thaw_queue *queue, struct thaw_queue_counts *counts,
		     struct thaw_error *err)
{
	struct thaw_events_count stored;

	int rc = thaw_events_count(queue->service->store, 0, &stored, err);
	if (rc < 0)
		return rc;
	*counts = (struct thaw_queue_counts){.waiting = stored.waiting};
	if (stored.oldest_ms != THAW_STORE_UNSET)
		counts->oldest_ms = queue_now_ms() - stored.oldest_ms;
	pthread_mutex_lock(&queue->lock);
	memcpy(counts->what, queue->what, sizeof(counts->what));
	counts->under_way = queue_under_way(queue);
	pthread_mutex_unlock(&queue->lock);
	return 0;
}

void queue_until(struct timespec *at, int64_t ms)
{
	uint64_t ns = thaw_monotonic_ns() + (uint64_t)ms * 1000000;

	at->tv_sec = (time_t)(ns / 1000000000);
	at->tv_nsec = (long)(ns % 1000000000);
}

/* --- accepting --- */

int queue_config_get(struct thaw_queue *queue, int64_t function_id, const char *qualifier,
		     struct thaw_event_config *config, struct thaw_error *err)
{
	struct thaw_store *store = queue->service->store;

	int rc = thaw_event_configs_get(store, function_id, qualifier, config, err);
	if (rc == -ENOENT && strcmp(qualifier, "$LATEST") == 0)
		rc = thaw_event_configs_get(store, function_id, "", config, err);
	if (rc != -ENOENT)
		return rc;
	*config = (struct thaw_event_config){.maximum_retries = THAW_STORE_UNSET,
					     .maximum_age_s = THAW_STORE_UNSET};
	return 0;
}

static int queue_deadline(struct thaw_queue *queue, int64_t function_id, const char *qualifier,
			  int64_t now_ms, int64_t *deadline_ms, struct thaw_error *err)
{
	struct thaw_event_config config;

	int rc = queue_config_get(queue, function_id, qualifier, &config, err);
	if (rc < 0)
		return rc;
	int64_t age_ms =
		config.maximum_age_s == THAW_STORE_UNSET ? AGE_MS : config.maximum_age_s * 1000;
	*deadline_ms = now_ms + queue_scaled(queue, age_ms);
	thaw_event_config_clear(&config);
	return 0;
}

int queue_enqueue(struct thaw_queue *queue, const struct thaw_queue_event *event,
		  const struct queue_context *context, struct thaw_error *err)
{
	const char *qualifier =
		event->qualifier && *event->qualifier ? event->qualifier : "$LATEST";
	int64_t now_ms = queue_now_ms();
	struct thaw_event row = {
		.id = (char *)event->request_id,
		.account = (char *)event->account,
		.function_id = event->function_id,
		.qualifier = (char *)qualifier,
		.received_ms = now_ms,
		.due_ms = now_ms,
		.payload = {.data = (uint8_t *)event->payload, .size = event->payload_size},
	};

	int rc =
		queue_deadline(queue, event->function_id, qualifier, now_ms, &row.deadline_ms, err);
	if (rc == 0)
		rc = queue_context_text(context, &row.context, err);
	if (rc == 0)
		rc = thaw_events_enqueue(queue->service->store, &row, err);
	free(row.context);
	return rc;
}

int thaw_queue_put(struct thaw_queue *queue, const struct thaw_queue_event *event,
		   struct thaw_error *err)
{
	struct queue_context context = {.trace = (char *)event->trace_id,
					.client = (char *)event->client_context};

	int rc = queue_enqueue(queue, event, &context, err);
	if (rc < 0)
		return rc;
	queue_note(queue, THAW_QUEUE_RECEIVED, event->account, event->function_id, event->name,
		   queue_now_ms());
	thaw_queue_wake(queue);
	return 0;
}

void thaw_queue_wake(struct thaw_queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->woken = true;
	pthread_cond_signal(&queue->wake);
	pthread_mutex_unlock(&queue->lock);
}

/* --- jobs --- */

/* Drops a reference, with the lock held, and gives it up. */
static void queue_unref(struct thaw_queue *queue)
{
	bool last = --queue->references == 0;

	pthread_mutex_unlock(&queue->lock);
	if (!last)
		return;
	pthread_mutex_destroy(&queue->lock);
	pthread_cond_destroy(&queue->wake);
	pthread_cond_destroy(&queue->less);
	free(queue);
}

static void job_free(struct queue_job *job)
{
	thaw_event_clear(&job->event);
	queue_context_clear(&job->context);
	free(job);
}

struct queue_job *queue_job_new(struct thaw_queue *queue, struct thaw_event *event,
				const char *name)
{
	struct queue_job *job = calloc(1, sizeof(*job));

	if (!job || queue_context_read(&job->context, event->context, NULL) < 0) {
		free(job);
		return NULL;
	}
	job->queue = queue;
	job->event = *event;
	snprintf(job->name, sizeof(job->name), "%s", name);
	pthread_mutex_lock(&queue->lock);
	while (queue->jobs[job->slot])
		job->slot++;
	queue->jobs[job->slot] = job;
	queue->references++;
	pthread_mutex_unlock(&queue->lock);
	return job;
}

bool queue_job_begin(struct queue_job *job)
{
	struct thaw_queue *queue = job->queue;

	pthread_mutex_lock(&queue->lock);
	if (!queue->closed) {
		queue->settling++;
		pthread_mutex_unlock(&queue->lock);
		return true;
	}
	job_free(job);
	queue_unref(queue);
	return false;
}

void queue_job_end(struct queue_job *job)
{
	struct thaw_queue *queue = job->queue;

	pthread_mutex_lock(&queue->lock);
	queue->settling--;
	queue->jobs[job->slot] = NULL;
	queue->woken = true;
	pthread_cond_signal(&queue->wake);
	pthread_cond_broadcast(&queue->less);
	job_free(job);
	queue_unref(queue);
}

void queue_job_put_back(struct queue_job *job, int64_t due_ms, int64_t attempt)
{
	struct thaw_queue *queue = job->queue;
	const char *id = job->event.id;
	struct thaw_error err = {0};

	int rc = thaw_events_retry(queue->service->store, id, due_ms, attempt, &err);
	if (rc == 0 || rc == -ENOENT)
		return;
	thaw_log(THAW_LOG_ERROR, "event %s of function \"%s\" cannot be put back yet: %s", id,
		 job->name, err.message);
	struct queue_stranded *stranded = malloc(sizeof(*stranded) + strlen(id) + 1);
	if (!stranded)
		return; /* the next start hands it out */
	strcpy(stranded->id, id);
	stranded->attempt = attempt;
	pthread_mutex_lock(&queue->lock);
	stranded->next = queue->stranded;
	queue->stranded = stranded;
	pthread_mutex_unlock(&queue->lock);
}

/* --- start and end --- */

struct thaw_queue *thaw_queue_new(struct thaw_service *service, struct thaw_error *err)
{
	struct thaw_queue *queue = calloc(1, sizeof(*queue));
	pthread_condattr_t monotonic;

	if (!queue) {
		thaw_error_errno(err, ENOMEM, "starting the queue of events");
		return NULL;
	}
	queue->service = service;
	queue->references = 1;
	pthread_mutex_init(&queue->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&queue->wake, &monotonic);
	pthread_cond_init(&queue->less, &monotonic);
	pthread_condattr_destroy(&monotonic);
	queue->deliver = queue_deliver_new(err);
	if (queue->deliver) {
		int rc = pthread_create(&queue->worker, NULL, queue_worker, queue);
		if (rc == 0)
			return queue;
		thaw_error_errno(err, rc, "a thread");
	}
	thaw_error_wrap(err, "starting the queue of events");
	queue_deliver_free(queue->deliver);
	pthread_mutex_lock(&queue->lock);
	queue_unref(queue);
	return NULL;
}

void thaw_queue_free(struct thaw_queue *queue)
{
	struct timespec at;

	if (!queue)
		return;
	pthread_mutex_lock(&queue->lock);
	queue->stopping = true;
	pthread_cond_signal(&queue->wake);
	pthread_mutex_unlock(&queue->lock);
	pthread_join(queue->worker, NULL);
	queue_until(&at, (int64_t)queue->service->config->drain_s * 1000);
	pthread_mutex_lock(&queue->lock);
	while (queue_under_way(queue) > 0 &&
	       pthread_cond_timedwait(&queue->less, &queue->lock, &at) != ETIMEDOUT)
		;
	unsigned int left = queue_under_way(queue);
	queue->closed = true;
	while (queue->settling)
		pthread_cond_wait(&queue->less, &queue->lock);
	pthread_mutex_unlock(&queue->lock);
	if (left)
		thaw_log(THAW_LOG_WARN, "%u events under way are left for the next start", left);
	queue_deliver_free(queue->deliver);
	pthread_mutex_lock(&queue->lock);
	while (queue->stranded) {
		struct queue_stranded *stranded = queue->stranded;
		queue->stranded = stranded->next;
		free(stranded);
	}
	queue_unref(queue);
}
