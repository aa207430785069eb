/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of sigv4 share. */
#ifndef THAW_HOST_API_SIGV4_INTERNAL_H
#define THAW_HOST_API_SIGV4_INTERNAL_H

#include "host/api/sigv4.h"

#define SIGV4_ALGORITHM  "AWS4-HMAC-SHA256"
#define SIGV4_TERMINATOR "aws4_request"
#define SIGV4_UNSIGNED   "UNSIGNED-PAYLOAD"

struct thaw_sigv4_parameter {
	const char *name; /* both decoded and encoded again, so that each text has one form */
	const char *value;
};

struct thaw_sigv4_query {
	char *text; /* owned: the names and values */
	size_t count;
	struct thaw_sigv4_parameter at[THAW_SIGV4_PARAMETERS_MAX];
};

/* Reads a raw query of at most THAW_SIGV4_QUERY_MAX bytes (NULL: an empty one), in its order. 0,
 * -EINVAL (a bad escape), -E2BIG (too many parameters), -ENOMEM. To be cleared in any case. */
int thaw_sigv4_query_read(struct thaw_sigv4_query *query, const char *raw);
void thaw_sigv4_query_clear(struct thaw_sigv4_query *query);

/* The headers of that name (any case): how many, and the last one's value. */
size_t thaw_sigv4_header_find(const struct thaw_sigv4_request *request, const char *name,
			      size_t size, const char **value);

/* SHA-256 of the canonical request. 0, -EINVAL, -E2BIG, -ENOMEM. */
int thaw_sigv4_canonical(const struct thaw_sigv4_claim *claim,
			 const struct thaw_sigv4_request *request, const char *payload,
			 char hash[THAW_DIGEST_TEXT]);

/* Fills the outcome; returns `result`. */
enum thaw_sigv4_result thaw_sigv4_refuse(struct thaw_sigv4_outcome *outcome,
					 enum thaw_sigv4_result result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
