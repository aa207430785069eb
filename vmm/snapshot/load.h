/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory back into a machine that has not run yet. Four ways, one contract: guest memory reads as
 * the snapshot's, whatever is in it already, before the first instruction runs (uffd: as if).
 *
 *  map    MAP_PRIVATE of the materialised image: nothing is read; clones share the page cache
 *  uring  io_uring reads of the image's pages into anonymous memory; O_DIRECT when it is cold
 *  uffd   the working set as uring does, the rest when it is touched (userfaultfd)
 *  eager  decompressed from the frames: needs no image
 */
#ifndef THAW_VMM_SNAPSHOT_LOAD_H
#define THAW_VMM_SNAPSHOT_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/memory.h"
#include "vmm/snapshot/image.h"
#include "vmm/snapshot/working_set.h"

struct thaw_error;

struct thaw_load_source {
	const struct thaw_index *index;
	const struct thaw_working_set *working_set; /* may be empty */
	int image_fd;                               /* its size is checked against the index */
	int frames_fd;
};

struct thaw_load_result {
	uint64_t pages_loaded;
	uint64_t bytes_read;
};

int thaw_load_map(const struct thaw_memory *memory, const struct thaw_load_source *source,
		  struct thaw_error *err);
int thaw_load_uring(const struct thaw_memory *memory, const struct thaw_load_source *source,
		    struct thaw_load_result *result, struct thaw_error *err);
int thaw_load_eager(const struct thaw_memory *memory, const struct thaw_load_source *source,
		    struct thaw_load_result *result, struct thaw_error *err);

/* uffd: a thread serves faults from when start returns until stop. */
struct thaw_uffd;

struct thaw_uffd_config {
	int device_fd;           /* of /dev/userfaultfd; stays the caller's */
	bool record;             /* keep the order of first touches; nothing is read ahead */
	int image_fd;            /* owned by thaw_uffd from here on */
	struct thaw_index index; /* likewise */
	/* Memory cannot be served any more (the image cannot be read): the machine must stop.
	 * Called from the serving thread. */
	void (*failed)(void *opaque, const char *message);
	void *opaque;
};

int thaw_uffd_start(struct thaw_uffd **uffd, const struct thaw_memory *memory,
		    struct thaw_uffd_config *config, struct thaw_error *err);
/* Brings in every page not there yet, so that memory can be read in one go (a snapshot of a
 * machine restored on demand); the guest is paused. */
int thaw_uffd_complete(struct thaw_uffd *uffd, struct thaw_error *err);
void thaw_uffd_stop(struct thaw_uffd *uffd);
uint64_t thaw_uffd_faults(const struct thaw_uffd *uffd);
uint64_t thaw_uffd_bytes_read(const struct thaw_uffd *uffd);
/* The pages touched so far, when recording; valid while the guest is paused. */
const struct thaw_working_set *thaw_uffd_recorded(const struct thaw_uffd *uffd);

/* Reads page ranges of the image to where they belong, with a deep queue. */
struct thaw_page_range {
	uint64_t first, count;
};
int thaw_uring_read_ranges(const struct thaw_memory *memory, int image_fd,
			   const struct thaw_page_range *ranges, size_t count,
			   struct thaw_load_result *result, struct thaw_error *err);

/* The working set, whose pages are below `pages`, as ranges in the order of addresses; the caller
 * frees *ranges. */
int thaw_working_set_ranges(const struct thaw_working_set *set, uint64_t pages,
			    struct thaw_page_range **ranges, size_t *count, struct thaw_error *err);

/* The image must be as long as the memory it is an image of: a shorter one would raise SIGBUS. */
int thaw_image_check(int image_fd, const struct thaw_memory *memory, struct thaw_error *err);

#endif
