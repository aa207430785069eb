/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands of `thaw` share: options every command takes, errors and exit codes, events,
 * and the printing of logs.
 *
 * A command is a function of (tool, argc, argv) with argv[0] its name; it returns the exit code.
 */
#ifndef THAW_TOOLS_TOOL_H
#define THAW_TOOLS_TOOL_H

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "host/agent_client.h"
#include "host/phases.h"

struct thaw_error;
struct thaw_statistics;

/* Exit codes: documented in --help and thaw(1). */
enum {
	TOOL_OK = 0,
	TOOL_FUNCTION = 1, /* the function failed; its error document is on standard output */
	TOOL_USAGE = 2,    /* a bad option, name or event */
	TOOL_HOST = 3,     /* this host lacks something: KVM, permission, a part of Thaw, space */
	TOOL_SNAPSHOT = 4, /* the snapshot is missing, damaged, or of another making */
	TOOL_FAILED = 5,   /* the microVM or Thaw failed */
};

#define TOOL_EXIT_CODES                                                                            \
	"Exit codes: 0 success; 1 the function failed (its error document is on standard\n"        \
	"output); 2 a bad option, name or event; 3 this host lacks something; 4 the\n"             \
	"snapshot is missing, damaged or foreign; 5 the microVM or Thaw failed.\n"

struct tool {
	const char *state;
	bool verbose;
	bool json;
	bool helped; /* --help was given, and has been answered */
};

#define TOOL_STATE_DEFAULT "/var/lib/thaw"

/* Options every command takes. Values below 256 are the commands' own. */
enum { TOOL_OPTION_STATE = 1000, TOOL_OPTION_VERBOSE, TOOL_OPTION_JSON, TOOL_OPTION_HELP };
#define TOOL_OPTIONS                                                                               \
	{"state", required_argument, NULL, TOOL_OPTION_STATE},                                     \
		{"verbose", no_argument, NULL, TOOL_OPTION_VERBOSE},                               \
		{"json", no_argument, NULL, TOOL_OPTION_JSON},                                     \
		{"help", no_argument, NULL, TOOL_OPTION_HELP},                                     \
	{                                                                                          \
	}
#define TOOL_OPTIONS_HELP                                                                          \
	"  --state DIR        where snapshots and caches lie (default /var/lib/thaw)\n"            \
	"  --verbose          more on standard error: phases, counts\n"                            \
	"  --json             print for a program to read\n"                                       \
	"  --help             this text\n"

#define TOOL_DONE  (-1) /* no more options */
#define TOOL_ERROR (-2) /* told already: leave with TOOL_USAGE, or TOOL_OK when tool->helped */

/* The next option that is the command's own. Call with argv[0] the command's name. */
int tool_option(struct tool *tool, int argc, char **argv, const char *shorts,
		const struct option *options, const char *help);

/* "thaw: <text>" on standard error; returns TOOL_USAGE. */
int tool_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "thaw: <message>" on standard error; returns `code`, or what the error itself calls for. */
int tool_fail(int code, const struct thaw_error *err);
/* A note, with --verbose or on a terminal. */
void tool_progress(void *tool, const char *text);

/* A whole number within [low, high]; tells what is wrong and returns false otherwise. */
bool tool_number(const char *option, const char *text, int64_t low, int64_t high, int64_t *value);

/* Reads FILE or "-" (standard input), at most THAW_PAYLOAD_MAX bytes of JSON. The caller frees
 * *event. 0 or an exit code, told. */
int tool_read_event(const char *path, uint8_t **event, size_t *size);

/* A thaw_agent_log_fn whose context is a FILE. Lines of several environments do not mix. */
void tool_log(void *file, Thaw__Agent__Log__Source source, const uint8_t *data, size_t size,
	      uint64_t dropped);
/* Makes sure that what follows stands at the beginning of a line. */
void tool_log_newline(FILE *file);
/* One thread at a time: standard output and error. */
void tool_output_lock(void);
void tool_output_unlock(void);

json_t *tool_phases_json(const struct thaw_phases *phases);
json_t *tool_statistics_json(const struct thaw_statistics *statistics);
/* Prints and frees it. */
void tool_print_json(json_t *value);

/* "12.3 MiB" */
const char *tool_size(char text[32], uint64_t bytes);

int cmd_doctor(struct tool *tool, int argc, char **argv);
int cmd_run(struct tool *tool, int argc, char **argv);
int cmd_snapshot(struct tool *tool, int argc, char **argv);
int cmd_snapshot_create(struct tool *tool, int argc, char **argv);
int cmd_invoke(struct tool *tool, int argc, char **argv);
int cmd_bench(struct tool *tool, int argc, char **argv);
int cmd_account(struct tool *tool, int argc, char **argv);
int cmd_logs(struct tool *tool, int argc, char **argv);
int cmd_top(struct tool *tool, int argc, char **argv);
int cmd_trust(struct tool *tool, int argc, char **argv);

#endif
