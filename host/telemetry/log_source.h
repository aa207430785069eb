/* SPDX-License-Identifier: Apache-2.0 */
/* One file of a log being read: its records one after the other. For log_reader.c. */
#ifndef THAW_HOST_TELEMETRY_LOG_SOURCE_H
#define THAW_HOST_TELEMETRY_LOG_SOURCE_H

#include <sys/types.h>

#include "host/telemetry/log_line.h"
#include "host/telemetry/log_name.h"

struct thaw_log_source {
	char account[65];
	char stream[THAW_LOG_STREAM_TEXT];
	bool before; /* the file before the stream's current one */
	int fd;      /* owned */
	dev_t device;
	ino_t inode;
	char *data; /* what was read; owned */
	size_t start, end, space;
	off_t offset;                  /* in the file, of data[end] */
	bool skipping;                 /* a line too long to be a record */
	bool waiting;                  /* `record` holds the next one */
	struct thaw_log_record record; /* its text is within data */
	uint64_t damaged;              /* lines passed over */
};

/* The next record, into source->record. 1; 0: no whole line is left, or none yet; -errno. */
int thaw_log_source_next(struct thaw_log_source *source);

/* Closes and frees what it owns. */
void thaw_log_source_clear(struct thaw_log_source *source);

#endif
