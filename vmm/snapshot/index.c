/* SPDX-License-Identifier: Apache-2.0 */
/* Reading an index that anybody may have written. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "vmm/memory.h"
#include "vmm/snapshot/image.h"

/* One run a page, one frame a page, and the ends: nothing written by us is longer. */
#define INDEX_SIZE_MAX                                                                             \
	(sizeof(struct thaw_index_header) +                                                        \
	 THAW_PAGES_MAX * (sizeof(struct thaw_run) + sizeof(struct thaw_frame_entry)) +            \
	 sizeof(uint64_t))

void thaw_index_clear(struct thaw_index *index)
{
	free(index->runs);
	free(index->frames);
	*index = (struct thaw_index){0};
}

static int index_check_header(const struct thaw_index_header *header, size_t size,
			      struct thaw_error *err)
{
	if (memcmp(header->magic, THAW_INDEX_MAGIC, sizeof(header->magic)))
		return thaw_error_set(err, EBADMSG, "not a memory index");
	if (header->version != THAW_INDEX_VERSION)
		return thaw_error_set(err, ENOTSUP, "version %u, this program reads version %u",
				      header->version, THAW_INDEX_VERSION);
	if (header->page_size != THAW_PAGE_SIZE)
		return thaw_error_set(err, ENOTSUP, "pages of %u bytes", header->page_size);
	if (header->pages == 0 || header->pages > THAW_PAGES_MAX || header->runs > header->pages ||
	    header->frames > header->runs)
		return thaw_error_set(err, EBADMSG, "%llu pages in %u runs and %u frames",
				      (unsigned long long)header->pages, header->runs,
				      header->frames);
	uint64_t wanted = sizeof(*header) + (uint64_t)header->runs * sizeof(struct thaw_run) +
			  (uint64_t)header->frames * sizeof(struct thaw_frame_entry) +
			  sizeof(uint64_t);
	if (size != wanted)
		return thaw_error_set(err, EBADMSG, "%zu bytes where %llu are meant", size,
				      (unsigned long long)wanted);
	return 0;
}

/* Runs follow each other without a gap, and frames are used in order and to their last page. */
static int index_check_runs(struct thaw_index *index, struct thaw_error *err)
{
	uint64_t page = 0, used = 0;
	uint32_t frame = 0;

	for (uint32_t i = 0; i < index->run_count; i++) {
		const struct thaw_run *run = &index->runs[i];
		if (run->first != page || run->count == 0 || run->count > index->pages - page)
			return thaw_error_set(err, EBADMSG, "run %u does not follow the one before",
					      i);
		page += run->count;
		if (run->kind == THAW_RUN_ZERO) {
			index->zero_pages += run->count;
			continue;
		}
		if (run->kind != THAW_RUN_FRAME)
			return thaw_error_set(err, EBADMSG, "run %u is of kind %u", i, run->kind);
		if (frame < index->frame_count && used == index->frames[frame].pages) {
			frame++;
			used = 0;
		}
		if (frame >= index->frame_count || run->frame != frame ||
		    run->count > index->frames[frame].pages - used)
			return thaw_error_set(err, EBADMSG, "run %u is not of frame %u", i, frame);
		used += run->count;
	}
	if (page != index->pages)
		return thaw_error_set(err, EBADMSG, "the runs end at page %llu of %llu",
				      (unsigned long long)page, (unsigned long long)index->pages);
	if (index->frame_count &&
	    (frame != index->frame_count - 1 || used != index->frames[frame].pages))
		return thaw_error_set(err, EBADMSG, "the runs do not use every frame");
	return 0;
}

static int index_check_frames(const struct thaw_index *index, struct thaw_error *err)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < index->frame_count; i++) {
		const struct thaw_frame_entry *f = &index->frames[i];
		if (f->pages == 0 || f->pages > THAW_FRAME_PAGES || f->size == 0 ||
		    f->size > 2 * THAW_FRAME_PAGES * THAW_PAGE_SIZE || f->offset != at)
			return thaw_error_set(err, EBADMSG, "frame %u makes no sense", i);
		at += f->size;
	}
	if (at != index->frames_size)
		return thaw_error_set(err, EBADMSG, "the frames end at byte %llu of %llu",
				      (unsigned long long)at,
				      (unsigned long long)index->frames_size);
	return 0;
}

static int index_parse(const uint8_t *data, size_t size, struct thaw_index *index,
		       struct thaw_error *err)
{
	struct thaw_index_header header;
	uint64_t checksum;
	int rc;

	if (size < sizeof(header) + sizeof(checksum))
		return thaw_error_set(err, EBADMSG, "%zu bytes are too few", size);
	memcpy(&header, data, sizeof(header));
	rc = index_check_header(&header, size, err);
	if (rc < 0)
		return rc;
	memcpy(&checksum, data + size - sizeof(checksum), sizeof(checksum));
	if (checksum != XXH3_64bits(data, size - sizeof(checksum)))
		return thaw_error_set(err, EBADMSG,
				      "the checksum does not match: the file is damaged");
	index->pages = header.pages;
	index->frames_size = header.frames_size;
	index->run_count = header.runs;
	index->frame_count = header.frames;
	index->checksum = checksum;
	size_t runs_size = header.runs * sizeof(struct thaw_run);
	size_t frames_size = header.frames * sizeof(struct thaw_frame_entry);
	index->runs = malloc(runs_size + 1);
	index->frames = malloc(frames_size + 1);
	if (!index->runs || !index->frames)
		return thaw_error_errno(err, ENOMEM, "%u runs", header.runs);
	memcpy(index->runs, data + sizeof(header), runs_size);
	memcpy(index->frames, data + sizeof(header) + runs_size, frames_size);
	rc = index_check_frames(index, err);
	return rc < 0 ? rc : index_check_runs(index, err);
}

int thaw_index_read(int fd, struct thaw_index *index, struct thaw_error *err)
{
	cleanup_free uint8_t *data = NULL;
	size_t size;
	int rc;

	*index = (struct thaw_index){0};
	rc = thaw_read_file(fd, INDEX_SIZE_MAX, &data, &size, err);
	if (rc == 0)
		rc = index_parse(data, size, index, err);
	if (rc < 0) {
		thaw_index_clear(index);
		return thaw_error_wrap(err, "memory index");
	}
	return 0;
}
