/* SPDX-License-Identifier: Apache-2.0 */
/* Tags of functions: names with values, which mean nothing to the host. */
#ifndef THAW_HOST_OPERATIONS_TAGS_H
#define THAW_HOST_OPERATIONS_TAGS_H

#include "host/operations/operation.h"

/* Reads the body's member Tags, each name and value checked. 1, 0: there is none; -EINVAL: the
 * request's validation, or its refusal, has the fault. */
int thaw_tags_read(struct thaw_request *request, enum thaw_presence presence, const json_t **tags);

/* What is refused with tags that are right each by itself: too many together, names that are
 * AWS' own. NULL to go on. */
struct thaw_http_response *thaw_tags_check(const json_t *tags);

#endif
