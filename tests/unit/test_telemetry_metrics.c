/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics: what a scrape says, bounds on the number of series, summaries, and many threads. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/phases.h"
#include "host/telemetry/metrics.h"
#include "tests/unit/service_prometheus.h"

static void scrape_get(struct scrape *scrape, struct thaw_metrics *metrics, const char *account,
		       thaw_metrics_gauges_fn *gauges)
{
	char *text = NULL;
	size_t size = 0;

	assert_int_equal(thaw_metrics_render(metrics, account, gauges, NULL, &text, &size), 0);
	scrape_parse(scrape, text, size);
}

static void check_value(const struct scrape *scrape, const char *series, double expected)
{
	double value = scrape_value(scrape, series);

	if (isnan(value))
		print_error("there is no %s\n", series);
	assert_float_equal(value, expected, 1e-9);
}

static void invoke(struct thaw_metrics *metrics, const char *account, const char *function,
		   const char *version, uint64_t us)
{
	const struct thaw_metrics_invocation invocation = {
		.account = account,
		.function = function,
		.version = version,
		.start = THAW_START_WARM,
		.duration_us = us,
	};

	thaw_metrics_invocation(metrics, &invocation);
}

#define ORDERS "account=\"1\",function=\"orders\",version=\"7\""

static void some_gauges(void *context, struct thaw_gauges *gauges)
{
	(void)context;
	thaw_gauge(gauges, THAW_GAUGE_ENVIRONMENTS, 3, "idle", "", "");
	thaw_gauge(gauges, THAW_GAUGE_CONCURRENT, 2, "1", "orders", "");
	thaw_gauge(gauges, THAW_GAUGE_ENVIRONMENTS, 4, "busy", "", "");
	thaw_gauge(gauges, THAW_GAUGE_QUEUE_AGE, 1.5, "", "", "");
	thaw_gauge(gauges, THAW_GAUGE_CONCURRENT, 5, "2", "orders", "");
}

static void a_scrape_says_what_happened(void **state)
{
	struct thaw_metrics *m = thaw_metrics_new(NULL, NULL);
	struct thaw_metrics_invocation first = {
		.account = "1",
		.function = "orders",
		.version = "7",
		.start = THAW_START_COLD,
		.error = true,
		.spilled = true,
		.has_init = true,
		.duration_us = 3010,
		.init_us = 110100,
	};
	struct thaw_phases phases = {
		.count = 2,
		.item = {{"memory", 2000000}, {"agent", 40000}},
	};
	struct scrape scrape;

	(void)state;
	thaw_metrics_invocation(m, &first);
	invoke(m, "1", "orders", "7", 1000);
	thaw_metrics_throttle(m, "1", "orders", "7", THAW_POOL_RATE);
	thaw_metrics_async_received(m, "1", "orders");
	thaw_metrics_async_age(m, "1", "orders", 2000000);
	thaw_metrics_async_dropped(m, "1", "orders", THAW_ASYNC_DROP_AGE);
	thaw_metrics_dead_letter_error(m, "1", "orders");
	thaw_metrics_destination_failure(m, "1", "orders");
	thaw_metrics_restore_steps(m, &phases);
	thaw_metrics_transition(m, THAW_POOL_STARTING, THAW_POOL_BUSY, 5000000);
	scrape_get(&scrape, m, NULL, some_gauges);
	check_value(&scrape, "thaw_invocations_total{" ORDERS ",start_type=\"cold\"}", 1);
	check_value(&scrape, "thaw_invocations_total{" ORDERS ",start_type=\"warm\"}", 1);
	check_value(&scrape, "thaw_errors_total{" ORDERS "}", 1);
	check_value(&scrape, "thaw_throttles_total{" ORDERS ",reason=\"rate\"}", 1);
	check_value(&scrape, "thaw_provisioned_spillover_total{" ORDERS "}", 1);
	/* A bound belongs to its bucket. */
	check_value(&scrape, "thaw_invoke_duration_seconds_bucket{" ORDERS ",le=\"0.0005\"}", 0);
	check_value(&scrape, "thaw_invoke_duration_seconds_bucket{" ORDERS ",le=\"0.001\"}", 1);
	check_value(&scrape, "thaw_invoke_duration_seconds_bucket{" ORDERS ",le=\"0.005\"}", 2);
	check_value(&scrape, "thaw_invoke_duration_seconds_bucket{" ORDERS ",le=\"+Inf\"}", 2);
	check_value(&scrape, "thaw_invoke_duration_seconds_sum{" ORDERS "}", 0.00401);
	check_value(&scrape, "thaw_init_duration_seconds_count{" ORDERS "}", 1);
	assert_true(
		isnan(scrape_value(&scrape, "thaw_restore_duration_seconds_count{" ORDERS "}")));
#define ASYNC "account=\"1\",function=\"orders\""
	check_value(&scrape, "thaw_async_events_received_total{" ASYNC "}", 1);
	check_value(&scrape, "thaw_async_event_age_seconds_sum{" ASYNC "}", 2);
	check_value(&scrape, "thaw_async_events_dropped_total{" ASYNC ",reason=\"age\"}", 1);
	check_value(&scrape, "thaw_dead_letter_errors_total{" ASYNC "}", 1);
	check_value(&scrape, "thaw_destination_delivery_failures_total{" ASYNC "}", 1);
	check_value(&scrape, "thaw_restore_step_seconds_sum{step=\"memory\"}", 0.002);
	check_value(&scrape,
		    "thaw_environment_transition_seconds_sum{from=\"starting\",to=\"busy\"}",
		    0.005);
	check_value(&scrape, "thaw_environments{state=\"idle\"}", 3);
	check_value(&scrape, "thaw_environments{state=\"busy\"}", 4);
	check_value(&scrape, "thaw_async_events_oldest_age_seconds", 1.5);
	check_value(&scrape, "thaw_concurrent_executions{account=\"2\",function=\"orders\"}", 5);
	assert_true(scrape_value(&scrape, "process_resident_memory_bytes") > 1e5);
	assert_true(scrape_value(&scrape, "process_open_fds") >= 3);
	scrape_clear(&scrape);
	thaw_metrics_free(m);
}

static void an_account_sees_its_own(void **state)
{
	struct thaw_metrics *m = thaw_metrics_new(NULL, NULL);
	struct scrape scrape;

	(void)state;
	invoke(m, "1", "orders", "7", 1000);
	invoke(m, "2", "orders", "7", 1000);
	invoke(m, "11", "orders", "7", 1000);
	thaw_metrics_transition(m, THAW_POOL_STARTING, THAW_POOL_BUSY, 5000000);
	scrape_get(&scrape, m, "1", some_gauges);
	check_value(&scrape, "thaw_invocations_total{" ORDERS ",start_type=\"warm\"}", 1);
	check_value(&scrape, "thaw_concurrent_executions{account=\"1\",function=\"orders\"}", 2);
	assert_true(scrape.count > 20);
	for (size_t i = 0; i < scrape.count; i++)
		assert_non_null(strstr(scrape.sample[i].series, "{account=\"1\","));
	scrape_clear(&scrape);
	/* Of an account that has nothing, nothing. */
	scrape_get(&scrape, m, "3", some_gauges);
	assert_int_equal(scrape.count, 0);
	scrape_clear(&scrape);
	thaw_metrics_free(m);
}

static void labels_are_escaped(void **state)
{
	struct thaw_metrics *m = thaw_metrics_new(NULL, NULL);
	struct scrape scrape;

	(void)state;
	invoke(m, "1", "a\"} 1\nb\\\xff\xc3\xbc", "7", 1000);
	scrape_get(&scrape, m, NULL, NULL);
	check_value(&scrape,
		    "thaw_errors_total{account=\"1\",function=\"a\\\"} 1\\nb\\\\"
		    "\xef\xbf\xbd\xc3\xbc\",version=\"7\"}",
		    0);
	scrape_clear(&scrape);
	thaw_metrics_free(m);
}

static void series_are_bounded(void **state)
{
	const struct thaw_metrics_limits limits = {.account_series = 10, .series = 25};
	struct thaw_metrics *m = thaw_metrics_new(&limits, NULL);
	struct scrape scrape;
	char name[600], account[16];

	(void)state;
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		invoke(m, "1", name, "1", 1000);
		invoke(m, "1", name, "1", 1000);
	}
	for (int i = 0; i < 50; i++) {
		snprintf(account, sizeof(account), "a%d", i);
		invoke(m, account, "f", "1", 1000);
		thaw_metrics_async_received(m, account, "f");
	}
	/* Nor does a long name take more than its share. */
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	invoke(m, name, name, name, 1000);
	scrape_get(&scrape, m, NULL, NULL);
	size_t series = 0;
	for (size_t i = 0; i < scrape.count; i++)
		series += strncmp(scrape.sample[i].series, "thaw_errors_total{", 18) == 0 ||
			  strncmp(scrape.sample[i].series, "thaw_async_events_rec", 21) == 0;
	assert_int_equal(series, 25 + 2);
	check_value(&scrape,
		    "thaw_invocations_total{account=\"1\",function=\"f9\",version=\"1\","
		    "start_type=\"warm\"}",
		    2);
	check_value(&scrape,
		    "thaw_invocations_total{account=\"1\",function=\"(other)\",version=\"(other)\","
		    "start_type=\"warm\"}",
		    180);
	/* None is lost. */
	assert_true(scrape_sum(&scrape, "thaw_invocations_total") == 251);
	assert_true(scrape_sum(&scrape, "thaw_async_events_received_total") == 50);
	scrape_clear(&scrape);
	/* What is removed makes room. */
	thaw_metrics_remove_function(m, "1", "f9");
	thaw_metrics_remove_function(m, "1", "nothing");
	thaw_metrics_remove_function(m, "none", "f");
	invoke(m, "1", "new", "1", 1000);
	scrape_get(&scrape, m, NULL, NULL);
	assert_true(isnan(scrape_value(
		&scrape, "thaw_errors_total{account=\"1\",function=\"f9\",version=\"1\"}")));
	scrape_clear(&scrape);
	thaw_metrics_free(m);
}

static void removed_functions_are_gone(void **state)
{
	const struct thaw_metrics_limits limits = {.account_series = 4, .series = 4};
	struct thaw_metrics *m = thaw_metrics_new(&limits, NULL);
	struct scrape scrape;

	(void)state;
	/* Many times more than there is room for, but not at once. */
	for (int i = 0; i < 20; i++) {
		invoke(m, "1", "orders", "1", 1000);
		invoke(m, "1", "orders", "2", 1000);
		thaw_metrics_async_received(m, "1", "orders");
		invoke(m, "1", "orders2", "1", 1000);
		thaw_metrics_remove_function(m, "1", "orders");
	}
	scrape_get(&scrape, m, NULL, NULL);
	assert_true(scrape_sum(&scrape, "thaw_invocations_total") == 20);
	assert_true(scrape_sum(&scrape, "thaw_async_events_received_total") == 0);
	check_value(&scrape, "thaw_errors_total{account=\"1\",function=\"orders2\",version=\"1\"}",
		    0);
	scrape_clear(&scrape);
	thaw_metrics_free(m);
}

static void steps_are_bounded(void **state)
{
	struct thaw_metrics *m = thaw_metrics_new(NULL, NULL);
	struct thaw_phases phases = {.count = 1};
	struct scrape scrape;

	(void)state;
	for (int i = 0; i < 100; i++) {
		snprintf(phases.item[0].name, sizeof(phases.item[0].name), "step%d", i);
		thaw_metrics_restore_steps(m, &phases);
	}
	scrape_get(&scrape, m, NULL, NULL);
	check_value(&scrape, "thaw_restore_step_seconds_count{step=\"step62\"}", 1);
	check_value(&scrape, "thaw_restore_step_seconds_count{step=\"(other)\"}", 37);
	scrape_clear(&scrape);
	thaw_metrics_free(m);
}

static void quantiles_are_near(void **state)
{
	struct thaw_histogram histogram = {0};
	struct thaw_histogram_view view = {0};

	(void)state;
	thaw_histogram_view_add(&view, &histogram);
	assert_true(thaw_histogram_quantile_us(&view, 0.5) == 0);
	/* 1 to 100 ms: a hundred values, evenly. */
	for (uint64_t ms = 1; ms <= 100; ms++)
		thaw_histogram_add(&histogram, ms * 1000);
	thaw_histogram_view_add(&view, &histogram);
	assert_int_equal(view.total, 100);
	assert_int_equal(view.sum_us, 5050000);
	assert_float_equal(thaw_histogram_quantile_us(&view, 0.50), 50000, 1);
	assert_float_equal(thaw_histogram_quantile_us(&view, 0.95), 95000, 1);
	assert_float_equal(thaw_histogram_quantile_us(&view, 1), 100000, 1);
	assert_true(thaw_histogram_quantile_us(&view, 0) <= 1000);
	/* Beyond the last bound nobody knows. */
	struct thaw_histogram large = {0};
	view = (struct thaw_histogram_view){0};
	thaw_histogram_add(&large, UINT64_C(1) << 50);
	thaw_histogram_view_add(&view, &large);
	assert_float_equal(thaw_histogram_quantile_us(&view, 0.5), 900e6, 1);
}

static void note_summary(void *context, const struct thaw_metrics_summary *s)
{
	char *text = context;
	size_t used = strlen(text);

	snprintf(text + used, 256 - used, "%s/%s %llu %llu %llu warm %llu %s;", s->account,
		 s->function, (unsigned long long)s->invocations, (unsigned long long)s->errors,
		 (unsigned long long)s->throttles, (unsigned long long)s->starts[THAW_START_WARM],
		 s->p50_us <= s->p95_us && s->p95_us <= s->p99_us && s->p99_us > 0 ? "ok" : "bad");
}

static void summaries_add_versions(void **state)
{
	struct thaw_metrics *m = thaw_metrics_new(NULL, NULL);
	char text[256] = "";
	struct thaw_metrics_invocation failed = {
		.account = "1",
		.function = "orders",
		.version = "2",
		.start = THAW_START_RESTORE,
		.error = true,
		.duration_us = 5000,
	};

	(void)state;
	invoke(m, "2", "orders", "$LATEST", 1000);
	invoke(m, "1", "orders", "1", 1000);
	invoke(m, "1", "orders", "$LATEST", 1000);
	invoke(m, "1", "bills", "1", 1000);
	thaw_metrics_invocation(m, &failed);
	thaw_metrics_async_received(m, "1", "orders");
	thaw_metrics_throttle(m, "1", "orders", "3", THAW_POOL_MEMORY);
	thaw_metrics_summarise(m, NULL, note_summary, text);
	assert_string_equal(text, "1/bills 1 0 0 warm 1 ok;1/orders 3 1 1 warm 2 ok;"
				  "2/orders 1 0 0 warm 1 ok;");
	text[0] = 0;
	thaw_metrics_summarise(m, "2", note_summary, text);
	assert_string_equal(text, "2/orders 1 0 0 warm 1 ok;");
	thaw_metrics_free(m);
}

#define THREADS 4
#define ROUNDS  2000

static void *update(void *context)
{
	struct thaw_metrics *m = context;
	struct thaw_phases phases = {.count = 1};
	char name[16];

	for (int i = 0; i < ROUNDS; i++) {
		invoke(m, "1", "steady", "1", (uint64_t)i);
		snprintf(name, sizeof(name), "f%d", i % 50);
		invoke(m, "1", name, "1", 1);
		if (i % 10 == 0)
			thaw_metrics_remove_function(m, "1", name);
		snprintf(phases.item[0].name, sizeof(phases.item[0].name), "step%d", i % 70);
		thaw_metrics_restore_steps(m, &phases);
	}
	return NULL;
}

static void many_threads(void **state)
{
	struct thaw_metrics *m = thaw_metrics_new(NULL, NULL);
	pthread_t threads[THREADS];
	struct scrape scrape;

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, update, m), 0);
	for (int i = 0; i < 5; i++) {
		scrape_get(&scrape, m, NULL, NULL);
		scrape_clear(&scrape);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	scrape_get(&scrape, m, NULL, NULL);
	check_value(&scrape,
		    "thaw_invocations_total{account=\"1\",function=\"steady\",version=\"1\","
		    "start_type=\"warm\"}",
		    THREADS * ROUNDS);
	assert_true(scrape_sum(&scrape, "thaw_restore_step_seconds_count") == THREADS * ROUNDS);
	scrape_clear(&scrape);
	thaw_metrics_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_scrape_says_what_happened),
		cmocka_unit_test(an_account_sees_its_own),
		cmocka_unit_test(labels_are_escaped),
		cmocka_unit_test(series_are_bounded),
		cmocka_unit_test(removed_functions_are_gone),
		cmocka_unit_test(steps_are_bounded),
		cmocka_unit_test(quantiles_are_near),
		cmocka_unit_test(summaries_add_versions),
		cmocka_unit_test(many_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
