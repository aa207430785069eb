/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshot files from anybody. The first byte chooses the reader; the checksums that a forger
 * would compute are put in, so that what lies behind them is reached: also the loading of frames
 * into a guest's memory, and the comparison of a guest's CPUID with this host's.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "vmm/cpu_template.h"
#include "vmm/snapshot/image.h"
#include "vmm/snapshot/load.h"
#include "vmm/snapshot/state.h"
#include "vmm/snapshot/working_set.h"

#define INPUT_MAX    (1u << 20)
#define STATE_HEADER 24u
#define LOAD_MAX     (16u << 20) /* of guest memory */
#define PAGES        65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int file_of(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || thaw_pwrite_full(fd, data, size, 0) < 0)
		abort();
	return fd;
}

static int sum_pages(void *opaque, uint64_t first, const uint8_t *data, uint64_t count,
		     struct thaw_error *err)
{
	(void)err;
	/* Every byte promised must be there to read. */
	*(uint64_t *)opaque += first + XXH3_64bits(data, count * 4096);
	return 0;
}

static void seal_end(uint8_t *copy, size_t size)
{
	if (size < sizeof(uint64_t))
		return;
	uint64_t checksum = XXH3_64bits(copy, size - sizeof(checksum));
	memcpy(copy + size - sizeof(checksum), &checksum, sizeof(checksum));
}

/* As a restore in mode eager has it. */
static void try_load(const struct thaw_index *index, int frames_fd)
{
	struct thaw_load_source source = {.index = index, .image_fd = -1, .frames_fd = frames_fd};
	struct thaw_load_result result = {0};
	struct thaw_memory memory;

	if (index->pages == 0 || index->pages > LOAD_MAX / THAW_PAGE_SIZE)
		return;
	if (thaw_memory_create(&memory, index->pages * THAW_PAGE_SIZE, false, NULL) < 0)
		abort();
	if (thaw_load_eager(&memory, &source, &result, NULL) == 0 &&
	    result.pages_loaded > index->pages)
		abort();
	thaw_memory_destroy(&memory);
}

static void try_working_set(const uint8_t *data, size_t size)
{
	struct thaw_page_range *ranges;
	struct thaw_working_set set;
	size_t count;
	int fd = file_of(data, size);

	if (thaw_working_set_read(&set, 42, PAGES, fd, NULL) == 0) {
		if (thaw_working_set_ranges(&set, PAGES, &ranges, &count, NULL) == 0) {
			uint64_t end = 0;
			for (size_t i = 0; i < count; i++) {
				if (ranges[i].first < end || ranges[i].count == 0 ||
				    ranges[i].first + ranges[i].count > PAGES)
					abort();
				end = ranges[i].first + ranges[i].count;
			}
			free(ranges);
		}
		thaw_working_set_clear(&set);
	}
	close(fd);
}

/* The host's entries, then the guest's. */
static void try_cpuid(const uint8_t *data, size_t size)
{
	const size_t entry = sizeof(struct kvm_cpuid_entry2);
	size_t count = size / entry, mine = count / 2;
	struct kvm_cpuid2 *have = calloc(1, sizeof(*have) + mine * entry);
	struct kvm_cpuid_entry2 *wanted = malloc((count - mine) * entry + 1);

	if (!have || !wanted)
		abort();
	have->nent = (uint32_t)mine;
	memcpy(have->entries, data, mine * entry);
	memcpy(wanted, data + mine * entry, (count - mine) * entry);
	thaw_cpuid_covers(have, wanted, (uint32_t)(count - mine), NULL);
	free(wanted);
	free(have);
}

/* Index, then frames: the first two bytes say where the one ends. */
static void try_index(uint8_t *copy, size_t size)
{
	struct thaw_index index;
	struct thaw_error err;
	uint64_t sum = 0;
	uint16_t split;

	if (size < sizeof(split))
		return;
	memcpy(&split, copy, sizeof(split));
	copy += sizeof(split);
	size -= sizeof(split);
	size_t index_size = split < size ? split : size;
	uint8_t *frames = copy + index_size;
	size_t frames_size = size - index_size;
	if (index_size >= sizeof(struct thaw_index_header) + sizeof(uint64_t)) {
		struct thaw_index_header header;
		memcpy(&header, copy, sizeof(header));
		/* One frame's checksum too, where the header puts the table. */
		uint64_t at = sizeof(header) + (uint64_t)header.runs * sizeof(struct thaw_run);
		if (header.frames == 1 &&
		    at + sizeof(struct thaw_frame_entry) + sizeof(uint64_t) <= index_size) {
			struct thaw_frame_entry entry;
			memcpy(&entry, copy + at, sizeof(entry));
			if (entry.size <= frames_size)
				entry.checksum = XXH3_64bits(frames, entry.size);
			memcpy(copy + at, &entry, sizeof(entry));
		}
	}
	seal_end(copy, index_size);
	int index_fd = file_of(copy, index_size), frames_fd = file_of(frames, frames_size);
	if (thaw_index_read(index_fd, &index, &err) == 0) {
		thaw_frames_read(&index, frames_fd, sum_pages, &sum, &err);
		try_load(&index, frames_fd);
		thaw_index_clear(&index);
	}
	close(index_fd);
	close(frames_fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct thaw_error err;

	if (size < 1 || size > INPUT_MAX)
		return 0;
	uint8_t kind = data[0] % 4;
	uint8_t *copy = malloc(size);
	memcpy(copy, data + 1, --size);
	if (kind == 0) {
		try_index(copy, size);
	} else if (kind == 1) {
		Thaw__Snapshot__State *state = NULL;
		if (size >= STATE_HEADER) {
			uint32_t length = (uint32_t)(size - STATE_HEADER);
			uint64_t checksum = XXH3_64bits(copy + STATE_HEADER, length);
			memcpy(copy + 12, &length, sizeof(length));
			memcpy(copy + 16, &checksum, sizeof(checksum));
		}
		int fd = file_of(copy, size);
		if (thaw_state_read(fd, &state, &err) == 0)
			thaw__snapshot__state__free_unpacked(state, NULL);
		close(fd);
	} else if (kind == 2) {
		seal_end(copy, size);
		try_working_set(copy, size);
	} else {
		try_cpuid(copy, size);
	}
	free(copy);
	return 0;
}
