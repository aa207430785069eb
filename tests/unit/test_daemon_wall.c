/* SPDX-License-Identifier: Apache-2.0 */
/* A wall clock that is set: seen, or not worth seeing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/daemon/wall.h"

#define DAY 86400000

static void test_look(void **state)
{
	struct thaw_wall wall = {0};

	(void)state;
	assert_int_equal(thaw_wall_look(&wall, 5 * DAY, 1000), 0);
	assert_int_equal(thaw_wall_look(&wall, 5 * DAY + 1000, 2000), 0);
	/* A second of slewing. */
	assert_int_equal(thaw_wall_look(&wall, 5 * DAY + 3000, 3000), 0);
	assert_int_equal(thaw_wall_look(&wall, 6 * DAY + 4000, 4000), DAY);
	assert_int_equal(thaw_wall_look(&wall, 6 * DAY + 5000, 5000), 0);
	assert_int_equal(thaw_wall_look(&wall, 1 * DAY + 6000, 6000), -5 * DAY);
	/* We stood still, and both clocks went on. */
	assert_int_equal(thaw_wall_look(&wall, 2 * DAY + 6000, DAY + 6000), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_look)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
