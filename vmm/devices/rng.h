/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-rng (Virtual I/O Device 1.2, section 5.4): random bytes of the host's kernel. It has no
 * state: two clones of a snapshot read different bytes.
 */
#ifndef THAW_VMM_DEVICES_RNG_H
#define THAW_VMM_DEVICES_RNG_H

#include "vmm/virtio/device.h"

struct thaw_rng;

extern const struct thaw_virtio_ops thaw_rng_ops;

/* For thaw_virtio_mmio_create with thaw_rng_ops, which then owns it. */
int thaw_rng_create(struct thaw_rng **out, struct thaw_error *err);

#endif
