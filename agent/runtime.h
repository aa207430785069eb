/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handler's process: found, started with the rights of nobody in particular, watched, killed
 * with all its descendants. One at a time; the next may start when `died` has been told.
 */
#ifndef THAW_AGENT_RUNTIME_H
#define THAW_AGENT_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/cgroup.h"
#include "agent/logs.h"
#include "agent/loop.h"
#include "proto/agent.pb-c.h"

struct thaw_error;

#define THAW_RUNTIME_UID 993 /* sbx_user1051 */
#define THAW_RUNTIME_GID 990

/* Where the runtime lives. Paths are as the runtime sees them, below `root`. */
struct thaw_place {
	const char *root; /* its root directory, outside; "/" for none of its own */
	const char *task; /* LAMBDA_TASK_ROOT */
	const char *opt;
	const char *runtime_dir; /* LAMBDA_RUNTIME_DIR */
	const char *api;         /* AWS_LAMBDA_RUNTIME_API */
	bool confined; /* own user id, own limits, system call filter: always in a guest */
};

struct thaw_runtime {
	struct thaw_loop *loop;
	const struct thaw_place *place;
	struct thaw_cgroup *cgroup;
	struct thaw_logs *logs;
	pid_t pid; /* 0: none */
	uint64_t oom_kills;

	/* The process has ended, with wait status `status`; its descendants are killed and its
	 * output is read. `oom`: the kernel took it for want of memory. */
	void (*died)(struct thaw_runtime *runtime, int status, bool oom);
	/* Before that: what it said over sockets can still be read. */
	void (*dying)(struct thaw_runtime *runtime);
};

/*
 * Starts the bootstrap of the function. `*api_fd` is the agent's end of a stream socket that the
 * runtime has as descriptor 3 and may speak the Runtime API on, instead of TCP (docs/protocol.md);
 * the caller owns it.
 *
 * -ENOENT: no bootstrap; -ENOEXEC and others: it would not start. The message is the one Lambda
 * gives behind "Error: ".
 */
int thaw_runtime_start(struct thaw_runtime *runtime, const Thaw__Agent__Function *function,
		       const char *log_stream, int *api_fd, struct thaw_error *err);

/* SIGKILL to it and all its descendants. `died` follows from thaw_runtime_reap. */
void thaw_runtime_kill(struct thaw_runtime *runtime);
void thaw_runtime_signal(struct thaw_runtime *runtime, int signal);

/* Collects every dead child, its own and (as PID 1) those of others. For SIGCHLD. */
void thaw_runtime_reap(struct thaw_runtime *runtime);

static inline bool thaw_runtime_is_alive(const struct thaw_runtime *runtime)
{
	return runtime->pid != 0;
}

#endif
