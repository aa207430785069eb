/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/error.h"

int thaw_memory_create(struct thaw_memory *memory, uint64_t size, bool huge_pages,
		       struct thaw_error *err)
{
	/* NORESERVE: a host runs many guests whose memory is mostly never touched. */
	void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		return thaw_error_errno(err, errno, "reserving %llu MiB of guest memory",
					(unsigned long long)(size >> 20));
	/* Advice only: a host without huge pages is not an error. */
	madvise(base, size, huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	/* Guest memory holds the tenants' secrets and is of no use in a core file. */
	madvise(base, size, MADV_DONTDUMP);
	memory->base = base;
	memory->size = size;
	return 0;
}

void thaw_memory_destroy(struct thaw_memory *memory)
{
	if (memory->base)
		munmap(memory->base, memory->size);
	*memory = (struct thaw_memory){0};
}

gpa_t thaw_memory_end(const struct thaw_memory *memory)
{
	return memory->size <= THAW_MMIO_GAP ? THAW_MMIO_GAP_END : thaw_memory_gpa(memory->size);
}

void *thaw_memory_range(const struct thaw_memory *memory, gpa_t gpa, uint64_t size)
{
	uint64_t low = memory->size < THAW_MMIO_GAP ? memory->size : THAW_MMIO_GAP;
	uint64_t end;

	if (size == 0 || __builtin_add_overflow(gpa, size, &end))
		return NULL;
	if (end <= low)
		return memory->base + gpa;
	if (gpa >= THAW_MMIO_GAP_END && end - THAW_MMIO_GAP_END <= memory->size - low)
		return memory->base + low + (gpa - THAW_MMIO_GAP_END);
	return NULL;
}

int thaw_memory_read(const struct thaw_memory *memory, gpa_t gpa, void *out, size_t size)
{
	const void *from = thaw_memory_range(memory, gpa, size);

	if (!from)
		return -EFAULT;
	memcpy(out, from, size);
	return 0;
}

int thaw_memory_write(const struct thaw_memory *memory, gpa_t gpa, const void *in, size_t size)
{
	void *to = thaw_memory_range(memory, gpa, size);

	if (!to)
		return -EFAULT;
	memcpy(to, in, size);
	return 0;
}
