/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "host/telemetry/metrics_internal.h"

static void summary_add(struct thaw_metrics_summary *summary, struct thaw_metrics_series *series)
{
	for (size_t i = 0; i < THAW_START_TYPES; i++) {
		uint64_t starts = atomic_load_explicit(&series->starts[i], memory_order_relaxed);
		summary->starts[i] += starts;
		summary->invocations += starts;
	}
	summary->errors += atomic_load_explicit(&series->errors, memory_order_relaxed);
	for (size_t i = 0; i < THAW_METRICS_REASONS; i++)
		summary->throttles +=
			atomic_load_explicit(&series->throttles[i], memory_order_relaxed);
	thaw_histogram_view_add(&summary->duration, &series->duration);
}

void thaw_metrics_summarise(struct thaw_metrics *metrics, const char *account,
			    thaw_metrics_summary_fn *each, void *context)
{
	struct thaw_metrics_series **list;
	size_t count;

	pthread_rwlock_rdlock(&metrics->lock);
	if (thaw_metrics_list(metrics, account, &list, &count) == 0) {
		for (size_t i = 0; i < count;) {
			struct thaw_metrics_summary summary = {
				.account = list[i]->account,
				.function = list[i]->function,
			};
			/* A function's versions stand beside each other. */
			for (; i < count && strcmp(list[i]->account, summary.account) == 0 &&
			       strcmp(list[i]->function, summary.function) == 0;
			     i++)
				summary_add(&summary, list[i]);
			summary.p50_us = thaw_histogram_quantile_us(&summary.duration, 0.50);
			summary.p95_us = thaw_histogram_quantile_us(&summary.duration, 0.95);
			summary.p99_us = thaw_histogram_quantile_us(&summary.duration, 0.99);
			each(context, &summary);
		}
		free(list);
	}
	pthread_rwlock_unlock(&metrics->lock);
}
