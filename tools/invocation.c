/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/invocation.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/report.h"
#include "host/snapshot_store.h"
#include "host/statistics.h"
#include "lib/error.h"
#include "lib/fd.h"

int tool_event(const char *path, const struct thaw_snapshot *snapshot, uint8_t **event,
	       size_t *size)
{
	if (path)
		return tool_read_event(path, event, size);
	cleanup_close int fd =
		snapshot ? openat(snapshot->dir, "event.json", O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
			 : -1;
	if (fd >= 0 && thaw_read_file(fd, THAW_PAYLOAD_MAX, event, size, NULL) == 0) {
		struct thaw_error err = {0};
		if (thaw_seal_check_bytes(&snapshot->seal, "event.json", *event, *size, &err) == 0)
			return TOOL_OK;
		free(*event);
		*event = NULL;
		thaw_error_wrap(&err, "snapshot \"%s\"", snapshot->name);
		return tool_fail(TOOL_SNAPSHOT, &err);
	}
	*event = (uint8_t *)strdup("{}");
	*size = 2;
	return *event ? 0 : TOOL_FAILED;
}

static json_t *result_json(struct thaw_environment *environment,
			   const struct thaw_invocation *invocation, const char *outcome,
			   const uint8_t *response, size_t size, const struct thaw_result *result)
{
	struct thaw_statistics statistics;
	json_error_t fault;

	json_t *value =
		json_loadb((const char *)response, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &fault);
	json_t *root =
		json_pack("{s:s, s:s, s:o, s:b}", "requestId", invocation->request_id, "outcome",
			  outcome, "phases", tool_phases_json(&environment->phases), "restored",
			  (int)environment->restored);
	if (value)
		json_object_set_new(root, "response", value);
	else
		/* jansson refuses what is not UTF-8: then there is null. */
		json_object_set_new(root, "responseText",
				    json_stringn((const char *)response, size) ?: json_null());
	if (result) {
		json_object_set_new(root, "durationMs",
				    json_real((double)result->duration_us / 1000.0));
		json_object_set_new(root, "maxMemoryKiB",
				    json_integer((json_int_t)result->max_memory_kib));
	}
	if (environment->restored)
		json_object_set_new(root, "restoreSteps",
				    tool_phases_json(&environment->restore_steps));
	json_object_set_new(root, "createSteps", tool_phases_json(&environment->create_steps));
	if (thaw_statistics_get(&environment->vmm, &statistics, NULL) == 0) {
		json_object_set_new(root, "statistics", tool_statistics_json(&statistics));
		if (environment->restored)
			json_object_set_new(
				root, "restoreToRunNs",
				json_integer((json_int_t)(statistics.first_run_ns -
							  environment->restore_asked_ns)));
	}
	return root;
}

static void print_verbose(struct thaw_environment *environment)
{
	struct thaw_statistics s;

	fputs("thaw: phases:", stderr);
	for (size_t i = 0; i < environment->phases.count; i++)
		fprintf(stderr, " %s %.2f ms%s", environment->phases.item[i].name,
			(double)environment->phases.item[i].ns / 1e6,
			i + 1 < environment->phases.count ? "," : "\n");
	if (environment->restored) {
		fputs("thaw: restore:", stderr);
		for (size_t i = 0; i < environment->restore_steps.count; i++)
			fprintf(stderr, " %s %.0f us%s", environment->restore_steps.item[i].name,
				(double)environment->restore_steps.item[i].ns / 1e3,
				i + 1 < environment->restore_steps.count ? "," : "\n");
	}
	if (thaw_statistics_get(&environment->vmm, &s, NULL) < 0)
		return;
	if (environment->restored)
		fprintf(stderr, "thaw: request to first KVM_RUN %.0f us\n",
			(double)(s.first_run_ns - environment->restore_asked_ns) / 1e3);
	fprintf(stderr, "thaw: exits %llu:", (unsigned long long)s.exits_total);
	for (size_t i = 0; i < s.exit_count; i++)
		fprintf(stderr, " %s %llu", s.exits[i].name, (unsigned long long)s.exits[i].value);
	fprintf(stderr,
		"\nthaw: faults %llu minor, %llu major, %llu userfaultfd; read %llu KiB; guest "
		"memory "
		"%llu KiB (%llu its own), drives %llu KiB, thaw-vmm itself %llu KiB\n",
		(unsigned long long)s.minor_faults, (unsigned long long)s.major_faults,
		(unsigned long long)s.uffd_faults, (unsigned long long)(s.bytes_read >> 10),
		(unsigned long long)s.memory_kib, (unsigned long long)s.memory_private_kib,
		(unsigned long long)s.drives_kib, (unsigned long long)s.own_kib);
}

static const char *outcome_name(Thaw__Agent__Outcome outcome)
{
	switch (outcome) {
	case THAW__AGENT__OUTCOME__OUTCOME_OK:
		return "ok";
	case THAW__AGENT__OUTCOME__OUTCOME_ERROR:
		return "error";
	case THAW__AGENT__OUTCOME__OUTCOME_TIMEOUT:
		return "timeout";
	case THAW__AGENT__OUTCOME__OUTCOME_EXIT:
		return "exit";
	case THAW__AGENT__OUTCOME__OUTCOME_OUT_OF_MEMORY:
		return "out-of-memory";
	case THAW__AGENT__OUTCOME__OUTCOME_TOO_LARGE:
		return "too-large";
	default:
		return "unknown";
	}
}

static void print_response(struct tool *tool, struct thaw_environment *environment,
			   const struct thaw_invocation *invocation, const char *outcome,
			   const uint8_t *response, size_t size, const struct thaw_result *result,
			   int flags)
{
	json_t *document =
		tool->json ? result_json(environment, invocation, outcome, response, size, result)
			   : NULL;

	tool_output_lock();
	if (document) {
		char *text = json_dumps(document, JSON_COMPACT);
		puts(text ? text : "null");
		free(text);
		json_decref(document);
	} else {
		fwrite(response, 1, size, stdout);
		if ((flags & INVOCATION_LINE) || isatty(STDOUT_FILENO))
			fputc('\n', stdout);
	}
	fflush(stdout);
	tool_output_unlock();
}

int invocation_run(struct tool *tool, struct thaw_environment *environment, const uint8_t *event,
		   size_t size, int flags, const struct thaw_invocation *ahead)
{
	struct thaw_invocation invocation = {.event = event, .event_size = size};
	struct thaw_result result = {0};
	struct thaw_error err = {0};
	bool first = flags & INVOCATION_FIRST;

	if (ahead)
		invocation = *ahead;
	else
		thaw_request_id_make(invocation.request_id);
	tool_log_newline(stderr);
	if (first)
		thaw_report_failed_start(stderr, environment);
	/* A function whose restore failed is not given the event. */
	if (first && environment->restored &&
	    environment->start_outcome != THAW__AGENT__OUTCOME__OUTCOME_OK) {
		print_response(tool, environment, &invocation,
			       outcome_name(environment->start_outcome),
			       (const uint8_t *)environment->start_error,
			       strlen(environment->start_error), NULL, flags);
		return TOOL_FUNCTION;
	}
	tool_output_lock();
	thaw_report_start(stderr, environment, &invocation);
	tool_output_unlock();
	if (thaw_environment_invoke(environment, &invocation, &result, &err) < 0)
		return tool_fail(TOOL_FAILED, &err);
	tool_log_newline(stderr);
	tool_output_lock();
	thaw_report_end(stderr, environment, &invocation, &result, first);
	tool_output_unlock();
	print_response(tool, environment, &invocation, outcome_name(result.outcome),
		       result.response, result.response_size, &result, flags);
	if (tool->verbose)
		print_verbose(environment);
	return result.outcome == THAW__AGENT__OUTCOME__OUTCOME_OK ? TOOL_OK : TOOL_FUNCTION;
}
