/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio driver for tests, as the guest's kernel would be one: plain memory, a loop turned by
 * hand, and a transport reached through its bus operations. No KVM. It can do right and, since
 * every ring field is in reach, wrong.
 */
#ifndef THAW_TESTS_UNIT_VIRTIO_DRIVER_H
#define THAW_TESTS_UNIT_VIRTIO_DRIVER_H

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/error.h"
#include "proto/snapshot.pb-c.h"
#include "vmm/loop.h"
#include "vmm/virtio/mmio.h"

#define DRIVER_MEMORY (4u << 20)
#define DRIVER_QUEUE  16u

struct driver_queue {
	uint16_t size;
	gpa_t desc, avail, used;
	uint16_t next_desc; /* descriptors are taken round and round, and never tracked */
	uint16_t avail_idx, last_used;
};

struct driver {
	struct thaw_memory memory;
	struct thaw_loop loop;
	struct thaw_virtio_mmio *mmio;
	int irq_fd;
	gpa_t heap;
	struct driver_queue queue[THAW_VIRTIO_QUEUES_MAX];
	bool served; /* a thread runs the loop */
};

/* A buffer of a request; from `out` (a copy is made in guest memory), or to the driver. */
struct driver_buffer {
	const void *out;
	uint32_t size;
	gpa_t gpa; /* set by driver_add unless it is set already */
};

/* Memory and loop; then a device. Failures end the test. */
void driver_create(struct driver *driver);
void driver_attach(struct driver *driver, const struct thaw_virtio_ops *ops, void *device);
/* Destroys the transport (and the device), not memory and loop. */
void driver_detach(struct driver *driver);
void driver_destroy(struct driver *driver);

uint32_t driver_read(struct driver *driver, uint64_t offset);
void driver_write(struct driver *driver, uint64_t offset, uint32_t value);
uint32_t driver_status(struct driver *driver);

/* The handshake to FEATURES_OK (false: refused), the set-up of a queue of `size`, DRIVER_OK. */
bool driver_negotiate(struct driver *driver, uint64_t features);
void driver_queue_setup(struct driver *driver, unsigned int index, uint16_t size);
void driver_queue_write(struct driver *driver, unsigned int index);
void driver_ok(struct driver *driver);
/* All of them, with queues of DRIVER_QUEUE and the features besides VERSION_1. */
void driver_start(struct driver *driver, uint64_t features);

gpa_t driver_alloc(struct driver *driver, uint64_t size, uint64_t align);
void *driver_at(struct driver *driver, gpa_t gpa);
struct vring_desc *driver_desc(struct driver *driver, unsigned int index, uint16_t i);
uint16_t *driver_avail_idx(struct driver *driver, unsigned int index);

/* Makes `head` available. */
void driver_publish(struct driver *driver, unsigned int index, uint16_t head);
/* Makes a chain of buffers and publishes it: `readable` ones first. Its head. */
uint16_t driver_add(struct driver *driver, unsigned int index, struct driver_buffer *buffers,
		    unsigned int readable, unsigned int writable);
/* A kick is an event for the I/O thread, who is we unless the loop is served by another. */
void driver_kick(struct driver *driver, unsigned int index);
/* The next used entry, if there is one. */
bool driver_used(struct driver *driver, unsigned int index, uint16_t *head, uint32_t *size);
/* Interrupts since the last call: acknowledged, status returned. */
uint32_t driver_interrupt(struct driver *driver);

/* Handles what the loop has ready; waits up to `ms` for something. Whether there was. */
bool driver_turn(struct driver *driver, int ms);
/* Turns until nothing is ready. */
void driver_settle(struct driver *driver);

/* Saves the device, destroys it, and restores into `device`, a new one of the same ops. The state
 * goes through its packed form. The result of the restore. */
int driver_snapshot(struct driver *driver, void *device, struct thaw_error *err);
Thaw__Snapshot__Device *driver_save(struct driver *driver);

#endif
