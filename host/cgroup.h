/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits for one microVM each, by control groups of version 2 (Linux's
 * Documentation/admin-guide/cgroup-v2.rst) or, where the controllers are there, of version 1
 * (cgroup-v1/, scheduler/sched-bwc.rst): CPU time, memory, processes,
 * and, where it is wanted, one disk.
 *
 *	<own group>/thaw-<name>/<id>	one a microVM
 *
 * <own group> is the one that this process was started in, so that the limits of whoever started
 * it hold for all. On version 2 its processes have to make room: ours moves into a group
 * "thaw-<name>-daemon" beside; when others are in the way, the top of the mount is used.
 *
 * What a process that crashed has left is there for thaw_cgroups_sweep. Groups of one `name` belong
 * to one process at a time, which the caller sees to (the store's lock). Functions on different
 * groups may be called from several threads.
 */
#ifndef THAW_HOST_CGROUP_H
#define THAW_HOST_CGROUP_H

#include <stdint.h>
#include <sys/types.h>

struct thaw_cgroups;
struct thaw_error;

#define THAW_CGROUP_NAME_MAX  64     /* of [A-Za-z0-9_.-], the first not '.' */
#define THAW_CGROUP_PERIOD_US 100000 /* in which a group may use its CPU time */

/* -ENOTSUP with the reason: no groups, no right to them, a controller missing. -EINVAL: the name.
 */
int thaw_cgroups_open(struct thaw_cgroups **cgroups, const char *name, struct thaw_error *err);

/* Removes all groups of this name, and kills who is in them: how many there were. At the start,
 * before the first is made. */
int thaw_cgroups_sweep(struct thaw_cgroups *cgroups, struct thaw_error *err);

/* All groups have been removed. What cannot be undone is left to the next sweep. NULL is allowed.
 */
void thaw_cgroups_close(struct thaw_cgroups *cgroups);

/* What a function of so much memory has of the CPUs in each period, in microseconds: 1769 MiB are
 * one. */
uint32_t thaw_cgroup_cpu_us(uint32_t memory_mib);

struct thaw_cgroup_limits {
	uint32_t cpu_us; /* in each period; at least 1000. As much again may be saved up. 0: any */
	uint64_t memory; /* bytes, without swap; 0: any */
	uint32_t pids;   /* processes and threads; 0: any */
	/* Of the disk chosen with thaw_cgroups_disk, each for reads and for writes; 0: any. */
	uint64_t disk_bytes; /* a second */
	uint32_t disk_operations;
};

/* The disk on which `dir` lies; a partition's is the whole one. -ENOTSUP: it lies on none (tmpfs,
 * an overlay), or there is no controller of disks. */
int thaw_cgroups_disk(struct thaw_cgroups *cgroups, int dir, struct thaw_error *err);

struct thaw_cgroup {
	struct thaw_cgroups *cgroups; /* NULL: none */
	char id[THAW_CGROUP_NAME_MAX + 1];
};

/* -EEXIST: a group of that id is there; -EINVAL: the id, or a limit that the kernel does not take.
 * On failure there is no group. */
int thaw_cgroup_make(struct thaw_cgroups *cgroups, const char *id,
		     const struct thaw_cgroup_limits *limits, struct thaw_cgroup *cgroup,
		     struct thaw_error *err);

/* Moves the process, with all its threads; its children of later are in the group too. Memory that
 * it has already stays counted where it was (version 1 and 2). */
int thaw_cgroup_join(const struct thaw_cgroup *cgroup, pid_t pid, struct thaw_error *err);

/* A process that the calling thread makes between these two is born in the group, which costs none
 * of the waiting that moving one does (the kernel stops all forks for it, and waits for all CPUs to
 * notice). Version 2: *fd is for CLONE_INTO_CGROUP, and the caller's. Version 1: the thread itself
 * goes there and back, *fd is -1. A `cgroup` of NULL, or an empty one, changes nothing. */
int thaw_cgroup_birth_begin(const struct thaw_cgroup *cgroup, int *fd, struct thaw_error *err);
void thaw_cgroup_birth_end(const struct thaw_cgroup *cgroup);

/* The limits anew, for a group that is there: what is 0 stays as it is. */
int thaw_cgroup_limit(const struct thaw_cgroup *cgroup, const struct thaw_cgroup_limits *limits,
		      struct thaw_error *err);

struct thaw_cgroup_usage {
	uint64_t cpu_ns; /* used ever */
	uint64_t memory; /* bytes now, with the page cache that is counted for it */
};

int thaw_cgroup_usage(const struct thaw_cgroup *cgroup, struct thaw_cgroup_usage *usage,
		      struct thaw_error *err);

/* Kills what is in it, waits until it is gone, and removes the group. It does not reap: a child of
 * the caller stays a zombie. -EBUSY: something would not die in five seconds, or it is the caller
 * who is in it. The struct is empty then in any case; an empty one is allowed. */
int thaw_cgroup_remove(struct thaw_cgroup *cgroup, struct thaw_error *err);

#endif
