/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory on demand: userfaultfd in missing mode (Linux, Documentation/admin-guide/mm/userfaultfd),
 * io_uring behind it. One thread waits for faults and completed reads on one ring; a fault on a
 * page of the image reads it and its neighbours into a staging buffer and copies them in whole.
 *
 * KVM's own faults are kernel faults, so the descriptor must come from /dev/userfaultfd (or a
 * privileged process) without UFFD_USER_MODE_ONLY.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "vmm/sandbox.h"
#include "vmm/sandbox_table.h"
#include "vmm/snapshot/load.h"
#include "vmm/uring.h"

#define SLOTS         16u /* reads under way at once */
#define CLUSTER_PAGES 16u /* read around a fault: 64 KiB */

/* user_data of the ring's entries beside the slots. */
#define TAG_FAULTS 1000u
#define TAG_WAKE   1001u

struct uffd_slot {
	uint64_t first;
	uint32_t count;
	bool busy;
};

struct thaw_uffd {
	const struct thaw_memory *memory;
	struct thaw_uffd_config config;
	int fd, wake_fd;
	pthread_t thread;
	struct io_uring ring;
	struct uffd_slot slots[SLOTS];
	uint8_t *staging;  /* SLOTS buffers of CLUSTER_PAGES pages */
	uint8_t *wanted;   /* a bit a page: being read, or there */
	uint32_t *waiting; /* faults for which no slot was free */
	uint32_t waiting_count, waiting_space;
	struct thaw_working_set recorded;
	uint64_t faults, bytes_read;
	bool quit, completing;
	uint64_t complete_at; /* completing: the next page to look at */
	int complete_fd;      /* eventfd: all pages are there */
	bool broken;
};

static bool bit_test(const uint8_t *bits, uint64_t n)
{
	return bits[n / 8] & 1u << n % 8;
}

static void bit_set(uint8_t *bits, uint64_t n)
{
	bits[n / 8] |= (uint8_t)(1u << n % 8);
}

/* The run that holds a page: the index covers every page. */
static const struct thaw_run *run_of(const struct thaw_index *index, uint64_t page)
{
	uint32_t low = 0, high = index->run_count - 1;

	while (low < high) {
		uint32_t middle = low + (high - low + 1) / 2;
		if (index->runs[middle].first <= page)
			low = middle;
		else
			high = middle - 1;
	}
	return &index->runs[low];
}

static void uffd_broken(struct thaw_uffd *u, const char *what, int code)
{
	char message[256];

	if (u->broken)
		return;
	u->broken = true;
	snprintf(message, sizeof(message), "memory on demand: %s: %s", what, strerror(code));
	u->config.failed(u->config.opaque, message);
}

/* EEXIST: something else brought the page meanwhile, or the guest's balloon of itself: it is
 * there, but whoever waits must be woken. */
static void uffd_put(struct thaw_uffd *u, uint64_t page, const uint8_t *from, uint64_t count)
{
	uint64_t done = 0;

	while (done < count) {
		uint64_t at = (uintptr_t)u->memory->base + (page + done) * THAW_PAGE_SIZE;
		uint64_t size = (count - done) * THAW_PAGE_SIZE;
		int64_t moved;
		int rc;
		if (from) {
			struct uffdio_copy copy = {
				.dst = at,
				.len = size,
				.src = (uintptr_t)from + done * THAW_PAGE_SIZE,
			};
			rc = ioctl(u->fd, UFFDIO_COPY, &copy);
			moved = copy.copy;
		} else {
			struct uffdio_zeropage zero = {.range = {.start = at, .len = size}};
			rc = ioctl(u->fd, UFFDIO_ZEROPAGE, &zero);
			moved = zero.zeropage;
		}
		if (rc == 0)
			return;
		int code = errno;
		if (moved > 0) {
			done += (uint64_t)moved / THAW_PAGE_SIZE;
		} else if (code == EEXIST) {
			struct uffdio_range range = {.start = at, .len = THAW_PAGE_SIZE};
			ioctl(u->fd, UFFDIO_WAKE, &range);
			done++;
		} else if (code != EAGAIN) {
			uffd_broken(u, "filling a page", code);
			return;
		}
	}
}

static void uffd_submit(struct thaw_uffd *u, unsigned int s)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	io_uring_prep_read(sqe, u->config.image_fd,
			   u->staging + (size_t)s * CLUSTER_PAGES * THAW_PAGE_SIZE,
			   u->slots[s].count * THAW_PAGE_SIZE, u->slots[s].first * THAW_PAGE_SIZE);
	io_uring_sqe_set_data64(sqe, s);
}

/* Brings in `page`, which is not there yet. False: no slot is free. */
static bool uffd_bring(struct thaw_uffd *u, uint64_t page)
{
	const struct thaw_run *run = run_of(&u->config.index, page);
	unsigned int s;

	if (bit_test(u->wanted, page))
		return true; /* on its way */
	/* When recording, what counts is each page's own first touch. */
	uint64_t reach = u->config.record ? 1 : CLUSTER_PAGES;
	uint64_t first = page - page % reach;
	uint64_t end = first + reach;
	if (first < run->first)
		first = run->first;
	if (end > (uint64_t)run->first + run->count)
		end = (uint64_t)run->first + run->count;
	/* What others have asked for splits the cluster: keep the part around the page. */
	for (uint64_t p = page; p > first; p--) {
		if (bit_test(u->wanted, p - 1))
			first = p;
	}
	for (uint64_t p = page + 1; p < end; p++) {
		if (bit_test(u->wanted, p))
			end = p;
	}
	if (run->kind == THAW_RUN_ZERO) {
		for (uint64_t p = first; p < end; p++)
			bit_set(u->wanted, p);
		uffd_put(u, first, NULL, end - first);
		return true;
	}
	for (s = 0; s < SLOTS && u->slots[s].busy; s++)
		;
	if (s == SLOTS)
		return false;
	for (uint64_t p = first; p < end; p++)
		bit_set(u->wanted, p);
	u->slots[s] = (struct uffd_slot){first, (uint32_t)(end - first), true};
	uffd_submit(u, s);
	return true;
}

static void uffd_wait(struct thaw_uffd *u, uint32_t page)
{
	if (u->waiting_count == u->waiting_space) {
		uint32_t space = u->waiting_space ? u->waiting_space * 2 : 64;
		uint32_t *waiting = realloc(u->waiting, space * sizeof(*waiting));
		if (!waiting) {
			uffd_broken(u, "keeping a fault", ENOMEM);
			return;
		}
		u->waiting = waiting;
		u->waiting_space = space;
	}
	u->waiting[u->waiting_count++] = page;
}

static void uffd_read_faults(struct thaw_uffd *u)
{
	struct uffd_msg messages[16];
	ssize_t n = read(u->fd, messages, sizeof(messages));

	if (n < 0)
		return;
	for (size_t i = 0; i < (size_t)n / sizeof(messages[0]); i++) {
		if (messages[i].event != UFFD_EVENT_PAGEFAULT)
			continue;
		uint64_t page = (messages[i].arg.pagefault.address - (uintptr_t)u->memory->base) /
				THAW_PAGE_SIZE;
		if (page >= u->config.index.pages)
			continue;
		u->faults++;
		if (u->config.record && !bit_test(u->wanted, page))
			thaw_working_set_add(&u->recorded, (uint32_t)page);
		if (!uffd_bring(u, page))
			uffd_wait(u, (uint32_t)page);
	}
}

static void uffd_read_done(struct thaw_uffd *u, unsigned int s, int result)
{
	struct uffd_slot *slot = &u->slots[s];

	if (result == -EINTR || result == -EAGAIN) {
		uffd_submit(u, s);
		return;
	}
	if (result != (int)(slot->count * THAW_PAGE_SIZE)) {
		uffd_broken(u, "reading the memory image", result < 0 ? -result : ENODATA);
		slot->busy = false;
		return;
	}
	u->bytes_read += (uint64_t)result;
	uffd_put(u, slot->first, u->staging + (size_t)s * CLUSTER_PAGES * THAW_PAGE_SIZE,
		 slot->count);
	slot->busy = false;
}

static void uffd_arm(struct thaw_uffd *u, int fd, uint64_t tag)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	io_uring_prep_poll_add(sqe, fd, POLLIN);
	io_uring_sqe_set_data64(sqe, tag);
}

/* Faults that found no slot, then (completing) the pages nobody has asked for. */
static void uffd_go_on(struct thaw_uffd *u)
{
	bool idle = true;

	while (u->waiting_count && uffd_bring(u, u->waiting[u->waiting_count - 1]))
		u->waiting_count--;
	if (!__atomic_load_n(&u->completing, __ATOMIC_ACQUIRE))
		return;
	while (u->complete_at < u->config.index.pages && uffd_bring(u, u->complete_at))
		u->complete_at++;
	for (unsigned int s = 0; s < SLOTS; s++)
		idle &= !u->slots[s].busy;
	if ((idle && u->complete_at == u->config.index.pages) || u->broken) {
		__atomic_store_n(&u->completing, false, __ATOMIC_RELEASE);
		eventfd_write(u->complete_fd, 1);
	}
}

static void *uffd_thread(void *opaque)
{
	struct thaw_uffd *u = opaque;

	thaw_sandbox_narrow(THAW_SANDBOX_MEMORY);
	uffd_arm(u, u->fd, TAG_FAULTS);
	uffd_arm(u, u->wake_fd, TAG_WAKE);
	while (!__atomic_load_n(&u->quit, __ATOMIC_ACQUIRE)) {
		struct io_uring_cqe *cqe;
		int rc = io_uring_submit_and_wait(&u->ring, 1);
		if (rc < 0 && rc != -EINTR) {
			uffd_broken(u, "io_uring", -rc);
			return NULL;
		}
		while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
			uint64_t tag = cqe->user_data;
			int result = cqe->res;
			io_uring_cqe_seen(&u->ring, cqe);
			if (tag == TAG_FAULTS) {
				uffd_read_faults(u);
				uffd_arm(u, u->fd, TAG_FAULTS);
			} else if (tag == TAG_WAKE) {
				eventfd_t value;
				eventfd_read(u->wake_fd, &value);
				uffd_arm(u, u->wake_fd, TAG_WAKE);
			} else {
				uffd_read_done(u, (unsigned int)tag, result);
			}
		}
		uffd_go_on(u);
	}
	return NULL;
}

/* A descriptor from /dev/userfaultfd with memory registered on it. */
static int uffd_open(const struct thaw_memory *memory, int device_fd, struct thaw_error *err)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register range = {
		.range = {.start = (uintptr_t)memory->base, .len = memory->size},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	cleanup_close int fd = ioctl(device_fd, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return thaw_error_errno(err, errno, "making a userfaultfd");
	if (ioctl(fd, UFFDIO_API, &api) < 0)
		return thaw_error_errno(err, errno, "userfaultfd's API");
	if (ioctl(fd, UFFDIO_REGISTER, &range) < 0)
		return thaw_error_errno(err, errno, "registering guest memory with userfaultfd");
	return thaw_fd_take(&fd);
}

static void uffd_free(struct thaw_uffd *u)
{
	if (u->fd >= 0)
		close(u->fd);
	if (u->wake_fd >= 0)
		close(u->wake_fd);
	if (u->complete_fd >= 0)
		close(u->complete_fd);
	if (u->staging != MAP_FAILED)
		munmap(u->staging, (size_t)SLOTS * CLUSTER_PAGES * THAW_PAGE_SIZE);
	free(u->wanted);
	free(u->waiting);
	thaw_working_set_clear(&u->recorded);
	free(u);
}

/* Pages that were loaded before (the working set) are there: mincore tells which. */
static int uffd_mark_present(struct thaw_uffd *u, struct thaw_error *err)
{
	cleanup_free unsigned char *present = malloc(u->config.index.pages);

	if (!present)
		return thaw_error_errno(err, ENOMEM, "memory on demand");
	if (mincore(u->memory->base, u->memory->size, present) < 0)
		return thaw_error_errno(err, errno, "memory on demand");
	for (uint64_t p = 0; p < u->config.index.pages; p++) {
		if (present[p] & 1)
			bit_set(u->wanted, p);
	}
	return 0;
}

int thaw_uffd_start(struct thaw_uffd **uffd, const struct thaw_memory *memory,
		    struct thaw_uffd_config *config, struct thaw_error *err)
{
	static const uint8_t operations[] = {IORING_OP_READ, IORING_OP_POLL_ADD};
	struct thaw_uffd *u = calloc(1, sizeof(*u));
	int rc;

	if (!u)
		return thaw_error_errno(err, ENOMEM, "memory on demand");
	u->memory = memory;
	u->config = *config;
	u->fd = -1;
	u->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	u->complete_fd = eventfd(0, EFD_CLOEXEC);
	u->wanted = calloc(1, (config->index.pages + 7) / 8);
	u->staging = mmap(NULL, (size_t)SLOTS * CLUSTER_PAGES * THAW_PAGE_SIZE,
			  PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (u->wake_fd < 0 || u->complete_fd < 0 || !u->wanted || u->staging == MAP_FAILED) {
		rc = thaw_error_errno(err, ENOMEM, "memory on demand");
		goto fail;
	}
	rc = uffd_mark_present(u, err);
	if (rc < 0)
		goto fail;
	rc = u->fd = uffd_open(memory, config->device_fd, err);
	if (rc < 0)
		goto fail;
	/* The submission queue holds a poll each and every slot: io_uring_get_sqe cannot fail. */
	rc = thaw_uring_create(&u->ring, 4 * SLOTS, operations, sizeof(operations), err);
	if (rc < 0)
		goto fail;
	rc = pthread_create(&u->thread, NULL, uffd_thread, u);
	if (rc) {
		rc = thaw_error_errno(err, rc, "starting the thread that serves memory");
		io_uring_queue_exit(&u->ring);
		goto fail;
	}
	config->image_fd = -1; /* ours now */
	config->index = (struct thaw_index){0};
	*uffd = u;
	return 0;
fail:
	uffd_free(u);
	return rc;
}

int thaw_uffd_complete(struct thaw_uffd *uffd, struct thaw_error *err)
{
	eventfd_t value;

	uffd->complete_at = 0;
	__atomic_store_n(&uffd->completing, true, __ATOMIC_RELEASE);
	eventfd_write(uffd->wake_fd, 1);
	eventfd_read(uffd->complete_fd, &value);
	return uffd->broken ? thaw_error_set(err, EIO, "memory on demand has failed") : 0;
}

void thaw_uffd_stop(struct thaw_uffd *uffd)
{
	if (!uffd)
		return;
	__atomic_store_n(&uffd->quit, true, __ATOMIC_RELEASE);
	eventfd_write(uffd->wake_fd, 1);
	pthread_join(uffd->thread, NULL);
	io_uring_queue_exit(&uffd->ring);
	close(uffd->config.image_fd);
	thaw_index_clear(&uffd->config.index);
	uffd_free(uffd);
}

uint64_t thaw_uffd_faults(const struct thaw_uffd *uffd)
{
	return uffd->faults;
}

uint64_t thaw_uffd_bytes_read(const struct thaw_uffd *uffd)
{
	return uffd->bytes_read;
}

const struct thaw_working_set *thaw_uffd_recorded(const struct thaw_uffd *uffd)
{
	return &uffd->recorded;
}
