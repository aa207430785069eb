/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device (Virtual I/O Device 1.2, sections 2 and 3): what the transport knows of it.
 *
 * The transport (virtio/mmio.h) owns status, features, queues and interrupts; a device gives an
 * ops table and is told of queues. All calls come with the machine's device lock held. A driver
 * that breaks the protocol gets DEVICE_NEEDS_RESET (thaw_virtio_fail), one warning in the log, and
 * no further service until it resets the device; the machine goes on.
 */
#ifndef THAW_VMM_VIRTIO_DEVICE_H
#define THAW_VMM_VIRTIO_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/virtio/queue.h"

struct thaw_error;
struct thaw_loop;
struct thaw_memory;
struct thaw_virtio_device;
struct Thaw__Snapshot__Device;

#define THAW_VIRTIO_QUEUES_MAX 3u

struct thaw_virtio_ops {
	const char *name;        /* "block", "vsock", ...: also the kind in a snapshot */
	uint32_t device_id;      /* virtio 1.2 section 5 */
	unsigned int queues;     /* 1..THAW_VIRTIO_QUEUES_MAX */
	uint16_t queue_size_max; /* a power of two */

	/* Called once, by the transport's creation: what the device keeps a pointer to. */
	void (*attach)(void *device, struct thaw_virtio_device *virtio);
	/* The device's own features; the transport adds VERSION_1 and EVENT_IDX. */
	uint64_t (*features)(void *device);
	/* Device configuration space; offset + size lies within config_size. write may be NULL. */
	uint32_t config_size;
	void (*config_read)(void *device, uint32_t offset, void *data, unsigned int size);
	void (*config_write)(void *device, uint32_t offset, const void *data, unsigned int size);

	/* DRIVER_OK: queues are ready and will not change. */
	int (*activate)(void *device, struct thaw_error *err);
	/* The driver says that queue `index` has new buffers. */
	void (*kick)(void *device, unsigned int index);
	/* Back to the state after creation; requests under way are finished or forgotten first:
	 * after it, nothing of the device touches guest memory. */
	void (*reset)(void *device);

	/* The machine is paused: returns when no request is under way, and everything that was
	 * taken from a queue has been answered in it or can be told in save(). */
	void (*drain)(void *device);
	/* Adds the device's own state to `out` (see proto/snapshot.proto), allocated with malloc;
	 * thaw__snapshot__device__free_unpacked releases it. NULL: no state of its own. */
	int (*save)(void *device, struct Thaw__Snapshot__Device *out, struct thaw_error *err);
	/* Called after the transport has its state back, and before the guest runs; the state is
	 * untrusted. Does what activate() does if the driver had the device up (`active`). */
	int (*restore)(void *device, const struct Thaw__Snapshot__Device *in, bool active,
		       struct thaw_error *err);
	void (*destroy)(void *device);
};

/* The transport's half, made by thaw_virtio_mmio_create; the first member of no one: devices hold
 * a pointer to it. */
struct thaw_virtio_device {
	const struct thaw_virtio_ops *ops;
	void *device;
	struct thaw_memory *memory;
	struct thaw_loop *loop;
	struct thaw_virtqueue queue[THAW_VIRTIO_QUEUES_MAX];
	uint64_t features; /* as negotiated */
	bool active;       /* DRIVER_OK, and not failed */
};

/* Tells the driver that buffers were used in queue `index`, unless it asked not to be told. Whether
 * it was: it then looks at all of its queues (4.2.2: one interrupt is for all of them). */
bool thaw_virtio_signal(struct thaw_virtio_device *virtio, unsigned int index);
/* A kick for devices that answer a request as soon as they see it: takes chains, has each answered
 * (`written`: bytes put into its writable part; negative: the driver broke the rules), gives them
 * back and signals. Bounded by the queue's size, the rest later. */
typedef int thaw_virtio_answer(void *device, const struct thaw_chain *chain, uint32_t *written,
			       struct thaw_error *err);
void thaw_virtio_serve(struct thaw_virtio_device *virtio, unsigned int index,
		       thaw_virtio_answer *answer);
/* Has kick(index) called again from the loop: for a device that has done its share of work and
 * lets others have their turn. */
void thaw_virtio_kick_later(struct thaw_virtio_device *virtio, unsigned int index);
/* The driver broke the rules: see above. */
void thaw_virtio_fail(struct thaw_virtio_device *virtio, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
