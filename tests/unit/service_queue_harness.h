/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue on a store of its own, with a function runner in place of the real one. What a function
 * does is in its name:
 *
 *	good...    answers {"ok":true}
 *	bad...     function error, {"errorMessage":"boom"}
 *	flaky...   function error the first time that it gets an event, then good
 *	full...    always throttled, by submit
 *	broken...  always fails with 500, by its answer
 *	busy...    throttled the first three times, then good
 *	gone...    not found
 *	held...    answers when queue_release is called
 */
#ifndef THAW_TESTS_SERVICE_QUEUE_HARNESS_H
#define THAW_TESTS_SERVICE_QUEUE_HARNESS_H

#include "service_store_harness.h"
#include "host/daemon/queue.h"
#include "host/daemon/service.h"

#define REGION    "eu-north-1"
#define CALLS_MAX 4096
#define POSTS_MAX 64
#define ARN(name) "arn:aws:lambda:" REGION ":" ACCOUNT ":function:" name
#define SCALE     0.001 /* a second is a millisecond */

struct queue_call {
	char name[65], qualifier[64], id[40], trace[64], client[64];
	char payload[2048];
};

struct queue_post {
	char path[64], body[2048], id[64], code[16], message[64], type[32];
};

struct queue_fixture {
	struct store_fixture *store;
	struct thaw_config config;
	struct thaw_service service;
	struct thaw_queue *queue;
	struct thaw_http_server *server;
	/* Told of each call, from the thread that makes it. May be NULL. */
	void (*called)(const struct queue_call *call);
};

/* One at a time: *state is the fixture. */
int queue_setup(void **state);
int queue_teardown(void **state);
void queue_start(struct queue_fixture *f);
void queue_stop(struct queue_fixture *f);
/* The runner alone: for those that set up by themselves. */
void queue_runner_start(struct queue_fixture *f);

int64_t queue_function(struct queue_fixture *f, const char *name);
/* Either may be NULL; `retries` and `age_s` THAW_STORE_UNSET. */
void queue_configure(struct queue_fixture *f, int64_t function, const char *good, const char *bad,
		     int64_t retries, int64_t age_s);
void queue_put(struct queue_fixture *f, int64_t function, const char *id);

/* Lets held functions answer from now on. */
void queue_release(void);

/* How many calls there were of the function (NULL: of all), or with the id; and the last. */
unsigned int queue_calls(const char *name, const char *id, struct queue_call *last);
unsigned int queue_posts(const char *path, struct queue_post *last);
uint64_t queue_counted(struct queue_fixture *f, enum thaw_queue_what what);
/* Events of the function in the store, taken or not; 0: of all. */
int64_t queue_stored(struct queue_fixture *f, int64_t function);

/* "http://127.0.0.1:<port><path>", in one static buffer. */
const char *queue_url(struct queue_fixture *f, const char *path);

/* Waits until it is so. */
#define wait_for(condition)                                                                        \
	do {                                                                                       \
		int left_ = 10000;                                                                 \
		while (!(condition) && left_--)                                                    \
			usleep(1000);                                                              \
		assert_true(condition);                                                            \
	} while (0)

#endif
