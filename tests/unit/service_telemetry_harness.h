/* SPDX-License-Identifier: Apache-2.0 */
/* A data directory of its own for a test of logs, and its files by name. */
#ifndef THAW_TESTS_UNIT_SERVICE_TELEMETRY_HARNESS_H
#define THAW_TESTS_UNIT_SERVICE_TELEMETRY_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/telemetry/logs.h"

#define LOGS_ACCOUNT "123456789012"
#define LOGS_ID      "0123456789abcdef0123456789abcde"
/* Streams that differ in the last digit of their ids. */
#define LOGS_STREAM(digit) "2026/01/31/[$LATEST]" LOGS_ID digit
#define LOGS_FILE(digit)   "2026-01-31.LATEST." LOGS_ID digit ".log"

struct logs_fixture {
	char path[64];
	int data;
	struct thaw_logs *logs;
};

/* `config` may be NULL. */
void logs_setup(struct logs_fixture *fixture, const struct thaw_logs_config *config);
/* Closes the logs and removes all files. */
void logs_teardown(struct logs_fixture *fixture);

struct thaw_log_stream *logs_stream(struct logs_fixture *fixture, const char *function,
				    const char *stream);
void logs_print(struct thaw_log_stream *stream, const char *request_id, const char *text);

/* "DATA/logs/ACCOUNT/FUNCTION/FILE", in a buffer that the next call overwrites. */
const char *logs_path(struct logs_fixture *fixture, const char *function, const char *file);
bool logs_exists(struct logs_fixture *fixture, const char *function, const char *file);
/* The whole file, terminated; the caller frees it. */
char *logs_read(struct logs_fixture *fixture, const char *function, const char *file);
/* Writes the file whole, its folders too. */
void logs_write(struct logs_fixture *fixture, const char *function, const char *file,
		const char *text);

#endif
