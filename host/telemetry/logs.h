/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What functions print, on the disk: DATA/logs/ACCOUNT/FUNCTION/, a file for each environment
 * (log_name.h) of a record a line (log_line.h). `thaw logs` reads them (log_reader.h).
 *
 * A stream takes what its environment prints in pieces of any size, as it comes, from a hostile
 * guest. A record is what ends with a line feed; or THAW_LOG_TEXT_MAX bytes without one, and then
 * the line goes on in a record of its own; or what is there when the invocation ends.
 *
 * Logging never fails an invocation, and never waits but for a write(2) to a file: records are
 * written when the invocation ends, a buffer is full, or none was written for a quarter of a
 * second, and are not synced. What goes beyond the stream's rate, and what a full disk does not
 * take, is dropped, and a record tells how much.
 *
 * A file that has grown to its limit is renamed to *.1, in place of the one before. Sweeping
 * removes files by age and, the oldest first, by what a function's logs may take in all; a stream
 * whose file went that way begins a new one. Logs of deleted functions stay until they are old.
 *
 * A stream is used by one thread at a time; all else may be called from any thread.
 */
#ifndef THAW_HOST_TELEMETRY_LOGS_H
#define THAW_HOST_TELEMETRY_LOGS_H

#include <stddef.h>
#include <stdint.h>

#include "host/telemetry/log_line.h"

struct thaw_error;
struct thaw_logs;
struct thaw_log_stream;

/* 0: the default. */
struct thaw_logs_config {
	uint64_t file_max;     /* bytes of a file before it is renamed: 16 MiB */
	uint64_t function_max; /* bytes of all files of a function: 1 GiB */
	uint64_t retention_s;  /* since a file was last written to: 14 days */
	uint64_t rate;         /* bytes per second of a stream on the disk: 1 MiB */
	uint64_t burst;        /* bytes beyond the rate, made good by less later: 8 MiB */
};

/* `data` is the data directory, duplicated. `config` may be NULL. NULL: the folder could not be
 * made or opened, or is another user's. */
struct thaw_logs *thaw_logs_open(int data, const struct thaw_logs_config *config,
				 struct thaw_error *err);

/* All streams must be closed. NULL is allowed. */
void thaw_logs_close(struct thaw_logs *logs);

/* What went wrong since the start, of all streams. */
struct thaw_logs_counts {
	uint64_t records;       /* handed to the kernel */
	uint64_t bytes;         /* of these */
	uint64_t dropped_bytes; /* printed beyond the rate */
	uint64_t lost_records;  /* not taken by the disk, or no memory for them */
};
void thaw_logs_count(struct thaw_logs *logs, struct thaw_logs_counts *counts);

/* The account's and the function's name are checked ([A-Za-z0-9_-]{1,64}), and the stream's. Its
 * file is made when there is something to write. NULL: a name that is none, or no memory. */
struct thaw_log_stream *thaw_log_stream_open(struct thaw_logs *logs, const char *account,
					     const char *function, const char *stream,
					     struct thaw_error *err);

/* What was printed, in part or whole. `request_id` is that of the invocation under way, or NULL;
 * a line has the one of its beginning. THAW_LOG_KIND_PLATFORM is the host's own and not counted
 * against the rate. A NULL stream takes nothing. */
void thaw_log_stream_write(struct thaw_log_stream *stream, enum thaw_log_kind kind,
			   const char *request_id, const uint8_t *data, size_t size);

/* The invocation has ended: what has no line feed yet is a record now, and all goes to the file. */
void thaw_log_stream_flush(struct thaw_log_stream *stream);

/* Flushes and frees. NULL is allowed. */
void thaw_log_stream_close(struct thaw_log_stream *stream);

struct thaw_logs_swept {
	uint64_t files, bytes; /* removed */
	uint64_t left_bytes;
};

/* Removes what is older than the retention at `now_s` (seconds since 1970), what a function has
 * beyond its limit, and folders left empty. Files that are no logs are left alone. For a timer: a
 * fault in one folder does not keep the others from being swept. 0, or the first fault. */
int thaw_logs_sweep(struct thaw_logs *logs, int64_t now_s, struct thaw_logs_swept *swept,
		    struct thaw_error *err);

#endif
