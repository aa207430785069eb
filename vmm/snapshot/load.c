/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/snapshot/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "vmm/uring.h"

#define QUEUE_DEPTH 64u
#define READ_SIZE   (256u << 10) /* large enough for a disk, small enough to overlap */

int thaw_image_check(int image_fd, const struct thaw_memory *memory, struct thaw_error *err)
{
	struct stat st;

	if (fstat(image_fd, &st) < 0 || !S_ISREG(st.st_mode))
		return thaw_error_set(err, EINVAL, "memory image: not a regular file");
	if ((uint64_t)st.st_size != memory->size)
		return thaw_error_set(err, EBADMSG, "memory image: %lld bytes, not %llu",
				      (long long)st.st_size, (unsigned long long)memory->size);
	return 0;
}

int thaw_load_map(const struct thaw_memory *memory, const struct thaw_load_source *source,
		  struct thaw_error *err)
{
	int rc = thaw_image_check(source->image_fd, memory, err);

	if (rc < 0)
		return rc;
	/* Over the anonymous memory that the KVM slot names: the slot stays as it is. */
	void *at = mmap(memory->base, memory->size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, source->image_fd, 0);
	if (at == MAP_FAILED)
		return thaw_error_errno(err, errno, "mapping the memory image");
	madvise(memory->base, memory->size, MADV_DONTDUMP);
	return 0;
}

/* --- io_uring --- */

/* One read under way: a short one is continued from where it ended. */
struct read_slot {
	uint64_t offset;
	uint32_t size;
};

struct range_reader {
	const struct thaw_memory *memory;
	int fd;
	const struct thaw_page_range *ranges;
	size_t count, at; /* the range to read next */
	uint64_t done;    /* pages of it already asked for */
	struct io_uring ring;
	struct read_slot slots[QUEUE_DEPTH];
	uint32_t idle[QUEUE_DEPTH], idle_count;
	struct thaw_load_result *result;
};

static void reader_submit(struct range_reader *r, uint32_t slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring); /* as many as slots: never NULL */
	struct read_slot *s = &r->slots[slot];

	io_uring_prep_read(sqe, r->fd, r->memory->base + s->offset, s->size, s->offset);
	io_uring_sqe_set_data64(sqe, slot);
}

static bool reader_next(struct range_reader *r, struct read_slot *s)
{
	if (r->at == r->count)
		return false;
	const struct thaw_page_range *range = &r->ranges[r->at];
	uint64_t pages = range->count - r->done;
	if (pages > READ_SIZE / THAW_PAGE_SIZE)
		pages = READ_SIZE / THAW_PAGE_SIZE;
	s->offset = (range->first + r->done) * THAW_PAGE_SIZE;
	s->size = (uint32_t)(pages * THAW_PAGE_SIZE);
	r->done += pages;
	if (r->done == range->count) {
		r->at++;
		r->done = 0;
	}
	return true;
}

static int reader_complete(struct range_reader *r, const struct io_uring_cqe *cqe,
			   struct thaw_error *err)
{
	uint32_t slot = (uint32_t)cqe->user_data;
	struct read_slot *s = &r->slots[slot];

	if (cqe->res < 0 && cqe->res != -EINTR && cqe->res != -EAGAIN)
		return thaw_error_errno(err, -cqe->res, "reading the memory image at %llu",
					(unsigned long long)s->offset);
	if (cqe->res == 0)
		return thaw_error_set(err, EBADMSG, "the memory image is cut short at %llu",
				      (unsigned long long)s->offset);
	if (cqe->res > 0) {
		r->result->bytes_read += (uint64_t)cqe->res;
		s->offset += (uint64_t)cqe->res;
		s->size -= (uint32_t)cqe->res;
	}
	if (s->size)
		reader_submit(r, slot);
	else
		r->idle[r->idle_count++] = slot;
	return 0;
}

static int reader_run(struct range_reader *r, struct thaw_error *err)
{
	for (;;) {
		struct io_uring_cqe *cqe;
		while (r->idle_count && reader_next(r, &r->slots[r->idle[r->idle_count - 1]]))
			reader_submit(r, r->idle[--r->idle_count]);
		if (r->idle_count == QUEUE_DEPTH)
			return 0;
		int rc = io_uring_submit_and_wait(&r->ring, 1);
		if (rc < 0 && rc != -EINTR)
			return thaw_error_errno(err, -rc, "io_uring");
		while (io_uring_peek_cqe(&r->ring, &cqe) == 0) {
			rc = reader_complete(r, cqe, err);
			io_uring_cqe_seen(&r->ring, cqe);
			if (rc < 0)
				return rc;
		}
	}
}

int thaw_uring_read_ranges(const struct thaw_memory *memory, int image_fd,
			   const struct thaw_page_range *ranges, size_t count,
			   struct thaw_load_result *result, struct thaw_error *err)
{
	struct range_reader r = {
		.memory = memory,
		.fd = image_fd,
		.ranges = ranges,
		.count = count,
		.idle_count = QUEUE_DEPTH,
		.result = result,
	};
	static const uint8_t operations[] = {IORING_OP_READ};
	int rc = thaw_uring_create(&r.ring, QUEUE_DEPTH, operations, sizeof(operations), err);

	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < QUEUE_DEPTH; i++)
		r.idle[i] = i;
	rc = reader_run(&r, err);
	/* After an error, reads may still be under way into guest memory: closing the ring
	 * cancels them and waits. */
	io_uring_queue_exit(&r.ring);
	return rc;
}

int thaw_load_uring(const struct thaw_memory *memory, const struct thaw_load_source *source,
		    struct thaw_load_result *result, struct thaw_error *err)
{
	const struct thaw_index *index = source->index;
	cleanup_free struct thaw_page_range *ranges =
		malloc((index->run_count + 1) * sizeof(*ranges));
	size_t count = 0;
	int rc = thaw_image_check(source->image_fd, memory, err);

	if (rc < 0)
		return rc;
	if (!ranges)
		return thaw_error_errno(err, ENOMEM, "loading memory");
	for (uint32_t i = 0; i < index->run_count; i++) {
		const struct thaw_run *run = &index->runs[i];
		if (run->kind == THAW_RUN_ZERO)
			continue;
		ranges[count++] = (struct thaw_page_range){run->first, run->count};
		result->pages_loaded += run->count;
	}
	return thaw_uring_read_ranges(memory, source->image_fd, ranges, count, result, err);
}

int thaw_working_set_ranges(const struct thaw_working_set *set, uint64_t pages,
			    struct thaw_page_range **ranges, size_t *count, struct thaw_error *err)
{
	/* A bit a page puts them in order, and costs less than sorting. */
	cleanup_free uint8_t *wanted = calloc(1, (pages + 7) / 8);
	cleanup_free struct thaw_page_range *out =
		malloc((size_t)set->count * sizeof(*out) + sizeof(*out));
	size_t n = 0;

	if (!wanted || !out)
		return thaw_error_errno(err, ENOMEM, "a working set of %u pages", set->count);
	for (uint32_t i = 0; i < set->count; i++)
		wanted[set->pages[i] / 8] |= (uint8_t)(1u << set->pages[i] % 8);
	for (uint64_t page = 0; page < pages; page++) {
		if (!(wanted[page / 8] & 1u << page % 8))
			continue;
		if (n && out[n - 1].first + out[n - 1].count == page)
			out[n - 1].count++;
		else
			out[n++] = (struct thaw_page_range){page, 1};
	}
	*ranges = out;
	out = NULL;
	*count = n;
	return 0;
}

/* --- eager --- */

struct eager {
	const struct thaw_memory *memory;
	struct thaw_load_result *result;
};

static int eager_run(void *opaque, uint64_t first, const uint8_t *data, uint64_t count,
		     struct thaw_error *err)
{
	struct eager *eager = opaque;

	(void)err; /* the index covers the memory exactly: the run lies within it */
	memcpy(eager->memory->base + first * THAW_PAGE_SIZE, data, count * THAW_PAGE_SIZE);
	eager->result->pages_loaded += count;
	return 0;
}

int thaw_load_eager(const struct thaw_memory *memory, const struct thaw_load_source *source,
		    struct thaw_load_result *result, struct thaw_error *err)
{
	struct eager eager = {memory, result};
	int rc = thaw_frames_read(source->index, source->frames_fd, eager_run, &eager, err);

	result->bytes_read += source->index->frames_size;
	return rc;
}
