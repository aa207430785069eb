/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/snapshot_create.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "tools/invocation.h"
#include "tools/restore.h"
#include "tools/tap.h"

#define PARALLEL_MAX 256
#define COUNT_MAX    1000000

static const char help[] =
	"Usage: thaw invoke NAME [--event FILE|-] [OPTIONS]\n"
	"\n"
	"Restores a clone of snapshot NAME, gives it one event and prints its response, byte\n"
	"for byte, on standard output; the function's log and the START, END and REPORT lines\n"
	"go to standard error. Each of several responses has a line of its own.\n"
	"\n"
	"Options:\n"
	"  --event FILE       the event, JSON; \"-\": standard input (default: the snapshot's\n"
	"                     own, or {})\n"
	"  --count N          so many invocations (default 1), each in a clone of its own\n"
	"  --parallel P       so many clones at once (default 1)\n"
	"  --keep             one clone answers all: the first restored, the rest warm\n"
	"  --mode MODE        how memory is restored (default map):\n"
	"                       map    mapped from the raw image, shared with other clones\n"
	"                       uring  read from it with io_uring, O_DIRECT when not cached\n"
	"                       uffd   on demand from it, the working set first\n"
	"                       eager  decompressed from the frames\n"
	"  --network TAP      the clone's frames go through tap TAP of the host: for snapshots\n"
	"                     made with a network device; one clone at a time\n"
	"  --record           record the working set anew with this event, then "
	"invoke\n" TOOL_OPTIONS_HELP "\n"
	"Examples:\n"
	"  thaw invoke orders --event examples/orders/event.json\n"
	"  thaw invoke orders --count 30 --parallel 30 >answers\n"
	"  thaw invoke orders --keep --count 5 --verbose\n"
	"\n" TOOL_EXIT_CODES;

/* What the clones' threads share. */
struct crowd {
	struct tool *tool;
	const struct restore *restore;
	const struct thaw_restore_options *options;
	const uint8_t *event;
	size_t size;
	int64_t count;
	_Atomic int64_t next;
	_Atomic int code; /* the worst */
};

static void crowd_note(struct crowd *crowd, int code)
{
	int old = atomic_load(&crowd->code);

	while (code > old && !atomic_compare_exchange_weak(&crowd->code, &old, code))
		;
}

/* One clone answers `count` events; how it ended. */
static int invoke_clone(struct crowd *crowd, int64_t count)
{
	struct thaw_invocation first = {.event = crowd->event, .event_size = crowd->size};
	int line = crowd->count > 1 ? INVOCATION_LINE : 0;
	struct thaw_environment environment;
	cleanup_close int tmp = -1;

	thaw_request_id_make(first.request_id);
	int worst = restore_clone(crowd->restore, crowd->options, &environment, &first, &tmp);
	if (worst != TOOL_OK)
		return worst;
	for (int64_t i = 0; i < count && worst != TOOL_FAILED; i++) {
		int flags = line | (i == 0 ? INVOCATION_FIRST : 0);
		int code = invocation_run(crowd->tool, &environment, crowd->event, crowd->size,
					  flags, i == 0 ? &first : NULL);
		if (code > worst)
			worst = code;
		/* A clone that could not be restored is of no more use. */
		if (i == 0 && environment.start_outcome != THAW__AGENT__OUTCOME__OUTCOME_OK)
			break;
	}
	thaw_environment_close(&environment);
	return worst;
}

static void *crowd_worker(void *context)
{
	struct crowd *crowd = context;

	while (atomic_fetch_add(&crowd->next, 1) < crowd->count)
		crowd_note(crowd, invoke_clone(crowd, 1));
	return NULL;
}

static int crowd_run(struct crowd *crowd, int64_t parallel)
{
	pthread_t threads[PARALLEL_MAX];
	int64_t started = 0;

	/* The threads outlive their clones, as vmm_client.h wants it. */
	while (started < parallel - 1) {
		if (pthread_create(&threads[started], NULL, crowd_worker, crowd) != 0)
			break;
		started++;
	}
	crowd_worker(crowd);
	while (started)
		pthread_join(threads[--started], NULL);
	return atomic_load(&crowd->code);
}

/* What the options say. */
struct invoke {
	const char *name, *event, *tap;
	int64_t count, parallel;
	bool keep, record;
	struct thaw_restore_options restore;
};

static int invoke_record(struct restore *restore, const uint8_t *event, size_t size)
{
	struct thaw_error err = {0};

	if (restore->host->userfaultfd < 0) {
		thaw_error_set(&err, ENODEV, "--record needs /dev/userfaultfd (see thaw doctor)");
		return tool_fail(TOOL_HOST, &err);
	}
	if (thaw_snapshot_record_again(restore->host, &restore->snapshot, restore->network, event,
				       size, &err) < 0)
		return tool_fail(TOOL_FAILED, &err);
	return TOOL_OK;
}

static int invoke(struct tool *tool, struct invoke *invoke, const struct thaw_host *host)
{
	cleanup_free uint8_t *event = NULL;
	cleanup_close int tap = -1;
	struct thaw_network network;
	struct restore restore;
	size_t size = 0;

	int code = tap_open(invoke->tap, &tap);
	if (code != TOOL_OK)
		return code;
	code = restore_open(&restore, host, invoke->name);
	if (code != TOOL_OK)
		return code;
	restore.network = tap_network(&network, tap);
	code = tool_event(invoke->event, &restore.snapshot, &event, &size);
	if (code == TOOL_OK)
		code = restore_prepare(&restore, &invoke->restore);
	if (code == TOOL_OK && invoke->record)
		code = invoke_record(&restore, event, size);
	if (code == TOOL_OK) {
		struct crowd crowd = {
			.tool = tool,
			.restore = &restore,
			.options = &invoke->restore,
			.event = event,
			.size = size,
			.count = invoke->count,
		};
		code = invoke->keep ? invoke_clone(&crowd, invoke->count)
				    : crowd_run(&crowd, invoke->parallel);
	}
	restore_close(&restore);
	return code;
}

int cmd_invoke(struct tool *tool, int argc, char **argv)
{
	static const struct option list[] = {
		{"event", required_argument, NULL, 'e'},    {"count", required_argument, NULL, 'n'},
		{"parallel", required_argument, NULL, 'p'}, {"keep", no_argument, NULL, 'k'},
		{"mode", required_argument, NULL, 'm'},     {"record", no_argument, NULL, 'r'},
		{"network", required_argument, NULL, 't'},  TOOL_OPTIONS};
	struct invoke wanted = {.count = 1, .parallel = 1};
	struct thaw_host host = THAW_HOST_NONE;
	struct thaw_error err = {0};
	bool good = true;
	int option, code;

	while (good && (option = tool_option(tool, argc, argv, "", list, help)) != TOOL_DONE) {
		if (option == TOOL_ERROR)
			return tool->helped ? TOOL_OK : TOOL_USAGE;
		if (option == 'e')
			wanted.event = optarg;
		else if (option == 'n')
			good = tool_number("--count", optarg, 1, COUNT_MAX, &wanted.count);
		else if (option == 'p')
			good = tool_number("--parallel", optarg, 1, PARALLEL_MAX, &wanted.parallel);
		else if (option == 'k')
			wanted.keep = true;
		else if (option == 't')
			wanted.tap = optarg;
		else if (option == 'r')
			wanted.record = true;
		else if (option == 'm' && !restore_mode_parse(optarg, &wanted.restore.mode))
			return tool_usage("--mode is map, uring, uffd or eager, not \"%s\"",
					  optarg);
	}
	if (!good)
		return TOOL_USAGE;
	if (optind + 1 != argc)
		return tool_usage(
			"invoke: the name of one snapshot is wanted (see thaw invoke --help)");
	if (wanted.keep && wanted.parallel > 1)
		return tool_usage("invoke: --keep is one clone: it does not go with --parallel");
	if (wanted.tap && wanted.parallel > 1)
		return tool_usage("invoke: --network is one tap, for one clone at a time: it does "
				  "not go with --parallel");
	wanted.name = argv[optind];
	if (thaw_host_open(&host, tool->state, &err) < 0 || thaw_host_open_devices(&host, &err) < 0)
		code = tool_fail(TOOL_HOST, &err);
	else
		code = invoke(tool, &wanted, &host);
	thaw_host_close(&host);
	return code;
}
