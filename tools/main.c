/* SPDX-License-Identifier: Apache-2.0 */
/* thaw: everything a person does by hand. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tools/tool.h"

static const struct {
	const char *name;
	int (*run)(struct tool *tool, int argc, char **argv);
	const char *help;
} commands[] = {
	{"doctor", cmd_doctor, "what this host has and lacks"},
	{"run", cmd_run, "boot a function, give it an event, print the response"},
	{"snapshot", cmd_snapshot, "make, list, inspect and remove snapshots"},
	{"invoke", cmd_invoke, "restore a snapshot, give it an event, print the response"},
	{"bench", cmd_bench, "cold boot against restore against warm, phase by phase"},
	{"trust", cmd_trust, "import parts of Thaw, or snapshots, that this host has not made"},
	{"account", cmd_account, "tenants of the daemon, and their access keys"},
	{"logs", cmd_logs, "what a function has printed under the daemon"},
	{"top", cmd_top, "what the daemon does just now"},
};

static void usage(FILE *out)
{
	fputs("Usage: thaw [--state DIR] COMMAND [OPTIONS]\n"
	      "\n"
	      "Runs functions in microVMs: boots one, freezes it when the function is "
	      "initialised,\n"
	      "and thaws copies of it in milliseconds.\n"
	      "\n"
	      "Commands:\n",
	      out);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(out, "  %-9s  %s\n", commands[i].name, commands[i].help);
	fputs("\n"
	      "Options:\n" TOOL_OPTIONS_HELP "  --version          print the version\n"
	      "\n"
	      "Examples:\n"
	      "  thaw doctor\n"
	      "  thaw snapshot create --runtime python3.11 --code examples/orders \\\n"
	      "      --handler app.handler -o orders\n"
	      "  thaw invoke orders --event examples/orders/event.json\n"
	      "\n"
	      "`thaw COMMAND --help` tells more.\n"
	      "\n" TOOL_EXIT_CODES,
	      out);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"version", no_argument, NULL, 'v'},
		{"state", required_argument, NULL, TOOL_OPTION_STATE},
		{"verbose", no_argument, NULL, TOOL_OPTION_VERBOSE},
		{"json", no_argument, NULL, TOOL_OPTION_JSON},
		{"help", no_argument, NULL, TOOL_OPTION_HELP},
		{0},
	};
	struct tool tool = {.state = TOOL_STATE_DEFAULT};
	int option;

	/* A reader that goes away, or a microVM that dies, is an error of a call, not of ours. */
	signal(SIGPIPE, SIG_IGN);
	opterr = 0;
	while ((option = getopt_long(argc, argv, "+:", options, NULL)) != -1) {
		switch (option) {
		case TOOL_OPTION_STATE:
			tool.state = optarg;
			break;
		case TOOL_OPTION_VERBOSE:
			tool.verbose = true;
			break;
		case TOOL_OPTION_JSON:
			tool.json = true;
			break;
		case TOOL_OPTION_HELP:
			usage(stdout);
			return TOOL_OK;
		case 'v':
			puts("thaw " THAW_VERSION);
			return TOOL_OK;
		default:
			return tool_usage("unknown option \"%s\" (see thaw --help)",
					  argv[optind - 1]);
		}
	}
	if (optind == argc) {
		usage(stderr);
		return TOOL_USAGE;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[optind], commands[i].name) == 0) {
			argc -= optind;
			argv += optind;
			optind = 0; /* a new list for getopt (getopt(3), NOTES) */
			return commands[i].run(&tool, argc, argv);
		}
	}
	return tool_usage("there is no command \"%s\" (see thaw --help)", argv[optind]);
}
