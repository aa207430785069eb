/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system call filter of the handler. The microVM is the wall between tenants; this filter only
 * keeps a handler from what is the agent's, and shuts a few kernel doors no handler needs.
 */
#ifndef THAW_AGENT_GUARD_H
#define THAW_AGENT_GUARD_H

/* Installs the filter in the calling process, which must have no_new_privs set. 0 or a negative
 * errno. Makes one system call and touches no memory but its stack: it runs after vfork. */
int thaw_guard_install(void);

#endif
