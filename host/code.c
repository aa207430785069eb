/* SPDX-License-Identifier: Apache-2.0 */
#include "host/code.h"

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
#include "host/state.h"
#include "host/subprocess.h"
#include "lib/error.h"
#include "lib/fd.h"

#define CODE_READ  (256u << 10)
#define CODE_ALIGN (2u << 20)
#define CODE_NAME  (THAW_DIGEST_TEXT + 8)
#define CODE_TREE  "tree"

/* A change of how drives are made changes their names. */
#define CODE_FORMAT "thaw code drive 1"

/* One walk over the folder: hashes it and, when `copy` is set, copies it in the same reading. */
struct code_walk {
	struct thaw_digest *digest;
	bool copy;
	uint64_t bytes;
	unsigned int entries;
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
	if (size > THAW_CODE_SIZE_MAX - walk->bytes)
		return thaw_error_set(err, EFBIG, "it is larger than the %d bytes allowed",
				      THAW_CODE_SIZE_MAX);
	walk->bytes += size;
	bool executable = st.st_mode & 0111;
	code_add_entry(walk, executable ? 'x' : 'f', size);
	if (walk->copy) {
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
	if (walk->copy && symlinkat(target, to_dir, name) < 0)
		return code_error(walk, errno, "copying the link", err);
	return 0;
}

static int code_folder(struct code_walk *walk, int from, int to, unsigned int depth,
		       struct thaw_error *err);

static int code_entry(struct code_walk *walk, int from, int to, const char *name,
		      unsigned int depth, struct thaw_error *err)
{
	struct stat st;

	if (++walk->entries > THAW_CODE_ENTRIES_MAX)
		return thaw_error_set(err, EFBIG, "it has more than the %d entries allowed",
				      THAW_CODE_ENTRIES_MAX);
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
		if (mkdirat(to, name, 0755) < 0 || fchmodat(to, name, 0755, 0) < 0)
			return code_error(walk, errno, "copying", err);
		made = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (made < 0)
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

/* Hashes the folder; copies it to `to` unless that is -1. */
static int code_read(int from, int to, char digest[THAW_DIGEST_TEXT], struct thaw_error *err)
{
	struct code_walk walk = {.copy = to >= 0};

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

static int code_pad(int dir, const char *name, struct thaw_error *err)
{
	struct stat st;
	cleanup_close int fd = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || fstat(fd, &st) < 0)
		return thaw_error_errno(err, errno, "the drive made of the code");
	off_t size = (st.st_size + CODE_ALIGN - 1) / CODE_ALIGN * CODE_ALIGN;
	if (ftruncate(fd, size) < 0 || fchmod(fd, 0444) < 0 || fsync(fd) < 0)
		return thaw_error_errno(err, errno, "writing the drive made of the code");
	return 0;
}

static void code_name(const char *digest, char name[CODE_NAME])
{
	snprintf(name, CODE_NAME, "%s.erofs", digest);
}

/* A descriptor, or -errno. */
static int code_open(const struct thaw_state *state, const char *digest)
{
	char name[CODE_NAME];

	code_name(digest, name);
	int fd = openat(state->code, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

/* A workdir with an empty folder "tree" in it, open as *tree. */
static int code_workdir(struct thaw_workdir *work, const struct thaw_state *state, int *tree,
			struct thaw_error *err)
{
	int rc = thaw_workdir_make(work, state, err);

	if (rc < 0)
		return rc;
	if (mkdirat(work->fd, CODE_TREE, 0755) < 0 || fchmodat(work->fd, CODE_TREE, 0755, 0) < 0 ||
	    (*tree = openat(work->fd, CODE_TREE, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
		rc = thaw_error_errno(err, errno, "copying the code");
		thaw_workdir_drop(work);
	}
	return rc;
}

/* Makes the drive of the workdir's tree, which nobody else can change, so that it is what its
 * name says. */
static int code_make(const struct thaw_workdir *work, const char *digest, int *fd,
		     struct thaw_error *err)
{
	char tree[PATH_MAX], drive[PATH_MAX], name[CODE_NAME];

	if (thaw_workdir_path(work, CODE_TREE, tree, sizeof(tree)) < 0 ||
	    thaw_workdir_path(work, "drive", drive, sizeof(drive)) < 0)
		return thaw_error_set(err, ENAMETOOLONG, "the state directory's path is too long");
	/* noinline_data: only whole blocks can be mapped with DAX. */
	char *const argv[] = {(char *)"mkfs.erofs",
			      (char *)"--quiet",
			      (char *)"-T0",
			      (char *)"-U00000000-0000-0000-0000-000000000000",
			      (char *)"-x-1",
			      (char *)"-Enoinline_data",
			      (char *)"--all-root",
			      drive,
			      tree,
			      NULL};
	int rc = thaw_subprocess_run(argv, "erofs-utils", NULL, 0, err);
	if (rc == 0)
		rc = code_pad(work->fd, "drive", err);
	if (rc < 0)
		return rc;
	code_name(digest, name);
	if (renameat(work->fd, "drive", work->state->code, name) < 0)
		return thaw_error_errno(err, errno, "keeping the drive made of the code");
	*fd = code_open(work->state, digest);
	if (*fd < 0)
		return thaw_error_errno(err, -*fd, "opening the drive made of the code");
	return 0;
}

static int code_drive_folder(const struct thaw_state *state, int from, int *fd,
			     char digest[THAW_DIGEST_TEXT], struct thaw_error *err)
{
	char again[THAW_DIGEST_TEXT];
	struct thaw_workdir work;
	cleanup_close int tree = -1;

	int rc = code_read(from, -1, digest, err);
	if (rc < 0)
		return rc;
	*fd = code_open(state, digest);
	if (*fd >= 0)
		return 0;
	rc = code_workdir(&work, state, &tree, err);
	if (rc < 0)
		return rc;
	rc = code_read(from, tree, again, err);
	if (rc == 0 && strcmp(digest, again) != 0)
		rc = thaw_error_set(err, EAGAIN, "it changed while it was read");
	if (rc == 0)
		rc = code_make(&work, digest, fd, err);
	thaw_workdir_drop(&work);
	return rc;
}

int thaw_code_drive_archives(const struct thaw_state *state, const struct thaw_archive *archives,
			     size_t count, struct thaw_unpack *unpack, int *fd,
			     char digest[THAW_DIGEST_TEXT], struct thaw_error *err)
{
	struct thaw_workdir work;
	cleanup_close int tree = -1;

	unpack->fault = THAW_ARCHIVE_HOST;
	if (count == 0)
		return thaw_error_set(err, EINVAL, "there is no archive");
	int rc = code_workdir(&work, state, &tree, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < count; i++) {
		rc = thaw_archive_unpack(&archives[i], tree, unpack, err);
		if (rc < 0 && count > 1)
			thaw_error_wrap(err, "archive %zu", i + 1);
	}
	if (rc == 0) {
		/* What comes now is none of the archives' doing. */
		unpack->fault = THAW_ARCHIVE_HOST;
		rc = code_read(tree, -1, digest, err);
	}
	if (rc == 0) {
		*fd = code_open(state, digest);
		if (*fd < 0)
			rc = code_make(&work, digest, fd, err);
	}
	thaw_workdir_drop(&work);
	return rc;
}

int thaw_code_drive(const struct thaw_state *state, const char *path, int *fd,
		    char digest[THAW_DIGEST_TEXT], struct thaw_error *err)
{
	struct thaw_unpack unpack = THAW_UNPACK_WHOLE;
	struct stat st;
	int rc;

	/* Nothing may block on a pipe. */
	cleanup_close int from = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (from < 0 || fstat(from, &st) < 0)
		return thaw_error_errno(err, errno, "the code \"%s\"", path);
	if (S_ISDIR(st.st_mode)) {
		rc = code_drive_folder(state, from, fd, digest, err);
	} else if (S_ISREG(st.st_mode)) {
		struct thaw_archive archive = {.fd = from};
		rc = thaw_code_drive_archives(state, &archive, 1, &unpack, fd, digest, err);
	} else {
		rc = thaw_error_set(err, ENOTDIR, "it is neither a folder nor a ZIP file");
	}
	return rc < 0 ? thaw_error_wrap(err, "the code \"%s\"", path) : 0;
}
