/* SPDX-License-Identifier: Apache-2.0 */
/* A child process that shares our memory until it executes a program: vfork(2), with namespaces and
 * a control group to be born in (clone(2)). */
#ifndef THAW_HOST_SPAWN_H
#define THAW_HOST_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

struct thaw_spawn {
	bool pid_namespace; /* one of its own, in which it is the first; wants CAP_SYS_ADMIN */
	int cgroup;         /* the directory of a group of version 2; -1: ours */
	/* Out: it was born there. Where clone3 is not to be had it is still to be moved. */
	bool placed;
};

/* Calls child(opaque) in the new process, on a stack of its own; it must end in execve or _exit,
 * make system calls only, and write to nothing but `opaque`. Returns when it has: its process id as
 * we know it, or a negative errno. All signals should be blocked. */
pid_t thaw_spawn(struct thaw_spawn *spawn, void (*child)(void *opaque), void *opaque);

#endif
