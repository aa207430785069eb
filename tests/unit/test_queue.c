/* SPDX-License-Identifier: Apache-2.0 */
/* The split virtqueue against drivers that keep the rules and drivers that do not. */
#include <errno.h>
#include <linux/virtio_ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/error.h"
#include "vmm/virtio/queue.h"

#define SIZE  8u
#define DESC  0x1000u
#define AVAIL 0x2000u
#define USED  0x3000u
#define DATA  0x10000u

static struct thaw_memory memory;
static struct thaw_virtqueue queue;
static struct thaw_chain chain;
static struct thaw_error err;

static int setup(void **state)
{
	(void)state;
	assert_int_equal(thaw_memory_create(&memory, 1 << 20, false, &err), 0);
	queue = (struct thaw_virtqueue){
		.memory = &memory,
		.size = SIZE,
		.size_max = 256,
		.ready = true,
		.desc = DESC,
		.avail = AVAIL,
		.used = USED,
	};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	thaw_memory_destroy(&memory);
	return 0;
}

static void desc(uint16_t i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	struct vring_desc d = {.addr = addr, .len = len, .flags = flags, .next = next};

	memcpy(memory.base + DESC + 16 * i, &d, sizeof(d));
}

static uint16_t *field(gpa_t gpa)
{
	return (uint16_t *)(memory.base + gpa);
}

static void publish(uint16_t head)
{
	uint16_t *idx = field(AVAIL + 2);

	*field(AVAIL + 4 + 2 * (*idx % SIZE)) = head;
	(*idx)++;
}

static int take(void)
{
	return thaw_virtqueue_take(&queue, &chain, &err);
}

static void test_check(void **state)
{
	struct thaw_virtqueue q = queue;

	(void)state;
	assert_int_equal(thaw_virtqueue_check(&q, &err), 0);
	static const uint16_t sizes[] = {0, 3, 512, 65535};
	for (size_t i = 0; i < 4; i++) {
		q = queue;
		q.size = sizes[i];
		assert_int_equal(thaw_virtqueue_check(&q, &err), -EPROTO);
	}
	static const gpa_t places[] = {DESC + 8, (1 << 20) - 16, 1 << 20, UINT64_MAX - 15,
				       3ull << 30};
	for (size_t i = 0; i < 5; i++) {
		q = queue;
		q.desc = places[i];
		assert_int_equal(thaw_virtqueue_check(&q, &err), -EPROTO);
	}
	q = queue;
	q.avail = AVAIL + 1;
	assert_int_equal(thaw_virtqueue_check(&q, &err), -EPROTO);
	q = queue;
	q.used = USED + 2;
	assert_int_equal(thaw_virtqueue_check(&q, &err), -EPROTO);
	/* used_event and avail_event are part of the rings. */
	q = queue;
	q.avail = (1 << 20) - (4 + 2 * SIZE);
	assert_int_equal(thaw_virtqueue_check(&q, &err), -EPROTO);
	q.avail -= 2;
	assert_int_equal(thaw_virtqueue_check(&q, &err), 0);
}

static void test_take_and_give(void **state)
{
	uint8_t bytes[32];

	(void)state;
	assert_int_equal(take(), 0);
	desc(3, DATA, 10, VRING_DESC_F_NEXT, 5);
	desc(5, DATA + 100, 6, VRING_DESC_F_NEXT, 1);
	desc(1, DATA + 200, 20, VRING_DESC_F_WRITE, 0);
	memcpy(memory.base + DATA, "0123456789", 10);
	memcpy(memory.base + DATA + 100, "abcdef", 6);
	publish(3);
	assert_int_equal(thaw_virtqueue_available(&queue), 1);
	assert_int_equal(take(), 1);
	assert_int_equal(chain.head, 3);
	assert_int_equal(chain.readable, 2);
	assert_int_equal(chain.writable, 1);
	assert_int_equal(chain.readable_size, 16);
	assert_int_equal(chain.writable_size, 20);
	assert_int_equal(thaw_chain_read(&chain, 8, bytes, 5), 5);
	assert_memory_equal(bytes, "89abc", 5);
	assert_int_equal(thaw_chain_read(&chain, 12, bytes, 32), 4);
	assert_int_equal(thaw_chain_read(&chain, 16, bytes, 32), 0);
	assert_int_equal(thaw_chain_write(&chain, 15, "hello world", 11), 5);
	assert_memory_equal(memory.base + DATA + 215, "hello", 5);
	assert_int_equal(thaw_virtqueue_give(&queue, chain.head, 20, &err), 0);
	struct vring_used_elem used;
	memcpy(&used, memory.base + USED + 4, sizeof(used));
	assert_int_equal(used.id, 3);
	assert_int_equal(used.len, 20);
	assert_int_equal(*field(USED + 2), 1);
	assert_int_equal(take(), 0);
}

static void test_untake(void **state)
{
	(void)state;
	desc(0, DATA, 1, 0, 0);
	publish(0);
	assert_int_equal(take(), 1);
	assert_int_equal(take(), 0);
	thaw_virtqueue_untake(&queue);
	assert_int_equal(take(), 1);
}

static void test_slices(void **state)
{
	struct iovec iov[THAW_VIRTQUEUE_SIZE_MAX];

	(void)state;
	desc(0, DATA, 44, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
	desc(1, DATA + 0x1000, 100, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2);
	desc(2, DATA + 0x2000, 100, VRING_DESC_F_WRITE, 0);
	publish(0);
	assert_int_equal(take(), 1);
	assert_int_equal(thaw_chain_writable(&chain, 44, 1000, iov), 2);
	assert_ptr_equal(iov[0].iov_base, memory.base + DATA + 0x1000);
	assert_int_equal(thaw_chain_writable(&chain, 40, 10, iov), 2);
	assert_int_equal(iov[0].iov_len, 4);
	assert_int_equal(iov[1].iov_len, 6);
	assert_int_equal(thaw_chain_writable(&chain, 244, 10, iov), 0);
	assert_int_equal(thaw_chain_writable(&chain, 0, 0, iov), 0);
	assert_int_equal(thaw_chain_readable(&chain, 0, 10, iov), 0);
}

static void test_indices_wrap(void **state)
{
	(void)state;
	queue.next_avail = queue.next_used = queue.signalled = 65533;
	*field(AVAIL + 2) = 65533;
	desc(0, DATA, 1, 0, 0);
	for (unsigned int i = 0; i < 10; i++) {
		publish(0);
		assert_int_equal(take(), 1);
		assert_int_equal(thaw_virtqueue_give(&queue, 0, 0, &err), 0);
		assert_true(thaw_virtqueue_wants_signal(&queue));
		assert_false(thaw_virtqueue_wants_signal(&queue));
	}
	assert_int_equal(*field(USED + 2), 7);
}

static void test_loops_are_bounded(void **state)
{
	(void)state;
	desc(0, DATA, 1, VRING_DESC_F_NEXT, 0);
	publish(0);
	assert_int_equal(take(), -EPROTO);
	desc(0, DATA, 1, VRING_DESC_F_NEXT, 1);
	desc(1, DATA, 1, VRING_DESC_F_NEXT, 0);
	assert_int_equal(take(), -EPROTO);
	/* As long as the queue is not too long. */
	for (uint16_t i = 0; i < SIZE; i++)
		desc(i, DATA, 1, i + 1u < SIZE ? VRING_DESC_F_NEXT : 0, i + 1);
	assert_int_equal(take(), 1);
	assert_int_equal(chain.readable, SIZE);
}

static void test_broken_chains(void **state)
{
	(void)state;
	publish(SIZE); /* head out of range */
	assert_int_equal(take(), -EPROTO);
	*field(AVAIL + 4) = 0;
	desc(0, DATA, 1, VRING_DESC_F_NEXT, SIZE); /* next out of range */
	assert_int_equal(take(), -EPROTO);
	desc(0, DATA, 16, VRING_DESC_F_INDIRECT, 0); /* not offered */
	assert_int_equal(take(), -EPROTO);
	desc(0, DATA, 1, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1); /* readable after writable */
	desc(1, DATA, 1, 0, 0);
	assert_int_equal(take(), -EPROTO);
	for (uint16_t i = 0; i < SIZE; i++) /* 4 GiB in all, each within reach */
		desc(i, 0, 0x20000000u, i + 1u < SIZE ? VRING_DESC_F_NEXT : 0, i + 1);
	assert_int_equal(take(), -EFAULT); /* here they are not; the sum is of those that are */
}

static void test_index_jumps(void **state)
{
	(void)state;
	*field(AVAIL + 2) = SIZE + 1;
	assert_int_equal(take(), -EPROTO);
	*field(AVAIL + 2) = 65535;
	assert_int_equal(take(), -EPROTO);
	queue.next_avail = 10;
	*field(AVAIL + 2) = 9; /* backwards */
	assert_int_equal(take(), -EPROTO);
}

static void test_buffers_outside(void **state)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
	} cases[] = {
		{1 << 20, 1},        {(1 << 20) - 1, 2},
		{UINT64_MAX, 1},     {UINT64_MAX, UINT32_MAX - 8},
		{0xd0000000, 4},     {4ull << 30, 1},
		{0, UINT32_MAX - 8},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		desc(0, DATA, 4, VRING_DESC_F_NEXT, 1);
		desc(1, cases[i].addr, cases[i].len, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2);
		desc(2, DATA + 8, 1, VRING_DESC_F_WRITE, 0);
		publish(0);
		/* Taken, less what is out of reach. */
		assert_int_equal(take(), -EFAULT);
		assert_int_equal(chain.readable_size, 4);
		assert_int_equal(chain.writable_size, 1);
		assert_int_equal(thaw_virtqueue_give(&queue, chain.head, 0, &err), 0);
	}
	assert_int_equal(take(), 0);
}

static void test_empty_buffers(void **state)
{
	(void)state;
	desc(0, UINT64_MAX, 0, VRING_DESC_F_NEXT, 1); /* of no bytes: of no place either */
	desc(1, DATA, 0, VRING_DESC_F_WRITE, 0);
	publish(0);
	assert_int_equal(take(), 1);
	assert_int_equal(chain.readable + chain.writable, 0);
	uint8_t byte;
	assert_int_equal(thaw_chain_read(&chain, 0, &byte, 1), 0);
	assert_int_equal(thaw_chain_write(&chain, 0, &byte, 1), 0);
}

static void test_signal_flag(void **state)
{
	(void)state;
	assert_false(thaw_virtqueue_wants_signal(&queue)); /* nothing was given */
	assert_int_equal(thaw_virtqueue_give(&queue, 0, 0, &err), 0);
	assert_true(thaw_virtqueue_wants_signal(&queue));
	*field(AVAIL) = VRING_AVAIL_F_NO_INTERRUPT;
	assert_int_equal(thaw_virtqueue_give(&queue, 0, 0, &err), 0);
	assert_false(thaw_virtqueue_wants_signal(&queue));
}

static void test_event_idx(void **state)
{
	uint16_t *used_event = field(AVAIL + 4 + 2 * SIZE);
	uint16_t *avail_event = field(USED + 4 + 8 * SIZE);

	(void)state;
	queue.event_idx = true;
	desc(0, DATA, 1, 0, 0);
	*used_event = 1; /* told when the second is used */
	assert_int_equal(thaw_virtqueue_give(&queue, 0, 0, &err), 0);
	assert_false(thaw_virtqueue_wants_signal(&queue));
	assert_int_equal(thaw_virtqueue_give(&queue, 0, 0, &err), 0);
	assert_true(thaw_virtqueue_wants_signal(&queue));
	assert_int_equal(thaw_virtqueue_give(&queue, 0, 0, &err), 0);
	assert_false(thaw_virtqueue_wants_signal(&queue));
	/* A batch that passes the event on its way counts. */
	*used_event = 4;
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(thaw_virtqueue_give(&queue, 0, 0, &err), 0);
	assert_true(thaw_virtqueue_wants_signal(&queue));

	publish(0);
	assert_int_equal(take(), 1);
	assert_false(thaw_virtqueue_rearm(&queue));
	assert_int_equal(*avail_event, 1);
	publish(0);
	publish(0);
	assert_true(thaw_virtqueue_rearm(&queue));
	assert_int_equal(thaw_virtqueue_watch(&queue), 2);
	assert_int_equal(*avail_event, 3);
}

static void test_not_ready(void **state)
{
	(void)state;
	queue.ready = false;
	publish(0);
	assert_int_equal(take(), 0);
	assert_false(thaw_virtqueue_rearm(&queue));
	assert_int_equal(thaw_virtqueue_available(&queue), 0);
	assert_true(thaw_virtqueue_give(&queue, 0, 0, &err) < 0);
	assert_false(thaw_virtqueue_wants_signal(&queue));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_check, setup, teardown),
		cmocka_unit_test_setup_teardown(test_take_and_give, setup, teardown),
		cmocka_unit_test_setup_teardown(test_untake, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_indices_wrap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_loops_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken_chains, setup, teardown),
		cmocka_unit_test_setup_teardown(test_index_jumps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_buffers_outside, setup, teardown),
		cmocka_unit_test_setup_teardown(test_empty_buffers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_signal_flag, setup, teardown),
		cmocka_unit_test_setup_teardown(test_event_idx, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_ready, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
