/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-mmio transport, version 2 (Virtual I/O Device 1.2, section 4.2), modern drivers only.
 *
 * One transport is one device in a window of THAW_VIRTIO_MMIO_SIZE bytes. It keeps the status
 * machine (section 3.1): features are taken only until FEATURES_OK, queue sizes and addresses only
 * between FEATURES_OK and DRIVER_OK, and rings outside of RAM make the device need a reset.
 *
 * Everything but creation and destruction is called with the machine's device lock held.
 */
#ifndef THAW_VMM_VIRTIO_MMIO_H
#define THAW_VMM_VIRTIO_MMIO_H

#include "vmm/bus.h"
#include "vmm/virtio/device.h"

#define THAW_VIRTIO_MMIO_SIZE   0x1000u
#define THAW_VIRTIO_MMIO_NOTIFY 0x50u /* QueueNotify: where to bind ioeventfds */

struct thaw_virtio_mmio;

/* Ties `device` to a transport. `irq_fd` is an eventfd that raises the device's interrupt line, an
 * edge at each write. The transport owns `device` (destroys it through its ops) and `irq_fd` from
 * here on, also when this fails. */
int thaw_virtio_mmio_create(struct thaw_virtio_mmio **out, const struct thaw_virtio_ops *ops,
			    void *device, struct thaw_memory *memory, struct thaw_loop *loop,
			    int irq_fd, struct thaw_error *err);
/* No vCPU may run and the loop may not be handling events. NULL is allowed. */
void thaw_virtio_mmio_destroy(struct thaw_virtio_mmio *mmio);

/* For thaw_bus_add, with the transport as the device. Notifications that no ioeventfd caught come
 * this way and work too. */
extern const struct thaw_bus_ops thaw_virtio_mmio_bus_ops;

unsigned int thaw_virtio_mmio_queues(const struct thaw_virtio_mmio *mmio);
/* The eventfd to bind to a 4-byte write of `index` at window + THAW_VIRTIO_MMIO_NOTIFY. It stays
 * the transport's; -1 when there is no such queue. */
int thaw_virtio_mmio_kick_fd(const struct thaw_virtio_mmio *mmio, unsigned int index);
const struct thaw_virtio_device *thaw_virtio_mmio_device(const struct thaw_virtio_mmio *mmio);

/* The machine is paused: returns when no request of the device is under way. */
void thaw_virtio_mmio_drain(struct thaw_virtio_mmio *mmio);
/* Drains, and fills `out` (initialised; its kind may be set) with the state of transport and
 * device. Guest memory may change until this returns, and not after it before the next event of the
 * loop. */
int thaw_virtio_mmio_save(struct thaw_virtio_mmio *mmio, struct Thaw__Snapshot__Device *out,
			  struct thaw_error *err);
/* Into a newly made transport, when guest memory is in place. `in` is untrusted: -EPROTO when it
 * is no state that save could have told of such a device; the transport is then fit only to be
 * destroyed. */
int thaw_virtio_mmio_restore(struct thaw_virtio_mmio *mmio, const struct Thaw__Snapshot__Device *in,
			     struct thaw_error *err);
/* After a restore, and when a machine goes on after thaw_virtio_mmio_save: serves what waits in
 * the queues, and raises the interrupt again if the driver had not acknowledged the last one. The
 * irqchip must have its state; best called before the first vCPU runs. */
void thaw_virtio_mmio_resume(struct thaw_virtio_mmio *mmio);

#endif
