/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state directory of a host (--state, by default /var/lib/thaw):
 *
 *	snapshots/NAME/   snapshots (snapshot_store.h)
 *	code/             erofs drives made of functions' code, by the hash of the code
 *	templates/        empty ext4 file systems for /tmp, by size
 *	digests/          remembered checksums of files, each under an HMAC with the host's key
 *	host.key          the host's key (keyring.h)
 *	parts             which kernel, initramfs and images are this host's (parts.h)
 *	kvm               the kind of KVM that was found here (kvm_kind.h)
 *	tmp/              everything half-made
 *
 * Whatever is being made lies in a directory of tmp/ that its maker holds locked (flock), and
 * appears elsewhere only by a rename. The lock dies with the process, so every command can sweep
 * away what killed predecessors left, and only that.
 */
#ifndef THAW_HOST_STATE_H
#define THAW_HOST_STATE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct thaw_error;
struct thaw_keyring;

struct thaw_state {
	char path[PATH_MAX];
	int root; /* descriptors of the directories */
	int snapshots, code, templates, digests, tmp;
	struct thaw_keyring *key; /* NULL: there is none, and nothing here is known to be ours */
};

#define THAW_STATE_NONE                                                                            \
	{                                                                                          \
		.root = -1, .snapshots = -1, .code = -1, .templates = -1, .digests = -1, .tmp = -1 \
	}

/* Opens (making what is missing, mode 0700) and sweeps. -EPERM: others may write to it. Not the
 * key. */
int thaw_state_open(struct thaw_state *state, const char *path, struct thaw_error *err);
/* Removes what is half-made and nobody's: killed predecessors', and what its maker could not remove
 * (of this process too). */
void thaw_state_sweep(const struct thaw_state *state);
void thaw_state_close(struct thaw_state *state);

/* Opens the host's key, where that has not been done; with `make` one is made when there is none.
 * As thaw_keyring_open. */
int thaw_state_open_key(struct thaw_state *state, bool make, struct thaw_error *err);

/* A directory of tmp/ of one's own. */
struct thaw_workdir {
	const struct thaw_state *state;
	int fd; /* -1: none; the lock is on it */
	char name[32];
};

#define THAW_WORKDIR_NONE                                                                          \
	{                                                                                          \
		.fd = -1                                                                           \
	}

int thaw_workdir_make(struct thaw_workdir *work, const struct thaw_state *state,
		      struct thaw_error *err);

/* Renames it to `name` in directory `to`. With `replace`, what was there goes away, atomically
 * for everyone who looks; else -EEXIST. Contents are synced to the disk first. On success the
 * workdir is none any more. */
int thaw_workdir_publish(struct thaw_workdir *work, int to, const char *name, int replace,
			 struct thaw_error *err);

/* Removes it with all that is in it. Safe on THAW_WORKDIR_NONE. */
void thaw_workdir_drop(struct thaw_workdir *work);

/* The absolute path of `name` in it, for programs that want one. -ENAMETOOLONG. */
int thaw_workdir_path(const struct thaw_workdir *work, const char *name, char *path, size_t size);

/* Removes the tree `name` in directory `dir`, following no link. 0, or the first error. */
int thaw_remove_tree(int dir, const char *name);

/* Copies the contents of one regular file into an empty one, sharing blocks where the file
 * system can, and keeping holes. -ENOSPC, ... */
int thaw_copy_sparse(int from, int to, struct thaw_error *err);

#endif
