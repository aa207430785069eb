/* SPDX-License-Identifier: Apache-2.0 */
/* Sweeping logs: by age and by size, under the hands of those who write them. */
#include <fcntl.h>
#include <pthread.h>
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

#include "lib/error.h"
#include "tests/unit/service_telemetry_harness.h"

#define NOW 1769860800

static void write_aged(struct logs_fixture *f, const char *function, const char *file, size_t size,
		       int64_t written)
{
	const struct timespec times[2] = {{.tv_sec = written}, {.tv_sec = written}};
	char *text = calloc(1, size + 1);

	memset(text, 'x', size);
	logs_write(f, function, file, text);
	free(text);
	assert_int_equal(utimensat(AT_FDCWD, logs_path(f, function, file), times, 0), 0);
}

static void old_files_are_swept(void **state)
{
	const struct thaw_logs_config config = {.retention_s = 1000};
	struct thaw_logs_swept swept;
	struct thaw_error err = {0};
	struct logs_fixture f;

	(void)state;
	logs_setup(&f, &config);
	write_aged(&f, "orders", LOGS_FILE("0"), 10, NOW - 1001);
	write_aged(&f, "orders", LOGS_FILE("0") ".1", 10, NOW - 2000);
	write_aged(&f, "orders", LOGS_FILE("1"), 10, NOW - 999);
	write_aged(&f, "orders", "notes.txt", 10, NOW - 5000);
	write_aged(&f, "gone", LOGS_FILE("0"), 10, NOW - 1001);
	/* What a link leads to is not ours to sweep. */
	char link[64 + 64];
	snprintf(link, sizeof(link), "%s/logs/link", f.path);
	assert_int_equal(symlink(LOGS_ACCOUNT "/orders", link), 0);
	assert_int_equal(thaw_logs_sweep(f.logs, NOW, &swept, &err), 0);
	assert_int_equal(swept.files, 3);
	assert_int_equal(swept.bytes, 30);
	assert_int_equal(swept.left_bytes, 10);
	assert_false(logs_exists(&f, "orders", LOGS_FILE("0")));
	assert_false(logs_exists(&f, "orders", LOGS_FILE("0") ".1"));
	assert_true(logs_exists(&f, "orders", LOGS_FILE("1")));
	assert_true(logs_exists(&f, "orders", "notes.txt"));
	assert_false(logs_exists(&f, "gone", "."));
	logs_teardown(&f);
}

static void the_oldest_make_room(void **state)
{
	const struct thaw_logs_config config = {.function_max = 250};
	struct thaw_logs_swept swept;
	struct logs_fixture f;

	(void)state;
	logs_setup(&f, &config);
	write_aged(&f, "orders", LOGS_FILE("0"), 100, NOW - 10);
	write_aged(&f, "orders", LOGS_FILE("1"), 100, NOW - 30);
	write_aged(&f, "orders", LOGS_FILE("2"), 100, NOW - 20);
	write_aged(&f, "orders", LOGS_FILE("3"), 100, NOW - 20);
	/* The limit is each function's own. */
	write_aged(&f, "bills", LOGS_FILE("0"), 250, NOW - 100);
	assert_int_equal(thaw_logs_sweep(f.logs, NOW, &swept, NULL), 0);
	assert_int_equal(swept.files, 2);
	assert_int_equal(swept.left_bytes, 450);
	assert_true(logs_exists(&f, "orders", LOGS_FILE("0")));
	assert_false(logs_exists(&f, "orders", LOGS_FILE("1")));
	assert_false(logs_exists(&f, "orders", LOGS_FILE("2")));
	assert_true(logs_exists(&f, "orders", LOGS_FILE("3")));
	assert_true(logs_exists(&f, "bills", LOGS_FILE("0")));
	logs_teardown(&f);
}

/* The environment lives on: what it prints next must be found. */
static void a_swept_stream_begins_anew(void **state)
{
	struct thaw_logs_swept swept;
	struct logs_fixture f;

	(void)state;
	logs_setup(&f, NULL);
	struct thaw_log_stream *s = logs_stream(&f, "orders", LOGS_STREAM("0"));
	logs_print(s, "r1", "one\n");
	thaw_log_stream_flush(s);
	assert_int_equal(thaw_logs_sweep(f.logs, INT64_C(1) << 40, &swept, NULL), 0);
	assert_int_equal(swept.files, 1);
	assert_false(logs_exists(&f, "orders", "."));
	logs_print(s, "r2", "two\n");
	thaw_log_stream_close(s);
	char *text = logs_read(&f, "orders", LOGS_FILE("0"));
	assert_string_equal(text + THAW_LOG_TIME, "r2\tF\ttwo\n");
	free(text);
	logs_teardown(&f);
}

#define WRITERS 3
#define ROUNDS  200

static void *write_rounds(void *stream)
{
	for (int i = 0; i < ROUNDS; i++) {
		logs_print(stream, "r1", "x\n");
		thaw_log_stream_flush(stream);
	}
	return NULL;
}

static void sweeping_while_writing(void **state)
{
	static const char *const names[] = {LOGS_STREAM("0"), LOGS_STREAM("1"), LOGS_STREAM("2")};
	const struct thaw_logs_config config = {.file_max = 200};
	struct thaw_log_stream *streams[WRITERS];
	pthread_t threads[WRITERS];
	struct thaw_logs_counts counts;
	struct thaw_error err = {0};
	struct logs_fixture f;

	(void)state;
	logs_setup(&f, &config);
	for (int i = 0; i < WRITERS; i++) {
		streams[i] = logs_stream(&f, "orders", names[i]);
		assert_int_equal(pthread_create(&threads[i], NULL, write_rounds, streams[i]), 0);
	}
	for (int i = 0; i < 50; i++)
		assert_int_equal(thaw_logs_sweep(f.logs, INT64_C(1) << 40, NULL, &err), 0);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	thaw_logs_count(f.logs, &counts);
	/* One that lost the race for the folder three times over is lost, but counted. */
	assert_int_equal(counts.records + counts.lost_records, WRITERS * ROUNDS);
	assert_true(counts.records > WRITERS * ROUNDS / 2);
	for (int i = 0; i < WRITERS; i++) {
		logs_print(streams[i], "r2", "last\n");
		thaw_log_stream_close(streams[i]);
	}
	char *text = logs_read(&f, "orders", LOGS_FILE("2"));
	assert_non_null(strstr(text, "\tr2\tF\tlast\n"));
	free(text);
	logs_teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(old_files_are_swept),
		cmocka_unit_test(the_oldest_make_room),
		cmocka_unit_test(a_swept_stream_begins_anew),
		cmocka_unit_test(sweeping_while_writing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
