/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host/control_client.h"
#include "lib/error.h"
#include "tools/tool.h"

static const char help[] =
	"Usage: thaw top [OPTIONS]\n"
	"\n"
	"Shows what the daemon does: environments by state, memory, the queue, and for each\n"
	"function how often it was invoked, how its environments started and how long it took.\n"
	"On a terminal anew every two seconds until q or Ctrl-C; elsewhere once.\n"
	"\n"
	"Options:\n"
	"  --data DIR         the daemon's data directory (default: what --state says)\n"
	"  --every S          seconds between two looks, 1 to 3600 (default 2)\n"
	"  --once             print once\n" TOOL_OPTIONS_HELP "\n"
	"Counts are since the daemon began. Times are those of the function, in milliseconds.\n"
	"\n" TOOL_EXIT_CODES;

static long long number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static double real(const json_t *object, const char *name)
{
	return json_number_value(json_object_get(object, name));
}

static void print_host(const json_t *host)
{
	const json_t *environments = json_object_get(host, "environments");
	long long uptime = number(host, "uptimeS");

	printf("up %lld:%02lld:%02lld   environments: %lld busy, %lld idle, %lld starting, %lld "
	       "closing   started %lld, reused %lld\n",
	       uptime / 3600, uptime / 60 % 60, uptime % 60, number(environments, "busy"),
	       number(environments, "idle"), number(environments, "starting"),
	       number(environments, "closing"), number(host, "started"), number(host, "reused"));
	printf("memory %lld of %lld MiB   shells %lld   invocations in line %lld   events queued "
	       "%lld   "
	       "connections %lld\n\n",
	       number(host, "memoryMiB"), number(host, "memoryLimitMiB"), number(host, "shells"),
	       number(host, "waiting"), number(host, "queued"), number(host, "connections"));
}

static void print_function(const json_t *f)
{
	const json_t *starts = json_object_get(f, "starts");

	printf("%-12s  %-24.24s %9lld %7lld %7lld  %7lld %7lld %7lld %7lld  %8.1f %8.1f %8.1f\n",
	       json_string_value(json_object_get(f, "account")) ?: "",
	       json_string_value(json_object_get(f, "function")) ?: "", number(f, "invocations"),
	       number(f, "errors"), number(f, "throttles"), number(starts, "warm"),
	       number(starts, "restore"), number(starts, "cold"), number(starts, "provisioned"),
	       real(f, "p50Ms"), real(f, "p95Ms"), real(f, "p99Ms"));
}

static void print(const json_t *answer, int rows)
{
	size_t i;
	json_t *f;

	print_host(json_object_get(answer, "host"));
	printf("%-12s  %-24s %9s %7s %7s  %7s %7s %7s %7s  %8s %8s %8s\n", "ACCOUNT", "FUNCTION",
	       "INVOKED", "ERRORS", "THROTT", "WARM", "RESTORE", "COLD", "PROVIS", "P50", "P95",
	       "P99");
	json_array_foreach(json_object_get(answer, "functions"), i, f)
	{
		if (rows && (int)i >= rows)
			break;
		print_function(f);
	}
}

static int terminal_rows(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 6 ? size.ws_row - 5
									       : 20;
}

/* One look. */
static int look(const struct tool *tool, const char *data, bool screen)
{
	struct thaw_error err = {0};
	json_t *request = json_pack("{s:s}", "do", "top");
	json_t *answer = thaw_control_ask(data, request, &err);

	json_decref(request);
	if (!answer)
		return tool_fail(TOOL_HOST, &err);
	const char *error = json_string_value(json_object_get(answer, "error"));
	if (error) {
		thaw_error_set(&err, EIO, "thawd: %s", error);
		json_decref(answer);
		return tool_fail(TOOL_FAILED, &err);
	}
	if (tool->json) {
		json_dumpf(answer, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		if (screen)
			fputs("\033[H\033[2J", stdout);
		print(answer, screen ? terminal_rows() : 0);
	}
	fflush(stdout);
	json_decref(answer);
	return TOOL_OK;
}

int cmd_top(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{"data", required_argument, NULL, 'd'},
		{"every", required_argument, NULL, 'e'},
		{"once", no_argument, NULL, 'o'},
		TOOL_OPTIONS,
	};
	bool screen = isatty(STDOUT_FILENO) && !tool->json;
	const char *data = NULL;
	int64_t every = 2;
	int option;

	while ((option = tool_option(tool, argc, argv, "", options, help)) != TOOL_DONE) {
		switch (option) {
		case 'd':
			data = optarg;
			break;
		case 'e':
			if (!tool_number("--every", optarg, 1, 3600, &every))
				return TOOL_USAGE;
			break;
		case 'o':
			screen = false;
			break;
		default:
			return tool->helped ? TOOL_OK : TOOL_USAGE;
		}
	}
	if (optind != argc)
		return tool_usage("top takes no names (see thaw top --help)");
	screen &= !tool->json;
	for (;;) {
		struct pollfd key = {.fd = STDIN_FILENO, .events = POLLIN};
		char letter = 0;
		int code = look(tool, data ? data : tool->state, screen);
		if (code != TOOL_OK || !screen)
			return code;
		if (poll(&key, isatty(STDIN_FILENO) ? 1 : 0, (int)every * 1000) > 0 &&
		    read(STDIN_FILENO, &letter, 1) == 1 && letter == 'q')
			return TOOL_OK;
	}
}
