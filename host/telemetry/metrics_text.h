/* SPDX-License-Identifier: Apache-2.0 */
/* Writing Prometheus' text format 0.0.4: families of samples with labels, into growing memory. */
#ifndef THAW_HOST_TELEMETRY_METRICS_TEXT_H
#define THAW_HOST_TELEMETRY_METRICS_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "host/telemetry/metrics_histogram.h"

/* Empty when zeroed; data is freed by the owner. What does not fit into memory sets `failed`. */
struct thaw_metrics_text {
	char *data;
	size_t size, space;
	bool failed;
};

struct thaw_metrics_label {
	const char *name;
	const char *value; /* any bytes: escaped, and cleaned to UTF-8 */
};

/* "# HELP" and "# TYPE": once for each family, before its samples. */
void thaw_metrics_text_family(struct thaw_metrics_text *text, const char *name, const char *type,
			      const char *help);

void thaw_metrics_text_sample(struct thaw_metrics_text *text, const char *name,
			      const struct thaw_metrics_label *labels, size_t count, double value);

/* As the samples NAME_bucket, NAME_sum and NAME_count, in seconds. At most 7 labels. */
void thaw_metrics_text_histogram(struct thaw_metrics_text *text, const char *name,
				 const struct thaw_metrics_label *labels, size_t count,
				 const struct thaw_histogram_view *view);

/* Appends all of `more`. */
void thaw_metrics_text_append(struct thaw_metrics_text *text, const struct thaw_metrics_text *more);

#endif
