/* SPDX-License-Identifier: Apache-2.0 */
/* The queue's worker: which event is next, and how long to sleep when there is none. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/daemon/queue_internal.h"
#include "host/store/functions.h"
#include "lib/clock.h"
#include "lib/fd.h"
#include "lib/log.h"

#define ROUND_MAX    256  /* functions looked up at once */
#define LOOK_MS      1000 /* the longest sleep while events wait: clocks can be set */
#define LOOK_BUSY_MS 50   /* ... while some function's events wait for a slot */
#define RETRY_MS     1000 /* the store would not */

/* The worker's: tries again to put back what is stranded. */
static void queue_rescue(struct thaw_queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	struct queue_stranded *list = queue->stranded;
	queue->stranded = NULL;
	pthread_mutex_unlock(&queue->lock);
	while (list) {
		struct queue_stranded *stranded = list;
		list = stranded->next;
		int rc = thaw_events_retry(queue->service->store, stranded->id, queue_now_ms(),
					   stranded->attempt, NULL);
		if (rc == 0 || rc == -ENOENT) {
			free(stranded);
			continue;
		}
		pthread_mutex_lock(&queue->lock);
		stranded->next = queue->stranded;
		queue->stranded = stranded;
		pthread_mutex_unlock(&queue->lock);
	}
}

/* Times of what waits are by the wall clock: they go along when that is set, or a clock that was
 * wrong for a moment would drop events as too old, or keep them for a year. What has come since the
 * last look may be by the new clock already, and stays; while something waits there is a look every
 * second. */
static int queue_shift(struct thaw_queue *queue, int64_t jump, int64_t now, int64_t elapsed,
		       struct thaw_error *err)
{
	struct thaw_store *store = queue->service->store;

	int rc = thaw_events_shift(store, 0, now - elapsed - 1, jump, err);
	if (rc < 0 || jump > 0)
		return rc;
	int more = thaw_events_shift(store, now + 1, INT64_MAX, jump, err);
	return more < 0 ? more : rc + more;
}

static void queue_watch_clock(struct thaw_queue *queue)
{
	int64_t before = queue->wall.monotonic_ms, now = queue_now_ms();
	int64_t monotonic = (int64_t)(thaw_monotonic_ns() / 1000000);
	struct thaw_error err = {0};

	int64_t jump = thaw_wall_look(&queue->wall, now, monotonic);
	if (before && jump == 0)
		return;
	/* At the start: it may have been set back meanwhile. */
	int count = before ? queue_shift(queue, jump, now, monotonic - before, &err)
			   : thaw_events_not_later(queue->service->store, now, &err);
	if (count < 0)
		thaw_log(THAW_LOG_ERROR, "the queue of events, after the clock was set: %s",
			 err.message);
	else if (count > 0)
		thaw_log(THAW_LOG_WARN, "the clock was set: %d events go along", count);
}

/* --- one event --- */

static void job_done(void *opaque, const struct thaw_invoke_answer *answer)
{
	struct queue_job *job = opaque;

	if (!queue_job_begin(job))
		return;
	queue_settle(job, answer);
	queue_job_end(job);
}

static void job_start(struct queue_job *job)
{
	struct thaw_queue *queue = job->queue;
	struct thaw_invoke_answer refusal = {0};
	struct thaw_error err = {0};

	if (job->context.url) {
		queue_deliver_post(queue->deliver, job);
		return;
	}
	if (queue_now_ms() >= job->event.deadline_ms) {
		job_done(job, NULL);
		return;
	}
	struct thaw_invoke_plan plan = {
		.account = job->event.account,
		.name = job->name,
		.qualifier = job->event.qualifier,
		.request_id = job->event.id,
		.payload = job->event.payload.data,
		.payload_size = job->event.payload.size,
		.trace_id = job->context.trace,
		.client_context = job->context.client,
		.asynchronous = true,
		.done = job_done,
		.opaque = job,
	};
	queue_note_job(job, THAW_QUEUE_STARTED);
	if (thaw_invoke_submit(queue->service, &plan, &refusal, &err) < 0) {
		refusal.refused = true;
		job_done(job, &refusal);
	}
}

/* --- which, and when --- */

/* May another event of the function be under way? See the header. */
static bool queue_may_start(struct thaw_queue *queue, int64_t function_id, const char *account)
{
	unsigned int of_function = 0, of_account = 0, free_slots = 0;

	pthread_mutex_lock(&queue->lock);
	for (size_t i = 0; i < THAW_QUEUE_SLOTS; i++) {
		const struct queue_job *job = queue->jobs[i];
		free_slots += !job;
		of_function += job && job->event.function_id == function_id;
		of_account += job && strcmp(job->event.account, account) == 0;
	}
	pthread_mutex_unlock(&queue->lock);
	return of_function + of_account < 2 * free_slots;
}

/* There is no memory to work on an event with. Later there may be; if it cannot even be put back,
 * the next start hands it out. */
static int queue_give_back(struct thaw_queue *queue, struct thaw_event *event,
			   struct thaw_error *err)
{
	thaw_events_retry(queue->service->store, event->id, queue_now_ms() + RETRY_MS,
			  event->attempt, NULL);
	thaw_event_clear(event);
	return thaw_error_errno(err, ENOMEM, "an event");
}

/* Starts one event of the function: 1; 0: it has none due, or may not now. */
static int queue_start_one(struct thaw_queue *queue, int64_t function_id, struct thaw_error *err)
{
	struct thaw_store *store = queue->service->store;
	struct thaw_function_item item;
	struct thaw_event event;

	int rc = thaw_functions_get_by_id(store, function_id, THAW_VERSION_LATEST, &item, err);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	struct queue_job *job = NULL;
	if (queue_may_start(queue, function_id, item.function.account))
		rc = thaw_events_take(store, function_id, queue_now_ms(), &event, err);
	if (rc == 1) {
		job = queue_job_new(queue, &event, item.function.name);
		if (!job)
			rc = queue_give_back(queue, &event, err);
	}
	thaw_function_item_clear(&item);
	if (job)
		job_start(job);
	return rc;
}

static bool queue_full(struct thaw_queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	bool full = queue->stopping || queue_under_way(queue) == THAW_QUEUE_SLOTS;
	pthread_mutex_unlock(&queue->lock);
	return full;
}

/* One event of each of the functions that have any due and come after the last looked at, up to
 * `last` in number. How many; *more: there are functions left. */
static int queue_round(struct thaw_queue *queue, int64_t last, bool *more, struct thaw_error *err)
{
	cleanup_free int64_t *list = NULL;
	size_t count = 0;
	int started = 0;

	int rc = thaw_events_functions(queue->service->store, queue_now_ms(), queue->after,
				       ROUND_MAX, &list, &count, err);
	if (rc < 0)
		return rc;
	*more = rc > 0;
	for (size_t i = 0; i < count; i++) {
		if (list[i] > last || queue_full(queue)) {
			*more = false;
			break;
		}
		queue->after = list[i];
		rc = queue_start_one(queue, list[i], err);
		if (rc < 0)
			return rc;
		started += rc;
	}
	return started;
}

/* One event of each function, beginning behind the one that had the last slot: how many. */
static int queue_pass(struct thaw_queue *queue, struct thaw_error *err)
{
	const int64_t lasts[] = {INT64_MAX, queue->after};
	int started = 0;

	for (int half = 0; half < 2; half++) {
		bool more = true;
		while (more) {
			int rc = queue_round(queue, lasts[half], &more, err);
			if (rc < 0)
				return rc;
			started += rc;
		}
		if (queue_full(queue))
			break;
		queue->after = half ? queue->after : 0;
	}
	return started;
}

/* How long the worker may sleep: milliseconds, or -1. */
static int64_t queue_sleep(struct thaw_queue *queue)
{
	int64_t due_ms = 0;

	int rc = thaw_events_next_due(queue->service->store, &due_ms, NULL);
	if (rc < 0)
		return RETRY_MS;
	pthread_mutex_lock(&queue->lock);
	bool stranded = queue->stranded != NULL;
	pthread_mutex_unlock(&queue->lock);
	if (rc == 0)
		return stranded ? RETRY_MS : -1;
	int64_t wait = due_ms - queue_now_ms();
	if (wait <= 0)
		return LOOK_BUSY_MS;
	return wait < LOOK_MS ? wait : LOOK_MS;
}

void *queue_worker(void *opaque)
{
	struct thaw_queue *queue = opaque;
	struct thaw_error err = {0};
	struct timespec at;

	pthread_mutex_lock(&queue->lock);
	while (!queue->stopping) {
		queue->woken = false;
		pthread_mutex_unlock(&queue->lock);
		queue_watch_clock(queue);
		queue_rescue(queue);
		int rc = queue_pass(queue, &err);
		if (rc < 0)
			thaw_log(THAW_LOG_ERROR, "the queue of events: %s", err.message);
		int64_t wait = rc < 0 ? RETRY_MS : rc > 0 ? 0 : queue_sleep(queue);
		if (wait > 0)
			queue_until(&at, wait);
		pthread_mutex_lock(&queue->lock);
		while (wait && !queue->stopping && (rc < 0 || !queue->woken)) {
			if (wait < 0)
				pthread_cond_wait(&queue->wake, &queue->lock);
			else if (pthread_cond_timedwait(&queue->wake, &queue->lock, &at) ==
				 ETIMEDOUT)
				break;
		}
	}
	pthread_mutex_unlock(&queue->lock);
	return NULL;
}
