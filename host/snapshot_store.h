/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots on disk: STATE/snapshots/NAME/
 *
 *	seal             the files that this host has made or imported (seal.h)
 *	manifest.json    what it is (manifest.h)
 *	state index frames [working_set]   thaw-vmm's (docs/snapshot-format.md)
 *	code.erofs       the drive of the code that the guest has mapped
 *	layers.erofs     that of its layers, when it has some
 *	tmp.img          the drive behind /tmp, with holes
 *	event.json       an event to try it with, when one was given
 *	image.raw        memory as clones map it: a cache of `frames`, made again when it is
 *	image.id         missing or not the file that was made (its inode, size and times, under an
 *	                 HMAC with the host's key)
 *
 * A snapshot appears whole (a rename) or not at all, and its files are never written again. What
 * thaw-vmm wrote is parsed by thaw-vmm only, and nothing is parsed by anybody before it is known to
 * be what was sealed: -EKEYREJECTED otherwise. Large files (drives, frames) are read for that when
 * they are first used, and again when they have changed; small ones at each opening.
 */
#ifndef THAW_HOST_SNAPSHOT_STORE_H
#define THAW_HOST_SNAPSHOT_STORE_H

#include "host/environment.h"
#include "host/manifest.h"
#include "host/seal.h"

#define THAW_SNAPSHOT_SEAL "seal"

struct thaw_host;
struct thaw_state;
struct thaw_workdir;

struct thaw_snapshot {
	char name[THAW_FUNCTION_NAME_MAX + 1]; /* its own; the manifest's is that of its making */
	struct thaw_seal seal;
	struct thaw_manifest manifest;
	struct thaw_snapshot_files files; /* image: after thaw_snapshot_open_image */
	int dir, code, tmp;
	int layers; /* -1: none */
};

/* Checks that `name` may name a snapshot. -EINVAL. */
int thaw_snapshot_check_name(const char *name, struct thaw_error *err);

/* 1 when there is one, 0 when not. */
int thaw_snapshot_exists(const struct thaw_state *state, const char *name);

/* Opens all files, checks them against the seal but for the frames, and reads the manifest.
 * -ENOENT, -EKEYREJECTED (not made or imported here), -EBADMSG (damaged), -ENOTSUP (of another
 * version). */
int thaw_snapshot_open(const struct thaw_state *state, const char *name,
		       struct thaw_snapshot *snapshot, struct thaw_error *err);
void thaw_snapshot_close(struct thaw_snapshot *snapshot);

/* Before the frames are used: that they are what was sealed. They are read for it when that is not
 * known of them yet. -EKEYREJECTED. */
int thaw_snapshot_check_frames(const struct thaw_snapshot *snapshot, const struct thaw_state *state,
			       struct thaw_error *err);

/* The seal of the files in `dir`, which becomes the snapshot `name`. */
int thaw_snapshot_seal(const struct thaw_state *state, int dir, const char *name,
		       struct thaw_seal *seal, struct thaw_error *err);

/* Makes what somebody has put under `name` this host's: all its checksums are checked, thaw-vmm
 * reads all of it, and it is sealed. Its memory image is not believed, and made again when it is
 * needed. As thaw_snapshot_open; -EKEYREJECTED: others could write to its files. */
int thaw_snapshot_import(const struct thaw_host *host, const char *name, struct thaw_error *err);

/* Gives it the working set that lies, as "working_set", in `work`. On 0 *fd is the snapshot's. */
int thaw_snapshot_put_working_set(const struct thaw_state *state, struct thaw_snapshot *snapshot,
				  const struct thaw_workdir *work, int *fd, struct thaw_error *err);

/* Opens the raw image, after making it from the frames if need be; with `direct`, for O_DIRECT
 * when it is not in the page cache (*direct then says whether it was opened so). */
int thaw_snapshot_open_image(struct thaw_snapshot *snapshot, const struct thaw_host *host,
			     bool *direct, struct thaw_error *err);

/* Whether the raw image is still the one that was made: clones that have mapped another have other
 * memory, or none. */
bool thaw_snapshot_image_is_good(const struct thaw_snapshot *snapshot,
				 const struct thaw_state *state);

/* Opens the runtime's root image, which must be the one that the guest has mapped. -ESTALE. */
int thaw_snapshot_open_root(const struct thaw_snapshot *snapshot, const struct thaw_host *host,
			    int *fd, struct thaw_error *err);

/* Whether it was made of what a new one would be made of: this host's kind of KVM, kernel,
 * initramfs (and so agent) and root image. 0; -ESTALE with what has changed: such a snapshot
 * restores all the same as long as its root image is there. */
int thaw_snapshot_check_current(const struct thaw_snapshot *snapshot, const struct thaw_host *host,
				struct thaw_error *err);

/* Whether `network` (NULL: none) is there just when its guest has a network device. -ESTALE. */
int thaw_snapshot_check_network(const struct thaw_snapshot *snapshot,
				const struct thaw_network *network, struct thaw_error *err);

/* Asks thaw-vmm what the files say; `verify` reads every frame. The caller frees *shape with
 * thaw__vmm__reply__free_unpacked. */
int thaw_snapshot_inspect(const struct thaw_snapshot *snapshot, const struct thaw_host *host,
			  bool verify, Thaw__Vmm__Reply **shape, struct thaw_error *err);

/* Removes it. Clones that run go on. -ENOENT. */
int thaw_snapshot_remove(const struct thaw_state *state, const char *name, struct thaw_error *err);

/* The names, sorted; the caller frees each and the list. */
int thaw_snapshot_list(const struct thaw_state *state, char ***names, size_t *count,
		       struct thaw_error *err);

/* Notes in `dir` that the image.raw there is the one that was made, of what `seal` lists. */
int thaw_snapshot_note_image(const struct thaw_state *state, int dir, const struct thaw_seal *seal,
			     struct thaw_error *err);

/* Drops a file's pages from the page cache, as far as nobody maps them. */
void thaw_file_drop_cache(int fd);

#endif
