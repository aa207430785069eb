/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The drive behind /tmp: an ext4 file system of the function's ephemeral storage. An empty one is
 * made once for each size (STATE/templates/tmp-MIB.ext4); every environment gets a copy in a file
 * without a name, which vanishes with its last descriptor.
 */
#ifndef THAW_HOST_TMP_DRIVE_H
#define THAW_HOST_TMP_DRIVE_H

#include <stdint.h>

struct thaw_error;
struct thaw_state;

/* A fresh empty drive, for reading and writing; the caller's. */
int thaw_tmp_drive_new(const struct thaw_state *state, uint32_t mib, int *fd,
		       struct thaw_error *err);

/* A nameless copy of `source` (a snapshot's tmp.img). */
int thaw_tmp_drive_copy(const struct thaw_state *state, int source, int *fd,
			struct thaw_error *err);

#endif
