/* SPDX-License-Identifier: Apache-2.0 */
/* vsock: flow control in both directions. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/fd.h"
#include "tests/unit/virtio_vsock_guest.h"

static void test_credit_to_guest(void **state)
{
	static uint8_t data[2 * VSOCK_ALLOC];
	uint32_t total = 0;

	(void)state;
	vsock_start();
	int fd = vsock_established();
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	int size = sizeof(data);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	assert_int_equal(write(fd, data, sizeof(data)), sizeof(data));
	for (;;) {
		driver_kick(&driver, VSOCK_RX);
		driver_settle(&driver);
		if (!vsock_rx())
			break;
		assert_int_equal(got.op, VIRTIO_VSOCK_OP_RW);
		assert_memory_equal(got_data, data + total, got.len);
		total += got.len;
	}
	assert_int_equal(total, VSOCK_ALLOC); /* to the byte */
	/* The guest has read 1000. */
	struct virtio_vsock_hdr header =
		vsock_header(got.src_port, got.dst_port, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	header.fwd_cnt = 1000;
	vsock_tx_raw(header, NULL, 0);
	vsock_expect(VIRTIO_VSOCK_OP_RW);
	assert_int_equal(got.len, 1000);
	assert_memory_equal(got_data, data + total, 1000);
	total += 1000;
	vsock_expect_nothing();
	/* The rest comes after the host has gone. */
	close(fd);
	driver_settle(&driver);
	vsock_expect_nothing();
	header.fwd_cnt = total;
	vsock_tx_raw(header, NULL, 0);
	for (;;) {
		driver_kick(&driver, VSOCK_RX);
		driver_settle(&driver);
		if (!vsock_rx() || got.op != VIRTIO_VSOCK_OP_RW)
			break;
		assert_memory_equal(got_data, data + total, got.len);
		total += got.len;
	}
	assert_int_equal(total, sizeof(data));
	assert_int_equal(got.op, VIRTIO_VSOCK_OP_SHUTDOWN);
}

static void test_credit_lies(void **state)
{
	(void)state;
	vsock_start();
	int fd = vsock_established();
	struct virtio_vsock_hdr header =
		vsock_header(got.src_port, got.dst_port, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	header.fwd_cnt = 0x80000000u; /* read what was never sent */
	header.buf_alloc = 16;
	vsock_tx_raw(header, NULL, 0);
	assert_int_equal(thaw_write_full(fd, "data", 4), 0);
	vsock_expect_nothing();
	header.fwd_cnt = 0;
	header.buf_alloc = 0;
	vsock_tx_raw(header, NULL, 0);
	vsock_expect_nothing();
	header.buf_alloc = UINT32_MAX;
	vsock_tx_raw(header, NULL, 0);
	vsock_expect(VIRTIO_VSOCK_OP_RW);
	close(fd);
}

/* A host program that does not read: the guest's credit runs out, and comes back with the reading.
 */
static void test_credit_from_guest(void **state)
{
	static uint8_t data[16384];
	static uint8_t in[1 << 20];
	uint32_t sent = 0, received = 0, told = 0, alloc;
	unsigned int updates = 0;

	(void)state;
	vsock_start();
	int fd = vsock_established();
	struct virtio_vsock_hdr request = got;
	alloc = got.buf_alloc;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (sent < 8 * alloc) {
		while (alloc - (sent - told) >= sizeof(data) && sent < 8 * alloc) {
			for (size_t i = 0; i < sizeof(data); i++)
				data[i] = (uint8_t)((sent + i) * 13 + (sent + i) / 253);
			got = request;
			vsock_tx(VIRTIO_VSOCK_OP_RW, data, sizeof(data));
			sent += sizeof(data);
			while (vsock_rx()) {
				assert_int_equal(got.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
				told = got.fwd_cnt;
				updates++;
			}
		}
		ssize_t n = read(fd, in, sizeof(in));
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(in[i],
					 (uint8_t)((received + i) * 13 + (received + i) / 253));
		if (n > 0)
			received += (uint32_t)n;
		driver_settle(&driver);
		while (vsock_rx()) {
			assert_int_equal(got.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
			told = got.fwd_cnt;
			updates++;
		}
	}
	assert_true(updates < 8 * 4);
	/* What is still in flight when the guest closes reaches the host all the same. */
	got = request;
	vsock_tx_shutdown(3);
	for (;;) {
		ssize_t n = read(fd, in, sizeof(in));
		if (n == 0)
			break;
		if (n > 0)
			received += (uint32_t)n;
		driver_settle(&driver);
	}
	assert_int_equal(received, sent);
	while (vsock_rx())
		;
	assert_int_equal(got.op, VIRTIO_VSOCK_OP_RST);
	close(fd);
}

static void test_guest_resets_while_flushing(void **state)
{
	static uint8_t data[65536];
	ssize_t n;

	(void)state;
	vsock_start();
	int fd = vsock_established();
	struct virtio_vsock_hdr request = got;
	uint32_t sent = 0, received = 0;
	int small = 4096;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	for (unsigned int i = 0; i < 4; i++, sent += sizeof(data))
		vsock_tx(VIRTIO_VSOCK_OP_RW, data, sizeof(data));
	got = request;
	vsock_tx_shutdown(3);
	got = request;
	vsock_tx(VIRTIO_VSOCK_OP_RST, NULL, 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while ((n = read(fd, data, sizeof(data))) != 0) {
		received += n > 0 ? (uint32_t)n : 0;
		driver_settle(&driver);
	}
	assert_int_equal(received, sent);
	close(fd);
}

static void test_credit_overrun(void **state)
{
	static uint8_t data[65536];

	(void)state;
	vsock_start();
	int fd = vsock_established();
	struct virtio_vsock_hdr request = got;
	/* The host reads nothing: socket and buffer fill up, and then some. */
	for (unsigned int i = 0; i < 64; i++) {
		got = request;
		vsock_tx(VIRTIO_VSOCK_OP_RW, data, sizeof(data));
		if (vsock_rx() && got.op == VIRTIO_VSOCK_OP_RST)
			break;
	}
	assert_int_equal(got.op, VIRTIO_VSOCK_OP_RST);
	close(fd);
}

static void test_credit_request(void **state)
{
	(void)state;
	vsock_start();
	int fd = vsock_established();
	vsock_tx(VIRTIO_VSOCK_OP_RW, "abc", 3);
	vsock_tx(VIRTIO_VSOCK_OP_CREDIT_REQUEST, NULL, 0);
	vsock_expect(VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(got.fwd_cnt, 3);
	close(fd);
}

static void test_no_receive_buffers(void **state)
{
	(void)state;
	driver_start(&driver, 1ull << VIRTIO_RING_F_EVENT_IDX);
	int a = host_connect("CONNECT 1\n");
	int b = host_connect("CONNECT 2\n");
	vsock_expect_nothing();
	vsock_rx_fill(1);
	vsock_expect(VIRTIO_VSOCK_OP_REQUEST);
	vsock_tx(VIRTIO_VSOCK_OP_RESPONSE, NULL, 0); /* and this buffer comes back with a kick */
	driver_kick(&driver, VSOCK_RX);
	vsock_expect(VIRTIO_VSOCK_OP_REQUEST);
	vsock_tx(VIRTIO_VSOCK_OP_RESPONSE, NULL, 0);
	assert_int_equal(thaw_write_full(a, "a", 1), 0);
	assert_int_equal(thaw_write_full(b, "b", 1), 0);
	driver_settle(&driver); /* comes to rest, with no buffer for one of the two */
	driver_kick(&driver, VSOCK_RX);
	vsock_expect(VIRTIO_VSOCK_OP_RW);
	driver_settle(&driver);
	driver_kick(&driver, VSOCK_RX);
	vsock_expect(VIRTIO_VSOCK_OP_RW);
	close(a);
	close(b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, vsock_setup, vsock_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_credit_to_guest),    TEST(test_credit_lies),
		TEST(test_credit_from_guest),  TEST(test_guest_resets_while_flushing),
		TEST(test_credit_overrun),     TEST(test_credit_request),
		TEST(test_no_receive_buffers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
