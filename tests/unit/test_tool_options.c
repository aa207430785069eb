/* SPDX-License-Identifier: Apache-2.0 */
/* The options that tell of a function. What they must name is looked at later, not here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tools/function_options.h"

/* The exit code that a command leaves with before it does anything. */
static int parse(struct function_options *options, char **argv)
{
	static const struct option list[] = {FUNCTION_OPTIONS, TOOL_OPTIONS};
	struct tool tool = {0};
	int argc = 0, option;

	while (argv[argc])
		argc++;
	optind = 0;
	function_options_init(options);
	while ((option = tool_option(&tool, argc, argv, "", list, "help\n")) != TOOL_DONE) {
		if (option == TOOL_ERROR || function_options_take(options, option, optarg) < 0)
			return tool.helped ? TOOL_OK : TOOL_USAGE;
	}
	return function_options_check(options, "run") < 0 ? TOOL_USAGE : TOOL_OK;
}

#define PARSE(options, ...) parse(options, (char *[]){(char *)"run", __VA_ARGS__, NULL})
#define RUNTIME             (char *)"--runtime", (char *)"provided"
#define HANDLER             (char *)"--handler", (char *)"x"

static void test_code(void **state)
{
	struct function_options options;

	(void)state;
	/* A folder or a ZIP file, whatever it is called: the host looks. */
	assert_int_equal(PARSE(&options, RUNTIME, (char *)"--code", (char *)"dir", HANDLER),
			 TOOL_OK);
	assert_string_equal(options.code, "dir");
	function_options_clear(&options);
	assert_int_equal(PARSE(&options, (char *)"--code=a b.zip", RUNTIME, HANDLER), TOOL_OK);
	assert_string_equal(options.code, "a b.zip");
	function_options_clear(&options);
	assert_int_equal(PARSE(&options, RUNTIME, HANDLER), TOOL_USAGE);
	function_options_clear(&options);
	assert_int_equal(PARSE(&options, RUNTIME, HANDLER, (char *)"--code"), TOOL_USAGE);
	function_options_clear(&options);
	assert_int_equal(PARSE(&options, RUNTIME, HANDLER, (char *)"--code", (char *)"", HANDLER),
			 TOOL_USAGE);
	function_options_clear(&options);
	/* The last one counts, as with the other options. */
	assert_int_equal(PARSE(&options, RUNTIME, HANDLER, (char *)"--code", (char *)"a",
			       (char *)"--code", (char *)"b.zip"),
			 TOOL_OK);
	assert_string_equal(options.code, "b.zip");
	function_options_clear(&options);
}

#define LAYER(name) (char *)"--layer", (char *)(name)

static void test_layers(void **state)
{
	struct function_options options;

	(void)state;
	assert_int_equal(PARSE(&options, RUNTIME, HANDLER, (char *)"--code=c"), TOOL_OK);
	assert_int_equal(function_options_code(&options).layer_count, 0);
	function_options_clear(&options);
	assert_int_equal(PARSE(&options, RUNTIME, HANDLER, LAYER("a"), (char *)"--code=c",
			       LAYER("b.zip"), LAYER("a"), LAYER("d"), LAYER("e")),
			 TOOL_OK);
	struct thaw_cold_code code = function_options_code(&options);
	assert_string_equal(code.path, "c");
	assert_int_equal(code.layer_count, 5);
	assert_string_equal(code.layer_paths[0], "a");
	assert_string_equal(code.layer_paths[1], "b.zip");
	assert_string_equal(code.layer_paths[4], "e");
	function_options_clear(&options);
	assert_int_equal(PARSE(&options, RUNTIME, HANDLER, (char *)"--code=c", LAYER("a"),
			       LAYER("b"), LAYER("c"), LAYER("d"), LAYER("e"), LAYER("f")),
			 TOOL_USAGE);
	function_options_clear(&options);
	assert_int_equal(PARSE(&options, RUNTIME, HANDLER, (char *)"--code=c", LAYER("")),
			 TOOL_USAGE);
	function_options_clear(&options);
}

static void test_help_tells(void **state)
{
	static const char help[] = FUNCTION_OPTIONS_HELP;

	(void)state;
	assert_non_null(strstr(help, "  --code DIR|ZIP  "));
	assert_non_null(strstr(help, "  --layer DIR|ZIP  "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_code),
		cmocka_unit_test(test_layers),
		cmocka_unit_test(test_help_tells),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
