/* SPDX-License-Identifier: Apache-2.0 */
#include "host/telemetry/log_reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "host/telemetry/log_source.h"
#include "lib/error.h"
#include "lib/fd.h"

struct thaw_log_reader {
	struct thaw_log_query query;
	int dir;    /* DATA/logs */
	int notify; /* inotify; -1: not following */
	struct thaw_log_source **sources;
	size_t count, space;
	/* Those with a record in hand: a heap, the earliest on top. */
	struct thaw_log_source **heap;
	size_t heap_count;
	bool found; /* a folder of the function's */
	uint64_t damaged;
	char *clean;
	char request_id[THAW_LOG_REQUEST_MAX + 1];
};

/* --- order --------------------------------------------------------------------------------- */

static bool earlier(const struct thaw_log_source *a, const struct thaw_log_source *b)
{
	if (a->record.time_ms != b->record.time_ms)
		return a->record.time_ms < b->record.time_ms;
	int order = strcmp(a->stream, b->stream);
	return order ? order < 0 : a->before && !b->before;
}

static void heap_sink(struct thaw_log_reader *reader, size_t at)
{
	struct thaw_log_source **heap = reader->heap;

	for (;;) {
		size_t least = at;
		for (size_t child = 2 * at + 1; child <= 2 * at + 2; child++) {
			if (child < reader->heap_count && earlier(heap[child], heap[least]))
				least = child;
		}
		if (least == at)
			return;
		struct thaw_log_source *up = heap[least];
		heap[least] = heap[at];
		heap[at] = up;
		at = least;
	}
}

static void heap_add(struct thaw_log_reader *reader, struct thaw_log_source *source)
{
	struct thaw_log_source **heap = reader->heap;
	size_t at = reader->heap_count++;

	for (; at && earlier(source, heap[(at - 1) / 2]); at = (at - 1) / 2)
		heap[at] = heap[(at - 1) / 2];
	heap[at] = source;
}

/* --- files --------------------------------------------------------------------------------- */

static bool wanted(const struct thaw_log_query *query, const struct thaw_log_record *record)
{
	if (record->time_ms < query->since_ms ||
	    (query->until_ms && record->time_ms >= query->until_ms))
		return false;
	if (query->request_id && strcmp(record->request_id, query->request_id) != 0)
		return false;
	return !query->filter || !*query->filter ||
	       memmem(record->text, record->text_size, query->filter, strlen(query->filter));
}

/* The source's next record that was asked for. A file that cannot be read is one that has no
 * more. */
static bool source_advance(struct thaw_log_reader *reader, struct thaw_log_source *source)
{
	int rc = 0;

	while (source->fd >= 0 && (rc = thaw_log_source_next(source)) > 0) {
		if (wanted(&reader->query, &source->record))
			return true;
	}
	reader->damaged += source->damaged + (rc < 0);
	source->damaged = 0;
	if (rc < 0 || !reader->query.follow) {
		thaw_cleanup_close(&source->fd);
		source->fd = -1;
		free(source->data);
		source->data = NULL;
		source->start = source->end = source->space = 0;
	}
	return false;
}

static bool reader_knows(const struct thaw_log_reader *reader, const struct stat *st)
{
	for (size_t i = 0; i < reader->count; i++) {
		if (reader->sources[i]->inode == st->st_ino &&
		    reader->sources[i]->device == st->st_dev)
			return true;
	}
	return false;
}

static int reader_reserve(struct thaw_log_reader *reader)
{
	if (reader->count < reader->space)
		return 0;
	size_t space = reader->space ? reader->space * 2 : 64;
	void *sources = reallocarray(reader->sources, space, sizeof(*reader->sources));
	if (sources)
		reader->sources = sources;
	void *heap = reallocarray(reader->heap, space, sizeof(*reader->heap));
	if (heap)
		reader->heap = heap;
	if (!sources || !heap)
		return -ENOMEM;
	reader->space = space;
	return 0;
}

static int reader_add(struct thaw_log_reader *reader, int folder, const char *account,
		      const char *file)
{
	const struct thaw_log_query *query = &reader->query;
	struct thaw_log_source new = {.fd = -1};
	struct stat st;

	if (thaw_log_name_stream(new.stream, file, &new.before) < 0 ||
	    (query->stream && strcmp(query->stream, new.stream) != 0))
		return 0;
	cleanup_close int fd = openat(folder, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
		return -errno;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		reader->damaged += fd >= 0 || errno != ENOENT;
		return 0;
	}
	if (reader_knows(reader, &st))
		return 0;
	/* Whatever it holds was written before. */
	if (!query->follow && ((int64_t)st.st_mtim.tv_sec + 1) * 1000 < query->since_ms)
		return 0;
	struct thaw_log_source *source = malloc(sizeof(*source));
	if (!source || reader_reserve(reader) < 0) {
		free(source);
		return -ENOMEM;
	}
	snprintf(new.account, sizeof(new.account), "%s", account);
	new.device = st.st_dev;
	new.inode = st.st_ino;
	new.fd = thaw_fd_take(&fd);
	*source = new;
	reader->sources[reader->count++] = source;
	return 0;
}

/* --- folders ------------------------------------------------------------------------------- */

/* Opens a folder to list it; watched from before on, so that nothing is missed. */
static DIR *reader_folder(struct thaw_log_reader *reader, int dir, const char *name, uint32_t mask,
			  int *rc)
{
	char path[64];
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	*rc = fd < 0 ? -errno : 0;
	if (fd >= 0 && reader->notify >= 0) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (inotify_add_watch(reader->notify, path, mask) < 0)
			*rc = -errno;
	}
	DIR *list = *rc == 0 ? fdopendir(fd) : NULL;
	if (!list) {
		*rc = *rc ? *rc : -errno;
		if (fd >= 0)
			close(fd);
	}
	return list;
}

/* What is no folder has no logs in it. */
static int folder_fault(struct thaw_log_reader *reader, int rc)
{
	if (rc != -ENOTDIR && rc != -ELOOP)
		return rc == -ENOENT ? 0 : rc;
	reader->damaged++;
	return 0;
}

static int scan_account(struct thaw_log_reader *reader, const char *account)
{
	int rc, outer;

	/* The function's folder may come later. */
	DIR *above = reader_folder(reader, reader->dir, account, IN_CREATE | IN_MOVED_TO, &outer);
	if (!above)
		return folder_fault(reader, outer);
	DIR *list = reader_folder(reader, dirfd(above), reader->query.function,
				  IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MODIFY, &rc);
	closedir(above);
	if (!list)
		return folder_fault(reader, rc);
	reader->found = true;
	for (struct dirent *entry; rc == 0 && (entry = readdir(list));)
		rc = reader_add(reader, dirfd(list), account, entry->d_name);
	closedir(list);
	return rc;
}

/* Finds the files there are by now. */
static int reader_scan(struct thaw_log_reader *reader)
{
	const char *account = reader->query.account;
	int rc;

	DIR *list = reader_folder(reader, reader->dir, ".", IN_CREATE | IN_MOVED_TO, &rc);
	if (!list)
		return rc;
	if (account)
		rc = scan_account(reader, account);
	for (struct dirent *entry; !account && rc == 0 && (entry = readdir(list));) {
		if (thaw_log_name_valid(entry->d_name))
			rc = scan_account(reader, entry->d_name);
	}
	closedir(list);
	return rc;
}

/* Every source without a record in hand is asked for one. */
static void reader_gather(struct thaw_log_reader *reader)
{
	for (size_t i = 0; i < reader->count; i++) {
		struct thaw_log_source *source = reader->sources[i];
		if (!source->waiting && source_advance(reader, source))
			heap_add(reader, source);
	}
}

/* Lets go of files that were removed, and read to their end. */
static void reader_prune(struct thaw_log_reader *reader)
{
	size_t kept = 0;

	for (size_t i = 0; i < reader->count; i++) {
		struct thaw_log_source *source = reader->sources[i];
		struct stat st;
		bool gone = source->fd < 0 || fstat(source->fd, &st) < 0 || st.st_nlink == 0;
		if (gone && !source->waiting) {
			thaw_log_source_clear(source);
			free(source);
		} else {
			reader->sources[kept++] = source;
		}
	}
	reader->count = kept;
}

/* --- readers ------------------------------------------------------------------------------- */

static int reader_start(struct thaw_log_reader *reader, int data, struct thaw_error *err)
{
	const struct thaw_log_query *query = &reader->query;

	if (!thaw_log_name_valid(query->function) ||
	    (query->account && !thaw_log_name_valid(query->account)))
		return thaw_error_set(err, EINVAL, "\"%s\" is not the name of a function",
				      query->function);
	reader->dir =
		openat(data, THAW_LOG_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (reader->dir < 0)
		return thaw_error_errno(err, errno, "the folder \"" THAW_LOG_FOLDER "\"");
	if (query->follow) {
		reader->notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
		if (reader->notify < 0)
			return thaw_error_errno(err, errno, "watching the logs");
	}
	reader->clean = malloc(THAW_LOG_CLEAN * THAW_LOG_LINE_MAX);
	int rc = reader->clean ? reader_scan(reader) : -ENOMEM;
	if (rc < 0)
		return thaw_error_errno(err, -rc, "reading the logs of \"%s\"", query->function);
	if (!reader->found && !query->follow)
		return thaw_error_set(err, ENOENT, "there are no logs of \"%s\"", query->function);
	reader_gather(reader);
	return 0;
}

struct thaw_log_reader *thaw_log_reader_open(int data, const struct thaw_log_query *query,
					     struct thaw_error *err)
{
	struct thaw_log_reader *reader = calloc(1, sizeof(*reader));

	if (!reader) {
		thaw_error_errno(err, ENOMEM, "reading logs");
		return NULL;
	}
	reader->query = *query;
	reader->dir = reader->notify = -1;
	if (reader_start(reader, data, err) == 0)
		return reader;
	thaw_log_reader_close(reader);
	return NULL;
}

int thaw_log_reader_next(struct thaw_log_reader *reader, struct thaw_log_entry *entry)
{
	if (!reader->heap_count)
		return 0;
	struct thaw_log_source *source = reader->heap[0];
	const struct thaw_log_record *record = &source->record;
	memcpy(reader->request_id, record->request_id, sizeof(reader->request_id));
	*entry = (struct thaw_log_entry){
		.account = source->account,
		.stream = source->stream,
		.time_ms = record->time_ms,
		.request_id = reader->request_id,
		.kind = record->kind,
		.text = reader->clean,
		.text_size = thaw_log_text_clean(reader->clean, (const uint8_t *)record->text,
						 record->text_size),
	};
	if (!source_advance(reader, source))
		reader->heap[0] = reader->heap[--reader->heap_count];
	heap_sink(reader, 0);
	return 1;
}

/* Takes all that inotify has to tell; whether folders have changed. */
static bool notify_drain(int notify)
{
	_Alignas(struct inotify_event) char data[4096];
	bool changed = false;
	ssize_t n;

	while ((n = read(notify, data, sizeof(data))) > 0) {
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *event = (const void *)(data + at);
			changed |= (event->mask & ~(uint32_t)IN_MODIFY) != 0;
			at += (ssize_t)(sizeof(*event) + event->len);
		}
	}
	return changed;
}

int thaw_log_reader_wait(struct thaw_log_reader *reader, int timeout_ms, struct thaw_error *err)
{
	struct pollfd poll_fd = {.fd = reader->notify, .events = POLLIN};

	int n = poll(&poll_fd, 1, timeout_ms);
	if (n < 0 && errno != EINTR)
		return thaw_error_errno(err, errno, "waiting for logs");
	if (n <= 0)
		return 0;
	/* First what the files known still have, then the new ones: renamed files are read on. */
	if (notify_drain(reader->notify)) {
		reader_gather(reader);
		reader_prune(reader);
		int rc = reader_scan(reader);
		if (rc < 0)
			return thaw_error_errno(err, -rc, "reading the logs of \"%s\"",
						reader->query.function);
	}
	reader_gather(reader);
	return 1;
}

uint64_t thaw_log_reader_damage(const struct thaw_log_reader *reader)
{
	return reader->damaged;
}

void thaw_log_reader_close(struct thaw_log_reader *reader)
{
	if (!reader)
		return;
	for (size_t i = 0; i < reader->count; i++) {
		thaw_log_source_clear(reader->sources[i]);
		free(reader->sources[i]);
	}
	free(reader->sources);
	free(reader->heap);
	free(reader->clean);
	thaw_cleanup_close(&reader->dir);
	thaw_cleanup_close(&reader->notify);
	free(reader);
}
