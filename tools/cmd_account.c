/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts are thawd's: with its data directory locked by a daemon it asks that, and has the
 * database's library otherwise. So this command is thawd, by another name. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/paths.h"
#include "lib/error.h"
#include "tools/tool.h"

#define ARGUMENTS_MAX 16

int cmd_account(struct tool *tool, int argc, char **argv)
{
	char *words[ARGUMENTS_MAX + 5];
	struct thaw_paths paths;
	struct thaw_error err = {0};
	int count = 0;

	if (argc > ARGUMENTS_MAX)
		return tool_usage("too many words (see thaw account --help)");
	if (thaw_paths_find(&paths, &err) < 0)
		return tool_fail(TOOL_HOST, &err);
	/* thawd lies beside thaw-vmm, which lies beside this program. */
	char *slash = strrchr(paths.vmm, '/');
	char *path = NULL;
	if (asprintf(&path, "%.*s/thawd", (int)(slash ? slash - paths.vmm : 0), paths.vmm) < 0)
		return TOOL_FAILED;
	words[count++] = path;
	if (strcmp(tool->state, TOOL_STATE_DEFAULT) != 0) {
		words[count++] = (char *)"--data";
		words[count++] = (char *)tool->state;
	}
	for (int i = 0; i < argc; i++)
		words[count++] = argv[i];
	words[count] = NULL;
	execv(path, words);
	thaw_error_errno(&err, errno, "starting \"%s\"", path);
	free(path);
	return tool_fail(TOOL_HOST, &err);
}
