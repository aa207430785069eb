/* SPDX-License-Identifier: Apache-2.0 */
/* What the files beside logs.c share. */
#ifndef THAW_HOST_TELEMETRY_LOGS_INTERNAL_H
#define THAW_HOST_TELEMETRY_LOGS_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "host/telemetry/log_name.h"
#include "host/telemetry/logs.h"

struct thaw_logs {
	int dir; /* DATA/logs */
	struct thaw_logs_config config;
	_Atomic uint64_t records, bytes, dropped_bytes, lost_records;
};

/* The folder `name` in `dir`, for us alone, made when `make` says so. A descriptor or -errno. */
int thaw_logs_folder(int dir, const char *name, bool make);

/* One stream's file: opened when it is needed, renamed when it is full. */
struct thaw_log_file {
	struct thaw_logs *logs;
	char account[65], function[65];
	char name[THAW_LOG_FILE_TEXT];
	int fd;        /* -1: none is open */
	uint64_t size; /* of what is open */
	bool torn;     /* its last line has no end */
};

/* Appends whole lines: all of them, or none that is kept. 0 or -errno. */
int thaw_log_file_append(struct thaw_log_file *file, const char *lines, size_t size);

#endif
