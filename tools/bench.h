/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `thaw bench` measures and shows. A series is one way to get to a response (cold, restored
 * in some mode with a full or an empty page cache, warm), taken many times; a sample is one of
 * those. Only what was measured is shown.
 */
#ifndef THAW_TOOLS_BENCH_H
#define THAW_TOOLS_BENCH_H

#include "host/manifest.h"
#include "host/phases.h"
#include "host/statistics.h"
#include "tools/restore.h"
#include "tools/tool.h"

#define BENCH_SERIES_MAX 12

struct bench_sample {
	struct thaw_phases phases; /* one behind the other: their sum is the total */
	struct thaw_phases create_steps, restore_steps;
	uint64_t total_ns;
	uint64_t ready_ns;    /* the total, had a thaw-vmm been waiting: without spawn and create */
	uint64_t to_run_ns;   /* request for a restore -> first KVM_RUN */
	uint64_t duration_us; /* the handler's, as the guest measures it */
	struct thaw_statistics statistics;
};

struct bench_series {
	char name[40];
	const char *kind;  /* "cold", "restore", "warm" */
	const char *mode;  /* of a restore, else "" */
	const char *cache; /* "full", "empty", or "" */
	size_t count, space;
	struct bench_sample *samples; /* owned */
};

struct bench_plan {
	int64_t n, cold_n, warm_n, evicted_n;
	bool modes[4];     /* by RestoreMode */
	const char *event; /* a path; NULL: the snapshot's own */
};

/* One snapshot's results. */
struct bench {
	struct thaw_manifest manifest;
	const char *label; /* kind of KVM */
	size_t count;
	struct bench_series series[BENCH_SERIES_MAX];
};

/* Measures. 0, or an exit code, told. Series measured before a failure are dropped. */
int bench_measure(struct tool *tool, const struct bench_plan *plan, const struct thaw_host *host,
		  const char *name, struct bench *bench);
void bench_clear(struct bench *bench);

/* One number of every sample, in the samples' order, into `out` (space for count). */
typedef uint64_t bench_value_fn(const struct bench_sample *sample, const void *context);
uint64_t bench_median(const struct bench_series *series, bench_value_fn *value,
		      const void *context);
/* Nearest rank; of fewer than 20 samples that is the largest. */
uint64_t bench_p95(const struct bench_series *series, bench_value_fn *value, const void *context);
uint64_t bench_minimum(const struct bench_series *series, bench_value_fn *value,
		       const void *context);
uint64_t bench_maximum(const struct bench_series *series, bench_value_fn *value,
		       const void *context);

/* Values to choose from. `context` of the last three is a name. */
uint64_t bench_total(const struct bench_sample *sample, const void *context);
uint64_t bench_ready(const struct bench_sample *sample, const void *context);
uint64_t bench_to_run(const struct bench_sample *sample, const void *context);
uint64_t bench_phase(const struct bench_sample *sample, const void *name);
uint64_t bench_create_step(const struct bench_sample *sample, const void *name);
uint64_t bench_restore_step(const struct bench_sample *sample, const void *name);

/* The first series of that kind, or NULL. */
const struct bench_series *bench_find(const struct bench *bench, const char *kind);
/* Median of cold over median of `series`; 0 when nothing was booted. */
double bench_ratio(const struct bench *bench, const struct bench_series *series);

void bench_print(const struct bench *bench);
json_t *bench_json(const struct bench *bench);
/* DIR/NAME.svg and .png. */
int bench_plot(const struct bench *bench, const char *dir, struct thaw_error *err);

#endif
