/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A histogram of times, updated by any thread without a lock: a count for each stretch between two
 * bounds, and the sum. All histograms have the same bounds, from 50 microseconds to the 15 minutes
 * that a function may take.
 */
#ifndef THAW_HOST_TELEMETRY_METRICS_HISTOGRAM_H
#define THAW_HOST_TELEMETRY_METRICS_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define THAW_HISTOGRAM_BOUNDS 20

/* Upper bounds, inclusive, in microseconds. */
extern const uint64_t thaw_histogram_bounds_us[THAW_HISTOGRAM_BOUNDS];

/* While it is updated. */
struct thaw_histogram {
	_Atomic uint64_t counts[THAW_HISTOGRAM_BOUNDS + 1]; /* the last: beyond all bounds */
	_Atomic uint64_t sum_us;
};

/* What one held at a moment, for reading. */
struct thaw_histogram_view {
	uint64_t counts[THAW_HISTOGRAM_BOUNDS + 1];
	uint64_t sum_us;
	uint64_t total; /* of the counts */
};

void thaw_histogram_add(struct thaw_histogram *histogram, uint64_t us);

/* Adds what it holds to `view`. The sum may be an update ahead of the counts, or behind. */
void thaw_histogram_view_add(struct thaw_histogram_view *view, struct thaw_histogram *histogram);

/* The time that a part `q` (0 to 1) of the values is not above, as near as the bounds tell: within
 * a stretch values are taken for evenly spread, and beyond the last bound for that bound. 0 when
 * there are none. */
double thaw_histogram_quantile_us(const struct thaw_histogram_view *view, double q);

#endif
