/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A function's code as a drive: a folder becomes an erofs image that guests mount at /var/task.
 *
 * The image depends on nothing but names, contents, links and who may execute: owners become root,
 * files 0644 or 0755, folders 0755, times 0. So the SHA-256 over those names the image, and each
 * is made once per host (STATE/code/HASH.erofs, padded to 2 MiB for DAX).
 *
 * The folder is the user's and may be hostile: links are never followed (they stay links), what
 * is neither file, folder nor link is refused, and the whole is at most 262144000 bytes.
 */
#ifndef THAW_HOST_CODE_H
#define THAW_HOST_CODE_H

#include "host/digest.h"

#define THAW_CODE_SIZE_MAX    262144000
#define THAW_CODE_ENTRIES_MAX 100000
#define THAW_CODE_DEPTH_MAX   64

struct thaw_error;
struct thaw_state;

/* Makes or finds the drive of the folder `path`. On 0 the caller owns *fd (read-only) and
 * `digest` names it. -ENOENT, -ENOTDIR, -EFBIG, -EINVAL (a special file), -ENOSPC, ... */
int thaw_code_drive(const struct thaw_state *state, const char *path, int *fd,
		    char digest[THAW_DIGEST_TEXT], struct thaw_error *err);

#endif
