/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/cgroup_internal.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"

#define MIB_PER_CPU 1769
#define CPU_US_MIN  1000
#define REMOVE_NS   UINT64_C(5000000000)

/* --- limits --- */

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
		rc = thaw_cgroup_file_write(dir, "cpu.max", "%u %u", limits->cpu_us,
					    THAW_CGROUP_PERIOD_US);
		if (rc == 0)
			rc = optional(
				thaw_cgroup_file_write(dir, "cpu.max.burst", "%u", limits->cpu_us));
	}
	if (rc == 0 && limits->memory) {
		rc = thaw_cgroup_file_write(dir, "memory.max", "%" PRIu64, limits->memory);
		if (rc == 0)
			rc = optional(thaw_cgroup_file_write(dir, "memory.swap.max", "0"));
		if (rc == 0)
			rc = optional(thaw_cgroup_file_write(dir, "memory.oom.group", "1"));
	}
	if (rc == 0 && limits->pids)
		rc = thaw_cgroup_file_write(dir, "pids.max", "%u", limits->pids);
	return rc;
}

/* "MAJOR:MINOR key=number ..." on version 2, a file for each key on version 1. */
static int limit_disk(const struct thaw_cgroups *cgroups, int dir,
		      const struct thaw_cgroup_limits *limits)
{
	const struct {
		const char *read, *write, *read_file, *write_file;
		uint64_t value;
	} kinds[] = {
		{"rbps", "wbps", "blkio.throttle.read_bps_device",
		 "blkio.throttle.write_bps_device", limits->disk_bytes},
		{"riops", "wiops", "blkio.throttle.read_iops_device",
		 "blkio.throttle.write_iops_device", limits->disk_operations},
	};
	const unsigned int *disk = cgroups->disk;
	int rc = 0;

	if (!cgroups->io || (!disk[0] && !disk[1]))
		return 0;
	for (size_t i = 0; i < 2 && rc == 0; i++) {
		unsigned long long value = kinds[i].value;
		if (!value)
			continue;
		if (cgroups->unified) {
			rc = thaw_cgroup_file_write(dir, "io.max", "%u:%u %s=%llu %s=%llu", disk[0],
						    disk[1], kinds[i].read, value, kinds[i].write,
						    value);
			continue;
		}
		rc = thaw_cgroup_file_write(dir, kinds[i].read_file, "%u:%u %llu", disk[0], disk[1],
					    value);
		if (rc == 0)
			rc = thaw_cgroup_file_write(dir, kinds[i].write_file, "%u:%u %llu", disk[0],
						    disk[1], value);
	}
	return rc;
}

static int limit_separate(int dir, unsigned int controller, const struct thaw_cgroup_limits *limits)
{
	int rc = 0;

	if (controller == THAW_CGROUP_CPU && limits->cpu_us) {
		rc = thaw_cgroup_file_write(dir, "cpu.cfs_period_us", "%u", THAW_CGROUP_PERIOD_US);
		if (rc == 0)
			rc = thaw_cgroup_file_write(dir, "cpu.cfs_quota_us", "%u", limits->cpu_us);
		if (rc == 0)
			rc = optional(thaw_cgroup_file_write(dir, "cpu.cfs_burst_us", "%u",
							     limits->cpu_us));
	} else if (controller == THAW_CGROUP_MEMORY && limits->memory) {
		rc = thaw_cgroup_file_write(dir, "memory.limit_in_bytes", "%" PRIu64,
					    limits->memory);
		if (rc == 0) /* with swap */
			rc = optional(thaw_cgroup_file_write(dir, "memory.memsw.limit_in_bytes",
							     "%" PRIu64, limits->memory));
	} else if (controller == THAW_CGROUP_PIDS && limits->pids) {
		rc = thaw_cgroup_file_write(dir, "pids.max", "%u", limits->pids);
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
		if (rc == 0 && (cgroups->unified || i == THAW_CGROUP_BLKIO))
			rc = limit_disk(cgroups, dir, limits);
	}
	return rc;
}

int thaw_cgroup_make(struct thaw_cgroups *cgroups, const char *id,
		     const struct thaw_cgroup_limits *limits, struct thaw_cgroup *cgroup,
		     struct thaw_error *err)
{
	int rc = thaw_cgroup_name_good(id) ? 0 : -EINVAL;

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
		rc = dir < 0 ? dir : thaw_cgroup_file_write(dir, "cgroup.procs", "%d", (int)pid);
	}
	return rc < 0 ? thaw_error_errno(err, -rc,
					 "moving process %d into the control group "
					 "\"%s\"",
					 (int)pid, cgroup->id)
		      : 0;
}

int thaw_cgroup_limit(const struct thaw_cgroup *cgroup, const struct thaw_cgroup_limits *limits,
		      struct thaw_error *err)
{
	int rc = group_limit(cgroup->cgroups, cgroup->id, limits);

	return rc < 0 ? thaw_error_errno(err, -rc, "limits of the control group \"%s\"", cgroup->id)
		      : 0;
}

/* The calling thread alone: for itself no thread has to wait for anybody. */
static int thread_enter(int dir)
{
	return thaw_cgroup_file_write(dir, "tasks", "0");
}

int thaw_cgroup_birth_begin(const struct thaw_cgroup *cgroup, int *fd, struct thaw_error *err)
{
	int rc = 0;

	*fd = -1;
	if (!cgroup || !cgroup->cgroups)
		return 0;
	if (cgroup->cgroups->unified) {
		rc = *fd = group_open(cgroup->cgroups, 0, cgroup->id);
		rc = rc < 0 ? rc : 0;
	}
	for (unsigned int i = 0; rc == 0 && !cgroup->cgroups->unified && i < cgroup->cgroups->count;
	     i++) {
		cleanup_close int dir = group_open(cgroup->cgroups, i, cgroup->id);
		rc = dir < 0 ? dir : thread_enter(dir);
	}
	if (rc == 0)
		return 0;
	thaw_cgroup_birth_end(cgroup);
	return thaw_error_errno(err, -rc, "entering the control group \"%s\"", cgroup->id);
}

void thaw_cgroup_birth_end(const struct thaw_cgroup *cgroup)
{
	if (!cgroup || !cgroup->cgroups || cgroup->cgroups->unified)
		return;
	for (unsigned int i = 0; i < cgroup->cgroups->count; i++)
		thread_enter(cgroup->cgroups->bases[i]);
}

static int file_number(int dir, const char *file, const char *key, uint64_t *number)
{
	cleanup_free char *text = thaw_cgroup_file_read(dir, file);
	const char *at = text;

	if (at && *key)
		at = strstr(at, key);
	if (!at)
		return -ENOENT;
	*number = strtoull(at + strlen(key), NULL, 10);
	return 0;
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
	cleanup_free char *list = thaw_cgroup_file_read(dir, "cgroup.procs");
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
	if (thaw_cgroup_file_write(dir, "cgroup.kill", "1") ==
	    0) /* since Linux 5.14, on version 2 */
		return 0;
	cleanup_free char *list = thaw_cgroup_file_read(dir, "cgroup.procs");
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
