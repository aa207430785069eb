/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The picture: how long to the response on a logarithmic axis, what a restore is made of, and
 * what a cold boot is made of. gnuplot draws it, from data in its own input.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/subprocess.h"
#include "lib/error.h"
#include "tools/bench.h"

#define BAR 0.34 /* half a bar's height, of 1 */

/* A phase has its colour in both lower panels. */
static const struct {
	const char *phase, *title, *colour;
} restore_parts[] =
	{
		{"spawn", "start thaw-vmm", "#bcbddc"},
		{"create", "make the microVM", "#807dba"},
		{"restore", "load memory and state", "#4292c6"},
		{"resume", "resume the function", "#41ab5d"},
		{"invoke", "handle the event", "#fe9929"},
},
  cold_parts[] = {
	  {"create", "make the microVM", "#807dba"},
	  {"kernel", "kernel", "#4292c6"},
	  {"agent", "agent", "#6baed6"},
	  {"configure", "mounts", "#9ecae1"},
	  {"init", "init of the function", "#41ab5d"},
	  {"invoke", "handle the event", "#fe9929"},
};

/* Below the axis' label. */
#define KEY "set key outside below horizontal samplen 1 font ',11' maxrows 1\n"

/* Rows of text's height that a panel takes beside its bars: heading, axis; and its key. */
#define PANEL_ROWS     2.9
#define PANEL_KEY_ROWS 1.2

/* gnuplot centres titles: a label at the corner reads better. */
static void plot_heading(FILE *out, const char *text)
{
	fprintf(out, "set label 1 \"%s\" at graph 0,1 offset 0,0.7 left font ',13'\n", text);
}

static void plot_quote(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			continue;
		fputc(*text == '_' ? '-' : *text, out);
	}
	fputc('"', out);
}

/* Bars lie one below the other: number 0 is the topmost. */
static void plot_yaxis(FILE *out, const struct bench *bench, const size_t *rows, size_t count)
{
	fprintf(out,
		"set yrange [%f:0.5]\nunset ytics\nset ytics nomirror scale 0 textcolor rgb "
		"'#000000' (",
		-(double)count + 0.5);
	for (size_t i = 0; i < count; i++) {
		plot_quote(out, bench->series[rows[i]].name);
		fprintf(out, " %d%s", -(int)i, i + 1 < count ? ", " : ")\n");
	}
}

static void plot_totals(FILE *out, const struct bench *bench)
{
	size_t rows[BENCH_SERIES_MAX], count = 0;

	/* Cold first, then what is quicker. */
	for (size_t i = bench->count; i-- > 0;) {
		if (strcmp(bench->series[i].kind, "cold") == 0 && bench->series[i].count)
			rows[count++] = i;
	}
	for (size_t i = 0; i < bench->count; i++) {
		if (strcmp(bench->series[i].kind, "cold") != 0 && bench->series[i].count)
			rows[count++] = i;
	}
	fprintf(out, "$totals << EOD\n");
	for (size_t i = 0; i < count; i++) {
		const struct bench_series *series = &bench->series[rows[i]];
		double ms = (double)bench_median(series, bench_total, NULL) / 1e6;
		double p95 = (double)bench_p95(series, bench_total, NULL) / 1e6;
		fprintf(out, "%f %d %f \"%.*f ms\" %s\n", ms, -(int)i, p95 > ms ? p95 : ms,
			ms < 10 ? 1 : 0, ms,
			strcmp(series->kind, "cold") == 0   ? "0x2171b5"
			: strcmp(series->kind, "warm") == 0 ? "0xfe9929"
							    : "0x41ab5d");
	}
	fputs("EOD\nset logscale x\nset format x \"%g\"\nset xrange [1:*]\nunset key\n", out);
	fputs("set xlabel \"ms, logarithmic: bar = median, line = 95th percentile\"\n", out);
	plot_heading(out, "From nothing to the response");
	plot_yaxis(out, bench, rows, count);
	fprintf(out,
		"plot $totals using 1:2:(1):1:($2-%f):($2+%f):5 with boxxyerror lc rgb variable, "
		"'' using 1:2:1:3 with xerrorbars pt -1 lw 1.5 lc rgb '#555555', "
		"'' using ($3*1.15):2:4 with labels left font ',11'\n"
		"unset logscale x\n",
		BAR, BAR);
}

struct part {
	const char *phase, *title, *colour;
};

static void plot_stack(FILE *out, const struct bench *bench, const size_t *rows, size_t count,
		       const struct part *parts, size_t part_count, double unit)
{
	for (size_t p = 0; p < part_count; p++) {
		fprintf(out, "$part%zu << EOD\n", p);
		for (size_t i = 0; i < count; i++) {
			const struct bench_series *series = &bench->series[rows[i]];
			double from = 0;
			for (size_t before = 0; before < p; before++)
				from += (double)bench_median(series, bench_phase,
							     parts[before].phase);
			double length = (double)bench_median(series, bench_phase, parts[p].phase);
			fprintf(out, "%f %d %f %f\n", from / unit, -(int)i, from / unit,
				(from + length) / unit);
		}
		fputs("EOD\n", out);
	}
	plot_yaxis(out, bench, rows, count);
	fputs("plot ", out);
	for (size_t p = 0; p < part_count; p++)
		fprintf(out,
			"$part%zu using 1:2:3:4:($2-%f):($2+%f) with boxxyerror lc rgb '%s' title "
			"'%s'%s",
			p, BAR, BAR, parts[p].colour, parts[p].title,
			p + 1 < part_count ? ", " : "\n");
}

static void plot_script(FILE *out, const struct bench *bench, const char *terminal,
			const char *path)
{
	size_t restores[BENCH_SERIES_MAX], cold[1], restore_count = 0, cold_count = 0, total = 0;

	for (size_t i = 0; i < bench->count; i++) {
		if (!bench->series[i].count)
			continue;
		total++;
		if (strcmp(bench->series[i].kind, "cold") == 0)
			cold[cold_count++] = i;
		else
			restores[restore_count++] = i;
	}
	double totals_rows = (double)total + PANEL_ROWS;
	double restore_rows =
		restore_count ? (double)restore_count + PANEL_ROWS + PANEL_KEY_ROWS : 0;
	double cold_rows = cold_count ? (double)cold_count + PANEL_ROWS + PANEL_KEY_ROWS : 0;
	double rows = 1.2 + totals_rows + restore_rows + cold_rows;
	double height = rows * 34, at = 1.0, share;
	fprintf(out, "set terminal %s size 1000,%.0f font 'Sans,12' background '#ffffff'\n",
		terminal, height);
	fputs("set output ", out);
	fprintf(out, "\"%s\"\n", path);
	fputs("set style fill solid 1.0 noborder\nset border 1 lc rgb '#888888'\n"
	      "set grid xtics lc rgb '#dddddd'\nset lmargin 27\nset rmargin 12\nset tmargin 1.8\n"
	      "set xtics nomirror textcolor rgb '#000000'\n"
	      "set multiplot title ",
	      out);
	fprintf(out, "\"%s (%s, %u MB) on %s\" font ',15'\n", bench->manifest.name,
		bench->manifest.function.runtime, bench->manifest.function.memory_mib,
		bench->label);
	at -= 1.2 / rows;
	share = totals_rows / rows;
	fprintf(out, "set size 1,%f\nset origin 0,%f\n", share, at - share);
	plot_totals(out, bench);
	at -= share;
	if (restore_count) {
		share = restore_rows / rows;
		fprintf(out,
			"set size 1,%f\nset origin 0,%f\nset xrange [0:*]\nset xlabel 'ms'\n" KEY,
			share, at - share);
		plot_heading(out, "What a restore and a warm invocation are made of");
		plot_stack(out, bench, restores, restore_count, (const struct part *)restore_parts,
			   sizeof(restore_parts) / sizeof(restore_parts[0]), 1e6);
		at -= share;
	}
	if (cold_count) {
		share = cold_rows / rows;
		fprintf(out,
			"set size 1,%f\nset origin 0,%f\nset xrange [0:*]\nset xlabel 's'\n" KEY,
			share, at - share);
		plot_heading(out, "What a cold boot is made of");
		plot_stack(out, bench, cold, cold_count, (const struct part *)cold_parts,
			   sizeof(cold_parts) / sizeof(cold_parts[0]), 1e9);
	}
	fputs("unset multiplot\n", out);
}

int bench_plot(const struct bench *bench, const char *dir, struct thaw_error *err)
{
	static const struct {
		const char *terminal, *suffix;
	} forms[] = {{"svg", "svg"}, {"pngcairo", "png"}};
	char *const argv[] = {(char *)"gnuplot", (char *)"-", NULL};
	char path[4096];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < 2; i++) {
		char *script = NULL;
		size_t size = 0;
		FILE *out = open_memstream(&script, &size);
		if (!out)
			return thaw_error_errno(err, ENOMEM, "drawing");
		int n = snprintf(path, sizeof(path), "%s/%s.%s", dir, bench->manifest.name,
				 forms[i].suffix);
		if (n < 0 || (size_t)n >= sizeof(path) || strpbrk(path, "\"\\\n`"))
			rc = thaw_error_set(err, EINVAL, "gnuplot cannot write to \"%s\"", path);
		else
			plot_script(out, bench, forms[i].terminal, path);
		fclose(out);
		if (rc == 0)
			rc = thaw_subprocess_run(argv, "gnuplot-nox", script, size, err);
		free(script);
	}
	return rc;
}
