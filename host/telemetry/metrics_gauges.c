/* SPDX-License-Identifier: Apache-2.0 */
#include "host/telemetry/metrics_gauges.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/fd.h"

#define LABELS 3

static const struct family {
	const char *name, *type, *help;
	const char *labels[LABELS];
} families[THAW_GAUGES] = {
	[THAW_GAUGE_ENVIRONMENTS] = {"thaw_environments",
				     "gauge",
				     "Execution environments by state.",
				     {"state"}},
	[THAW_GAUGE_MEMORY] = {"thaw_environment_memory_bytes",
			       "gauge",
			       "Memory of the host given to environments.",
			       {0}},
	[THAW_GAUGE_MEMORY_LIMIT] = {"thaw_environment_memory_limit_bytes",
				     "gauge",
				     "Memory of the host that environments may have.",
				     {0}},
	[THAW_GAUGE_WAITING] = {"thaw_invocations_waiting",
				"gauge",
				"Invocations in line for memory.",
				{0}},
	[THAW_GAUGE_SLOTS] = {"thaw_network_slots", "gauge", "Network slots by state.", {"state"}},
	[THAW_GAUGE_SLOTS_MADE] = {"thaw_network_slots_made_total",
				   "counter",
				   "Network slots that were made.",
				   {0}},
	[THAW_GAUGE_SLOTS_MISSED] = {"thaw_network_slots_missed_total",
				     "counter",
				     "Starts that found no network slot in waiting.",
				     {0}},
	[THAW_GAUGE_SLOTS_FAILED] = {"thaw_network_slots_failed_total",
				     "counter",
				     "Network slots that could not be made.",
				     {0}},
	[THAW_GAUGE_QUEUE_LENGTH] = {"thaw_async_events_queued",
				     "gauge",
				     "Asynchronous events in the queue.",
				     {0}},
	[THAW_GAUGE_QUEUE_AGE] = {"thaw_async_events_oldest_age_seconds",
				  "gauge",
				  "Age of the oldest asynchronous event in the queue.",
				  {0}},
	[THAW_GAUGE_HTTP_CONNECTIONS] = {"thaw_http_connections",
					 "gauge",
					 "Open connections of clients.",
					 {0}},
	[THAW_GAUGE_CONCURRENT] = {"thaw_concurrent_executions",
				   "gauge",
				   "Invocations under way.",
				   {"account", "function"}},
	[THAW_GAUGE_UNRESERVED] =
		{"thaw_unreserved_concurrent_executions",
		 "gauge",
		 "Invocations under way of functions without reserved concurrency.",
		 {"account"}},
	[THAW_GAUGE_PROVISIONED_READY] = {"thaw_provisioned_environments",
					  "gauge",
					  "Environments kept ready.",
					  {"account", "function", "version"}},
	[THAW_GAUGE_PROVISIONED_BUSY] = {"thaw_provisioned_concurrent_executions",
					 "gauge",
					 "Invocations under way in environments kept ready.",
					 {"account", "function", "version"}},
	[THAW_GAUGE_PROVISIONED_UTILIZED] = {"thaw_provisioned_concurrency_utilization_ratio",
					     "gauge",
					     "Part of the environments kept ready that is in use.",
					     {"account", "function", "version"}},
	[THAW_GAUGE_LOG_DROPPED] = {"thaw_log_dropped_bytes_total",
				    "counter",
				    "What functions printed beyond their rate.",
				    {0}},
	[THAW_GAUGE_LOG_LOST] = {"thaw_log_lost_records_total",
				 "counter",
				 "Records of logs that could not be written.",
				 {0}},
	[THAW_GAUGE_TRACES_EXPORTED] = {"thaw_traces_exported_spans_total",
					"counter",
					"Spans that the collector of traces has taken.",
					{0}},
	[THAW_GAUGE_TRACES_DROPPED] = {"thaw_traces_dropped_spans_total",
				       "counter",
				       "Spans dropped because too many were waiting.",
				       {0}},
	[THAW_GAUGE_TRACES_FAILED] = {"thaw_traces_failed_spans_total",
				      "counter",
				      "Spans that the collector of traces did not take.",
				      {0}},
};

void thaw_gauge(struct thaw_gauges *gauges, enum thaw_gauge gauge, double value, const char *first,
		const char *second, const char *third)
{
	const struct family *family = &families[gauge];
	const char *values[LABELS] = {first, second, third};
	struct thaw_metrics_label labels[LABELS];
	size_t count = 0;

	for (; count < LABELS && family->labels[count]; count++)
		labels[count] = (struct thaw_metrics_label){family->labels[count], values[count]};
	/* An account sees its own. */
	if (gauges->account && (count == 0 || strcmp(labels[0].name, "account") != 0 ||
				strcmp(labels[0].value, gauges->account) != 0))
		return;
	thaw_metrics_text_sample(&gauges->text[gauge], family->name, labels, count, value);
}

void thaw_gauges_write(struct thaw_gauges *gauges, struct thaw_metrics_text *text)
{
	for (size_t i = 0; i < THAW_GAUGES; i++) {
		if (gauges->text[i].size)
			thaw_metrics_text_family(text, families[i].name, families[i].type,
						 families[i].help);
		thaw_metrics_text_append(text, &gauges->text[i]);
	}
}

void thaw_gauges_clear(struct thaw_gauges *gauges)
{
	for (size_t i = 0; i < THAW_GAUGES; i++)
		free(gauges->text[i].data);
	*gauges = (struct thaw_gauges){0};
}

/* --- the process --------------------------------------------------------------------------- */

static void write_one(struct thaw_metrics_text *text, const char *name, const char *type,
		      const char *help, double value)
{
	thaw_metrics_text_family(text, name, type, help);
	thaw_metrics_text_sample(text, name, NULL, 0, value);
}

/* Pages, from /proc/self/statm. */
static bool resident_bytes(double *bytes)
{
	cleanup_close int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	unsigned long pages;
	char line[128];

	ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
	if (n <= 0)
		return false;
	line[n] = 0;
	if (sscanf(line, "%*u %lu", &pages) != 1)
		return false;
	*bytes = (double)pages * (double)sysconf(_SC_PAGESIZE);
	return true;
}

static bool open_fds(double *count)
{
	DIR *list = opendir("/proc/self/fd");

	if (!list)
		return false;
	*count = -1; /* the list's own */
	for (struct dirent *entry; (entry = readdir(list));)
		*count += entry->d_name[0] != '.';
	closedir(list);
	return true;
}

void thaw_gauges_write_process(struct thaw_metrics_text *text)
{
	struct rlimit limit;
	struct rusage usage;
	double value;

	if (resident_bytes(&value))
		write_one(text, "process_resident_memory_bytes", "gauge",
			  "Resident memory of the daemon.", value);
	if (open_fds(&value))
		write_one(text, "process_open_fds", "gauge", "Open descriptors of the daemon.",
			  value);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		write_one(text, "process_max_fds", "gauge", "Descriptors the daemon may have.",
			  (double)limit.rlim_cur);
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		write_one(text, "process_cpu_seconds_total", "counter",
			  "Processor time of the daemon.",
			  (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
				  (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}
