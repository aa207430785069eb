/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jail's outer half, which thaw-vmm builds around itself before it reads its first message: it
 * has nothing then but its program, a socket, and standard error.
 *
 *	namespaces	mount, network, IPC, UTS, control groups: of its own, and empty. That of
 *			processes, where it is alone, it was born in (host/vmm_client.c)
 *	root		an empty file system that cannot be written, by pivot_root(2)
 *	user		a uid and gid of its own on this host, no groups, no capabilities
 *	cores		the other hardware threads of a core it runs on are its own, too, or idle
 *			(Documentation/admin-guide/hw-vuln/core-scheduling.rst), where the kernel
 *			can see to that
 *	limits		no core files, few threads, descriptors and locked pages, and no file
 *			larger than the largest guest
 *
 * A namespace of users it has not. In one it would have a root's capabilities over its other
 * namespaces until it gave them up, where now it has none over anything; the kernel's code for
 * those would be within reach; and its user would be of the host all the same.
 */
#ifndef THAW_VMM_JAIL_H
#define THAW_VMM_JAIL_H

struct thaw_error;

/* Where nobody allots users, the uid (and gid) of a thaw-vmm is this and its process id as /proc
 * has it: no two have the same that live in one namespace of processes. */
#define THAW_JAIL_UID_BASE 0x40000000u

/* For the whole process, with one thread; there is no way back. `user`: its uid and gid; 0: by its
 * process id. Wants CAP_SYS_ADMIN, CAP_SETUID and CAP_SETGID. -EPERM, -ESRCH: whoever started it,
 * and holds the other end of `socket`, is gone. */
int thaw_jail_enter(unsigned int user, int socket, struct thaw_error *err);

#endif
