/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/restore.h"

#include <errno.h>
#include <string.h>

#include "host/tmp_drive.h"
#include "lib/error.h"
#include "lib/fd.h"

static const char *const mode_names[] = {
	[THAW__VMM__RESTORE_MODE__RESTORE_MODE_MAP] = "map",
	[THAW__VMM__RESTORE_MODE__RESTORE_MODE_URING] = "uring",
	[THAW__VMM__RESTORE_MODE__RESTORE_MODE_UFFD] = "uffd",
	[THAW__VMM__RESTORE_MODE__RESTORE_MODE_EAGER] = "eager",
};

bool restore_mode_parse(const char *text, Thaw__Vmm__RestoreMode *mode)
{
	for (size_t i = 0; i < sizeof(mode_names) / sizeof(mode_names[0]); i++) {
		if (strcmp(text, mode_names[i]) == 0) {
			*mode = (Thaw__Vmm__RestoreMode)i;
			return true;
		}
	}
	return false;
}

const char *restore_mode_name(Thaw__Vmm__RestoreMode mode)
{
	return mode_names[mode];
}

/* Whether an error tells of what became of the process, rather than of the snapshot. */
static int restore_code(const struct thaw_error *err)
{
	switch (err->code) {
	case EPIPE:
	case ETIMEDOUT:
	case EPROTO:
	case ECANCELED:
		return TOOL_FAILED;
	default:
		return TOOL_SNAPSHOT;
	}
}

int restore_open(struct restore *restore, const struct thaw_host *host, const char *name)
{
	struct thaw_error err = {0};

	memset(restore, 0, sizeof(*restore));
	restore->host = host;
	restore->root = -1;
	if (thaw_snapshot_check_name(name, &err) < 0)
		return tool_fail(TOOL_USAGE, &err);
	if (thaw_snapshot_open(&host->state, name, &restore->snapshot, &err) < 0)
		return tool_fail(TOOL_SNAPSHOT, &err);
	if (thaw_snapshot_open_root(&restore->snapshot, host, &restore->root, &err) < 0) {
		int code = tool_fail(err.code == ESTALE ? TOOL_SNAPSHOT : TOOL_HOST, &err);
		restore_close(restore);
		return code;
	}
	return TOOL_OK;
}

void restore_close(struct restore *restore)
{
	thaw_snapshot_close(&restore->snapshot);
	thaw_cleanup_close(&restore->root);
	restore->root = -1;
}

int restore_prepare(struct restore *restore, struct thaw_restore_options *options)
{
	struct thaw_error err = {0};

	if (thaw_snapshot_check_network(&restore->snapshot, restore->network, &err) < 0) {
		thaw_error_wrap(&err, "snapshot \"%s\"", restore->snapshot.manifest.name);
		return tool_fail(TOOL_USAGE, &err);
	}
	if (options->mode == THAW__VMM__RESTORE_MODE__RESTORE_MODE_UFFD &&
	    restore->host->userfaultfd < 0) {
		thaw_error_set(&err, ENODEV,
			       "mode uffd needs /dev/userfaultfd, which this host does "
			       "not have (see thaw doctor)");
		return tool_fail(TOOL_HOST, &err);
	}
	if (options->mode == THAW__VMM__RESTORE_MODE__RESTORE_MODE_EAGER) {
		if (thaw_snapshot_check_frames(&restore->snapshot, &restore->host->state, &err) < 0)
			return tool_fail(TOOL_SNAPSHOT, &err);
		return TOOL_OK;
	}
	options->direct = options->mode == THAW__VMM__RESTORE_MODE__RESTORE_MODE_URING;
	if (thaw_snapshot_open_image(&restore->snapshot, restore->host, &options->direct, &err) <
	    0) {
		if (err.code != EKEYREJECTED)
			thaw_error_wrap(&err, "snapshot \"%s\"", restore->snapshot.name);
		return tool_fail(restore_code(&err), &err);
	}
	return TOOL_OK;
}

int restore_clone(const struct restore *restore, const struct thaw_restore_options *options,
		  struct thaw_environment *environment, const struct thaw_invocation *first,
		  int *tmp)
{
	const struct thaw_snapshot *snapshot = &restore->snapshot;
	struct thaw_machine machine = THAW_MACHINE_NONE;
	struct thaw_error err = {0};

	if (thaw_tmp_drive_copy(&restore->host->state, snapshot->tmp, tmp, &err) < 0)
		return tool_fail(TOOL_HOST, &err);
	machine.root = restore->root;
	machine.code = snapshot->code;
	machine.layers = snapshot->layers;
	machine.tmp = *tmp;
	machine.network = restore->network;
	machine.cpu_template = snapshot->manifest.cpu_template;
	thaw_environment_init(environment, restore->host, &snapshot->manifest.function);
	environment->log = tool_log;
	environment->log_context = stderr;
	if (thaw_environment_restore(environment, &machine, &snapshot->files, options, first,
				     &err) == 0)
		return TOOL_OK;
	int code = environment->snapshot_refused ? TOOL_SNAPSHOT : TOOL_FAILED;
	if (!environment->snapshot_refused && (err.code == ENOENT || err.code == EACCES))
		code = TOOL_HOST; /* thaw-vmm could not be started */
	thaw_environment_close(environment);
	thaw_error_wrap(&err, "snapshot \"%s\"", snapshot->name);
	return tool_fail(code, &err);
}
