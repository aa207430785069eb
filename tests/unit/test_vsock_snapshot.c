/* SPDX-License-Identifier: Apache-2.0 */
/* vsock: what a snapshot does to connections. */
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

static void test_snapshot_without_connections(void **state)
{
	uint16_t head;
	uint32_t size;

	(void)state;
	vsock_start();
	int fd = vsock_established();
	close(fd); /* just before: the loop does not know yet */
	vsock_snapshot_and_restore();
	vsock_expect(VIRTIO_VSOCK_OP_SHUTDOWN); /* told before it was saved */
	assert_false(driver_used(&driver, VSOCK_EVENT, &head, &size));
	struct virtio_vsock_hdr old = got;
	/* Straight to business. */
	fd = host_connect("CONNECT 1024\n");
	vsock_expect(VIRTIO_VSOCK_OP_REQUEST);
	assert_int_not_equal(got.src_port, old.src_port);
	vsock_tx(VIRTIO_VSOCK_OP_RESPONSE, NULL, 0);
	host_expect_ok(fd);
	got = old;
	vsock_tx(VIRTIO_VSOCK_OP_RST, NULL, 0);
	vsock_expect_nothing();
	close(fd);
}

static void test_snapshot_with_connections(void **state)
{
	uint16_t head;
	uint32_t size, id;

	(void)state;
	vsock_start();
	int fd = vsock_established();
	vsock_snapshot_and_restore();
	host_expect_end(fd);
	close(fd);
	assert_true(driver_used(&driver, VSOCK_EVENT, &head, &size));
	assert_int_equal(size, 4);
	memcpy(&id, driver_at(&driver, driver_desc(&driver, VSOCK_EVENT, head)->addr), 4);
	assert_int_equal(id, VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
	assert_true(driver_interrupt(&driver) & VIRTIO_MMIO_INT_VRING);
	/* New connections wait until the guest has taken that to heart. */
	fd = host_connect("CONNECT 1024\n");
	driver_kick(&driver, VSOCK_RX);
	driver_kick(&driver, VSOCK_EVENT);
	vsock_expect_nothing();
	driver_publish(&driver, VSOCK_EVENT, head);
	driver_kick(&driver, VSOCK_EVENT);
	vsock_expect(VIRTIO_VSOCK_OP_REQUEST);
	assert_false(driver_used(&driver, VSOCK_EVENT, &head, &size));
	close(fd);
}

/* The saved machine goes on: its guest hears that the connection is gone. */
static void test_goes_on_after_a_snapshot(void **state)
{
	(void)state;
	vsock_start();
	int fd = vsock_established();
	Thaw__Snapshot__Device *saved = driver_save(&driver);
	assert_true(saved->virtio->vsock->connections);
	thaw__snapshot__device__free_unpacked(saved, NULL);
	assert_false(vsock_rx()); /* its memory is being saved */
	thaw_virtio_mmio_resume(driver.mmio);
	vsock_expect(VIRTIO_VSOCK_OP_RST);
	host_expect_end(fd);
	close(fd);
	close(vsock_established());
}

static void test_restore_refuses(void **state)
{
	(void)state;
	vsock_start();
	for (unsigned int how = 0; how < 3; how++) {
		Thaw__Snapshot__Device *saved = driver_save(&driver);
		struct driver other = driver;
		struct thaw_vsock *device;
		assert_int_equal(thaw_vsock_create(&device, &driver.loop, VSOCK_CID, -1, -1, &err),
				 0);
		driver_attach(&other, &thaw_vsock_ops, device);
		if (how == 0)
			saved->virtio->vsock->guest_cid = 2;
		if (how == 1)
			saved->virtio->vsock->guest_cid = UINT64_MAX;
		if (how == 2)
			saved->virtio->device_case = THAW__SNAPSHOT__VIRTIO__DEVICE_PMEM;
		assert_int_equal(thaw_virtio_mmio_restore(other.mmio, saved, &err), -EPROTO);
		saved->virtio->device_case = THAW__SNAPSHOT__VIRTIO__DEVICE_VSOCK;
		thaw__snapshot__device__free_unpacked(saved, NULL);
		driver_detach(&other);
	}
	struct thaw_vsock *none;
	assert_int_equal(thaw_vsock_create(&none, &driver.loop, 2, -1, -1, &err), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, vsock_setup, vsock_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_snapshot_without_connections),
		TEST(test_snapshot_with_connections),
		TEST(test_goes_on_after_a_snapshot),
		TEST(test_restore_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
