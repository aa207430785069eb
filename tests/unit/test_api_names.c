/* SPDX-License-Identifier: Apache-2.0 */
/* Names of functions, layers and what else has a pattern, at their edges and one past them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/api/names.h"
#include "host/api/validation.h"

static struct thaw_validation validation;
static char message[THAW_VALIDATION_TEXT_MAX + 64];

static const char *text_of(char c, size_t count)
{
	static char text[20000];

	memset(text, c, count);
	text[count] = 0;
	return text;
}

static int function(const char *text, bool namespaced, struct thaw_function_name *name)
{
	thaw_validation_init(&validation);
	return thaw_function_name_parse(text, namespaced, "functionName", name, &validation);
}

static void test_functions(void **state)
{
	static const struct {
		const char *text, *region, *account, *name, *qualifier;
	} good[] = {
		{"hello", "", "", "hello", ""},
		{"hello:1", "", "", "hello", "1"},
		{"hello:$LATEST", "", "", "hello", "$LATEST"},
		{"A-z_09:live", "", "", "A-z_09", "live"},
		{"function:hello", "", "", "hello", ""},
		{"function", "", "", "function", ""},
		{"function:$LATEST", "", "", "function", "$LATEST"},
		{"123456789012:hello", "", "123456789012", "hello", ""},
		{"123456789012:function:hello:7", "", "123456789012", "hello", "7"},
		{"123456789012:function", "", "123456789012", "function", ""},
		{"123456789012", "", "", "123456789012", ""},
		{"12345678901:hello", "", "", "12345678901", "hello"},
		{"arn:aws:lambda:us-east-1:123456789012:function:hello", "us-east-1",
		 "123456789012", "hello", ""},
		{"arn:aws-cn:lambda:cn-north-1:123456789012:function:hello:$LATEST", "cn-north-1",
		 "123456789012", "hello", "$LATEST"},
		{"arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:a:b", "us-gov-west-1",
		 "123456789012", "a", "b"},
		{"arn:aws-iso-b:lambda:us-isob-east-1:123456789012:function:a", "us-isob-east-1",
		 "123456789012", "a", ""},
		{"arn:aws-eusc:lambda:eusc-de-east-1:123456789012:function:a", "eusc-de-east-1",
		 "123456789012", "a", ""},
		{"us-gov-1:hello", "us-gov-1", "", "hello", ""},
		{"us-isoa-1:hello", "us-isoa-1", "", "hello", ""},
		{"eusc-ar", "", "", "eusc-ar", ""},
		{"arn", "", "", "arn", ""},
		{"arn:aws", "", "", "arn", "aws"},
	};
	static const char *const bad[] = {
		"",
		":",
		"a:",
		":a",
		"a b",
		"a/b",
		"a.b",
		"a:b:c",
		"\xc3\xa9",
		"a:$latest",
		"a:$LATEST2",
		"function:",
		"a\n",
		"a:b\n",
		"arn:aws:lambda:us-east-1:123456789012:layer:a",
		"arn:aws:lambda:us-east-1:12345678901:function:a",
		"arn:aws:lambda:us-east-1:1234567890123:function:a",
		"arn:aws:lambda:useast1:123456789012:function:a",
		"arn:aws:lambda:us-east-12:123456789012:function:a",
		"arn:aws:s3:us-east-1:123456789012:function:a",
		"arn:aws:lambda:us-east-1:123456789012:a:b:c",
		"arn:aws:lambda:us-east-1:123456789012:a",
		"arn:aws:lambda:us-east-1:123456789012:function:a:b:c",
		"arn:aws:lambda:us-east-1:123456789012:function:",
		"arn:AWS:lambda:us-east-1:123456789012:function:a",
	};
	struct thaw_function_name name;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (function(good[i].text, i % 2, &name) < 0)
			fail_msg("%s is refused", good[i].text);
		assert_string_equal(name.region, good[i].region);
		assert_string_equal(name.account, good[i].account);
		assert_string_equal(name.name, good[i].name);
		assert_string_equal(name.qualifier, good[i].qualifier);
		assert_false(thaw_validation_failed(&validation));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (function(bad[i], false, &name) == 0)
			fail_msg("\"%s\" passes", bad[i]);
		assert_true(thaw_validation_failed(&validation));
	}
	assert_int_equal(function("a:$LATEST.PUBLISHED", true, &name), 0);
	assert_int_equal(function("a:$LATEST.PUBLISHED", false, &name), -EINVAL);
}

static void test_lengths(void **state)
{
	struct thaw_function_name name;
	char text[512];

	(void)state;
	assert_int_equal(function(text_of('a', 64), false, &name), 0);
	assert_int_equal(strlen(name.name), 64);
	assert_int_equal(function(text_of('a', 65), false, &name), -EINVAL);
	assert_non_null(strstr(validation.text, "less than or equal to 64"));
	assert_int_equal(function(text_of('a', 140), false, &name), -EINVAL);
	assert_non_null(strstr(validation.text, "less than or equal to 64"));
	assert_int_equal(function(text_of('a', 141), false, &name), -EINVAL);
	assert_non_null(strstr(validation.text, "less than or equal to 140"));
	assert_int_equal(function(text_of('a', 257), true, &name), -EINVAL);
	assert_non_null(strstr(validation.text, "less than or equal to 256"));
	assert_int_equal(function(text_of('a', 19999), true, &name), -EINVAL);
	assert_int_equal(validation.count, 2); /* and no matcher was given that much */
	/* A name of 11 characters and a qualifier of 128: 140 in all; 129 is one too many. */
	snprintf(text, sizeof(text), "hello-world:%.200s", text_of('q', 128));
	assert_int_equal(function(text, false, &name), 0);
	assert_int_equal(strlen(name.qualifier), 128);
	snprintf(text, sizeof(text), "hello-world:%.200s", text_of('q', 129));
	assert_int_equal(function(text, true, &name), -EINVAL);
	assert_non_null(strstr(validation.text, "'qualifier'"));
	assert_non_null(strstr(validation.text, "less than or equal to 128"));
}

static void test_qualify(void **state)
{
	struct thaw_function_name name;

	(void)state;
	assert_int_equal(function("a:1", false, &name), 0);
	assert_int_equal(thaw_function_qualify(&name, "1", &validation), 0);
	assert_int_equal(thaw_function_qualify(&name, "2", &validation), -EEXIST);
	assert_int_equal(thaw_function_qualify(&name, NULL, &validation), 0);
	assert_int_equal(thaw_function_qualify(&name, "", &validation), 0);
	assert_false(thaw_validation_failed(&validation));
	assert_int_equal(function("a", false, &name), 0);
	assert_int_equal(thaw_function_qualify(&name, "a b", &validation), -EINVAL);
	assert_int_equal(thaw_function_qualify(&name, "$LATEST", &validation), 0);
	assert_string_equal(name.qualifier, "$LATEST");
}

static void test_layers(void **state)
{
	struct thaw_layer_name layer;

	(void)state;
	thaw_validation_init(&validation);
	assert_int_equal(thaw_layer_name_parse("tools", "layerName", &layer, &validation), 0);
	assert_string_equal(layer.name, "tools");
	assert_int_equal(thaw_layer_name_parse("arn:aws:lambda:eu-west-1:123456789012:layer:tools",
					       "layerName", &layer, &validation),
			 0);
	assert_string_equal(layer.region, "eu-west-1");
	assert_string_equal(layer.account, "123456789012");
	assert_string_equal(layer.name, "tools");
	assert_int_equal(thaw_layer_name_parse(text_of('a', 140), "l", &layer, &validation), 0);
	assert_int_equal(strlen(layer.name), 140);
	assert_int_equal(thaw_layer_name_parse(text_of('a', 141), "l", &layer, &validation),
			 -EINVAL);
	assert_int_equal(thaw_layer_name_parse("", "l", &layer, &validation), -EINVAL);
	assert_int_equal(thaw_layer_name_parse("a:1", "l", &layer, &validation), -EINVAL);
	const char *arn = "arn:aws:lambda:eu-west-1:123456789012:layer:tools:9223372036854775807";
	assert_int_equal(thaw_layer_version_parse(arn, "layers", &layer, &validation), 0);
	assert_true(layer.version == INT64_MAX);
	static const char *const bad[] = {
		"tools:1",
		"arn:aws:lambda:eu-west-1:123456789012:layer:tools",
		"arn:aws:lambda:eu-west-1:123456789012:layer:tools:",
		"arn:aws:lambda:eu-west-1:123456789012:layer:tools:0",
		"arn:aws:lambda:eu-west-1:123456789012:layer:tools:-1",
		"arn:aws:lambda:eu-west-1:123456789012:layer:tools:1a",
		"arn:aws:lambda:eu-west-1:123456789012:layer:tools:9223372036854775808",
		"arn:aws:lambda:eu-west-1:123456789012:layer:tools:99999999999999999999999",
		"arn:aws:lambda:eu-west-1:123456789012:function:tools:1",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(thaw_layer_version_parse(bad[i], "layers", &layer, &validation),
				 -EINVAL);
}

static void test_shapes(void **state)
{
	static const struct {
		enum thaw_shape shape;
		size_t max;
		const char *good[4], *bad[8];
	} shapes[] = {
		{THAW_SHAPE_ALIAS,
		 128,
		 {"live", "1a", "-_"},
		 {"", "1", "123", "a b", "$LATEST", "a\n"}},
		{THAW_SHAPE_VERSION, 0, {"1", "$LATEST"}, {"", "a", "$LATEST1", "1\n", "-1"}},
		{THAW_SHAPE_QUALIFIER, 128, {"1", "$LATEST", "a-b_c"}, {"a b", "a:b", "a\n"}},
		{THAW_SHAPE_HANDLER,
		 128,
		 {"app.handler", "\xc3\xa9.x", "a::b"},
		 {"", "a b", "a\tb", "a\n"}},
		{THAW_SHAPE_DESCRIPTION, 256, {"", "any text\n"}, {NULL}},
		{THAW_SHAPE_STATEMENT_ID, 100, {"a", "1-_"}, {"", "a.b", "a b"}},
		{THAW_SHAPE_ACTION,
		 0,
		 {"*", "lambda:*", "lambda:InvokeFunction"},
		 {"", "lambda:", "s3:x", "lambda:a1"}},
		{THAW_SHAPE_SOURCE_ARN,
		 0,
		 {"arn:aws:s3:::b", "arn:aws:sns:us-east-1:123456789012:t"},
		 {"", "s3", "arn:aws:s3"}},
		{THAW_SHAPE_SOURCE_ACCOUNT,
		 0,
		 {"123456789012"},
		 {"", "12345678901", "1234567890123", "12345678901a"}},
		{THAW_SHAPE_ROLE,
		 0,
		 {"arn:aws:iam::123456789012:role/any",
		  "arn:aws:iam::123456789012:role/p/a+=,.@-_"},
		 {"", "any", "arn:aws:iam::12:role/a", "arn:aws:iam::123456789012:user/a",
		  "arn:aws:iam::123456789012:role/a b"}},
		{THAW_SHAPE_VARIABLE_NAME, 0, {"AB", "a_1"}, {"", "A", "1A", "_A", "A-B"}},
		{THAW_SHAPE_TENANT_ID, 256, {"a b@c", "x"}, {"", "a\n", "a#"}},
		{THAW_SHAPE_TAG_KEY,
		 128,
		 {"team", "a b:/=+-@._", "\xc3\xa9\xe6\x97\xa5", "\xc2\xb2"},
		 {"", "a\n", "a;b", "a\xff", "\xf0\x9f\x98\x80", "a,b"}},
		{THAW_SHAPE_TAG_VALUE, 256, {"", "\xe3\x80\x80x", "9"}, {"a*", "\t"}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		for (size_t k = 0; k < 4 && shapes[i].good[k]; k++) {
			thaw_validation_init(&validation);
			if (thaw_shape_check(shapes[i].shape, shapes[i].good[k], "x", &validation))
				fail_msg("%s", validation.text);
		}
		for (size_t k = 0; k < 8 && shapes[i].bad[k]; k++) {
			thaw_validation_init(&validation);
			if (!thaw_shape_check(shapes[i].shape, shapes[i].bad[k], "x", &validation))
				fail_msg("shape %d takes \"%s\"", shapes[i].shape,
					 shapes[i].bad[k]);
		}
		size_t max = shapes[i].max;
		thaw_validation_init(&validation);
		if (max) {
			assert_int_equal(thaw_shape_check(shapes[i].shape, text_of('a', max), "x",
							  &validation),
					 0);
			assert_int_equal(thaw_shape_check(shapes[i].shape, text_of('a', max + 1),
							  "x", &validation),
					 -EINVAL);
			assert_int_equal(validation.count, 1);
		}
		thaw_shape_check(shapes[i].shape, text_of('a', 19999), "x", &validation);
	}
}

static void test_messages(void **state)
{
	struct thaw_function_name name;

	(void)state;
	assert_int_equal(function("a b", false, &name), -EINVAL);
	thaw_validation_add(&validation, "127", "memorySize",
			    "Member must have value greater than or equal to %d", 128);
	thaw_validation_add(&validation, NULL, "role", "Member must not be null");
	assert_string_equal(thaw_validation_message(&validation, message, sizeof(message)),
			    "ValidationException");
	assert_string_equal(
		message,
		"3 validation errors detected: Value 'a b' at 'functionName' failed to satisfy "
		"constraint: Member must satisfy regular expression pattern: "
		"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-"
		"\\d{1}"
		":)?"
		"(\\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?; "
		"Value '127' at 'memorySize' failed to satisfy constraint: Member must have value "
		"greater than or equal to 128; "
		"Value null at 'role' failed to satisfy constraint: Member must not be null");
	/* However much is wrong, the text is whole, printable and bounded. */
	thaw_validation_init(&validation);
	for (int i = 0; i < 1000; i++)
		thaw_validation_add(&validation, text_of('\xc3', 19999), text_of('m', 19999), "%s",
				    text_of('c', 19999));
	assert_int_equal(validation.count, 1000);
	thaw_validation_message(&validation, message, sizeof(message));
	assert_non_null(strstr(message, "1000 validation errors detected: "));
	thaw_validation_init(&validation);
	thaw_validation_add(&validation, "\x1b[31m\xc3\xa9\xff", "x", "c");
	assert_non_null(strstr(validation.text, "'?[31m\xc3\xa9?'"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_functions), cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_qualify),   cmocka_unit_test(test_layers),
		cmocka_unit_test(test_shapes),    cmocka_unit_test(test_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
