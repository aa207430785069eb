/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/telemetry/logs_internal.h"
#include "lib/error.h"
#include "lib/fd.h"

struct log_file {
	char name[THAW_LOG_FILE_TEXT + 2];
	bool before;
	struct timespec written;
	uint64_t bytes;
};

struct log_files {
	struct log_file *item;
	size_t count, space;
};

struct sweep {
	struct thaw_logs *logs;
	int64_t oldest_s; /* what was last written to before this is too old */
	struct thaw_logs_swept *swept;
	struct thaw_error *err;
	int rc; /* the first fault */
};

static void sweep_note(struct sweep *sweep, int rc, const char *name)
{
	if (sweep->rc < 0)
		return;
	sweep->rc = rc;
	thaw_error_errno(sweep->err, -rc, "sweeping the logs: \"%s\"", name);
}

static DIR *folder_list(int folder)
{
	/* A descriptor of its own: the directory stream keeps it, and its place. */
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);

	if (!list && fd >= 0)
		close(fd);
	return list;
}

static int files_add(struct log_files *files, int folder, const char *name)
{
	char stream[THAW_LOG_STREAM_TEXT];
	struct stat st;
	bool before;

	if (thaw_log_name_stream(stream, name, &before) < 0 ||
	    fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return 0;
	if (files->count == files->space) {
		size_t space = files->space ? files->space * 2 : 64;
		struct log_file *item = reallocarray(files->item, space, sizeof(*item));
		if (!item)
			return -ENOMEM;
		files->item = item;
		files->space = space;
	}
	struct log_file *file = &files->item[files->count++];
	strcpy(file->name, name);
	file->before = before;
	file->written = st.st_mtim;
	file->bytes = (uint64_t)st.st_size;
	return 0;
}

static int by_age(const void *a, const void *b)
{
	const struct log_file *left = a, *right = b;

	if (left->written.tv_sec != right->written.tv_sec)
		return left->written.tv_sec < right->written.tv_sec ? -1 : 1;
	if (left->written.tv_nsec != right->written.tv_nsec)
		return left->written.tv_nsec < right->written.tv_nsec ? -1 : 1;
	if (left->before != right->before)
		return left->before ? -1 : 1;
	return strcmp(left->name, right->name);
}

static void sweep_files(struct sweep *sweep, int folder, struct log_files *files)
{
	uint64_t total = 0;

	if (files->count)
		qsort(files->item, files->count, sizeof(*files->item), by_age);
	for (size_t i = 0; i < files->count; i++)
		total += files->item[i].bytes;
	for (size_t i = 0; i < files->count; i++) {
		const struct log_file *file = &files->item[i];
		if (file->written.tv_sec >= sweep->oldest_s &&
		    total <= sweep->logs->config.function_max)
			break;
		if (unlinkat(folder, file->name, 0) < 0) {
			if (errno != ENOENT)
				sweep_note(sweep, -errno, file->name);
			continue;
		}
		total -= file->bytes;
		sweep->swept->files++;
		sweep->swept->bytes += file->bytes;
	}
	sweep->swept->left_bytes += total;
}

static void sweep_function(struct sweep *sweep, int folder, const char *name)
{
	struct log_files files = {0};
	int rc = 0;

	DIR *list = folder_list(folder);
	if (!list) {
		sweep_note(sweep, -errno, name);
		return;
	}
	for (struct dirent *entry; rc == 0 && (entry = readdir(list));)
		rc = files_add(&files, folder, entry->d_name);
	closedir(list);
	if (rc < 0)
		sweep_note(sweep, rc, name);
	sweep_files(sweep, folder, &files);
	free(files.item);
}

/* Each folder in `folder`, and then removes it if nothing is left in it. */
static void sweep_each(struct sweep *sweep, int folder, const char *folder_name,
		       void (*each)(struct sweep *sweep, int folder, const char *name))
{
	DIR *list = folder_list(folder);

	if (!list) {
		sweep_note(sweep, -errno, folder_name);
		return;
	}
	for (struct dirent *entry; (entry = readdir(list));) {
		if (!thaw_log_name_valid(entry->d_name))
			continue;
		cleanup_close int below = thaw_logs_folder(folder, entry->d_name, false);
		if (below == -ENOTDIR || below == -ELOOP || below == -ENOENT)
			continue;
		if (below < 0) {
			sweep_note(sweep, below, entry->d_name);
			continue;
		}
		each(sweep, below, entry->d_name);
		/* Fails as it should while there is something in it. */
		(void)unlinkat(folder, entry->d_name, AT_REMOVEDIR);
	}
	closedir(list);
}

static void sweep_account(struct sweep *sweep, int folder, const char *name)
{
	sweep_each(sweep, folder, name, sweep_function);
}

int thaw_logs_sweep(struct thaw_logs *logs, int64_t now_s, struct thaw_logs_swept *swept,
		    struct thaw_error *err)
{
	struct thaw_logs_swept ignored;
	struct sweep sweep = {
		.logs = logs,
		.oldest_s = now_s - (int64_t)logs->config.retention_s,
		.swept = swept ? swept : &ignored,
		.err = err,
	};

	*sweep.swept = (struct thaw_logs_swept){0};
	sweep_each(&sweep, logs->dir, THAW_LOG_FOLDER, sweep_account);
	return sweep.rc;
}
