/* SPDX-License-Identifier: Apache-2.0 */
/* Which trace header functions are handed, and which spans their invocations leave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "host/daemon/invoke_trace.h"
#include "host/daemon/service.h"
#include "host/daemon/targets.h"
#include "host/daemon/worker.h"
#include "lib/clock.h"
#include "tests/unit/service_collector.h"

#define ROOT "Root=1-5759e988-bd862e3fe1be46a994272793"
#define OWN  "53995c3f42cd8ad8"

struct world {
	struct thaw_service service;
	struct thaw_target target;
	struct thaw_worker_job job;
	struct thaw_invoke_trace trace;
	struct thaw_invoke_answer answer;
};

static void world_begin(struct world *w, struct collector *c, bool traced)
{
	*w = (struct world){0};
	w->service.traces = collector_traces(c, (struct thaw_traces_config){.batch_ms = 20000});
	w->target.traced = traced;
	strcpy(w->target.function.name, "orders");
	strcpy(w->target.function.version, "$LATEST");
	strcpy(w->target.function.account, "123456789012");
	w->job.target = &w->target;
	w->job.asked_ns = thaw_monotonic_ns();
	strcpy(w->job.invocation.request_id, "id");
}

static const char *hand(struct world *w, const char *header)
{
	return thaw_invoke_trace_begin(&w->trace, &w->service, &w->target, header);
}

static void what_a_function_is_handed(void **state)
{
	struct collector *c = *state;
	struct world w;
	char own[128];

	world_begin(&w, c, false);
	/* PassThrough: as it came, if it is one. */
	assert_null(hand(&w, NULL));
	assert_false(w.trace.wanted);
	assert_null(hand(&w, "Root=1"));
	assert_false(w.trace.wanted);
	assert_string_equal(hand(&w, "Self=x;" ROOT ";Sampled=1"), "Self=x;" ROOT ";Sampled=1");
	assert_true(w.trace.wanted);
	assert_string_equal(hand(&w, ROOT ";Sampled=0"), ROOT ";Sampled=0");
	assert_false(w.trace.wanted);
	assert_string_equal(hand(&w, ROOT), ROOT);
	assert_false(w.trace.wanted);
	/* Active: always, with the invocation's own span. */
	w.target.traced = true;
	hand(&w, ROOT ";Parent=" OWN);
	snprintf(own, sizeof(own), ROOT ";Parent=%s;Sampled=1", w.trace.span);
	assert_string_equal(w.trace.header, own);
	assert_string_equal(w.trace.xray.parent, OWN);
	assert_true(w.trace.wanted);
	hand(&w, ROOT ";Parent=" OWN ";Sampled=0");
	snprintf(own, sizeof(own), ROOT ";Parent=%s;Sampled=0", w.trace.span);
	assert_string_equal(w.trace.header, own);
	assert_false(w.trace.wanted);
	hand(&w, "nonsense");
	snprintf(own, sizeof(own), "Root=1-%.8s-%.24s;Parent=%s;Sampled=1", w.trace.xray.trace,
		 w.trace.xray.trace + 8, w.trace.span);
	assert_string_equal(w.trace.header, own);
	assert_true(w.trace.wanted);
	assert_true(labs(strtol((char[9]){w.trace.xray.trace[0], w.trace.xray.trace[1],
					  w.trace.xray.trace[2], w.trace.xray.trace[3],
					  w.trace.xray.trace[4], w.trace.xray.trace[5],
					  w.trace.xray.trace[6], w.trace.xray.trace[7]},
				NULL, 16) -
			 (long)time(NULL)) < 60);
	/* Nobody listens: the header is there all the same. */
	thaw_traces_free(w.service.traces);
	w.service.traces = NULL;
	assert_non_null(hand(&w, ROOT));
	assert_false(w.trace.wanted);
	thaw_invoke_trace_end(&w.trace, &w.service, &w.job, &w.answer);
}

static void what_an_invocation_leaves(void **state)
{
	struct collector *c = *state;
	uint64_t t = thaw_monotonic_ns();
	struct world w;

	world_begin(&w, c, true);
	w.job.asked_ns = t - 100;
	/* Cold, and a function error. */
	hand(&w, ROOT ";Parent=" OWN);
	w.job.start = THAW_START_COLD;
	w.job.times = (struct thaw_worker_times){t - 90, t - 50, t - 49, t - 40, t - 10};
	w.answer.function_error = "Unhandled";
	strcpy(w.job.result.error_type, "KeyError");
	thaw_invoke_trace_end(&w.trace, &w.service, &w.job, &w.answer);
	/* Warm, and well. */
	hand(&w, NULL);
	w.job.start = THAW_START_WARM;
	w.job.times = (struct thaw_worker_times){0, 0, t - 60, t - 40, t - 10};
	w.answer.function_error = NULL;
	thaw_invoke_trace_end(&w.trace, &w.service, &w.job, &w.answer);
	/* Throttled. */
	hand(&w, NULL);
	w.job.times = (struct thaw_worker_times){0};
	w.answer.refused = true;
	w.answer.refusal_code = "TooManyRequestsException";
	thaw_invoke_trace_end(&w.trace, &w.service, &w.job, &w.answer);
	thaw_traces_free(w.service.traces);
	assert_int_equal(collector_count(c), 1);
	static const char *const names[] = {"orders", "wait",   "init",   "invoke", "orders",
					    "wait",   "invoke", "orders", "wait"};
	static const uint64_t lengths[] = {0, 10, 40, 30, 0, 40, 30};
	const json_t *spans = collector_spans(c->bodies[0]), *span;
	assert_int_equal(json_array_size(spans), 9);
	for (size_t i = 0; i < 9; i++) {
		span = json_array_get(spans, i);
		assert_string_equal(json_text(span, "name"), names[i]);
		if (i < 7 && lengths[i])
			assert_int_equal(span_times(span, 0, UINT64_MAX), lengths[i]);
	}
	span = json_array_get(spans, 0);
	assert_string_equal(json_text(span, "parentSpanId"), OWN);
	span_check(span, "thaw.start_type", "cold");
	assert_true(json_is_true(span_attribute(span, "faas.coldstart", "boolValue")));
	span_check(span, "error.type", "KeyError");
	span = json_array_get(spans, 4);
	span_check(span, "thaw.start_type", "warm");
	assert_true(json_is_false(span_attribute(span, "faas.coldstart", "boolValue")));
	assert_null(json_object_get(span, "status"));
	span = json_array_get(spans, 7);
	assert_null(span_attribute(span, "thaw.start_type", "stringValue"));
	span_check(span, "error.type", "TooManyRequestsException");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, collector_setup, collector_teardown)
	const struct CMUnitTest tests[] = {
		T(what_a_function_is_handed),
		T(what_an_invocation_leaves),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
