/* SPDX-License-Identifier: Apache-2.0 */
/* Spans of invocations against a collector that is right, slow, full, or not there. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "lib/error.h"
#include "tests/unit/service_collector.h"

#define TRACE "5759e988bd862e3fe1be46a994272793"
#define OWN   "53995c3f42cd8ad8"
#define WAIT  10 /* seconds that nothing here should take */

/* --- what is sent --- */

static struct thaw_trace some_trace(void)
{
	uint64_t now = thaw_monotonic_ns();

	return (struct thaw_trace){
		.trace = TRACE,
		.parent = "00000000000000aa",
		.span = OWN,
		.account = "123456789012",
		.function = "orders",
		.version = "7",
		.request_id = "8b8a0d4c-0000-4000-8000-000000000001",
		.start_type = "restore",
		.cold_start = true,
		.restored = true,
		.whole = {now - 9000, now},
		.wait = {now - 9000, now - 7000},
		.start = {now - 7000, now - 4000},
		.invoke = {now - 4000, now - 1000},
	};
}

static void wait_counts(struct thaw_traces *traces, uint64_t exported, uint64_t failed)
{
	struct thaw_traces_counts counts;
	uint64_t end = thaw_monotonic_ns() + WAIT * UINT64_C(1000000000);

	do {
		usleep(1000);
		thaw_traces_count(traces, &counts);
	} while (counts.exported + counts.failed < exported + failed && thaw_monotonic_ns() < end);
	assert_int_equal(counts.exported, exported);
	assert_int_equal(counts.failed, failed);
}

static void check_child(const json_t *span, const char *name, uint64_t ns)
{
	assert_string_equal(json_text(span, "name"), name);
	assert_string_equal(json_text(span, "traceId"), TRACE);
	assert_string_equal(json_text(span, "parentSpanId"), OWN);
	assert_int_equal(strlen(json_text(span, "spanId")), 16);
	assert_string_not_equal(json_text(span, "spanId"), OWN);
	assert_int_equal(json_integer_value(json_object_get(span, "kind")), 1);
	assert_int_equal(span_times(span, 0, UINT64_MAX), ns);
}

static void an_invocation_is_spans(void **state)
{
	struct collector *c = *state;
	struct thaw_traces *traces =
		collector_traces(c, (struct thaw_traces_config){.batch_ms = 10});
	struct thaw_trace trace = some_trace();
	uint64_t now = thaw_realtime_ns();

	thaw_traces_add(traces, &trace);
	collector_wait(c, 1);
	wait_counts(traces, 4, 0);
	thaw_traces_free(traces);
	assert_int_equal(collector_count(c), 1);
	const json_t *resource = json_object_get(
		json_array_get(json_object_get(c->bodies[0], "resourceSpans"), 0), "resource");
	span_check(resource, "service.name", "thawd");
	const json_t *spans = collector_spans(c->bodies[0]), *span = json_array_get(spans, 0);
	assert_int_equal(json_array_size(spans), 4);
	assert_string_equal(json_text(span, "name"), "orders");
	assert_string_equal(json_text(span, "traceId"), TRACE);
	assert_string_equal(json_text(span, "spanId"), OWN);
	assert_string_equal(json_text(span, "parentSpanId"), "00000000000000aa");
	assert_int_equal(json_integer_value(json_object_get(span, "kind")), 2);
	/* Wall clock time, within what a test may be held up. */
	assert_int_equal(span_times(span, now - 5000000000u, now + 5000000000u), 9000);
	span_check(span, "faas.name", "orders");
	span_check(span, "faas.version", "7");
	span_check(span, "faas.invocation_id", trace.request_id);
	span_check(span, "faas.trigger", "other");
	span_check(span, "cloud.account.id", "123456789012");
	span_check(span, "cloud.region", "eu-test-1");
	span_check(span, "thaw.start_type", "restore");
	assert_true(json_is_true(span_attribute(span, "faas.coldstart", "boolValue")));
	assert_null(json_object_get(span, "status"));
	check_child(json_array_get(spans, 1), "wait", 2000);
	check_child(json_array_get(spans, 2), "restore", 3000);
	check_child(json_array_get(spans, 3), "invoke", 3000);
	/* Three children are three spans. */
	assert_string_not_equal(json_text(json_array_get(spans, 1), "spanId"),
				json_text(json_array_get(spans, 2), "spanId"));
}

static void errors_are_the_guests_words(void **state)
{
	static const struct {
		const char *type, *told;
	} cases[] = {
		{"Runtime.ExitError", "Runtime.ExitError"},
		{"a\"b\\c\x01\x7f/", "a\"b\\c\x01\x7f/"},
		{"Gr\xc3\xb6\xc3\x9f"
		 "e",
		 "Gr\xc3\xb6\xc3\x9f"
		 "e"},
		{"\xff\xc3 \xed\xa0\x80", "?? ???"},
	};
	const size_t count = sizeof(cases) / sizeof(cases[0]);
	struct collector *c = *state;
	struct thaw_traces *traces =
		collector_traces(c, (struct thaw_traces_config){.batch_ms = 20000});
	struct thaw_trace trace = some_trace();

	trace.wait.end_ns = trace.start.end_ns = trace.invoke.end_ns = 0;
	trace.parent[0] = 0;
	for (size_t i = 0; i < count; i++) {
		snprintf(trace.error_type, sizeof(trace.error_type), "%s", cases[i].type);
		thaw_traces_add(traces, &trace);
	}
	/* The end does not wait for the batch's time. */
	thaw_traces_free(traces);
	assert_int_equal(collector_count(c), 1);
	const json_t *spans = collector_spans(c->bodies[0]);
	assert_int_equal(json_array_size(spans), count);
	for (size_t i = 0; i < count; i++) {
		const json_t *span = json_array_get(spans, i);
		const json_t *status = json_object_get(span, "status");
		assert_null(json_object_get(span, "parentSpanId"));
		assert_int_equal(json_integer_value(json_object_get(status, "code")), 2);
		assert_string_equal(json_text(status, "message"), cases[i].told);
		span_check(span, "error.type", cases[i].told);
	}
}

static void batches_have_a_size(void **state)
{
	struct collector *c = *state;
	struct thaw_traces *traces = collector_traces(
		c, (struct thaw_traces_config){.batch_ms = 20000, .batch_spans = 10});
	struct thaw_trace trace = some_trace();

	/* Four spans each: two of them fit, and wait for a third. */
	thaw_traces_add(traces, &trace);
	thaw_traces_add(traces, &trace);
	usleep(50000);
	assert_int_equal(collector_count(c), 0);
	thaw_traces_add(traces, &trace);
	collector_wait(c, 1);
	thaw_traces_free(traces);
	assert_int_equal(collector_count(c), 2);
	assert_int_equal(json_array_size(collector_spans(c->bodies[0])), 8);
	assert_int_equal(json_array_size(collector_spans(c->bodies[1])), 4);
}

/* --- collectors that will not --- */

static void some_answers_ask_for_another_try(void **state)
{
	static const unsigned int again[] = {429, 502, 503, 504};
	struct collector *c = *state;
	struct thaw_traces *traces =
		collector_traces(c, (struct thaw_traces_config){.batch_ms = 1});
	struct thaw_trace trace = some_trace();

	memcpy(c->statuses, again, sizeof(again));
	thaw_traces_add(traces, &trace);
	wait_counts(traces, 4, 0);
	assert_int_equal(collector_count(c), 5);
	/* The very same spans. */
	for (unsigned int i = 1; i < 5; i++)
		assert_true(json_equal(c->bodies[0], c->bodies[i]));
	thaw_traces_free(traces);
}

static void other_answers_are_final(void **state)
{
	static const unsigned int final[] = {400, 404, 500, 307};
	struct collector *c = *state;
	struct thaw_traces *traces =
		collector_traces(c, (struct thaw_traces_config){.batch_ms = 1});
	struct thaw_trace trace = some_trace();

	memcpy(c->statuses, final, sizeof(final));
	for (unsigned int i = 1; i <= 4; i++) {
		thaw_traces_add(traces, &trace);
		wait_counts(traces, 0, 4 * i);
		assert_int_equal(collector_count(c), i);
	}
	thaw_traces_add(traces, &trace);
	wait_counts(traces, 4, 16);
	thaw_traces_free(traces);
}

static void tries_end(void **state)
{
	struct collector *c = *state;
	struct thaw_traces *traces =
		collector_traces(c, (struct thaw_traces_config){.batch_ms = 1, .tries = 3});
	struct thaw_trace trace = some_trace();

	for (unsigned int i = 0; i < 8; i++)
		c->statuses[i] = 503;
	thaw_traces_add(traces, &trace);
	wait_counts(traces, 0, 4);
	assert_int_equal(collector_count(c), 3);
	thaw_traces_free(traces);
}

static void a_part_may_be_refused(void **state)
{
	struct collector *c = *state;
	struct thaw_traces *traces =
		collector_traces(c, (struct thaw_traces_config){.batch_ms = 1});
	struct thaw_trace trace = some_trace();

	c->answer = "{\"partialSuccess\":{\"rejectedSpans\":\"3\",\"errorMessage\":\"no\"}}";
	thaw_traces_add(traces, &trace);
	wait_counts(traces, 1, 3);
	c->answer = "{\"partialSuccess\":{\"rejectedSpans\":99999}}";
	thaw_traces_add(traces, &trace);
	wait_counts(traces, 1, 7);
	c->answer = "[[[\xff";
	thaw_traces_add(traces, &trace);
	wait_counts(traces, 5, 7);
	thaw_traces_free(traces);
}

static void nobody_listens(void **state)
{
	struct collector *c = *state;
	struct thaw_traces_config config = {.batch_ms = 1, .tries = 2};

	thaw_http_stop(c->server, 0);
	c->server = NULL;
	struct thaw_traces *traces = collector_traces(c, config);
	struct thaw_trace trace = some_trace();
	thaw_traces_add(traces, &trace);
	wait_counts(traces, 0, 4);
	thaw_traces_free(traces);
}

static uint64_t ms_of_free(struct thaw_traces *traces)
{
	uint64_t begin = thaw_monotonic_ns();

	thaw_traces_free(traces);
	return (thaw_monotonic_ns() - begin) / 1000000;
}

static void the_end_is_bounded(void **state)
{
	struct collector *c = *state;
	struct thaw_traces_config config = {.batch_ms = 1, .flush_ms = 200};
	struct thaw_trace trace = some_trace();

	/* In the middle of a post that nobody answers. */
	c->hold = true;
	struct thaw_traces *traces = collector_traces(c, config);
	thaw_traces_add(traces, &trace);
	collector_wait(c, 1);
	thaw_traces_add(traces, &trace);
	uint64_t ms = ms_of_free(traces);
	assert_in_range(ms, 150, 1500);
	/* In the middle of a long wait before another try: that is made at once. */
	c->hold = false;
	c->statuses[1] = 503;
	config.backoff_ms = 20000;
	config.flush_ms = 5000;
	traces = collector_traces(c, config);
	thaw_traces_add(traces, &trace);
	collector_wait(c, 2);
	usleep(20000);
	ms = ms_of_free(traces);
	assert_in_range(ms, 0, 2000);
	assert_int_equal(collector_count(c), 3);
}

static void a_full_line_drops(void **state)
{
	struct collector *c = *state;
	struct thaw_traces_config config = {.batch_ms = 1, .line = 8, .flush_ms = 100};
	struct thaw_traces_counts counts;
	struct thaw_trace trace = some_trace();

	c->hold = true;
	struct thaw_traces *traces = collector_traces(c, config);
	thaw_traces_add(traces, &trace);
	collector_wait(c, 1);
	/* The collector has not answered the first: eight fit, and nobody waits. */
	uint64_t begin = thaw_monotonic_ns();
	for (int i = 0; i < 20; i++)
		thaw_traces_add(traces, &trace);
	assert_true(thaw_monotonic_ns() - begin < 1000000000u);
	thaw_traces_count(traces, &counts);
	assert_int_equal(counts.dropped, 12 * 4);
	assert_int_equal(counts.exported + counts.failed, 0);
	thaw_traces_free(traces);
}

static void *add_many(void *opaque)
{
	struct thaw_trace trace = some_trace();

	for (int i = 0; i < 500; i++)
		thaw_traces_add(opaque, &trace);
	return NULL;
}

static void many_threads_add(void **state)
{
	struct collector *c = *state;
	struct thaw_traces_config config = {.batch_ms = 1, .line = 4000};
	struct thaw_traces *traces = collector_traces(c, config);
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_many, traces), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	wait_counts(traces, 4 * 4 * 500, 0);
	thaw_traces_free(traces);
}

static void not_every_url_will_do(void **state)
{
	static const char *const bad[] = {"",
					  "http://",
					  "http:///v1/traces",
					  "ftp://127.0.0.1/",
					  "file:///etc/passwd",
					  "127.0.0.1:4318/v1/traces",
					  "http://127.0.0.1:99999/",
					  "http://a b/"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct thaw_traces_config config = {.url = bad[i], .region = "r"};
		struct thaw_error err = {0};
		if (thaw_traces_url_valid(bad[i]))
			print_error("\"%s\" was taken\n", bad[i]);
		assert_null(thaw_traces_new(&config, &err));
		assert_int_equal(err.code, EINVAL);
	}
	assert_true(thaw_traces_url_valid("https://[::1]:4318/v1/traces"));
	assert_true(thaw_traces_url_valid("HTTP://collector.example:4318"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, collector_setup, collector_teardown)
	const struct CMUnitTest tests[] = {
		T(an_invocation_is_spans),  T(errors_are_the_guests_words),
		T(batches_have_a_size),     T(some_answers_ask_for_another_try),
		T(other_answers_are_final), T(tries_end),
		T(a_part_may_be_refused),   T(nobody_listens),
		T(the_end_is_bounded),      T(a_full_line_drops),
		T(many_threads_add),        cmocka_unit_test(not_every_url_will_do),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
