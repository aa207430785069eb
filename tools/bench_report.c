/* SPDX-License-Identifier: Apache-2.0 */
/* Results as tables and as JSON. */
#include <string.h>

#include "tools/bench.h"

/* Phases as columns: neighbours that belong together are one. */
static const struct {
	const char *title;
	const char *phases[4];
} columns[] = {
	{"vmm", {"spawn", "create"}}, {"boot", {"load", "kernel", "agent", "connect"}},
	{"mounts", {"configure"}},    {"init", {"init"}},
	{"restore", {"restore"}},     {"resume", {"resume"}},
	{"invoke", {"invoke"}},
};
#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static uint64_t column_value(const struct bench_sample *sample, const void *context)
{
	const char *const *phases = context;
	uint64_t sum = 0;

	for (size_t i = 0; i < 4 && phases[i]; i++)
		sum += thaw_phases_get(&sample->phases, phases[i]);
	return sum;
}

static void print_ms(uint64_t ns, int width)
{
	double ms = (double)ns / 1e6;

	if (ns == 0)
		printf("%*s", width, "-");
	else
		printf("%*.*f", width, ms < 9.995 ? 2 : ms < 999.5 ? 1 : 0, ms);
}

static void print_times(const struct bench *bench)
{
	printf("\nFrom nothing to the response, ms (medians; p95 and n of the total)\n%-22s", "");
	for (size_t c = 0; c < COLUMNS; c++)
		printf("%9s", columns[c].title);
	printf("%10s%9s%5s%12s\n", "total", "p95", "n", "cold/this");
	for (size_t i = 0; i < bench->count; i++) {
		const struct bench_series *series = &bench->series[i];
		printf("%-22s", series->name);
		for (size_t c = 0; c < COLUMNS; c++)
			print_ms(bench_median(series, column_value, columns[c].phases), 9);
		print_ms(bench_median(series, bench_total, NULL), 10);
		print_ms(bench_p95(series, bench_total, NULL), 9);
		printf("%5zu", series->count);
		if (bench_ratio(bench, series) > 0 && strcmp(series->kind, "cold") != 0)
			printf("%12.0f", bench_ratio(bench, series));
		putchar('\n');
	}
}

/* Numbers of the statistics by what they count. */
enum {
	COUNT_EXITS,
	COUNT_PAGES,
	COUNT_PRIVATE,
	COUNT_MINOR,
	COUNT_MAJOR,
	COUNT_UFFD,
	COUNT_READ,
	COUNT_OWN
};

static uint64_t count_value(const struct bench_sample *sample, const void *context)
{
	const struct thaw_statistics *s = &sample->statistics;

	switch (*(const int *)context) {
	case COUNT_EXITS:
		return s->exits_total;
	case COUNT_PAGES:
		return s->memory_kib / 4;
	case COUNT_PRIVATE:
		return s->memory_private_kib / 4;
	case COUNT_MINOR:
		return s->minor_faults;
	case COUNT_MAJOR:
		return s->major_faults;
	case COUNT_UFFD:
		return s->uffd_faults;
	case COUNT_READ:
		return s->bytes_read >> 10;
	default:
		return s->own_kib;
	}
}

static void print_counts(const struct bench *bench)
{
	static const struct {
		const char *title;
		int what;
	} list[] = {
		{"exits", COUNT_EXITS},     {"pages", COUNT_PAGES},     {"own", COUNT_PRIVATE},
		{"minor flt", COUNT_MINOR}, {"major flt", COUNT_MAJOR}, {"uffd flt", COUNT_UFFD},
		{"read KiB", COUNT_READ},   {"vmm KiB", COUNT_OWN},
	};

	printf("\nWhat it took (medians): exits of KVM_RUN to thaw-vmm, pages of guest memory "
	       "there\n"
	       "and the clone's own, faults of thaw-vmm, bytes it read, its own memory\n%-22s",
	       "");
	for (size_t c = 0; c < sizeof(list) / sizeof(list[0]); c++)
		printf("%11s", list[c].title);
	putchar('\n');
	for (size_t i = 0; i < bench->count; i++) {
		const struct bench_series *series = &bench->series[i];
		if (strcmp(series->kind, "warm") == 0)
			continue; /* counts of a machine that has answered many */
		printf("%-22s", series->name);
		for (size_t c = 0; c < sizeof(list) / sizeof(list[0]); c++)
			printf("%11llu", (unsigned long long)bench_median(series, count_value,
									  &list[c].what));
		putchar('\n');
	}
}

static void print_steps(const struct bench *bench)
{
	const struct bench_series *first = bench_find(bench, "restore");

	if (!first)
		return;
	const struct thaw_phases *steps = &first->samples[0].create_steps;
	printf("\nMaking the microVM ahead (%s, us):", first->name);
	for (size_t i = 0; i < steps->count; i++)
		printf(" %s %.0f", steps->item[i].name,
		       (double)bench_median(first, bench_create_step, steps->item[i].name) / 1e3);
	printf("\nHost side of a restore, request to first KVM_RUN, by step, us (medians)\n");
	for (size_t i = 0; i < bench->count; i++) {
		const struct bench_series *series = &bench->series[i];
		if (strcmp(series->kind, "restore") != 0 || !series->count)
			continue;
		printf("  %-30s", series->name);
		steps = &series->samples[0].restore_steps;
		for (size_t s = 0; s < steps->count; s++)
			printf(" %s %.0f,", steps->item[s].name,
			       (double)bench_median(series, bench_restore_step,
						    steps->item[s].name) /
				       1e3);
		printf(" in all %.0f (p95 %.0f)\n",
		       (double)bench_median(series, bench_to_run, NULL) / 1e3,
		       (double)bench_p95(series, bench_to_run, NULL) / 1e3);
	}
}

void bench_print(const struct bench *bench)
{
	const struct thaw_function *function = &bench->manifest.function;

	printf("%s: %s, %s, %u MB, on %s\n", bench->manifest.name, function->runtime,
	       function->handler, function->memory_mib, bench->label);
	print_times(bench);
	print_counts(bench);
	print_steps(bench);
}

/* --- JSON --- */

static json_t *json_summary(const struct bench_series *series, bench_value_fn *value,
			    const void *context)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "median",
			 (json_int_t)bench_median(series, value, context), "p95",
			 (json_int_t)bench_p95(series, value, context), "min",
			 (json_int_t)bench_minimum(series, value, context), "max",
			 (json_int_t)bench_maximum(series, value, context));
}

/* An object: name -> summary, names as the first sample has them. */
static json_t *json_named(const struct bench_series *series, const struct thaw_phases *names,
			  bench_value_fn *value)
{
	json_t *object = json_object();

	for (size_t i = 0; i < names->count; i++)
		json_object_set_new(object, names->item[i].name,
				    json_summary(series, value, names->item[i].name));
	return object;
}

static uint64_t exit_value(const struct bench_sample *sample, const void *name)
{
	const struct thaw_statistics *s = &sample->statistics;

	for (size_t i = 0; i < s->exit_count; i++) {
		if (strcmp(s->exits[i].name, name) == 0)
			return s->exits[i].value;
	}
	return 0;
}

static json_t *json_counts(const struct bench_series *series)
{
	static const char *const names[] = {
		[COUNT_EXITS] = "exits",        [COUNT_PAGES] = "pages",
		[COUNT_PRIVATE] = "pages_own",  [COUNT_MINOR] = "minor_faults",
		[COUNT_MAJOR] = "major_faults", [COUNT_UFFD] = "uffd_faults",
		[COUNT_READ] = "read_kib",      [COUNT_OWN] = "vmm_kib",
	};
	const struct thaw_statistics *last = &series->samples[series->count - 1].statistics;
	json_t *object = json_object();
	json_t *exits = json_object();

	for (int what = COUNT_EXITS; what <= COUNT_OWN; what++)
		json_object_set_new(object, names[what], json_summary(series, count_value, &what));
	for (size_t i = 0; i < last->exit_count; i++)
		json_object_set_new(exits, last->exits[i].name,
				    json_summary(series, exit_value, last->exits[i].name));
	json_object_set_new(object, "exits_by_kind", exits);
	return object;
}

static json_t *json_series(const struct bench *bench, const struct bench_series *series)
{
	const struct bench_sample *first = &series->samples[0];
	json_t *samples = json_array();
	bool restore = strcmp(series->kind, "restore") == 0;

	for (size_t i = 0; i < series->count; i++)
		json_array_append_new(samples,
				      json_integer((json_int_t)series->samples[i].total_ns));
	json_t *object = json_pack(
		"{s:s, s:s, s:s, s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:f}", "name", series->name,
		"kind", series->kind, "mode", series->mode, "cache", series->cache, "n",
		(int)series->count, "total_ns", json_summary(series, bench_total, NULL), "ready_ns",
		json_summary(series, bench_ready, NULL), "samples_ns", samples, "phases_ns",
		json_named(series, &first->phases, bench_phase), "counts", json_counts(series),
		"cold_ratio", bench_ratio(bench, series));
	if (strcmp(series->kind, "warm") != 0)
		json_object_set_new(object, "create_steps_ns",
				    json_named(series, &first->create_steps, bench_create_step));
	if (restore) {
		json_object_set_new(object, "restore_steps_ns",
				    json_named(series, &first->restore_steps, bench_restore_step));
		json_object_set_new(object, "to_first_run_ns",
				    json_summary(series, bench_to_run, NULL));
	}
	return object;
}

json_t *bench_json(const struct bench *bench)
{
	const struct thaw_function *function = &bench->manifest.function;
	json_t *list = json_array();

	for (size_t i = 0; i < bench->count; i++) {
		if (bench->series[i].count)
			json_array_append_new(list, json_series(bench, &bench->series[i]));
	}
	return json_pack("{s:s, s:s, s:s, s:i, s:s, s:I, s:I, s:o}", "snapshot",
			 bench->manifest.name, "runtime", function->runtime, "handler",
			 function->handler, "memory_mib", (int)function->memory_mib, "kvm",
			 bench->label, "pages", (json_int_t)bench->manifest.pages, "zero_pages",
			 (json_int_t)bench->manifest.zero_pages, "series", list);
}
