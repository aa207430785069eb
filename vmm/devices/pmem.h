/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-pmem (Virtual I/O Device 1.2, section 5.19): tells the guest of a region of its address
 * space that is a file of the host. Mapping the file and giving it to KVM is the machine's work;
 * this device holds two numbers, and answers flush requests: regions are read-only, so there is
 * nothing to write back.
 */
#ifndef THAW_VMM_DEVICES_PMEM_H
#define THAW_VMM_DEVICES_PMEM_H

#include "vmm/virtio/device.h"

struct thaw_pmem;

extern const struct thaw_virtio_ops thaw_pmem_ops;

/* The region [start, start + size), multiples of the page size. For thaw_virtio_mmio_create with
 * thaw_pmem_ops, which then owns it; thaw_pmem_ops.destroy releases it before. */
int thaw_pmem_create(struct thaw_pmem **out, gpa_t start, uint64_t size, struct thaw_error *err);

#endif
