/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock (Virtual I/O Device 1.2, section 5.10): stream sockets between guest and host. The
 * host's ends are Unix stream sockets:
 *
 *  - Host to guest: a client of the listener, or of a socket given to thaw_vsock_attach, sends
 *    "CONNECT <port>\n" (decimal); when the guest has accepted, it reads "OK <host port>\n", and
 *    from there on the stream is the connection. A refusal closes the socket. Before the guest's
 *    driver is up, or if the guest does not answer, the connection waits until its client closes.
 *  - Guest to host: for each connection one packet "<port>\n" with a connected stream socket
 *    attached is sent on the forward socket. Without one they are refused.
 *
 * shutdown(2) of one direction goes through both ways. A snapshot keeps no connection: its guest
 * sees them reset; listeners of the guest survive.
 *
 * All functions but create are called with the machine's device lock held.
 */
#ifndef THAW_VMM_DEVICES_VSOCK_H
#define THAW_VMM_DEVICES_VSOCK_H

#include "vmm/virtio/device.h"

#define THAW_VSOCK_CONNECTIONS_MAX 1024u

struct thaw_vsock;

extern const struct thaw_virtio_ops thaw_vsock_ops;

/* `listener_fd` (a listening Unix stream socket) and `forward_fd` (a connected SOCK_SEQPACKET) may
 * be -1; they are set to non-blocking, and belong to the device, also when this fails. For
 * thaw_virtio_mmio_create with thaw_vsock_ops, which then owns the device. */
int thaw_vsock_create(struct thaw_vsock **out, struct thaw_loop *loop, uint64_t guest_cid,
		      int listener_fd, int forward_fd, struct thaw_error *err);

/* Serves a connected Unix stream socket as one accepted from the listener. Its greeting, if it is
 * there already, is handled before this returns: a request then waits in the guest's queue for its
 * first instruction. `fd` belongs to the device, also when this fails. -EINVAL: not a stream
 * socket; -ENOSPC: too many connections. */
int thaw_vsock_attach(struct thaw_vsock *vsock, int fd, struct thaw_error *err);

/* Payload bytes so far. */
void thaw_vsock_statistics(const struct thaw_vsock *vsock, uint64_t *to_guest,
			   uint64_t *from_guest);

#endif
