/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The durable queue of asynchronous invocations. An event waits until it is due, is taken by one
 * worker of this process, and then finished (gone for good), or put back with a later time.
 *
 * Once enqueued it is handed out at least once: what was taken when the process died is due again
 * at the next start. Once finished it is never handed out again. A function that is deleted takes
 * its events along, those taken too: finishing one of them is -ENOENT then.
 *
 * finish, retry and drop are durable when they return; finish and the enqueueing of what follows
 * from it (a destination) belong into one scope.
 */
#ifndef THAW_HOST_STORE_EVENTS_H
#define THAW_HOST_STORE_EVENTS_H

#include "host/store/blob.h"
#include "host/store/store.h"

struct thaw_event {
	char *id; /* the request id */
	char *account;
	int64_t function_id;
	char *qualifier;
	char *context; /* JSON: what came in headers; or NULL */
	int64_t received_ms;
	int64_t due_ms;
	int64_t deadline_ms; /* after it the event is not tried again: the caller looks */
	int64_t attempt;     /* the caller's count, see retry */
	int64_t handouts;    /* how often it was taken, by dead processes too */
	int64_t taken_epoch; /* THAW_STORE_UNSET: it waits */
	struct thaw_blob payload;
};

void thaw_event_clear(struct thaw_event *event);

/* All but handouts and taken_epoch. It is on the disk when this returns 0. -EEXIST: the queue
 * has that id; -ENOENT: no such function or account; -EMSGSIZE. */
int thaw_events_enqueue(struct thaw_store *store, const struct thaw_event *event,
			struct thaw_error *err);

/* Takes the event longest due at `now_ms`, of the function only unless that is 0. 1: *event is
 * the caller's to work on; 0: none is due. */
int thaw_events_take(struct thaw_store *store, int64_t function_id, int64_t now_ms,
		     struct thaw_event *event, struct thaw_error *err);

/* Of an event that this process has taken, else -ESTALE; -ENOENT: it is not in the queue. */
int thaw_events_finish(struct thaw_store *store, const char *id, struct thaw_error *err);
int thaw_events_retry(struct thaw_store *store, const char *id, int64_t due_ms, int64_t attempt,
		      struct thaw_error *err);

/* Of any event. -ENOENT. */
int thaw_events_drop(struct thaw_store *store, const char *id, struct thaw_error *err);

/* The wall clock has been set by `ms`: events that came at `from_ms` or later and before `to_ms`,
 * by the clock before, are as old, and as long from being due, as they were. How many. */
int thaw_events_shift(struct thaw_store *store, int64_t from_ms, int64_t to_ms, int64_t ms,
		      struct thaw_error *err);

/* Events that came later than `now_ms`, by a clock that was ahead, came now. How many. */
int thaw_events_not_later(struct thaw_store *store, int64_t now_ms, struct thaw_error *err);

/* When the next waiting event is due. 1, or 0: none waits. */
int thaw_events_next_due(struct thaw_store *store, int64_t *due_ms, struct thaw_error *err);

struct thaw_events_count {
	int64_t waiting;
	int64_t taken;
	int64_t oldest_ms; /* the oldest received_ms, or THAW_STORE_UNSET */
};

/* Of the function, or of all for 0. */
int thaw_events_count(struct thaw_store *store, int64_t function_id,
		      struct thaw_events_count *count, struct thaw_error *err);

/* The functions that have events due at `now_ms`, by id, so that one function's many events need
 * not keep another's waiting. The caller frees *list. */
int thaw_events_functions(struct thaw_store *store, int64_t now_ms, int64_t after, size_t limit,
			  int64_t **list, size_t *count, struct thaw_error *err);

#endif
