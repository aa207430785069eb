/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an invocation has to do with traces: which header its function is handed, and the spans that
 * it leaves (host/telemetry/traces.h).
 *
 * A function whose TracingConfig is Active is always handed a header: in the caller's trace, or a
 * new one, with the invocation's own span as Parent. Whether it is sampled is what the caller says;
 * where nobody has said so it is (AWS takes the first of each second, and 5 % of the others). Other
 * functions (PassThrough) are handed the caller's header as it came, and leave spans when it says
 * Sampled=1. A malformed header is as good as none.
 */
#ifndef THAW_HOST_DAEMON_INVOKE_TRACE_H
#define THAW_HOST_DAEMON_INVOKE_TRACE_H

#include <stdbool.h>

#include "host/telemetry/xray.h"

struct thaw_invoke_answer;
struct thaw_service;
struct thaw_target;
struct thaw_worker_job;

struct thaw_invoke_trace {
	struct thaw_xray xray;        /* the caller's, or a new one */
	char span[THAW_SPAN_ID_TEXT]; /* the invocation's */
	bool wanted;                  /* spans are */
	char header[THAW_XRAY_MAX + 1];
};

/* `header` is the caller's, or NULL. Returns the one for the function, which lies in *trace; or
 * NULL. */
const char *thaw_invoke_trace_begin(struct thaw_invoke_trace *trace,
				    const struct thaw_service *service,
				    const struct thaw_target *target, const char *header);

/* The job is through, or was refused with this answer. Does nothing unless spans are wanted. */
void thaw_invoke_trace_end(const struct thaw_invoke_trace *trace, struct thaw_service *service,
			   const struct thaw_worker_job *job,
			   const struct thaw_invoke_answer *answer);

#endif
