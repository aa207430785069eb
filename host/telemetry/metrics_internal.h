/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the metrics share: the series, and how they are found. */
#ifndef THAW_HOST_TELEMETRY_METRICS_INTERNAL_H
#define THAW_HOST_TELEMETRY_METRICS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "host/phases.h"
#include "host/telemetry/metrics.h"

#define THAW_METRICS_STEPS    64
#define THAW_METRICS_REASONS  (THAW_POOL_FAILED + 1)
#define THAW_METRICS_OTHER    "(other)"
#define THAW_METRICS_NAME_MAX 256 /* a label's value is cut to this: names come checked */

/* Of a version; or, with version "", of a function's asynchronous events. */
struct thaw_metrics_series {
	const char *account, *function, *version; /* the key; owned, in one piece */
	_Atomic uint64_t starts[THAW_START_TYPES];
	_Atomic uint64_t errors, spilled;
	_Atomic uint64_t throttles[THAW_METRICS_REASONS];
	struct thaw_histogram duration, init, restore;
	_Atomic uint64_t received, dead_letter, destination;
	_Atomic uint64_t drops[THAW_ASYNC_DROPS];
	struct thaw_histogram age;
};

struct thaw_metrics_step {
	char name[THAW_PHASE_NAME_MAX];
	struct thaw_histogram histogram;
};

struct thaw_metrics {
	struct thaw_metrics_limits limits;
	pthread_rwlock_t lock; /* of the tree, not of what is counted in it */
	void *tree;            /* tsearch(3) by account, function, version */
	void *accounts;        /* tsearch(3): how many series each has */
	uint32_t count;
	pthread_mutex_t steps_lock;
	_Atomic size_t step_count; /* names below it do not change */
	struct thaw_metrics_step steps[THAW_METRICS_STEPS];
	struct thaw_histogram transitions[THAW_POOL_STATES][THAW_POOL_STATES];
};

/* All series in order of their keys, those of the account unless it is NULL. Under the lock; the
 * caller frees *list. 0 or -ENOMEM. */
int thaw_metrics_list(struct thaw_metrics *metrics, const char *account,
		      struct thaw_metrics_series ***list, size_t *count);

#endif
