/* SPDX-License-Identifier: Apache-2.0 */
/* What the operations on a function's resources share, on top of operation.h. */
#ifndef THAW_HOST_OPERATIONS_COMMON_H
#define THAW_HOST_OPERATIONS_COMMON_H

#include "host/operations/operation.h"

/* Archives of all versions of an account's functions and layers together: AWS' default quota. */
#define THAW_ACCOUNT_CODE_BYTES 80530636800

/* Lists come in pages of so many, unless the client wants fewer. */
#define THAW_PAGE_ITEMS 50

/* The function itself, for operations that versions and aliases do not have: as
 * thaw_request_function, but a name with a qualifier is refused. */
struct thaw_http_response *thaw_request_unqualified(struct thaw_request *request);

/* A qualifier must be there, in the name or beside it: adds the fault when it is not. */
void thaw_request_needs_qualifier(struct thaw_request *request);

/* The version that `text` ("$LATEST", "12") names: false when no version can have that name. */
bool thaw_version_parse(const char *text, int64_t *version);

/* How much of the account's concurrency must stay for functions without a reservation: 100, or a
 * tenth of a small account's. */
int64_t thaw_unreserved_min(const struct thaw_service *service);

/* What is left for functions without a reservation, and is not provisioned for one of them
 * already. `except` (0: none) counts as if it had neither, but for what is provisioned for its
 * other qualifiers than `except_qualifier` (NULL: none of it counts). */
int thaw_unreserved_left(const struct thaw_service *service, const char *account, int64_t except,
			 const char *except_qualifier, int64_t *left, struct thaw_error *err);

/* Whether `values`, which ends with NULL, has `text`. */
bool thaw_text_among(const char *text, const char *const *values);
extern const char *const thaw_runtimes[]; /* of the public model */
extern const char *const thaw_architectures[];

/* A query parameter that must be one of `values`: NULL when it is not given, or wrong (told). */
const char *thaw_request_query_enum(struct thaw_request *request, const char *name,
				    const char *member, const char *const *values);

#endif
