/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's metrics, in Prometheus' text format 0.0.4. Those of Lambda under their Prometheus
 * names, by account, function and version:
 *
 *	Invocations			thaw_invocations_total{start_type}
 *	Errors				thaw_errors_total
 *	Throttles			thaw_throttles_total{reason}
 *	Duration			thaw_invoke_duration_seconds
 *	(init, restore)			thaw_init_duration_seconds, thaw_restore_duration_seconds
 *	ProvisionedConcurrencyInvocations	thaw_invocations_total{start_type="provisioned"}
 *	ProvisionedConcurrencySpilloverInvocations	thaw_provisioned_spillover_total
 *
 * by account and function:
 *
 *	AsyncEventsReceived		thaw_async_events_received_total
 *	AsyncEventAge			thaw_async_event_age_seconds
 *	AsyncEventsDropped		thaw_async_events_dropped_total{reason}
 *	DeadLetterErrors		thaw_dead_letter_errors_total
 *	DestinationDeliveryFailures	thaw_destination_delivery_failures_total
 *
 * of the host: thaw_restore_step_seconds{step}, thaw_environment_transition_seconds{from,to}, and
 * what is asked for at each scrape: thaw_gauge.
 *
 * Updates are safe from any thread; they take a read lock and add to atomic counts, and nothing is
 * allocated once a series exists. What names there are is up to clients, so the number of series is
 * bounded, for each account and in all. What is beyond goes into a series of the account's whose
 * function and version are "(other)", or, when there is no room even for that, into one whose
 * account is "(other)" too.
 */
#ifndef THAW_HOST_TELEMETRY_METRICS_H
#define THAW_HOST_TELEMETRY_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/pool.h"
#include "host/telemetry/metrics_histogram.h"

struct thaw_error;
struct thaw_metrics;
struct thaw_phases;

#define THAW_METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* 0: the default. A function has a series for each version that was invoked, and one for its
 * asynchronous events. */
struct thaw_metrics_limits {
	uint32_t account_series; /* 512 */
	uint32_t series;         /* 4096 */
};

/* `limits` may be NULL. NULL: no memory. */
struct thaw_metrics *thaw_metrics_new(const struct thaw_metrics_limits *limits,
				      struct thaw_error *err);
void thaw_metrics_free(struct thaw_metrics *metrics);

enum thaw_start_type {
	THAW_START_COLD,
	THAW_START_RESTORE,
	THAW_START_WARM,
	THAW_START_PROVISIONED,
	THAW_START_TYPES
};

/* An invocation that came to an end. */
struct thaw_metrics_invocation {
	const char *account, *function, *version;
	enum thaw_start_type start;
	bool error;    /* the function's, a timeout too */
	bool spilled;  /* there is provisioned concurrency, but all of it was busy */
	bool has_init; /* started cold for this */
	bool has_restore;
	uint64_t duration_us;
	uint64_t init_us;
	uint64_t restore_us;
};

void thaw_metrics_invocation(struct thaw_metrics *metrics,
			     const struct thaw_metrics_invocation *invocation);

/* Refused with TooManyRequestsException. */
void thaw_metrics_throttle(struct thaw_metrics *metrics, const char *account, const char *function,
			   const char *version, enum thaw_pool_refusal reason);

enum thaw_async_drop {
	THAW_ASYNC_DROP_FAILED, /* the function failed, and its retries too */
	THAW_ASYNC_DROP_AGE,
	THAW_ASYNC_DROP_RESERVED, /* a reserved concurrency of 0 */
	THAW_ASYNC_DROP_OTHER,
	THAW_ASYNC_DROPS
};

void thaw_metrics_async_received(struct thaw_metrics *metrics, const char *account,
				 const char *function);
/* An event is handed to an environment, so long after it came. */
void thaw_metrics_async_age(struct thaw_metrics *metrics, const char *account, const char *function,
			    uint64_t us);
void thaw_metrics_async_dropped(struct thaw_metrics *metrics, const char *account,
				const char *function, enum thaw_async_drop reason);
void thaw_metrics_dead_letter_error(struct thaw_metrics *metrics, const char *account,
				    const char *function);
void thaw_metrics_destination_failure(struct thaw_metrics *metrics, const char *account,
				      const char *function);

/* The steps of one restore. */
void thaw_metrics_restore_steps(struct thaw_metrics *metrics, const struct thaw_phases *phases);

/* An environment went from one state to another, after `ns` in the first: as thaw_pool_ops tells.
 */
void thaw_metrics_transition(struct thaw_metrics *metrics, enum thaw_pool_state from,
			     enum thaw_pool_state to, uint64_t ns);

/* The function was deleted: its series go. */
void thaw_metrics_remove_function(struct thaw_metrics *metrics, const char *account,
				  const char *function);

/* --- scraping -------------------------------------------------------------------------------- */

/* What is asked for at each scrape. Labels in this order. */
enum thaw_gauge {
	THAW_GAUGE_ENVIRONMENTS, /* state */
	THAW_GAUGE_MEMORY,       /* bytes that environments have of the host */
	THAW_GAUGE_MEMORY_LIMIT, /* bytes they may have */
	THAW_GAUGE_WAITING,      /* invocations in line for memory */
	THAW_GAUGE_SLOTS,        /* state: network slots */
	THAW_GAUGE_SLOTS_MADE,   /* a counter, as the next */
	THAW_GAUGE_SLOTS_MISSED, /* starts that found none in waiting */
	THAW_GAUGE_SLOTS_FAILED,
	THAW_GAUGE_QUEUE_LENGTH,         /* asynchronous events waiting or being worked on */
	THAW_GAUGE_QUEUE_AGE,            /* seconds, of the oldest of them */
	THAW_GAUGE_HTTP_CONNECTIONS,     /* open */
	THAW_GAUGE_CONCURRENT,           /* account, function: invocations under way */
	THAW_GAUGE_UNRESERVED,           /* account: those of functions without reservation */
	THAW_GAUGE_PROVISIONED_READY,    /* account, function, version: environments kept ready */
	THAW_GAUGE_PROVISIONED_BUSY,     /* account, function, version: of these, with an event */
	THAW_GAUGE_PROVISIONED_UTILIZED, /* account, function, version: busy to all, 0 to 1 */
	THAW_GAUGE_LOG_DROPPED,          /* bytes of logs beyond the rate, a counter */
	THAW_GAUGE_LOG_LOST,             /* records of logs that the disk did not take, a counter */
	THAW_GAUGE_TRACES_EXPORTED,      /* spans that the collector has, a counter; as the next */
	THAW_GAUGE_TRACES_DROPPED,       /* those for which there was no room, or no time */
	THAW_GAUGE_TRACES_FAILED,        /* those it did not take */
	THAW_GAUGES
};

struct thaw_gauges;

/* For the callback: one value, with as many labels as the gauge has (else ""). A series must be
 * told once only; they may come in any order. */
void thaw_gauge(struct thaw_gauges *gauges, enum thaw_gauge gauge, double value, const char *first,
		const char *second, const char *third);

/* Called while no lock is held. */
typedef void thaw_metrics_gauges_fn(void *context, struct thaw_gauges *gauges);

/* All that there is as a text of Prometheus' format, terminated; the caller frees *text. With an
 * account only what has its label: nothing of other accounts and of the host. `gauges` may be NULL.
 * 0 or -ENOMEM. */
int thaw_metrics_render(struct thaw_metrics *metrics, const char *account,
			thaw_metrics_gauges_fn *gauges, void *context, char **text, size_t *size);

/* --- for people ------------------------------------------------------------------------------ */

/* One function, all its versions, since the daemon began. */
struct thaw_metrics_summary {
	const char *account, *function; /* valid within the callback */
	uint64_t invocations, errors, throttles;
	uint64_t starts[THAW_START_TYPES];
	double p50_us, p95_us, p99_us;
	struct thaw_histogram_view duration; /* to subtract an earlier one from */
};

/* Called under the read lock: be quick, and call nothing of this module but histograms. */
typedef void thaw_metrics_summary_fn(void *context, const struct thaw_metrics_summary *summary);

/* Each function of the account, or of all for NULL, by account and name. */
void thaw_metrics_summarise(struct thaw_metrics *metrics, const char *account,
			    thaw_metrics_summary_fn *each, void *context);

#endif
