/* SPDX-License-Identifier: Apache-2.0 */
/* vsock: guests that break the rules or want too much. */
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

static void test_strangers(void **state)
{
	(void)state;
	vsock_start();
	static const uint16_t ops[] = {0, 2, 4, 5, 6, 7, 8, 65535};
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		vsock_tx_raw(vsock_header(1, 2, ops[i], 0), NULL, 0);
		vsock_expect(VIRTIO_VSOCK_OP_RST);
		assert_int_equal(got.src_port, 1);
		assert_int_equal(got.dst_port, 2);
		driver_kick(&driver, VSOCK_RX);
	}
	vsock_tx_raw(vsock_header(1, 2, VIRTIO_VSOCK_OP_RST, 0), NULL, 0);
	vsock_expect_nothing(); /* RST is not answered */
	struct virtio_vsock_hdr header = vsock_header(1, 2, VIRTIO_VSOCK_OP_REQUEST, 0);
	header.src_cid = 4; /* another guest's name */
	vsock_tx_raw(header, NULL, 0);
	vsock_expect_nothing();
	header.src_cid = VSOCK_CID;
	header.dst_cid = 5;
	vsock_tx_raw(header, NULL, 0);
	assert_true(vsock_rx());
	assert_int_equal(got.op, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(got.src_cid, 5);
	header.dst_cid = VSOCK_HOST;
	header.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	vsock_tx_raw(header, NULL, 0);
	assert_true(vsock_rx());
	assert_int_equal(got.op, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(got.type, VIRTIO_VSOCK_TYPE_SEQPACKET);
}

static void test_out_of_turn(void **state)
{
	static const uint16_t open_ops[] = {0, 1, 2, 8, 65535};
	static const uint16_t requested_ops[] = {0, 1, 4, 5, 6, 7, 99};

	(void)state;
	vsock_start();
	for (size_t i = 0; i < sizeof(open_ops) / sizeof(open_ops[0]); i++) {
		driver_kick(&driver, VSOCK_RX);
		int fd = vsock_established();
		vsock_tx(open_ops[i], NULL, 0);
		vsock_expect(VIRTIO_VSOCK_OP_RST);
		host_expect_end(fd);
		close(fd);
	}
	for (size_t i = 0; i < sizeof(requested_ops) / sizeof(requested_ops[0]); i++) {
		driver_kick(&driver, VSOCK_RX);
		int fd = host_connect("CONNECT 9\n");
		vsock_expect(VIRTIO_VSOCK_OP_REQUEST);
		vsock_tx(requested_ops[i], NULL, 0);
		vsock_expect(VIRTIO_VSOCK_OP_RST);
		host_expect_end(fd);
		close(fd);
	}
	vsock_expect_nothing();
}

static void test_broken_packets(void **state)
{
	static const uint8_t data[VSOCK_HDR] = {0};
	struct virtio_vsock_hdr header = vsock_header(1, 2, VIRTIO_VSOCK_OP_RW, 0);

	(void)state;
	for (unsigned int how = 0; how < 5; how++) {
		vsock_start();
		struct driver_buffer buffers[2] = {{.out = &header, .size = VSOCK_HDR},
						   {.out = data, .size = 10}};
		header.len = how == 0 ? 11 : how == 1 ? UINT32_MAX : 0;
		if (how == 2)
			buffers[0].size = VSOCK_HDR - 1;
		driver_add(&driver, VSOCK_TX, buffers, how == 2 ? 1 : how == 3 ? 0 : 2, how == 3);
		if (how == 4)
			driver_desc(&driver, VSOCK_TX, 0)->addr = DRIVER_MEMORY;
		driver_kick(&driver, VSOCK_TX);
		assert_true(driver_status(&driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	}
	/* A longer buffer than the packet is none of our business. */
	vsock_start();
	vsock_tx_raw(header, data, 10);
	vsock_expect(VIRTIO_VSOCK_OP_RST);
}

static void test_broken_receive_buffers(void **state)
{
	(void)state;
	for (unsigned int how = 0; how < 3; how++) {
		driver_start(&driver, 0);
		struct driver_buffer buffer = {.size = how == 0 ? VSOCK_HDR : how == 1 ? 10 : 4096};
		driver_add(&driver, VSOCK_RX, &buffer, how == 2, how != 2);
		int fd = host_connect("CONNECT 1\n");
		assert_true(driver_status(&driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
		close(fd);
	}
}

/* Refusals without buffers to tell them in: the guest's packets are held back, not piled up. */
static void test_refusals_are_bounded(void **state)
{
	struct virtio_vsock_hdr header = vsock_header(1, 2, VIRTIO_VSOCK_OP_RW, 0);
	unsigned int answered = 0, sent = 0;
	uint16_t head;
	uint32_t size;

	(void)state;
	driver_start(&driver, 1ull << VIRTIO_RING_F_EVENT_IDX);
	for (unsigned int i = 0; i < 100; i++) {
		struct driver_buffer buffer = {.out = &header, .size = VSOCK_HDR};
		if ((uint16_t)(driver.queue[VSOCK_TX].avail_idx -
			       driver.queue[VSOCK_TX].last_used) == DRIVER_QUEUE)
			break; /* the device takes no more */
		driver_add(&driver, VSOCK_TX, &buffer, 1, 0);
		sent++;
		driver_kick(&driver, VSOCK_TX);
		while (driver_used(&driver, VSOCK_TX, &head, &size))
			;
	}
	assert_true(sent < 100);
	vsock_rx_fill(4);
	for (unsigned int i = 0; i < 200; i++) {
		driver_settle(&driver);
		while (vsock_rx())
			answered++;
		driver_kick(&driver, VSOCK_RX);
	}
	assert_int_equal(answered, sent);
}

static void test_connections_are_bounded(void **state)
{
	unsigned int accepted = 0, refused = 0;
	static int fds[THAW_VSOCK_CONNECTIONS_MAX];

	(void)state;
	vsock_start();
	for (uint32_t i = 0; i < 3 * THAW_VSOCK_CONNECTIONS_MAX; i++) {
		char text[32];
		int received[THAW_FDS_MAX];
		size_t count;
		vsock_tx_raw(vsock_header(5000, i, VIRTIO_VSOCK_OP_REQUEST, 0), NULL, 0);
		assert_true(vsock_rx());
		if (got.op == VIRTIO_VSOCK_OP_RESPONSE) {
			assert_true(thaw_recv_fds(forward, text, sizeof(text), received, &count) >
				    0);
			fds[accepted++] = received[0];
		} else {
			assert_int_equal(got.op, VIRTIO_VSOCK_OP_RST);
			refused++;
		}
		driver_kick(&driver, VSOCK_RX);
	}
	assert_int_equal(accepted, THAW_VSOCK_CONNECTIONS_MAX);
	assert_int_equal(refused, 2 * THAW_VSOCK_CONNECTIONS_MAX);
	/* The listener waits too, and comes back when one goes. */
	int fd = host_connect("CONNECT 1\n");
	vsock_expect_nothing();
	vsock_tx_raw(vsock_header(5000, 7, VIRTIO_VSOCK_OP_RST, 0), NULL, 0);
	vsock_expect(VIRTIO_VSOCK_OP_REQUEST);
	close(fd);
	for (unsigned int i = 0; i < accepted; i++)
		close(fds[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, vsock_setup, vsock_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_strangers),
		TEST(test_out_of_turn),
		TEST(test_broken_packets),
		TEST(test_broken_receive_buffers),
		TEST(test_refusals_are_bounded),
		TEST(test_connections_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
