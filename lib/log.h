/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging to one descriptor (standard error unless set), one line an event, in text or JSON:
 *
 *	2026-01-31T12:00:00.123Z warn thaw-vmm: vsock: guest sent a packet for another CID
 *	{"time":"2026-01-31T12:00:00.123Z","level":"warn","program":"thaw-vmm","message":"..."}
 *
 * A line is written by one write(2), so that lines of several processes do not mix. Safe from
 * several threads once thaw_log_setup has returned.
 */
#ifndef THAW_LIB_LOG_H
#define THAW_LIB_LOG_H

#include <stdbool.h>

enum thaw_log_level { THAW_LOG_DEBUG, THAW_LOG_INFO, THAW_LOG_WARN, THAW_LOG_ERROR, THAW_LOG_OFF };

/* `program` must outlive the process's logging. Lines below `level` are dropped. */
void thaw_log_setup(const char *program, enum thaw_log_level level, bool json, int fd);

void thaw_log(enum thaw_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* "debug", "info", "warn", "error" or "off". 0, or -EINVAL. */
int thaw_log_level_parse(const char *text, enum thaw_log_level *level);

#endif
