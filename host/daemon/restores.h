/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A target's snapshot, from the side of those who restore it: its files, and whether they are still
 * what they were. A memory image that was cut, or that the disk does not give back, kills the
 * clones that touch the pages that are gone (SIGBUS), and nobody says why.
 */
#ifndef THAW_HOST_DAEMON_RESTORES_H
#define THAW_HOST_DAEMON_RESTORES_H

struct thaw_error;
struct thaw_target;

/* The snapshot's files and the root image, opened once for all environments of the target, so that
 * they map one image. */
int thaw_target_open_files(struct thaw_target *target, struct thaw_error *err);

/* What came of a restore: 0, or its error. Those that died with it may have found the image
 * damaged: then it is made again, and the target starts cold until then (`damaged`). */
void thaw_target_restored(struct thaw_target *target, int rc);

#endif
