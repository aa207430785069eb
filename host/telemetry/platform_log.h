/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The platform's own records around an invocation, in the two forms of a function's LoggingConfig:
 * the lines START, END and REPORT (and INIT_REPORT, RESTORE_REPORT of a start that failed), and the
 * documents platform.start, platform.runtimeDone, platform.report, platform.initReport,
 * platform.restoreReport (the schema of Lambda's Telemetry API, version 2022-12-13).
 */
#ifndef THAW_HOST_TELEMETRY_PLATFORM_LOG_H
#define THAW_HOST_TELEMETRY_PLATFORM_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum thaw_platform_kind {
	THAW_PLATFORM_START,
	THAW_PLATFORM_END, /* platform.runtimeDone */
	THAW_PLATFORM_REPORT,
	THAW_PLATFORM_INIT_REPORT,
	THAW_PLATFORM_RESTORE_REPORT,
};

enum thaw_platform_status {
	THAW_PLATFORM_SUCCESS,
	THAW_PLATFORM_ERROR, /* the function's: an exception, an exit */
	THAW_PLATFORM_TIMEOUT,
	THAW_PLATFORM_FAILURE, /* the host's */
};

/* What began an environment, in the first report of it. */
enum thaw_platform_first { THAW_PLATFORM_WARM, THAW_PLATFORM_INIT, THAW_PLATFORM_RESTORE };

struct thaw_platform_event {
	enum thaw_platform_kind kind;
	enum thaw_platform_status status; /* all but START */
	const char *request_id;           /* START, END, REPORT */
	const char *version;              /* START */
	const char *error_type;           /* "Runtime.ExitError"; or "" or NULL */
	uint64_t duration_us; /* of the invocation; of the init or restore in its report */
	/* REPORT. */
	uint64_t billed_ms;
	uint32_t memory_mib;
	uint64_t max_memory_kib;
	enum thaw_platform_first first;
	uint64_t first_us;        /* init, or from the request for a restore until it is ready */
	uint64_t first_billed_ms; /* of a restore */
	/* INIT_REPORT and RESTORE_REPORT, in JSON. */
	const char *initialization_type; /* "on-demand", "snap-start", "provisioned-concurrency" */
	bool in_invocation; /* the init was run again, under the function's own timeout */
};

#define THAW_PLATFORM_LINE_MAX 2048

/* Milliseconds, begun ones counted whole: how Lambda bills. */
uint64_t thaw_platform_billed_ms(uint64_t us);

/* The line without a line feed; its length. Longer names are cut, so that it always fits. */
size_t thaw_platform_text(char line[THAW_PLATFORM_LINE_MAX],
			  const struct thaw_platform_event *event);

/* The document, in one line; its length, or 0: no memory. `time_ms` since 1970. */
size_t thaw_platform_json(char line[THAW_PLATFORM_LINE_MAX], int64_t time_ms,
			  const struct thaw_platform_event *event);

/* LoggingConfig's SystemLogLevel, which counts for JSON only. */
enum thaw_platform_level {
	THAW_PLATFORM_DEBUG,
	THAW_PLATFORM_INFO,
	THAW_PLATFORM_WARN,
};

/* The level of an event: it is logged where SystemLogLevel is that or lower. */
enum thaw_platform_level thaw_platform_level(const struct thaw_platform_event *event);

#endif
