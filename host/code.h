/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A function's code as a drive: a folder, or what archives unpack to, becomes an erofs image that
 * guests mount at /var/task (layers: at /opt).
 *
 * The image depends on nothing but names, contents, links and who may execute: owners become root,
 * files 0644 or 0755, folders 0755, times 0. So the SHA-256 over those names the image, and each
 * is made once per host (STATE/code/HASH.erofs, padded to 2 MiB for DAX), whether the code came in
 * a folder or in an archive.
 *
 * The code is the user's and may be hostile: links are never followed (they stay links), what
 * is neither file, folder nor link is refused, and the whole is at most 262144000 bytes.
 */
#ifndef THAW_HOST_CODE_H
#define THAW_HOST_CODE_H

#include <stddef.h>

#include "host/digest.h"

#define THAW_CODE_SIZE_MAX    262144000
#define THAW_CODE_ENTRIES_MAX 100000
#define THAW_CODE_DEPTH_MAX   64

struct thaw_archive;
struct thaw_error;
struct thaw_state;
struct thaw_unpack;

/* Makes or finds the drive of the folder or ZIP file `path`; which of them it is, is looked at, not
 * guessed from the name. On 0 the caller owns *fd (read-only) and `digest` names it. -ENOENT,
 * -ENOTDIR (neither), -EFBIG, -EINVAL (a special file, a bad archive), -ENOSPC, ... */
int thaw_code_drive(const struct thaw_state *state, const char *path, int *fd,
		    char digest[THAW_DIGEST_TEXT], struct thaw_error *err);

/* As thaw_code_drive, of `count` folders and ZIP files (at least one) laid over one another in
 * order. What they take of the limit comes off `unpack`: see below. */
int thaw_code_drive_paths(const struct thaw_state *state, const char *const *paths, size_t count,
			  struct thaw_unpack *unpack, int *fd, char digest[THAW_DIGEST_TEXT],
			  struct thaw_error *err);

/*
 * As thaw_code_drive, of `count` archives (at least one) unpacked in order into one folder: one
 * for a function's code; a function's layers together, where later ones lie over earlier ones.
 * A file over a folder, or the reverse, is refused between layers as it is within one.
 *
 * `unpack` holds the limit and what failed (host/archive.h). For a limit that code and layers
 * share, hand the one that the code left to the layers. With more than one archive an error begins
 * with which of them it is of, counted from 1.
 */
int thaw_code_drive_archives(const struct thaw_state *state, const struct thaw_archive *archives,
			     size_t count, struct thaw_unpack *unpack, int *fd,
			     char digest[THAW_DIGEST_TEXT], struct thaw_error *err);

/* Opens (read-only) a drive that was made before. -ENOENT: it is gone and is to be made again;
 * -EINVAL: `digest` is none; -EBADMSG: the file is not a drive. */
int thaw_code_open(const struct thaw_state *state, const char *digest, int *fd,
		   struct thaw_error *err);

/* Takes a drive out of the cache. MicroVMs and snapshots that have it go on. -ENOENT, -EINVAL. */
int thaw_code_remove(const struct thaw_state *state, const char *digest, struct thaw_error *err);

/* What is in the cache, sorted; the caller frees *digests (one block; may be NULL for none). */
int thaw_code_list(const struct thaw_state *state, char (**digests)[THAW_DIGEST_TEXT],
		   size_t *count, struct thaw_error *err);

#endif
