/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conversation with the host, and the one state machine behind it. Requests are carried out
 * one at a time, in the order they come; the one under way is the *operation*. Callbacks only note
 * what happened; thaw_session_pump, run after every step of the loop, moves the operation on, and
 * takes the next request when there is none. So nothing re-enters anything.
 *
 * A host that goes away in the middle of Init, Invoke or Resume leaves a runtime in a state nobody
 * asked for: it is killed, and started anew by the next Invoke. At any other time the runtime
 * stays as it is: that is how a snapshot is taken.
 */
#ifndef THAW_AGENT_SESSION_H
#define THAW_AGENT_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/cgroup.h"
#include "agent/link.h"
#include "agent/logs.h"
#include "agent/loop.h"
#include "agent/runtime.h"
#include "agent/runtime_api.h"
#include "lib/error.h"
#include "proto/agent.pb-c.h"

#define THAW_PHASES_MAX 16

/* What differs between a guest and a test on a host. */
struct thaw_session_config {
	struct thaw_place place;
	const char *cgroup_dir; /* of the runtime; NULL: none */
	uint16_t api_port;      /* on 127.0.0.1; 0: any */
	bool machine;           /* the machine is ours: mounts, entropy, clock, power */
};

enum thaw_op_kind {
	THAW_OP_NONE,
	THAW_OP_INIT,
	THAW_OP_INVOKE,
	THAW_OP_FREEZE,
	THAW_OP_PREPARE,
	THAW_OP_RESUME,
	THAW_OP_SHUTDOWN,
};

struct thaw_operation {
	enum thaw_op_kind kind;
	uint32_t seq;
	Thaw__Agent__HostMessage *message; /* owned; the request itself */
	uint64_t started_ns;
	uint64_t runtime_started_ns; /* when this operation started a runtime, else 0 */
	uint64_t init_us;            /* what that runtime's init took */
	uint64_t payload_left;       /* INVOKE: bytes of the event still to come from the host */
	uint64_t response_sent;      /* INVOKE: bytes of the response sent in Chunks */
	bool given;                  /* INVOKE: the runtime has the event */
	bool stopping;               /* FREEZE, PREPARE: the freezer is on its way */
	bool overdue;                /* its time is over; the runtime is being killed */
	bool released;               /* RESUME: the runtime goes on */
};

struct thaw_session {
	struct thaw_session_config config;
	struct thaw_loop *loop;
	struct thaw_link link;
	struct thaw_runtime_api api;
	struct thaw_runtime runtime;
	struct thaw_logs logs;
	struct thaw_cgroup cgroup;
	struct thaw_operation op;
	struct thaw_timer timer;                 /* of the operation */
	struct thaw_watch child_watch;           /* SIGCHLD */
	struct thaw_watch frozen_watch;          /* cgroup.events, while the freezer works */
	struct thaw_buffer response;             /* of the response, not yet sent */
	Thaw__Agent__HostMessage *configuration; /* the Configure, NULL before it */
	uint64_t logs_lost;                      /* bytes that came while there was no host */
	uint32_t finished_seq; /* Chunks of an Invoke already over are passed over */
	uint64_t deadline_ns;  /* of the latest invocation */
	bool condemned; /* the runtime must not be used again: kill it before the next start */
	bool frozen;
	bool restored; /* the runtime waited in invocation/next and does not know it yet */
	char log_stream[512];
	char api_address[32];
	struct thaw_phase {
		const char *name;
		uint64_t at_us;
	} phases[THAW_PHASES_MAX];
	unsigned int phase_count;
};

/* Opens the Runtime API, and takes SIGCHLD over: the process has no children but a session's. The
 * session must not move in memory afterwards. */
int thaw_session_open(struct thaw_session *session, struct thaw_loop *loop,
		      const struct thaw_session_config *config, struct thaw_error *err);
void thaw_session_close(struct thaw_session *session);

/* A connection from the host; it takes the place of the one before. Owns `fd` from now on. */
void thaw_session_attach(struct thaw_session *session, int fd);

/* To be called after every step of the loop. */
void thaw_session_pump(struct thaw_session *session);

/* Notes that a phase of the boot is done. `name` must live on. */
void thaw_session_phase(struct thaw_session *session, const char *name);

/*
 * For the files that carry out operations (invocation.c, freeze.c):
 */

/* Answers the request under way; `body` has its body_case and member set, not seq. */
void thaw_session_answer(struct thaw_session *session, Thaw__Agent__GuestMessage *body);
/* Ends the operation: the next request may come. */
void thaw_session_finish(struct thaw_session *session);
/* Both, with a Failure. */
void thaw_session_fail(struct thaw_session *session, const struct thaw_error *err);
uint64_t thaw_session_elapsed_us(const struct thaw_session *session);

#endif
