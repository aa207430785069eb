/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "lib/error.h"
#include "tools/bench.h"

#define NAMES_MAX 16
#define RUNS_MAX  100000

static const char help[] =
	"Usage: thaw bench NAME... [OPTIONS]\n"
	"\n"
	"Measures how long a snapshot's function takes to its response from a cold boot, from\n"
	"the snapshot in each restore mode (with its files in the page cache, and without),\n"
	"and warm. Prints tables: phase by phase, median, 95th percentile, ratios, what it\n"
	"took in exits, faults, pages and bytes, and the host's side of a restore by step.\n"
	"Writes DIR/NAME.json with everything, DIR/NAME.svg and DIR/NAME.png.\n"
	"\n"
	"Options:\n"
	"  --n N              restores of each mode (default 30)\n"
	"  --cold-n N         cold boots (default 3)\n"
	"  --warm-n N         warm invocations (default 50)\n"
	"  --evicted-n N      restores of each mode with an empty page cache (default 10)\n"
	"  --modes LIST       of map, uring, uffd, eager, with commas (default: all)\n"
	"  --event FILE       the event, JSON (default: the snapshot's own, or {})\n"
	"  --out DIR          where the files go (default .); --no-plot: no "
	"pictures\n" TOOL_OPTIONS_HELP "\n"
	"Examples:\n"
	"  thaw bench orders --out bench\n"
	"  thaw bench orders --n 100 --cold-n 0 --modes map,uffd --json | jq .functions\n"
	"\n" TOOL_EXIT_CODES;

struct options {
	struct bench_plan plan;
	const char *out;
	bool no_plot;
};

static bool parse_modes(const char *text, bool modes[4])
{
	char list[64];
	char *save;

	memset(modes, 0, 4 * sizeof(modes[0]));
	snprintf(list, sizeof(list), "%s", text);
	for (char *name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		Thaw__Vmm__RestoreMode mode;
		if (!restore_mode_parse(name, &mode)) {
			tool_usage("--modes is a list of map, uring, uffd, eager, not \"%s\"",
				   text);
			return false;
		}
		modes[mode] = true;
	}
	return true;
}

static bool parse_option(struct options *options, int option, const char *value)
{
	struct bench_plan *plan = &options->plan;

	switch (option) {
	case 'n':
		return tool_number("--n", value, 0, RUNS_MAX, &plan->n);
	case 'c':
		return tool_number("--cold-n", value, 0, RUNS_MAX, &plan->cold_n);
	case 'w':
		return tool_number("--warm-n", value, 0, RUNS_MAX, &plan->warm_n);
	case 'x':
		return tool_number("--evicted-n", value, 0, RUNS_MAX, &plan->evicted_n);
	case 'm':
		return parse_modes(value, plan->modes);
	case 'e':
		plan->event = value;
		return true;
	case 'o':
		options->out = value;
		return true;
	default:
		options->no_plot = true;
		return true;
	}
}

/* The processor's name, for whoever reads the figures later. */
static void cpu_model(char *text, size_t size)
{
	char line[256];
	FILE *file = fopen("/proc/cpuinfo", "re");

	snprintf(text, size, "unknown");
	while (file && fgets(line, sizeof(line), file)) {
		char *colon = strchr(line, ':');
		if (strncmp(line, "model name", 10) != 0 || !colon)
			continue;
		snprintf(text, size, "%s", colon + 2);
		text[strcspn(text, "\n")] = 0;
		break;
	}
	if (file)
		fclose(file);
}

static json_t *document(json_t *functions)
{
	char model[128], when[32];
	struct utsname name;
	time_t now = time(NULL);
	struct tm utc;

	gmtime_r(&now, &utc);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &utc);
	cpu_model(model, sizeof(model));
	if (uname(&name) < 0)
		memset(&name, 0, sizeof(name));
	return json_pack("{s:s, s:s, s:{s:s, s:s, s:i}, s:o}", "thaw", THAW_VERSION, "measured",
			 when, "host", "kernel", name.release, "cpu", model, "cpus",
			 (int)sysconf(_SC_NPROCESSORS_ONLN), "functions", functions);
}

static int write_json(const struct bench *bench, const char *dir)
{
	char path[4096];
	struct thaw_error err = {0};
	json_t *functions = json_array();

	json_array_append_new(functions, bench_json(bench));
	json_t *root = document(functions);
	snprintf(path, sizeof(path), "%s/%s.json", dir, bench->manifest.name);
	int rc = json_dump_file(root, path, JSON_INDENT(1));
	json_decref(root);
	if (rc < 0) {
		thaw_error_set(&err, EIO, "writing \"%s\" failed", path);
		return tool_fail(TOOL_HOST, &err);
	}
	return TOOL_OK;
}

static int bench_one(struct tool *tool, const struct options *options, const struct thaw_host *host,
		     const char *name, json_t *all)
{
	struct bench bench;
	struct thaw_error err = {0};

	int code = bench_measure(tool, &options->plan, host, name, &bench);
	if (code != TOOL_OK)
		return code;
	if (tool->json)
		json_array_append_new(all, bench_json(&bench));
	else
		bench_print(&bench);
	code = write_json(&bench, options->out);
	if (code == TOOL_OK && !options->no_plot && bench_plot(&bench, options->out, &err) < 0)
		code = tool_fail(TOOL_HOST, &err);
	if (code == TOOL_OK && !tool->json)
		printf("\nWritten: %s/%s.json%s\n", options->out, name,
		       options->no_plot ? "" : ", .svg, .png");
	bench_clear(&bench);
	return code;
}

int cmd_bench(struct tool *tool, int argc, char **argv)
{
	static const struct option list[] = {{"n", required_argument, NULL, 'n'},
					     {"cold-n", required_argument, NULL, 'c'},
					     {"warm-n", required_argument, NULL, 'w'},
					     {"evicted-n", required_argument, NULL, 'x'},
					     {"modes", required_argument, NULL, 'm'},
					     {"event", required_argument, NULL, 'e'},
					     {"out", required_argument, NULL, 'o'},
					     {"no-plot", no_argument, NULL, 'p'},
					     TOOL_OPTIONS};
	struct options options = {
		.plan = {.n = 30,
			 .cold_n = 3,
			 .warm_n = 50,
			 .evicted_n = 10,
			 .modes = {true, true, true, true}},
		.out = ".",
	};
	struct thaw_host host = THAW_HOST_NONE;
	struct thaw_error err = {0};
	int option, code = TOOL_OK;

	while ((option = tool_option(tool, argc, argv, "", list, help)) != TOOL_DONE) {
		if (option == TOOL_ERROR || !parse_option(&options, option, optarg))
			return tool->helped ? TOOL_OK : TOOL_USAGE;
	}
	if (optind == argc)
		return tool_usage(
			"bench: the name of a snapshot is wanted (see thaw bench --help)");
	if (argc - optind > NAMES_MAX)
		return tool_usage("bench: at most %d snapshots", NAMES_MAX);
	if (mkdir(options.out, 0755) < 0 && errno != EEXIST)
		return tool_usage("bench: --out \"%s\": %s", options.out, strerror(errno));
	if (thaw_host_open(&host, tool->state, &err) < 0 || thaw_host_open_devices(&host, &err) < 0)
		code = tool_fail(TOOL_HOST, &err);
	json_t *all = json_array();
	for (; code == TOOL_OK && optind < argc; optind++)
		code = bench_one(tool, &options, &host, argv[optind], all);
	if (code == TOOL_OK && tool->json)
		tool_print_json(document(all));
	else
		json_decref(all);
	thaw_host_close(&host);
	return code;
}
