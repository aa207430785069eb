/* SPDX-License-Identifier: Apache-2.0 */
/* What mmio.c (registers) and mmio_state.c (save and restore) share, and nobody else sees. */
#ifndef THAW_VMM_VIRTIO_MMIO_PRIVATE_H
#define THAW_VMM_VIRTIO_MMIO_PRIVATE_H

#include <linux/virtio_config.h>

#include "vmm/loop.h"
#include "vmm/virtio/mmio.h"

#define MMIO_STATUS_SETUP (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define MMIO_STATUS_KNOWN                                                                          \
	(MMIO_STATUS_SETUP | VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FEATURES_OK |             \
	 VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED)

struct mmio_kick {
	struct thaw_virtio_mmio *mmio;
	unsigned int index;
	struct thaw_source source;
};

struct thaw_virtio_mmio {
	struct thaw_virtio_device virtio;
	int irq_fd;
	uint32_t status;
	uint64_t driver_features;
	uint32_t features_select;
	uint32_t driver_features_select;
	uint32_t queue_select;
	uint32_t interrupt_status;
	unsigned int warnings;
	struct mmio_kick kicks[THAW_VIRTIO_QUEUES_MAX];
};

/* Everything that is offered. */
uint64_t thaw_virtio_mmio_features(const struct thaw_virtio_mmio *mmio);
/* Freezes what the driver has set up: checks the queues that are ready and sets `active`. */
int thaw_virtio_mmio_activate(struct thaw_virtio_mmio *mmio, struct thaw_error *err);

#endif
