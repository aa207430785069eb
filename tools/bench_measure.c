/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cold.h"
#include "host/doctor.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "tools/bench.h"
#include "tools/invocation.h"

/* One measuring of one snapshot. */
struct measure {
	struct tool *tool;
	const struct bench_plan *plan;
	const struct thaw_host *host;
	struct restore restore;
	uint8_t *event;
	size_t size;
	struct bench *bench;
};

static void progress(const struct bench_series *series, int64_t done, int64_t of)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%s: %lld of %lld%s", series->name, (long long)done,
			(long long)of, done == of ? "\r\033[K" : "");
	else if (done == of)
		fprintf(stderr, "thaw: %s: %lld measured\n", series->name, (long long)of);
	fflush(stderr);
}

static struct bench_series *series_add(struct bench *bench, const char *kind, const char *mode,
				       const char *cache)
{
	struct bench_series *series = &bench->series[bench->count++];

	series->kind = kind;
	series->mode = mode;
	series->cache = cache;
	snprintf(series->name, sizeof(series->name), "%s%s%s%s", kind, *mode ? " " : "", mode,
		 strcmp(cache, "empty") == 0 ? ", cache empty" : "");
	return series;
}

static struct bench_sample *sample_add(struct bench_series *series)
{
	if (series->count == series->space) {
		size_t space = series->space ? series->space * 2 : 16;
		struct bench_sample *more = realloc(series->samples, space * sizeof(*more));
		if (!more)
			return NULL;
		series->samples = more;
		series->space = space;
	}
	struct bench_sample *sample = &series->samples[series->count];
	memset(sample, 0, sizeof(*sample));
	return sample;
}

/* Invokes once and takes the sample in; phases of `environment` from `from` on belong to it. */
static int measure_invoke(struct bench_series *series, struct thaw_environment *environment,
			  const struct thaw_invocation *invocation, size_t from)
{
	struct bench_sample *sample = sample_add(series);
	struct thaw_result result;
	struct thaw_error err = {0};

	if (!sample)
		return TOOL_FAILED;
	if (environment->start_outcome != THAW__AGENT__OUTCOME__OUTCOME_OK) {
		thaw_error_set(&err, EIO, "%s: the function did not start: %s", series->name,
			       environment->start_error);
		return tool_fail(TOOL_FUNCTION, &err);
	}
	if (thaw_environment_invoke(environment, invocation, &result, &err) < 0) {
		thaw_error_wrap(&err, "%s", series->name);
		return tool_fail(TOOL_FAILED, &err);
	}
	if (result.outcome != THAW__AGENT__OUTCOME__OUTCOME_OK) {
		thaw_error_set(&err, EIO, "%s: the function failed: %.*s", series->name,
			       (int)(result.response_size < 300 ? result.response_size : 300),
			       (const char *)result.response);
		return tool_fail(TOOL_FUNCTION, &err);
	}
	for (size_t i = from; i < environment->phases.count; i++) {
		const struct thaw_phase *phase = &environment->phases.item[i];
		thaw_phases_add(&sample->phases, phase->name, phase->ns);
		sample->total_ns += phase->ns;
		if (strcmp(phase->name, "spawn") != 0 && strcmp(phase->name, "create") != 0)
			sample->ready_ns += phase->ns;
	}
	sample->create_steps = environment->create_steps;
	sample->restore_steps = environment->restore_steps;
	sample->duration_us = result.duration_us;
	if (thaw_statistics_get(&environment->vmm, &sample->statistics, &err) < 0)
		return tool_fail(TOOL_FAILED, &err);
	if (environment->restored)
		sample->to_run_ns = sample->statistics.first_run_ns - environment->restore_asked_ns;
	series->count++;
	return TOOL_OK;
}

static void invocation_make(const struct measure *m, struct thaw_invocation *invocation)
{
	*invocation = (struct thaw_invocation){.event = m->event, .event_size = m->size};
	thaw_request_id_make(invocation->request_id);
}

static int measure_cold_once(struct measure *m, struct bench_series *series)
{
	const struct thaw_function *function = &m->restore.snapshot.manifest.function;
	const struct thaw_cold_code code_drives = {.drive = m->restore.snapshot.code,
						   .layers = m->restore.snapshot.layers};
	struct thaw_cold cold;
	struct thaw_environment environment;
	struct thaw_invocation invocation;
	struct thaw_error err = {0};
	int code;

	if (thaw_cold_open(&cold, m->host, function, &code_drives, NULL, &err) < 0)
		return tool_fail(TOOL_HOST, &err);
	cold.machine.cpu_template = m->restore.snapshot.manifest.cpu_template;
	thaw_environment_init(&environment, m->host, function);
	invocation_make(m, &invocation);
	if (thaw_environment_boot(&environment, &cold.machine, &err) < 0)
		code = tool_fail(TOOL_FAILED, &err);
	else
		code = measure_invoke(series, &environment, &invocation, 0);
	thaw_environment_close(&environment);
	thaw_cold_close(&cold);
	return code;
}

static int measure_cold(struct measure *m)
{
	struct bench_series *series = series_add(m->bench, "cold", "", "");
	int code = TOOL_OK;

	for (int64_t i = 0; code == TOOL_OK && i < m->plan->cold_n; i++) {
		progress(series, i, m->plan->cold_n);
		code = measure_cold_once(m, series);
	}
	progress(series, m->plan->cold_n, m->plan->cold_n);
	return code;
}

/* What a clone reads leaves the page cache, as if the snapshot had not been used for long. */
static void drop_caches(const struct measure *m)
{
	const struct thaw_snapshot *snapshot = &m->restore.snapshot;
	const int files[] = {snapshot->files.state,
			     snapshot->files.index,
			     snapshot->files.frames,
			     snapshot->files.image,
			     snapshot->files.working_set,
			     snapshot->code,
			     snapshot->tmp,
			     m->restore.root};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		thaw_file_drop_cache(files[i]);
}

static int measure_restore_once(struct measure *m, struct bench_series *series,
				Thaw__Vmm__RestoreMode mode, bool empty)
{
	struct thaw_restore_options options = {.mode = mode};
	struct thaw_environment environment;
	struct thaw_invocation invocation;
	cleanup_close int tmp = -1;

	if (empty)
		drop_caches(m);
	int code = restore_prepare(&m->restore, &options);
	if (code != TOOL_OK)
		return code;
	invocation_make(m, &invocation);
	code = restore_clone(&m->restore, &options, &environment, &invocation, &tmp);
	if (code != TOOL_OK)
		return code;
	code = measure_invoke(series, &environment, &invocation, 0);
	thaw_environment_close(&environment);
	return code;
}

static int measure_restore(struct measure *m, Thaw__Vmm__RestoreMode mode, bool empty)
{
	int64_t n = empty ? m->plan->evicted_n : m->plan->n;
	struct bench_series *series =
		series_add(m->bench, "restore", restore_mode_name(mode), empty ? "empty" : "full");

	/* The first fills the caches, and is not counted. */
	int code = empty ? TOOL_OK : measure_restore_once(m, series, mode, false);
	if (!empty && code == TOOL_OK)
		series->count = 0;
	for (int64_t i = 0; code == TOOL_OK && i < n; i++) {
		progress(series, i, n);
		code = measure_restore_once(m, series, mode, empty);
	}
	progress(series, n, n);
	return code;
}

static int measure_warm(struct measure *m)
{
	struct bench_series *series = series_add(m->bench, "warm", "", "");
	struct thaw_restore_options options = {.mode = THAW__VMM__RESTORE_MODE__RESTORE_MODE_MAP};
	struct thaw_environment environment;
	struct thaw_invocation invocation;
	cleanup_close int tmp = -1;

	int code = restore_prepare(&m->restore, &options);
	if (code == TOOL_OK)
		code = restore_clone(&m->restore, &options, &environment, NULL, &tmp);
	if (code != TOOL_OK)
		return code;
	for (int64_t i = 0; code == TOOL_OK && i <= m->plan->warm_n; i++) {
		if (i < m->plan->warm_n)
			progress(series, i, m->plan->warm_n);
		invocation_make(m, &invocation);
		environment.phases.count = 0;
		code = measure_invoke(series, &environment, &invocation, 0);
		if (i == 0 && code == TOOL_OK)
			series->count = 0; /* the first is the restore's */
	}
	progress(series, m->plan->warm_n, m->plan->warm_n);
	thaw_environment_close(&environment);
	return code;
}

static int measure_all(struct measure *m)
{
	int code = TOOL_OK;

	/* Quick ones first: what is wrong shows early. */
	for (size_t mode = 0; code == TOOL_OK && mode < 4; mode++) {
		if (m->plan->modes[mode] && m->plan->n)
			code = measure_restore(m, (Thaw__Vmm__RestoreMode)mode, false);
	}
	for (size_t mode = 0; code == TOOL_OK && mode < 4; mode++) {
		if (m->plan->modes[mode] && m->plan->evicted_n)
			code = measure_restore(m, (Thaw__Vmm__RestoreMode)mode, true);
	}
	if (code == TOOL_OK && m->plan->warm_n)
		code = measure_warm(m);
	if (code == TOOL_OK && m->plan->cold_n)
		code = measure_cold(m);
	return code;
}

int bench_measure(struct tool *tool, const struct bench_plan *plan, const struct thaw_host *host,
		  const char *name, struct bench *bench)
{
	struct measure m = {.tool = tool, .plan = plan, .host = host, .bench = bench};
	struct thaw_error err = {0};

	memset(bench, 0, sizeof(*bench));
	int code = restore_open(&m.restore, host, name);
	if (code != TOOL_OK)
		return code;
	code = tool_event(plan->event, &m.restore.snapshot, &m.event, &m.size);
	if (code == TOOL_OK)
		code = measure_all(&m);
	if (code == TOOL_OK) {
		bench->manifest = m.restore.snapshot.manifest;
		thaw_function_init(&bench->manifest.function);
		bench->manifest.function.variable_count = 0;
		if (thaw_function_copy(&bench->manifest.function,
				       &m.restore.snapshot.manifest.function, &err) < 0)
			code = tool_fail(TOOL_FAILED, &err);
		bench->label = thaw_kvm_label(bench->manifest.software_kvm);
	}
	free(m.event);
	restore_close(&m.restore);
	if (code != TOOL_OK)
		bench_clear(bench);
	return code;
}

void bench_clear(struct bench *bench)
{
	for (size_t i = 0; i < bench->count; i++)
		free(bench->series[i].samples);
	thaw_manifest_clear(&bench->manifest);
	memset(bench, 0, sizeof(*bench));
}
