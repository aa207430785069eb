/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cgroup.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/cgroup_mounts.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"

#define MIB_PER_CPU 1769
#define CPU_US_MIN  1000
#define PROC_MAX    (1 << 20)
#define REMOVE_NS   UINT64_C(5000000000)

/* One directory on version 2; on version 1 one for each controller, by its number. */
struct thaw_cgroups {
	bool unified;
	unsigned int count;
	int bases[THAW_CGROUP_CONTROLLERS];   /* where the parents are */
	int parents[THAW_CGROUP_CONTROLLERS]; /* of all groups */
	bool moved;                           /* version 2: into `daemon` */
	char parent[THAW_CGROUP_NAME_MAX + 16];
	char daemon[THAW_CGROUP_NAME_MAX + 16];
};

static const char controllers_on[] = "+cpu +memory +pids";
static const char controllers_off[] = "-cpu -memory -pids";

/* --- files --- */

static bool name_good(const char *name)
{
	size_t size = strlen(name);

	for (size_t i = 0; i < size; i++) {
		if (!isalnum((unsigned char)name[i]) && !strchr("_.-", name[i]))
			return false;
	}
	return size > 0 && size <= THAW_CGROUP_NAME_MAX && name[0] != '.';
}

static int file_write(int dir, const char *file, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int file_write(int dir, const char *file, const char *format, ...)
{
	char text[64];
	va_list args;

	va_start(args, format);
	int size = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	cleanup_close int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, text, (size_t)size) == size ? 0 : -errno;
}

/* The whole text; the caller frees it. NULL: it cannot be read. Files of /proc have no size. */
static char *file_read(int dir, const char *file)
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
		if ((got < 0 && errno != EINTR) || size >= PROC_MAX)
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

static int file_number(int dir, const char *file, const char *key, uint64_t *number)
{
	cleanup_free char *text = file_read(dir, file);
	const char *at = text;

	if (at && *key)
		at = strstr(at, key);
	if (!at)
		return -ENOENT;
	*number = strtoull(at + strlen(key), NULL, 10);
	return 0;
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
	int rc = file_write(base, "cgroup.subtree_control", controllers_on);

	if (rc != -EBUSY)
		return rc;
	if (mkdirat(base, cgroups->daemon, 0755) < 0 && errno != EEXIST)
		return -errno;
	cleanup_close int daemon =
		openat(base, cgroups->daemon, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (daemon < 0)
		return -errno;
	rc = file_write(daemon, "cgroup.procs", "%d", (int)getpid());
	if (rc == 0)
		rc = file_write(base, "cgroup.subtree_control", controllers_on);
	if (rc < 0) {
		file_write(base, "cgroup.procs", "%d", (int)getpid());
		unlinkat(base, cgroups->daemon, AT_REMOVEDIR);
		return rc;
	}
	cgroups->moved = true;
	return 0;
}

static bool unified_has_controllers(int base)
{
	cleanup_free char *list = file_read(base, "cgroup.controllers");
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
	rc = parent_make(cgroups, 0, thaw_fd_take(&base));
	return rc < 0 ? rc
		      : file_write(cgroups->parents[0], "cgroup.subtree_control", controllers_on);
}

static int separate_open(struct thaw_cgroups *cgroups, const struct thaw_cgroup_mounts *mounts,
			 const char **missing)
{
	for (unsigned int i = 0; i < THAW_CGROUP_CONTROLLERS; i++) {
		*missing = thaw_cgroup_controller_names[i];
		int base = *mounts->v1[i] ? open(mounts->v1[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC)
					  : -1;
		if (base < 0)
			return *mounts->v1[i] ? -errno : -ENOENT;
		cgroups->count = i + 1;
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
	char *mountinfo = file_read(AT_FDCWD, "/proc/self/mountinfo");
	char *groups = file_read(AT_FDCWD, "/proc/self/cgroup");
	int rc = 0;

	if (!name_good(name))
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
		file_write(cgroups->bases[0], "cgroup.subtree_control", controllers_off);
		file_write(cgroups->bases[0], "cgroup.procs", "%d", (int)getpid());
		unlinkat(cgroups->bases[0], cgroups->daemon, AT_REMOVEDIR);
	}
	for (unsigned int i = 0; i < cgroups->count; i++)
		thaw_cleanup_close(&cgroups->bases[i]);
	free(cgroups);
}

/* --- one group --- */

uint32_t thaw_cgroup_cpu_us(uint32_t memory_mib)
{
	uint64_t us = (uint64_t)memory_mib * THAW_CGROUP_PERIOD_US / MIB_PER_CPU;

	return us < CPU_US_MIN ? CPU_US_MIN : (uint32_t)us;
}

static int group_open(const struct thaw_cgroups *cgroups, unsigned int i, const char *id)
{
	int dir = openat(cgroups->parents[i], id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return dir < 0 ? -errno : dir;
}

/* What an older kernel lacks is left out. */
static int optional(int rc)
{
	return rc == -ENOENT ? 0 : rc;
}

static int limit_unified(int dir, const struct thaw_cgroup_limits *limits)
{
	int rc = 0;

	if (limits->cpu_us) {
		rc = file_write(dir, "cpu.max", "%u %u", limits->cpu_us, THAW_CGROUP_PERIOD_US);
		if (rc == 0)
			rc = optional(file_write(dir, "cpu.max.burst", "%u", limits->cpu_us));
	}
	if (rc == 0 && limits->memory) {
		rc = file_write(dir, "memory.max", "%" PRIu64, limits->memory);
		if (rc == 0)
			rc = optional(file_write(dir, "memory.swap.max", "0"));
		if (rc == 0)
			rc = optional(file_write(dir, "memory.oom.group", "1"));
	}
	if (rc == 0 && limits->pids)
		rc = file_write(dir, "pids.max", "%u", limits->pids);
	return rc;
}

static int limit_separate(int dir, unsigned int controller, const struct thaw_cgroup_limits *limits)
{
	int rc = 0;

	if (controller == THAW_CGROUP_CPU && limits->cpu_us) {
		rc = file_write(dir, "cpu.cfs_period_us", "%u", THAW_CGROUP_PERIOD_US);
		if (rc == 0)
			rc = file_write(dir, "cpu.cfs_quota_us", "%u", limits->cpu_us);
		if (rc == 0)
			rc = optional(file_write(dir, "cpu.cfs_burst_us", "%u", limits->cpu_us));
	} else if (controller == THAW_CGROUP_MEMORY && limits->memory) {
		rc = file_write(dir, "memory.limit_in_bytes", "%" PRIu64, limits->memory);
		if (rc == 0) /* with swap */
			rc = optional(file_write(dir, "memory.memsw.limit_in_bytes", "%" PRIu64,
						 limits->memory));
	} else if (controller == THAW_CGROUP_PIDS && limits->pids) {
		rc = file_write(dir, "pids.max", "%u", limits->pids);
	}
	return rc;
}

static int group_limit(struct thaw_cgroups *cgroups, const char *id,
		       const struct thaw_cgroup_limits *limits)
{
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < cgroups->count; i++) {
		cleanup_close int dir = group_open(cgroups, i, id);
		if (dir < 0)
			return dir;
		rc = cgroups->unified ? limit_unified(dir, limits) : limit_separate(dir, i, limits);
	}
	return rc;
}

int thaw_cgroup_make(struct thaw_cgroups *cgroups, const char *id,
		     const struct thaw_cgroup_limits *limits, struct thaw_cgroup *cgroup,
		     struct thaw_error *err)
{
	int rc = name_good(id) ? 0 : -EINVAL;

	/* Controllers that share a hierarchy share the group: only the first can tell. */
	for (unsigned int i = 0; rc == 0 && i < cgroups->count; i++) {
		if (mkdirat(cgroups->parents[i], id, 0755) < 0 && (i == 0 || errno != EEXIST))
			rc = -errno;
	}
	if (rc == -EEXIST || rc == -EINVAL)
		return thaw_error_errno(err, -rc, "making the control group \"%s\"", id);
	if (rc == 0)
		rc = group_limit(cgroups, id, limits);
	if (rc < 0) {
		for (unsigned int i = 0; i < cgroups->count; i++)
			unlinkat(cgroups->parents[i], id, AT_REMOVEDIR);
		return thaw_error_errno(err, -rc, "making the control group \"%s\"", id);
	}
	cgroup->cgroups = cgroups;
	strcpy(cgroup->id, id);
	return 0;
}

int thaw_cgroup_join(const struct thaw_cgroup *cgroup, pid_t pid, struct thaw_error *err)
{
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < cgroup->cgroups->count; i++) {
		cleanup_close int dir = group_open(cgroup->cgroups, i, cgroup->id);
		rc = dir < 0 ? dir : file_write(dir, "cgroup.procs", "%d", (int)pid);
	}
	return rc < 0 ? thaw_error_errno(err, -rc,
					 "moving process %d into the control group "
					 "\"%s\"",
					 (int)pid, cgroup->id)
		      : 0;
}

int thaw_cgroup_usage(const struct thaw_cgroup *cgroup, struct thaw_cgroup_usage *usage,
		      struct thaw_error *err)
{
	const struct thaw_cgroups *cgroups = cgroup->cgroups;
	bool unified = cgroups->unified;
	cleanup_close int cpu = group_open(cgroups, unified ? 0 : THAW_CGROUP_CPUACCT, cgroup->id);
	cleanup_close int memory =
		group_open(cgroups, unified ? 0 : THAW_CGROUP_MEMORY, cgroup->id);
	uint64_t time = 0, bytes = 0;
	int rc = cpu < 0 ? cpu : memory < 0 ? memory : 0;

	if (rc == 0)
		rc = unified ? file_number(cpu, "cpu.stat", "usage_usec ", &time)
			     : file_number(cpu, "cpuacct.usage", "", &time);
	if (rc == 0)
		rc = file_number(memory, unified ? "memory.current" : "memory.usage_in_bytes", "",
				 &bytes);
	if (rc < 0)
		return thaw_error_errno(err, -rc, "reading the control group \"%s\"", cgroup->id);
	usage->cpu_ns = unified ? time * 1000 : time;
	usage->memory = bytes;
	return 0;
}

/* --- the end of a group --- */

static bool group_has(int dir, pid_t pid)
{
	cleanup_free char *list = file_read(dir, "cgroup.procs");
	char *rest;

	for (char *word = list ? strtok_r(list, "\n", &rest) : NULL; word;
	     word = strtok_r(NULL, "\n", &rest)) {
		if (strtol(word, NULL, 10) == pid)
			return true;
	}
	return false;
}

/* A number may be another process's by the time it is used: it is looked up again once the process
 * is held. */
static void kill_member(int dir, pid_t pid)
{
	cleanup_close int held = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

	if (held >= 0 && group_has(dir, pid))
		syscall(SYS_pidfd_send_signal, held, SIGKILL, NULL, 0);
}

static int group_kill(int dir)
{
	if (group_has(dir, getpid()))
		return -EBUSY;
	if (file_write(dir, "cgroup.kill", "1") == 0) /* since Linux 5.14, on version 2 */
		return 0;
	cleanup_free char *list = file_read(dir, "cgroup.procs");
	char *rest;
	for (char *word = list ? strtok_r(list, "\n", &rest) : NULL; word;
	     word = strtok_r(NULL, "\n", &rest))
		kill_member(dir, (pid_t)strtol(word, NULL, 10));
	return 0;
}

/* 0: it is gone everywhere; -EAGAIN: not yet. */
static int group_try_remove(struct thaw_cgroups *cgroups, const char *id)
{
	int rc = 0;

	for (unsigned int i = 0; i < cgroups->count; i++) {
		if (unlinkat(cgroups->parents[i], id, AT_REMOVEDIR) == 0 || errno == ENOENT)
			continue;
		if (errno != EBUSY)
			return -errno;
		rc = -EAGAIN;
		cleanup_close int dir = group_open(cgroups, i, id);
		if (dir >= 0 && group_kill(dir) < 0)
			return -EBUSY;
	}
	return rc;
}

static int group_remove(struct thaw_cgroups *cgroups, const char *id, struct thaw_error *err)
{
	uint64_t until = thaw_monotonic_ns() + REMOVE_NS;
	useconds_t wait = 500;
	int rc;

	while ((rc = group_try_remove(cgroups, id)) == -EAGAIN) {
		if (thaw_monotonic_ns() >= until) {
			rc = -EBUSY;
			break;
		}
		usleep(wait);
		wait = wait < 20000 ? wait * 2 : wait;
	}
	return rc < 0 ? thaw_error_errno(err, -rc, "removing the control group \"%s\"", id) : 0;
}

int thaw_cgroup_remove(struct thaw_cgroup *cgroup, struct thaw_error *err)
{
	struct thaw_cgroups *cgroups = cgroup->cgroups;

	if (!cgroups)
		return 0;
	cgroup->cgroups = NULL;
	return group_remove(cgroups, cgroup->id, err);
}

/* The name of some group below the parent: 1, or 0 when there is none. */
static int any_group(int parent, char name[NAME_MAX + 1], struct thaw_error *err)
{
	int fd = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int found = 0;

	if (!dir) {
		int code = errno;
		thaw_cleanup_close(&fd);
		return thaw_error_errno(err, code, "reading control groups");
	}
	while (!found && (entry = readdir(dir))) {
		found = entry->d_type == DT_DIR && entry->d_name[0] != '.';
		if (found)
			snprintf(name, NAME_MAX + 1, "%s", entry->d_name);
	}
	closedir(dir);
	return found;
}

int thaw_cgroups_sweep(struct thaw_cgroups *cgroups, struct thaw_error *err)
{
	char name[NAME_MAX + 1];
	int removed = 0;

	for (unsigned int i = 0; i < cgroups->count; i++) {
		int rc;
		while ((rc = any_group(cgroups->parents[i], name, err)) == 1) {
			rc = group_remove(cgroups, name, err);
			if (rc < 0)
				return rc;
			removed++;
		}
		if (rc < 0)
			return rc;
	}
	return removed;
}
