/* SPDX-License-Identifier: Apache-2.0 */
#include "host/report.h"

#include "host/telemetry/platform_log.h"

static enum thaw_platform_status status_of(Thaw__Agent__Outcome outcome)
{
	switch (outcome) {
	case THAW__AGENT__OUTCOME__OUTCOME_OK:
		return THAW_PLATFORM_SUCCESS;
	case THAW__AGENT__OUTCOME__OUTCOME_TIMEOUT:
		return THAW_PLATFORM_TIMEOUT;
	default:
		return THAW_PLATFORM_ERROR;
	}
}

/* What a person waits for: from the request for a restore until the handler can take an event. */
static uint64_t restore_us(const struct thaw_environment *environment)
{
	return (environment->restore_ready_ns - environment->restore_asked_ns) / 1000;
}

static void print(FILE *out, const struct thaw_platform_event *event)
{
	char line[THAW_PLATFORM_LINE_MAX];

	thaw_platform_text(line, event);
	fprintf(out, "%s\n", line);
	fflush(out);
}

void thaw_report_start(FILE *out, const struct thaw_environment *environment,
		       const struct thaw_invocation *invocation)
{
	print(out, &(struct thaw_platform_event){
			   .kind = THAW_PLATFORM_START,
			   .request_id = invocation->request_id,
			   .version = environment->function->version,
		   });
}

void thaw_report_failed_start(FILE *out, const struct thaw_environment *environment)
{
	struct thaw_platform_event event = {
		.kind = THAW_PLATFORM_INIT_REPORT,
		.status = status_of(environment->start_outcome),
		.duration_us = environment->start_duration_us,
	};

	if (event.status == THAW_PLATFORM_SUCCESS)
		return;
	if (environment->restored) {
		event.kind = THAW_PLATFORM_RESTORE_REPORT;
		event.duration_us = restore_us(environment);
	}
	print(out, &event);
}

void thaw_report_end(FILE *out, const struct thaw_environment *environment,
		     const struct thaw_invocation *invocation, const struct thaw_result *result,
		     bool first)
{
	struct thaw_platform_event event = {
		.kind = THAW_PLATFORM_END,
		.status = status_of(result->outcome),
		.request_id = invocation->request_id,
		.error_type = result->error_type,
		.duration_us = result->duration_us,
		.billed_ms = thaw_platform_billed_ms(result->duration_us),
		.memory_mib = environment->function->memory_mib,
		.max_memory_kib = result->max_memory_kib,
	};

	if (first && environment->restored) {
		event.first = THAW_PLATFORM_RESTORE;
		event.first_us = restore_us(environment);
		event.first_billed_ms = thaw_platform_billed_ms(environment->start_duration_us);
	} else if (first && environment->start_outcome == THAW__AGENT__OUTCOME__OUTCOME_OK) {
		event.first = THAW_PLATFORM_INIT;
		event.first_us = environment->start_duration_us;
	}
	print(out, &event);
	event.kind = THAW_PLATFORM_REPORT;
	print(out, &event);
}
