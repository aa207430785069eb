/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asynchronous invocations: events are accepted onto the disk (host/store/events.h), invoked one by
 * one, tried again as Lambda does, and their results sent on.
 *
 *	function error         again after 1 min, then 2 min: MaximumRetryAttempts times (default 2)
 *	throttle, or the host  again after 1 s, then twice that, up to 5 min, less up to half by
 *	failed (429, 5xx)      chance; not counted as attempts
 *	any other refusal      not again: what it names is not there any more
 *	older than the age     not again (MaximumEventAgeInSeconds, default 6 h; the configuration
 *	                       at the time the event came in counts)
 *
 * The configuration's retry_scale multiplies all of these times. Every attempt has the same request
 * id. Event-invoke configurations are looked up by the qualifier that the event came with: the
 * function's own is "$LATEST", or else "".
 *
 * An event that is through is finished together with what follows from it, in one step on the disk:
 *
 *	OnSuccess, OnFailure   the record of Lambda's contract (version "1.0"), with the condition
 *	                       Success, RetriesExhausted or EventAgeExceeded. Of an event that was
 *	                       too old, responseContext and responsePayload are null.
 *	DeadLetterConfig       (of the version's configuration) on failure, the event itself: to a
 *	                       function as {"event": ..., "RequestID", "ErrorCode", "ErrorMessage"},
 *	                       to a URL as the body, with three headers of these names
 *
 * Targets are functions of the same account and region (by ARN; they get an event of their own,
 * with a new request id, of at most THAW_QUEUE_EVENT_MAX bytes) and URLs of http and https, which
 * get a POST: a status of 300 or more, no answer within 15 s, or an address that is not public
 * (address.h; unless the configuration's destination_private) is tried again four times within
 * about a minute and a half, then given up. No redirect is followed. What is to be posted is an
 * event of the queue as well, survives a crash, and may be posted more than once; the function's
 * deletion takes it along like all its events. All other targets are failures, counted and logged.
 *
 * A chain of events that destinations and dead letters make, from function to function, ends
 * after THAW_QUEUE_DEPTH_MAX: then nothing is sent on.
 *
 * When the wall clock is set, by more than two seconds, what waits is as old, and as long from
 *being due, as it was before.
 *
 * At least once: what was under way when the process died, or at the end of the drain, is handed
 * out again at the next start.
 *
 * At most THAW_QUEUE_SLOTS events are under way. Another one begins only while its function's and
 * its account's together are fewer than twice the slots that are free: a function alone gets half
 * of all slots, the next one that has a backlog a part of the rest, and so on, so that long lines
 * of long invocations leave slots for those that come later. Functions take turns.
 *
 * All functions may be called from any thread.
 */
#ifndef THAW_HOST_DAEMON_QUEUE_H
#define THAW_HOST_DAEMON_QUEUE_H

#include <stddef.h>
#include <stdint.h>

struct thaw_error;
struct thaw_queue;
struct thaw_service;

#define THAW_QUEUE_SLOTS     64
#define THAW_QUEUE_EVENT_MAX (1u << 20) /* bytes that an asynchronous invocation may have */
#define THAW_QUEUE_DEPTH_MAX 16

/* Starts with what the store has waiting. The service needs its config and its store, and what
 * thaw_invoke_submit needs. */
struct thaw_queue *thaw_queue_new(struct thaw_service *service, struct thaw_error *err);

/* Takes nothing more, waits up to the configuration's drain_s for what is under way, and frees the
 * queue; the store is not touched again. Answers that come later are dropped: their events are
 * handed out again. NULL is allowed. */
void thaw_queue_free(struct thaw_queue *queue);

struct thaw_queue_event {
	const char *account;
	int64_t function_id;
	const char *name;      /* of the function */
	const char *qualifier; /* NULL or "": $LATEST */
	const char *request_id;
	const char *trace_id, *client_context; /* or NULL */
	const uint8_t *payload;                /* JSON; the caller has looked */
	size_t payload_size;
};

/* 0: it is on the disk. -EEXIST: it was there already; -ENOENT: the function is not; -EINVAL: the
 * client context is not UTF-8; -EMSGSIZE; and the store's errors. */
int thaw_queue_put(struct thaw_queue *queue, const struct thaw_queue_event *event,
		   struct thaw_error *err);

/* Something may have become due or possible: it looks again. */
void thaw_queue_wake(struct thaw_queue *queue);

/* What happened to an event: Lambda's metrics, for whoever counts by function. */
enum thaw_queue_what {
	THAW_QUEUE_RECEIVED,           /* AsyncEventsReceived; destinations' events too */
	THAW_QUEUE_STARTED,            /* an attempt begins; `age_ms` is AsyncEventAge */
	THAW_QUEUE_SUCCEEDED,          /* ... and it was good */
	THAW_QUEUE_RETRIED,            /* a function error, to be tried again */
	THAW_QUEUE_HELD_BACK,          /* throttled, or the host failed: later again */
	THAW_QUEUE_DROPPED,            /* AsyncEventsDropped: given up */
	THAW_QUEUE_DELIVERED,          /* a URL took what was posted */
	THAW_QUEUE_DESTINATION_FAILED, /* DestinationDeliveryFailures */
	THAW_QUEUE_DEAD_LETTER_FAILED, /* DeadLetterErrors */
	THAW_QUEUE_LOOPED,             /* a chain was ended */
	THAW_QUEUE_WHATS
};

struct thaw_queue_note {
	enum thaw_queue_what what;
	const char *account, *name; /* of the function; during the call */
	int64_t function_id;
	int64_t age_ms; /* since the event was received */
};

/* `note` is called for all that happens from now on, in any thread: it must be quick, and must not
 * call the queue. NULL for no more. */
void thaw_queue_observe(struct thaw_queue *queue,
			void (*note)(void *opaque, const struct thaw_queue_note *note),
			void *opaque);

struct thaw_queue_counts {
	uint64_t what[THAW_QUEUE_WHATS]; /* since the start */
	unsigned int under_way;
	int64_t waiting;
	int64_t oldest_ms; /* how long the oldest has been here; 0: there is none */
};

int thaw_queue_count(struct thaw_queue *queue, struct thaw_queue_counts *counts,
		     struct thaw_error *err);

#endif
