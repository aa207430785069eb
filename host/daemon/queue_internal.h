/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the queue share:
 *
 *	queue.c               start and end, accepting, slots
 *	queue_worker.c        the thread that takes events and has them invoked
 *	queue_context.c       what an event's row says beside its payload
 *	queue_settle.c        what an answer means for its event
 *	queue_destinations.c  records and dead letters, and to whom
 *	queue_deliver.c       the thread that posts
 */
#ifndef THAW_HOST_DAEMON_QUEUE_INTERNAL_H
#define THAW_HOST_DAEMON_QUEUE_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include "host/api/names.h"
#include "host/daemon/invoke.h"
#include "host/daemon/queue.h"
#include "host/daemon/service.h"
#include "host/daemon/wall.h"
#include "host/store/event_config.h"
#include "host/store/events.h"
#include "lib/error.h"

struct queue_deliver;

/* The event row's context. Strings are owned. */
struct queue_context {
	char *trace, *client; /* or NULL */
	int depth;            /* how many destinations led here */
	/* An event with an URL is nothing to be invoked but its payload to be posted. */
	char *url;
	bool dead_letter; /* else a destination */
	char *id;         /* these three only for dead letters: the headers */
	char *code, *message;
};

/* JSON for the row; the caller frees it. -EINVAL: the client context is not UTF-8. */
int queue_context_text(const struct queue_context *context, char **text, struct thaw_error *err);
/* NULL: empty. -ENOMEM, and it is empty: without what the context says, an event that is to be
 * posted would be one to be invoked. */
int queue_context_read(struct queue_context *context, const char *text, struct thaw_error *err);
void queue_context_clear(struct queue_context *context);

/* An event under way. */
struct queue_job {
	struct thaw_queue *queue;
	unsigned int slot;
	struct thaw_event event;
	struct queue_context context;
	char name[THAW_FUNCTION_NAME_TEXT];
	/* The deliverer's. */
	struct queue_job *next;
	void *transfer;  /* CURL */
	void *headers;   /* struct curl_slist */
	bool refused;    /* its address is not public */
	size_t answered; /* bytes of the answer, which nobody reads */
};

/* An event that we have taken and could not put back: the disk would not have it. */
struct queue_stranded {
	struct queue_stranded *next;
	int64_t attempt;
	char id[];
};

struct thaw_queue {
	struct thaw_service *service;
	struct queue_deliver *deliver;
	pthread_t worker;
	pthread_mutex_t lock;
	pthread_cond_t wake; /* the worker's */
	pthread_cond_t less; /* fewer jobs under way, or settling: for whoever frees the queue */
	bool woken, stopping;
	bool closed;             /* the store must not be used any more */
	unsigned int references; /* the owner's, and one a job */
	unsigned int settling;   /* threads that work on an answer */
	struct queue_job *jobs[THAW_QUEUE_SLOTS];
	struct queue_stranded *stranded;
	void (*note)(void *opaque, const struct thaw_queue_note *note);
	void *note_opaque;
	uint64_t what[THAW_QUEUE_WHATS];
	/* The worker's own: */
	int64_t after; /* the function that it looked at last */
	struct thaw_wall wall;
};

/* An attempt's number in the store: how often the function failed, and how often in a row it was
 * not even asked. */
#define QUEUE_ERRORS(attempt)           ((attempt)&3)
#define QUEUE_BACKOFFS(attempt)         ((attempt) >> 2)
#define QUEUE_ATTEMPT(errors, backoffs) ((int64_t)(backoffs) << 2 | (errors))
#define QUEUE_ERRORS_MAX                2 /* retries; the third error is the last */

int64_t queue_now_ms(void);
/* The monotonic clock in `ms`. */
void queue_until(struct timespec *at, int64_t ms);
/* `ms` as configured: scaled. */
int64_t queue_scaled(const struct thaw_queue *queue, int64_t ms);
/* The wait before try number `backoffs` + 1: `base_ms` times `factor` for each, and its jitter. */
int64_t queue_backoff(const struct thaw_queue *queue, int64_t backoffs, int64_t base_ms, int factor,
		      int64_t max_ms);

void queue_note(struct thaw_queue *queue, enum thaw_queue_what what, const char *account,
		int64_t function_id, const char *name, int64_t received_ms);
/* ... about a job's event. */
void queue_note_job(struct queue_job *job, enum thaw_queue_what what);

/* The event-invoke configuration, all unset when there is none. */
int queue_config_get(struct thaw_queue *queue, int64_t function_id, const char *qualifier,
		     struct thaw_event_config *config, struct thaw_error *err);

/* Puts an event into the store; `context` is text. Its deadline is by its configuration. */
int queue_enqueue(struct thaw_queue *queue, const struct thaw_queue_event *event,
		  const struct queue_context *context, struct thaw_error *err);

/* With the lock held. */
unsigned int queue_under_way(const struct thaw_queue *queue);

/* The thread. */
void *queue_worker(void *queue);

/* Takes the event, and a slot, of which there must be one. NULL: no memory. */
struct queue_job *queue_job_new(struct thaw_queue *queue, struct thaw_event *event,
				const char *name);
/* Between these the caller may use the store. False: the queue is closed and the job is gone. */
bool queue_job_begin(struct queue_job *job);
/* The job is over: its slot is free. */
void queue_job_end(struct queue_job *job);
/* Puts the event back; when that fails it is kept in memory until it works. */
void queue_job_put_back(struct queue_job *job, int64_t due_ms, int64_t attempt);

/* Between begin and end: does what the answer says; NULL: the event is too old. */
void queue_settle(struct queue_job *job, const struct thaw_invoke_answer *answer);
/* ... what was posted has arrived, or has not: `why`. */
void queue_settle_delivery(struct queue_job *job, const char *why);

/* One message that follows from an event. */
struct queue_send {
	bool dead_letter;
	char *target;
	uint8_t *body;
	size_t size;
	char code[16];
	char message[1025]; /* UTF-8 */
	enum thaw_queue_what outcome;
	/* Of the function it went to. */
	int64_t function_id;
	char name[THAW_FUNCTION_NAME_TEXT];
};

#define QUEUE_SENDS_MAX 2 /* a destination and a dead letter */

/* What is to be sent when the event is through: `condition` as in the record. The count, or a
 * negative errno. The caller clears them in any case. */
int queue_sends(struct queue_job *job, const struct thaw_event_config *config,
		const char *condition, const struct thaw_invoke_answer *answer,
		struct queue_send sends[QUEUE_SENDS_MAX], struct thaw_error *err);
void queue_sends_clear(struct queue_send sends[QUEUE_SENDS_MAX]);
/* Puts it into the queue, within the caller's scope; outcome says what came of it. A negative errno
 * is only for what may work later. */
int queue_send(struct queue_job *job, struct queue_send *send, struct thaw_error *err);
/* "http://..." or "https://..." */
bool queue_is_url(const char *target);

struct queue_deliver *queue_deliver_new(struct thaw_error *err);
/* Gives up what is under way: the queue is closed. */
void queue_deliver_free(struct queue_deliver *deliver);
/* Posts the job's payload and settles it. */
void queue_deliver_post(struct queue_deliver *deliver, struct queue_job *job);

#endif
