/* SPDX-License-Identifier: Apache-2.0 */
#ifndef THAW_HOST_OPERATIONS_PUBLISH_H
#define THAW_HOST_OPERATIONS_PUBLISH_H

#include "host/operations/operation.h"

/* Publishes $LATEST, which `item` is, and answers with `status` and the version's configuration.
 * With SnapStart the version is Pending, and its snapshot is made meanwhile. Each text may be
 * NULL: the description is $LATEST's, and any revision and code will do. */
struct thaw_http_response *thaw_publish_version(struct thaw_service *service,
						const struct thaw_function_item *item,
						const char *description, const char *revision,
						const char *sha256, unsigned int status);

#endif
