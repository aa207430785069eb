/* SPDX-License-Identifier: Apache-2.0 */
/* The transport's status machine, registers, kicks, and save and restore, with a device of no use.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/virtio_driver.h"

#define V1 (1ull << VIRTIO_F_VERSION_1)

struct dummy {
	struct thaw_virtio_device *virtio;
	unsigned int activated, kicked[2], resets, restored;
	uint8_t config[8];
};

static struct driver driver;
static struct dummy dummy;

static void dummy_attach(void *device, struct thaw_virtio_device *virtio)
{
	((struct dummy *)device)->virtio = virtio;
}

static uint64_t dummy_features(void *device)
{
	(void)device;
	return 1ull << 5;
}

static void dummy_config_read(void *device, uint32_t offset, void *data, unsigned int size)
{
	assert_true(offset + size <= 8);
	memcpy(data, ((struct dummy *)device)->config + offset, size);
}

static void dummy_config_write(void *device, uint32_t offset, const void *data, unsigned int size)
{
	assert_true(offset + size <= 8);
	memcpy(((struct dummy *)device)->config + offset, data, size);
}

static int dummy_activate(void *device, struct thaw_error *err)
{
	(void)err;
	((struct dummy *)device)->activated++;
	return 0;
}

static void dummy_kick(void *device, unsigned int index)
{
	((struct dummy *)device)->kicked[index]++;
}

static void dummy_reset(void *device)
{
	((struct dummy *)device)->resets++;
}

static int dummy_restore(void *device, const Thaw__Snapshot__Device *in, bool active,
			 struct thaw_error *err)
{
	(void)in;
	(void)err;
	((struct dummy *)device)->restored += active ? 1 : 100;
	return 0;
}

static void dummy_destroy(void *device)
{
	(void)device;
}

static const struct thaw_virtio_ops dummy_ops = {
	.name = "dummy",
	.device_id = 42,
	.queues = 2,
	.queue_size_max = 64,
	.config_size = 8,
	.attach = dummy_attach,
	.features = dummy_features,
	.config_read = dummy_config_read,
	.config_write = dummy_config_write,
	.activate = dummy_activate,
	.kick = dummy_kick,
	.reset = dummy_reset,
	.restore = dummy_restore,
	.destroy = dummy_destroy,
};

static int setup(void **state)
{
	(void)state;
	memset(&dummy, 0, sizeof(dummy));
	driver_create(&driver);
	driver_attach(&driver, &dummy_ops, &dummy);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	driver_destroy(&driver);
	return 0;
}

/* Kicks are events for the I/O thread: here it is we. */
static void start(uint64_t features)
{
	driver_start(&driver, features);
	driver_settle(&driver);
}

static void kick(unsigned int index)
{
	driver_kick(&driver, index);
	driver_settle(&driver);
}

static void test_identity(void **state)
{
	(void)state;
	assert_int_equal(driver_read(&driver, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	assert_int_equal(driver_read(&driver, VIRTIO_MMIO_VERSION), 2);
	assert_int_equal(driver_read(&driver, VIRTIO_MMIO_DEVICE_ID), 42);
	assert_int_equal(driver_read(&driver, VIRTIO_MMIO_DEVICE_FEATURES),
			 (1u << 5) | (1u << VIRTIO_RING_F_EVENT_IDX));
	driver_write(&driver, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	assert_int_equal(driver_read(&driver, VIRTIO_MMIO_DEVICE_FEATURES), 1);
	driver_write(&driver, VIRTIO_MMIO_DEVICE_FEATURES_SEL, UINT32_MAX);
	assert_int_equal(driver_read(&driver, VIRTIO_MMIO_DEVICE_FEATURES), 0);
	assert_int_equal(driver_read(&driver, VIRTIO_MMIO_QUEUE_NUM_MAX), 64);
	driver_write(&driver, VIRTIO_MMIO_QUEUE_SEL, 2);
	assert_int_equal(driver_read(&driver, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	assert_int_equal(driver_read(&driver, VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
}

static void test_odd_accesses(void **state)
{
	uint64_t value = 0x1122334455667788ull;

	(void)state;
	/* Not of 4 bytes, not aligned, past the end: read as 0, written to nothing. */
	for (uint64_t offset = 0; offset <= 0xff8; offset++) {
		for (unsigned int size = 1; size <= 8; size *= 2) {
			uint64_t out = UINT64_MAX;
			bool config = offset >= 0x100 && offset + size <= 0x108;
			bool reg = size == 4 && offset % 4 == 0 && offset < 0x100;
			thaw_virtio_mmio_bus_ops.read(driver.mmio, offset, &out, size);
			if (!config && !reg)
				assert_int_equal(size == 8 ? out : out & ((1ull << 8 * size) - 1),
						 0);
			if (!reg)
				thaw_virtio_mmio_bus_ops.write(driver.mmio, offset, &value, size);
		}
	}
	assert_int_equal(driver_status(&driver), 0);
	thaw_virtio_mmio_bus_ops.write(driver.mmio, 0x100, &value, 8);
	assert_memory_equal(dummy.config, &value, 8);
}

static void test_life(void **state)
{
	(void)state;
	start(1ull << 5);
	assert_int_equal(dummy.activated, 1);
	assert_true(dummy.virtio->active);
	assert_int_equal(dummy.virtio->features, V1 | (1ull << 5));
	assert_int_equal(dummy.kicked[0], 1); /* what came before DRIVER_OK */
	kick(1);
	kick(2);
	kick(UINT32_MAX);
	assert_int_equal(dummy.kicked[0], 1);
	assert_int_equal(dummy.kicked[1], 2);
	/* Through the descriptor, as KVM does it: each write is one kick. */
	assert_int_equal(eventfd_write(thaw_virtio_mmio_kick_fd(driver.mmio, 0), 1), 0);
	driver_settle(&driver);
	assert_int_equal(eventfd_write(thaw_virtio_mmio_kick_fd(driver.mmio, 0), 1), 0);
	driver_settle(&driver);
	assert_int_equal(dummy.kicked[0], 3);
	thaw_virtio_kick_later(dummy.virtio, 0);
	assert_int_equal(dummy.kicked[0], 3);
	driver_settle(&driver);
	assert_int_equal(dummy.kicked[0], 4);
	assert_int_equal(thaw_virtio_mmio_kick_fd(driver.mmio, 2), -1);
	driver_write(&driver, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(driver_status(&driver), 0);
	assert_false(dummy.virtio->active);
	assert_int_equal(dummy.resets, 2);
	kick(0);
	assert_int_equal(dummy.kicked[0], 4);
	start(0);
	assert_int_equal(dummy.activated, 2);
}

static void test_features_refused(void **state)
{
	(void)state;
	assert_false(driver_negotiate(&driver, 1ull << 5)); /* no VERSION_1 */
	assert_false(driver_negotiate(&driver, V1 | 1));    /* not offered */
	assert_false(driver_negotiate(&driver, V1 | (1ull << 63)));
	assert_true(driver_negotiate(&driver, V1));
	/* FEATURES_OK before DRIVER. */
	driver_write(&driver, VIRTIO_MMIO_STATUS, 0);
	driver_write(&driver, VIRTIO_MMIO_STATUS, 1 | VIRTIO_CONFIG_S_FEATURES_OK);
	assert_int_equal(driver_status(&driver), 1);
	/* A bit beyond the 64. */
	driver_write(&driver, VIRTIO_MMIO_STATUS, 3);
	driver_write(&driver, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	driver_write(&driver, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	driver_write(&driver, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 2);
	driver_write(&driver, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	driver_write(&driver, VIRTIO_MMIO_STATUS, 3 | VIRTIO_CONFIG_S_FEATURES_OK);
	assert_int_equal(driver_status(&driver), 3);
}

static void test_features_freeze(void **state)
{
	(void)state;
	assert_true(driver_negotiate(&driver, V1));
	driver_write(&driver, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	driver_write(&driver, VIRTIO_MMIO_DRIVER_FEATURES, 1u << 5);
	driver_ok(&driver);
	assert_int_equal(dummy.virtio->features, V1);
}

static void test_driver_ok_alone(void **state)
{
	(void)state;
	driver_write(&driver, VIRTIO_MMIO_STATUS, 3 | VIRTIO_CONFIG_S_DRIVER_OK);
	assert_true(driver_status(&driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_false(dummy.virtio->active);
	assert_int_equal(dummy.activated, 0);
	start(0);
}

static void test_queues_freeze(void **state)
{
	gpa_t desc;

	(void)state;
	driver_queue_setup(&driver, 0, 16); /* before FEATURES_OK: nothing */
	assert_int_equal(driver_read(&driver, VIRTIO_MMIO_QUEUE_READY), 0);
	assert_true(driver_negotiate(&driver, V1));
	driver_queue_setup(&driver, 0, 16);
	assert_int_equal(driver_read(&driver, VIRTIO_MMIO_QUEUE_READY), 1);
	desc = driver.queue[0].desc;
	driver.queue[0].desc += 4096; /* ready: nothing */
	driver_queue_write(&driver, 0);
	assert_int_equal(dummy.virtio->queue[0].desc, desc);
	driver_write(&driver, VIRTIO_MMIO_QUEUE_READY, 0);
	driver_queue_write(&driver, 0);
	assert_int_equal(dummy.virtio->queue[0].desc, desc + 4096);
	driver_ok(&driver);
	driver_write(&driver, VIRTIO_MMIO_QUEUE_READY, 0); /* DRIVER_OK: nothing */
	assert_int_equal(driver_read(&driver, VIRTIO_MMIO_QUEUE_READY), 1);
	driver.queue[0].size = 8;
	driver_queue_write(&driver, 0);
	assert_int_equal(dummy.virtio->queue[0].size, 16);
	/* A queue that was not set up is not kicked. */
	kick(1);
	assert_int_equal(dummy.kicked[1], 0);
}

static void test_bad_queues(void **state)
{
	static const struct driver_queue bad[] = {
		{.size = 16, .desc = 0x1008, .avail = 0x2000, .used = 0x3000},
		{.size = 16, .desc = 0x1000, .avail = 0x2001, .used = 0x3000},
		{.size = 16, .desc = 0x1000, .avail = 0x2000, .used = 0x3002},
		{.size = 16, .desc = DRIVER_MEMORY, .avail = 0x2000, .used = 0x3000},
		{.size = 16, .desc = 0x1000, .avail = DRIVER_MEMORY - 8, .used = 0x3000},
		{.size = 16, .desc = 0x1000, .avail = 0x2000, .used = 0xffffffffffffff00},
		{.size = 12, .desc = 0x1000, .avail = 0x2000, .used = 0x3000},
		{.size = 0, .desc = 0x1000, .avail = 0x2000, .used = 0x3000},
		{.size = 128, .desc = 0x1000, .avail = 0x2000, .used = 0x3000},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(driver_negotiate(&driver, V1));
		driver.queue[0] = bad[i];
		driver_queue_write(&driver, 0);
		assert_true(driver_status(&driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
		assert_int_equal(driver_read(&driver, VIRTIO_MMIO_QUEUE_READY), 0);
		driver_ok(&driver);
		assert_false(dummy.virtio->active);
	}
}

static void test_fail_tells_the_driver(void **state)
{
	(void)state;
	start(0);
	for (unsigned int i = 0; i < 3; i++)
		thaw_virtio_fail(dummy.virtio, "on purpose\033[2J %u", i);
	assert_int_equal(driver_interrupt(&driver), VIRTIO_MMIO_INT_CONFIG);
	assert_int_equal(driver_interrupt(&driver), 0);
	assert_int_equal(driver_status(&driver), 0x4f);
	driver_write(&driver, VIRTIO_MMIO_STATUS, 0x4f); /* no way out */
	kick(0);
	assert_int_equal(dummy.kicked[0], 1);
	thaw_virtio_signal(dummy.virtio, 0);
	assert_int_equal(driver_interrupt(&driver), 0);
	start(0); /* but this one */
	assert_int_equal(dummy.kicked[0], 2);
}

static void test_driver_gives_up(void **state)
{
	(void)state;
	start(0);
	driver_write(&driver, VIRTIO_MMIO_STATUS, 0xf | VIRTIO_CONFIG_S_FAILED);
	assert_false(dummy.virtio->active);
	kick(0);
	assert_int_equal(dummy.kicked[0], 1);
}

static void test_interrupts(void **state)
{
	struct thaw_error err;

	(void)state;
	start(0);
	thaw_virtio_signal(dummy.virtio, 0);
	assert_int_equal(driver_interrupt(&driver), 0); /* nothing was used */
	assert_int_equal(thaw_virtqueue_give(&dummy.virtio->queue[0], 0, 0, &err), 0);
	thaw_virtio_signal(dummy.virtio, 0);
	assert_int_equal(driver_interrupt(&driver), VIRTIO_MMIO_INT_VRING);
	assert_int_equal(driver_read(&driver, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

static void test_save_and_restore(void **state)
{
	struct dummy clone = {0};
	struct thaw_error err;

	(void)state;
	start(1ull << VIRTIO_RING_F_EVENT_IDX);
	dummy.virtio->queue[1].next_avail = 65535;
	dummy.virtio->queue[0].next_used = 7;
	thaw_virtio_signal(dummy.virtio, 0);
	uint64_t drop;
	assert_true(read(driver.irq_fd, &drop, sizeof(drop)) == sizeof(drop));
	struct thaw_virtqueue before = dummy.virtio->queue[0];
	assert_int_equal(driver_snapshot(&driver, &clone, &err), 0);
	assert_int_equal(clone.restored, 1);
	assert_true(clone.virtio->active);
	assert_int_equal(clone.kicked[0], 1);
	assert_int_equal(clone.kicked[1], 1);
	assert_int_equal(driver_status(&driver), 0xf);
	assert_int_equal(clone.virtio->queue[1].next_avail, 65535);
	assert_memory_equal(&clone.virtio->queue[0], &before, sizeof(before));
	/* Not acknowledged when it was saved: raised again. */
	assert_int_equal(driver_interrupt(&driver), VIRTIO_MMIO_INT_VRING);
}

static void test_restore_half_set_up(void **state)
{
	struct dummy clone = {0};
	struct thaw_error err;

	(void)state;
	assert_true(driver_negotiate(&driver, V1));
	driver_queue_setup(&driver, 0, 16);
	assert_int_equal(driver_snapshot(&driver, &clone, &err), 0);
	assert_int_equal(clone.restored, 100);
	assert_false(clone.virtio->active);
	driver_queue_setup(&driver, 1, 16);
	driver_ok(&driver);
	assert_true(clone.virtio->active);
}

/* What a state may be like that someone else has written. */
static void spoil(Thaw__Snapshot__Virtio *v, unsigned int how)
{
	switch (how) {
	case 0:
		v->status |= 0x100;
		break;
	case 1:
		v->status = 0x7; /* DRIVER_OK without FEATURES_OK */
		break;
	case 2:
		v->driver_features |= 1;
		break;
	case 3:
		v->driver_features = 0;
		break;
	case 4:
		v->queues[0]->size = 65536 + 16;
		break;
	case 5:
		v->queues[0]->size = 0;
		break;
	case 6:
		v->queues[1]->next_used = 65536;
		break;
	case 7:
		v->queues[1]->next_avail = UINT32_MAX;
		break;
	case 8:
		v->queues[0]->signalled = 1 << 16;
		break;
	case 9:
		v->queues[0]->desc = UINT64_MAX - 15;
		break;
	case 10:
		v->queues[0]->avail = DRIVER_MEMORY;
		break;
	case 11:
		v->queues[1]->used += 1;
		break;
	}
}

static void test_restore_refuses(void **state)
{
	struct thaw_error err = {0};
	struct dummy clone = {0};

	(void)state;
	start(0);
	for (unsigned int how = 0; how <= 14; how++) {
		Thaw__Snapshot__Device *saved = driver_save(&driver);
		struct driver other = driver;
		driver_attach(&other, &dummy_ops, &clone);
		spoil(saved->virtio, how);
		if (how == 12)
			saved->kind[0] = 'x';
		if (how == 13)
			saved->state_case = THAW__SNAPSHOT__DEVICE__STATE__NOT_SET;
		if (how == 14)
			saved->virtio->n_queues = 1;
		assert_int_equal(thaw_virtio_mmio_restore(other.mmio, saved, &err), -EPROTO);
		assert_non_null(strstr(err.message, "dummy device: "));
		assert_false(clone.virtio->active);
		if (how == 13)
			saved->state_case = THAW__SNAPSHOT__DEVICE__STATE_VIRTIO;
		if (how == 14)
			saved->virtio->n_queues = 2;
		thaw__snapshot__device__free_unpacked(saved, NULL);
		driver_detach(&other);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_odd_accesses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_life, setup, teardown),
		cmocka_unit_test_setup_teardown(test_features_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_features_freeze, setup, teardown),
		cmocka_unit_test_setup_teardown(test_driver_ok_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queues_freeze, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_queues, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fail_tells_the_driver, setup, teardown),
		cmocka_unit_test_setup_teardown(test_driver_gives_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_save_and_restore, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restore_half_set_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restore_refuses, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
