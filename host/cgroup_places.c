/* SPDX-License-Identifier: Apache-2.0 */
/* Where the groups are made: in which hierarchies, and under which parents. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "host/cgroup_internal.h"
#include "lib/error.h"
#include "lib/fd.h"

#define TEXT_MAX (1 << 20)

static const char controllers_on[] = "+cpu +memory +pids";
static const char controllers_off[] = "-cpu -memory -pids";

bool thaw_cgroup_name_good(const char *name)
{
	size_t size = strlen(name);

	for (size_t i = 0; i < size; i++) {
		if (!isalnum((unsigned char)name[i]) && !strchr("_.-", name[i]))
			return false;
	}
	return size > 0 && size <= THAW_CGROUP_NAME_MAX && name[0] != '.';
}

int thaw_cgroup_file_write(int dir, const char *file, const char *format, ...)
{
	char text[128];
	va_list args;

	va_start(args, format);
	int size = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	cleanup_close int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, text, (size_t)size) == size ? 0 : -errno;
}

/* Files of /proc and of groups have no size. */
char *thaw_cgroup_file_read(int dir, const char *file)
{
	cleanup_close int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
	size_t size = 0, room = 4096;
	char *text = fd < 0 ? NULL : malloc(room);

	while (text) {
		ssize_t got = read(fd, text + size, room - size - 1);
		if (got == 0) {
			text[size] = 0;
			return text;
		}
		size += got > 0 ? (size_t)got : 0;
		if ((got < 0 && errno != EINTR) || size >= TEXT_MAX)
			break;
		if (size + 1 == room) {
			char *more = realloc(text, room *= 2);
			if (!more)
				break;
			text = more;
		}
	}
	free(text);
	return NULL;
}

/* --- parents --- */

/* The parent of all groups, in the directory given. */
static int parent_make(struct thaw_cgroups *cgroups, unsigned int i, int base)
{
	cgroups->bases[i] = base;
	cgroups->parents[i] = -1;
	if (mkdirat(base, cgroups->parent, 0755) < 0 && errno != EEXIST)
		return -errno;
	cgroups->parents[i] =
		openat(base, cgroups->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return cgroups->parents[i] < 0 ? -errno : 0;
}

/* A group whose processes stand in the way of its children's limits: ours moves. */
static int unified_enable(struct thaw_cgroups *cgroups, int base)
{
	int rc = thaw_cgroup_file_write(base, "cgroup.subtree_control", controllers_on);

	if (rc != -EBUSY)
		return rc;
	if (mkdirat(base, cgroups->daemon, 0755) < 0 && errno != EEXIST)
		return -errno;
	cleanup_close int daemon =
		openat(base, cgroups->daemon, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (daemon < 0)
		return -errno;
	rc = thaw_cgroup_file_write(daemon, "cgroup.procs", "%d", (int)getpid());
	if (rc == 0)
		rc = thaw_cgroup_file_write(base, "cgroup.subtree_control", controllers_on);
	if (rc < 0) {
		thaw_cgroup_file_write(base, "cgroup.procs", "%d", (int)getpid());
		unlinkat(base, cgroups->daemon, AT_REMOVEDIR);
		return rc;
	}
	cgroups->moved = true;
	return 0;
}

static bool unified_has_controllers(int base)
{
	cleanup_free char *list = thaw_cgroup_file_read(base, "cgroup.controllers");
	bool cpu = false, memory = false, pids = false;
	char *rest;

	for (char *word = list ? strtok_r(list, " \n", &rest) : NULL; word;
	     word = strtok_r(NULL, " \n", &rest)) {
		cpu |= strcmp(word, "cpu") == 0;
		memory |= strcmp(word, "memory") == 0;
		pids |= strcmp(word, "pids") == 0;
	}
	return cpu && memory && pids;
}

static int unified_open(struct thaw_cgroups *cgroups, const char *path)
{
	cleanup_close int base = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (base < 0)
		return -errno;
	if (!unified_has_controllers(base))
		return -ENOENT;
	int rc = unified_enable(cgroups, base);
	if (rc < 0)
		return rc;
	cgroups->unified = true;
	cgroups->count = 1;
	/* Not every host has it, and limits of it need not be wanted. */
	cgroups->io = thaw_cgroup_file_write(base, "cgroup.subtree_control", "+io") == 0;
	rc = parent_make(cgroups, 0, thaw_fd_take(&base));
	if (rc == 0)
		rc = thaw_cgroup_file_write(cgroups->parents[0], "cgroup.subtree_control",
					    controllers_on);
	if (rc == 0 && cgroups->io)
		cgroups->io = thaw_cgroup_file_write(cgroups->parents[0], "cgroup.subtree_control",
						     "+io") == 0;
	return rc;
}

static int separate_open(struct thaw_cgroups *cgroups, const struct thaw_cgroup_mounts *mounts,
			 const char **missing)
{
	for (unsigned int i = 0; i < THAW_CGROUP_CONTROLLERS; i++) {
		*missing = thaw_cgroup_controller_names[i];
		int base = *mounts->v1[i] ? open(mounts->v1[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC)
					  : -1;
		if (base < 0 && i == THAW_CGROUP_BLKIO)
			break;
		if (base < 0)
			return *mounts->v1[i] ? -errno : -ENOENT;
		cgroups->count = i + 1;
		cgroups->io = i == THAW_CGROUP_BLKIO;
		int rc = parent_make(cgroups, i, base);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Who was started from within `daemon`, or opens the groups again, has moved already. */
static void unified_step_back(struct thaw_cgroups *cgroups, char *path)
{
	char *last = strrchr(path, '/');

	if (last && last > path && strcmp(last + 1, cgroups->daemon) == 0) {
		*last = 0;
		cgroups->moved = true;
	}
}

static int cgroups_place(struct thaw_cgroups *cgroups, struct thaw_cgroup_mounts *mounts,
			 struct thaw_error *err)
{
	const char *missing = "cpu";
	int rc = -ENOENT;

	unified_step_back(cgroups, mounts->v2);
	if (*mounts->v2)
		rc = unified_open(cgroups, mounts->v2);
	if (rc < 0 && !cgroups->unified && strcmp(mounts->v2, mounts->v2_top) != 0) {
		cgroups->moved = false; /* what was not ours to change is not ours to change back */
		rc = unified_open(cgroups, mounts->v2_top);
	}
	if (rc == 0)
		return 0;
	if (rc != -ENOENT)
		return thaw_error_set(err, ENOTSUP, "no control groups in \"%s\": %s", mounts->v2,
				      strerror(-rc));
	rc = separate_open(cgroups, mounts, &missing);
	if (rc == -ENOENT)
		return thaw_error_set(err, ENOTSUP, "no control groups: no controller \"%s\"",
				      missing);
	return rc < 0 ? thaw_error_set(err, ENOTSUP, "no control groups of \"%s\": %s", missing,
				       strerror(-rc))
		      : 0;
}

int thaw_cgroups_open(struct thaw_cgroups **cgroups, const char *name, struct thaw_error *err)
{
	struct thaw_cgroup_mounts *mounts = malloc(sizeof(*mounts));
	struct thaw_cgroups *made = calloc(1, sizeof(*made));
	char *mountinfo = thaw_cgroup_file_read(AT_FDCWD, "/proc/self/mountinfo");
	char *groups = thaw_cgroup_file_read(AT_FDCWD, "/proc/self/cgroup");
	int rc = 0;

	if (!thaw_cgroup_name_good(name))
		rc = thaw_error_set(err, EINVAL, "\"%s\" is no name for control groups", name);
	else if (!mounts || !made)
		rc = thaw_error_errno(err, ENOMEM, "control groups");
	else if (!mountinfo || !groups)
		rc = thaw_error_set(err, ENOTSUP, "no control groups: /proc cannot be read");
	if (rc == 0) {
		snprintf(made->parent, sizeof(made->parent), "thaw-%s", name);
		snprintf(made->daemon, sizeof(made->daemon), "thaw-%s-daemon", name);
		thaw_cgroup_mounts_find(mounts, mountinfo, groups);
		rc = cgroups_place(made, mounts, err);
	}
	free(mounts);
	free(mountinfo);
	free(groups);
	if (rc < 0)
		thaw_cgroups_close(made);
	else
		*cgroups = made;
	return rc;
}

void thaw_cgroups_close(struct thaw_cgroups *cgroups)
{
	if (!cgroups)
		return;
	for (unsigned int i = 0; i < cgroups->count; i++) {
		thaw_cleanup_close(&cgroups->parents[i]);
		unlinkat(cgroups->bases[i], cgroups->parent, AT_REMOVEDIR);
	}
	if (cgroups->moved) {
		thaw_cgroup_file_write(cgroups->bases[0], "cgroup.subtree_control", "-io");
		thaw_cgroup_file_write(cgroups->bases[0], "cgroup.subtree_control",
				       controllers_off);
		thaw_cgroup_file_write(cgroups->bases[0], "cgroup.procs", "%d", (int)getpid());
		unlinkat(cgroups->bases[0], cgroups->daemon, AT_REMOVEDIR);
	}
	for (unsigned int i = 0; i < cgroups->count; i++)
		thaw_cleanup_close(&cgroups->bases[i]);
	free(cgroups);
}

/* --- disks --- */

/* The disk that a partition is of: where sysfs has it is below where it has the disk. */
static int disk_whole(unsigned int numbers[2])
{
	char path[64], text[32] = "";

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/partition", numbers[0], numbers[1]);
	if (access(path, F_OK) < 0)
		return 0;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../dev", numbers[0], numbers[1]);
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0 || sscanf(text, "%u:%u", &numbers[0], &numbers[1]) != 2)
		return -ENODEV;
	return 0;
}

int thaw_cgroups_disk(struct thaw_cgroups *cgroups, int dir, struct thaw_error *err)
{
	unsigned int numbers[2];
	char path[64];
	struct stat st;

	if (!cgroups->io)
		return thaw_error_set(err, ENOTSUP, "no controller of disks (io, or blkio)");
	if (fstat(dir, &st) < 0)
		return thaw_error_errno(err, errno, "looking for the disk");
	numbers[0] = major(st.st_dev);
	numbers[1] = minor(st.st_dev);
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", numbers[0], numbers[1]);
	if (access(path, F_OK) < 0)
		return thaw_error_set(err, ENOTSUP, "the directory lies on no disk of its own");
	if (disk_whole(numbers) < 0)
		return thaw_error_set(err, ENOTSUP, "the disk of the partition %u:%u is not found",
				      numbers[0], numbers[1]);
	memcpy(cgroups->disk, numbers, sizeof(numbers));
	return 0;
}
