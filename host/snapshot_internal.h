/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of snapshots on disk share: snapshot_store.c has it, snapshot_seal.c uses it. */
#ifndef THAW_HOST_SNAPSHOT_INTERNAL_H
#define THAW_HOST_SNAPSHOT_INTERNAL_H

#include "host/snapshot_store.h"

struct thaw_vmm;

/* "snapshot NAME" */
void snapshot_subject(const char *name, char subject[THAW_SEAL_SUBJECT]);

/* Begins: the folder only. The snapshot may be closed from here on, whatever this returns. */
int snapshot_open_dir(struct thaw_snapshot *snapshot, const struct thaw_state *state,
		      const char *name, struct thaw_error *err);

/* Opens all files and reads the manifest, each after it was checked against the seal where there is
 * one (`sealed`); drives against the manifest in any case. Frames are not read. */
int snapshot_open_all(struct thaw_snapshot *snapshot, const struct thaw_state *state, bool sealed,
		      struct thaw_error *err);

/* A thaw-vmm that reads a snapshot's files, which may be anybody's, and has no machine. */
int snapshot_reader_spawn(struct thaw_vmm *vmm, const struct thaw_snapshot *snapshot,
			  const struct thaw_host *host, struct thaw_error *err);

/* The small files of thaw-vmm against the seal; frames are large, and checked where they are read.
 */
int snapshot_check_files(const struct thaw_snapshot *snapshot, struct thaw_error *err);

#endif
