/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ZIP archives from anybody. Whatever they say, only files, folders and links of the kinds that
 * are promised come of them, within the limits and below the folder.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/archive.h"
#include "host/archive_name.h"
#include "host/state.h"
#include "lib/error.h"
#include "lib/fd.h"

#define INPUT_MAX   (1u << 20)
#define BYTES_MAX   (1u << 20)
#define ENTRIES_MAX 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static char root[] = "/tmp/thaw-fuzz-archive-XXXXXX";
static int root_fd = -1;

static void root_remove(void)
{
	thaw_remove_tree(AT_FDCWD, root);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	if (!mkdtemp(root))
		abort();
	root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	atexit(root_remove);
	return 0;
}

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* What there is below `dir`, whose path is `path`: returns entries and adds up bytes. */
static unsigned int check_tree(int dir, const char *path, uint64_t *bytes)
{
	DIR *stream = fdopendir(dir);
	unsigned int count = 0;
	char below[8192], target[8192];
	struct stat st;

	check(stream);
	for (struct dirent *entry; (entry = readdir(stream));) {
		const char *name = entry->d_name;
		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			continue;
		snprintf(below, sizeof(below), "%s%s%s", path, *path ? "/" : "", name);
		check(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0);
		count++;
		if (S_ISDIR(st.st_mode)) {
			check(st.st_mode == (S_IFDIR | 0755));
			count += check_tree(openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW),
					    below, bytes);
		} else if (S_ISLNK(st.st_mode)) {
			ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);
			check(n > 0);
			target[n] = 0;
			check(thaw_archive_link_allowed(below, target));
			*bytes += (uint64_t)n;
		} else {
			check(st.st_mode == (S_IFREG | 0644) || st.st_mode == (S_IFREG | 0755));
			check(st.st_nlink == 1);
			*bytes += (uint64_t)st.st_size;
		}
	}
	closedir(stream);
	return count;
}

static void try_archive(const struct thaw_archive *archive)
{
	struct thaw_unpack unpack = {.bytes = BYTES_MAX, .entries = ENTRIES_MAX};
	struct thaw_error err = {0};
	uint64_t bytes = 0;

	check(mkdirat(root_fd, "in", 0755) == 0);
	cleanup_close int dir = openat(root_fd, "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (thaw_archive_unpack(archive, dir, &unpack, &err) < 0)
		check(*err.message && unpack.fault != THAW_ARCHIVE_HOST);
	unsigned int count = check_tree(openat(dir, ".", O_RDONLY | O_DIRECTORY), "", &bytes);
	check(unpack.bytes <= BYTES_MAX && bytes <= BYTES_MAX - unpack.bytes);
	check(count <= ENTRIES_MAX - unpack.entries);
	check(thaw_remove_tree(root_fd, "in") == 0);
	/* Nothing beside it. */
	check(check_tree(openat(root_fd, ".", O_RDONLY | O_DIRECTORY), "", &bytes) == 0);
}

/* The input as a name and as a link's target. */
static void try_name(const char *text)
{
	char name[THAW_ARCHIVE_PATH_MAX + 1], again[THAW_ARCHIVE_PATH_MAX + 1];
	char shown[THAW_ARCHIVE_SHOWN_MAX];

	thaw_archive_name_show(text, shown);
	check(strlen(shown) < sizeof(shown));
	thaw_archive_link_allowed("a/b", text);
	if (thaw_archive_name(text, name))
		return;
	/* Plain, and as it is for good. */
	if (*name) {
		check(!thaw_archive_name(name, again) && strcmp(name, again) == 0);
		check(*name != '/' && name[strlen(name) - 1] != '/' && !strstr(name, "//"));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct thaw_archive archive = {.data = data, .size = size, .fd = -1};

	if (size > INPUT_MAX)
		return 0;
	char *text = malloc(size + 1);
	check(text);
	memcpy(text, data, size);
	text[size] = 0;
	try_name(text);
	free(text);
	if (size)
		try_archive(&archive);
	return 0;
}
