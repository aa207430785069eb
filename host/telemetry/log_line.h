/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One record of a function's log, as it lies on the disk: one line,
 *
 *	2026-01-31T12:00:00.123Z <tab> request id or "-" <tab> P|F|E <tab> text
 *
 * The text is clean: valid UTF-8 without control characters other than the tab. What a guest
 * printed otherwise is made visible, control characters as \xNN a byte and bytes that are not UTF-8
 * as U+FFFD, so that a record cannot look like two, and printing one does not drive a terminal.
 * (A backslash stays one: clean text is for people, and what it came from is not to be had back.)
 */
#ifndef THAW_HOST_TELEMETRY_LOG_LINE_H
#define THAW_HOST_TELEMETRY_LOG_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who printed it. */
enum thaw_log_kind {
	THAW_LOG_KIND_PLATFORM,
	THAW_LOG_KIND_FUNCTION,
	THAW_LOG_KIND_EXTENSION,
	THAW_LOG_KINDS
};

#define THAW_LOG_TEXT_MAX    (64u << 10) /* of what was printed, in one record */
#define THAW_LOG_CLEAN       4u          /* cleaning makes a text at most so many times longer */
#define THAW_LOG_REQUEST_MAX 64u         /* [A-Za-z0-9-]; Lambda's ids are UUIDs */
#define THAW_LOG_TIME        25          /* "2026-01-31T12:00:00.123Z" and its 0 byte */
#define THAW_LOG_HEAD_MAX    (THAW_LOG_TIME + THAW_LOG_REQUEST_MAX + 4)
#define THAW_LOG_LINE_MAX    (THAW_LOG_HEAD_MAX + THAW_LOG_CLEAN * THAW_LOG_TEXT_MAX + 1)

/* Milliseconds since 1970 within the years 1 to 9999; what is beyond is taken for the nearest. */
#define THAW_LOG_TIME_FIRST INT64_C(-62135596800000)
#define THAW_LOG_TIME_LAST  INT64_C(253402300799999)

struct thaw_log_record {
	int64_t time_ms;
	char request_id[THAW_LOG_REQUEST_MAX + 1]; /* "" when there is none */
	enum thaw_log_kind kind;
	const char *text; /* not terminated; of the line that was parsed */
	size_t text_size;
};

/* RFC 3339, UTC. */
void thaw_log_time_format(char text[THAW_LOG_TIME], int64_t time_ms);

/* Any RFC 3339 time (section 5.6, "t" and "z" too), cut to milliseconds. 0 or -EINVAL. */
int thaw_log_time_parse(const char *text, size_t size, int64_t *time_ms);

/* Writes what stands before the text; its length. A request id that is none is left out. */
size_t thaw_log_head_format(char head[THAW_LOG_HEAD_MAX], int64_t time_ms, const char *request_id,
			    enum thaw_log_kind kind);

/* The length of the UTF-8 sequence that `size` bytes, at least one, begin with (RFC 3629: shortest
 * form, no surrogates). 0: it is none; more than `size`: it is one so far as it goes. */
size_t thaw_log_text_character(const uint8_t *text, size_t size);

/* Cleans `size` bytes into `clean`, which holds THAW_LOG_CLEAN times as many; the length written.
 * What is clean comes out as it is. */
size_t thaw_log_text_clean(char *clean, const uint8_t *text, size_t size);

/* How many of the first `size` bytes make whole characters: `size`, or up to 3 less when a UTF-8
 * sequence goes on beyond. */
size_t thaw_log_text_whole(const uint8_t *text, size_t size);

/* A line without its line feed, as found in a file. The text may be anything: who prints it cleans
 * it. -EINVAL: it is no record. */
int thaw_log_line_parse(const char *line, size_t size, struct thaw_log_record *record);

#endif
