/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "host/telemetry/logs_internal.h"
#include "lib/fd.h"

/* Sweeping removes a folder that is empty, perhaps while a file is being made in it. */
#define FOLDER_TRIES 3

static void file_close(struct thaw_log_file *file)
{
	thaw_cleanup_close(&file->fd);
	file->fd = -1;
}

static int file_folder(const struct thaw_log_file *file, bool make)
{
	cleanup_close int account = thaw_logs_folder(file->logs->dir, file->account, make);

	return account < 0 ? account : thaw_logs_folder(account, file->function, make);
}

/* Whether it is what we would have made, and where it ends. */
static int file_examine(struct thaw_log_file *file, int fd)
{
	struct stat st;
	char last = '\n';

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return -EPERM;
	if ((st.st_mode & 0777) != 0600 && fchmod(fd, 0600) < 0)
		return -errno;
	if (st.st_size > 0) {
		int rc = thaw_pread_full(fd, &last, 1, st.st_size - 1);
		if (rc < 0)
			return rc;
	}
	file->size = (uint64_t)st.st_size;
	file->torn = last != '\n';
	return 0;
}

static int file_open(struct thaw_log_file *file)
{
	cleanup_close int fd = -1;
	int rc = -ENOENT;

	for (int i = 0; i < FOLDER_TRIES && rc == -ENOENT; i++) {
		cleanup_close int folder = file_folder(file, true);
		/* Nothing may block on a pipe in the file's place. */
		if (folder >= 0)
			fd = openat(folder, file->name,
				    O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW |
					    O_NONBLOCK,
				    0600);
		rc = folder < 0 ? folder : fd < 0 ? -errno : 0;
	}
	if (rc == 0)
		rc = file_examine(file, fd);
	if (rc == 0)
		file->fd = thaw_fd_take(&fd);
	return rc;
}

/* The file is full: it becomes the one before. Where that cannot be, it goes on. */
static void file_rotate(struct thaw_log_file *file)
{
	char before[THAW_LOG_FILE_TEXT + 2];
	cleanup_close int folder = file_folder(file, false);

	snprintf(before, sizeof(before), "%s.1", file->name);
	if (folder >= 0 && renameat(folder, file->name, folder, before) == 0)
		file_close(file);
}

/* An open file to append `size` bytes to. */
static int file_prepare(struct thaw_log_file *file, size_t size)
{
	struct stat st;

	/* Swept away: what is written to it nobody would see. */
	if (file->fd >= 0 && (fstat(file->fd, &st) < 0 || st.st_nlink == 0))
		file_close(file);
	if (file->fd < 0) {
		int rc = file_open(file);
		if (rc < 0)
			return rc;
	}
	if (file->size && file->size + size > file->logs->config.file_max)
		file_rotate(file);
	return file->fd < 0 ? file_open(file) : 0;
}

int thaw_log_file_append(struct thaw_log_file *file, const char *lines, size_t size)
{
	int rc = file_prepare(file, size);
	if (rc < 0)
		return rc;
	if (file->torn) {
		rc = thaw_write_full(file->fd, "\n", 1);
		if (rc < 0)
			return rc;
		file->size++;
		file->torn = false;
	}
	rc = thaw_write_full(file->fd, lines, size);
	if (rc == 0) {
		file->size += size;
		return 0;
	}
	/* Half a batch is worse than none: nobody would know which lines are lost. */
	if (ftruncate(file->fd, (off_t)file->size) < 0)
		file_close(file);
	return rc;
}
