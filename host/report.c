/* SPDX-License-Identifier: Apache-2.0 */
#include "host/report.h"

/* Milliseconds, begun ones counted whole: how Lambda bills. */
static unsigned long long billed(uint64_t us)
{
	return (us + 999) / 1000;
}

static double ms(uint64_t us)
{
	return (double)us / 1000.0;
}

static const char *outcome_status(Thaw__Agent__Outcome outcome)
{
	return outcome == THAW__AGENT__OUTCOME__OUTCOME_TIMEOUT ? "timeout" : "error";
}

/* What a person waits for: from the request for a restore until the handler can take an event. */
static uint64_t restore_us(const struct thaw_environment *environment)
{
	return (environment->restore_ready_ns - environment->restore_asked_ns) / 1000;
}

void thaw_report_start(FILE *out, const struct thaw_environment *environment,
		       const struct thaw_invocation *invocation)
{
	fprintf(out, "START RequestId: %s Version: %s\n", invocation->request_id,
		environment->function->version);
	fflush(out);
}

void thaw_report_failed_start(FILE *out, const struct thaw_environment *environment)
{
	if (environment->start_outcome == THAW__AGENT__OUTCOME__OUTCOME_OK)
		return;
	if (environment->restored)
		fprintf(out,
			"RESTORE_REPORT Restore Duration: %.2f ms\tPhase: restore\tStatus: %s\n",
			ms(restore_us(environment)), outcome_status(environment->start_outcome));
	else
		fprintf(out, "INIT_REPORT Init Duration: %.2f ms\tPhase: init\tStatus: %s\n",
			ms(environment->start_duration_us),
			outcome_status(environment->start_outcome));
	fflush(out);
}

void thaw_report_end(FILE *out, const struct thaw_environment *environment,
		     const struct thaw_invocation *invocation, const struct thaw_result *result,
		     bool first)
{
	fprintf(out, "END RequestId: %s\n", invocation->request_id);
	fprintf(out,
		"REPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %llu ms\t"
		"Memory Size: %u MB\tMax Memory Used: %llu MB\t",
		invocation->request_id, ms(result->duration_us), billed(result->duration_us),
		environment->function->memory_mib,
		(unsigned long long)((result->max_memory_kib + 1023) / 1024));
	if (first && environment->restored)
		fprintf(out, "Restore Duration: %.2f ms\tBilled Restore Duration: %llu ms\t",
			ms(restore_us(environment)), billed(environment->start_duration_us));
	else if (first && environment->start_outcome == THAW__AGENT__OUTCOME__OUTCOME_OK)
		fprintf(out, "Init Duration: %.2f ms\t", ms(environment->start_duration_us));
	if (result->outcome == THAW__AGENT__OUTCOME__OUTCOME_TIMEOUT)
		fputs("Status: timeout\t", out);
	else if (result->outcome != THAW__AGENT__OUTCOME__OUTCOME_OK && *result->error_type)
		fprintf(out, "Status: error\tError Type: %s\t", result->error_type);
	fputc('\n', out);
	fflush(out);
}
