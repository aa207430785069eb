/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "host/host.h"
#include "host/parts.h"
#include "host/snapshot_store.h"
#include "lib/error.h"
#include "tools/tool.h"

static const char help[] =
	"Usage: thaw trust [OPTIONS]\n"
	"       thaw trust SNAPSHOT...\n"
	"\n"
	"Imports what this host has not made. Without a name: the guest kernel, the initramfs\n"
	"and the root images that lie in Thaw's library directory now, whatever was imported\n"
	"before. With names: snapshots that somebody has copied into the state directory; all\n"
	"their checksums are checked before.\n"
	"\n"
	"Nothing tells whether what you import is good. Know where it is from.\n"
	"\n"
	"Options:\n" TOOL_OPTIONS_HELP "\n"
	"Examples:\n"
	"  thaw trust\n"
	"  cp -r backup/orders /var/lib/thaw/snapshots/ && thaw trust orders\n"
	"\n" TOOL_EXIT_CODES;

static int trust_parts(struct tool *tool, const struct thaw_host *host)
{
	struct thaw_error err = {0};
	struct thaw_seal list;

	if (thaw_parts_import(host, &list, &err) < 0)
		return tool_fail(TOOL_HOST, &err);
	json_t *parts = json_object();
	for (size_t i = 0; i < list.count; i++) {
		if (tool->json)
			json_object_set_new(parts, list.file[i].name,
					    json_string(list.file[i].digest));
		else
			printf("%s  %s\n", list.file[i].digest, list.file[i].name);
	}
	if (tool->json)
		tool_print_json(parts);
	else
		json_decref(parts);
	return TOOL_OK;
}

static int trust_snapshot(const struct thaw_host *host, const char *name)
{
	struct thaw_error err = {0};

	if (thaw_snapshot_check_name(name, &err) < 0)
		return tool_fail(TOOL_USAGE, &err);
	if (thaw_snapshot_import(host, name, &err) < 0)
		return tool_fail(TOOL_SNAPSHOT, &err);
	return TOOL_OK;
}

int cmd_trust(struct tool *tool, int argc, char **argv)
{
	static const struct option list[] = {TOOL_OPTIONS};
	struct thaw_host host = THAW_HOST_NONE;
	struct thaw_error err = {0};
	int code = TOOL_OK;

	if (tool_option(tool, argc, argv, "", list, help) != TOOL_DONE)
		return tool->helped ? TOOL_OK : TOOL_USAGE;
	if (thaw_host_open(&host, tool->state, &err) < 0)
		code = tool_fail(TOOL_HOST, &err);
	else if (optind == argc)
		code = trust_parts(tool, &host);
	for (int i = optind; code == TOOL_OK && i < argc; i++)
		code = trust_snapshot(&host, argv[i]);
	thaw_host_close(&host);
	return code;
}
