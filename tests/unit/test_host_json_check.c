/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "host/json_check.h"
#include "lib/error.h"

static int check(const char *text)
{
	return thaw_json_check((const uint8_t *)text, strlen(text), NULL);
}

static void test_good(void **state)
{
	static const char *const good[] = {
		"{}",
		"[]",
		" null ",
		"true",
		"false",
		"0",
		"-0",
		"1e400",
		"-1.5E+10",
		"123456789012345678901234567890",
		"\"\"",
		"\"\\u0000\\ud800\\\\\\/\"",
		"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
		"[1,2,[3,{\"a\":[]}]]",
		"{\"a\":1,\"a\":2}",
		"\r\n\t{ \"a\" : [ ] , \"b\" : { } }\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(check(good[i]), 0);
}

static void test_bad(void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		"{",
		"}",
		"[",
		"[1",
		"[1,",
		"[1,]",
		"{,}",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1,}",
		"{a:1}",
		"{'a':1}",
		"nul",
		"nulls",
		"tru",
		"01",
		"1.",
		".5",
		"+1",
		"-",
		"1e",
		"1e+",
		"0x10",
		"NaN",
		"Infinity",
		"\"",
		"\"\\x\"",
		"\"\\u12g4\"",
		"\"a\nb\"",
		"\"\x01\"",
		"\"\\",
		"[1 2]",
		"[1}",
		"{\"a\":1]",
		"1 2",
		"{} x",
		"\"\xff\"",
		"\"\xc0\x80\"",
		"\"\xed\xa0\x80\"",
		"\"\xe2\x82\"",
		"\"\xf4\x90\x80\x80\"",
		"\xef\xbb\xbf{}",
		"// c\n{}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (check(bad[i]) != -EINVAL)
			fail_msg("taken for JSON: %s", bad[i]);
	}
}

static void test_every_prefix_is_bad(void **state)
{
	static const char text[] = "{\"a\":[1.5e3,\"\\u00e9\\n\",true,null],\"b\":{}}";

	(void)state;
	for (size_t size = 0; size < sizeof(text) - 1; size++)
		assert_int_equal(thaw_json_check((const uint8_t *)text, size, NULL), -EINVAL);
	assert_int_equal(check(text), 0);
	/* A 0 byte is no end. */
	assert_int_equal(thaw_json_check((const uint8_t *)text, sizeof(text), NULL), -EINVAL);
}

static void test_depth(void **state)
{
	static uint8_t text[2 * (THAW_JSON_DEPTH_MAX + 1)];

	(void)state;
	memset(text, '[', THAW_JSON_DEPTH_MAX);
	memset(text + THAW_JSON_DEPTH_MAX, ']', THAW_JSON_DEPTH_MAX);
	assert_int_equal(thaw_json_check(text, 2ul * THAW_JSON_DEPTH_MAX, NULL), 0);
	memset(text, '[', THAW_JSON_DEPTH_MAX + 1);
	memset(text + THAW_JSON_DEPTH_MAX + 1, ']', THAW_JSON_DEPTH_MAX + 1);
	assert_int_equal(thaw_json_check(text, sizeof(text), NULL), -EINVAL);
}

static void test_place(void **state)
{
	struct thaw_error err = {0};
	static const char text[] = "{\n  \"a\": tru\n}";

	(void)state;
	assert_int_equal(thaw_json_check((const uint8_t *)text, strlen(text), &err), -EINVAL);
	assert_string_equal(err.message, "line 2, column 8: a value is wanted here");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_every_prefix_is_bad),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_place),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
