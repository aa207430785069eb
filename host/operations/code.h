/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A function's code and layers, from what a client sends to the drives that its environments get.
 */
#ifndef THAW_HOST_OPERATIONS_CODE_H
#define THAW_HOST_OPERATIONS_CODE_H

#include <jansson.h>

#include "host/operations/operation.h"

/* Reads ZipFile of `object` (the body, or its member Code): 1 when it is there, to be freed by the
 * caller; 0 when not, or when it is refused. */
int thaw_code_read(struct thaw_request *request, const struct thaw_object *object, uint8_t **data,
		   size_t *size);

/* Keeps an archive, and tells of it: code_sha256 and code_size of `version` (replaced). NULL, or
 * the refusal. */
struct thaw_http_response *thaw_code_keep(struct thaw_service *service, const uint8_t *data,
					  size_t size, struct thaw_version_record *version);

/* Makes the drives of the archive that `version` names and of the layers that `config` names: sets
 * code_digest and layer_digests of the version (replaced), and LayerVersions of the configuration
 * (what clients are told). NULL, or the refusal: an archive is bad, a layer is not there, the two
 * are too large together. */
struct thaw_http_response *thaw_code_make(struct thaw_service *service, const char *account,
					  struct thaw_version_record *version, json_t *config);

/* Makes the drives of a version again, where they have gone from the cache. -ENOENT, -EIO: an
 * archive is not there, or is not what it was. */
int thaw_code_again(struct thaw_service *service, int64_t function_id, int64_t version,
		    struct thaw_error *err);

#endif
