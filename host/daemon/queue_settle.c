/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "host/daemon/queue_internal.h"
#include "lib/log.h"

#define ERROR_WAIT_MS   60000 /* the first retry's; the second's is twice that */
#define BACKOFF_MS      1000
#define BACKOFF_MAX_MS  300000
#define BACKOFFS_MAX    30
#define DELIVERIES      5 /* tries of a post */
#define DELIVERY_FACTOR 4

enum verdict {
	VERDICT_GOOD,
	VERDICT_ERROR, /* the function's */
	VERDICT_LATER,
	VERDICT_NEVER,
	VERDICT_OLD,
};

static enum verdict verdict_of(const struct thaw_invoke_answer *answer)
{
	if (!answer)
		return VERDICT_OLD;
	/* 409: its version is being made. */
	if (answer->refused)
		return answer->status == 429 || answer->status == 409 || answer->status >= 500
			       ? VERDICT_LATER
			       : VERDICT_NEVER;
	if (answer->function_error)
		return VERDICT_ERROR;
	if (answer->status < 300)
		return VERDICT_GOOD;
	return answer->status == 429 || answer->status >= 500 ? VERDICT_LATER : VERDICT_NEVER;
}

/* In time to be found too old, not later. */
static int64_t due_within(const struct thaw_event *event, int64_t wait_ms)
{
	int64_t due_ms = queue_now_ms() + wait_ms;

	return due_ms < event->deadline_ms ? due_ms : event->deadline_ms;
}

static void settle_backoff(struct queue_job *job)
{
	int64_t attempt = job->event.attempt, backoffs = QUEUE_BACKOFFS(attempt);
	int64_t wait = queue_backoff(job->queue, backoffs, BACKOFF_MS, 2, BACKOFF_MAX_MS);

	queue_note_job(job, THAW_QUEUE_HELD_BACK);
	backoffs += backoffs < BACKOFFS_MAX;
	queue_job_put_back(job, due_within(&job->event, wait),
			   QUEUE_ATTEMPT(QUEUE_ERRORS(attempt), backoffs));
}

/* False: there has been the last retry. */
static bool settle_retry(struct queue_job *job, const struct thaw_event_config *config)
{
	int64_t errors = QUEUE_ERRORS(job->event.attempt), most = config->maximum_retries;

	if (most == THAW_STORE_UNSET || most > QUEUE_ERRORS_MAX)
		most = QUEUE_ERRORS_MAX;
	if (errors >= most)
		return false;
	queue_note_job(job, THAW_QUEUE_RETRIED);
	int64_t wait = queue_scaled(job->queue, ERROR_WAIT_MS << errors);
	queue_job_put_back(job, due_within(&job->event, wait), QUEUE_ATTEMPT(errors + 1, 0));
	return true;
}

static void note_send(struct queue_job *job, const struct queue_send *send)
{
	if (send->outcome == THAW_QUEUE_RECEIVED)
		queue_note(job->queue, send->outcome, job->event.account, send->function_id,
			   send->name, queue_now_ms());
	else if (send->outcome != THAW_QUEUE_DELIVERED) /* of a post nothing is known yet */
		queue_note_job(job, send->outcome);
}

/* The event leaves the queue, and what follows from it enters it: both or neither. */
static int settle_commit(struct queue_job *job, struct queue_send *sends, int count,
			 struct thaw_error *err)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	struct thaw_store *store = job->queue->service->store;

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = thaw_events_finish(store, job->event.id, err);
	for (int i = 0; rc == 0 && i < count; i++)
		rc = queue_send(job, &sends[i], err);
	return rc < 0 ? rc : thaw_store_commit(&scope, err);
}

static int settle_through(struct queue_job *job, const struct thaw_event_config *config,
			  enum verdict verdict, const struct thaw_invoke_answer *answer,
			  struct thaw_error *err)
{
	const char *condition = verdict == VERDICT_GOOD  ? "Success"
				: verdict == VERDICT_OLD ? "EventAgeExceeded"
							 : "RetriesExhausted";
	struct queue_send sends[QUEUE_SENDS_MAX] = {0};

	int count = queue_sends(job, config, condition, answer, sends, err);
	int rc = count < 0 ? count : settle_commit(job, sends, count, err);
	if (rc == 0) {
		queue_note_job(job,
			       verdict == VERDICT_GOOD ? THAW_QUEUE_SUCCEEDED : THAW_QUEUE_DROPPED);
		for (int i = 0; i < count; i++)
			note_send(job, &sends[i]);
	}
	queue_sends_clear(sends);
	return rc;
}

/* The event stays for another try: that the function runs again is better than that nobody learns
 * what came of it. */
static void settle_failed(struct queue_job *job, int rc, const struct thaw_error *err)
{
	if (rc == -ENOENT)
		return; /* deleted with its function */
	thaw_log(THAW_LOG_ERROR, "event %s of function \"%s\": %s", job->event.id, job->name,
		 err->message);
	int64_t wait = queue_scaled(job->queue, BACKOFF_MS);
	queue_job_put_back(job, queue_now_ms() + wait, job->event.attempt);
}

void queue_settle(struct queue_job *job, const struct thaw_invoke_answer *answer)
{
	struct thaw_queue *queue = job->queue;
	enum verdict verdict = verdict_of(answer);
	struct thaw_event_config config;
	struct thaw_error err = {0};

	if (verdict == VERDICT_LATER) {
		settle_backoff(job);
		return;
	}
	int rc = queue_config_get(queue, job->event.function_id, job->event.qualifier, &config,
				  &err);
	if (rc == 0) {
		if (verdict != VERDICT_ERROR || !settle_retry(job, &config))
			rc = settle_through(job, &config, verdict, answer, &err);
		thaw_event_config_clear(&config);
	}
	if (rc < 0)
		settle_failed(job, rc, &err);
}

void queue_settle_delivery(struct queue_job *job, const char *why)
{
	bool dead_letter = job->context.dead_letter;
	int64_t tries = job->event.attempt + 1;
	struct thaw_error err = {0};

	if (why && tries < DELIVERIES) {
		int64_t wait = queue_backoff(job->queue, tries - 1, BACKOFF_MS, DELIVERY_FACTOR,
					     BACKOFF_MAX_MS);
		queue_job_put_back(job, queue_now_ms() + wait, tries);
		return;
	}
	int rc = thaw_events_finish(job->queue->service->store, job->event.id, &err);
	if (rc < 0) {
		settle_failed(job, rc, &err);
		return;
	}
	if (!why) {
		queue_note_job(job, THAW_QUEUE_DELIVERED);
		return;
	}
	queue_note_job(job,
		       dead_letter ? THAW_QUEUE_DEAD_LETTER_FAILED : THAW_QUEUE_DESTINATION_FAILED);
	thaw_log(THAW_LOG_WARN, "function \"%s\" of account %s: its %s could not be posted: %s",
		 job->name, job->event.account, dead_letter ? "dead letter" : "result", why);
}
