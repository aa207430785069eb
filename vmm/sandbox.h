/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jail's inner half: a seccomp filter that leaves the system calls of a running microVM, each
 * with its reason (sandbox.c). None opens a path, makes a process, or reaches the network: a
 * guest that takes over the VMM has the descriptors the host gave for it and nothing else.
 */
#ifndef THAW_VMM_SANDBOX_H
#define THAW_VMM_SANDBOX_H

struct thaw_error;

/* For this thread and all made later; there is no way back. A forbidden call ends the process
 * (SIGSYS), which the host reports. */
int thaw_sandbox_enter(struct thaw_error *err);

#endif
