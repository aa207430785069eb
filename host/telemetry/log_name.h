/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of logs: DATA/logs/ACCOUNT/FUNCTION/ holds a file for each stream, and a stream is what one
 * environment printed.
 *
 *	stream		2026/01/31/[$LATEST]0123456789abcdef0123456789abcdef
 *	file		2026-01-31.LATEST.0123456789abcdef0123456789abcdef.log
 *	the one before	2026-01-31.LATEST.0123456789abcdef0123456789abcdef.log.1
 *
 * A version is "$LATEST" or a number, so that LATEST is nothing else.
 */
#ifndef THAW_HOST_TELEMETRY_LOG_NAME_H
#define THAW_HOST_TELEMETRY_LOG_NAME_H

#include <stdbool.h>
#include <time.h>

#define THAW_LOG_FOLDER      "logs" /* in the data directory */
#define THAW_LOG_STREAM_TEXT 80
#define THAW_LOG_FILE_TEXT   88
#define THAW_LOG_ID_TEXT     33 /* 32 hexadecimal digits */

/* The name of a stream that begins at `now`, of a version ("$LATEST" or a number of at most 20
 * digits), with random digits. 0, -EINVAL, or what the kernel's random numbers gave. */
int thaw_log_stream_make(char stream[THAW_LOG_STREAM_TEXT], time_t now, const char *version);

/* -EINVAL: it is no stream's name. */
int thaw_log_name_file(char file[THAW_LOG_FILE_TEXT], const char *stream);

/* The stream a file belongs to, and whether it is the one before. -EINVAL: it is no log. */
int thaw_log_name_stream(char stream[THAW_LOG_STREAM_TEXT], const char *file, bool *before);

/* May it name a folder of logs? [A-Za-z0-9_-]{1,64} */
bool thaw_log_name_valid(const char *name);

#endif
