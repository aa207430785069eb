/* SPDX-License-Identifier: Apache-2.0 */
/* Gauges as they are collected during one scrape. For metrics_render.c. */
#ifndef THAW_HOST_TELEMETRY_METRICS_GAUGES_H
#define THAW_HOST_TELEMETRY_METRICS_GAUGES_H

#include "host/telemetry/metrics.h"
#include "host/telemetry/metrics_text.h"

/* They come in any order, but a family's samples must stand together: each family has a text. */
struct thaw_gauges {
	const char *account; /* NULL: all */
	struct thaw_metrics_text text[THAW_GAUGES];
};

void thaw_gauges_write(struct thaw_gauges *gauges, struct thaw_metrics_text *text);
void thaw_gauges_clear(struct thaw_gauges *gauges);

/* The daemon's own memory, descriptors and processor time, under Prometheus' usual names. */
void thaw_gauges_write_process(struct thaw_metrics_text *text);

#endif
