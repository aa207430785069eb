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
#include "host/code_tree.h"
#include "host/seal.h"
#include "host/state.h"
#include "host/subprocess.h"
#include "lib/error.h"
#include "lib/fd.h"

#define CODE_ALIGN  (2u << 20)
#define CODE_NAME   (THAW_DIGEST_TEXT + 8)
#define CODE_TREE   "tree"
#define CODE_SUFFIX ".erofs"

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
	snprintf(name, CODE_NAME, "%s" CODE_SUFFIX, digest);
}

/* A descriptor, or -errno. */
static int code_find(const struct thaw_state *state, const char *digest)
{
	char name[CODE_NAME];
	struct stat st;

	code_name(digest, name);
	cleanup_close int fd = openat(state->code, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	/* As code_pad leaves them. */
	if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size % CODE_ALIGN != 0 ||
	    thaw_seal_check_owner(fd, name, NULL) < 0)
		return -EBADMSG;
	return thaw_fd_take(&fd);
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
	/* Opened first: whoever empties the cache may be at it. */
	cleanup_close int made = openat(work->fd, "drive", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (made < 0)
		return thaw_error_errno(err, errno, "opening the drive made of the code");
	code_name(digest, name);
	if (renameat(work->fd, "drive", work->state->code, name) < 0)
		return thaw_error_errno(err, errno, "keeping the drive made of the code");
	*fd = thaw_fd_take(&made);
	return 0;
}

/* Finds or makes the drive of the workdir's tree. */
static int code_drive_tree(const struct thaw_workdir *work, int tree, int *fd,
			   char digest[THAW_DIGEST_TEXT], struct thaw_error *err)
{
	struct thaw_unpack whole = THAW_UNPACK_WHOLE;

	int rc = thaw_code_tree_read(tree, -1, &whole, digest, err);
	if (rc < 0)
		return rc;
	*fd = code_find(work->state, digest);
	return *fd < 0 ? code_make(work, digest, fd, err) : 0;
}

/* A folder alone is only copied when there is no drive of it yet. */
static int code_drive_folder(const struct thaw_state *state, int from, struct thaw_unpack *unpack,
			     int *fd, char digest[THAW_DIGEST_TEXT], struct thaw_error *err)
{
	struct thaw_unpack again = *unpack;
	char copied[THAW_DIGEST_TEXT];
	struct thaw_workdir work;
	cleanup_close int tree = -1;

	int rc = thaw_code_tree_read(from, -1, unpack, digest, err);
	if (rc < 0)
		return rc;
	*fd = code_find(state, digest);
	if (*fd >= 0)
		return 0;
	rc = code_workdir(&work, state, &tree, err);
	if (rc < 0)
		return rc;
	rc = thaw_code_tree_read(from, tree, &again, copied, err);
	if (rc == 0 && strcmp(digest, copied) != 0)
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
		rc = code_drive_tree(&work, tree, fd, digest, err);
	}
	thaw_workdir_drop(&work);
	return rc;
}

/* Opens a folder or a file, and says which. */
static int code_source(const char *path, int *fd, bool *folder, struct thaw_error *err)
{
	struct stat st;

	/* Nothing may block on a pipe. */
	cleanup_close int from = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (from < 0 || fstat(from, &st) < 0)
		return thaw_error_errno(err, errno, "the code \"%s\"", path);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return thaw_error_set(err, ENOTDIR,
				      "the code \"%s\": it is neither a folder nor a ZIP file",
				      path);
	*folder = S_ISDIR(st.st_mode);
	*fd = thaw_fd_take(&from);
	return 0;
}

/* Lays one source over what is in `tree`. */
static int code_lay(const char *path, int tree, struct thaw_unpack *unpack, struct thaw_error *err)
{
	struct thaw_archive archive = {.fd = -1};
	char unused[THAW_DIGEST_TEXT];
	cleanup_close int from = -1;
	bool folder;

	int rc = code_source(path, &from, &folder, err);
	if (rc < 0)
		return rc;
	archive.fd = from;
	rc = folder ? thaw_code_tree_read(from, tree, unpack, unused, err)
		    : thaw_archive_unpack(&archive, tree, unpack, err);
	if (rc < 0)
		thaw_error_wrap(err, "the code \"%s\"", path);
	return rc;
}

int thaw_code_drive_paths(const struct thaw_state *state, const char *const *paths, size_t count,
			  struct thaw_unpack *unpack, int *fd, char digest[THAW_DIGEST_TEXT],
			  struct thaw_error *err)
{
	struct thaw_workdir work;
	cleanup_close int tree = -1, from = -1;
	bool folder = false;

	unpack->fault = THAW_ARCHIVE_HOST;
	if (count == 0)
		return thaw_error_set(err, EINVAL, "there is no code");
	int rc = count == 1 ? code_source(paths[0], &from, &folder, err) : 0;
	if (rc < 0)
		return rc;
	if (folder) {
		rc = code_drive_folder(state, from, unpack, fd, digest, err);
		if (rc < 0)
			thaw_error_wrap(err, "the code \"%s\"", paths[0]);
		return rc;
	}
	rc = code_workdir(&work, state, &tree, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = code_lay(paths[i], tree, unpack, err);
	if (rc == 0) {
		unpack->fault = THAW_ARCHIVE_HOST;
		rc = code_drive_tree(&work, tree, fd, digest, err);
	}
	thaw_workdir_drop(&work);
	return rc;
}

int thaw_code_drive(const struct thaw_state *state, const char *path, int *fd,
		    char digest[THAW_DIGEST_TEXT], struct thaw_error *err)
{
	struct thaw_unpack unpack = THAW_UNPACK_WHOLE;

	return thaw_code_drive_paths(state, &path, 1, &unpack, fd, digest, err);
}

/* --- the cache --- */

static int code_check_name(const char *digest, struct thaw_error *err)
{
	if (thaw_digest_valid(digest))
		return 0;
	return thaw_error_set(err, EINVAL, "\"%s\" is not the name of a drive", digest);
}

int thaw_code_open(const struct thaw_state *state, const char *digest, int *fd,
		   struct thaw_error *err)
{
	int rc = code_check_name(digest, err);

	if (rc < 0)
		return rc;
	*fd = code_find(state, digest);
	return *fd < 0 ? thaw_error_errno(err, -*fd, "opening the code's drive %s", digest) : 0;
}

int thaw_code_remove(const struct thaw_state *state, const char *digest, struct thaw_error *err)
{
	char name[CODE_NAME];

	int rc = code_check_name(digest, err);
	if (rc < 0)
		return rc;
	code_name(digest, name);
	if (unlinkat(state->code, name, 0) < 0)
		return thaw_error_errno(err, errno, "removing the code's drive %s", digest);
	return 0;
}

static int digest_order(const void *a, const void *b)
{
	return strcmp(a, b);
}

int thaw_code_list(const struct thaw_state *state, char (**digests)[THAW_DIGEST_TEXT],
		   size_t *count, struct thaw_error *err)
{
	const size_t size = THAW_DIGEST_TEXT - 1;
	char(*list)[THAW_DIGEST_TEXT] = NULL;
	char digest[THAW_DIGEST_TEXT] = "";
	size_t used = 0, room = 0;
	struct dirent *entry;

	cleanup_close int fd = openat(state->code, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
	if (!stream)
		return thaw_error_errno(err, errno, "listing the drives of code");
	fd = -1;
	while ((errno = 0, entry = readdir(stream))) {
		if (strlen(entry->d_name) != size + strlen(CODE_SUFFIX) ||
		    strcmp(entry->d_name + size, CODE_SUFFIX) != 0)
			continue;
		memcpy(digest, entry->d_name, size);
		if (!thaw_digest_valid(digest))
			continue;
		if (used == room) {
			room = 2 * room + 16;
			void *more = realloc(list, room * sizeof(*list));
			if (!more) {
				errno = ENOMEM;
				break;
			}
			list = more;
		}
		strcpy(list[used++], digest);
	}
	int code = errno;
	closedir(stream);
	if (code) {
		free(list);
		return thaw_error_errno(err, code, "listing the drives of code");
	}
	if (used)
		qsort(list, used, sizeof(*list), digest_order);
	*digests = list;
	*count = used;
	return 0;
}
