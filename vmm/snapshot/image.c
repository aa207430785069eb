/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/snapshot/image.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "vmm/memory.h"

#define FRAME_SIZE ((size_t)THAW_FRAME_PAGES * THAW_PAGE_SIZE)

/* --- writing --- */

struct image_writer {
	const struct thaw_memory *memory;
	int frames_fd, image_fd;
	int level;
	struct thaw_index *index;
	uint32_t runs_space, frames_space;
	uint8_t *pages; /* of the frame being filled */
	uint32_t filled;
	uint8_t *packed;
	size_t packed_space;
	ZSTD_CCtx *zstd;
};

static bool page_is_zero(const uint8_t *page)
{
	const uint64_t *words = (const uint64_t *)page;

	for (size_t i = 0; i < THAW_PAGE_SIZE / sizeof(*words); i += 8) {
		if (words[i] | words[i + 1] | words[i + 2] | words[i + 3] | words[i + 4] |
		    words[i + 5] | words[i + 6] | words[i + 7])
			return false;
	}
	return true;
}

/* Room for one more element in an array that doubles. */
static int array_grow(void **array, uint32_t count, uint32_t *space, size_t element)
{
	if (count < *space)
		return 0;
	uint32_t wanted = *space ? *space * 2 : 256;
	void *grown = realloc(*array, wanted * element);
	if (!grown)
		return -ENOMEM;
	*array = grown;
	*space = wanted;
	return 0;
}

static int writer_flush_frame(struct image_writer *w, struct thaw_error *err)
{
	struct thaw_index *index = w->index;
	size_t raw = (size_t)w->filled * THAW_PAGE_SIZE;

	if (!w->filled)
		return 0;
	size_t size =
		ZSTD_compressCCtx(w->zstd, w->packed, w->packed_space, w->pages, raw, w->level);
	if (ZSTD_isError(size))
		return thaw_error_set(err, EIO, "zstd: %s", ZSTD_getErrorName(size));
	int rc = thaw_pwrite_full(w->frames_fd, w->packed, size, (off_t)index->frames_size);
	if (rc < 0)
		return thaw_error_errno(err, -rc, "writing memory frames");
	if (array_grow((void **)&index->frames, index->frame_count, &w->frames_space,
		       sizeof(index->frames[0])) < 0)
		return thaw_error_errno(err, ENOMEM, "writing memory frames");
	index->frames[index->frame_count++] = (struct thaw_frame_entry){
		.offset = index->frames_size,
		.size = (uint32_t)size,
		.pages = w->filled,
		.checksum = XXH3_64bits(w->packed, size),
	};
	index->frames_size += size;
	w->filled = 0;
	return 0;
}

static int writer_add_run(struct image_writer *w, uint64_t first, uint64_t count,
			  enum thaw_run_kind kind, struct thaw_error *err)
{
	struct thaw_index *index = w->index;

	if (array_grow((void **)&index->runs, index->run_count, &w->runs_space,
		       sizeof(index->runs[0])) < 0)
		return thaw_error_errno(err, ENOMEM, "writing the memory index");
	index->runs[index->run_count++] = (struct thaw_run){
		.first = (uint32_t)first,
		.count = (uint32_t)count,
		.kind = kind,
		.frame = kind == THAW_RUN_FRAME ? index->frame_count : 0,
	};
	return 0;
}

/* Pages [first, first + count), none of them zero: to the image as they lie, to frames packed. */
static int writer_add_pages(struct image_writer *w, uint64_t first, uint64_t count,
			    struct thaw_error *err)
{
	const uint8_t *from = w->memory->base + first * THAW_PAGE_SIZE;
	int rc;

	if (w->image_fd >= 0) {
		rc = thaw_pwrite_full(w->image_fd, from, count * THAW_PAGE_SIZE,
				      (off_t)(first * THAW_PAGE_SIZE));
		if (rc < 0)
			return thaw_error_errno(err, -rc, "writing the memory image");
	}
	while (count) {
		uint64_t part = THAW_FRAME_PAGES - w->filled;
		if (part > count)
			part = count;
		rc = writer_add_run(w, first, part, THAW_RUN_FRAME, err);
		if (rc < 0)
			return rc;
		memcpy(w->pages + (size_t)w->filled * THAW_PAGE_SIZE, from, part * THAW_PAGE_SIZE);
		w->filled += (uint32_t)part;
		if (w->filled == THAW_FRAME_PAGES) {
			rc = writer_flush_frame(w, err);
			if (rc < 0)
				return rc;
		}
		first += part;
		from += part * THAW_PAGE_SIZE;
		count -= part;
	}
	return 0;
}

static int writer_scan(struct image_writer *w, struct thaw_error *err)
{
	uint64_t pages = w->index->pages, start = 0;
	int rc = 0;

	while (start < pages && rc == 0) {
		bool zero = page_is_zero(w->memory->base + start * THAW_PAGE_SIZE);
		uint64_t end = start + 1;
		while (end < pages && page_is_zero(w->memory->base + end * THAW_PAGE_SIZE) == zero)
			end++;
		if (zero) {
			w->index->zero_pages += end - start;
			rc = writer_add_run(w, start, end - start, THAW_RUN_ZERO, err);
		} else {
			rc = writer_add_pages(w, start, end - start, err);
		}
		start = end;
	}
	return rc < 0 ? rc : writer_flush_frame(w, err);
}

static int index_write(struct thaw_index *index, int fd, struct thaw_error *err)
{
	struct thaw_index_header header = {
		.magic = THAW_INDEX_MAGIC,
		.version = THAW_INDEX_VERSION,
		.page_size = THAW_PAGE_SIZE,
		.pages = index->pages,
		.runs = index->run_count,
		.frames = index->frame_count,
		.frames_size = index->frames_size,
	};
	size_t runs_size = index->run_count * sizeof(index->runs[0]);
	size_t frames_size = index->frame_count * sizeof(index->frames[0]);
	size_t size = sizeof(header) + runs_size + frames_size;
	cleanup_free uint8_t *data = malloc(size + sizeof(uint64_t));

	if (!data)
		return thaw_error_errno(err, ENOMEM, "writing the memory index");
	memcpy(data, &header, sizeof(header));
	memcpy(data + sizeof(header), index->runs, runs_size);
	if (frames_size)
		memcpy(data + sizeof(header) + runs_size, index->frames, frames_size);
	index->checksum = XXH3_64bits(data, size);
	memcpy(data + size, &index->checksum, sizeof(uint64_t));
	int rc = thaw_pwrite_full(fd, data, size + sizeof(uint64_t), 0);
	return rc < 0 ? thaw_error_errno(err, -rc, "writing the memory index") : 0;
}

int thaw_image_write(const struct thaw_memory *memory, int index_fd, int frames_fd, int image_fd,
		     int level, struct thaw_index *index, struct thaw_error *err)
{
	*index = (struct thaw_index){.pages = memory->size / THAW_PAGE_SIZE};
	struct image_writer w = {
		.memory = memory,
		.frames_fd = frames_fd,
		.image_fd = image_fd,
		.level = level,
		.index = index,
		.pages = malloc(FRAME_SIZE),
		.packed_space = ZSTD_compressBound(FRAME_SIZE),
		.zstd = ZSTD_createCCtx(),
	};
	int rc;

	w.packed = malloc(w.packed_space);
	if (!w.pages || !w.packed || !w.zstd)
		rc = thaw_error_errno(err, ENOMEM, "writing memory");
	else if (image_fd >= 0 && ftruncate(image_fd, (off_t)memory->size) < 0)
		rc = thaw_error_errno(err, errno, "sizing the memory image");
	else
		rc = writer_scan(&w, err);
	if (rc == 0)
		rc = index_write(index, index_fd, err);
	free(w.pages);
	free(w.packed);
	ZSTD_freeCCtx(w.zstd);
	if (rc < 0)
		thaw_index_clear(index);
	return rc;
}

/* --- reading --- */

static int frame_read(const struct thaw_frame_entry *frame, int fd, ZSTD_DCtx *zstd,
		      uint8_t *packed, uint8_t *pages, struct thaw_error *err)
{
	size_t raw = (size_t)frame->pages * THAW_PAGE_SIZE;
	int rc = thaw_pread_full(fd, packed, frame->size, (off_t)frame->offset);

	if (rc == -ENODATA)
		return thaw_error_set(err, EBADMSG, "the file is cut short");
	if (rc < 0)
		return thaw_error_errno(err, -rc, "reading");
	/* Of the stored bytes: damaged ones never reach the decompressor. */
	if (XXH3_64bits(packed, frame->size) != frame->checksum)
		return thaw_error_set(err, EBADMSG,
				      "the checksum does not match: the file is damaged");
	/* The room given is what the index promised: a frame that holds more is an error, not
	 * an allocation. */
	size_t size = ZSTD_decompressDCtx(zstd, pages, raw, packed, frame->size);
	if (ZSTD_isError(size))
		return thaw_error_set(err, EBADMSG, "zstd: %s", ZSTD_getErrorName(size));
	if (size != raw)
		return thaw_error_set(err, EBADMSG, "it holds %zu bytes, not %zu", size, raw);
	return 0;
}

static int frames_read_all(const struct thaw_index *index, int fd, ZSTD_DCtx *zstd, uint8_t *packed,
			   uint8_t *pages, thaw_page_run *page_run, void *opaque,
			   struct thaw_error *err)
{
	uint32_t r = 0;

	for (uint32_t f = 0; f < index->frame_count; f++) {
		const struct thaw_frame_entry *frame = &index->frames[f];
		int rc = frame_read(frame, fd, zstd, packed, pages, err);
		if (rc < 0)
			return thaw_error_wrap(err, "memory frame %u of %u", f, index->frame_count);
		for (uint64_t used = 0; used < frame->pages; r++) {
			const struct thaw_run *run = &index->runs[r];
			if (run->kind != THAW_RUN_FRAME)
				continue;
			rc = page_run(opaque, run->first, pages + used * THAW_PAGE_SIZE, run->count,
				      err);
			if (rc < 0)
				return rc;
			used += run->count;
		}
	}
	return 0;
}

int thaw_frames_read(const struct thaw_index *index, int frames_fd, thaw_page_run *page_run,
		     void *opaque, struct thaw_error *err)
{
	cleanup_free uint8_t *pages = malloc(FRAME_SIZE);
	cleanup_free uint8_t *packed = malloc(2 * FRAME_SIZE);
	ZSTD_DCtx *zstd = ZSTD_createDCtx();
	struct stat st;
	int rc;

	if (!pages || !packed || !zstd)
		rc = thaw_error_errno(err, ENOMEM, "reading memory frames");
	else if (fstat(frames_fd, &st) < 0 || !S_ISREG(st.st_mode))
		rc = thaw_error_set(err, EINVAL, "memory frames: not a regular file");
	else if ((uint64_t)st.st_size != index->frames_size)
		rc = thaw_error_set(err, EBADMSG,
				    "memory frames: %lld bytes where the index says %llu",
				    (long long)st.st_size, (unsigned long long)index->frames_size);
	else
		rc = frames_read_all(index, frames_fd, zstd, packed, pages, page_run, opaque, err);
	ZSTD_freeDCtx(zstd);
	return rc;
}

static int materialise_run(void *opaque, uint64_t first, const uint8_t *data, uint64_t count,
			   struct thaw_error *err)
{
	int rc = thaw_pwrite_full(*(int *)opaque, data, count * THAW_PAGE_SIZE,
				  (off_t)(first * THAW_PAGE_SIZE));

	return rc < 0 ? thaw_error_errno(err, -rc, "writing the memory image") : 0;
}

int thaw_image_materialise(const struct thaw_index *index, int frames_fd, int image_fd,
			   struct thaw_error *err)
{
	if (ftruncate(image_fd, (off_t)(index->pages * THAW_PAGE_SIZE)) < 0)
		return thaw_error_errno(err, errno, "sizing the memory image");
	return thaw_frames_read(index, frames_fd, materialise_run, &image_fd, err);
}
