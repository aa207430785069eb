/* SPDX-License-Identifier: Apache-2.0 */
/* What functions print, on the disk: lines of pieces, hostile texts, the rate, rotation, a full
 * disk. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "tests/unit/service_telemetry_harness.h"

/* Each line must be a record; their ids, kinds and texts without the time. */
static char *records(char *text)
{
	char *all = calloc(1, strlen(text) + 1), *to = all;
	struct thaw_log_record record;

	for (char *line = text; *line;) {
		char *end = strchr(line, '\n');
		assert_non_null(end);
		assert_int_equal(thaw_log_line_parse(line, (size_t)(end - line), &record), 0);
		size_t rest = (size_t)(end - line) + 1 - THAW_LOG_TIME;
		memcpy(to, line + THAW_LOG_TIME, rest);
		to += rest;
		line = end + 1;
	}
	free(text);
	return all;
}

static void check_file(struct logs_fixture *f, const char *file, const char *expected)
{
	char *text = records(logs_read(f, "orders", file));

	assert_string_equal(text, expected);
	free(text);
}

static size_t count_of(const char *text, const char *part)
{
	size_t count = 0;

	for (; (text = strstr(text, part)); text++)
		count++;
	return count;
}

static void lines_are_put_together(void **state)
{
	struct logs_fixture f;
	struct stat st;

	(void)state;
	logs_setup(&f, NULL);
	struct thaw_log_stream *s = logs_stream(&f, "orders", LOGS_STREAM("0"));
	thaw_log_stream_write(s, THAW_LOG_KIND_PLATFORM, "r1", (const uint8_t *)"START\n", 6);
	logs_print(s, "r1", "on");
	thaw_log_stream_write(s, THAW_LOG_KIND_EXTENSION, NULL, (const uint8_t *)"ext", 3);
	logs_print(s, "r1", "e\r\n\ntw");
	logs_print(s, "r1", "o");
	/* Nothing is written before the invocation ends. */
	assert_false(logs_exists(&f, "orders", LOGS_FILE("0")));
	thaw_log_stream_flush(s);
	check_file(&f, LOGS_FILE("0"),
		   "r1\tP\tSTART\nr1\tF\tone\nr1\tF\t\nr1\tF\ttwo\n-\tE\text\n");
	thaw_log_stream_flush(s);
	logs_print(s, "r2", "three");
	thaw_log_stream_close(s);
	check_file(&f, LOGS_FILE("0"),
		   "r1\tP\tSTART\nr1\tF\tone\nr1\tF\t\nr1\tF\ttwo\n-\tE\text\nr2\tF\tthree\n");
	assert_int_equal(stat(logs_path(&f, "orders", LOGS_FILE("0")), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(logs_path(&f, "orders", ""), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	logs_teardown(&f);
}

static void a_record_cannot_forge_another(void **state)
{
	struct logs_fixture f;

	(void)state;
	logs_setup(&f, NULL);
	struct thaw_log_stream *s = logs_stream(&f, "orders", LOGS_STREAM("0"));
	logs_print(s, "r1", "\033]0;x\007\r2026-01-31T12:00:00.000Z\tr2\tP\tREPORT\xff\n");
	thaw_log_stream_close(s);
	check_file(
		&f, LOGS_FILE("0"),
		"r1\tF\t\\x1b]0;x\\x07\\x0d2026-01-31T12:00:00.000Z\tr2\tP\tREPORT\xef\xbf\xbd\n");
	logs_teardown(&f);
}

static void long_lines_are_cut(void **state)
{
	size_t max = THAW_LOG_TEXT_MAX;
	char *text = malloc(3 * max);
	struct logs_fixture f;

	(void)state;
	logs_setup(&f, NULL);
	struct thaw_log_stream *s = logs_stream(&f, "orders", LOGS_STREAM("0"));
	memset(text, 'x', 3 * max);
	/* A character across the cut goes whole into the next record. */
	memcpy(text + max - 1, "\xc3\xbc", 2);
	text[2 * max] = '\n';
	for (size_t at = 0; at <= 2 * max; at += 1000) {
		size_t left = 2 * max + 1 - at;
		thaw_log_stream_write(s, THAW_LOG_KIND_FUNCTION, "r1", (uint8_t *)text + at,
				      left < 1000 ? left : 1000);
	}
	/* Just the limit is one record. */
	memset(text, 'y', max);
	text[max] = '\n';
	thaw_log_stream_write(s, THAW_LOG_KIND_FUNCTION, "r1", (uint8_t *)text, max + 1);
	thaw_log_stream_flush(s);
	char *all = records(logs_read(&f, "orders", LOGS_FILE("0")));
	assert_int_equal(count_of(all, "\n"), 4);
	assert_int_equal(strcspn(all, "\n"), 5 + max - 1);
	assert_memory_equal(strchr(all, '\n') + 1, "r1\tF\t\xc3\xbcx", 8);
	char *last = strstr(all, "y");
	assert_int_equal(strspn(last, "y"), max);
	free(all);
	/* A line cut just where it ends leaves no empty record behind. */
	memset(text, 'z', 2 * max);
	thaw_log_stream_write(s, THAW_LOG_KIND_FUNCTION, "r1", (uint8_t *)text, 2 * max);
	thaw_log_stream_write(s, THAW_LOG_KIND_FUNCTION, "r1", (const uint8_t *)"\n", 1);
	thaw_log_stream_close(s);
	all = records(logs_read(&f, "orders", LOGS_FILE("0")));
	assert_int_equal(count_of(all, "\n"), 6);
	free(all);
	free(text);
	logs_teardown(&f);
}

static void a_flood_is_dropped_and_told(void **state)
{
	const struct thaw_logs_config config = {.rate = 1, .burst = 1000};
	struct thaw_logs_counts counts;
	struct logs_fixture f;

	(void)state;
	logs_setup(&f, &config);
	struct thaw_log_stream *s = logs_stream(&f, "orders", LOGS_STREAM("0"));
	for (int i = 0; i < 1000; i++)
		logs_print(s, "r1", "0123456789\n");
	/* The platform's own come through. */
	thaw_log_stream_write(s, THAW_LOG_KIND_PLATFORM, "r1", (const uint8_t *)"END\n", 4);
	thaw_log_stream_close(s);
	char *all = records(logs_read(&f, "orders", LOGS_FILE("0")));
	size_t kept = count_of(all, "0123456789\n");
	char note[128];
	snprintf(note, sizeof(note), "[%zu bytes of logs were dropped here", (1000 - kept) * 11);
	assert_true(kept >= 10 && kept <= 40);
	assert_non_null(strstr(all, note));
	assert_non_null(strstr(all, "\tP\tEND\n"));
	thaw_logs_count(f.logs, &counts);
	assert_int_equal(counts.dropped_bytes, (1000 - kept) * 11);
	assert_int_equal(counts.lost_records, 0);
	assert_int_equal(counts.records, kept + 2);
	free(all);
	logs_teardown(&f);
}

/* A guest that prints just what makes most of it: the file stays within the rate. */
static void a_flood_of_nothing_is_bounded(void **state)
{
	const struct thaw_logs_config config = {.rate = 10000, .burst = 10000};
	struct logs_fixture f;

	(void)state;
	logs_setup(&f, &config);
	struct thaw_log_stream *s = logs_stream(&f, "orders", LOGS_STREAM("0"));
	uint64_t begun = thaw_monotonic_ns();
	while (thaw_monotonic_ns() - begun < 200000000) {
		for (int i = 0; i < 100; i++)
			logs_print(s, "r1", "\n");
	}
	thaw_log_stream_close(s);
	double seconds = (double)(thaw_monotonic_ns() - begun) / 1e9;
	char *text = logs_read(&f, "orders", LOGS_FILE("0"));
	assert_true((double)strlen(text) < 10000 * (1 + seconds) + 1000);
	free(text);
	logs_teardown(&f);
}

static uint64_t cpu_ms(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * 1000 + (uint64_t)used.tv_nsec / 1000000;
}

/* Lines of nothing cost a guest a byte each; us they must not cost a look each. */
static void a_flood_of_nothing_is_cheap(void **state)
{
	enum { PIECE = 64 << 10, PIECES = 512 };
	const struct thaw_logs_config config = {.rate = 1, .burst = 1000};
	struct thaw_logs_counts counts;
	struct logs_fixture f;
	uint8_t *piece = malloc(PIECE);

	(void)state;
	assert_non_null(piece);
	memset(piece, '\n', PIECE);
	logs_setup(&f, &config);
	struct thaw_log_stream *s = logs_stream(&f, "orders", LOGS_STREAM("0"));
	uint64_t began = cpu_ms();
	for (int i = 0; i < PIECES; i++)
		thaw_log_stream_write(s, THAW_LOG_KIND_FUNCTION, "r1", piece, PIECE);
	uint64_t used = cpu_ms() - began;
	/* What comes behind the flood is a line of its own, and is dropped whole. */
	logs_print(s, "r1", "half a line");
	logs_print(s, "r1", " and its end\nthe next");
	thaw_log_stream_close(s);
	char *text = records(logs_read(&f, "orders", LOGS_FILE("0")));
	size_t kept = count_of(text, "r1\tF\t\n");
	assert_true(kept > 0 && kept < 100);
	thaw_logs_count(f.logs, &counts);
	assert_int_equal(counts.dropped_bytes, (size_t)PIECE * PIECES - kept + 24 + 9);
	/* Line by line it takes seconds. */
	assert_true(used < 500);
	free(text);
	free(piece);
	logs_teardown(&f);
}

static void full_files_are_renamed(void **state)
{
	const struct thaw_logs_config config = {.file_max = 300};
	struct logs_fixture f;

	(void)state;
	logs_setup(&f, &config);
	struct thaw_log_stream *s = logs_stream(&f, "orders", LOGS_STREAM("0"));
	char text[16];
	for (int i = 0; i < 20; i++) {
		snprintf(text, sizeof(text), "line %02d\n", i);
		logs_print(s, "r1", text);
		thaw_log_stream_flush(s);
	}
	thaw_log_stream_close(s);
	char *now = logs_read(&f, "orders", LOGS_FILE("0"));
	char *before = logs_read(&f, "orders", LOGS_FILE("0") ".1");
	assert_true(strlen(now) <= 300 && strlen(before) <= 300);
	size_t kept = count_of(now, "line") + count_of(before, "line");
	assert_non_null(strstr(now, "line 19\n"));
	/* No gap between the two. */
	snprintf(text, sizeof(text), "line %02zu\n", 20 - kept);
	assert_non_null(strstr(before, text));
	free(now);
	free(before);
	logs_teardown(&f);
}

static void a_torn_line_is_ended(void **state)
{
	struct logs_fixture f;

	(void)state;
	logs_setup(&f, NULL);
	logs_write(&f, "orders", LOGS_FILE("0"), "2026-01-31T12:00:00.000Z\tr");
	struct thaw_log_stream *s = logs_stream(&f, "orders", LOGS_STREAM("0"));
	logs_print(s, "r1", "x");
	thaw_log_stream_close(s);
	char *text = logs_read(&f, "orders", LOGS_FILE("0"));
	assert_memory_equal(text, "2026-01-31T12:00:00.000Z\tr\n", 27);
	text = records(memmove(text, text + 27, strlen(text) - 26));
	assert_string_equal(text, "r1\tF\tx\n");
	free(text);
	logs_teardown(&f);
}

/* A limit of file sizes is as good as a full disk. */
static void a_full_disk_loses_records_and_says_so(void **state)
{
	struct rlimit whole, small;
	struct thaw_logs_counts counts;
	struct logs_fixture f;

	(void)state;
	logs_setup(&f, NULL);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &whole), 0);
	small = whole;
	small.rlim_cur = 100;
	struct thaw_log_stream *s = logs_stream(&f, "orders", LOGS_STREAM("0"));
	logs_print(s, "r1", "before\n");
	thaw_log_stream_flush(s);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	logs_print(s, "r2", "lost\nlost\nlost, too, and longer than there is room for");
	thaw_log_stream_flush(s);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &whole), 0);
	/* Nothing half is left. */
	check_file(&f, LOGS_FILE("0"), "r1\tF\tbefore\n");
	logs_print(s, "r3", "after\n");
	thaw_log_stream_close(s);
	check_file(&f, LOGS_FILE("0"),
		   "r1\tF\tbefore\n-\tP\t[3 records of logs were lost here]\nr3\tF\tafter\n");
	thaw_logs_count(f.logs, &counts);
	assert_int_equal(counts.lost_records, 3);
	signal(SIGXFSZ, SIG_DFL);
	logs_teardown(&f);
}

static void what_is_in_the_way_loses_records_only(void **state)
{
	struct thaw_logs_counts counts;
	struct logs_fixture f;

	(void)state;
	logs_setup(&f, NULL);
	logs_write(&f, "orders", "elsewhere", "untouched");
	assert_int_equal(symlink("elsewhere", logs_path(&f, "orders", LOGS_FILE("0"))), 0);
	assert_int_equal(mkfifo(logs_path(&f, "orders", LOGS_FILE("1")), 0600), 0);
	for (int i = 0; i < 2; i++) {
		struct thaw_log_stream *s =
			logs_stream(&f, "orders", i ? LOGS_STREAM("1") : LOGS_STREAM("0"));
		logs_print(s, "r1", "x\n");
		thaw_log_stream_close(s);
	}
	char *text = logs_read(&f, "orders", "elsewhere");
	assert_string_equal(text, "untouched");
	free(text);
	thaw_logs_count(f.logs, &counts);
	assert_int_equal(counts.lost_records, 2);
	logs_teardown(&f);
}

static void names_are_checked(void **state)
{
	struct thaw_error err = {0};
	struct logs_fixture f;

	(void)state;
	logs_setup(&f, NULL);
	assert_null(thaw_log_stream_open(f.logs, "..", "orders", LOGS_STREAM("0"), &err));
	assert_int_equal(err.code, EINVAL);
	assert_null(thaw_log_stream_open(f.logs, "1", "a/b", LOGS_STREAM("0"), &err));
	assert_null(thaw_log_stream_open(f.logs, "1", "", LOGS_STREAM("0"), &err));
	assert_null(thaw_log_stream_open(f.logs, "1", "orders", "../../x", &err));
	/* A caller that has no stream logs nothing. */
	logs_print(NULL, "r1", "x\n");
	thaw_log_stream_flush(NULL);
	thaw_log_stream_close(NULL);
	logs_teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_put_together),
		cmocka_unit_test(a_record_cannot_forge_another),
		cmocka_unit_test(long_lines_are_cut),
		cmocka_unit_test(a_flood_is_dropped_and_told),
		cmocka_unit_test(a_flood_of_nothing_is_cheap),
		cmocka_unit_test(a_flood_of_nothing_is_bounded),
		cmocka_unit_test(full_files_are_renamed),
		cmocka_unit_test(a_torn_line_is_ended),
		cmocka_unit_test(a_full_disk_loses_records_and_says_so),
		cmocka_unit_test(what_is_in_the_way_loses_records_only),
		cmocka_unit_test(names_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
