/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory and the one gate to it.
 *
 * A guest physical address is a gpa_t and is never a pointer. Whatever the VMM reads from the
 * guest it copies once (thaw_memory_read), validates the copy and acts on the copy: the guest can
 * change its memory at any moment. thaw_memory_range gives a pointer only for data that is moved
 * but never interpreted (disk sectors, stream bytes, random bytes).
 *
 * RAM lies at 0 .. 3 GiB and goes on at 4 GiB; between are device windows (docs/architecture.md).
 * Regions for virtio-pmem come above RAM. They are KVM memory slots, but are not reached through
 * this gate: no device may be told to read or write a mapped drive.
 */
#ifndef THAW_VMM_MEMORY_H
#define THAW_VMM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thaw_error;

typedef uint64_t gpa_t;

#define THAW_PAGE_SIZE    4096u
#define THAW_MMIO_GAP     0xc0000000ull  /* RAM below this, device windows above */
#define THAW_MMIO_GAP_END 0x100000000ull /* RAM again, and pmem */

/* One contiguous host mapping holds all RAM; the part above the gap follows the part below. */
struct thaw_memory {
	uint8_t *base; /* host address of guest address 0 */
	uint64_t size; /* bytes, a multiple of the page size */
};

/* Reserves `size` bytes of zero pages. */
int thaw_memory_create(struct thaw_memory *memory, uint64_t size, bool huge_pages,
		       struct thaw_error *err);
void thaw_memory_destroy(struct thaw_memory *memory);

/* The first address after RAM, at or above 4 GiB: where pmem regions may begin. */
gpa_t thaw_memory_end(const struct thaw_memory *memory);

/* The guest address of byte `offset` of RAM (in order, without the gap). */
static inline gpa_t thaw_memory_gpa(uint64_t offset)
{
	return offset < THAW_MMIO_GAP ? offset : offset - THAW_MMIO_GAP + THAW_MMIO_GAP_END;
}

/* Host pointer to [gpa, gpa + size), or NULL when any byte of it is not RAM or it crosses the
 * gap. `size` 0 gives NULL. Bytes behind it may change at any time: move them, never interpret. */
void *thaw_memory_range(const struct thaw_memory *memory, gpa_t gpa, uint64_t size);

/* Copies. 0, or -EFAULT with nothing copied when the range is not RAM. */
int thaw_memory_read(const struct thaw_memory *memory, gpa_t gpa, void *out, size_t size);
int thaw_memory_write(const struct thaw_memory *memory, gpa_t gpa, const void *in, size_t size);

#endif
