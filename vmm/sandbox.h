/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jail's inner half: seccomp filters that leave the system calls of a running microVM, each
 * with its reason (sandbox_table.c). None opens a path, makes a process, reaches the network, or
 * makes memory executable: a guest that takes over the VMM has the descriptors the host gave for it
 * and nothing else.
 *
 * The process has one filter before it reads its first message. Each thread leaves more behind as
 * soon as it knows what it will be. That hampers who takes over one thread, and is no wall: threads
 * share their memory. What holds for all is the first filter.
 */
#ifndef THAW_VMM_SANDBOX_H
#define THAW_VMM_SANDBOX_H

struct sock_fprog;
struct thaw_error;

/* For this thread and all made later; there is no way back. A forbidden call ends the process
 * (SIGSYS), which the host reports. */
int thaw_sandbox_enter(struct thaw_error *err);

/* The calling thread is of this kind (THAW_SANDBOX_*, sandbox_table.h) from now on; nothing where
 * the process is not in its sandbox. What cannot be narrowed ends the process. */
void thaw_sandbox_narrow(unsigned int kind);

/* A kind's filter, as it is loaded; for tests. */
struct sock_fprog thaw_sandbox_filter(unsigned int kind);

#endif
