/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One invocation from its admission to its answer, however it came: by the API, or from the queue
 * of asynchronous events.
 */
#ifndef THAW_HOST_DAEMON_INVOKE_H
#define THAW_HOST_DAEMON_INVOKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thaw_error;
struct thaw_service;

#define THAW_INVOKE_PAYLOAD_MAX 6291456 /* bytes of a synchronous invocation's event: 6 MB */

struct thaw_invoke_answer {
	bool refused;               /* throttled, or the host failed: nothing ran */
	const char *refusal_code;   /* "TooManyRequestsException", "ServiceException", ... */
	const char *refusal_reason; /* of a throttle: a reason of the API's; else NULL */
	char message[512];          /* for the client, when refused */
	unsigned int status;        /* 200, or the refusal's */
	const char *function_error; /* "Unhandled", or NULL */
	const uint8_t *payload;     /* the response or the error document, during the callback */
	size_t payload_size;
	char executed_version[24];
	char request_id[37];
	char log_tail[5500]; /* base64, when asked for */
};

struct thaw_invoke_plan {
	const char *account, *name, *qualifier; /* whose function; copied */
	const char *request_id;                 /* NULL: a new one */
	const uint8_t *payload;                 /* the caller keeps it until done */
	size_t payload_size;
	const char *trace_id, *client_context; /* or NULL; copied */
	bool tail;
	bool asynchronous; /* waits in line for memory rather longer */
	/* Once, in some thread; not when submit fails. Must not wait for other invocations. */
	void (*done)(void *opaque, const struct thaw_invoke_answer *answer);
	/* Parts of a response that the function streams, as they come, before done, which has all
	 * of them again. May take its time: the function waits. NULL: done is enough. */
	void (*part)(void *opaque, const char *executed_version, const uint8_t *data, size_t size);
	void *opaque;
};

/* 0: taken, and done will be called. Negative: *refusal says why not. */
int thaw_invoke_submit(struct thaw_service *service, const struct thaw_invoke_plan *plan,
		       struct thaw_invoke_answer *refusal, struct thaw_error *err);

#endif
