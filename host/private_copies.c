/* SPDX-License-Identifier: Apache-2.0 */
#include "host/private_copies.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/function.h"
#include "host/tmp_drive.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"

struct private_copy {
	char account[THAW_ACCOUNT_LENGTH + 1];
	/* Of the original. A file that came later may have the same inode: its times tell. */
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed;
	int fd;
	uint64_t asked_ns;
	struct private_copy *next;
};

struct thaw_private_copies {
	const struct thaw_state *state;
	pthread_mutex_t lock;
	struct private_copy *first;
};

struct thaw_private_copies *thaw_private_copies_new(const struct thaw_state *state,
						    struct thaw_error *err)
{
	struct thaw_private_copies *copies = calloc(1, sizeof(*copies));

	if (!copies) {
		thaw_error_errno(err, ENOMEM, "copies of drives");
		return NULL;
	}
	copies->state = state;
	pthread_mutex_init(&copies->lock, NULL);
	return copies;
}

static void copy_free(struct private_copy *copy)
{
	thaw_cleanup_close(&copy->fd);
	free(copy);
}

static void copies_expire(struct thaw_private_copies *copies, uint64_t now_ns, uint64_t keep_ns)
{
	struct private_copy **at = &copies->first;

	while (*at) {
		struct private_copy *copy = *at;
		if (now_ns - copy->asked_ns < keep_ns) {
			at = &copy->next;
			continue;
		}
		*at = copy->next;
		copy_free(copy);
	}
}

void thaw_private_copies_expire(struct thaw_private_copies *copies, uint64_t now_ns)
{
	pthread_mutex_lock(&copies->lock);
	copies_expire(copies, now_ns, UINT64_C(1000000000) * THAW_PRIVATE_COPY_KEEP_S);
	pthread_mutex_unlock(&copies->lock);
}

void thaw_private_copies_free(struct thaw_private_copies *copies)
{
	if (!copies)
		return;
	copies_expire(copies, thaw_monotonic_ns(), 0);
	pthread_mutex_destroy(&copies->lock);
	free(copies);
}

static struct private_copy *copy_find(struct thaw_private_copies *copies, const char *account,
				      const struct stat *st)
{
	struct private_copy *copy = copies->first;

	while (copy && (strcmp(copy->account, account) != 0 || copy->device != st->st_dev ||
			copy->inode != st->st_ino || copy->size != st->st_size ||
			memcmp(&copy->changed, &st->st_ctim, sizeof(st->st_ctim)) != 0))
		copy = copy->next;
	return copy;
}

/* Opened anew: whoever is given it cannot write to it. */
static int open_to_read(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int copy_make(struct thaw_private_copies *copies, const char *account, int fd,
		     const struct stat *st, struct private_copy **made, struct thaw_error *err)
{
	struct private_copy *copy = calloc(1, sizeof(*copy));
	cleanup_close int file = -1;

	if (!copy)
		return thaw_error_errno(err, ENOMEM, "a copy of a drive");
	*copy = (struct private_copy){.device = st->st_dev,
				      .inode = st->st_ino,
				      .size = st->st_size,
				      .changed = st->st_ctim,
				      .fd = -1};
	snprintf(copy->account, sizeof(copy->account), "%s", account);
	int rc = thaw_tmp_drive_copy(copies->state, fd, &file, err);
	if (rc == 0) {
		copy->fd = open_to_read(file);
		if (copy->fd < 0)
			rc = thaw_error_errno(err, errno, "a copy of a drive");
	}
	if (rc < 0) {
		copy_free(copy);
		return rc;
	}
	copy->next = copies->first;
	copies->first = *made = copy;
	return 0;
}

int thaw_private_copies_get(struct thaw_private_copies *copies, const char *account, int fd,
			    int *copy, struct thaw_error *err)
{
	struct private_copy *found;
	struct stat st;
	int rc = 0;

	if (fstat(fd, &st) < 0)
		return thaw_error_errno(err, errno, "a drive to be copied");
	pthread_mutex_lock(&copies->lock);
	uint64_t now_ns = thaw_monotonic_ns();
	found = copy_find(copies, account, &st);
	if (!found)
		rc = copy_make(copies, account, fd, &st, &found, err);
	if (rc == 0) {
		found->asked_ns = now_ns;
		*copy = fcntl(found->fd, F_DUPFD_CLOEXEC, 0);
		if (*copy < 0)
			rc = thaw_error_errno(err, errno, "a copy of a drive");
	}
	copies_expire(copies, now_ns, UINT64_C(1000000000) * THAW_PRIVATE_COPY_KEEP_S);
	pthread_mutex_unlock(&copies->lock);
	return rc;
}
