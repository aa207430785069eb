/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state file: everything of a machine but its memory (docs/snapshot-format.md).
 * Header (magic, version, size, XXH3-64), then thaw.snapshot.State of proto/snapshot.proto.
 */
#ifndef THAW_VMM_SNAPSHOT_STATE_H
#define THAW_VMM_SNAPSHOT_STATE_H

#include "proto/snapshot.pb-c.h"

struct thaw_error;

#define THAW_STATE_MAGIC   "THAWSTAT"
#define THAW_STATE_VERSION 1u

int thaw_state_write(const Thaw__Snapshot__State *state, int fd, struct thaw_error *err);

/* Untrusted: what comes back is well-formed, checksummed and of our version; what it says is for
 * the machine's parts to check. The caller frees it with thaw__snapshot__state__free_unpacked. */
int thaw_state_read(int fd, Thaw__Snapshot__State **state, struct thaw_error *err);

#endif
