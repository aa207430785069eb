/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/invoke_trace.h"

#include <stdio.h>
#include <string.h>

#include "host/daemon/service.h"
#include "host/daemon/targets.h"
#include "host/daemon/worker.h"
#include "host/telemetry/traces.h"
#include "lib/clock.h"

static const char *const start_types[THAW_START_TYPES] = {
	[THAW_START_COLD] = "cold",
	[THAW_START_RESTORE] = "restore",
	[THAW_START_WARM] = "warm",
	[THAW_START_PROVISIONED] = "provisioned",
};

const char *thaw_invoke_trace_begin(struct thaw_invoke_trace *trace,
				    const struct thaw_service *service,
				    const struct thaw_target *target, const char *header)
{
	struct thaw_xray ours;

	*trace = (struct thaw_invoke_trace){0};
	bool given = header && thaw_xray_parse(header, &trace->xray) == 0;
	if (!given && !target->traced)
		return NULL;
	if (!given)
		thaw_xray_new(&trace->xray);
	if (target->traced && trace->xray.sampled == THAW_XRAY_UNDECIDED)
		trace->xray.sampled = THAW_XRAY_SAMPLED;
	thaw_span_id_make(trace->span);
	trace->wanted = service->traces && trace->xray.sampled == THAW_XRAY_SAMPLED;
	if (target->traced) {
		ours = trace->xray;
		memcpy(ours.parent, trace->span, sizeof(ours.parent));
		thaw_xray_format(&ours, trace->header);
	} else {
		snprintf(trace->header, sizeof(trace->header), "%s", header);
	}
	return trace->header;
}

/* A stretch, if both its ends are known. */
static struct thaw_trace_stretch stretch(uint64_t begin_ns, uint64_t end_ns)
{
	if (!begin_ns || end_ns < begin_ns)
		return (struct thaw_trace_stretch){0};
	return (struct thaw_trace_stretch){begin_ns, end_ns};
}

static const char *error_type(const struct thaw_worker_job *job,
			      const struct thaw_invoke_answer *answer)
{
	if (answer->refused)
		return answer->refusal_code;
	if (!answer->function_error)
		return "";
	if (*job->result.error_type)
		return job->result.error_type;
	return job->result.outcome == THAW__AGENT__OUTCOME__OUTCOME_TIMEOUT
		       ? "Sandbox.Timedout"
		       : answer->function_error;
}

void thaw_invoke_trace_end(const struct thaw_invoke_trace *trace, struct thaw_service *service,
			   const struct thaw_worker_job *job,
			   const struct thaw_invoke_answer *answer)
{
	const struct thaw_function *function = &job->target->function;
	const struct thaw_worker_times *times = &job->times;

	if (!trace->wanted)
		return;
	struct thaw_trace out = {.whole = {job->asked_ns, thaw_monotonic_ns()}};
	memcpy(out.trace, trace->xray.trace, sizeof(out.trace));
	memcpy(out.parent, trace->xray.parent, sizeof(out.parent));
	memcpy(out.span, trace->span, sizeof(out.span));
	snprintf(out.account, sizeof(out.account), "%s", function->account);
	snprintf(out.function, sizeof(out.function), "%s", function->name);
	snprintf(out.version, sizeof(out.version), "%s", function->version);
	snprintf(out.request_id, sizeof(out.request_id), "%s", job->invocation.request_id);
	snprintf(out.error_type, sizeof(out.error_type), "%s", error_type(job, answer));
	/* What never got as far as an environment, or whose environment did not start, has no type
	 * of start. */
	bool handled = times->handled_ns != 0;
	if (handled)
		snprintf(out.start_type, sizeof(out.start_type), "%s", start_types[job->start]);
	out.cold_start =
		handled && (job->start == THAW_START_COLD || job->start == THAW_START_RESTORE);
	out.restored = handled ? job->start == THAW_START_RESTORE : *job->target->snapshot != 0;
	/* Given up in line: all of it was a wait. */
	uint64_t taken_ns = times->start_ns ? times->start_ns : times->handled_ns;
	out.wait = stretch(job->asked_ns, taken_ns ? taken_ns : out.whole.end_ns);
	out.start = stretch(times->start_ns, times->started_ns);
	out.invoke = stretch(times->invoke_ns, times->invoked_ns);
	thaw_traces_add(service->traces, &out);
}
