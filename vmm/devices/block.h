/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk (Virtual I/O Device 1.2, section 5.2) on a file or block device of the host. Requests
 * are asynchronous (io_uring) and may end out of order. A request that reaches beyond the end, or
 * into memory that is not RAM, or moves more than 7.75 MiB, gets IOERR; the file never grows.
 *
 * Offered: read, write, flush, discard and write-zeroes (holes are punched), a drive's name.
 */
#ifndef THAW_VMM_DEVICES_BLOCK_H
#define THAW_VMM_DEVICES_BLOCK_H

#include "vmm/virtio/device.h"

struct thaw_block;
struct Thaw__Vmm__Drive;

extern const struct thaw_virtio_ops thaw_block_ops;

/* The drive's size is the file's size now, in whole sectors of 512 bytes; an empty one is -EINVAL.
 * Of `config`, what it may do and how quickly. `fd` (opened for writing too, if it is writable)
 * belongs to the device, also when this fails. For thaw_virtio_mmio_create with thaw_block_ops,
 * which then owns the device. */
int thaw_block_create(struct thaw_block **out, int fd, const struct Thaw__Vmm__Drive *config,
		      struct thaw_loop *loop, struct thaw_error *err);

/* Bytes moved so far. */
uint64_t thaw_block_bytes_read(const struct thaw_block *block);
uint64_t thaw_block_bytes_written(const struct thaw_block *block);

#endif
