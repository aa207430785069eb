/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/host.h"
#include "host/snapshot_store.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "tools/tool.h"

static const char help[] =
	"Usage: thaw snapshot create --runtime NAME --code DIR|ZIP --handler NAME -o NAME "
	"[OPTIONS]\n"
	"       thaw snapshot ls\n"
	"       thaw snapshot inspect NAME [--verify]\n"
	"       thaw snapshot rm NAME...\n"
	"\n"
	"  create   boots a function, freezes it when it is initialised, and saves it\n"
	"  ls       what snapshots there are\n"
	"  inspect  what is in one: layers, sizes, zero pages, working set; --verify reads and\n"
	"           checks every frame of its memory\n"
	"  rm       removes snapshots\n"
	"\n"
	"Options:\n" TOOL_OPTIONS_HELP "\n"
	"Examples:\n"
	"  thaw snapshot ls --json\n"
	"  thaw snapshot inspect orders --verify\n"
	"\n"
	"`thaw snapshot create --help` tells more of create.\n"
	"\n" TOOL_EXIT_CODES;

/* Bytes on the disk of a file in a snapshot; 0 when it is not there. */
static uint64_t disk_size(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static uint64_t snapshot_disk_size(const struct thaw_snapshot *snapshot)
{
	static const char *const names[] = {"manifest.json", "state",   "index",    "frames",
					    "working_set",   "tmp.img", "image.raw"};
	uint64_t total = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		total += disk_size(snapshot->dir, names[i]);
	return total;
}

static int snapshot_ls(struct tool *tool, struct thaw_host *host)
{
	struct thaw_error err = {0};
	json_t *list = json_array();
	char **names = NULL;
	size_t count = 0;
	char size[32];
	int code = TOOL_OK;

	if (thaw_snapshot_list(&host->state, &names, &count, &err) < 0)
		code = tool_fail(TOOL_HOST, &err);
	if (!tool->json && count)
		printf("%-20s %-12s %-20s %8s %10s  %s\n", "NAME", "RUNTIME", "HANDLER", "MEMORY",
		       "ON DISK", "CREATED");
	for (size_t i = 0; i < count; i++) {
		struct thaw_snapshot snapshot;
		if (thaw_snapshot_open(&host->state, names[i], &snapshot, &err) < 0) {
			if (tool->json)
				json_array_append_new(list,
						      json_pack("{s:s, s:s}", "name", names[i],
								"error", err.message));
			else
				printf("%-20s %s\n", names[i], err.message);
		} else {
			const struct thaw_manifest *m = &snapshot.manifest;
			uint64_t disk = snapshot_disk_size(&snapshot);
			if (tool->json)
				json_array_append_new(
					list,
					json_pack("{s:s, s:s, s:s, s:i, s:I, s:s}", "name",
						  names[i], "runtime", m->function.runtime,
						  "handler", m->function.handler, "memory_mib",
						  (int)m->function.memory_mib, "disk_bytes",
						  (json_int_t)disk, "created", m->created));
			else
				printf("%-20s %-12s %-20s %5u MB %10s  %s\n", names[i],
				       m->function.runtime, m->function.handler,
				       m->function.memory_mib, tool_size(size, disk), m->created);
			thaw_snapshot_close(&snapshot);
		}
		free(names[i]);
	}
	free(names);
	if (tool->json && code == TOOL_OK)
		tool_print_json(list);
	else
		json_decref(list);
	return code;
}

static void inspect_json(const struct thaw_snapshot *snapshot,
			 const Thaw__Vmm__Snapshot__Shape *shape, bool verified)
{
	const struct thaw_manifest *m = &snapshot->manifest;
	json_t *devices = json_array();
	char *text = thaw_manifest_format(m);
	json_t *manifest = text ? json_loads(text, 0, NULL) : NULL;

	for (size_t i = 0; i < shape->n_devices; i++)
		json_array_append_new(devices, json_string(shape->devices[i]));
	tool_print_json(json_pack(
		"{s:o, s:i, s:i, s:I, s:s, s:o, s:[{s:s, s:I, s:I, s:I, s:I}], s:I, s:b, s:I}",
		"manifest", manifest ? manifest : json_null(), "format", (int)shape->format,
		"vcpus", (int)shape->vcpus, "memory_mib", (json_int_t)shape->memory_mib,
		"cpu_template", thaw_cpu_template_name((uint32_t)shape->cpu_template), "devices",
		devices, "layers", "name", "function", "pages", (json_int_t)shape->pages,
		"zero_pages", (json_int_t)shape->zero_pages, "frames", (json_int_t)shape->frames,
		"stored_bytes", (json_int_t)shape->stored_bytes, "working_set_pages",
		(json_int_t)shape->working_set_pages, "verified", (int)verified, "disk_bytes",
		(json_int_t)snapshot_disk_size(snapshot)));
	free(text);
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void inspect_text(const struct thaw_snapshot *snapshot,
			 const Thaw__Vmm__Snapshot__Shape *shape, bool verified)
{
	const struct thaw_manifest *m = &snapshot->manifest;
	uint64_t stored_pages = shape->pages - shape->zero_pages;
	char a[32], b[32];

	printf("name          %s\ncreated       %s by thaw %s\n", m->name, m->created, m->thaw);
	printf("function      %s, runtime %s, handler %s, %u MB, timeout %u s\n", m->function.name,
	       m->function.runtime, m->function.handler, m->function.memory_mib,
	       m->function.timeout_s);
	printf("machine       %u vCPU%s, %llu MiB, CPU template %s, state format %u\n",
	       shape->vcpus, shape->vcpus == 1 ? "" : "s", (unsigned long long)shape->memory_mib,
	       thaw_cpu_template_name((uint32_t)shape->cpu_template), shape->format);
	printf("devices      ");
	for (size_t i = 0; i < shape->n_devices; i++)
		printf(" %s", shape->devices[i]);
	printf("\nmemory        %s, %.1f %% of it zero pages\n", tool_size(a, shape->pages * 4096),
	       percent(shape->zero_pages, shape->pages));
	printf("layers        1: function: %s in %llu frames of %s (%.1f %%)%s\n",
	       tool_size(a, stored_pages * 4096), (unsigned long long)shape->frames,
	       tool_size(b, shape->stored_bytes), percent(shape->stored_bytes, stored_pages * 4096),
	       verified ? ", every checksum right" : "");
	if (shape->working_set_pages)
		printf("working set   %llu pages, %s (%.1f %% of what is not zero)\n",
		       (unsigned long long)shape->working_set_pages,
		       tool_size(a, shape->working_set_pages * 4096),
		       percent(shape->working_set_pages, stored_pages));
	else
		printf("working set   not recorded (thaw invoke %s --record)\n", m->name);
	printf("/tmp          %s of %u MB\n", tool_size(a, disk_size(snapshot->dir, "tmp.img")),
	       m->function.ephemeral_mib);
	printf("raw image     %s\n", disk_size(snapshot->dir, "image.raw")
					     ? tool_size(a, disk_size(snapshot->dir, "image.raw"))
					     : "not made yet");
	printf("on disk       %s\n", tool_size(a, snapshot_disk_size(snapshot)));
	printf("code          sha256 %s\n", m->code_digest);
	if (*m->layers_digest)
		printf("/opt          sha256 %s\n", m->layers_digest);
	printf("root image    sha256 %s\nkernel        sha256 %s\n", m->root_digest,
	       m->kernel_digest);
	printf("init          %.1f ms\nmade in      ", (double)m->init_us / 1e3);
	for (size_t i = 0; i < m->phases.count; i++)
		printf(" %s %.1f ms%s", m->phases.item[i].name, (double)m->phases.item[i].ns / 1e6,
		       i + 1 < m->phases.count ? "," : "\n");
}

static int snapshot_inspect(struct tool *tool, struct thaw_host *host, const char *name,
			    bool verify)
{
	struct thaw_snapshot snapshot;
	struct thaw_error err = {0};
	Thaw__Vmm__Reply *reply;
	int code = TOOL_OK;

	if (thaw_snapshot_check_name(name, &err) < 0)
		return tool_fail(TOOL_USAGE, &err);
	if (thaw_snapshot_open(&host->state, name, &snapshot, &err) < 0)
		return tool_fail(TOOL_SNAPSHOT, &err);
	if (thaw_snapshot_inspect(&snapshot, host, verify, &reply, &err) < 0) {
		code = tool_fail(err.code == EPIPE || err.code == ETIMEDOUT ? TOOL_FAILED
									    : TOOL_SNAPSHOT,
				 &err);
	} else {
		if (tool->json)
			inspect_json(&snapshot, reply->inspect, verify);
		else
			inspect_text(&snapshot, reply->inspect, verify);
		thaw__vmm__reply__free_unpacked(reply, NULL);
	}
	thaw_snapshot_close(&snapshot);
	return code;
}

static int snapshot_rm(struct thaw_host *host, char **names, int count)
{
	struct thaw_error err = {0};
	int code = TOOL_OK;

	for (int i = 0; i < count; i++) {
		if (thaw_snapshot_remove(&host->state, names[i], &err) < 0)
			code = tool_fail(err.code == EINVAL ? TOOL_USAGE : TOOL_SNAPSHOT, &err);
	}
	return code;
}

int cmd_snapshot(struct tool *tool, int argc, char **argv)
{
	static const struct option list[] = {{"verify", no_argument, NULL, 'v'}, TOOL_OPTIONS};
	struct thaw_host host = THAW_HOST_NONE;
	struct thaw_error err = {0};
	bool verify = false;
	int option, code;

	/* Its options are a function's: they are parsed there. */
	for (int i = 1; i < argc && argv[i][0] != '-'; i = argc) {
		if (strcmp(argv[i], "create") == 0)
			return cmd_snapshot_create(tool, argc - i, argv + i);
	}
	while ((option = tool_option(tool, argc, argv, "", list, help)) != TOOL_DONE) {
		if (option == TOOL_ERROR)
			return tool->helped ? TOOL_OK : TOOL_USAGE;
		verify = true;
	}
	const char *verb = optind < argc ? argv[optind++] : "";
	int names = argc - optind;
	bool ls = strcmp(verb, "ls") == 0, inspect = strcmp(verb, "inspect") == 0;
	bool rm = strcmp(verb, "rm") == 0;
	if (!ls && !inspect && !rm)
		return *verb ? tool_usage("snapshot: there is no \"%s\" (see thaw snapshot --help)",
					  verb)
			     : tool_usage("snapshot: create, ls, inspect or rm? (see thaw snapshot "
					  "--help)");
	if (verify && !inspect)
		return tool_usage("snapshot %s: \"--verify\" is for inspect", verb);
	if ((ls && names != 0) || (inspect && names != 1) || (rm && names < 1))
		return tool_usage("snapshot %s: %s", verb,
				  ls ? "no argument is wanted"
				     : "the name of a snapshot is wanted");
	if (thaw_host_open(&host, tool->state, &err) < 0)
		code = tool_fail(TOOL_HOST, &err);
	else if (ls)
		code = snapshot_ls(tool, &host);
	else if (inspect)
		code = snapshot_inspect(tool, &host, argv[optind], verify);
	else
		code = snapshot_rm(&host, argv + optind, names);
	thaw_host_close(&host);
	return code;
}
