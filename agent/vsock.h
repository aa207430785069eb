/* SPDX-License-Identifier: Apache-2.0 */
/* The one door to the host: a listening vsock stream socket. */
#ifndef THAW_AGENT_VSOCK_H
#define THAW_AGENT_VSOCK_H

struct thaw_error;

#define THAW_VSOCK_PORT 1024

/* A non-blocking listener, or a negative errno. */
int thaw_vsock_listen(unsigned int port, struct thaw_error *err);

/* The next connection, non-blocking; -EAGAIN when there is none, -EPERM when the peer was not the
 * host (it has been closed: a process of this guest may reach the port where the kernel has vsock
 * loopback), or another negative errno. */
int thaw_vsock_accept(int listener);

#endif
