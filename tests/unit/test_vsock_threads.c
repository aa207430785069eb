/* SPDX-License-Identifier: Apache-2.0 */
/* vsock: a vCPU that resets the device again and again, while the loop hears of its connections. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/fd.h"
#include "tests/unit/virtio_vsock_guest.h"

#define ROUNDS      300u
#define CONNECTIONS 12u

static void *run_loop(void *unused)
{
	struct thaw_error ignored;

	(void)unused;
	thaw_loop_run(&driver.loop, &ignored);
	return NULL;
}

static void stop(void *opaque, uint32_t events)
{
	(void)opaque;
	(void)events;
	driver.loop.stop = true;
}

static void test_resets_from_another_thread(void **state)
{
	struct thaw_source stopper = {
		.fd = eventfd(0, EFD_CLOEXEC), .events = EPOLLIN, .handle = stop};
	pthread_t thread;

	(void)state;
	assert_int_equal(thaw_loop_add(&driver.loop, &stopper, &err), 0);
	driver.served = true;
	assert_int_equal(pthread_create(&thread, NULL, run_loop, NULL), 0);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		int hosts[CONNECTIONS];
		pthread_mutex_lock(&driver.loop.lock);
		driver.heap = THAW_PAGE_SIZE;
		vsock_start();
		for (unsigned int h = 0; h < CONNECTIONS; h++) {
			int pair[2];
			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
			hosts[h] = pair[0];
			assert_int_equal(thaw_write_full(pair[0], "CONNECT 1\n", 10), 0);
			assert_int_equal(thaw_vsock_attach(vsock, pair[1], &err), 0);
			driver_kick(&driver, VSOCK_RX);
			vsock_expect(VIRTIO_VSOCK_OP_REQUEST);
		}
		pthread_mutex_unlock(&driver.loop.lock);
		/* They all hang up, and the guest resets, at about the same time. */
		for (unsigned int h = 0; h < CONNECTIONS; h++)
			close(hosts[h]);
		pthread_mutex_lock(&driver.loop.lock);
		driver_write(&driver, VIRTIO_MMIO_STATUS, 0);
		pthread_mutex_unlock(&driver.loop.lock);
	}
	assert_int_equal(eventfd_write(stopper.fd, 1), 0);
	pthread_join(thread, NULL);
	thaw_loop_remove(&driver.loop, &stopper);
	close(stopper.fd);
	assert_int_equal(driver_status(&driver), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_resets_from_another_thread, vsock_setup,
						vsock_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
