/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two sides of a vsock device for its tests: a guest's kernel in miniature, and host programs
 * on Unix sockets. One of each at a time; a failure ends the test.
 */
#ifndef THAW_TESTS_UNIT_VIRTIO_VSOCK_GUEST_H
#define THAW_TESTS_UNIT_VIRTIO_VSOCK_GUEST_H

#include <linux/virtio_vsock.h>

#include "tests/unit/virtio_driver.h"
#include "vmm/devices/vsock.h"

#define VSOCK_CID    3u
#define VSOCK_HOST   2u
#define VSOCK_RX     0u
#define VSOCK_TX     1u
#define VSOCK_EVENT  2u
#define VSOCK_ALLOC  65536u
#define VSOCK_BUFFER 4096u /* payload of a receive buffer */
#define VSOCK_HDR    ((uint32_t)sizeof(struct virtio_vsock_hdr))

extern struct driver driver;
extern struct thaw_vsock *vsock;
extern struct thaw_error err;
extern int forward; /* the host's end of the forward socket */

/* The packet that the guest received last. */
extern struct virtio_vsock_hdr got;
extern uint8_t got_data[VSOCK_BUFFER];

/* A device with a listener, and a driver that has not begun: for each test. */
int vsock_setup(void **state);
int vsock_teardown(void **state);
/* The driver comes up, with event buffers and receive buffers. */
void vsock_start(void);
void vsock_rx_fill(unsigned int count);

/* The next packet for the guest, whose buffer is given back at once. */
bool vsock_rx(void);
void vsock_expect(uint16_t op);
void vsock_expect_nothing(void);

/* A packet of the guest; its addresses; one on the connection of the packet received last. */
void vsock_tx_raw(struct virtio_vsock_hdr header, const void *data, uint32_t size);
struct virtio_vsock_hdr vsock_header(uint32_t host_port, uint32_t guest_port, uint16_t op,
				     uint32_t size);
void vsock_tx(uint16_t op, const void *data, uint32_t size);
void vsock_tx_shutdown(uint32_t flags);

/* A host program: connects and says `greeting`; what it reads then. */
int host_connect(const char *greeting);
void host_expect(int fd, const char *text);
void host_expect_nothing(int fd);
void host_expect_end(int fd);
void host_expect_ok(int fd);
/* A connection from the host that the guest has accepted. */
int vsock_established(void);

/* The machine is saved, and a clone of it runs on in its place. */
void vsock_snapshot_and_restore(void);

#endif
