/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

#define MAGIC 0x74726976u

struct device devices[DEVICES_MAX];
unsigned int device_count;

static struct ring rings[DEVICES_MAX][QUEUES_MAX];

uint32_t reg_get(const struct device *d, uint32_t offset)
{
	return get32(d->base + offset);
}

void reg_set(const struct device *d, uint32_t offset, uint32_t value)
{
	put32(d->base + offset, value);
}

uint32_t status_of(const struct device *d)
{
	return reg_get(d, VIRTIO_MMIO_STATUS);
}

void reset(const struct device *d)
{
	reg_set(d, VIRTIO_MMIO_STATUS, 0);
}

void find_devices(void)
{
	device_count = 0;
	for (unsigned int i = 0; i < DEVICES_MAX; i++) {
		struct device *d = &devices[device_count];
		d->base = MMIO_BASE + i * WINDOW;
		if (reg_get(d, VIRTIO_MMIO_MAGIC_VALUE) != MAGIC)
			continue;
		d->id = reg_get(d, VIRTIO_MMIO_DEVICE_ID);
		d->queues = 0;
		for (unsigned int q = 0; q < QUEUES_MAX; q++) {
			reg_set(d, VIRTIO_MMIO_QUEUE_SEL, q);
			d->size[q] = (uint16_t)reg_get(d, VIRTIO_MMIO_QUEUE_NUM_MAX);
			d->ring[q] = &rings[device_count][q];
			if (d->size[q])
				d->queues++;
		}
		device_count++;
	}
}

struct device *device_of(uint32_t id, unsigned int n)
{
	for (unsigned int i = 0; i < device_count; i++) {
		if (devices[i].id == id && n-- == 0)
			return &devices[i];
	}
	fault("a device is missing");
	rest();
}

bool negotiate(const struct device *d, uint64_t features)
{
	reset(d);
	reg_set(d, VIRTIO_MMIO_STATUS, ACKNOWLEDGE);
	reg_set(d, VIRTIO_MMIO_STATUS, ACKNOWLEDGE | DRIVER);
	reg_set(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	reg_set(d, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)features);
	reg_set(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	reg_set(d, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32) | 1);
	reg_set(d, VIRTIO_MMIO_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	return status_of(d) & FEATURES_OK;
}

void queue_set(const struct device *d, unsigned int queue, uint32_t size, uint64_t desc,
	       uint64_t avail, uint64_t used)
{
	reg_set(d, VIRTIO_MMIO_QUEUE_SEL, queue);
	reg_set(d, VIRTIO_MMIO_QUEUE_NUM, size);
	reg_set(d, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)desc);
	reg_set(d, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(desc >> 32));
	reg_set(d, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)avail);
	reg_set(d, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(avail >> 32));
	reg_set(d, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)used);
	reg_set(d, VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(used >> 32));
	reg_set(d, VIRTIO_MMIO_QUEUE_READY, 1);
}

void bring_up(struct device *d)
{
	negotiate(d, 0);
	for (unsigned int q = 0; q < d->queues; q++) {
		volatile struct ring *r = d->ring[q];
		r->avail_flags = r->avail_index = r->used_flags = r->used_index = 0;
		queue_set(d, q, d->size[q], (uintptr_t)r->desc, (uintptr_t)&r->avail_flags,
			  (uintptr_t)&r->used_flags);
	}
	reg_set(d, VIRTIO_MMIO_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

void describe(struct device *d, unsigned int queue, unsigned int at, uint64_t addr, uint32_t len,
	      uint16_t flags, uint16_t next)
{
	volatile struct descriptor *to = &d->ring[queue]->desc[at];

	to->addr = addr;
	to->len = len;
	to->flags = flags;
	to->next = next;
}

void offer(struct device *d, unsigned int queue, uint16_t head)
{
	volatile struct ring *r = d->ring[queue];

	r->avail[r->avail_index & (d->size[queue] - 1)] = head;
	r->avail_index++;
}

void kick(const struct device *d, unsigned int queue)
{
	reg_set(d, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

bool used_up(const struct device *d, unsigned int queue, uint16_t count, unsigned int ms)
{
	uint64_t began = now_ms();

	while (d->ring[queue]->used_index != count) {
		if (now_ms() > began + ms)
			return false;
	}
	return true;
}

uint8_t block_request(struct device *d, uint32_t type, uint64_t sector, uint64_t addr,
		      uint32_t size)
{
	static struct {
		uint32_t type, reserved;
		uint64_t sector;
		volatile uint8_t status;
	} request;
	uint16_t count = (uint16_t)(d->ring[0]->used_index + 1);

	request.type = type;
	request.sector = sector;
	request.status = 0xff;
	describe(d, 0, 0, (uintptr_t)&request, 16, NEXT, size ? 1 : 2);
	describe(d, 0, 1, addr, size, NEXT | (type == 0 || type == 8 ? WRITE : 0), 2);
	describe(d, 0, 2, (uintptr_t)&request.status, 1, WRITE, 0);
	offer(d, 0, 0);
	kick(d, 0);
	used_up(d, 0, count, 10000);
	return request.status;
}

static bool block_well(struct device *d)
{
	volatile uint64_t *data = (volatile uint64_t *)BIG;

	bring_up(d);
	data[0] = data[63] = 0;
	if (block_request(d, 0, 0, BIG, SECTOR) != 0)
		return false;
	/* "Testdisk": what is on the writable one is not known. */
	return d != device_of(ID_BLOCK, 0) ||
	       (data[0] == 0x6b73696474736554 && data[63] == data[0]);
}

static bool rng_well(struct device *d)
{
	volatile uint64_t *data = (volatile uint64_t *)BIG;

	bring_up(d);
	data[0] = data[1] = 0;
	describe(d, 0, 0, BIG, 16, WRITE, 0);
	offer(d, 0, 0);
	kick(d, 0);
	return used_up(d, 0, 1, 10000) && data[0] && data[1];
}

static bool pmem_well(struct device *d)
{
	volatile uint32_t *data = (volatile uint32_t *)BIG;

	bring_up(d);
	data[0] = 0;
	data[1] = 0xff;
	describe(d, 0, 0, BIG, 4, NEXT, 1);
	describe(d, 0, 1, BIG + 4, 4, WRITE, 0);
	offer(d, 0, 0);
	kick(d, 0);
	return used_up(d, 0, 1, 10000) && data[1] == 0;
}

/* A packet to nobody is refused. */
static bool vsock_well(struct device *d)
{
	volatile uint16_t *packet = (volatile uint16_t *)BIG;

	bring_up(d);
	fill(packet, 0, 4096);
	packet[0] = 3;  /* from CID 3 */
	packet[4] = 99; /* to a CID that is not there */
	packet[14] = 1; /* stream */
	packet[15] = 5; /* RW */
	describe(d, 0, 0, BIG + 2048, 1024, WRITE, 0);
	offer(d, 0, 0);
	kick(d, 0);
	describe(d, 1, 0, BIG, 44, 0, 0);
	offer(d, 1, 0);
	kick(d, 1);
	/* What a client of the host has asked for may come first; it is a packet all the same. */
	return used_up(d, 1, 1, 10000) && used_up(d, 0, 1, 10000);
}

/* A frame leaves, and one of those that the harness sends all the time comes. */
static bool net_well(struct device *d)
{
	bring_up(d);
	fill((void *)BIG, 0, 8192);
	for (unsigned int i = 0; i < 6; i++)
		put8(BIG + 12 + 6 + i, get8(d->base + VIRTIO_MMIO_CONFIG + i));
	describe(d, 1, 0, BIG, 72, 0, 0);
	offer(d, 1, 0);
	kick(d, 1);
	describe(d, 0, 0, BIG + 4096, 2048, WRITE, 0);
	offer(d, 0, 0);
	kick(d, 0);
	return used_up(d, 1, 1, 10000) && used_up(d, 0, 1, 10000) && get8(BIG + 4096 + 10) == 1 &&
	       get8(BIG + 4096 + 12) == 0xff;
}

bool all_well(void)
{
	bool well = true;

	for (unsigned int i = 0; i < device_count; i++) {
		struct device *d = &devices[i];
		bool ok = d->id == ID_BLOCK   ? block_well(d)
			  : d->id == ID_RNG   ? rng_well(d)
			  : d->id == ID_VSOCK ? vsock_well(d)
			  : d->id == ID_NET   ? net_well(d)
					      : pmem_well(d);
		reset(d);
		if (ok)
			continue;
		print("device ");
		print_number(i);
		fault("does not work after a reset");
		well = false;
	}
	return well;
}
