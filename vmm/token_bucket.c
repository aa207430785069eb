/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/token_bucket.h"

#include <errno.h>

#include "lib/clock.h"
#include "lib/error.h"
#include "proto/vmm.pb-c.h"

#define TOKENS_MAX (1ull << 61)
#define SECOND_NS  1000000000ull

static uint64_t at_most(uint64_t value, uint64_t limit)
{
	return value < limit ? value : limit;
}

void thaw_token_bucket_init(struct thaw_token_bucket *bucket, uint64_t size, uint64_t per_second,
			    uint64_t now_ns)
{
	size = at_most(size, TOKENS_MAX);
	*bucket = (struct thaw_token_bucket){
		.size = size,
		.per_second = at_most(per_second, TOKENS_MAX),
		.tokens = (int64_t)size,
		.filled_ns = now_ns,
	};
}

/* Puts in what has come since the last time. */
static void bucket_fill(struct thaw_token_bucket *bucket, uint64_t now_ns)
{
	unsigned __int128 come;
	uint64_t room;

	if (now_ns <= bucket->filled_ns)
		return;
	/* At most 2^64 times 2^61, and a fraction. */
	come = (unsigned __int128)(now_ns - bucket->filled_ns) * bucket->per_second +
	       bucket->fraction;
	bucket->filled_ns = now_ns;
	room = bucket->size - (uint64_t)bucket->tokens; /* right for a debt too: modulo 2^64 */
	if (come / SECOND_NS >= room) {
		bucket->tokens = (int64_t)bucket->size;
		bucket->fraction = 0;
	} else {
		bucket->tokens += (int64_t)(come / SECOND_NS);
		bucket->fraction = (uint64_t)(come % SECOND_NS);
	}
}

uint64_t thaw_token_bucket_wait(struct thaw_token_bucket *bucket, uint64_t now_ns)
{
	unsigned __int128 missing;

	if (bucket->size == 0)
		return 0;
	bucket_fill(bucket, now_ns);
	if (bucket->tokens > 0)
		return 0;
	missing = (unsigned __int128)(1 - (unsigned __int128)bucket->tokens) * SECOND_NS -
		  bucket->fraction;
	missing = (missing + bucket->per_second - 1) / bucket->per_second;
	return missing > UINT64_MAX ? UINT64_MAX : (uint64_t)missing;
}

void thaw_token_bucket_spend(struct thaw_token_bucket *bucket, uint64_t tokens)
{
	/* A debt that does not fit is not paid off in anybody's lifetime. */
	int64_t most = bucket->tokens + (int64_t)TOKENS_MAX;

	if (bucket->size == 0)
		return;
	bucket->tokens -= most < 0 ? 0 : (int64_t)at_most(tokens, (uint64_t)most);
}

static int limit_bucket(struct thaw_token_bucket *bucket, const Thaw__Vmm__TokenBucket *from,
			const char *what, struct thaw_error *err)
{
	if (!from)
		return 0;
	if (from->size == 0 || from->per_second == 0)
		return thaw_error_set(
			err, EINVAL, "a limit of %llu %s, of which %llu come back in a second",
			(unsigned long long)from->size, what, (unsigned long long)from->per_second);
	thaw_token_bucket_init(bucket, from->size, from->per_second, thaw_monotonic_ns());
	return 0;
}

int thaw_rate_limit_init(struct thaw_rate_limit *limit, const Thaw__Vmm__RateLimit *from,
			 struct thaw_error *err)
{
	*limit = (struct thaw_rate_limit){0};
	if (!from)
		return 0;
	int rc = limit_bucket(&limit->bytes, from->bytes, "bytes", err);
	return rc < 0 ? rc : limit_bucket(&limit->operations, from->operations, "operations", err);
}

bool thaw_rate_limit_allows(struct thaw_rate_limit *limit, uint64_t *due_ns)
{
	uint64_t now, bytes, operations, wait;

	if (limit->bytes.size == 0 && limit->operations.size == 0)
		return true; /* without a look at the clock */
	now = thaw_monotonic_ns();
	bytes = thaw_token_bucket_wait(&limit->bytes, now);
	operations = thaw_token_bucket_wait(&limit->operations, now);
	wait = bytes > operations ? bytes : operations;
	*due_ns = wait > UINT64_MAX - 1 - now ? UINT64_MAX - 1 : now + wait;
	return wait == 0;
}

void thaw_rate_limit_spend(struct thaw_rate_limit *limit, uint64_t bytes)
{
	thaw_token_bucket_spend(&limit->bytes, bytes);
	thaw_token_bucket_spend(&limit->operations, 1);
}
