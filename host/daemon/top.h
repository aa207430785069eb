/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon does just now: for `thaw top`, and the gauges of a scrape. */
#ifndef THAW_HOST_DAEMON_TOP_H
#define THAW_HOST_DAEMON_TOP_H

#include <jansson.h>

struct thaw_gauges;
struct thaw_service;

/* The caller's: {"host": {...}, "functions": [...]}. */
json_t *thaw_top(struct thaw_service *service);

/* thaw_metrics_gauges_fn; the context is the service. */
void thaw_top_gauges(void *service, struct thaw_gauges *gauges);

#endif
