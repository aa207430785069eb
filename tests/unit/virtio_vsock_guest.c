/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/virtio_vsock_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/fd.h"

struct driver driver;
struct thaw_vsock *vsock;
struct thaw_error err;
int forward;
struct virtio_vsock_hdr got;
uint8_t got_data[VSOCK_BUFFER];

static struct sockaddr_un address;
static socklen_t address_size;

static void vsock_make(void)
{
	int listener, pair[2];

	/* An abstract address: nothing to clean up. */
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(listener >= 0);
	address = (struct sockaddr_un){.sun_family = AF_UNIX};
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	address_size = sizeof(address);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &address_size), 0);
	assert_int_equal(listen(listener, 16), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	forward = pair[0];
	assert_int_equal(
		thaw_vsock_create(&vsock, &driver.loop, VSOCK_CID, listener, pair[1], &err), 0);
}

int vsock_setup(void **state)
{
	(void)state;
	driver_create(&driver);
	vsock_make();
	driver_attach(&driver, &thaw_vsock_ops, vsock);
	return 0;
}

int vsock_teardown(void **state)
{
	(void)state;
	close(forward);
	driver_destroy(&driver);
	return 0;
}

/* Two descriptors a buffer, as Linux 6.1 has them. */
static void rx_add(void)
{
	struct driver_buffer buffers[2] = {{.size = VSOCK_HDR}, {.size = VSOCK_BUFFER}};

	driver_add(&driver, VSOCK_RX, buffers, 0, 2);
}

void vsock_rx_fill(unsigned int count)
{
	while (count--)
		rx_add();
	driver_kick(&driver, VSOCK_RX);
}

void vsock_start(void)
{
	driver_start(&driver, 1ull << VIRTIO_RING_F_EVENT_IDX);
	for (unsigned int i = 0; i < 4; i++) {
		struct driver_buffer event = {.size = 4};
		driver_add(&driver, VSOCK_EVENT, &event, 0, 1);
	}
	driver_kick(&driver, VSOCK_EVENT);
	vsock_rx_fill(DRIVER_QUEUE / 2);
}

/* The next packet for the guest, whose buffer is given back. */
bool vsock_rx(void)
{
	uint16_t head;
	uint32_t size;

	if (!driver_used(&driver, VSOCK_RX, &head, &size))
		return false;
	assert_true(size >= VSOCK_HDR);
	const struct vring_desc *first = driver_desc(&driver, VSOCK_RX, head);
	const struct vring_desc *second = driver_desc(&driver, VSOCK_RX, first->next);
	memcpy(&got, driver_at(&driver, first->addr), VSOCK_HDR);
	assert_int_equal(got.len, size - VSOCK_HDR);
	assert_true(got.len <= VSOCK_BUFFER);
	memcpy(got_data, driver_at(&driver, second->addr), got.len);
	assert_int_equal(got.dst_cid, VSOCK_CID);
	driver_publish(&driver, VSOCK_RX, head);
	return true;
}

void vsock_expect(uint16_t op)
{
	assert_true(vsock_rx());
	assert_int_equal(got.op, op);
	assert_int_equal(got.src_cid, VSOCK_HOST);
	assert_int_equal(got.type, VIRTIO_VSOCK_TYPE_STREAM);
}

void vsock_expect_nothing(void)
{
	driver_settle(&driver);
	assert_false(vsock_rx());
}

void vsock_tx_raw(struct virtio_vsock_hdr header, const void *data, uint32_t size)
{
	struct driver_buffer buffers[2] = {{.out = &header, .size = VSOCK_HDR},
					   {.out = data, .size = size}};
	uint16_t head;
	uint32_t used;

	driver_add(&driver, VSOCK_TX, buffers, size ? 2 : 1, 0);
	driver_kick(&driver, VSOCK_TX);
	driver_settle(&driver);
	if (driver_used(&driver, VSOCK_TX, &head, &used))
		assert_int_equal(used, 0);
}

struct virtio_vsock_hdr vsock_header(uint32_t host_port, uint32_t guest_port, uint16_t op,
				     uint32_t size)
{
	return (struct virtio_vsock_hdr){
		.src_cid = VSOCK_CID,
		.dst_cid = VSOCK_HOST,
		.src_port = guest_port,
		.dst_port = host_port,
		.len = size,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc = VSOCK_ALLOC,
	};
}

/* A packet of the guest on the connection of the last packet received. */
void vsock_tx(uint16_t op, const void *data, uint32_t size)
{
	vsock_tx_raw(vsock_header(got.src_port, got.dst_port, op, size), data, size);
}

void vsock_tx_shutdown(uint32_t flags)
{
	struct virtio_vsock_hdr header =
		vsock_header(got.src_port, got.dst_port, VIRTIO_VSOCK_OP_SHUTDOWN, 0);

	header.flags = flags;
	vsock_tx_raw(header, NULL, 0);
}

int host_connect(const char *greeting)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, address_size), 0);
	assert_int_equal(thaw_write_full(fd, greeting, strlen(greeting)), 0);
	driver_settle(&driver);
	return fd;
}

void host_expect(int fd, const char *text)
{
	char data[256] = "";

	assert_int_equal(recv(fd, data, strlen(text), MSG_DONTWAIT), strlen(text));
	assert_string_equal(data, text);
}

void host_expect_nothing(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

void host_expect_end(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), 0);
}

void host_expect_ok(int fd)
{
	char text[32];

	snprintf(text, sizeof(text), "OK %u\n", got.src_port);
	host_expect(fd, text);
}

/* A connection from the host that the guest has accepted. */
int vsock_established(void)
{
	int fd = host_connect("CONNECT 1024\n");

	vsock_expect(VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(got.dst_port, 1024);
	assert_true(got.buf_alloc >= 65536);
	vsock_tx(VIRTIO_VSOCK_OP_RESPONSE, NULL, 0);
	host_expect_ok(fd);
	return fd;
}

void vsock_snapshot_and_restore(void)
{
	close(forward);
	forward = -1;
	vsock_make();
	assert_int_equal(driver_snapshot(&driver, vsock, &err), 0);
}
