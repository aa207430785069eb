/* SPDX-License-Identifier: Apache-2.0 */
/* The devices that answer as soon as they are asked: rng and pmem. */
#include <errno.h>
#include <linux/virtio_pmem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/virtio_driver.h"
#include "vmm/devices/pmem.h"
#include "vmm/devices/rng.h"

#define START 0x140000000ull
#define SIZE  0x8000000ull

static struct driver driver;
static struct thaw_error err;

static int setup_rng(void **state)
{
	struct thaw_rng *rng;

	(void)state;
	driver_create(&driver);
	assert_int_equal(thaw_rng_create(&rng, &err), 0);
	driver_attach(&driver, &thaw_rng_ops, rng);
	return 0;
}

static int setup_pmem(void **state)
{
	struct thaw_pmem *pmem;

	(void)state;
	driver_create(&driver);
	assert_int_equal(thaw_pmem_create(&pmem, START, SIZE, &err), 0);
	driver_attach(&driver, &thaw_pmem_ops, pmem);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	driver_destroy(&driver);
	return 0;
}

static void rng_bytes(uint8_t *out, uint32_t size)
{
	struct driver_buffer buffer = {.size = size};
	uint16_t head;
	uint32_t written;

	driver_add(&driver, 0, &buffer, 0, 1);
	driver_kick(&driver, 0);
	assert_true(driver_used(&driver, 0, &head, &written));
	assert_int_equal(written, size);
	memcpy(out, driver_at(&driver, buffer.gpa), size);
}

static void test_rng(void **state)
{
	uint8_t a[64], b[64];

	(void)state;
	driver_start(&driver, 1ull << VIRTIO_RING_F_EVENT_IDX);
	rng_bytes(a, sizeof(a));
	rng_bytes(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_true(driver_interrupt(&driver) & VIRTIO_MMIO_INT_VRING);
	struct thaw_rng *rng;
	assert_int_equal(thaw_rng_create(&rng, &err), 0);
	assert_int_equal(driver_snapshot(&driver, rng, &err), 0);
	rng_bytes(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
}

static void test_rng_is_bounded(void **state)
{
	struct driver_buffer buffer = {.size = DRIVER_MEMORY, .gpa = 0};
	uint16_t head;
	uint32_t written;

	(void)state;
	driver_start(&driver, 0);
	/* All of memory, the rings too: its own fault, and only of the part that is filled. */
	buffer.gpa = THAW_PAGE_SIZE * 16;
	buffer.size = DRIVER_MEMORY - THAW_PAGE_SIZE * 16;
	driver_add(&driver, 0, &buffer, 0, 1);
	driver_kick(&driver, 0);
	assert_true(driver_used(&driver, 0, &head, &written));
	assert_int_equal(written, 65536);
}

static void test_rng_refuses(void **state)
{
	struct driver_buffer buffers[2] = {{.size = 8}, {.size = 8}};

	(void)state;
	driver_start(&driver, 0);
	driver_add(&driver, 0, buffers, 1, 1);
	driver_kick(&driver, 0);
	assert_true(driver_status(&driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	driver_start(&driver, 0);
	buffers[0].gpa = DRIVER_MEMORY;
	driver_add(&driver, 0, buffers, 0, 1);
	driver_kick(&driver, 0);
	assert_true(driver_status(&driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* A driver that would keep us busy for ever gets a share at a time. */
static void test_rng_takes_turns(void **state)
{
	uint16_t head;
	uint32_t written;
	unsigned int used = 0;

	(void)state;
	driver_start(&driver, 0);
	for (unsigned int i = 0; i < 8; i++) {
		struct driver_buffer buffer = {.size = 8};
		driver_add(&driver, 0, &buffer, 0, 1);
	}
	driver_kick(&driver, 0);
	driver_settle(&driver);
	while (driver_used(&driver, 0, &head, &written))
		used++;
	assert_int_equal(used, 8);
}

static uint32_t pmem_request(uint32_t type)
{
	struct virtio_pmem_req request = {.type = type};
	struct driver_buffer buffers[2] = {{.out = &request, .size = 4}, {.size = 4}};
	uint16_t head;
	uint32_t written, ret;

	driver_add(&driver, 0, buffers, 1, 1);
	driver_kick(&driver, 0);
	assert_true(driver_used(&driver, 0, &head, &written));
	assert_int_equal(written, 4);
	memcpy(&ret, driver_at(&driver, buffers[1].gpa), 4);
	return ret;
}

static void test_pmem(void **state)
{
	struct virtio_pmem_config config;
	uint8_t byte;

	(void)state;
	thaw_virtio_mmio_bus_ops.read(driver.mmio, 0x100, &config.start, 8);
	thaw_virtio_mmio_bus_ops.read(driver.mmio, 0x108, &config.size, 8);
	assert_int_equal(config.start, START);
	assert_int_equal(config.size, SIZE);
	byte = 1;
	thaw_virtio_mmio_bus_ops.write(driver.mmio, 0x100, &byte, 1); /* nothing to write there */
	thaw_virtio_mmio_bus_ops.read(driver.mmio, 0x110, &byte, 1);
	assert_int_equal(byte, 0);
	driver_start(&driver, 0);
	assert_int_equal(pmem_request(VIRTIO_PMEM_REQ_TYPE_FLUSH), 0);
	assert_int_equal(pmem_request(7), 1);
}

static void test_pmem_refuses(void **state)
{
	(void)state;
	for (unsigned int how = 0; how < 3; how++) {
		struct driver_buffer buffers[2] = {{.size = how == 0 ? 3 : 4},
						   {.size = how == 1 ? 3 : 4}};
		driver_start(&driver, 0);
		driver_add(&driver, 0, buffers, how == 2 ? 2 : 1, how == 2 ? 0 : 1);
		driver_kick(&driver, 0);
		assert_true(driver_status(&driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	}
	struct thaw_pmem *pmem;
	assert_int_equal(thaw_pmem_create(&pmem, START, 0, &err), -EINVAL);
	assert_int_equal(thaw_pmem_create(&pmem, START + 1, SIZE, &err), -EINVAL);
	assert_int_equal(thaw_pmem_create(&pmem, START, SIZE - 1, &err), -EINVAL);
	assert_int_equal(thaw_pmem_create(&pmem, -4096ull, 8192, &err), -EINVAL);
}

static void test_pmem_snapshot(void **state)
{
	struct thaw_pmem *pmem;

	(void)state;
	driver_start(&driver, 0);
	assert_int_equal(thaw_pmem_create(&pmem, START, SIZE, &err), 0);
	assert_int_equal(driver_snapshot(&driver, pmem, &err), 0);
	assert_int_equal(pmem_request(VIRTIO_PMEM_REQ_TYPE_FLUSH), 0);
	assert_int_equal(thaw_pmem_create(&pmem, START, 2 * SIZE, &err), 0);
	assert_int_equal(driver_snapshot(&driver, pmem, &err), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rng, setup_rng, teardown),
		cmocka_unit_test_setup_teardown(test_rng_is_bounded, setup_rng, teardown),
		cmocka_unit_test_setup_teardown(test_rng_refuses, setup_rng, teardown),
		cmocka_unit_test_setup_teardown(test_rng_takes_turns, setup_rng, teardown),
		cmocka_unit_test_setup_teardown(test_pmem, setup_pmem, teardown),
		cmocka_unit_test_setup_teardown(test_pmem_refuses, setup_pmem, teardown),
		cmocka_unit_test_setup_teardown(test_pmem_snapshot, setup_pmem, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
