/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cgroup_mounts.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define FIELDS_MAX 32
#define LINE_SIZE  (3 * PATH_MAX)

const char *const thaw_cgroup_controller_names[THAW_CGROUP_CONTROLLERS] = {
	[THAW_CGROUP_CPU] = "cpu",       [THAW_CGROUP_CPUACCT] = "cpuacct",
	[THAW_CGROUP_MEMORY] = "memory", [THAW_CGROUP_PIDS] = "pids",
	[THAW_CGROUP_BLKIO] = "blkio",
};

/* Copies the next line; false at the end. One that is too long comes out empty. */
static bool next_line(const char **text, char *line)
{
	if (!**text)
		return false;
	size_t size = strcspn(*text, "\n");
	snprintf(line, LINE_SIZE, "%.*s", size < LINE_SIZE ? (int)size : 0, *text);
	*text += size + ((*text)[size] == '\n');
	return true;
}

static bool in_list(const char *list, const char *word)
{
	size_t size = strlen(word);

	for (; *list; list += strcspn(list, ","), list += *list == ',') {
		if (strcspn(list, ",") == size && strncmp(list, word, size) == 0)
			return true;
	}
	return false;
}

/* Space, tab, newline and backslash come as three octal digits. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
		    from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
			*to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = 0;
}

/* The process's own group: "hierarchy:controllers:path"; a `controller` of NULL is version 2. */
static void own_group(const char *groups, const char *controller, char path[PATH_MAX])
{
	char line[LINE_SIZE];

	strcpy(path, "/");
	while (next_line(&groups, line)) {
		char *list = strchr(line, ':');
		char *where = list ? strchr(list + 1, ':') : NULL;
		if (!where)
			continue;
		*list++ = 0;
		*where++ = 0;
		if (controller ? in_list(list, controller) : strcmp(line, "0") == 0 && !*list) {
			if (strlen(where) < PATH_MAX)
				strcpy(path, where);
			return;
		}
	}
}

/* Where the group `path` is, when the group `root` is mounted at `top`. */
static void group_directory(const char *top, const char *root, const char *path, char *directory)
{
	size_t size = strcmp(root, "/") == 0 ? 0 : strlen(root);
	bool inside = strncmp(path, root, size) == 0 && (!path[size] || path[size] == '/') &&
		      strncmp(path, "/..", 3) != 0;
	const char *rest = inside ? path + size : "";

	if (strcmp(rest, "/") == 0)
		rest = "";
	if (snprintf(directory, PATH_MAX, "%s%s", top, rest) >= PATH_MAX)
		directory[0] = 0;
}

/* One mount. The first of each kind counts. */
static void take_mount(struct thaw_cgroup_mounts *mounts, const char *top, const char *root,
		       const char *type, const char *options, const char *groups)
{
	char own[PATH_MAX];

	if (strcmp(type, "cgroup2") == 0 && !*mounts->v2) {
		own_group(groups, NULL, own);
		group_directory(top, root, own, mounts->v2);
		group_directory(top, "/", "/", mounts->v2_top);
	}
	for (int i = 0; strcmp(type, "cgroup") == 0 && i < THAW_CGROUP_CONTROLLERS; i++) {
		if (*mounts->v1[i] || !in_list(options, thaw_cgroup_controller_names[i]))
			continue;
		own_group(groups, thaw_cgroup_controller_names[i], own);
		group_directory(top, root, own, mounts->v1[i]);
	}
}

void thaw_cgroup_mounts_find(struct thaw_cgroup_mounts *mounts, const char *mountinfo,
			     const char *groups)
{
	char line[LINE_SIZE], *fields[FIELDS_MAX], *rest;

	memset(mounts, 0, sizeof(*mounts));
	while (next_line(&mountinfo, line)) {
		/* id parent device ROOT TOP options [optional ...] - TYPE source OPTIONS */
		int count = 0, dash = 0;
		for (char *word = strtok_r(line, " ", &rest); word && count < FIELDS_MAX;
		     word = strtok_r(NULL, " ", &rest)) {
			if (!dash && count >= 6 && strcmp(word, "-") == 0)
				dash = count;
			fields[count++] = word;
		}
		if (!dash || dash + 3 >= count)
			continue;
		unescape(fields[3]);
		unescape(fields[4]);
		take_mount(mounts, fields[4], fields[3], fields[dash + 1], fields[dash + 3],
			   groups);
	}
}
