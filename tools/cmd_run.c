/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <unistd.h>

#include "host/cold.h"
#include "host/host.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "tools/function_options.h"
#include "tools/invocation.h"
#include "tools/tap.h"

static const char help[] =
	"Usage: thaw run --runtime NAME --code DIR|ZIP --handler NAME [--event FILE|-] [OPTIONS]\n"
	"\n"
	"Boots a microVM, starts the function in it, gives it one event and prints its\n"
	"response, byte for byte, on standard output. The function's log and the START, END\n"
	"and REPORT lines go to standard error.\n"
	"\n"
	"Options:\n"
	"  --event FILE       the event, JSON; \"-\": standard input (default "
	"{})\n" FUNCTION_OPTIONS_HELP TOOL_OPTIONS_HELP "\n"
	"Examples:\n"
	"  thaw run --runtime python3.11 --code examples/orders --handler app.handler \\\n"
	"      --event examples/orders/event.json\n"
	"  echo '{\"a\": 1}' | thaw run --runtime provided --code app.zip --handler x --event -\n"
	"\n" TOOL_EXIT_CODES;

static int run(struct tool *tool, const struct function_options *options, struct thaw_host *host,
	       const uint8_t *event, size_t size)
{
	const struct thaw_cold_code code_paths = function_options_code(options);
	struct thaw_cold cold = THAW_COLD_NONE;
	struct thaw_environment environment;
	struct thaw_network network;
	struct thaw_error err = {0};
	cleanup_close int tap = -1;

	int code = tap_open(options->tap, &tap);
	if (code != TOOL_OK)
		return code;
	if (thaw_paths_check_runtime(&host->paths, options->function.runtime, &err) < 0)
		return tool_fail(TOOL_USAGE, &err);
	if (thaw_cold_open(&cold, host, &options->function, &code_paths, options->kernel, &err) < 0)
		return tool_fail(TOOL_HOST, &err);
	cold.machine.serial = options->console ? STDERR_FILENO : -1;
	cold.machine.cpu_template = options->cpu_template;
	cold.machine.network = tap_network(&network, tap);
	thaw_environment_init(&environment, host, &options->function);
	environment.log = tool_log;
	environment.log_context = stderr;
	if (thaw_environment_boot(&environment, &cold.machine, &err) < 0)
		code = tool_fail(TOOL_FAILED, &err);
	else
		code = invocation_run(tool, &environment, event, size, INVOCATION_FIRST, NULL);
	thaw_environment_close(&environment);
	thaw_cold_close(&cold);
	return code;
}

int cmd_run(struct tool *tool, int argc, char **argv)
{
	static const struct option list[] = {FUNCTION_OPTIONS, TOOL_OPTIONS};
	cleanup_free uint8_t *event = NULL;
	struct thaw_host host = THAW_HOST_NONE;
	struct function_options options;
	struct thaw_error err = {0};
	size_t size;
	int option, code = TOOL_OK;

	function_options_init(&options);
	while ((option = tool_option(tool, argc, argv, "", list, help)) != TOOL_DONE) {
		if (option == TOOL_ERROR || function_options_take(&options, option, optarg) < 0) {
			code = tool->helped ? TOOL_OK : TOOL_USAGE;
			goto out;
		}
	}
	if (optind < argc)
		code = tool_usage("run: \"%s\" is one argument too many", argv[optind]);
	else if (function_options_check(&options, "run") < 0)
		code = TOOL_USAGE;
	else
		code = tool_event(options.event, NULL, &event, &size);
	if (code != TOOL_OK)
		goto out;
	if (thaw_host_open(&host, tool->state, &err) < 0 || thaw_host_open_devices(&host, &err) < 0)
		code = tool_fail(TOOL_HOST, &err);
	else
		code = run(tool, &options, &host, event, size);
	thaw_host_close(&host);
out:
	function_options_clear(&options);
	return code;
}
