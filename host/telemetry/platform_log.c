/* SPDX-License-Identifier: Apache-2.0 */
#include "host/telemetry/platform_log.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "host/telemetry/log_line.h"

#define NAME_MAX_SIZE 160 /* request ids, versions, types of errors: of what is put into a line */

static const char *const status_names[] = {"success", "error", "timeout", "failure"};

static double ms(uint64_t us)
{
	return (double)us / 1000.0;
}

static uint64_t mib(uint64_t kib)
{
	return (kib + 1023) / 1024;
}

uint64_t thaw_platform_billed_ms(uint64_t us)
{
	return us / 1000 + (us % 1000 != 0);
}

/* --- text ---------------------------------------------------------------------------------- */

struct text {
	char *line;
	size_t size;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
	size_t room = THAW_PLATFORM_LINE_MAX - text->size;
	va_list ap;

	va_start(ap, format);
	int n = vsnprintf(text->line + text->size, room, format, ap);
	va_end(ap);
	if (n > 0)
		text->size += (size_t)n < room ? (size_t)n : room - 1;
}

static const char *or_empty(const char *name)
{
	return name ? name : "";
}

static void add_report(struct text *text, const struct thaw_platform_event *event)
{
	add(text,
	    "REPORT RequestId: %.*s\tDuration: %.2f ms\tBilled Duration: %llu ms\t"
	    "Memory Size: %u MB\tMax Memory Used: %llu MB\t",
	    NAME_MAX_SIZE, or_empty(event->request_id), ms(event->duration_us),
	    (unsigned long long)event->billed_ms, event->memory_mib,
	    (unsigned long long)mib(event->max_memory_kib));
	if (event->first == THAW_PLATFORM_RESTORE)
		add(text, "Restore Duration: %.2f ms\tBilled Restore Duration: %llu ms\t",
		    ms(event->first_us), (unsigned long long)event->first_billed_ms);
	else if (event->first == THAW_PLATFORM_INIT)
		add(text, "Init Duration: %.2f ms\t", ms(event->first_us));
	if (event->status == THAW_PLATFORM_TIMEOUT)
		add(text, "Status: timeout\t");
	else if (event->status != THAW_PLATFORM_SUCCESS && *or_empty(event->error_type))
		add(text, "Status: error\tError Type: %.*s\t", NAME_MAX_SIZE, event->error_type);
}

size_t thaw_platform_text(char line[THAW_PLATFORM_LINE_MAX],
			  const struct thaw_platform_event *event)
{
	struct text text = {.line = line};

	*line = 0;
	switch (event->kind) {
	case THAW_PLATFORM_START:
		add(&text, "START RequestId: %.*s Version: %.*s", NAME_MAX_SIZE,
		    or_empty(event->request_id), NAME_MAX_SIZE, or_empty(event->version));
		break;
	case THAW_PLATFORM_END:
		add(&text, "END RequestId: %.*s", NAME_MAX_SIZE, or_empty(event->request_id));
		break;
	case THAW_PLATFORM_REPORT:
		add_report(&text, event);
		break;
	case THAW_PLATFORM_INIT_REPORT:
		add(&text, "INIT_REPORT Init Duration: %.2f ms\tPhase: %s\tStatus: %s",
		    ms(event->duration_us), event->in_invocation ? "invoke" : "init",
		    status_names[event->status]);
		break;
	case THAW_PLATFORM_RESTORE_REPORT:
		add(&text, "RESTORE_REPORT Restore Duration: %.2f ms\tPhase: restore\tStatus: %s",
		    ms(event->duration_us), status_names[event->status]);
		break;
	}
	return text.size;
}

/* --- JSON ---------------------------------------------------------------------------------- */

/* A name from outside as a JSON string: jansson takes only valid UTF-8. */
static json_t *name_json(const char *name)
{
	char clean[THAW_LOG_CLEAN * NAME_MAX_SIZE];
	size_t size = strnlen(or_empty(name), NAME_MAX_SIZE);

	return json_stringn(clean,
			    thaw_log_text_clean(clean, (const uint8_t *)or_empty(name), size));
}

static json_t *report_metrics(const struct thaw_platform_event *event)
{
	json_t *metrics = json_pack("{s:f, s:I, s:I, s:I}", "durationMs", ms(event->duration_us),
				    "billedDurationMs", (json_int_t)event->billed_ms,
				    "memorySizeMB", (json_int_t)event->memory_mib,
				    "maxMemoryUsedMB", (json_int_t)mib(event->max_memory_kib));

	if (event->first == THAW_PLATFORM_INIT)
		json_object_set_new(metrics, "initDurationMs", json_real(ms(event->first_us)));
	if (event->first == THAW_PLATFORM_RESTORE) {
		json_object_set_new(metrics, "restoreDurationMs", json_real(ms(event->first_us)));
		json_object_set_new(metrics, "billedRestoreDurationMs",
				    json_integer((json_int_t)event->first_billed_ms));
	}
	return metrics;
}

static json_t *record_json(const struct thaw_platform_event *event)
{
	json_t *record = json_object();
	bool start = event->kind == THAW_PLATFORM_START;
	bool begins = event->kind == THAW_PLATFORM_INIT_REPORT ||
		      event->kind == THAW_PLATFORM_RESTORE_REPORT;

	if (begins)
		json_object_set_new(record, "initializationType",
				    json_string(or_empty(event->initialization_type)));
	else
		json_object_set_new(record, "requestId", name_json(event->request_id));
	if (start)
		json_object_set_new(record, "version", name_json(event->version));
	if (event->kind == THAW_PLATFORM_INIT_REPORT)
		json_object_set_new(record, "phase",
				    json_string(event->in_invocation ? "invoke" : "init"));
	if (event->kind == THAW_PLATFORM_REPORT)
		json_object_set_new(record, "metrics", report_metrics(event));
	else if (!start)
		json_object_set_new(record, "metrics",
				    json_pack("{s:f}", "durationMs", ms(event->duration_us)));
	if (!start)
		json_object_set_new(record, "status", json_string(status_names[event->status]));
	if (!start && event->status != THAW_PLATFORM_SUCCESS && *or_empty(event->error_type))
		json_object_set_new(record, "errorType", name_json(event->error_type));
	return record;
}

size_t thaw_platform_json(char line[THAW_PLATFORM_LINE_MAX], int64_t time_ms,
			  const struct thaw_platform_event *event)
{
	static const char *const types[] = {"platform.start", "platform.runtimeDone",
					    "platform.report", "platform.initReport",
					    "platform.restoreReport"};
	char time[THAW_LOG_TIME];

	thaw_log_time_format(time, time_ms);
	json_t *document = json_pack("{s:s, s:s, s:o}", "time", time, "type", types[event->kind],
				     "record", record_json(event));
	size_t size = 0;
	if (document)
		size = json_dumpb(document, line, THAW_PLATFORM_LINE_MAX - 1,
				  JSON_COMPACT | JSON_REAL_PRECISION(15));
	json_decref(document);
	/* Longer than the buffer it cannot be: two names at most, each of bounded length. */
	if (size >= THAW_PLATFORM_LINE_MAX)
		size = 0;
	line[size] = 0;
	return size;
}

enum thaw_platform_level thaw_platform_level(const struct thaw_platform_event *event)
{
	if (event->kind == THAW_PLATFORM_START)
		return THAW_PLATFORM_INFO;
	if (event->status != THAW_PLATFORM_SUCCESS)
		return THAW_PLATFORM_WARN;
	if (event->kind == THAW_PLATFORM_END)
		return THAW_PLATFORM_DEBUG;
	if (event->kind == THAW_PLATFORM_INIT_REPORT &&
	    strcmp(or_empty(event->initialization_type), "on-demand") == 0)
		return THAW_PLATFORM_DEBUG;
	return THAW_PLATFORM_INFO;
}
