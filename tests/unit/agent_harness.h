/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole agent on this machine: its objects in a child process, a socket pair for the vsock, no
 * mounts, and a real runtime behind it. The test is the host. Every wait has a bound; what goes
 * wrong fails the cmocka test.
 */
#ifndef THAW_TESTS_AGENT_HARNESS_H
#define THAW_TESTS_AGENT_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/buffer.h"
#include "lib/frame.h"
#include "proto/agent.pb-c.h"

#define AGENT_REQUEST_ID "0c2f5a3e-0000-4000-8000-1234567890ab"

struct agent_harness {
	pid_t agent;
	int socket;
	int control; /* brings the agent its connections */
	struct thaw_frame_reader reader;
	uint32_t seq;
	char dir[64];               /* the task root, a fresh directory */
	char cgroup[128];           /* "" without one */
	struct thaw_buffer logs[2]; /* stdout, stderr, as they came */
	uint64_t dropped;
};

struct agent_options {
	const char *runtime_dir;
	const char *opt; /* NULL: one that does not exist */
	bool cgroup;     /* the runtime in a cgroup of its own; needs root and cgroup2 */
	bool confined;   /* another user, the system call filter; needs root */
};

/* Whether this machine lets a test have a cgroup2 directory. */
bool agent_harness_has_cgroup(void);

void agent_harness_start(struct agent_harness *harness, const struct agent_options *options);
/* Also fails the test if the agent did not end by itself, in order, on Shutdown. */
void agent_harness_stop(struct agent_harness *harness);
/* Another connection, as after a restore: the old one is closed by us. */
void agent_harness_reconnect(struct agent_harness *harness);

/* Writes a file of the task root. */
void agent_harness_write(struct agent_harness *harness, const char *name, const char *text,
			 unsigned int mode);

/* Sends one message (its seq is set here, and returned). */
uint32_t agent_harness_send(struct agent_harness *harness, Thaw__Agent__HostMessage *message);
/* The next message of any kind, or NULL when the agent closed the connection. */
Thaw__Agent__GuestMessage *agent_harness_next(struct agent_harness *harness);
/* The answer to `seq`; logs on the way are kept, Chunks of it appended to `chunks` (may be NULL).
 */
Thaw__Agent__GuestMessage *agent_harness_wait(struct agent_harness *harness, uint32_t seq,
					      struct thaw_buffer *chunks);

void agent_harness_configure(struct agent_harness *harness, const char *handler,
			     const char *initialization_type);
/* The answer, of the kind InitDone. */
Thaw__Agent__GuestMessage *agent_harness_init(struct agent_harness *harness, uint32_t timeout_ms);

/* One invocation: the outcome, and the whole payload in `text` (terminated). */
struct agent_result {
	Thaw__Agent__GuestMessage *message; /* the InvokeDone */
	Thaw__Agent__InvokeDone *done;
	struct thaw_buffer payload;
};

void agent_harness_invoke(struct agent_harness *harness, const char *request_id, const void *event,
			  size_t size, uint32_t timeout_ms, struct agent_result *result);
const char *agent_result_text(struct agent_result *result);
void agent_result_clear(struct agent_result *result);

/* Init must go well. */
void agent_harness_init_ok(struct agent_harness *harness, bool awaits_restore);
/* An invocation, under AGENT_REQUEST_ID, must be answered so (an error document, perhaps). */
void agent_harness_expect(struct agent_harness *harness, const char *event, const char *answer);

/* What has been logged so far, terminated. */
const char *agent_harness_log(struct agent_harness *harness, int source);
void agent_harness_forget_logs(struct agent_harness *harness);

#endif
