/* SPDX-License-Identifier: Apache-2.0 */
/* Registers: wrong orders, wrong values, wrong places. */
#include "guest.h"

static void touch(uint64_t at, uint64_t value)
{
	put8(at, (uint8_t)value);
	put16(at, (uint16_t)value);
	put32(at, (uint32_t)value);
	put64(at, value);
	get8(at);
	get16(at);
	get32(at);
	get64(at);
}

static void mmio_sweep(void)
{
	const uint64_t values[] = {0, ~0ull, 0x0101010101010101};

	for (unsigned int i = 0; i <= device_count; i++) {
		uint64_t base = MMIO_BASE + i * WINDOW;
		for (uint64_t at = 0; at < 0x180; at++)
			touch(base + at, values[at % 3]);
		for (uint64_t at = 0x180; at < WINDOW - 8; at += 61)
			touch(base + at, values[at % 3]);
		for (uint64_t at = WINDOW - 8; at < WINDOW; at++)
			touch(base + at, values[at % 3]);
	}
	touch(MMIO_BASE - 4, ~0ull);
	touch(MMIO_BASE + DEVICES_MAX * WINDOW, ~0ull);
	touch(0xc0000000, ~0ull);
	touch(0xfffffff8, ~0ull);
}

/* With every register at its extremes while the device is up. */
static void mmio_live(void)
{
	const uint32_t values[] = {0, 1, 2, 0x7fffffff, 0x80000000, ~0u};

	for (unsigned int i = 0; i < device_count; i++) {
		struct device *d = &devices[i];
		for (uint32_t at = 0; at < 0x110; at += 4) {
			bring_up(d);
			for (unsigned int v = 0; v < 6; v++)
				reg_set(d, at, values[v]);
			for (unsigned int q = 0; q < d->queues; q++)
				kick(d, q);
		}
	}
}

static void port_pair(uint16_t port)
{
	in8(port);
	in16(port);
	in32(port);
	out8(port, 0xfd);
	out16(port, 0xfefd);
	out32(port, 0xfefefefd);
}

static void pio_sweep(void)
{
	for (uint32_t port = 0; port < 0x600; port++)
		port_pair((uint16_t)port);
	for (uint32_t port = 0x600; port <= 0xffff; port += 97)
		port_pair((uint16_t)port);
	port_pair(0xffff);
}

/* String instructions come as many accesses at once. */
static void pio_strings(void)
{
	const uint16_t ports[] = {0x3f8, 0x3f9, 0x3fa, 0x3fd, 0x510,
				  0x518, 0x51c, 0x51f, 0x64,  0xcf8};

	fill((void *)BIG, 0x41, 65536);
	for (unsigned int i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		uint64_t at = BIG, count = 3000;
		__asm__ volatile("rep outsb" : "+S"(at), "+c"(count) : "d"(ports[i]) : "memory");
		count = 700;
		__asm__ volatile("rep outsl" : "+S"(at), "+c"(count) : "d"(ports[i]) : "memory");
		at = BIG + 65536;
		count = 3000;
		__asm__ volatile("rep insb" : "+D"(at), "+c"(count) : "d"(ports[i]) : "memory");
		count = 700;
		__asm__ volatile("rep insl" : "+D"(at), "+c"(count) : "d"(ports[i]) : "memory");
	}
}

static void status_order(void)
{
	for (unsigned int i = 0; i < device_count; i++) {
		struct device *d = &devices[i];
		reset(d);
		reg_set(d, VIRTIO_MMIO_STATUS, DRIVER_OK);
		if (!(status_of(d) & NEEDS_RESET))
			fault("DRIVER_OK before FEATURES_OK was taken");
		reset(d);
		reg_set(d, VIRTIO_MMIO_STATUS, FEATURES_OK);
		if (status_of(d) & FEATURES_OK)
			fault("FEATURES_OK before DRIVER was taken");
		for (uint32_t status = 0; status < 0x200; status++) {
			reg_set(d, VIRTIO_MMIO_STATUS, status);
			kick(d, 0);
		}
		for (uint32_t status = 0x200; status; status--)
			reg_set(d, VIRTIO_MMIO_STATUS, status << 20 | status);
		bring_up(d);
		reg_set(d, VIRTIO_MMIO_STATUS, FAILED);
		kick(d, 0);
		reg_set(d, VIRTIO_MMIO_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
		kick(d, 0);
	}
}

static void features_refused(void)
{
	for (unsigned int i = 0; i < device_count; i++) {
		struct device *d = &devices[i];
		uint64_t offered;
		reg_set(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
		offered = reg_get(d, VIRTIO_MMIO_DEVICE_FEATURES);
		reg_set(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
		offered |= (uint64_t)reg_get(d, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
		for (unsigned int bit = 0; bit < 64; bit++) {
			if (negotiate(d, 1ull << bit) != ((offered >> bit) & 1))
				fault("a feature that is not offered was taken, or one that is was "
				      "not");
		}
		if (negotiate(d, ~0ull))
			fault("all features were taken");
		reset(d);
		reg_set(d, VIRTIO_MMIO_STATUS, ACKNOWLEDGE | DRIVER);
		for (uint32_t select = 2; select; select <<= 1) {
			reg_set(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, select);
			reg_set(d, VIRTIO_MMIO_DRIVER_FEATURES, ~0u);
		}
		reg_set(d, VIRTIO_MMIO_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
		if (status_of(d) & FEATURES_OK)
			fault("a driver without VERSION_1 was taken");
		/* And once more when it is up. */
		bring_up(d);
		reg_set(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
		reg_set(d, VIRTIO_MMIO_DRIVER_FEATURES, ~0u);
		kick(d, 0);
	}
}

static void queue_sizes(void)
{
	const uint32_t sizes[] = {0, 3, 5, 63, 65, 96, 512, 0x8000, 0xffff, 0x10000, 0x10008, ~0u};

	for (unsigned int i = 0; i < device_count; i++) {
		struct device *d = &devices[i];
		volatile struct ring *r = d->ring[0];
		for (unsigned int s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			negotiate(d, 0);
			queue_set(d, 0, sizes[s], (uintptr_t)r->desc, (uintptr_t)&r->avail_flags,
				  (uintptr_t)&r->used_flags);
			if (reg_get(d, VIRTIO_MMIO_QUEUE_READY))
				fault("a queue of a size that cannot be is ready");
			reg_set(d, VIRTIO_MMIO_STATUS, 15);
			kick(d, 0);
		}
		/* Queues that are not there. */
		negotiate(d, 0);
		for (uint32_t q = d->queues; q; q = q < 8 ? q + 1 : q << 1)
			queue_set(d, q, 8, (uintptr_t)r->desc, (uintptr_t)&r->avail_flags,
				  (uintptr_t)&r->used_flags);
	}
}

static void queue_addresses(void)
{
	const uint64_t bad[] = {1,          MEMORY_SIZE, MEMORY_SIZE - 16,  MMIO_BASE,  0xc0000000,
				0xfffffff0, 1ull << 32,  (1ull << 32) - 64, 5ull << 30, 0x8000000,
				~0ull,      ~0ull - 15,  1ull << 63,        0xfee00000, 0xfec00000,
				0x108000000};

	for (unsigned int i = 0; i < device_count; i++) {
		struct device *d = &devices[i];
		volatile struct ring *r = d->ring[0];
		for (unsigned int b = 0; b < 3 * sizeof(bad) / sizeof(bad[0]); b++) {
			uint64_t at = bad[b / 3];
			negotiate(d, 0);
			queue_set(d, 0, d->size[0], b % 3 == 0 ? at : (uintptr_t)r->desc,
				  b % 3 == 1 ? at : (uintptr_t)&r->avail_flags,
				  b % 3 == 2 ? at : (uintptr_t)&r->used_flags);
			if (reg_get(d, VIRTIO_MMIO_QUEUE_READY))
				fault("a ring outside of memory is ready");
			reg_set(d, VIRTIO_MMIO_STATUS, 15);
			kick(d, 0);
		}
	}
}

/* Moves the rings away while the device is up. */
static void queue_late(void)
{
	for (unsigned int i = 0; i < device_count; i++) {
		struct device *d = &devices[i];
		bring_up(d);
		for (unsigned int q = 0; q < d->queues; q++) {
			queue_set(d, q, 3, 5ull << 30, 6ull << 30, 7ull << 30);
			reg_set(d, VIRTIO_MMIO_QUEUE_READY, 0);
			if (!reg_get(d, VIRTIO_MMIO_QUEUE_READY))
				fault("a queue in use was taken down");
			kick(d, q);
		}
		if (status_of(d) & NEEDS_RESET)
			fault("a frozen register broke the device");
		if (d->id == ID_BLOCK && block_request(d, 0, 0, BIG, SECTOR) != 0)
			fault("the drive does not answer in its old rings");
	}
}

static void kick_storm(void)
{
	for (unsigned int i = 0; i < device_count; i++)
		bring_up(&devices[i]);
	for (unsigned int n = 0; n < 3000; n++) {
		for (unsigned int i = 0; i < device_count; i++)
			kick(&devices[i], n % 5 == 4 ? ~0u - n : n % 5);
	}
}

static void reset_storm(void)
{
	for (unsigned int n = 0; n < 60; n++) {
		for (unsigned int i = 0; i < device_count; i++) {
			struct device *d = &devices[i];
			bring_up(d);
			for (unsigned int q = 0; q < d->queues; q++) {
				describe(d, q, 0, BIG, 64, q ? 0 : WRITE, 0);
				offer(d, q, 0);
				kick(d, q);
			}
			reset(d);
		}
	}
}

const struct scenario transport_scenarios[] = {
	{"mmio-sweep", mmio_sweep},     {"mmio-live", mmio_live},
	{"pio-sweep", pio_sweep},       {"pio-strings", pio_strings},
	{"status-order", status_order}, {"features-refused", features_refused},
	{"queue-sizes", queue_sizes},   {"queue-addresses", queue_addresses},
	{"queue-late", queue_late},     {"kick-storm", kick_storm},
	{"reset-storm", reset_storm},   {0},
};
