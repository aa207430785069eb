/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "tools/bench.h"

static int order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The value at `rank` (0..count-1) of the sorted ones; 0 when there is none. */
static uint64_t ranked(const struct bench_series *series, bench_value_fn *value,
		       const void *context, size_t rank)
{
	uint64_t *values = malloc((series->count + 1) * sizeof(*values));
	uint64_t found = 0;

	if (!values)
		return 0;
	for (size_t i = 0; i < series->count; i++)
		values[i] = value(&series->samples[i], context);
	if (series->count) {
		qsort(values, series->count, sizeof(*values), order);
		found = values[rank];
	}
	free(values);
	return found;
}

uint64_t bench_median(const struct bench_series *series, bench_value_fn *value, const void *context)
{
	size_t n = series->count;

	if (n % 2 || n == 0)
		return ranked(series, value, context, n / 2);
	return (ranked(series, value, context, n / 2 - 1) + ranked(series, value, context, n / 2)) /
	       2;
}

uint64_t bench_p95(const struct bench_series *series, bench_value_fn *value, const void *context)
{
	size_t n = series->count;

	return n ? ranked(series, value, context, (n * 95 + 99) / 100 - 1) : 0;
}

uint64_t bench_minimum(const struct bench_series *series, bench_value_fn *value,
		       const void *context)
{
	return ranked(series, value, context, 0);
}

uint64_t bench_maximum(const struct bench_series *series, bench_value_fn *value,
		       const void *context)
{
	return series->count ? ranked(series, value, context, series->count - 1) : 0;
}

uint64_t bench_total(const struct bench_sample *sample, const void *context)
{
	(void)context;
	return sample->total_ns;
}

uint64_t bench_ready(const struct bench_sample *sample, const void *context)
{
	(void)context;
	return sample->ready_ns;
}

uint64_t bench_to_run(const struct bench_sample *sample, const void *context)
{
	(void)context;
	return sample->to_run_ns;
}

uint64_t bench_phase(const struct bench_sample *sample, const void *name)
{
	return thaw_phases_get(&sample->phases, name);
}

uint64_t bench_create_step(const struct bench_sample *sample, const void *name)
{
	return thaw_phases_get(&sample->create_steps, name);
}

uint64_t bench_restore_step(const struct bench_sample *sample, const void *name)
{
	return thaw_phases_get(&sample->restore_steps, name);
}

const struct bench_series *bench_find(const struct bench *bench, const char *kind)
{
	for (size_t i = 0; i < bench->count; i++) {
		if (strcmp(bench->series[i].kind, kind) == 0 && bench->series[i].count)
			return &bench->series[i];
	}
	return NULL;
}

double bench_ratio(const struct bench *bench, const struct bench_series *series)
{
	const struct bench_series *cold = bench_find(bench, "cold");
	uint64_t of = bench_median(series, bench_total, NULL);

	return cold && of ? (double)bench_median(cold, bench_total, NULL) / (double)of : 0;
}
