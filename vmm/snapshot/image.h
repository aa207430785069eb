/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine's memory as files (docs/snapshot-format.md):
 *
 *  index   which runs of pages are zero, and in which frame the others are
 *  frames  the others, as zstd frames of at most THAW_FRAME_PAGES pages, one after the other
 *  image   the materialised form: memory byte for byte, with holes for zero pages; what clones map
 *
 * Pages are counted over RAM without the gap (thaw_memory_gpa). All numbers are little-endian.
 * An index is untrusted: thaw_index_read gives one only when it covers every page exactly once,
 * and every frame's bytes lie within the frames file; frames are checked when they are read.
 */
#ifndef THAW_VMM_SNAPSHOT_IMAGE_H
#define THAW_VMM_SNAPSHOT_IMAGE_H

#include <stddef.h>
#include <stdint.h>

struct thaw_error;
struct thaw_memory;

#define THAW_INDEX_MAGIC   "THAWIDX"
#define THAW_INDEX_VERSION 1u
#define THAW_FRAME_PAGES   512u                   /* 2 MiB: the unit of decompression */
#define THAW_PAGES_MAX     (10304ull << 20 >> 12) /* 10 GiB of function and its overhead */

enum thaw_run_kind {
	THAW_RUN_ZERO = 0,
	THAW_RUN_FRAME = 1, /* 2 is kept for pages of a parent layer */
};

struct thaw_index_header {
	char magic[8];
	uint32_t version;
	uint32_t page_size;
	uint64_t pages;
	uint32_t runs;
	uint32_t frames;
	uint64_t frames_size; /* bytes of the frames file */
};

/* In the order of pages; frame runs take their frame's pages in order. */
struct thaw_run {
	uint32_t first;
	uint32_t count;
	uint32_t kind;
	uint32_t frame;
};

struct thaw_frame_entry {
	uint64_t offset;
	uint32_t size;
	uint32_t pages;
	uint64_t checksum; /* XXH3-64 of the stored bytes */
};

struct thaw_index {
	uint64_t pages;
	uint64_t zero_pages;
	uint64_t frames_size;
	uint32_t run_count, frame_count;
	struct thaw_run *runs;
	struct thaw_frame_entry *frames;
	uint64_t checksum; /* of the whole file: ties state and image to it */
};

void thaw_index_clear(struct thaw_index *index);

/* Reads and validates; the index is cleared on error. */
int thaw_index_read(int fd, struct thaw_index *index, struct thaw_error *err);

/* Writes memory to empty files; image_fd may be -1. `index` is set to what was written. */
int thaw_image_write(const struct thaw_memory *memory, int index_fd, int frames_fd, int image_fd,
		     int level, struct thaw_index *index, struct thaw_error *err);

/* Calls `page_run` for every run of pages of every frame, decompressed and verified. */
typedef int thaw_page_run(void *opaque, uint64_t first_page, const uint8_t *data, uint64_t count,
			  struct thaw_error *err);
int thaw_frames_read(const struct thaw_index *index, int frames_fd, thaw_page_run *page_run,
		     void *opaque, struct thaw_error *err);

/* Frames -> image: writes an empty file. */
int thaw_image_materialise(const struct thaw_index *index, int frames_fd, int image_fd,
			   struct thaw_error *err);

#endif
