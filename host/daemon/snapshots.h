/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The snapshots of published versions with SnapStart: made one after the other in a thread of its
 * own, and made again when what they were made of has changed (kernel, agent, image, CPU template),
 * at the start or when an environment finds it out.
 *
 * A version is Pending until its snapshot is there; then Active, or Failed with what its init said.
 * One that had a snapshot stays Active while that is made again, and its invocations start cold
 * meanwhile; when the host fails to, it tries again, after a minute and then later and later.
 *
 * Also what nobody refers to any more goes away here: snapshots, drives, archives.
 */
#ifndef THAW_HOST_DAEMON_SNAPSHOTS_H
#define THAW_HOST_DAEMON_SNAPSHOTS_H

#include <stdint.h>

struct thaw_error;
struct thaw_service;
struct thaw_snapshots;

/* Starts the thread, which first looks for what an earlier daemon left unfinished. */
struct thaw_snapshots *thaw_snapshots_new(struct thaw_service *service, struct thaw_error *err);

/* Ends it. A snapshot that it is making is given up: its version stays as it is, and the next start
 * makes it. NULL is allowed. */
void thaw_snapshots_free(struct thaw_snapshots *snapshots);

/* There is a version that is Pending. */
void thaw_snapshots_wanted(struct thaw_snapshots *snapshots);

/* The snapshot of this version is of no use any more. */
void thaw_snapshots_again(struct thaw_snapshots *snapshots, int64_t function_id, int64_t version);

/* Something may have become superfluous. */
void thaw_snapshots_collect(struct thaw_snapshots *snapshots);

#endif
