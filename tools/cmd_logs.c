/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host/telemetry/log_reader.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "tools/tool.h"

#define ID_SHOWN 8 /* digits of an environment's 32 */

static const char help[] =
	"Usage: thaw logs FUNCTION [OPTIONS]\n"
	"\n"
	"Prints what FUNCTION has printed under the daemon, in all its environments, in the\n"
	"order of time: a record a line, with its time and the beginning of its environment's\n"
	"id. Control characters are made visible.\n"
	"\n"
	"Options:\n"
	"  --data DIR         the daemon's data directory (default: what --state says)\n"
	"  --account ID       of this account only (default: of all)\n"
	"  --since WHEN       not older: 90s, 10m, 2h, 1d, or a time (RFC 3339)\n"
	"  --until WHEN       older than that\n"
	"  --follow           go on with what is printed from now on, until interrupted\n"
	"  --filter TEXT      only records with TEXT in them\n"
	"  --request-id ID    only of this invocation\n"
	"  --stream NAME      only of this environment, as AWS_LAMBDA_LOG_STREAM_NAME has "
	"it\n" TOOL_OPTIONS_HELP "\n"
	"With --json each record is a line with the keys time, account, stream, requestId,\n"
	"kind (platform, function, extension) and text.\n"
	"\n"
	"Examples:\n"
	"  thaw logs orders --since 10m\n"
	"  thaw logs orders --follow --filter ERROR\n"
	"  thaw logs orders --request-id 5e1f0c2a-6f5b-4c1e-9d0a-2b7c8d9e0f1a --json\n"
	"\n" TOOL_EXIT_CODES;

/* "10m" before `now_ms`, or a time. */
static bool parse_when(const char *option, const char *text, int64_t now_ms, int64_t *when_ms)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = {{"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
	size_t digits = strspn(text, "0123456789");

	for (size_t i = 0; digits >= 1 && digits <= 9 && i < sizeof(units) / sizeof(units[0]);
	     i++) {
		if (strcmp(text + digits, units[i].unit) == 0) {
			*when_ms = now_ms - strtoll(text, NULL, 10) * units[i].ms;
			return true;
		}
	}
	if (thaw_log_time_parse(text, strlen(text), when_ms) == 0)
		return true;
	tool_usage("%s is a time span (90s, 10m, 2h, 1d) or a time (2026-01-31T12:00:00Z), not "
		   "\"%s\"",
		   option, text);
	return false;
}

static bool print_json(const struct thaw_log_entry *entry)
{
	static const char *const kinds[] = {"platform", "function", "extension"};
	char time[THAW_LOG_TIME];

	thaw_log_time_format(time, entry->time_ms);
	json_t *record = json_pack("{s:s, s:s, s:s, s:s*, s:s, s:s%}", "time", time, "account",
				   entry->account, "stream", entry->stream, "requestId",
				   *entry->request_id ? entry->request_id : NULL, "kind",
				   kinds[entry->kind], "text", entry->text, entry->text_size);
	bool good = record && json_dumpf(record, stdout, JSON_COMPACT) == 0;
	json_decref(record);
	putchar('\n');
	return good;
}

static void print_text(const struct thaw_log_entry *entry)
{
	const char *id = strchr(entry->stream, ']');
	char time[THAW_LOG_TIME];

	thaw_log_time_format(time, entry->time_ms);
	printf("%s %.*s ", time, ID_SHOWN, id ? id + 1 : "");
	fwrite(entry->text, 1, entry->text_size, stdout);
	putchar('\n');
}

/* Until there is no more, or nobody reads any more. */
static int print_logs(const struct tool *tool, struct thaw_log_reader *reader, bool follow,
		      struct thaw_error *err)
{
	struct thaw_log_entry entry;
	int rc = 0;

	do {
		while (!ferror(stdout) && thaw_log_reader_next(reader, &entry) > 0) {
			if (!tool->json)
				print_text(&entry);
			else if (!print_json(&entry) && !ferror(stdout))
				return thaw_error_errno(err, ENOMEM, "printing a record");
		}
		if (fflush(stdout) != 0 || ferror(stdout))
			return thaw_error_errno(err, errno ? errno : EIO, "standard output");
		if (follow)
			rc = thaw_log_reader_wait(reader, -1, err);
	} while (follow && rc >= 0);
	if (thaw_log_reader_damage(reader) && rc >= 0)
		fprintf(stderr, "thaw: %llu files or lines could not be read\n",
			(unsigned long long)thaw_log_reader_damage(reader));
	return rc;
}

static int logs(const struct tool *tool, const char *data, const struct thaw_log_query *query)
{
	struct thaw_error err = {0};
	struct rlimit files;

	/* Each environment has a file of its own. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	cleanup_close int fd = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		thaw_error_errno(&err, errno, "the data directory \"%s\"", data);
		return tool_fail(TOOL_HOST, &err);
	}
	struct thaw_log_reader *reader = thaw_log_reader_open(fd, query, &err);
	if (!reader) {
		bool name = err.code == ENOENT || err.code == EINVAL;
		thaw_error_wrap(&err, "the data directory \"%s\"", data);
		return tool_fail(name ? TOOL_USAGE : TOOL_HOST, &err);
	}
	int rc = print_logs(tool, reader, query->follow, &err);
	thaw_log_reader_close(reader);
	return rc < 0 ? tool_fail(TOOL_FAILED, &err) : TOOL_OK;
}

int cmd_logs(struct tool *tool, int argc, char **argv)
{
	static const struct option list[] = {{"data", required_argument, NULL, 'd'},
					     {"account", required_argument, NULL, 'a'},
					     {"since", required_argument, NULL, 's'},
					     {"until", required_argument, NULL, 'u'},
					     {"follow", no_argument, NULL, 'f'},
					     {"filter", required_argument, NULL, 'g'},
					     {"request-id", required_argument, NULL, 'r'},
					     {"stream", required_argument, NULL, 'n'},
					     TOOL_OPTIONS};
	struct thaw_log_query query = {.since_ms = THAW_LOG_TIME_FIRST};
	int64_t now_ms = (int64_t)(thaw_realtime_ns() / 1000000);
	const char *data = NULL;
	bool good = true;
	int option;

	while (good && (option = tool_option(tool, argc, argv, "", list, help)) != TOOL_DONE) {
		if (option == TOOL_ERROR)
			return tool->helped ? TOOL_OK : TOOL_USAGE;
		if (option == 'd')
			data = optarg;
		else if (option == 'a')
			query.account = optarg;
		else if (option == 's')
			good = parse_when("--since", optarg, now_ms, &query.since_ms);
		else if (option == 'u')
			good = parse_when("--until", optarg, now_ms, &query.until_ms);
		else if (option == 'f')
			query.follow = true;
		else if (option == 'g')
			query.filter = optarg;
		else if (option == 'r')
			query.request_id = optarg;
		else if (option == 'n')
			query.stream = optarg;
	}
	if (!good)
		return TOOL_USAGE;
	if (optind + 1 != argc)
		return tool_usage(
			"logs: the name of one function is wanted (see thaw logs --help)");
	query.function = argv[optind];
	return logs(tool, data ? data : tool->state, &query);
}
