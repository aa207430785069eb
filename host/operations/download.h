/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an archive can be downloaded: Code.Location of functions, Content.Location of layers. As
 * with AWS it is an URL for anybody who has it, for ten minutes:
 *
 *	http://HOST/archives/DIGEST?expires=SECONDS&signature=HEX
 *
 * The signature (HMAC-SHA256 under a key of the host's, host/keyring.h) is the permission. So
 * GET /archives/{Digest} does not go through the hooks of keys.h but through thaw_archive_admit.
 */
#ifndef THAW_HOST_OPERATIONS_DOWNLOAD_H
#define THAW_HOST_OPERATIONS_DOWNLOAD_H

#include <stdbool.h>
#include <stddef.h>

struct thaw_call;
struct thaw_http_response;
struct thaw_service;

#define THAW_ARCHIVE_PATH      "/archives/{Digest}"
#define THAW_ARCHIVE_OPERATION "DownloadArchive"
#define THAW_ARCHIVE_EXPIRES_S 600
#define THAW_LOCATION_TEXT     512

/* The URL for whoever made this call, under the name by which they reached the host, of the archive
 * with this code_sha256 (base64). -EINVAL: it is none; -ENAMETOOLONG, -EIO. */
int thaw_archive_location(struct thaw_service *service, const struct thaw_call *call,
			  const char *sha256, char *url, size_t size);

/* Whether the call is a download: then it has no signature of an account. */
bool thaw_archive_call(const struct thaw_call *call);

/* Both hooks of the router for such calls. NULL to go on. */
struct thaw_http_response *thaw_archive_admit(struct thaw_service *service,
					      const struct thaw_call *call);

/* The response: the archive, or why not (what thaw_archive_admit says, too). It opens a file and
 * does not read it, so it may run on the server's threads. */
struct thaw_http_response *thaw_archive_serve(struct thaw_service *service,
					      const struct thaw_call *call);

/* The same as struct thaw_route's handle. */
void thaw_archive_handle(void *service, struct thaw_call *call);

#endif
