/* SPDX-License-Identifier: Apache-2.0 */
#include "host/code_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/archive.h"
#include "host/code.h"
#include "lib/error.h"
#include "lib/fd.h"

#define CODE_READ (256u << 10)

/* A change of how drives are made changes their names. */
#define CODE_FORMAT "thaw code drive 1"

/* One walk over the folder: hashes it and, when `copy` is set, copies it in the same reading. */
struct code_walk {
	struct thaw_digest *digest;
	bool copy;
	struct thaw_unpack *left;
	uint8_t *buffer;
	char path[PATH_MAX]; /* of the entry at hand, below the folder: for errors and the hash */
	size_t path_used;
};

static void code_add_number(struct code_walk *walk, uint64_t value)
{
	uint8_t raw[8];

	for (int i = 0; i < 8; i++)
		raw[i] = (uint8_t)(value >> (8 * i));
	thaw_digest_add(walk->digest, raw, sizeof(raw));
}

static void code_add_entry(struct code_walk *walk, char kind, uint64_t size)
{
	thaw_digest_add(walk->digest, &kind, 1);
	code_add_number(walk, walk->path_used);
	thaw_digest_add(walk->digest, walk->path, walk->path_used);
	code_add_number(walk, size);
}

static int code_error(struct code_walk *walk, int code, const char *what, struct thaw_error *err)
{
	return thaw_error_errno(err, code, "%s \"%s\"", what, walk->path);
}

/* What is copied takes the place of an earlier file or link of that name. */
static int code_make_way(struct code_walk *walk, int to_dir, const char *name,
			 struct thaw_error *err)
{
	if (unlinkat(to_dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno == EISDIR || errno == EPERM)
		return thaw_error_set(err, EINVAL, "\"%s\" has the name of a folder", walk->path);
	return code_error(walk, errno, "copying", err);
}

static int code_file(struct code_walk *walk, int from_dir, int to_dir, const char *name,
		     struct thaw_error *err)
{
	struct stat st;
	cleanup_close int to = -1;

	/* Nothing may block on a pipe that took the file's place. */
	cleanup_close int from =
		openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (from < 0 || fstat(from, &st) < 0)
		return code_error(walk, errno, "reading", err);
	if (!S_ISREG(st.st_mode))
		return thaw_error_set(err, EINVAL, "\"%s\" changed while it was read", walk->path);
	uint64_t size = (uint64_t)st.st_size;
	if (size > walk->left->bytes) {
		walk->left->fault = THAW_ARCHIVE_TOO_LARGE;
		return thaw_error_set(err, EFBIG, "it is larger than the %d bytes allowed",
				      THAW_CODE_SIZE_MAX);
	}
	walk->left->bytes -= size;
	bool executable = st.st_mode & 0111;
	code_add_entry(walk, executable ? 'x' : 'f', size);
	if (walk->copy) {
		int rc = code_make_way(walk, to_dir, name, err);
		if (rc < 0)
			return rc;
		to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (to < 0 || fchmod(to, executable ? 0755 : 0644) < 0)
			return code_error(walk, errno, "copying", err);
	}
	uint64_t done = 0;
	while (done < size) {
		size_t part = size - done < CODE_READ ? (size_t)(size - done) : CODE_READ;
		int rc = thaw_read_full(from, walk->buffer, part);
		if (rc == -ENODATA)
			return thaw_error_set(err, EAGAIN, "\"%s\" changed while it was read",
					      walk->path);
		if (rc < 0)
			return code_error(walk, -rc, "reading", err);
		thaw_digest_add(walk->digest, walk->buffer, part);
		rc = walk->copy ? thaw_write_full(to, walk->buffer, part) : 0;
		if (rc < 0)
			return code_error(walk, -rc, "copying", err);
		done += part;
	}
	return 0;
}

static int code_link(struct code_walk *walk, int from_dir, int to_dir, const char *name,
		     struct thaw_error *err)
{
	char target[PATH_MAX];

	ssize_t n = readlinkat(from_dir, name, target, sizeof(target) - 1);
	if (n < 0)
		return code_error(walk, errno, "reading the link", err);
	target[n] = 0;
	code_add_entry(walk, 'l', (uint64_t)n);
	thaw_digest_add(walk->digest, target, (size_t)n);
	if (!walk->copy)
		return 0;
	int rc = code_make_way(walk, to_dir, name, err);
	if (rc == 0 && symlinkat(target, to_dir, name) < 0)
		rc = code_error(walk, errno, "copying the link", err);
	return rc;
}

static int code_folder(struct code_walk *walk, int from, int to, unsigned int depth,
		       struct thaw_error *err);

static int code_entry(struct code_walk *walk, int from, int to, const char *name,
		      unsigned int depth, struct thaw_error *err)
{
	struct stat st;

	if (walk->left->entries == 0) {
		walk->left->fault = THAW_ARCHIVE_REFUSED;
		return thaw_error_set(err, EFBIG, "it has more than the %d entries allowed",
				      THAW_CODE_ENTRIES_MAX);
	}
	walk->left->entries--;
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return code_error(walk, errno, "looking at", err);
	if (S_ISREG(st.st_mode))
		return code_file(walk, from, to, name, err);
	if (S_ISLNK(st.st_mode))
		return code_link(walk, from, to, name, err);
	if (!S_ISDIR(st.st_mode))
		return thaw_error_set(err, EINVAL,
				      "\"%s\" is a special file: code has only files, "
				      "folders and links",
				      walk->path);
	code_add_entry(walk, 'd', 0);
	cleanup_close int below =
		openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (below < 0)
		return code_error(walk, errno, "reading", err);
	cleanup_close int made = -1;
	if (walk->copy) {
		if (mkdirat(to, name, 0755) < 0 && errno != EEXIST)
			return code_error(walk, errno, "copying", err);
		made = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (made < 0 && (errno == ENOTDIR || errno == ELOOP))
			return thaw_error_set(err, EINVAL, "\"%s\" has the name of a file",
					      walk->path);
		if (made < 0 || fchmod(made, 0755) < 0)
			return code_error(walk, errno, "copying", err);
	}
	return code_folder(walk, below, made, depth + 1, err);
}

static int name_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_free(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

/* The names in a folder, sorted by their bytes: readdir's order is the file system's whim. */
static int code_names(int dir, char ***names, size_t *count)
{
	cleanup_close int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = again >= 0 ? fdopendir(again) : NULL;
	char **list = NULL;
	size_t used = 0;
	int rc = 0;

	if (!stream)
		return -errno;
	again = -1;
	struct dirent *entry;
	while (rc == 0 && (errno = 0, entry = readdir(stream))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (used > THAW_CODE_ENTRIES_MAX)
			break; /* the count at each entry says it */
		if ((used & (used + 1)) == 0) {
			char **more = realloc(list, (2 * used + 2) * sizeof(*list));
			if (!more) {
				rc = -ENOMEM;
				break;
			}
			list = more;
		}
		list[used] = strdup(entry->d_name);
		if (!list[used])
			rc = -ENOMEM;
		else
			used++;
	}
	if (rc == 0 && errno)
		rc = -errno;
	closedir(stream);
	if (rc < 0) {
		names_free(list, used);
		return rc;
	}
	if (used)
		qsort(list, used, sizeof(*list), name_order);
	*names = list;
	*count = used;
	return 0;
}

static int code_folder(struct code_walk *walk, int from, int to, unsigned int depth,
		       struct thaw_error *err)
{
	size_t base = walk->path_used;
	char **names = NULL;
	size_t count = 0;

	if (depth > THAW_CODE_DEPTH_MAX)
		return thaw_error_set(err, EFBIG, "\"%s\" is nested deeper than %d folders",
				      walk->path, THAW_CODE_DEPTH_MAX);
	int rc = code_names(from, &names, &count);
	if (rc < 0)
		return code_error(walk, -rc, "reading the folder", err);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		int n = snprintf(walk->path + base, sizeof(walk->path) - base, "%s%s",
				 base ? "/" : "", names[i]);
		if (n < 0 || (size_t)n >= sizeof(walk->path) - base) {
			rc = thaw_error_set(err, ENAMETOOLONG, "a path in it is too long");
			break;
		}
		walk->path_used = base + (size_t)n;
		rc = code_entry(walk, from, to, names[i], depth, err);
	}
	names_free(names, count);
	walk->path_used = base;
	walk->path[base] = 0;
	return rc;
}

int thaw_code_tree_read(int from, int to, struct thaw_unpack *left, char digest[THAW_DIGEST_TEXT],
			struct thaw_error *err)
{
	struct code_walk walk = {.copy = to >= 0, .left = left};

	left->fault = THAW_ARCHIVE_HOST;
	walk.digest = thaw_digest_new();
	walk.buffer = malloc(CODE_READ);
	int rc = walk.digest && walk.buffer ? 0 : thaw_error_errno(err, ENOMEM, "reading code");
	if (rc == 0) {
		thaw_digest_add(walk.digest, CODE_FORMAT, sizeof(CODE_FORMAT));
		rc = code_folder(&walk, from, to, 0, err);
	}
	if (walk.digest)
		thaw_digest_finish(walk.digest, rc == 0 ? digest : NULL);
	free(walk.buffer);
	return rc;
}
