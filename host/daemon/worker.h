/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Execution environments as the pool has them: a microVM of one target, with its /tmp, its log and
 * what its start came to. One is restored from its version's snapshot, else booted.
 *
 * Here meet what runs (host/environment.h), when it runs (host/pool.h), and what is told of it
 * (logs, metrics).
 */
#ifndef THAW_HOST_DAEMON_WORKER_H
#define THAW_HOST_DAEMON_WORKER_H

#include "host/daemon/invoke.h"
#include "host/environment.h"
#include "host/pool.h"
#include "host/telemetry/metrics.h"

/* When an invocation came how far: CLOCK_MONOTONIC; 0: it never did. */
struct thaw_worker_times {
	uint64_t start_ns, started_ns; /* of an environment for it, whether it came up or not */
	uint64_t handled_ns;           /* an environment has it */
	uint64_t invoke_ns, invoked_ns;
};

/* One invocation as the pool has it. */
struct thaw_worker_job {
	struct thaw_pool_job job; /* job.data is this */
	struct thaw_target *target;
	struct thaw_invocation invocation;
	uint64_t asked_ns;        /* CLOCK_MONOTONIC: when it came */
	thaw_agent_part_fn *part; /* parts of the response, as they come; NULL: all at the end */
	void *part_context;

	/* What it came to: */
	bool ran;                  /* there is a result */
	struct thaw_result result; /* its texts are those of the environment, until `done` */
	char *error_document;      /* in place of a response, when the start failed; owned */
	enum thaw_start_type start;
	bool first;                   /* the environment's first invocation */
	uint64_t init_us, restore_us; /* of a start for this; 0: none */
	struct thaw_worker_times times;
	char failure[512];          /* why it did not run */
	struct thaw_log_tail *tail; /* what is printed goes there too; NULL: nobody wants it */
};

/* The context is the service. */
extern const struct thaw_pool_ops thaw_worker_ops;

#endif
