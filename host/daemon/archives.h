/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The archives (ZIP files) that functions and layers were made of, as they came: to be downloaded
 * again, and to be unpacked again when a function gets other layers, which lie in one drive.
 *
 * Each lies in STATE/archives/<SHA-256 in hexadecimal>.zip, once, mode 0600; it is whole, and on
 * the disk, as soon as it has that name. The store's code_sha256 names it too, in base64.
 *
 * An archive is kept before the row is written that refers to it. So who removes archives gives a
 * time: what was kept (again) since then stays.
 */
#ifndef THAW_HOST_DAEMON_ARCHIVES_H
#define THAW_HOST_DAEMON_ARCHIVES_H

#include <stddef.h>
#include <stdint.h>

#include "host/digest.h"

struct thaw_error;
struct thaw_service;

/* Keeps an archive, or finds that it is kept already: `digest` names it. -ENOSPC, -ENOMEM, -EIO */
int thaw_archives_keep(struct thaw_service *service, const void *data, size_t size,
		       char digest[THAW_DIGEST_TEXT], struct thaw_error *err);

/* On 0 the caller owns *fd (read-only). -ENOENT; -EINVAL: `digest` is none. */
int thaw_archives_open(struct thaw_service *service, const char *digest, int *fd,
		       struct thaw_error *err);

/* Calls `found` for each archive, in no order, with its size in bytes and when it was last kept
 * (milliseconds since 1970), until that returns not 0, which is returned then. `found` may remove
 * the archive. */
int thaw_archives_each(struct thaw_service *service,
		       int (*found)(void *opaque, const char *digest, uint64_t size,
				    int64_t kept_ms),
		       void *opaque, struct thaw_error *err);

/* Removes it unless it was kept at `before_ms` or later: -EBUSY. -ENOENT, -EINVAL. */
int thaw_archives_remove(struct thaw_service *service, const char *digest, int64_t before_ms,
			 struct thaw_error *err);

/* The two spellings of one SHA-256. -EINVAL: it is none. */
int thaw_archives_digest(const char *sha256, char digest[THAW_DIGEST_TEXT]);
int thaw_archives_sha256(const char *digest, char sha256[THAW_DIGEST_BASE64]);

#endif
