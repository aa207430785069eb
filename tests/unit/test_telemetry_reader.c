/* SPDX-License-Identifier: Apache-2.0 */
/* Reading logs: all streams in the order of time, what was asked for, damage, and following. */
#include <errno.h>
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

#include "host/telemetry/log_reader.h"
#include "lib/error.h"
#include "tests/unit/service_telemetry_harness.h"

#define AT(second) "2026-01-31T12:00:" second ".000Z"

static struct thaw_log_reader *reader_open(struct logs_fixture *f, struct thaw_log_query query)
{
	struct thaw_error err = {0};

	if (!query.function)
		query.function = "orders";
	if (!query.since_ms)
		query.since_ms = THAW_LOG_TIME_FIRST;
	struct thaw_log_reader *reader = thaw_log_reader_open(f->data, &query, &err);
	assert_string_equal(err.message, "");
	assert_non_null(reader);
	return reader;
}

/* The texts that there are now, each with a space behind it. */
static void check_next(struct thaw_log_reader *reader, const char *expected)
{
	char all[1024] = "";
	struct thaw_log_entry entry;

	while (thaw_log_reader_next(reader, &entry)) {
		size_t used = strlen(all);
		snprintf(all + used, sizeof(all) - used, "%.*s ", (int)entry.text_size, entry.text);
	}
	assert_string_equal(all, expected);
}

static void check_query(struct logs_fixture *f, struct thaw_log_query query, const char *expected)
{
	struct thaw_log_reader *reader = reader_open(f, query);

	check_next(reader, expected);
	assert_int_equal(thaw_log_reader_damage(reader), 0);
	thaw_log_reader_close(reader);
}

static int64_t ms_of(const char *text)
{
	int64_t ms = 0;

	assert_int_equal(thaw_log_time_parse(text, strlen(text), &ms), 0);
	return ms;
}

static void write_three(struct logs_fixture *f)
{
	logs_write(f, "orders", LOGS_FILE("0") ".1",
		   AT("01") "\tr1\tP\ta\n" AT("04") "\tr1\tF\td\n");
	logs_write(f, "orders", LOGS_FILE("0"), AT("04") "\tr2\tF\te\n" AT("09") "\t-\tE\th\n");
	logs_write(f, "orders", LOGS_FILE("1"),
		   AT("02") "\tr3\tF\tb\n" AT("03") "\tr3\tF\tc\n" AT("05") "\tr3\tF\tf\n"
		   /* A clock that was set back does not change the order within a stream. */
		   AT("08") "\tr4\tF\tg\n" AT("01") "\tr4\tF\tg2\n");
	logs_write(f, "others", LOGS_FILE("2"), AT("02") "\tr1\tF\tforeign\n");
}

static void streams_are_merged(void **state)
{
	struct thaw_log_entry entry;
	struct logs_fixture f;

	(void)state;
	logs_setup(&f, NULL);
	write_three(&f);
	check_query(&f, (struct thaw_log_query){0}, "a b c d e f g g2 h ");
	struct thaw_log_reader *reader = reader_open(&f, (struct thaw_log_query){0});
	assert_int_equal(thaw_log_reader_next(reader, &entry), 1);
	assert_string_equal(entry.account, LOGS_ACCOUNT);
	assert_string_equal(entry.stream, LOGS_STREAM("0"));
	assert_string_equal(entry.request_id, "r1");
	assert_int_equal(entry.kind, THAW_LOG_KIND_PLATFORM);
	assert_int_equal(entry.time_ms, ms_of(AT("01")));
	thaw_log_reader_close(reader);
	logs_teardown(&f);
}

static void what_was_asked_for(void **state)
{
	struct logs_fixture f;
	char other[128];

	(void)state;
	logs_setup(&f, NULL);
	write_three(&f);
	/* The same function of another account. */
	snprintf(other, sizeof(other), "%s/logs/2", f.path);
	assert_int_equal(mkdir(other, 0700), 0);
	strcat(other, "/orders");
	assert_int_equal(mkdir(other, 0700), 0);
	strcat(other, "/" LOGS_FILE("7"));
	FILE *file = fopen(other, "w");
	fputs(AT("06") "\tr9\tF\tx2\n", file);
	fclose(file);
	check_query(&f, (struct thaw_log_query){0}, "a b c d e f x2 g g2 h ");
	check_query(&f, (struct thaw_log_query){.account = "2"}, "x2 ");
	check_query(&f, (struct thaw_log_query){.account = LOGS_ACCOUNT}, "a b c d e f g g2 h ");
	check_query(&f, (struct thaw_log_query){.since_ms = ms_of(AT("05"))}, "f x2 g h ");
	check_query(&f, (struct thaw_log_query){.until_ms = ms_of(AT("04"))}, "a b c g2 ");
	check_query(&f, (struct thaw_log_query){.request_id = "r3"}, "b c f ");
	check_query(&f, (struct thaw_log_query){.stream = LOGS_STREAM("1")}, "b c f g g2 ");
	check_query(&f, (struct thaw_log_query){.filter = "g"}, "g g2 ");
	check_query(&f, (struct thaw_log_query){.filter = ""}, "a b c d e f x2 g g2 h ");
	check_query(&f, (struct thaw_log_query){.filter = "xx"}, "");
	logs_teardown(&f);
}

static void what_is_not_there(void **state)
{
	struct thaw_log_query query = {.function = "orders"};
	struct thaw_error err = {0};
	struct logs_fixture f;

	(void)state;
	logs_setup(&f, NULL);
	assert_null(thaw_log_reader_open(f.data, &query, &err));
	assert_int_equal(err.code, ENOENT);
	query.function = "../orders";
	assert_null(thaw_log_reader_open(f.data, &query, &err));
	assert_int_equal(err.code, EINVAL);
	query.function = "orders";
	query.account = "..";
	assert_null(thaw_log_reader_open(f.data, &query, &err));
	assert_int_equal(err.code, EINVAL);
	logs_teardown(&f);
}

static void damage_is_passed_over(void **state)
{
	size_t large = THAW_LOG_LINE_MAX * 3;
	char *text = malloc(large + 512);
	struct logs_fixture f;

	(void)state;
	logs_setup(&f, NULL);
	/* A line longer than any record, one that is none, an empty one, a hostile text, and one
	 * that has no end yet. */
	memset(text, 'x', large);
	strcpy(text + large, "\n" AT("01") "\tr1\tF\ta\nrubbish\n\n" AT(
				     "02") "\tr1\tF\t\033[2J\n" AT("03") "\tr1\tF\tunfinished");
	logs_write(&f, "orders", LOGS_FILE("0"), text);
	free(text);
	logs_write(&f, "orders", "notes.txt", AT("01") "\tr1\tF\tnote\n");
	assert_int_equal(symlink(LOGS_FILE("0"), logs_path(&f, "orders", LOGS_FILE("1"))), 0);
	assert_int_equal(mkfifo(logs_path(&f, "orders", LOGS_FILE("2")), 0600), 0);
	/* And where a folder should be. */
	char link[128];
	snprintf(link, sizeof(link), "%s/logs/link", f.path);
	assert_int_equal(symlink(LOGS_ACCOUNT, link), 0);
	struct thaw_log_reader *reader = reader_open(&f, (struct thaw_log_query){0});
	check_next(reader, "a \\x1b[2J ");
	assert_int_equal(thaw_log_reader_damage(reader), 5);
	thaw_log_reader_close(reader);
	logs_teardown(&f);
}

static void print(struct thaw_log_stream *stream, const char *text)
{
	logs_print(stream, "r1", text);
	thaw_log_stream_flush(stream);
}

/* Waits until `expected` has come, in as many pieces as it likes. */
static void check_follow(struct thaw_log_reader *reader, const char *expected)
{
	struct thaw_error err = {0};
	char all[1024] = "";
	struct thaw_log_entry entry;

	while (strlen(all) < strlen(expected)) {
		while (thaw_log_reader_next(reader, &entry)) {
			size_t used = strlen(all);
			snprintf(all + used, sizeof(all) - used, "%.*s ", (int)entry.text_size,
				 entry.text);
		}
		if (strlen(all) < strlen(expected))
			assert_int_equal(thaw_log_reader_wait(reader, 2000, &err), 1);
	}
	assert_string_equal(all, expected);
}

static void following(void **state)
{
	const struct thaw_logs_config config = {.file_max = 100};
	struct thaw_error err = {0};
	struct logs_fixture f;

	(void)state;
	logs_setup(&f, &config);
	/* Before there is anything of the function, or of its account. */
	struct thaw_log_reader *reader = reader_open(&f, (struct thaw_log_query){.follow = true});
	check_next(reader, "");
	assert_int_equal(thaw_log_reader_wait(reader, 0, &err), 0);
	struct thaw_log_stream *one = logs_stream(&f, "orders", LOGS_STREAM("0"));
	struct thaw_log_stream *two = logs_stream(&f, "orders", LOGS_STREAM("1"));
	print(one, "a\n");
	check_follow(reader, "a ");
	print(two, "b\n");
	check_follow(reader, "b ");
	/* Renamed after each two, and none is told twice or missed. */
	for (int i = 0; i < 3; i++) {
		print(one, "c\n");
		print(one, "d\n");
		check_follow(reader, "c d ");
	}
	/* Removed, and begun anew. */
	assert_int_equal(thaw_logs_sweep(f.logs, INT64_C(1) << 40, NULL, &err), 0);
	print(one, "e\n");
	print(two, "f\n");
	check_follow(reader, "e f ");
	/* A line comes when it is whole. */
	FILE *file = fopen(logs_path(&f, "orders", LOGS_FILE("1")), "a");
	fputs(AT("59") "\tr1\tF\tg", file);
	fflush(file);
	thaw_log_reader_wait(reader, 2000, &err);
	check_next(reader, "");
	fputs("h\n", file);
	fclose(file);
	check_follow(reader, "gh ");
	assert_int_equal(thaw_log_reader_damage(reader), 0);
	thaw_log_stream_close(one);
	thaw_log_stream_close(two);
	thaw_log_reader_close(reader);
	logs_teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_are_merged), cmocka_unit_test(what_was_asked_for),
		cmocka_unit_test(what_is_not_there),  cmocka_unit_test(damage_is_passed_over),
		cmocka_unit_test(following),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
