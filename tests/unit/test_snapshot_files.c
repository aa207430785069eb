/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshot files: what is written comes back, and nothing damaged or made up does. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <xxhash.h>
#include <zstd.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "vmm/memory.h"
#include "vmm/snapshot/image.h"
#include "vmm/snapshot/load.h"
#include "vmm/snapshot/state.h"
#include "vmm/snapshot/working_set.h"

#define MEMORY_SIZE (8u << 20)
#define PAGES       (MEMORY_SIZE / THAW_PAGE_SIZE)

struct files {
	struct thaw_memory memory;
	struct thaw_index index;
	int index_fd, frames_fd, image_fd;
};

static int file(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static off_t file_size(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_size;
}

static void flip(int fd, off_t at)
{
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

/* Runs of zero and full pages of many lengths, some longer than a frame. */
static int setup(void **state)
{
	struct files *f = calloc(1, sizeof(*f));
	struct thaw_error err;
	unsigned int seed = 7;

	assert_int_equal(thaw_memory_create(&f->memory, MEMORY_SIZE, false, &err), 0);
	for (size_t page = 0; page < PAGES;) {
		size_t length = 1 + (size_t)rand_r(&seed) % (page < PAGES / 2 ? 5 : 700);
		bool full = rand_r(&seed) % 2;
		for (size_t i = 0; i < length && page < PAGES; i++, page++) {
			uint8_t *at = f->memory.base + page * THAW_PAGE_SIZE;
			if (full)
				memset(at + (size_t)rand_r(&seed) % 4000, rand_r(&seed) | 1, 96);
		}
	}
	f->index_fd = file();
	f->frames_fd = file();
	f->image_fd = file();
	if (thaw_image_write(&f->memory, f->index_fd, f->frames_fd, f->image_fd, 1, &f->index,
			     &err) < 0) {
		fail_msg("%s", err.message);
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct files *f = *state;

	thaw_memory_destroy(&f->memory);
	thaw_index_clear(&f->index);
	close(f->index_fd);
	close(f->frames_fd);
	close(f->image_fd);
	free(f);
	return 0;
}

static void memory_comes_back_in_every_way(void **state)
{
	struct files *f = *state;
	struct thaw_error err = {0};
	struct thaw_index index;

	assert_int_equal(thaw_index_read(f->index_fd, &index, &err), 0);
	assert_int_equal(index.pages, PAGES);
	assert_int_equal(index.checksum, f->index.checksum);
	assert_true(index.zero_pages > 0 && index.zero_pages < PAGES);
	for (int way = 0; way < 4; way++) {
		struct thaw_memory memory;
		struct thaw_load_result result = {0};
		struct thaw_working_set none = {0};
		int image_fd = f->image_fd;
		assert_int_equal(thaw_memory_create(&memory, MEMORY_SIZE, false, &err), 0);
		if (way == 3) {
			image_fd = file();
			assert_int_equal(
				thaw_image_materialise(&index, f->frames_fd, image_fd, &err), 0);
		}
		struct thaw_load_source source = {&index, &none, image_fd, f->frames_fd};
		int rc = way == 0   ? thaw_load_uring(&memory, &source, &result, &err)
			 : way == 1 ? thaw_load_eager(&memory, &source, &result, &err)
				    : thaw_load_map(&memory, &source, &err);
		if (rc < 0)
			fail_msg("way %d: %s", way, err.message);
		assert_memory_equal(memory.base, f->memory.base, MEMORY_SIZE);
		if (way < 2)
			assert_int_equal(result.pages_loaded, PAGES - index.zero_pages);
		/* A clone's writes are its own. */
		memory.base[0] ^= 0xff;
		thaw_memory_destroy(&memory);
		if (way == 3)
			close(image_fd);
	}
	thaw_index_clear(&index);
}

static int count_pages(void *opaque, uint64_t first, const uint8_t *data, uint64_t count,
		       struct thaw_error *err)
{
	(void)first;
	(void)data;
	(void)err;
	*(uint64_t *)opaque += count;
	return 0;
}

static void every_flipped_byte_of_the_index_is_found(void **state)
{
	struct files *f = *state;
	struct thaw_error err;
	struct thaw_index index;

	for (off_t at = 0; at < file_size(f->index_fd); at++) {
		flip(f->index_fd, at);
		assert_true(thaw_index_read(f->index_fd, &index, &err) < 0);
		assert_non_null(strstr(err.message, "memory index: "));
		flip(f->index_fd, at);
	}
	assert_int_equal(thaw_index_read(f->index_fd, &index, &err), 0);
	thaw_index_clear(&index);
}

static void flipped_bytes_of_frames_are_found(void **state)
{
	struct files *f = *state;
	struct thaw_error err;
	off_t size = file_size(f->frames_fd);
	uint64_t pages = 0;

	for (int i = 0; i < 200; i++) {
		off_t at = size * i / 200;
		flip(f->frames_fd, at);
		int rc = thaw_frames_read(&f->index, f->frames_fd, count_pages, &pages, &err);
		if (rc == 0)
			fail_msg("byte %ld", (long)at);
		assert_non_null(strstr(err.message, "memory frame "));
		flip(f->frames_fd, at);
	}
}

static void cut_and_empty_files_are_refused(void **state)
{
	struct files *f = *state;
	struct thaw_error err;
	struct thaw_index index;
	uint64_t pages = 0;
	off_t size = file_size(f->frames_fd);

	assert_int_equal(ftruncate(f->frames_fd, size - 1), 0);
	assert_int_equal(thaw_frames_read(&f->index, f->frames_fd, count_pages, &pages, &err),
			 -EBADMSG);
	assert_int_equal(pages, 0);
	for (off_t cut = file_size(f->index_fd) - 1; cut >= 0;
	     cut = cut > 100 ? cut / 2 : cut - 1) {
		assert_int_equal(ftruncate(f->index_fd, cut), 0);
		assert_int_equal(thaw_index_read(f->index_fd, &index, &err), -EBADMSG);
	}
	assert_int_equal(ftruncate(f->image_fd, MEMORY_SIZE - 1), 0);
	assert_int_equal(thaw_image_check(f->image_fd, &f->memory, &err), -EBADMSG);
}

/* An index that says what we like, with a checksum that is right. */
static void index_forge(int fd, struct thaw_index_header header, const struct thaw_run *runs,
			const struct thaw_frame_entry *frames)
{
	uint8_t data[4096];
	size_t size = 0;

	memcpy(header.magic, THAW_INDEX_MAGIC, sizeof(header.magic));
	memcpy(data, &header, sizeof(header));
	size += sizeof(header);
	memcpy(data + size, runs, header.runs * sizeof(*runs));
	size += header.runs * sizeof(*runs);
	memcpy(data + size, frames, header.frames * sizeof(*frames));
	size += header.frames * sizeof(*frames);
	uint64_t checksum = XXH3_64bits(data, size);
	memcpy(data + size, &checksum, sizeof(checksum));
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(thaw_pwrite_full(fd, data, size + sizeof(checksum), 0), 0);
}

static void forged_indexes_are_refused(void **state)
{
	const struct thaw_index_header good = {
		.version = 1,
		.page_size = 4096,
		.pages = 10,
		.runs = 2,
		.frames = 1,
		.frames_size = 100,
	};
	const struct thaw_run runs[2] = {{0, 4, THAW_RUN_ZERO, 0}, {4, 6, THAW_RUN_FRAME, 0}};
	const struct thaw_frame_entry frame = {0, 100, 6, 1};
	struct thaw_index index;
	struct thaw_error err;
	int fd = file();

	(void)state;
	index_forge(fd, good, runs, &frame);
	assert_int_equal(thaw_index_read(fd, &index, &err), 0);
	thaw_index_clear(&index);
#define REFUSED(member, value, text)                                                               \
	do {                                                                                       \
		struct thaw_index_header h = good;                                                 \
		struct thaw_run r[2] = {runs[0], runs[1]};                                         \
		struct thaw_frame_entry e = frame;                                                 \
		(void)h;                                                                           \
		member = value;                                                                    \
		index_forge(fd, h, r, &e);                                                         \
		assert_true(thaw_index_read(fd, &index, &err) < 0);                                \
		assert_non_null(strstr(err.message, text));                                        \
	} while (0)
	REFUSED(h.version, 2, "version 2");
	REFUSED(h.page_size, 16384, "pages of 16384");
	REFUSED(h.pages, 0, "0 pages");
	REFUSED(h.pages, UINT64_MAX, "pages");
	REFUSED(h.pages, 11, "the runs end at page 10");
	REFUSED(h.frames_size, 99, "the frames end");
	REFUSED(r[0].first, 1, "run 0");
	REFUSED(r[0].count, 0, "run 0");
	REFUSED(r[1].first, 3, "run 1");
	REFUSED(r[1].count, 7, "run 1");
	REFUSED(r[1].count, UINT32_MAX, "run 1");
	REFUSED(r[1].kind, 2, "kind 2");
	REFUSED(r[1].frame, 1, "run 1");
	REFUSED(r[0].kind, THAW_RUN_FRAME, "run 1");
	REFUSED(e.offset, 1, "frame 0");
	REFUSED(e.size, 0, "frame 0");
	REFUSED(e.size, UINT32_MAX, "frame 0");
	REFUSED(e.pages, 0, "frame 0");
	REFUSED(e.pages, 513, "frame 0");
	REFUSED(e.pages, 7, "every frame");
#undef REFUSED
	close(fd);
}

/* A frame that says 4 KiB and holds a gigabyte of zeros. */
static void a_bomb_does_not_go_off(void **state)
{
	size_t raw = 1u << 30;
	uint8_t *zeros = mmap(NULL, raw, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t space = ZSTD_compressBound(raw);
	uint8_t *packed = malloc(space);
	int index_fd = file(), frames_fd = file();
	struct thaw_index index;
	struct thaw_error err;
	uint64_t pages = 0;

	(void)state;
	assert_ptr_not_equal(zeros, MAP_FAILED);
	size_t size = ZSTD_compress(packed, space, zeros, raw, 1);
	assert_false(ZSTD_isError(size));
	assert_true(size < 1u << 20);
	struct thaw_index_header header = {
		.version = 1,
		.page_size = 4096,
		.pages = 1,
		.runs = 1,
		.frames = 1,
		.frames_size = size,
	};
	struct thaw_run run = {0, 1, THAW_RUN_FRAME, 0};
	struct thaw_frame_entry frame = {0, (uint32_t)size, 1, XXH3_64bits(packed, size)};
	index_forge(index_fd, header, &run, &frame);
	assert_int_equal(thaw_pwrite_full(frames_fd, packed, size, 0), 0);
	assert_int_equal(thaw_index_read(index_fd, &index, &err), 0);
	assert_int_equal(thaw_frames_read(&index, frames_fd, count_pages, &pages, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "zstd"));
	assert_int_equal(pages, 0);
	thaw_index_clear(&index);
	munmap(zeros, raw);
	free(packed);
	close(index_fd);
	close(frames_fd);
}

static void working_sets_come_back_and_belong_to_one_index(void **state)
{
	struct thaw_working_set set = {0}, back;
	struct thaw_error err;
	int fd = file();

	(void)state;
	for (uint32_t i = 0; i < 5000; i++)
		assert_int_equal(thaw_working_set_add(&set, (i * 7919) % 5000), 0);
	assert_int_equal(thaw_working_set_write(&set, 42, fd, &err), 0);
	assert_int_equal(thaw_working_set_read(&back, 42, 5000, fd, &err), 0);
	assert_int_equal(back.count, 5000);
	assert_memory_equal(back.pages, set.pages, 5000 * sizeof(uint32_t));
	struct thaw_page_range *ranges;
	size_t count;
	assert_int_equal(thaw_working_set_ranges(&back, 5000, &ranges, &count, &err), 0);
	assert_int_equal(count, 1);
	assert_int_equal(ranges[0].count, 5000);
	free(ranges);
	thaw_working_set_clear(&back);
	assert_int_equal(thaw_working_set_read(&back, 43, 5000, fd, &err), -ESTALE);
	assert_int_equal(thaw_working_set_read(&back, 42, 4999, fd, &err), -EBADMSG);
	for (off_t at = 0; at < file_size(fd); at += 37) {
		flip(fd, at);
		assert_true(thaw_working_set_read(&back, 42, 5000, fd, &err) < 0);
		flip(fd, at);
	}
	set.pages[1] = set.pages[0];
	assert_int_equal(thaw_working_set_write(&set, 42, fd, &err), 0);
	assert_int_equal(thaw_working_set_read(&back, 42, 5000, fd, &err), -EBADMSG);
	thaw_working_set_clear(&set);
	close(fd);
}

static void states_come_back_or_are_refused(void **state)
{
	Thaw__Snapshot__State s = THAW__SNAPSHOT__STATE__INIT, *back;
	struct thaw_error err;
	uint8_t clock[48] = {1, 2, 3};
	int fd = file();

	(void)state;
	s.vcpus = 3;
	s.memory_mib = 192;
	s.clock = (ProtobufCBinaryData){sizeof(clock), clock};
	assert_int_equal(thaw_state_write(&s, fd, &err), 0);
	assert_int_equal(thaw_state_read(fd, &back, &err), 0);
	assert_int_equal(back->vcpus, 3);
	assert_memory_equal(back->clock.data, clock, sizeof(clock));
	thaw__snapshot__state__free_unpacked(back, NULL);
	for (off_t at = 0; at < file_size(fd); at++) {
		flip(fd, at);
		assert_true(thaw_state_read(fd, &back, &err) < 0);
		assert_non_null(strstr(err.message, "machine state: "));
		flip(fd, at);
	}
	uint32_t version = 2;
	assert_int_equal(thaw_pwrite_full(fd, &version, sizeof(version), 8), 0);
	assert_int_equal(thaw_state_read(fd, &back, &err), -ENOTSUP);
	assert_non_null(strstr(err.message, "version 2, this program reads version 1"));
	for (off_t cut = file_size(fd) - 1; cut >= 0; cut--) {
		assert_int_equal(ftruncate(fd, cut), 0);
		assert_true(thaw_state_read(fd, &back, &err) < 0);
	}
	close(fd);
}

/* A file system that is full: the error names what was being written. */
static void a_full_disk_is_told(void **state)
{
	struct files *f = *state;
	struct thaw_index index;
	struct thaw_error err;
	int full = open("/dev/full", O_RDWR | O_CLOEXEC), fd = file();

	assert_true(full >= 0);
	assert_int_equal(thaw_image_write(&f->memory, fd, full, -1, 1, &index, &err), -ENOSPC);
	assert_string_equal(err.message, "writing memory frames: No space left on device");
	close(full);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(memory_comes_back_in_every_way, setup, teardown),
		cmocka_unit_test_setup_teardown(every_flipped_byte_of_the_index_is_found, setup,
						teardown),
		cmocka_unit_test_setup_teardown(flipped_bytes_of_frames_are_found, setup, teardown),
		cmocka_unit_test_setup_teardown(cut_and_empty_files_are_refused, setup, teardown),
		cmocka_unit_test(forged_indexes_are_refused),
		cmocka_unit_test(a_bomb_does_not_go_off),
		cmocka_unit_test(working_sets_come_back_and_belong_to_one_index),
		cmocka_unit_test(states_come_back_or_are_refused),
		cmocka_unit_test_setup_teardown(a_full_disk_is_told, setup, teardown),
	};

	return cmocka_run_group_tests_name("snapshot files", tests, NULL, NULL);
}
