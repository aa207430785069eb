/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of a device, by a clock of our own; and the loop's timers, which wait for them. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "lib/error.h"
#include "proto/vmm.pb-c.h"
#include "vmm/loop.h"
#include "vmm/token_bucket.h"

#define SECOND 1000000000ull

static void test_burst_and_rate(void **state)
{
	struct thaw_token_bucket bucket;
	uint64_t now = 5 * SECOND;

	(void)state;
	thaw_token_bucket_init(&bucket, 10, 100, now);
	for (unsigned int i = 0; i < 10; i++) {
		assert_int_equal(thaw_token_bucket_wait(&bucket, now), 0);
		thaw_token_bucket_spend(&bucket, 1);
	}
	assert_int_equal(thaw_token_bucket_wait(&bucket, now), SECOND / 100);
	assert_int_equal(thaw_token_bucket_wait(&bucket, now + SECOND / 100 - 1), 1);
	assert_int_equal(thaw_token_bucket_wait(&bucket, now + SECOND / 100), 0);
	thaw_token_bucket_spend(&bucket, 1);
	assert_int_equal(thaw_token_bucket_wait(&bucket, now + SECOND / 100), SECOND / 100);
	/* It is full again, and not fuller, after any time. */
	now += 1000 * SECOND;
	for (unsigned int i = 0; i < 10; i++) {
		assert_int_equal(thaw_token_bucket_wait(&bucket, now), 0);
		thaw_token_bucket_spend(&bucket, 1);
	}
	assert_int_not_equal(thaw_token_bucket_wait(&bucket, now), 0);
}

/* More than the bucket holds passes, and is paid for before anything else does. */
static void test_debt(void **state)
{
	struct thaw_token_bucket bucket;

	(void)state;
	thaw_token_bucket_init(&bucket, 1000, 1000, 0);
	assert_int_equal(thaw_token_bucket_wait(&bucket, 0), 0);
	thaw_token_bucket_spend(&bucket, 1 << 20);
	uint64_t wait = thaw_token_bucket_wait(&bucket, 0);
	assert_int_equal(wait, ((1 << 20) - 1000 + 1) * (SECOND / 1000));
	assert_int_equal(thaw_token_bucket_wait(&bucket, wait - 1), 1);
	assert_int_equal(thaw_token_bucket_wait(&bucket, wait), 0);
}

/* Looked at often or seldom, the same comes of it: parts of a token are not lost. */
static void test_fractions(void **state)
{
	struct thaw_token_bucket bucket;
	uint64_t now = 0, spent = 0;

	(void)state;
	thaw_token_bucket_init(&bucket, 3, 7, now);
	for (; now < 100 * SECOND; now += 1234567) {
		while (thaw_token_bucket_wait(&bucket, now) == 0) {
			thaw_token_bucket_spend(&bucket, 1);
			spent++;
		}
	}
	assert_in_range(spent, 3 + 699, 3 + 700);
}

static void test_extremes(void **state)
{
	const uint64_t values[] = {
		1, 2, SECOND, 1ull << 61, (1ull << 61) + 1, UINT64_MAX / 2, UINT64_MAX};
	struct thaw_token_bucket bucket;

	(void)state;
	for (unsigned int i = 0; i < 7 * 7 * 7; i++) {
		uint64_t size = values[i % 7], rate = values[i / 7 % 7], cost = values[i / 49];
		thaw_token_bucket_init(&bucket, size, rate, 0);
		for (unsigned int n = 0; n < 5; n++)
			thaw_token_bucket_spend(&bucket, cost);
		uint64_t wait = thaw_token_bucket_wait(&bucket, 1);
		if (wait < UINT64_MAX - 1) {
			assert_int_equal(thaw_token_bucket_wait(&bucket, 1 + wait), 0);
			assert_int_equal(thaw_token_bucket_wait(&bucket, UINT64_MAX), 0);
		}
	}
	/* A clock that goes backwards takes nothing away, and gives nothing. */
	thaw_token_bucket_init(&bucket, 1, 1, SECOND);
	thaw_token_bucket_spend(&bucket, 1);
	assert_int_equal(thaw_token_bucket_wait(&bucket, 0), SECOND);
	assert_int_equal(thaw_token_bucket_wait(&bucket, 2 * SECOND), 0);
}

static void test_rate_limit(void **state)
{
	Thaw__Vmm__RateLimit from = THAW__VMM__RATE_LIMIT__INIT;
	Thaw__Vmm__TokenBucket bytes = THAW__VMM__TOKEN_BUCKET__INIT;
	Thaw__Vmm__TokenBucket operations = THAW__VMM__TOKEN_BUCKET__INIT;
	struct thaw_rate_limit limit;
	struct thaw_error err;
	uint64_t due = 0;

	(void)state;
	assert_int_equal(thaw_rate_limit_init(&limit, NULL, &err), 0);
	for (unsigned int i = 0; i < 100; i++) {
		assert_true(thaw_rate_limit_allows(&limit, &due));
		thaw_rate_limit_spend(&limit, UINT64_MAX);
	}
	assert_int_equal(due, 0);
	from.bytes = &bytes;
	from.operations = &operations;
	assert_int_equal(thaw_rate_limit_init(&limit, &from, &err), -EINVAL);
	bytes.size = bytes.per_second = operations.size = 1;
	assert_int_equal(thaw_rate_limit_init(&limit, &from, &err), -EINVAL);
	/* Either holds back what comes. */
	for (unsigned int i = 0; i < 2; i++) {
		bytes.size = bytes.per_second = i ? 1000 : 1;
		operations.size = operations.per_second = i ? 1 : 1000;
		assert_int_equal(thaw_rate_limit_init(&limit, &from, &err), 0);
		assert_true(thaw_rate_limit_allows(&limit, &due));
		thaw_rate_limit_spend(&limit, 1);
		assert_false(thaw_rate_limit_allows(&limit, &due));
		assert_in_range(due, thaw_monotonic_ns(), thaw_monotonic_ns() + SECOND);
	}
}

/* --- timers --- */

static struct thaw_loop loop;
static unsigned int called;

static void count(void *opaque)
{
	(void)opaque;
	called++;
}

static void test_timers(void **state)
{
	struct thaw_timer timers[3] = {{.handle = count}, {.handle = count}, {.handle = count}};
	struct thaw_error err;
	uint64_t began = thaw_monotonic_ns();

	(void)state;
	assert_int_equal(thaw_loop_create(&loop, &err), 0);
	called = 0;
	pthread_mutex_lock(&loop.lock);
	thaw_loop_set_timer(&loop, &timers[0], began + 30000000);
	thaw_loop_set_timer(&loop, &timers[1], began + 20000000);
	thaw_loop_set_timer(&loop, &timers[2], began + 10000000);
	thaw_loop_set_timer(&loop, &timers[2], began + 25000000);
	thaw_loop_cancel_timer(&loop, &timers[0]);
	thaw_loop_cancel_timer(&loop, &timers[0]);
	pthread_mutex_unlock(&loop.lock);
	while (called < 1)
		assert_true(thaw_loop_turn(&loop, 1000) >= 0);
	assert_true(thaw_monotonic_ns() - began >= 20000000);
	assert_false(timers[1].set);
	assert_true(timers[2].set);
	while (called < 2)
		assert_true(thaw_loop_turn(&loop, -1) >= 0);
	assert_true(thaw_monotonic_ns() - began >= 25000000);
	/* None is left: a wait is as long as it says. */
	assert_int_equal(thaw_loop_turn(&loop, 10), 0);
	assert_int_equal(called, 2);
	/* One far away does not make a short wait long. */
	thaw_loop_set_timer(&loop, &timers[0], UINT64_MAX - 1);
	while (thaw_loop_turn(&loop, 0) > 0)
		;
	assert_int_equal(thaw_loop_turn(&loop, 10), 0);
	thaw_loop_cancel_timer(&loop, &timers[0]);
	thaw_loop_destroy(&loop);
}

static void *set_later(void *timer)
{
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	pthread_mutex_lock(&loop.lock);
	thaw_loop_set_timer(&loop, timer, thaw_monotonic_ns() + 1000000);
	pthread_mutex_unlock(&loop.lock);
	return NULL;
}

/* Another thread sets one while the loop waits for ever. */
static void test_timer_of_another_thread(void **state)
{
	struct thaw_timer timer = {.handle = count};
	struct thaw_error err;
	pthread_t thread;

	(void)state;
	assert_int_equal(thaw_loop_create(&loop, &err), 0);
	called = 0;
	uint64_t began = thaw_monotonic_ns();
	assert_int_equal(pthread_create(&thread, NULL, set_later, &timer), 0);
	while (!called)
		assert_true(thaw_loop_turn(&loop, 20000) > 0);
	assert_true(thaw_monotonic_ns() - began < 10 * SECOND);
	pthread_join(thread, NULL);
	thaw_loop_destroy(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_burst_and_rate),
		cmocka_unit_test(test_debt),
		cmocka_unit_test(test_fractions),
		cmocka_unit_test(test_extremes),
		cmocka_unit_test(test_rate_limit),
		cmocka_unit_test(test_timers),
		cmocka_unit_test(test_timer_of_another_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
