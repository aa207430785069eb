/* SPDX-License-Identifier: Apache-2.0 */
#include "host/telemetry/metrics_histogram.h"

#include <stdatomic.h>

const uint64_t thaw_histogram_bounds_us[THAW_HISTOGRAM_BOUNDS] = {
	50,     100,    250,    500,     1000,    2500,    5000,     10000,    25000,     50000,
	100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000, 100000000, 900000000,
};

void thaw_histogram_add(struct thaw_histogram *histogram, uint64_t us)
{
	size_t i = 0;

	while (i < THAW_HISTOGRAM_BOUNDS && us > thaw_histogram_bounds_us[i])
		i++;
	/* Counts are counts: nobody concludes from one to another piece of memory. */
	atomic_fetch_add_explicit(&histogram->counts[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&histogram->sum_us, us, memory_order_relaxed);
}

void thaw_histogram_view_add(struct thaw_histogram_view *view, struct thaw_histogram *histogram)
{
	for (size_t i = 0; i <= THAW_HISTOGRAM_BOUNDS; i++) {
		uint64_t count = atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
		view->counts[i] += count;
		view->total += count;
	}
	view->sum_us += atomic_load_explicit(&histogram->sum_us, memory_order_relaxed);
}

double thaw_histogram_quantile_us(const struct thaw_histogram_view *view, double q)
{
	double rank = q * (double)view->total, below = 0;

	if (!view->total)
		return 0;
	for (size_t i = 0; i < THAW_HISTOGRAM_BOUNDS; i++) {
		double count = (double)view->counts[i];
		if (view->counts[i] && below + count >= rank) {
			double low = i ? (double)thaw_histogram_bounds_us[i - 1] : 0;
			double high = (double)thaw_histogram_bounds_us[i];
			return low + (high - low) * (rank - below) / count;
		}
		below += count;
	}
	return (double)thaw_histogram_bounds_us[THAW_HISTOGRAM_BOUNDS - 1];
}
