/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits of a device: how much it may do at once, and how quickly that grows again.
 *
 * A bucket of tokens fills at a rate, up to its size. What is to be done may begin while there is a
 * token in it, and takes as many as it is worth: more than there were leave a debt, which the rate
 * pays off before anything else may begin. So what is worth more than the whole bucket is done all
 * the same, nothing has to be known of it before it begins, and over time the rate is kept exactly.
 *
 * Time is the monotonic clock's, given by the caller. Any values are good: nothing overflows.
 */
#ifndef THAW_VMM_TOKEN_BUCKET_H
#define THAW_VMM_TOKEN_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct Thaw__Vmm__RateLimit;
struct Thaw__Vmm__TokenBucket;
struct thaw_error;

struct thaw_token_bucket {
	uint64_t size; /* 0: without limit */
	uint64_t per_second;
	int64_t tokens;    /* at most `size`; negative: a debt */
	uint64_t fraction; /* billionths of a token beside them */
	uint64_t filled_ns;
};

/* Full. Sizes and rates beyond 2^61, which nobody can tell apart, become that. */
void thaw_token_bucket_init(struct thaw_token_bucket *bucket, uint64_t size, uint64_t per_second,
			    uint64_t now_ns);
/* How long until something may begin, ns; 0: now. */
uint64_t thaw_token_bucket_wait(struct thaw_token_bucket *bucket, uint64_t now_ns);
void thaw_token_bucket_spend(struct thaw_token_bucket *bucket, uint64_t tokens);

/* One way of a device: both must allow it. All zero: no limit. */
struct thaw_rate_limit {
	struct thaw_token_bucket bytes;
	struct thaw_token_bucket operations;
};

/* As the host asks for it; NULL: none. -EINVAL: a bucket that never has a token. */
int thaw_rate_limit_init(struct thaw_rate_limit *limit, const struct Thaw__Vmm__RateLimit *from,
			 struct thaw_error *err);
/* Whether one more operation may begin now. If not, *due_ns is when to ask again. */
bool thaw_rate_limit_allows(struct thaw_rate_limit *limit, uint64_t *due_ns);
/* One operation of so many bytes has begun. */
void thaw_rate_limit_spend(struct thaw_rate_limit *limit, uint64_t bytes);

#endif
