/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net on one end of a socket pair: what it carries, and what a driver, or a flood, may try.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/virtio_net.h>
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

#include "lib/clock.h"
#include "proto/vmm.pb-c.h"
#include "tests/unit/virtio_driver.h"
#include "vmm/devices/net.h"

#define RX       0u
#define TX       1u
#define HEADER   12u
#define ROOM     (HEADER + THAW_NET_FRAME_MAX)
#define EVENTIDX (1ull << VIRTIO_RING_F_EVENT_IDX)

static uint8_t mac[] = {2, 0, 0, 0, 0, 2};
static struct driver driver;
static struct thaw_net *net;
static struct thaw_error err;
static int wire; /* the host's end */
static int tap;  /* the device's, kept */
static bool changing_ends;

static Thaw__Vmm__Network config_of(void)
{
	Thaw__Vmm__Network config = THAW__VMM__NETWORK__INIT;

	config.mac.data = mac;
	config.mac.len = sizeof(mac);
	return config;
}

static void attach(const Thaw__Vmm__Network *config)
{
	assert_int_equal(thaw_net_create(&net, dup(tap), config, &driver.loop, &err), 0);
	driver_attach(&driver, &thaw_net_ops, net);
}

static void wire_up(int type)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	wire = pair[0];
	tap = pair[1];
}

static int setup(void **state)
{
	const Thaw__Vmm__Network config = config_of();

	(void)state;
	wire_up(SOCK_DGRAM);
	driver_create(&driver);
	attach(&config);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	driver_destroy(&driver);
	if (wire >= 0)
		close(wire);
	if (tap >= 0)
		close(tap);
	return 0;
}

static void again_with(const Thaw__Vmm__Network *config)
{
	driver_detach(&driver);
	attach(config);
}

/* A frame of `size` bytes, told apart by `number`. */
static const uint8_t *frame_of(unsigned int size, unsigned int number)
{
	static uint8_t frame[4096];

	memset(frame, 0xff, ETH_ALEN);
	memcpy(frame + ETH_ALEN, mac, ETH_ALEN);
	for (unsigned int i = 2 * ETH_ALEN; i < size; i++)
		frame[i] = (uint8_t)(number + i * 7);
	return frame;
}

static struct thaw_net_statistics numbers(void)
{
	struct thaw_net_statistics out;

	thaw_net_statistics(net, &out);
	return out;
}

static bool used(unsigned int queue, uint32_t *size)
{
	uint16_t head;

	return driver_used(&driver, queue, &head, size);
}

/* From the guest, as one buffer with its header. */
static void transmit(const uint8_t *frame, uint32_t size)
{
	static uint8_t bytes[HEADER + 4096];
	struct driver_buffer buffer = {.out = bytes, .size = HEADER + size};

	/* What is in the header is nobody's affair. */
	memset(bytes, 0xa5, HEADER);
	memcpy(bytes + HEADER, frame, size);
	driver_add(&driver, TX, &buffer, 1, 0);
	driver_kick(&driver, TX);
}

/* A receive buffer; where it lies. */
static const uint8_t *offer(uint32_t size)
{
	struct driver_buffer buffer = {.size = size};

	driver_add(&driver, RX, &buffer, 0, 1);
	return driver_at(&driver, buffer.gpa);
}

static void host_sends(unsigned int size, unsigned int number)
{
	assert_int_equal(write(wire, frame_of(size, number), size), size);
}

static void assert_host_gets(unsigned int size, unsigned int number)
{
	uint8_t got[4096];

	assert_int_equal(read(wire, got, sizeof(got)), size);
	assert_memory_equal(got, frame_of(size, number), size);
}

static void assert_host_gets_nothing(void)
{
	uint8_t got[1];

	assert_int_equal(read(wire, got, sizeof(got)), -1);
	assert_int_equal(errno, EAGAIN);
}

/* --- a driver that does right --- */

static void test_config(void **state)
{
	struct virtio_net_config config = {0};
	uint64_t features;

	(void)state;
	assert_int_equal(driver_read(&driver, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_NET);
	for (unsigned int i = 0; i < sizeof(config); i++)
		thaw_virtio_mmio_bus_ops.read(driver.mmio, 0x100 + i, (uint8_t *)&config + i, 1);
	assert_memory_equal(config.mac, mac, sizeof(mac));
	assert_int_equal(config.mtu, 1500);
	assert_int_equal(config.speed, 0);
	/* Whatever is added here, the host's kernel must not have to parse for it. */
	features = driver_read(&driver, VIRTIO_MMIO_DEVICE_FEATURES);
	driver_write(&driver, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	features |= (uint64_t)driver_read(&driver, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	assert_int_equal(features, 1ull << VIRTIO_NET_F_MAC | 1ull << VIRTIO_NET_F_MTU | EVENTIDX |
					   1ull << VIRTIO_F_VERSION_1);
}

static void test_from_guest(void **state)
{
	uint32_t size;

	(void)state;
	driver_start(&driver, EVENTIDX);
	for (unsigned int i = 0; i < 100; i++) {
		unsigned int length = i % 3 ? 60 + i * 14 : ETH_HLEN;
		transmit(frame_of(length, i), length);
		assert_true(used(TX, &size));
		assert_int_equal(size, 0);
		assert_host_gets(length, i);
	}
	transmit(frame_of(THAW_NET_FRAME_MAX, 1), THAW_NET_FRAME_MAX);
	assert_host_gets(THAW_NET_FRAME_MAX, 1);
	assert_true(driver_interrupt(&driver) & VIRTIO_MMIO_INT_VRING);
	assert_int_equal(numbers().tx_packets, 101);
	assert_int_equal(numbers().dropped, 0);
	assert_host_gets_nothing();
}

/* A frame in as many pieces as there are descriptors, its header among them. */
static void test_from_guest_in_pieces(void **state)
{
	struct driver_buffer buffers[DRIVER_QUEUE] = {0};
	uint8_t bytes[HEADER + 600] = {0};
	unsigned int at = 0, last = DRIVER_QUEUE - 1;
	uint32_t size;

	(void)state;
	driver_start(&driver, 0);
	memcpy(bytes + HEADER, frame_of(600, 9), 600);
	for (unsigned int i = 0; i < last; i++) {
		buffers[i] = (struct driver_buffer){.out = bytes + at, .size = i < 5 ? 5 : 30};
		at += buffers[i].size;
	}
	buffers[last] = (struct driver_buffer){.out = bytes + at, .size = sizeof(bytes) - at};
	driver_add(&driver, TX, buffers, DRIVER_QUEUE, 0);
	driver_kick(&driver, TX);
	assert_true(used(TX, &size));
	assert_host_gets(600, 9);
}

static void test_to_guest(void **state)
{
	static const uint8_t header[HEADER] = {[10] = 1};
	uint32_t size;

	(void)state;
	driver_start(&driver, 0);
	for (unsigned int i = 0; i < 100; i++) {
		unsigned int length = i % 3 ? 60 + i * 14 : ETH_HLEN;
		const uint8_t *buffer = offer(ROOM + i);
		driver_kick(&driver, RX);
		assert_false(used(RX, &size));
		host_sends(length, i);
		driver_settle(&driver);
		assert_true(used(RX, &size));
		assert_int_equal(size, HEADER + length);
		assert_memory_equal(buffer, header, HEADER);
		assert_memory_equal(buffer + HEADER, frame_of(length, i), length);
		assert_true(driver_interrupt(&driver) & VIRTIO_MMIO_INT_VRING);
	}
	assert_int_equal(numbers().rx_packets, 100);
	assert_int_equal(numbers().tx_packets, 0);
}

static void test_to_guest_in_pieces(void **state)
{
	struct driver_buffer buffers[4] = {
		{.size = 7}, {.size = 6}, {.size = 999}, {.size = ROOM - 1012}};
	uint32_t size;

	(void)state;
	driver_start(&driver, 0);
	driver_add(&driver, RX, buffers, 0, 4);
	driver_kick(&driver, RX);
	host_sends(THAW_NET_FRAME_MAX, 3);
	driver_settle(&driver);
	assert_true(used(RX, &size));
	assert_int_equal(size, ROOM);
	const uint8_t *frame = frame_of(THAW_NET_FRAME_MAX, 3);
	assert_int_equal(*(uint8_t *)driver_at(&driver, buffers[1].gpa + 5), frame[0]);
	assert_memory_equal(driver_at(&driver, buffers[2].gpa), frame + 1, 999);
	assert_memory_equal(driver_at(&driver, buffers[3].gpa), frame + 1000, ROOM - 1012);
}

/* --- what does not pass --- */

static void test_frames_that_may_not_leave(void **state)
{
	uint8_t frame[4096];
	uint32_t size;

	(void)state;
	driver_start(&driver, 0);
	for (unsigned int i = 0; i < ETH_ALEN; i++) {
		memcpy(frame, frame_of(100, 0), 100);
		frame[ETH_ALEN + i] ^= 1u << i;
		transmit(frame, 100);
		assert_true(used(TX, &size));
	}
	memcpy(frame, frame_of(4000, 0), 4000);
	const unsigned int sizes[] = {0, 1, 12, 13, THAW_NET_FRAME_MAX + 1, 4000};
	for (unsigned int i = 0; i < 6; i++) {
		transmit(frame, sizes[i]);
		assert_true(used(TX, &size));
	}
	assert_int_equal(numbers().dropped, 12);
	assert_int_equal(numbers().tx_packets, 0);
	assert_host_gets_nothing();
	assert_int_equal(driver_status(&driver), 0xf);
	transmit(frame, 100);
	assert_host_gets(100, 0);
}

static void *change_source(void *byte)
{
	uint8_t *at = byte;

	while (!__atomic_load_n(&changing_ends, __ATOMIC_RELAXED)) {
		__atomic_store_n(at, 0x66, __ATOMIC_RELAXED);
		__atomic_store_n(at, mac[5], __ATOMIC_RELAXED);
	}
	return NULL;
}

/* The source is looked at in a copy: the guest may change it in its memory all the while, and what
 * leaves is what was looked at. */
static void test_source_that_changes(void **state)
{
	struct driver_buffer buffer = {.size = HEADER + 60};
	uint8_t got[100];
	pthread_t thread;

	(void)state;
	driver_start(&driver, 0);
	driver_add(&driver, TX, &buffer, 1, 0);
	uint8_t *frame = (uint8_t *)driver_at(&driver, buffer.gpa) + HEADER;
	memcpy(frame, frame_of(60, 0), 60);
	changing_ends = false;
	assert_int_equal(pthread_create(&thread, NULL, change_source, frame + 11), 0);
	for (unsigned int i = 0; i < 20000; i++) {
		driver_publish(&driver, TX, 0);
		driver_kick(&driver, TX);
		while (read(wire, got, sizeof(got)) == 60)
			assert_memory_equal(got + ETH_ALEN, mac, ETH_ALEN);
	}
	__atomic_store_n(&changing_ends, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_int_equal(driver_status(&driver), 0xf);
}

static void test_frames_that_may_not_arrive(void **state)
{
	uint32_t size;

	(void)state;
	driver_start(&driver, 0);
	const uint8_t *buffer = offer(2 * ROOM);
	driver_kick(&driver, RX);
	host_sends(13, 0);
	host_sends(1, 0);
	host_sends(THAW_NET_FRAME_MAX + 1, 0);
	host_sends(4000, 0);
	driver_settle(&driver);
	assert_false(used(RX, &size));
	assert_int_equal(numbers().dropped, 4);
	host_sends(14, 5);
	driver_settle(&driver);
	assert_true(used(RX, &size));
	assert_int_equal(size, HEADER + 14);
	assert_memory_equal(buffer + HEADER, frame_of(14, 5), 14);
}

/* --- a driver that does wrong --- */

static void test_broken_frames(void **state)
{
	uint32_t size;

	(void)state;
	for (unsigned int how = 0; how < 5; how++) {
		struct driver_buffer buffers[3] = {{.size = 12}, {.size = 60}, {.size = 60}};
		driver_start(&driver, 0);
		if (how == 0) /* half a header */
			buffers[0].size = 11;
		driver_add(&driver, TX, buffers,
			   how == 0   ? 1
			   : how == 1 ? 0
				      : 2,
			   how == 1 || how == 2);
		if (how == 3) { /* a loop */
			driver_desc(&driver, TX, 1)->flags |= VRING_DESC_F_NEXT;
			driver_desc(&driver, TX, 1)->next = 0;
		}
		if (how == 4) /* indirect, which was not offered */
			driver_desc(&driver, TX, 0)->flags = VRING_DESC_F_INDIRECT;
		driver_kick(&driver, TX);
		assert_true(driver_status(&driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
		assert_false(used(TX, &size));
	}
	assert_host_gets_nothing();
	driver_start(&driver, 0);
	transmit(frame_of(60, 1), 60);
	assert_host_gets(60, 1);
}

static void test_frame_outside_memory(void **state)
{
	uint32_t size;

	(void)state;
	driver_start(&driver, 0);
	for (unsigned int i = 0; i < 3; i++) {
		const gpa_t places[] = {DRIVER_MEMORY - 30, 0xd0000000, UINT64_MAX - 10};
		struct driver_buffer buffers[2] = {{.size = 12}, {.size = 60, .gpa = places[i]}};
		driver_add(&driver, TX, buffers, 2, 0);
		driver_kick(&driver, TX);
		/* This frame is lost; the device lives. */
		assert_true(used(TX, &size));
	}
	assert_int_equal(driver_status(&driver), 0xf);
	assert_host_gets_nothing();
	assert_int_equal(numbers().dropped, 3);
}

static void test_broken_buffers(void **state)
{
	const uint32_t sizes[] = {0, 1, 11, 12, 13, ROOM - 1, ROOM, ROOM, ROOM};

	(void)state;
	for (unsigned int how = 0; how < 9; how++) {
		struct driver_buffer buffers[2] = {{.size = sizes[how]}, {.size = ROOM}};
		driver_start(&driver, 0);
		if (how == 6)
			buffers[0].gpa = DRIVER_MEMORY - ROOM + 1;
		driver_add(&driver, RX, buffers, how == 7, 1);
		if (how == 8) {
			driver_desc(&driver, RX, 0)->flags |= VRING_DESC_F_NEXT;
			driver_desc(&driver, RX, 0)->next = 0;
		}
		host_sends(60, 0);
		driver_kick(&driver, RX);
		driver_settle(&driver);
		assert_true(driver_status(&driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	}
	assert_int_equal(numbers().rx_packets, 0);
}

/* --- floods --- */

/* What there are no buffers for waits in the tap, and nobody turns round and round for it. */
static void test_no_buffers(void **state)
{
	uint32_t size;

	(void)state;
	driver_start(&driver, EVENTIDX);
	for (unsigned int i = 0; i < 5; i++)
		host_sends(60, i);
	driver_settle(&driver);
	assert_false(driver_turn(&driver, 20));
	for (unsigned int i = 0; i < 5; i++) {
		const uint8_t *buffer = offer(ROOM);
		driver_kick(&driver, RX);
		driver_settle(&driver);
		assert_true(used(RX, &size));
		assert_memory_equal(buffer + HEADER, frame_of(60, i), 60);
		assert_false(driver_turn(&driver, i ? 0 : 20));
	}
}

/* The same buffer, over and over, for frames that come as fast as they are taken: the loop gets its
 * turn between them. */
static void test_flood_to_guest(void **state)
{
	const struct thaw_virtqueue *queue;
	unsigned int sent = 0;

	(void)state;
	driver_start(&driver, 0);
	offer(ROOM);
	queue = &thaw_virtio_mmio_device(driver.mmio)->queue[RX];
	while (queue->next_used < 5000) {
		uint64_t before = numbers().rx_packets;
		while ((uint16_t)(driver.queue[RX].avail_idx - queue->next_avail) < DRIVER_QUEUE)
			driver_publish(&driver, RX, 0);
		while (write(wire, frame_of(60, 0), 60) == 60)
			sent++;
		driver_kick(&driver, RX);
		driver_turn(&driver, 0);
		assert_true(numbers().rx_packets - before <= 128);
	}
	assert_true(sent >= 5000);
	assert_int_equal(driver_status(&driver), 0xf);
}

/* Frames that are thrown away take no buffer: they have their bound all the same. */
static void test_flood_of_bad_frames(void **state)
{
	unsigned int sent = 0;

	(void)state;
	driver_start(&driver, 0);
	offer(ROOM);
	while (write(wire, frame_of(13, 0), 13) == 13)
		sent++;
	assert_true(sent > 150);
	driver_kick(&driver, RX);
	assert_in_range(numbers().dropped, 1, 64);
	while (numbers().dropped < sent) {
		uint64_t before = numbers().dropped;
		assert_true(driver_turn(&driver, 1000));
		assert_in_range(numbers().dropped - before, 1, 64);
	}
	assert_int_equal(driver_status(&driver), 0xf);
}

/* A driver that never waits for an answer, and a host that does not read. */
static void test_flood_from_guest(void **state)
{
	struct driver_buffer buffer = {.out = frame_of(HEADER + 500, 0), .size = HEADER + 500};
	unsigned int got = 0, published = 1;
	uint8_t bytes[4096];

	(void)state;
	driver_start(&driver, EVENTIDX);
	memmove((uint8_t *)buffer.out + HEADER, frame_of(500, 0), 500);
	driver_add(&driver, TX, &buffer, 1, 0);
	const struct thaw_virtqueue *queue = &thaw_virtio_mmio_device(driver.mmio)->queue[TX];
	for (unsigned int i = 0; i < 2000; i++) {
		while ((uint16_t)(driver.queue[TX].avail_idx - queue->next_avail) < DRIVER_QUEUE) {
			driver_publish(&driver, TX, 0);
			published++;
		}
		driver_kick(&driver, TX);
	}
	/* It is full: the frames wait with the guest, and nobody turns round for them. */
	driver_settle(&driver);
	assert_false(driver_turn(&driver, 20));
	assert_true(published < 2000);
	while (got < published) {
		ssize_t n = read(wire, bytes, sizeof(bytes));
		assert_int_equal(n < 0 ? 500 : n, 500);
		if (n < 0)
			assert_true(driver_turn(&driver, 1000));
		got += n > 0;
	}
	driver_settle(&driver);
	assert_host_gets_nothing();
	assert_int_equal(queue->next_used, (uint16_t)published);
	assert_int_equal(numbers().dropped, 0);
	assert_int_equal(driver_status(&driver), 0xf);
}

/* --- limits --- */

static Thaw__Vmm__TokenBucket bucket_of(uint64_t size, uint64_t per_second)
{
	Thaw__Vmm__TokenBucket bucket = THAW__VMM__TOKEN_BUCKET__INIT;

	bucket.size = size;
	bucket.per_second = per_second;
	return bucket;
}

/* Frames beyond the limit are late, and none is lost; one of more bytes than the bucket holds
 * passes as well. */
static void test_limits(void **state)
{
	Thaw__Vmm__RateLimit limit = THAW__VMM__RATE_LIMIT__INIT;
	Thaw__Vmm__Network config = config_of();
	Thaw__Vmm__TokenBucket packets = bucket_of(4, 200), bytes = bucket_of(400, 20000);
	uint32_t size;

	(void)state;
	config.to_guest = config.from_guest = &limit;
	for (unsigned int how = 0; how < 2; how++) {
		limit.operations = how ? NULL : &packets;
		limit.bytes = how ? &bytes : NULL;
		again_with(&config);
		driver_start(&driver, how ? EVENTIDX : 0);
		for (unsigned int i = 0; i < 12; i++) {
			offer(ROOM);
			host_sends(100, i);
		}
		uint64_t began = thaw_monotonic_ns();
		driver_kick(&driver, RX);
		for (unsigned int i = 0; i < 12; i++)
			transmit(frame_of(100, i), 100);
		assert_in_range(numbers().rx_packets, 4, 11);
		assert_in_range(numbers().tx_packets, 4, 11);
		unsigned int turns = 0;
		while (numbers().rx_packets < 12 || numbers().tx_packets < 12) {
			assert_true(driver_turn(&driver, 1000));
			turns++;
		}
		/* Eight of them at 200 in a second; and no more turns than wait for one each. */
		assert_true(thaw_monotonic_ns() - began >= 35000000);
		assert_true(turns <= 60);
		for (unsigned int i = 0; i < 12; i++) {
			assert_true(used(RX, &size));
			assert_int_equal(size, HEADER + 100);
			assert_true(used(TX, &size));
			assert_host_gets(100, i);
		}
		assert_int_equal(numbers().dropped, 0);
	}
	transmit(frame_of(1400, 0), 1400);
	while (numbers().tx_packets < 13)
		assert_true(driver_turn(&driver, 1000));
	assert_host_gets(1400, 0);
}

/* Neither a pause nor a reset waits for tokens, or gives new ones; and a paused device has nothing
 * to do. */
static void test_limits_and_pauses(void **state)
{
	Thaw__Vmm__RateLimit limit = THAW__VMM__RATE_LIMIT__INIT;
	Thaw__Vmm__Network config = config_of();
	Thaw__Vmm__TokenBucket packets = bucket_of(1, 5);

	(void)state;
	config.to_guest = config.from_guest = &limit;
	limit.operations = &packets;
	again_with(&config);
	driver_start(&driver, 0);
	for (unsigned int i = 0; i < 3; i++) {
		offer(ROOM);
		host_sends(60, i);
		transmit(frame_of(60, i), 60);
	}
	driver_kick(&driver, RX);
	thaw_virtio_mmio_drain(driver.mmio);
	driver_settle(&driver); /* kicks of before */
	thaw_virtio_mmio_drain(driver.mmio);
	assert_int_equal(numbers().rx_packets, 1);
	assert_int_equal(numbers().tx_packets, 1);
	assert_false(driver_turn(&driver, 220));
	assert_int_equal(numbers().rx_packets, 1);
	assert_int_equal(numbers().tx_packets, 1);
	thaw_virtio_mmio_resume(driver.mmio);
	while (numbers().rx_packets < 3 || numbers().tx_packets < 3)
		assert_true(driver_turn(&driver, 1000));
	/* Resets do not fill the bucket. */
	for (unsigned int i = 0; i < 20; i++) {
		driver_start(&driver, 0);
		transmit(frame_of(60, 0), 60);
	}
	assert_in_range(numbers().tx_packets, 3, 5);
}

/* --- life --- */

static void test_reset_under_load(void **state)
{
	(void)state;
	for (unsigned int round = 0; round < 50; round++) {
		const uint8_t *buffers[4];
		driver_start(&driver, 0);
		for (unsigned int i = 0; i < 4; i++)
			buffers[i] = offer(ROOM);
		driver_kick(&driver, RX);
		for (unsigned int i = 0; i < 4; i++)
			transmit(frame_of(60, i), 60);
		host_sends(60, 0);
		if (round & 1)
			driver_turn(&driver, 0);
		host_sends(60, 0);
		driver_write(&driver, VIRTIO_MMIO_STATUS, 0);
		/* From here on the memory is the driver's. */
		for (unsigned int i = 0; i < 4; i++)
			memset((void *)buffers[i], 0x77, ROOM);
		host_sends(60, 0);
		driver_settle(&driver);
		for (unsigned int i = 0; i < 4 * ROOM; i++)
			assert_int_equal(buffers[i / ROOM][i % ROOM], 0x77);
		/* What had no taker comes with the next life; make away with it. */
		while (recv(tap, (uint8_t[1]){0}, 1, MSG_DONTWAIT) > 0)
			;
	}
}

static void *run_loop(void *unused)
{
	(void)unused;
	thaw_loop_run(&driver.loop, NULL);
	return NULL;
}

static void stop(void *opaque, uint32_t events)
{
	(void)opaque;
	(void)events;
	driver.loop.stop = true;
}

/* A vCPU that resets the device again and again, and makes it wait for tokens, while the loop hears
 * of its tap and its timers. */
static void test_resets_from_another_thread(void **state)
{
	Thaw__Vmm__RateLimit limit = THAW__VMM__RATE_LIMIT__INIT;
	Thaw__Vmm__Network config = config_of();
	Thaw__Vmm__TokenBucket packets = bucket_of(2, 2000);
	struct thaw_source stopper = {
		.fd = eventfd(0, EFD_CLOEXEC), .events = EPOLLIN, .handle = stop};
	pthread_t thread;

	(void)state;
	config.to_guest = config.from_guest = &limit;
	limit.operations = &packets;
	again_with(&config);
	assert_int_equal(thaw_loop_add(&driver.loop, &stopper, &err), 0);
	driver.served = true;
	assert_int_equal(pthread_create(&thread, NULL, run_loop, NULL), 0);
	for (unsigned int round = 0; round < 300; round++) {
		pthread_mutex_lock(&driver.loop.lock);
		driver_start(&driver, 0);
		for (unsigned int i = 0; i < 3; i++) {
			offer(ROOM);
			transmit(frame_of(60, i), 60);
		}
		driver_kick(&driver, RX);
		pthread_mutex_unlock(&driver.loop.lock);
		for (unsigned int i = 0; i < 3; i++)
			(void)!write(wire, frame_of(60, i), 60);
		if (round % 3 == 0)
			usleep(1500);
		while (recv(wire, (uint8_t[1]){0}, 1, MSG_DONTWAIT) > 0)
			;
	}
	assert_int_equal(eventfd_write(stopper.fd, 1), 0);
	pthread_join(thread, NULL);
	driver.served = false;
	thaw_loop_remove(&driver.loop, &stopper);
	close(stopper.fd);
	assert_true(numbers().rx_packets && numbers().tx_packets);
	assert_int_equal(driver_status(&driver), 0xf);
}

/* Only a resume lets a paused machine's device at the tap again. */
static void test_pause(void **state)
{
	uint32_t size;

	(void)state;
	driver_start(&driver, 0);
	offer(ROOM);
	driver_kick(&driver, RX);
	driver_settle(&driver);
	thaw_virtio_mmio_drain(driver.mmio);
	host_sends(60, 0);
	assert_false(driver_turn(&driver, 20));
	assert_false(used(RX, &size));
	thaw_virtio_mmio_resume(driver.mmio);
	driver_settle(&driver);
	assert_true(used(RX, &size));
}

static void test_snapshot(void **state)
{
	Thaw__Vmm__Network config = config_of();
	uint8_t other[] = {2, 0, 0, 0, 0, 3};
	uint32_t size;

	(void)state;
	driver_start(&driver, EVENTIDX);
	const uint8_t *buffer = offer(ROOM);
	driver_kick(&driver, RX);
	thaw_virtio_mmio_drain(driver.mmio);
	struct driver_buffer frame = {.out = frame_of(HEADER + 60, 0), .size = HEADER + 60};
	memmove((uint8_t *)frame.out + HEADER, frame_of(60, 0), 60);
	driver_add(&driver, TX, &frame, 1, 0); /* made available, and not kicked */
	/* Of the tap's last owner. */
	host_sends(60, 1);
	assert_int_equal(thaw_net_create(&net, dup(tap), &config, &driver.loop, &err), 0);
	assert_int_equal(driver_snapshot(&driver, net, &err), 0);
	driver_settle(&driver);
	assert_true(used(TX, &size));
	assert_host_gets(60, 0);
	assert_false(used(RX, &size));
	host_sends(61, 2);
	driver_settle(&driver);
	assert_true(used(RX, &size));
	assert_memory_equal(buffer + HEADER, frame_of(61, 2), 61);
	/* Another address is another device. */
	config.mac.data = other;
	assert_int_equal(thaw_net_create(&net, dup(tap), &config, &driver.loop, &err), 0);
	assert_int_equal(driver_snapshot(&driver, net, &err), -EPROTO);
}

static void test_bad_states(void **state)
{
	(void)state;
	for (unsigned int how = 0; how < 3; how++) {
		const Thaw__Vmm__Network config = config_of();
		Thaw__Snapshot__Device *saved = driver_save(&driver);
		Thaw__Snapshot__Virtio *virtio = saved->virtio;
		if (how == 0)
			virtio->net->mac.len = 5;
		if (how == 1)
			virtio->net->mac.data[5]++;
		if (how == 2) {
			thaw__snapshot__net__free_unpacked(virtio->net, NULL);
			virtio->net = NULL;
			virtio->device_case = THAW__SNAPSHOT__VIRTIO__DEVICE__NOT_SET;
		}
		again_with(&config);
		assert_int_equal(thaw_virtio_mmio_restore(driver.mmio, saved, &err), -EPROTO);
		thaw__snapshot__device__free_unpacked(saved, NULL);
		again_with(&config);
	}
}

/* The other end is no more: the device is still there, and does not turn round for it. */
static void test_tap_gone(void **state)
{
	const Thaw__Vmm__Network config = config_of();
	uint32_t size;

	(void)state;
	for (unsigned int how = 0; how < 2; how++) {
		close(wire);
		close(tap);
		wire_up(SOCK_SEQPACKET);
		again_with(&config);
		close(tap); /* the device has its own */
		tap = -1;
		driver_start(&driver, 0);
		for (unsigned int i = 0; i < 3; i++)
			offer(ROOM);
		driver_kick(&driver, RX);
		host_sends(60, 0);
		if (how)
			transmit(frame_of(60, 0), 60); /* unread: the next read is an error */
		close(wire);
		wire = -1;
		driver_settle(&driver);
		assert_false(driver_turn(&driver, 20));
		for (unsigned int i = 0; i < 3; i++) {
			transmit(frame_of(60, 0), 60);
			assert_true(used(TX, &size));
		}
		driver_kick(&driver, RX);
		assert_false(driver_turn(&driver, 20));
		assert_int_equal(driver_status(&driver), 0xf);
		driver_start(&driver, 0);
		wire_up(SOCK_DGRAM);
	}
}

static void test_bad_configurations(void **state)
{
	Thaw__Vmm__RateLimit limit = THAW__VMM__RATE_LIMIT__INIT;
	Thaw__Vmm__TokenBucket none = bucket_of(1, 0);
	uint8_t multicast[] = {3, 0, 0, 0, 0, 2}, zero[6] = {0};

	(void)state;
	for (unsigned int how = 0; how < 8; how++) {
		Thaw__Vmm__Network config = config_of();
		struct thaw_net *device;
		int fd = dup(tap);
		switch (how) {
		case 0:
			config.mac.data = multicast;
			break;
		case 1:
			config.mac.data = zero;
			break;
		case 2:
			config.mac.len = 5;
			break;
		case 3:
			config.mac.len = 0;
			config.mac.data = NULL;
			break;
		case 4:
			config.to_guest = &limit;
			limit.bytes = &none;
			break;
		case 5:
			config.from_guest = &limit;
			break;
		case 6: /* nothing that epoll watches */
			close(fd);
			fd = open("/proc/self/exe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
			break;
		default: /* the last, as it is for both */
			assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
		}
		assert_int_equal(thaw_net_create(&device, fd, &config, &driver.loop, &err),
				 -EINVAL);
		assert_int_equal(fcntl(fd, F_GETFD), -1);
	}
	assert_int_equal(fcntl(tap, F_SETFL, O_NONBLOCK), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_config),
		TEST(test_from_guest),
		TEST(test_from_guest_in_pieces),
		TEST(test_to_guest),
		TEST(test_to_guest_in_pieces),
		TEST(test_frames_that_may_not_leave),
		TEST(test_source_that_changes),
		TEST(test_frames_that_may_not_arrive),
		TEST(test_broken_frames),
		TEST(test_frame_outside_memory),
		TEST(test_broken_buffers),
		TEST(test_no_buffers),
		TEST(test_flood_to_guest),
		TEST(test_flood_of_bad_frames),
		TEST(test_flood_from_guest),
		TEST(test_limits),
		TEST(test_limits_and_pauses),
		TEST(test_reset_under_load),
		TEST(test_resets_from_another_thread),
		TEST(test_pause),
		TEST(test_snapshot),
		TEST(test_bad_states),
		TEST(test_tap_gone),
		TEST(test_bad_configurations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
