/* SPDX-License-Identifier: Apache-2.0 */
/* vsock: connections from their beginning to their end. */
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

static void test_config(void **state)
{
	uint64_t cid;
	uint32_t half;

	(void)state;
	thaw_virtio_mmio_bus_ops.read(driver.mmio, 0x100, &cid, sizeof(cid));
	assert_int_equal(cid, VSOCK_CID);
	thaw_virtio_mmio_bus_ops.read(driver.mmio, 0x104, &half, sizeof(half));
	assert_int_equal(half, 0);
	assert_int_equal(driver_read(&driver, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_VSOCK);
}

static void test_host_connects(void **state)
{
	(void)state;
	vsock_start();
	int fd = vsock_established();
	assert_int_equal(thaw_write_full(fd, "ping", 4), 0);
	driver_settle(&driver);
	vsock_expect(VIRTIO_VSOCK_OP_RW);
	assert_int_equal(got.len, 4);
	assert_memory_equal(got_data, "ping", 4);
	vsock_tx(VIRTIO_VSOCK_OP_RW, "pong", 4);
	host_expect(fd, "pong");
	/* Nothing but these: no credit was needed. */
	vsock_expect_nothing();
	uint64_t to_guest, from_guest;
	thaw_vsock_statistics(vsock, &to_guest, &from_guest);
	assert_int_equal(to_guest, 4);
	assert_int_equal(from_guest, 4);
	close(fd);
	driver_settle(&driver);
	vsock_expect(VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(got.flags, 3);
	vsock_tx(VIRTIO_VSOCK_OP_RST, NULL, 0);
	vsock_expect_nothing();
}

static void test_greeting_in_pieces(void **state)
{
	(void)state;
	vsock_start();
	int fd = host_connect("CONN");
	vsock_expect_nothing();
	assert_int_equal(thaw_write_full(fd, "ECT 10", 6), 0);
	driver_settle(&driver);
	vsock_expect_nothing();
	/* With the first bytes of the stream behind it. */
	assert_int_equal(thaw_write_full(fd, "24\nhello", 8), 0);
	driver_settle(&driver);
	vsock_expect(VIRTIO_VSOCK_OP_REQUEST);
	vsock_expect_nothing();
	vsock_tx(VIRTIO_VSOCK_OP_RESPONSE, NULL, 0);
	vsock_expect(VIRTIO_VSOCK_OP_RW);
	assert_memory_equal(got_data, "hello", 5);
	host_expect_ok(fd);
	close(fd);
}

static void test_bad_greetings(void **state)
{
	static const char *const bad[] = {
		"\n",
		"CONNECT \n",
		"CONNECT x\n",
		"CONNECT -1\n",
		"CONNECT 1 \n",
		"connect 1\n",
		"CONNECT 4294967295\n",
		"CONNECT 4294967296\n",
		"CONNECT 99999999999999999999\n",
		"CONNECT 1\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
	};

	(void)state;
	vsock_start();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = host_connect(bad[i]);
		char c;
		assert_true(recv(fd, &c, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN);
		close(fd);
		errno = 0;
	}
	vsock_expect_nothing();
	int fd = host_connect("CONNECT 4294967294\n");
	vsock_expect(VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(got.dst_port, 4294967294u);
	close(fd);
}

static void test_attach(void **state)
{
	int pair[2], pipes[2];

	(void)state;
	vsock_start();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(thaw_write_full(pair[0], "CONNECT 7\n", 10), 0);
	assert_int_equal(thaw_vsock_attach(vsock, pair[1], &err), 0);
	/* Without a turn of the loop. */
	vsock_expect(VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(got.dst_port, 7);
	close(pair[0]);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(thaw_vsock_attach(vsock, pipes[0], &err), -EINVAL);
	close(pipes[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(thaw_vsock_attach(vsock, pair[1], &err), -EINVAL);
	close(pair[0]);
}

static void test_waits_for_the_driver(void **state)
{
	(void)state;
	int fd = host_connect("CONNECT 1024\n");
	int gone = host_connect("CONNECT 1025\n");
	close(gone);
	driver_settle(&driver);
	host_expect_nothing(fd);
	vsock_start(); /* with the reset that a driver begins with */
	driver_settle(&driver);
	vsock_expect(VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(got.dst_port, 1024);
	vsock_expect_nothing();
	vsock_tx(VIRTIO_VSOCK_OP_RESPONSE, NULL, 0);
	host_expect_ok(fd);
	close(fd);
}

static void test_guest_refuses(void **state)
{
	(void)state;
	vsock_start();
	int fd = host_connect("CONNECT 9\n");
	vsock_expect(VIRTIO_VSOCK_OP_REQUEST);
	vsock_tx(VIRTIO_VSOCK_OP_RST, NULL, 0);
	host_expect_end(fd);
	close(fd);
	vsock_expect_nothing();
}

static void test_guest_does_not_answer(void **state)
{
	(void)state;
	vsock_start();
	int fd = host_connect("CONNECT 9\n");
	vsock_expect(VIRTIO_VSOCK_OP_REQUEST);
	vsock_expect_nothing();
	host_expect_nothing(fd);
	close(fd);
	driver_settle(&driver);
	vsock_expect(VIRTIO_VSOCK_OP_RST);
	vsock_tx(VIRTIO_VSOCK_OP_RESPONSE, NULL, 0); /* too late */
	vsock_expect(VIRTIO_VSOCK_OP_RST);
}

static void test_guest_connects(void **state)
{
	char text[32] = "";
	int fds[THAW_FDS_MAX];
	size_t count;

	(void)state;
	vsock_start();
	vsock_tx_raw(vsock_header(5000, 77, VIRTIO_VSOCK_OP_REQUEST, 0), NULL, 0);
	assert_int_equal(thaw_recv_fds(forward, text, sizeof(text), fds, &count), 5);
	assert_string_equal(text, "5000\n");
	assert_int_equal(count, 1);
	vsock_expect(VIRTIO_VSOCK_OP_RESPONSE);
	assert_int_equal(got.src_port, 5000);
	assert_int_equal(got.dst_port, 77);
	vsock_tx(VIRTIO_VSOCK_OP_RW, "hello", 5);
	host_expect(fds[0], "hello");
	assert_int_equal(thaw_write_full(fds[0], "world", 5), 0);
	driver_settle(&driver);
	vsock_expect(VIRTIO_VSOCK_OP_RW);
	assert_memory_equal(got_data, "world", 5);
	vsock_tx_shutdown(3);
	vsock_expect(VIRTIO_VSOCK_OP_RST);
	host_expect_end(fds[0]);
	close(fds[0]);
	/* The same ports again, after their end. */
	vsock_tx_raw(vsock_header(5000, 77, VIRTIO_VSOCK_OP_REQUEST, 0), NULL, 0);
	assert_int_equal(thaw_recv_fds(forward, text, sizeof(text), fds, &count), 5);
	vsock_expect(VIRTIO_VSOCK_OP_RESPONSE);
	close(fds[0]);
}

static void test_nobody_to_forward_to(void **state)
{
	(void)state;
	vsock_start();
	close(forward);
	forward = -1;
	vsock_tx_raw(vsock_header(5000, 77, VIRTIO_VSOCK_OP_REQUEST, 0), NULL, 0);
	vsock_expect(VIRTIO_VSOCK_OP_RST);
	assert_int_equal(got.src_port, 5000);
	assert_int_equal(got.dst_port, 77);
}

static void test_half_close_by_host(void **state)
{
	(void)state;
	vsock_start();
	int fd = vsock_established();
	assert_int_equal(thaw_write_full(fd, "last", 4), 0);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	driver_settle(&driver);
	vsock_expect(VIRTIO_VSOCK_OP_RW);
	vsock_expect(VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(got.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	vsock_expect_nothing();
	vsock_tx(VIRTIO_VSOCK_OP_RW, "answer", 6);
	host_expect(fd, "answer");
	vsock_tx_shutdown(3);
	vsock_expect(VIRTIO_VSOCK_OP_RST);
	host_expect_end(fd);
	close(fd);
	vsock_expect_nothing();
}

static void test_half_close_by_guest(void **state)
{
	(void)state;
	vsock_start();
	int fd = vsock_established();
	vsock_tx(VIRTIO_VSOCK_OP_RW, "bye", 3);
	vsock_tx_shutdown(VIRTIO_VSOCK_SHUTDOWN_SEND);
	host_expect(fd, "bye");
	host_expect_end(fd);
	assert_int_equal(thaw_write_full(fd, "more", 4), 0);
	driver_settle(&driver);
	vsock_expect(VIRTIO_VSOCK_OP_RW);
	assert_memory_equal(got_data, "more", 4);
	/* It said that it would send no more. */
	vsock_tx(VIRTIO_VSOCK_OP_RW, "x", 1);
	vsock_expect(VIRTIO_VSOCK_OP_RST);
	close(fd);
}

static void test_guest_reads_no_more(void **state)
{
	(void)state;
	vsock_start();
	int fd = vsock_established();
	vsock_tx_shutdown(VIRTIO_VSOCK_SHUTDOWN_RCV);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	vsock_tx(VIRTIO_VSOCK_OP_RW, "still", 5);
	host_expect(fd, "still");
	vsock_tx_shutdown(VIRTIO_VSOCK_SHUTDOWN_SEND);
	vsock_expect(VIRTIO_VSOCK_OP_RST);
	close(fd);
	vsock_expect_nothing();
}

static void test_host_reads_no_more(void **state)
{
	(void)state;
	vsock_start();
	int fd = vsock_established();
	shutdown(fd, SHUT_RD);
	driver_settle(&driver);
	vsock_tx(VIRTIO_VSOCK_OP_RW, "lost", 4);
	vsock_expect(VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(got.flags, VIRTIO_VSOCK_SHUTDOWN_RCV);
	assert_int_equal(thaw_write_full(fd, "heard", 5), 0);
	driver_settle(&driver);
	vsock_expect(VIRTIO_VSOCK_OP_RW);
	assert_memory_equal(got_data, "heard", 5);
	vsock_tx(VIRTIO_VSOCK_OP_RW, "lost", 4);
	close(fd);
	driver_settle(&driver);
	vsock_expect(VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(got.flags, 3);
}

/* What a host program wrote before it closed is delivered, though the guest talks meanwhile. */
static void test_close_loses_nothing(void **state)
{
	(void)state;
	vsock_start();
	int fd = vsock_established();
	assert_int_equal(thaw_write_full(fd, "shut down", 9), 0);
	close(fd);
	struct virtio_vsock_hdr header =
		vsock_header(got.src_port, got.dst_port, VIRTIO_VSOCK_OP_RW, 3);
	struct driver_buffer buffers[2] = {{.out = &header, .size = VSOCK_HDR},
					   {.out = "log", .size = 3}};
	driver_add(&driver, VSOCK_TX, buffers, 2, 0);
	driver_kick(&driver, VSOCK_TX); /* before the loop hears of the close */
	driver_settle(&driver);
	bool heard = false;
	while (vsock_rx()) {
		assert_true(got.op == VIRTIO_VSOCK_OP_RW || got.op == VIRTIO_VSOCK_OP_SHUTDOWN);
		heard |= got.op == VIRTIO_VSOCK_OP_RW && !memcmp(got_data, "shut down", 9);
	}
	assert_true(heard);
	assert_int_equal(got.op, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(got.flags, 3);
}

static void test_driver_resets(void **state)
{
	(void)state;
	vsock_start();
	int fd = vsock_established();
	int unheard = host_connect("CONN");
	vsock_start();
	host_expect_end(fd);
	assert_int_equal(thaw_write_full(unheard, "ECT 5\n", 6), 0);
	driver_settle(&driver);
	vsock_expect(VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(got.dst_port, 5);
	close(fd);
	close(unheard);
}

/* What interrupted the driver; and it wants to be interrupted by the next buffer of each queue, as
 * Linux does (2.7.10, used_event). */
static uint32_t interrupted(void)
{
	uint32_t status = driver_interrupt(&driver);

	for (unsigned int i = 0; i < VSOCK_EVENT; i++) {
		struct driver_queue *queue = &driver.queue[i];
		uint16_t *event = driver_at(&driver, queue->avail + 4 + 2ull * queue->size);
		*event = queue->last_used;
	}
	return status;
}

/* One invocation: a packet each way, one interrupt, and no system call to spare. */
static void test_round_trip_is_lean(void **state)
{
	(void)state;
	vsock_start();
	int fd = vsock_established();
	interrupted();
	for (unsigned int i = 0; i < 1000; i++) {
		assert_int_equal(thaw_write_full(fd, "event", 5), 0);
		assert_true(driver_turn(&driver, 0)); /* one wake-up */
		assert_false(driver_turn(&driver, 0));
		assert_int_equal(driver_interrupt(&driver), VIRTIO_MMIO_INT_VRING);
		vsock_expect(VIRTIO_VSOCK_OP_RW);
		assert_false(vsock_rx());
		struct virtio_vsock_hdr header =
			vsock_header(got.src_port, got.dst_port, VIRTIO_VSOCK_OP_RW, 6);
		header.fwd_cnt = 5 * (i + 1);
		vsock_tx_raw(header, "answer", 6);
		assert_int_equal(interrupted(), 0);
		host_expect(fd, "answer");
		assert_false(vsock_rx());
	}
	close(fd);
}

/* Who is given nothing hears of what was taken from him before it is much. */
static void test_taken_packets_are_told(void **state)
{
	static const uint8_t large[32768];

	(void)state;
	vsock_start();
	int fd = vsock_established();
	interrupted();
	/* One is taken already: it accepted the connection. */
	for (unsigned int i = 2; i <= 3 * DRIVER_QUEUE; i++) {
		vsock_tx(VIRTIO_VSOCK_OP_RW, "a", 1);
		host_expect(fd, "a");
		assert_int_equal(interrupted(),
				 i % (DRIVER_QUEUE / 4) == 0 ? VIRTIO_MMIO_INT_VRING : 0);
	}
	vsock_tx(VIRTIO_VSOCK_OP_RW, large, sizeof(large));
	assert_int_equal(interrupted(), VIRTIO_MMIO_INT_VRING);
	close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, vsock_setup, vsock_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_config),
		TEST(test_host_connects),
		TEST(test_greeting_in_pieces),
		TEST(test_bad_greetings),
		TEST(test_attach),
		TEST(test_waits_for_the_driver),
		TEST(test_guest_refuses),
		TEST(test_guest_does_not_answer),
		TEST(test_guest_connects),
		TEST(test_nobody_to_forward_to),
		TEST(test_half_close_by_host),
		TEST(test_half_close_by_guest),
		TEST(test_guest_reads_no_more),
		TEST(test_host_reads_no_more),
		TEST(test_close_loses_nothing),
		TEST(test_driver_resets),
		TEST(test_round_trip_is_lean),
		TEST(test_taken_packets_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
