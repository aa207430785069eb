/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jail's outer half, which thaw-vmm builds around itself before it reads its first message: it
 *has nothing then but its program, a socket, and standard error.
 *
 *	namespaces	mount, network, IPC, UTS, control groups: of its own, and empty
 *	root		an empty file system that cannot be written, by pivot_root(2)
 *	user		a uid and gid of its own on this host, no groups, no capabilities
 *	limits		no core files, few threads, no files beyond what a snapshot is
 *
 * A namespace of processes it has not: it would take another process to enter one, and of the calls
 * that take a process's number the filter (sandbox.h) leaves one, for threads, which reaches nobody
 * of another uid.
 */
#ifndef THAW_VMM_JAIL_H
#define THAW_VMM_JAIL_H

struct thaw_error;

/* The uid (and gid) of a thaw-vmm is this and its process id: no two that live have the same. */
#define THAW_JAIL_UID_BASE 0x40000000u

/* For the whole process, with one thread; there is no way back. Wants CAP_SYS_ADMIN, CAP_SETUID and
 * CAP_SETGID. -EPERM, -ESRCH: whoever started it is gone. */
int thaw_jail_enter(struct thaw_error *err);

#endif
