/* SPDX-License-Identifier: Apache-2.0 */
#include "host/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "host/keyring.h"
#include "lib/error.h"
#include "lib/fd.h"

#define COPY_BLOCK (1u << 20)

/* Who can write here can put what is not ours into the place of what is. */
static int state_check_owner(const struct thaw_state *state, int fd, const char *name,
			     struct thaw_error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return thaw_error_errno(err, errno, "the state directory \"%s%s\"", state->path,
					name);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return thaw_error_set(err, EPERM, "the state directory \"%s%s\" belongs to user %u",
				      state->path, name, st.st_uid);
	if (st.st_mode & 022)
		return thaw_error_set(err, EPERM,
				      "others may write to the state directory \"%s%s\" (mode "
				      "%04o): chmod go-w it, or choose another",
				      state->path, name, st.st_mode & 07777);
	return 0;
}

static int state_subdir(const struct thaw_state *state, const char *name, int *fd,
			struct thaw_error *err)
{
	if (mkdirat(state->root, name, 0700) < 0 && errno != EEXIST)
		return thaw_error_errno(err, errno, "making \"%s/%s\"", state->path, name);
	*fd = openat(state->root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (*fd < 0)
		return thaw_error_errno(err, errno, "opening \"%s/%s\"", state->path, name);
	char below[32];
	snprintf(below, sizeof(below), "/%s", name);
	return state_check_owner(state, *fd, below, err);
}

/* mkdir -p */
static int state_make_path(const char *path)
{
	char part[PATH_MAX];

	snprintf(part, sizeof(part), "%s", path);
	for (char *at = part + 1; *at; at++) {
		if (*at != '/')
			continue;
		*at = 0;
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return -errno;
		*at = '/';
	}
	if (mkdir(part, 0700) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

int thaw_remove_tree(int dir, const char *name)
{
	int first = 0;

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	DIR *stream = fdopendir(fd);
	if (!stream) {
		close(fd);
		return -ENOMEM;
	}
	struct dirent *entry;
	while ((entry = readdir(stream))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		int rc = thaw_remove_tree(fd, entry->d_name);
		if (rc < 0 && first == 0)
			first = rc;
	}
	closedir(stream);
	if (unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT && first == 0)
		first = -errno;
	return first;
}

/* Who makes a workdir holds this shared from mkdir to flock; who sweeps, exclusively: no sweep
 * sees a directory that is not locked yet. Nobody holds it long. */
static int state_lock(const struct thaw_state *state, int how)
{
	int fd = openat(state->tmp, ".lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	while (flock(fd, how) < 0) {
		if (errno != EINTR) {
			int code = errno;
			close(fd);
			return -code;
		}
	}
	return fd;
}

void thaw_state_sweep(const struct thaw_state *state)
{
	cleanup_close int lock = state_lock(state, LOCK_EX | LOCK_NB);
	/* Somebody makes or sweeps just now: the next command will do it. */
	if (lock < 0)
		return;
	int fd = openat(state->tmp, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
	if (!stream) {
		thaw_cleanup_close(&fd);
		return;
	}
	struct dirent *entry;
	while ((entry = readdir(stream))) {
		if (entry->d_name[0] == '.')
			continue;
		cleanup_close int dir = openat(state->tmp, entry->d_name,
					       O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (dir < 0 && errno != ENOTDIR)
			continue;
		if (dir >= 0 && flock(dir, LOCK_EX | LOCK_NB) < 0)
			continue;
		thaw_remove_tree(state->tmp, entry->d_name);
	}
	closedir(stream);
}

int thaw_state_open(struct thaw_state *state, const char *path, struct thaw_error *err)
{
	*state = (struct thaw_state)THAW_STATE_NONE;
	if (!*path || strlen(path) >= PATH_MAX - 256)
		return thaw_error_set(err, EINVAL, "\"%s\" cannot be a state directory", path);
	int rc = state_make_path(path);
	if (rc < 0)
		return thaw_error_errno(err, -rc, "making the state directory \"%s\"", path);
	if (!realpath(path, state->path))
		return thaw_error_errno(err, errno, "the state directory \"%s\"", path);
	state->root = open(state->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (state->root < 0)
		return thaw_error_errno(err, errno, "the state directory \"%s\"", path);
	if ((rc = state_check_owner(state, state->root, "", err)) < 0 ||
	    (rc = state_subdir(state, "snapshots", &state->snapshots, err)) < 0 ||
	    (rc = state_subdir(state, "code", &state->code, err)) < 0 ||
	    (rc = state_subdir(state, "templates", &state->templates, err)) < 0 ||
	    (rc = state_subdir(state, "digests", &state->digests, err)) < 0 ||
	    (rc = state_subdir(state, "tmp", &state->tmp, err)) < 0) {
		thaw_state_close(state);
		return rc;
	}
	thaw_state_sweep(state);
	return 0;
}

int thaw_state_open_key(struct thaw_state *state, bool make, struct thaw_error *err)
{
	return state->key ? 0 : thaw_keyring_open(&state->key, state->root, make, err);
}

void thaw_state_close(struct thaw_state *state)
{
	thaw_keyring_close(state->key);
	thaw_cleanup_close(&state->root);
	thaw_cleanup_close(&state->snapshots);
	thaw_cleanup_close(&state->code);
	thaw_cleanup_close(&state->templates);
	thaw_cleanup_close(&state->digests);
	thaw_cleanup_close(&state->tmp);
	*state = (struct thaw_state)THAW_STATE_NONE;
}

int thaw_workdir_make(struct thaw_workdir *work, const struct thaw_state *state,
		      struct thaw_error *err)
{
	uint64_t random;

	*work = (struct thaw_workdir)THAW_WORKDIR_NONE;
	work->state = state;
	cleanup_close int lock = state_lock(state, LOCK_SH);
	if (lock < 0)
		return thaw_error_errno(err, -lock, "locking \"%s/tmp\"", state->path);
	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return thaw_error_errno(err, errno, "random numbers");
	snprintf(work->name, sizeof(work->name), "%016llx", (unsigned long long)random);
	if (mkdirat(state->tmp, work->name, 0700) < 0)
		return thaw_error_errno(err, errno, "making a directory in \"%s/tmp\"",
					state->path);
	work->fd = openat(state->tmp, work->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (work->fd < 0 || flock(work->fd, LOCK_EX | LOCK_NB) < 0) {
		int code = errno;
		thaw_workdir_drop(work);
		return thaw_error_errno(err, code, "locking a directory in \"%s/tmp\"",
					state->path);
	}
	return 0;
}

void thaw_workdir_drop(struct thaw_workdir *work)
{
	if (work->fd < 0)
		return;
	thaw_remove_tree(work->state->tmp, work->name);
	close(work->fd);
	*work = (struct thaw_workdir)THAW_WORKDIR_NONE;
}

int thaw_workdir_path(const struct thaw_workdir *work, const char *name, char *path, size_t size)
{
	int n = snprintf(path, size, "%s/tmp/%s%s%s", work->state->path, work->name,
			 *name ? "/" : "", name);

	return n > 0 && (size_t)n < size ? 0 : -ENAMETOOLONG;
}

int thaw_workdir_publish(struct thaw_workdir *work, int to, const char *name, int replace,
			 struct thaw_error *err)
{
	const struct thaw_state *state = work->state;

	/* All of it or nothing, over a loss of power too. */
	if (syncfs(work->fd) < 0)
		return thaw_error_errno(err, errno, "writing \"%s\" to the disk", name);
	if (renameat2(state->tmp, work->name, to, name, RENAME_NOREPLACE) < 0) {
		if (errno != EEXIST || !replace)
			return thaw_error_errno(err, errno, "naming \"%s\"", name);
		/* The old one takes our place in tmp/, where our lock does not hold it. */
		if (renameat2(state->tmp, work->name, to, name, RENAME_EXCHANGE) < 0)
			return thaw_error_errno(err, errno, "replacing \"%s\"", name);
		thaw_remove_tree(state->tmp, work->name);
	}
	if (fsync(to) < 0)
		return thaw_error_errno(err, errno, "writing \"%s\" to the disk", name);
	close(work->fd);
	*work = (struct thaw_workdir)THAW_WORKDIR_NONE;
	return 0;
}

static int copy_range(int from, int to, off_t at, off_t end, uint8_t *buffer)
{
	while (at < end) {
		size_t size = end - at < COPY_BLOCK ? (size_t)(end - at) : COPY_BLOCK;
		int rc = thaw_pread_full(from, buffer, size, at);
		if (rc == 0)
			rc = thaw_pwrite_full(to, buffer, size, at);
		if (rc < 0)
			return rc;
		at += (off_t)size;
	}
	return 0;
}

int thaw_copy_sparse(int from, int to, struct thaw_error *err)
{
	struct stat st;

	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	if (fstat(from, &st) < 0)
		return thaw_error_errno(err, errno, "copying a file");
	if (ftruncate(to, st.st_size) < 0)
		return thaw_error_errno(err, errno, "copying a file of %lld bytes",
					(long long)st.st_size);
	cleanup_free uint8_t *buffer = malloc(COPY_BLOCK);
	if (!buffer)
		return thaw_error_errno(err, ENOMEM, "copying a file");
	off_t end = 0;
	while (end < st.st_size) {
		off_t start = lseek(from, end, SEEK_DATA);
		if (start < 0 && errno == ENXIO)
			break; /* a hole to the end */
		end = start < 0 ? -1 : lseek(from, start, SEEK_HOLE);
		if (start < 0 || end < 0)
			return thaw_error_errno(err, errno, "copying a file");
		int rc = copy_range(from, to, start, end, buffer);
		if (rc < 0)
			return thaw_error_errno(err, -rc, "copying a file of %lld bytes",
						(long long)st.st_size);
	}
	return 0;
}
