/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/host.h"
#include "host/snapshot_create.h"
#include "host/snapshot_store.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "tools/function_options.h"
#include "tools/invocation.h"
#include "tools/tap.h"

static const char help[] =
	"Usage: thaw snapshot create --runtime NAME --code DIR|ZIP --handler NAME -o NAME "
	"[OPTIONS]\n"
	"\n"
	"Boots a microVM, starts the function in it, freezes it when it is initialised (after\n"
	"its before-snapshot hooks) and saves it as snapshot NAME. With an event, one clone is\n"
	"restored at once to learn which pages an invocation touches (the working set).\n"
	"\n"
	"Options:\n"
	"  -o NAME            the snapshot's name: letters, digits, \"-\" and \"_\", at most 64\n"
	"  --force            take the place of a snapshot of that name\n"
	"  --event FILE       an event to record the working set with, kept for thaw bench\n"
	"  --no-image         do not write the raw memory image: the first restore "
	"will\n" FUNCTION_OPTIONS_HELP TOOL_OPTIONS_HELP "\n"
	"Examples:\n"
	"  thaw snapshot create --runtime python3.11 --code examples/orders \\\n"
	"      --handler app.handler --event examples/orders/event.json -o orders\n"
	"  thaw snapshot create --force --memory 512 --env STAGE=test ... -o orders\n"
	"\n" TOOL_EXIT_CODES;

static int create(struct tool *tool, const struct function_options *options,
		  struct thaw_snapshot_plan *plan, struct thaw_host *host)
{
	struct thaw_manifest manifest;
	struct thaw_error err = {0};
	struct thaw_network network;
	cleanup_close int tap = -1;
	bool function_failed;
	char a[32], b[32];

	int code = tap_open(options->tap, &tap);
	if (code != TOOL_OK)
		return code;
	plan->network = tap_network(&network, tap);
	if (thaw_paths_check_runtime(&host->paths, options->function.runtime, &err) < 0)
		return tool_fail(TOOL_USAGE, &err);
	if (thaw_snapshot_create(host, plan, &manifest, &function_failed, &err) < 0) {
		if (function_failed)
			return tool_fail(TOOL_FUNCTION, &err);
		if (err.code == EEXIST)
			return tool_fail(TOOL_USAGE, &err);
		bool given = err.code == ENOENT || err.code == ENOTDIR || err.code == EINVAL ||
			     err.code == EFBIG;
		return tool_fail(given ? TOOL_HOST : TOOL_FAILED, &err);
	}
	if (tool->json) {
		char *text = thaw_manifest_format(&manifest);
		fputs(text ? text : "null\n", stdout);
		free(text);
	} else {
		uint64_t total = 0;
		for (size_t i = 0; i < manifest.phases.count; i++) {
			if (strncmp(manifest.phases.item[i].name, "save ", 5) != 0)
				total += manifest.phases.item[i].ns;
		}
		printf("%s: %s of memory, %.0f %% of it zero, in %s; init %.0f ms, %.1f s in all\n",
		       manifest.name, tool_size(a, manifest.pages * 4096),
		       manifest.pages ? 100.0 * (double)manifest.zero_pages / (double)manifest.pages
				      : 0.0,
		       tool_size(b, manifest.frames_size), (double)manifest.init_us / 1e3,
		       (double)total / 1e9);
	}
	thaw_manifest_clear(&manifest);
	return TOOL_OK;
}

int cmd_snapshot_create(struct tool *tool, int argc, char **argv)
{
	static const struct option list[] = {{"force", no_argument, NULL, 'f'},
					     {"no-image", no_argument, NULL, 'i'},
					     FUNCTION_OPTIONS,
					     TOOL_OPTIONS};
	struct thaw_snapshot_plan plan = {.serial = -1, .log = tool_log, .log_context = stderr};
	cleanup_free uint8_t *event = NULL;
	struct thaw_host host = THAW_HOST_NONE;
	struct function_options options;
	struct thaw_error err = {0};
	int option, code = TOOL_OK;

	function_options_init(&options);
	while ((option = tool_option(tool, argc, argv, "o:", list, help)) != TOOL_DONE) {
		if (option == 'o')
			plan.name = optarg;
		else if (option == 'f')
			plan.force = true;
		else if (option == 'i')
			plan.no_image = true;
		else if (option == TOOL_ERROR ||
			 function_options_take(&options, option, optarg) < 0) {
			code = tool->helped ? TOOL_OK : TOOL_USAGE;
			goto out;
		}
	}
	if (optind < argc)
		code = tool_usage("snapshot create: \"%s\" is one argument too many", argv[optind]);
	else if (!plan.name)
		code = tool_usage("snapshot create: -o NAME is missing (see --help)");
	else if (thaw_snapshot_check_name(plan.name, &err) < 0)
		code = tool_fail(TOOL_USAGE, &err);
	else if (function_options_check(&options, "snapshot create") < 0)
		code = TOOL_USAGE;
	else if (options.event)
		code = tool_read_event(options.event, &event, &plan.event_size);
	if (code != TOOL_OK)
		goto out;
	plan.function = &options.function;
	plan.code = function_options_code(&options);
	plan.kernel = options.kernel;
	plan.serial = options.console ? STDERR_FILENO : -1;
	plan.cpu_template = options.cpu_template;
	plan.event = event;
	plan.progress = tool_progress;
	plan.progress_context = tool;
	if (thaw_host_open(&host, tool->state, &err) < 0 || thaw_host_open_devices(&host, &err) < 0)
		code = tool_fail(TOOL_HOST, &err);
	else
		code = create(tool, &options, &plan, &host);
	thaw_host_close(&host);
out:
	function_options_clear(&options);
	return code;
}
