/* SPDX-License-Identifier: Apache-2.0 */
/* Work on threads: all of it is done, accounts take turns, and no line grows without bound. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/daemon/works.h"

#define MANY 20000

static _Atomic bool blocked;
static _Atomic int under_way, count;
static char order[64];

static void wait_blocked(void *context)
{
	(void)context;
	under_way++;
	while (blocked)
		usleep(200);
	under_way--;
}

static void note(void *context)
{
	order[count++] = *(const char *)context;
}

static void add(void *context)
{
	(void)context;
	count++;
}

static struct thaw_works *held(unsigned int per_account)
{
	struct thaw_works *works = thaw_works_new(1, per_account, NULL);

	assert_non_null(works);
	blocked = true;
	count = 0;
	assert_int_equal(thaw_works_submit(works, "000000000000", wait_blocked, NULL), 0);
	while (!under_way)
		usleep(200);
	return works;
}

static void test_turns(void **state)
{
	struct thaw_works *works = held(8);

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(thaw_works_submit(works, "111111111111", note, "a"), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(thaw_works_submit(works, "222222222222", note, "b"), 0);
	assert_int_equal(thaw_works_submit(works, "333333333333", note, "c"), 0);
	blocked = false;
	thaw_works_free(works); /* does what is in line */
	assert_int_equal(count, 7);
	order[count] = 0;
	/* Nobody's second before everybody's first. */
	assert_memory_equal(order, "abc", 3);
	assert_memory_equal(order + 3, "ab", 2);
	assert_string_equal(order + 5, "aa");
}

static void test_bound(void **state)
{
	struct thaw_works *works = held(3);

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(thaw_works_submit(works, "111111111111", note, "a"), 0);
	assert_int_equal(thaw_works_submit(works, "111111111111", note, "a"), -EAGAIN);
	/* It is that account's line that is full. */
	assert_int_equal(thaw_works_submit(works, "222222222222", note, "b"), 0);
	blocked = false;
	thaw_works_free(works);
	assert_int_equal(count, 4);
}

static void test_many(void **state)
{
	struct thaw_works *works = thaw_works_new(4, MANY, NULL);
	static const char *const accounts[] = {"1", "2", "3", "4", "5"};

	(void)state;
	count = 0;
	for (int i = 0; i < MANY; i++)
		assert_int_equal(thaw_works_submit(works, accounts[i % 5], add, NULL), 0);
	thaw_works_free(works);
	assert_int_equal(count, MANY);
	thaw_works_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_turns),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
