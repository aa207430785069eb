/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invocations from within the daemon: one plan, one answer.
 */
#ifndef THAW_HOST_DAEMON_INVOKE_H
#define THAW_HOST_DAEMON_INVOKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thaw_error;
struct thaw_service;

struct thaw_invoke; /* one invocation under way */

struct thaw_invoke_answer {
	bool refused;               /* throttled or the host failed: nothing ran */
	const char *refusal_code;   /* "TooManyRequestsException", "ServiceException",
				     * "ResourceNotFoundException" */
	const char *refusal_reason; /* of a throttle */
	char message[512];
	unsigned int status;        /* 200, 429, 500, ... */
	const char *function_error; /* "Unhandled" or NULL */
	const uint8_t *payload;     /* valid during the callback */
	size_t payload_size;
	char executed_version[24];
	char request_id[37];
	char log_tail[5500]; /* base64 when asked for */
};

struct thaw_invoke_plan {
	const char *account, *name, *qualifier; /* whose function; copied */
	const char *request_id;                 /* NULL: a new one */
	const uint8_t *payload;                 /* the caller keeps it until done */
	size_t payload_size;
	const char *trace_id, *client_context; /* or NULL; copied */
	bool tail;
	bool asynchronous; /* waits in line for memory rather longer */
	/* Once, in some thread; not when submit fails. */
	void (*done)(void *opaque, const struct thaw_invoke_answer *answer);
	void *opaque;
};

/* 0: accepted, done will be called; -EAGAIN etc.: *refusal says what and done is not called. */
int thaw_invoke_submit(struct thaw_service *service, const struct thaw_invoke_plan *plan,
		       struct thaw_invoke_answer *refusal, struct thaw_error *err);

#endif
