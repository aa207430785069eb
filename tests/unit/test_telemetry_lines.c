/* SPDX-License-Identifier: Apache-2.0 */
/* What a record of a log is: times, clean texts, lines, names, the tail of an invocation, and the
 * platform's own records. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "host/telemetry/log_line.h"
#include "host/telemetry/log_name.h"
#include "host/telemetry/logs_tail.h"
#include "host/telemetry/platform_log.h"

#define ID "0123456789abcdef0123456789abcdef"

static int64_t time_of(const char *text)
{
	int64_t ms = 0;

	assert_int_equal(thaw_log_time_parse(text, strlen(text), &ms), 0);
	return ms;
}

static void times_are_rfc_3339(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} cases[] = {
		{0, "1970-01-01T00:00:00.000Z"},
		{-1, "1969-12-31T23:59:59.999Z"},
		{951782400123, "2000-02-29T00:00:00.123Z"},
		{1769860800007, "2026-01-31T12:00:00.007Z"},
		{4107542399999, "2100-02-28T23:59:59.999Z"},
		{THAW_LOG_TIME_FIRST, "0001-01-01T00:00:00.000Z"},
		{THAW_LOG_TIME_LAST, "9999-12-31T23:59:59.999Z"},
	};
	char text[THAW_LOG_TIME];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		thaw_log_time_format(text, cases[i].ms);
		assert_string_equal(text, cases[i].text);
		assert_int_equal(time_of(text), cases[i].ms);
	}
	thaw_log_time_format(text, INT64_MAX);
	assert_string_equal(text, "9999-12-31T23:59:59.999Z");
	thaw_log_time_format(text, INT64_MIN);
	assert_string_equal(text, "0001-01-01T00:00:00.000Z");
}

static void other_spellings_of_a_time(void **state)
{
	static const char *const bad[] = {
		"",
		"2026",
		"2026-01-31",
		"2026-01-31T12:00:00",
		"2026-01-31 12:00:00Z",
		"2026-01-31T12:00:00.Z",
		"2026-01-31T12:00:00Zx",
		"2026-02-29T12:00:00Z",
		"2026-13-01T12:00:00Z",
		"2026-00-01T12:00:00Z",
		"2026-01-00T12:00:00Z",
		"2026-01-31T24:00:00Z",
		"2026-01-31T12:60:00Z",
		"2026-01-31T12:00:61Z",
		"2026-01-31T12:00:00+0100",
		"2026-01-31T12:00:00+24:00",
		"0000-01-01T00:00:00Z",
		"0001-01-01T00:00:00+01:00",
		"-026-01-31T12:00:00Z",
	};
	int64_t ms;

	(void)state;
	assert_int_equal(time_of("2026-01-31t12:00:00z"), 1769860800000);
	assert_int_equal(time_of("2026-01-31T13:30:00.5+01:30"), 1769860800500);
	assert_int_equal(time_of("2026-01-31T00:00:00.123456789-12:00"), 1769860800123);
	assert_int_equal(time_of("2016-12-31T23:59:60Z"), time_of("2016-12-31T23:59:59Z"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(thaw_log_time_parse(bad[i], strlen(bad[i]), &ms), -EINVAL);
}

static void check_clean(const char *text, size_t size, const char *expected)
{
	char clean[512];

	size_t length = thaw_log_text_clean(clean, (const uint8_t *)text, size);
	assert_int_equal(length, strlen(expected));
	assert_memory_equal(clean, expected, length);
	/* What is clean stays as it is. */
	char again[2048];
	assert_int_equal(thaw_log_text_clean(again, (const uint8_t *)clean, length), length);
	assert_memory_equal(again, clean, length);
}

#define CLEAN(text, expected) check_clean(text, sizeof(text) - 1, expected)

static void text_is_cleaned(void **state)
{
	(void)state;
	CLEAN("", "");
	CLEAN("plain \\x1b\ttab", "plain \\x1b\ttab");
	CLEAN("\033[2Jx\n\r\0\177", "\\x1b[2Jx\\x0a\\x0d\\x00\\x7f");
	CLEAN("gr\xc3\xbc\xc3\x9f \xe6\x97\xa5 \xf0\x9f\xa6\x8a",
	      "gr\xc3\xbc\xc3\x9f \xe6\x97\xa5 \xf0\x9f\xa6\x8a");
	/* U+009B is CSI on some terminals; U+00A0 is a space. */
	CLEAN("\xc2\x9b\xc2\xa0", "\\xc2\\x9b\xc2\xa0");
	/* Not the shortest form, a surrogate, beyond Unicode, cut, alone. */
	CLEAN("\xc0\x8a", "\xef\xbf\xbd\xef\xbf\xbd");
	CLEAN("\xe0\x80\x8a", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	CLEAN("\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	CLEAN("\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	CLEAN("a\xe6\x97", "a\xef\xbf\xbd\xef\xbf\xbd");
	CLEAN("\x80z", "\xef\xbf\xbdz");
	CLEAN("\xe6z", "\xef\xbf\xbdz");
}

static void characters_are_not_cut(void **state)
{
	const uint8_t text[] = "a\xe6\x97\xa5\xf0\x9f\xa6\x8a\x80\x80\x80\x80";
	const size_t whole[] = {0, 1, 1, 1, 4, 4, 4, 4, 8, 9, 10, 11, 12};

	(void)state;
	for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
		assert_int_equal(thaw_log_text_whole(text, i), whole[i]);
}

static void lines_come_back(void **state)
{
	struct thaw_log_record record;
	char line[256];

	(void)state;
	size_t size = thaw_log_head_format(line, 1769860800007, "5e1f-0A", THAW_LOG_KIND_EXTENSION);
	memcpy(line + size, "a\tb", 3);
	assert_int_equal(thaw_log_line_parse(line, size + 3, &record), 0);
	assert_int_equal(record.time_ms, 1769860800007);
	assert_string_equal(record.request_id, "5e1f-0A");
	assert_int_equal(record.kind, THAW_LOG_KIND_EXTENSION);
	assert_int_equal(record.text_size, 3);
	assert_memory_equal(record.text, "a\tb", 3);

	size = thaw_log_head_format(line, 0, NULL, THAW_LOG_KIND_PLATFORM);
	line[size] = 0;
	assert_string_equal(line, "1970-01-01T00:00:00.000Z\t-\tP\t");
	assert_int_equal(thaw_log_line_parse(line, size, &record), 0);
	assert_string_equal(record.request_id, "");
	assert_int_equal(record.text_size, 0);
	/* A request id that could forge a field is none. */
	size = thaw_log_head_format(line, 0, "a\tP\tb", THAW_LOG_KIND_FUNCTION);
	line[size] = 0;
	assert_string_equal(line, "1970-01-01T00:00:00.000Z\t-\tF\t");
}

static void other_lines_are_none(void **state)
{
	static const char *const bad[] = {
		"",
		"text",
		"1970-01-01T00:00:00.000Z",
		"1970-01-01T00:00:00.000Z\t",
		"1970-01-01T00:00:00.000Z\t-",
		"1970-01-01T00:00:00.000Z\t-\tF",
		"1970-01-01T00:00:00.000Z\t\tF\tx",
		"1970-01-01T00:00:00.000Z\t-\tX\tx",
		"1970-01-01T00:00:00.000Z\t-\tFF\tx",
		"1970-01-01T00:00:00.000Z\ta b\tF\tx",
		"1970-01-01T00:00:00.000Z -\tF\tx",
		"1970-01-01T00:00:00.00Z0\t-\tF\tx",
		"1970-01-01T00:00:00.000Z\t"
		"12345678901234567890123456789012345678901234567890123456789012345\tF\tx",
	};
	struct thaw_log_record record;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(thaw_log_line_parse(bad[i], strlen(bad[i]), &record), -EINVAL);
	assert_int_equal(thaw_log_line_parse("1970-01-01T00:00:00.000Z\t-\t\0\tx", 29, &record),
			 -EINVAL);
}

static void names_of_streams(void **state)
{
	static const char *const streams[] = {
		"2026/01/31/[$LATEST]" ID,
		"2026/01/31/[17]" ID,
		"2026/01/31/[18446744073709551615]" ID,
	};
	static const char *const bad[] = {
		"",
		"2026/01/31/[$LATEST]",
		"2026/01/31/[LATEST]" ID,
		"2026/01/31/[]" ID,
		"2026/01/31/[0]" ID,
		"2026/01/31/[../..]" ID,
		"2026/01/31/[1]" ID "0",
		"2026/01/31/[1]../../../../etc/shadow\0______",
		"2026-01-31/[1]" ID,
		"../01/31/[1]" ID,
	};
	char file[THAW_LOG_FILE_TEXT], again[THAW_LOG_STREAM_TEXT], made[THAW_LOG_STREAM_TEXT];
	bool before;

	(void)state;
	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
		assert_int_equal(thaw_log_name_file(file, streams[i]), 0);
		assert_null(strchr(file, '/'));
		assert_int_equal(thaw_log_name_stream(again, file, &before), 0);
		assert_string_equal(again, streams[i]);
		assert_false(before);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(thaw_log_name_file(file, bad[i]), -EINVAL);
	assert_int_equal(thaw_log_name_stream(again, "2026-01-31.LATEST." ID ".log.1", &before), 0);
	assert_true(before);
	assert_int_equal(thaw_log_name_stream(again, "2026-01-31.LATEST." ID ".log.2", &before),
			 -EINVAL);
	assert_int_equal(thaw_log_name_stream(again, "2026-01-31.LATEST.x.log", &before), -EINVAL);
	assert_int_equal(thaw_log_name_stream(again, "..", &before), -EINVAL);

	assert_int_equal(thaw_log_stream_make(made, 1769860800, "$LATEST"), 0);
	assert_memory_equal(made, "2026/01/31/[$LATEST]", 20);
	assert_int_equal(thaw_log_name_file(file, made), 0);
	assert_int_equal(thaw_log_stream_make(again, 1769860800, "$LATEST"), 0);
	assert_string_not_equal(made, again);
	assert_int_equal(thaw_log_stream_make(made, 0, "prod"), -EINVAL);
	assert_true(thaw_log_name_valid("a-B_9"));
	assert_false(thaw_log_name_valid(""));
	assert_false(thaw_log_name_valid(".."));
	assert_false(thaw_log_name_valid("a/b"));
}

static void check_tail(struct thaw_log_tail *tail, const char *expected, size_t size)
{
	char text[THAW_LOG_TAIL_MAX];

	assert_int_equal(thaw_log_tail_read(tail, text), size);
	assert_memory_equal(text, expected, size);
}

static void push(struct thaw_log_tail *tail, const char *text, size_t size)
{
	thaw_log_tail_push(tail, (const uint8_t *)text, size);
}

static void the_tail_is_the_end(void **state)
{
	static char long_text[10000];
	struct thaw_log_tail tail;

	(void)state;
	thaw_log_tail_clear(&tail);
	check_tail(&tail, "", 0);
	push(&tail, "START\n\xff", 7);
	push(&tail, "\xc3", 1);
	push(&tail, "\xbc\n", 2);
	check_tail(&tail, "START\n?\xc3\xbc\n", 10);

	/* As much as there is room for stays whole. */
	memset(long_text, 'x', sizeof(long_text));
	thaw_log_tail_clear(&tail);
	push(&tail, long_text, THAW_LOG_TAIL_MAX);
	check_tail(&tail, long_text, THAW_LOG_TAIL_MAX);
	/* Beyond it, from a line's beginning: here just where the tail begins. */
	thaw_log_tail_clear(&tail);
	push(&tail, "a\n", 2);
	for (size_t i = 0; i < THAW_LOG_TAIL_MAX; i++)
		push(&tail, "x", 1);
	check_tail(&tail, long_text, THAW_LOG_TAIL_MAX);
	/* And here later. */
	long_text[9000] = '\n';
	thaw_log_tail_clear(&tail);
	push(&tail, long_text, sizeof(long_text));
	check_tail(&tail, long_text + 9001, 999);
	/* No line begins: no character is cut at least. */
	thaw_log_tail_clear(&tail);
	for (size_t i = 0; i < 3000; i++)
		push(&tail, "\xe6\x97\xa5", 3);
	char text[THAW_LOG_TAIL_MAX];
	size_t size = thaw_log_tail_read(&tail, text);
	assert_int_equal(size, THAW_LOG_TAIL_MAX - THAW_LOG_TAIL_MAX % 3);
	assert_memory_equal(text, "\xe6\x97\xa5", 3);
	/* The only line feed is the last byte: the line, as far as it fits, is the tail. */
	memset(long_text, 'x', sizeof(long_text));
	long_text[sizeof(long_text) - 1] = '\n';
	thaw_log_tail_clear(&tail);
	push(&tail, long_text, sizeof(long_text));
	check_tail(&tail, long_text + sizeof(long_text) - THAW_LOG_TAIL_MAX, THAW_LOG_TAIL_MAX);
}

static void check_text(const struct thaw_platform_event *event, const char *expected)
{
	char line[THAW_PLATFORM_LINE_MAX];

	assert_int_equal(thaw_platform_text(line, event), strlen(expected));
	assert_string_equal(line, expected);
}

static void check_json(const struct thaw_platform_event *event, const char *expected)
{
	char line[THAW_PLATFORM_LINE_MAX];

	assert_int_equal(thaw_platform_json(line, 1769860800007, event), strlen(expected));
	assert_string_equal(line, expected);
}

#define TIME "{\"time\":\"2026-01-31T12:00:00.007Z\","

static void platform_lines(void **state)
{
	struct thaw_platform_event event = {
		.kind = THAW_PLATFORM_START,
		.request_id = "5e1f",
		.version = "$LATEST",
		.duration_us = 3010,
		.billed_ms = thaw_platform_billed_ms(3010),
		.memory_mib = 128,
		.max_memory_kib = 36 * 1024 - 1,
		.first = THAW_PLATFORM_INIT,
		.first_us = 110100,
		.first_billed_ms = 12,
	};

	(void)state;
	check_text(&event, "START RequestId: 5e1f Version: $LATEST");
	check_json(&event, TIME "\"type\":\"platform.start\",\"record\":{\"requestId\":\"5e1f\","
				"\"version\":\"$LATEST\"}}");
	assert_int_equal(thaw_platform_level(&event), THAW_PLATFORM_INFO);
	event.kind = THAW_PLATFORM_END;
	check_text(&event, "END RequestId: 5e1f");
	check_json(&event,
		   TIME "\"type\":\"platform.runtimeDone\",\"record\":{\"requestId\":\"5e1f\","
			"\"metrics\":{\"durationMs\":3.01},\"status\":\"success\"}}");
	assert_int_equal(thaw_platform_level(&event), THAW_PLATFORM_DEBUG);
	event.kind = THAW_PLATFORM_REPORT;
	check_text(&event, "REPORT RequestId: 5e1f\tDuration: 3.01 ms\tBilled Duration: 4 ms\t"
			   "Memory Size: 128 MB\tMax Memory Used: 36 MB\t"
			   "Init Duration: 110.10 ms\t");
	check_json(&event,
		   TIME "\"type\":\"platform.report\",\"record\":{\"requestId\":\"5e1f\","
			"\"metrics\":{\"durationMs\":3.01,\"billedDurationMs\":4,"
			"\"memorySizeMB\":128,\"maxMemoryUsedMB\":36,\"initDurationMs\":110.1},"
			"\"status\":\"success\"}}");
	event.first = THAW_PLATFORM_RESTORE;
	event.status = THAW_PLATFORM_TIMEOUT;
	check_text(&event, "REPORT RequestId: 5e1f\tDuration: 3.01 ms\tBilled Duration: 4 ms\t"
			   "Memory Size: 128 MB\tMax Memory Used: 36 MB\t"
			   "Restore Duration: 110.10 ms\tBilled Restore Duration: 12 ms\t"
			   "Status: timeout\t");
	event.first = THAW_PLATFORM_WARM;
	event.status = THAW_PLATFORM_ERROR;
	event.error_type = "Runtime.ExitError";
	check_text(&event, "REPORT RequestId: 5e1f\tDuration: 3.01 ms\tBilled Duration: 4 ms\t"
			   "Memory Size: 128 MB\tMax Memory Used: 36 MB\t"
			   "Status: error\tError Type: Runtime.ExitError\t");
	assert_int_equal(thaw_platform_level(&event), THAW_PLATFORM_WARN);
}

static void platform_lines_of_failed_starts(void **state)
{
	struct thaw_platform_event event = {
		.kind = THAW_PLATFORM_INIT_REPORT,
		.status = THAW_PLATFORM_TIMEOUT,
		.duration_us = 10000000,
		.initialization_type = "on-demand",
	};

	(void)state;
	check_text(&event, "INIT_REPORT Init Duration: 10000.00 ms\tPhase: init\tStatus: timeout");
	check_json(&event, TIME "\"type\":\"platform.initReport\",\"record\":{"
				"\"initializationType\":\"on-demand\",\"phase\":\"init\","
				"\"metrics\":{\"durationMs\":10000.0},\"status\":\"timeout\"}}");
	event.kind = THAW_PLATFORM_RESTORE_REPORT;
	event.status = THAW_PLATFORM_ERROR;
	check_text(&event,
		   "RESTORE_REPORT Restore Duration: 10000.00 ms\tPhase: restore\tStatus: error");
}

/* The type of an error is the guest's. */
static void platform_lines_hold_hostile_names(void **state)
{
	char name[1001], line[THAW_PLATFORM_LINE_MAX];
	struct thaw_platform_event event = {
		.kind = THAW_PLATFORM_REPORT,
		.status = THAW_PLATFORM_ERROR,
		.request_id = name,
		.error_type = name,
		.duration_us = UINT64_MAX,
		.billed_ms = UINT64_MAX / 1000,
		.memory_mib = UINT32_MAX,
		.max_memory_kib = UINT64_MAX / 2,
		.first = THAW_PLATFORM_RESTORE,
		.first_us = UINT64_MAX,
	};
	static const char hostile[] = "\x01\x1b\"\\\xff\xc2\x9b";

	(void)state;
	for (size_t c = 0; c < sizeof(hostile) - 1; c++) {
		memset(name, hostile[c], sizeof(name) - 1);
		name[sizeof(name) - 1] = 0;
		size_t size = thaw_platform_json(line, INT64_MAX, &event);
		assert_true(size > 0 && size == strlen(line));
		json_t *document = json_loadb(line, size, 0, NULL);
		assert_non_null(document);
		json_decref(document);
		size = thaw_platform_text(line, &event);
		assert_true(size > 0 && size == strlen(line));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_are_rfc_3339),
		cmocka_unit_test(other_spellings_of_a_time),
		cmocka_unit_test(text_is_cleaned),
		cmocka_unit_test(characters_are_not_cut),
		cmocka_unit_test(lines_come_back),
		cmocka_unit_test(other_lines_are_none),
		cmocka_unit_test(names_of_streams),
		cmocka_unit_test(the_tail_is_the_end),
		cmocka_unit_test(platform_lines),
		cmocka_unit_test(platform_lines_of_failed_starts),
		cmocka_unit_test(platform_lines_hold_hostile_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
