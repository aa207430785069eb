/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "host/telemetry/metrics_gauges.h"
#include "host/telemetry/metrics_internal.h"
#include "host/telemetry/metrics_text.h"

#define LABELS_MAX 4

static const char *const start_names[] = {"cold", "restore", "warm", "provisioned"};
static const char *const reason_names[] = {
	[THAW_POOL_ACCEPTED] = "none",      [THAW_POOL_RESERVED] = "reserved",
	[THAW_POOL_CONCURRENT] = "account", [THAW_POOL_RATE] = "rate",
	[THAW_POOL_MEMORY] = "memory",      [THAW_POOL_STOPPING] = "stopping",
	[THAW_POOL_FAILED] = "failed",
};
static const char *const drop_names[] = {"failed", "age", "reserved", "other"};
static const char *const state_names[] = {"starting", "idle", "busy", "closing"};
_Static_assert(sizeof(start_names) / sizeof(start_names[0]) == THAW_START_TYPES, "");
_Static_assert(sizeof(reason_names) / sizeof(reason_names[0]) == THAW_METRICS_REASONS, "");
_Static_assert(sizeof(drop_names) / sizeof(drop_names[0]) == THAW_ASYNC_DROPS, "");
_Static_assert(sizeof(state_names) / sizeof(state_names[0]) == THAW_POOL_STATES, "");

/* A family of each series' counts, which are beside each other in it, one a value of `label`; or
 * one count without a label. */
struct counters {
	const char *name, *help;
	size_t offset; /* in the series */
	const char *label;
	const char *const *values;
	size_t count;
	bool all; /* those that are 0 too */
};

#define AT(member) offsetof(struct thaw_metrics_series, member)

static const struct counters version_counters[] = {
	{"thaw_invocations_total", "Invocations that came to an end, by how they began.",
	 AT(starts), "start_type", start_names, THAW_START_TYPES, false},
	{"thaw_errors_total", "Invocations that ended with an error of the function.", AT(errors),
	 NULL, NULL, 1, true},
	{"thaw_throttles_total", "Invocations refused for want of concurrency or memory.",
	 AT(throttles), "reason", reason_names, THAW_METRICS_REASONS, false},
	{"thaw_provisioned_spillover_total",
	 "Invocations that found all provisioned concurrency in use.", AT(spilled), NULL, NULL, 1,
	 false},
};

static const struct counters async_counters[] = {
	{"thaw_async_events_received_total", "Asynchronous events taken into the queue.",
	 AT(received), NULL, NULL, 1, true},
	{"thaw_async_events_dropped_total", "Asynchronous events given up.", AT(drops), "reason",
	 drop_names, THAW_ASYNC_DROPS, false},
	{"thaw_dead_letter_errors_total", "Events that could not be sent to a dead-letter queue.",
	 AT(dead_letter), NULL, NULL, 1, true},
	{"thaw_destination_delivery_failures_total",
	 "Records that could not be sent to a destination.", AT(destination), NULL, NULL, 1, true},
};

struct histograms {
	const char *name, *help;
	size_t offset;
};

static const struct histograms version_histograms[] = {
	{"thaw_invoke_duration_seconds", "Time in the function's handler.", AT(duration)},
	{"thaw_init_duration_seconds", "Time of the function's initialisation.", AT(init)},
	{"thaw_restore_duration_seconds", "Time from asking for a restore until it is ready.",
	 AT(restore)},
};

static const struct histograms async_histograms[] = {
	{"thaw_async_event_age_seconds", "Age of events when they reach the function.", AT(age)},
};

/* What is being written: the series, and those of them that a family is of. */
struct rendering {
	struct thaw_metrics_text *text;
	struct thaw_metrics_series **list;
	size_t count;
	bool async;
	const char *family; /* the one whose head is written */
};

/* Nothing is written of a family without samples. */
static void family_begin(struct rendering *r, const char *name, const char *type, const char *help)
{
	if (r->family != name)
		thaw_metrics_text_family(r->text, name, type, help);
	r->family = name;
}

static size_t series_labels(const struct rendering *r, const struct thaw_metrics_series *series,
			    struct thaw_metrics_label labels[LABELS_MAX])
{
	labels[0] = (struct thaw_metrics_label){"account", series->account};
	labels[1] = (struct thaw_metrics_label){"function", series->function};
	labels[2] = (struct thaw_metrics_label){"version", series->version};
	return r->async ? 2 : 3;
}

static void write_counters(struct rendering *r, const struct counters *family)
{
	struct thaw_metrics_label labels[LABELS_MAX];

	for (size_t i = 0; i < r->count; i++) {
		_Atomic uint64_t *counts = (void *)((char *)r->list[i] + family->offset);
		if (r->async != (*r->list[i]->version == 0))
			continue;
		size_t used = series_labels(r, r->list[i], labels);
		for (size_t k = 0; k < family->count; k++) {
			uint64_t value = atomic_load_explicit(&counts[k], memory_order_relaxed);
			if (!value && !family->all)
				continue;
			family_begin(r, family->name, "counter", family->help);
			if (family->label)
				labels[used] = (struct thaw_metrics_label){family->label,
									   family->values[k]};
			thaw_metrics_text_sample(r->text, family->name, labels,
						 used + (family->label != NULL), (double)value);
		}
	}
}

static void write_histogram(struct rendering *r, const struct histograms *family,
			    const struct thaw_metrics_label *labels, size_t count,
			    struct thaw_histogram *histogram)
{
	struct thaw_histogram_view view = {0};

	thaw_histogram_view_add(&view, histogram);
	if (!view.total)
		return;
	family_begin(r, family->name, "histogram", family->help);
	thaw_metrics_text_histogram(r->text, family->name, labels, count, &view);
}

static void write_histograms(struct rendering *r, const struct histograms *family)
{
	struct thaw_metrics_label labels[LABELS_MAX];

	for (size_t i = 0; i < r->count; i++) {
		struct thaw_metrics_series *series = r->list[i];
		if (r->async != (*series->version == 0))
			continue;
		size_t used = series_labels(r, series, labels);
		write_histogram(r, family, labels, used, (void *)((char *)series + family->offset));
	}
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int write_series(struct thaw_metrics *metrics, const char *account,
			struct thaw_metrics_text *text)
{
	struct rendering r = {.text = text};

	pthread_rwlock_rdlock(&metrics->lock);
	int rc = thaw_metrics_list(metrics, account, &r.list, &r.count);
	if (rc == 0) {
		for (size_t i = 0; i < COUNT(version_counters); i++)
			write_counters(&r, &version_counters[i]);
		for (size_t i = 0; i < COUNT(version_histograms); i++)
			write_histograms(&r, &version_histograms[i]);
		r.async = true;
		for (size_t i = 0; i < COUNT(async_counters); i++)
			write_counters(&r, &async_counters[i]);
		for (size_t i = 0; i < COUNT(async_histograms); i++)
			write_histograms(&r, &async_histograms[i]);
		free(r.list);
	}
	pthread_rwlock_unlock(&metrics->lock);
	return rc;
}

/* What belongs to no account. */
static void write_host(struct thaw_metrics *metrics, struct thaw_metrics_text *text)
{
	static const struct histograms steps = {"thaw_restore_step_seconds",
						"Time of each step of restores.", 0};
	static const struct histograms moves = {
		"thaw_environment_transition_seconds",
		"Time environments spent in a state, by the one that followed.", 0};
	struct rendering r = {.text = text};

	size_t count = atomic_load_explicit(&metrics->step_count, memory_order_acquire);
	for (size_t i = 0; i < count; i++) {
		const struct thaw_metrics_label label = {"step", metrics->steps[i].name};
		write_histogram(&r, &steps, &label, 1, &metrics->steps[i].histogram);
	}
	for (size_t from = 0; from < THAW_POOL_STATES; from++) {
		for (size_t to = 0; to < THAW_POOL_STATES; to++) {
			const struct thaw_metrics_label labels[] = {{"from", state_names[from]},
								    {"to", state_names[to]}};
			write_histogram(&r, &moves, labels, 2, &metrics->transitions[from][to]);
		}
	}
	thaw_gauges_write_process(text);
}

int thaw_metrics_render(struct thaw_metrics *metrics, const char *account,
			thaw_metrics_gauges_fn *ask, void *context, char **text, size_t *size)
{
	struct thaw_metrics_text out = {0};
	struct thaw_gauges gauges = {.account = account};

	int rc = write_series(metrics, account, &out);
	if (!account)
		write_host(metrics, &out);
	if (ask) {
		ask(context, &gauges);
		thaw_gauges_write(&gauges, &out);
	}
	thaw_gauges_clear(&gauges);
	if (rc == 0 && !out.data)
		out.data = calloc(1, 1);
	if (rc < 0 || out.failed || !out.data) {
		free(out.data);
		return -ENOMEM;
	}
	*text = out.data;
	*size = out.size;
	return 0;
}
