/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/top.h"

#include "host/daemon/service.h"
#include "host/daemon/targets.h"
#include "host/network/slots.h"
#include "host/shells.h"
#include "host/store/events.h"
#include "host/telemetry/logs.h"
#include "host/telemetry/metrics.h"
#include "host/telemetry/traces.h"
#include "lib/clock.h"

static const char *const states[THAW_POOL_STATES] = {
	[THAW_POOL_STARTING] = "starting",
	[THAW_POOL_IDLE] = "idle",
	[THAW_POOL_BUSY] = "busy",
	[THAW_POOL_CLOSING] = "closing",
};

static const char *const starts[THAW_START_TYPES] = {
	[THAW_START_COLD] = "cold",
	[THAW_START_RESTORE] = "restore",
	[THAW_START_WARM] = "warm",
	[THAW_START_PROVISIONED] = "provisioned",
};

static void top_function(void *context, const struct thaw_metrics_summary *summary)
{
	json_t *by_type = json_object();

	for (size_t i = 0; i < THAW_START_TYPES; i++)
		json_object_set_new(by_type, starts[i],
				    json_integer((json_int_t)summary->starts[i]));
	json_array_append_new(context,
			      json_pack("{s:s, s:s, s:I, s:I, s:I, s:o, s:f, s:f, s:f}", "account",
					summary->account, "function", summary->function,
					"invocations", (json_int_t)summary->invocations, "errors",
					(json_int_t)summary->errors, "throttles",
					(json_int_t)summary->throttles, "starts", by_type, "p50Ms",
					summary->p50_us / 1e3, "p95Ms", summary->p95_us / 1e3,
					"p99Ms", summary->p99_us / 1e3));
}

json_t *thaw_top(struct thaw_service *service)
{
	json_t *functions = json_array(), *environments = json_object();
	struct thaw_events_count queue = {0};
	struct thaw_http_figures http = {0};
	struct thaw_shells_counts shells = {0};
	struct thaw_pool_counts pool;

	if (service->shells)
		thaw_shells_count(service->shells, &shells);
	thaw_pool_count(service->pool, &pool);
	thaw_events_count(service->store, 0, &queue, NULL);
	if (service->server)
		thaw_http_figures(service->server, &http);
	for (size_t i = 0; i < THAW_POOL_STATES; i++)
		json_object_set_new(environments, states[i], json_integer(pool.environments[i]));
	thaw_metrics_summarise(service->metrics, NULL, top_function, functions);
	return json_pack(
		"{s:{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}, s:o}", "host",
		"environments", environments, "memoryMiB", (json_int_t)pool.memory_mib,
		"memoryLimitMiB", (json_int_t)service->memory_mib, "waiting",
		(json_int_t)pool.waiting, "started", (json_int_t)pool.started, "reused",
		(json_int_t)pool.reused, "queued", (json_int_t)(queue.waiting + queue.taken),
		"shells", (json_int_t)shells.waiting, "connections", (json_int_t)http.connections,
		"uptimeS", (json_int_t)((thaw_monotonic_ns() - service->began_ns) / 1000000000u),
		"functions", functions);
}

static void top_traces(struct thaw_traces *traces, struct thaw_gauges *gauges)
{
	struct thaw_traces_counts counts;

	if (!traces)
		return;
	thaw_traces_count(traces, &counts);
	thaw_gauge(gauges, THAW_GAUGE_TRACES_EXPORTED, (double)counts.exported, "", "", "");
	thaw_gauge(gauges, THAW_GAUGE_TRACES_DROPPED, (double)counts.dropped, "", "", "");
	thaw_gauge(gauges, THAW_GAUGE_TRACES_FAILED, (double)counts.failed, "", "", "");
}

static void top_target(void *context, void *data, uint32_t provisioned,
		       const uint32_t environments[THAW_POOL_STATES])
{
	const struct thaw_function *function = &((const struct thaw_target *)data)->function;
	uint32_t busy = environments[THAW_POOL_BUSY];
	uint32_t ready = environments[THAW_POOL_IDLE] + busy;

	if (!provisioned)
		return;
	ready = ready < provisioned ? ready : provisioned;
	busy = busy < provisioned ? busy : provisioned;
	thaw_gauge(context, THAW_GAUGE_PROVISIONED_READY, ready, function->account, function->name,
		   function->version);
	thaw_gauge(context, THAW_GAUGE_PROVISIONED_BUSY, busy, function->account, function->name,
		   function->version);
	thaw_gauge(context, THAW_GAUGE_PROVISIONED_UTILIZED, (double)busy / provisioned,
		   function->account, function->name, function->version);
}

static void top_concurrent(void *context, const char *account, const char *function, uint32_t jobs)
{
	thaw_gauge(context, THAW_GAUGE_CONCURRENT, jobs, account, function, "");
}

static void top_unreserved(void *context, const char *account, uint32_t jobs)
{
	thaw_gauge(context, THAW_GAUGE_UNRESERVED, jobs, account, "", "");
}

static const struct thaw_pool_watch top_watch = {top_target, top_concurrent, top_unreserved};

static void top_slots(struct thaw_slots *slots, struct thaw_gauges *gauges)
{
	struct thaw_slots_counts counts;

	if (!slots)
		return;
	thaw_slots_count(slots, &counts);
	thaw_gauge(gauges, THAW_GAUGE_SLOTS, counts.waiting, "waiting", "", "");
	thaw_gauge(gauges, THAW_GAUGE_SLOTS, counts.used, "used", "", "");
	thaw_gauge(gauges, THAW_GAUGE_SLOTS_MADE, (double)counts.made, "", "", "");
	thaw_gauge(gauges, THAW_GAUGE_SLOTS_MISSED, (double)counts.missed, "", "", "");
	thaw_gauge(gauges, THAW_GAUGE_SLOTS_FAILED, (double)counts.failed, "", "", "");
}

void thaw_top_gauges(void *context, struct thaw_gauges *gauges)
{
	struct thaw_service *service = context;
	struct thaw_events_count queue = {.oldest_ms = THAW_STORE_UNSET};
	struct thaw_http_figures http = {0};
	struct thaw_logs_counts logs;
	struct thaw_pool_counts pool;

	thaw_pool_watch(service->pool, &top_watch, gauges);
	thaw_pool_count(service->pool, &pool);
	for (size_t i = 0; i < THAW_POOL_STATES; i++)
		thaw_gauge(gauges, THAW_GAUGE_ENVIRONMENTS, pool.environments[i], states[i], "",
			   "");
	thaw_gauge(gauges, THAW_GAUGE_MEMORY, (double)pool.memory_mib * 1048576, "", "", "");
	thaw_gauge(gauges, THAW_GAUGE_MEMORY_LIMIT, (double)service->memory_mib * 1048576, "", "",
		   "");
	thaw_gauge(gauges, THAW_GAUGE_WAITING, pool.waiting, "", "", "");
	if (thaw_events_count(service->store, 0, &queue, NULL) == 0) {
		int64_t age = queue.oldest_ms < 0
				      ? 0
				      : (int64_t)(thaw_realtime_ns() / 1000000) - queue.oldest_ms;
		thaw_gauge(gauges, THAW_GAUGE_QUEUE_LENGTH, (double)(queue.waiting + queue.taken),
			   "", "", "");
		thaw_gauge(gauges, THAW_GAUGE_QUEUE_AGE, (double)age / 1e3, "", "", "");
	}
	thaw_http_figures(service->server, &http);
	thaw_gauge(gauges, THAW_GAUGE_HTTP_CONNECTIONS, (double)http.connections, "", "", "");
	thaw_logs_count(service->logs, &logs);
	thaw_gauge(gauges, THAW_GAUGE_LOG_DROPPED, (double)logs.dropped_bytes, "", "", "");
	thaw_gauge(gauges, THAW_GAUGE_LOG_LOST, (double)logs.lost_records, "", "", "");
	top_slots(service->slots, gauges);
	top_traces(service->traces, gauges);
}
