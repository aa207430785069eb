/* SPDX-License-Identifier: Apache-2.0 */
/* thaw logs: what it prints, as text and as JSON, and what it refuses. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tools/tool.h"

#define FUNCTION "/logs/123456789012/orders"
#define FILE_0   FUNCTION "/2026-01-31.LATEST.0123456789abcdef0123456789abcdef.log"

static char data[] = "/tmp/thaw-tool-logs-XXXXXX";
static const char *const folders[] = {"/logs", "/logs/123456789012", FUNCTION};

static const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s%s", data, name);
	return path;
}

static int set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(data));
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		assert_int_equal(mkdir(path_of(folders[i]), 0700), 0);
	FILE *file = fopen(path_of(FILE_0), "w");
	assert_non_null(file);
	fputs("2026-01-31T12:00:00.000Z\tr1\tP\tSTART RequestId: r1 Version: $LATEST\n"
	      "2026-01-31T12:00:01.000Z\tr1\tF\thello \"you\"\n"
	      "2026-01-31T12:00:02.000Z\t-\tE\tbye\n",
	      file);
	return fclose(file);
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path_of(FILE_0));
	for (size_t i = sizeof(folders) / sizeof(folders[0]); i > 0; i--)
		rmdir(path_of(folders[i - 1]));
	return rmdir(data);
}

/* Runs the command; what it prints goes into `text`. */
static int run(char text[1024], char **argv)
{
	struct tool tool = {.state = data};
	FILE *out = tmpfile();
	int argc = 0, kept = dup(STDOUT_FILENO);

	while (argv[argc])
		argc++;
	fflush(stdout);
	assert_true(dup2(fileno(out), STDOUT_FILENO) >= 0);
	optind = 0;
	int code = cmd_logs(&tool, argc, argv);
	fflush(stdout);
	dup2(kept, STDOUT_FILENO);
	close(kept);
	rewind(out);
	text[fread(text, 1, 1023, out)] = 0;
	fclose(out);
	return code;
}

#define RUN(text, ...) run(text, (char *[]){(char *)"logs", (char *)"orders", __VA_ARGS__, NULL})

static void records_are_printed(void **state)
{
	char text[1024];

	(void)state;
	assert_int_equal(run(text, (char *[]){(char *)"logs", (char *)"orders", NULL}), TOOL_OK);
	assert_string_equal(
		text, "2026-01-31T12:00:00.000Z 01234567 START RequestId: r1 Version: $LATEST\n"
		      "2026-01-31T12:00:01.000Z 01234567 hello \"you\"\n"
		      "2026-01-31T12:00:02.000Z 01234567 bye\n");
	assert_int_equal(RUN(text, (char *)"--request-id", (char *)"r1", (char *)"--since",
			     (char *)"2026-01-31T13:00:01+01:00"),
			 TOOL_OK);
	assert_string_equal(text, "2026-01-31T12:00:01.000Z 01234567 hello \"you\"\n");
	assert_int_equal(RUN(text, (char *)"--until=2026-01-31T12:00:01Z", (char *)"--filter=x"),
			 TOOL_OK);
	assert_string_equal(text, "");
	assert_int_equal(RUN(text, (char *)"--filter", (char *)"bye", (char *)"--since=99999d"),
			 TOOL_OK);
	assert_string_equal(text, "2026-01-31T12:00:02.000Z 01234567 bye\n");
}

static void records_as_json(void **state)
{
	char text[1024];

	(void)state;
	assert_int_equal(RUN(text, (char *)"--json", (char *)"--since=2026-01-31T12:00:01Z"),
			 TOOL_OK);
	assert_string_equal(
		text, "{\"time\":\"2026-01-31T12:00:01.000Z\",\"account\":\"123456789012\","
		      "\"stream\":\"2026/01/31/[$LATEST]0123456789abcdef0123456789abcdef\","
		      "\"requestId\":\"r1\",\"kind\":\"function\",\"text\":\"hello \\\"you\\\"\"}\n"
		      "{\"time\":\"2026-01-31T12:00:02.000Z\",\"account\":\"123456789012\","
		      "\"stream\":\"2026/01/31/[$LATEST]0123456789abcdef0123456789abcdef\","
		      "\"kind\":\"extension\",\"text\":\"bye\"}\n");
}

static void what_is_refused(void **state)
{
	char text[1024];

	(void)state;
	assert_int_equal(RUN(text, (char *)"more"), TOOL_USAGE);
	assert_int_equal(RUN(text, (char *)"--since=soon"), TOOL_USAGE);
	assert_int_equal(RUN(text, (char *)"--since=m"), TOOL_USAGE);
	assert_int_equal(RUN(text, (char *)"--since=-5m"), TOOL_USAGE);
	assert_int_equal(RUN(text, (char *)"--account=1"), TOOL_USAGE);
	assert_int_equal(RUN(text, (char *)"--data=/nowhere"), TOOL_HOST);
	assert_string_equal(text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_are_printed),
		cmocka_unit_test(records_as_json),
		cmocka_unit_test(what_is_refused),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
