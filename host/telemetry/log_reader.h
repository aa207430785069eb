/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a function printed, in all its environments, in the order of time (logs.h writes it). Files
 * are read while they are written, renamed and removed. They are not trusted: a line that is no
 * record is passed over, and texts are cleaned again.
 *
 * Within a stream, records keep the order they were written in. When following, a stream's records
 * come when its invocation ends: later than others of the same time, perhaps.
 *
 * A reader is used by one thread. It holds a descriptor for each file that it has not read to the
 * end; when following, for each file.
 */
#ifndef THAW_HOST_TELEMETRY_LOG_READER_H
#define THAW_HOST_TELEMETRY_LOG_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "host/telemetry/log_line.h"

struct thaw_error;
struct thaw_log_reader;

/* Strings stay the caller's, as long as the reader. NULL: any. */
struct thaw_log_query {
	const char *function;
	const char *account;
	const char *stream;
	const char *request_id;
	const char *filter; /* the text has it */
	int64_t since_ms;   /* inclusive; THAW_LOG_TIME_FIRST for all */
	int64_t until_ms;   /* exclusive; 0: no end */
	bool follow;
};

/* One record of what was asked for; valid until the next call of any thaw_log_reader_*. */
struct thaw_log_entry {
	const char *account, *stream;
	int64_t time_ms;
	const char *request_id; /* "" when there is none */
	enum thaw_log_kind kind;
	const char *text; /* clean (log_line.h), not terminated */
	size_t text_size;
};

/* `data` is the data directory. NULL: -ENOENT in err->code: the function has no logs (when
 * following it may have none yet); -EINVAL: a name that is none. */
struct thaw_log_reader *thaw_log_reader_open(int data, const struct thaw_log_query *query,
					     struct thaw_error *err);

/* 1: *entry is the next record; 0: there is none, or none yet. */
int thaw_log_reader_next(struct thaw_log_reader *reader, struct thaw_log_entry *entry);

/* When following: waits until there may be more. 1, or 0 after `timeout_ms` (-1: none) or when a
 * signal came. */
int thaw_log_reader_wait(struct thaw_log_reader *reader, int timeout_ms, struct thaw_error *err);

/* Files and lines of them that could not be read. */
uint64_t thaw_log_reader_damage(const struct thaw_log_reader *reader);

/* NULL is allowed. */
void thaw_log_reader_close(struct thaw_log_reader *reader);

#endif
