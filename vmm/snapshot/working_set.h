/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The working set: the pages that a first invocation touches, in the order of their first touch.
 * A restore reads them before anything else. File: header, page numbers, XXH3-64 of both.
 */
#ifndef THAW_VMM_SNAPSHOT_WORKING_SET_H
#define THAW_VMM_SNAPSHOT_WORKING_SET_H

#include <stdint.h>

struct thaw_error;

#define THAW_WORKING_SET_MAGIC   "THAWWSET"
#define THAW_WORKING_SET_VERSION 1u

struct thaw_working_set {
	uint32_t *pages; /* owned */
	uint32_t count;
	uint32_t space;
};

void thaw_working_set_clear(struct thaw_working_set *set);
int thaw_working_set_add(struct thaw_working_set *set, uint32_t page);

/* index_checksum ties the set to its memory index. */
int thaw_working_set_write(const struct thaw_working_set *set, uint64_t index_checksum, int fd,
			   struct thaw_error *err);
/* Untrusted: page numbers are below `pages` and none comes twice, else -EBADMSG. A set of another
 * memory index is refused (-ESTALE). */
int thaw_working_set_read(struct thaw_working_set *set, uint64_t index_checksum, uint64_t pages,
			  int fd, struct thaw_error *err);

#endif
