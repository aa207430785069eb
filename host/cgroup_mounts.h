/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where this process's control groups are: from /proc/self/mountinfo (proc(5)) and
 * /proc/self/cgroup (cgroups(7)), which are given as text.
 */
#ifndef THAW_HOST_CGROUP_MOUNTS_H
#define THAW_HOST_CGROUP_MOUNTS_H

#include <limits.h>

/* What limits and counts on version 1, each in a hierarchy of its own or with others in one. */
enum thaw_cgroup_controller {
	THAW_CGROUP_CPU,
	THAW_CGROUP_CPUACCT,
	THAW_CGROUP_MEMORY,
	THAW_CGROUP_PIDS,
	THAW_CGROUP_BLKIO, /* the last: it need not be there */
	THAW_CGROUP_CONTROLLERS
};

extern const char *const thaw_cgroup_controller_names[THAW_CGROUP_CONTROLLERS];

/* Directories; "" where there is none. Where the process's own group is outside of what is mounted
 * (a container's view), the top of the mount stands for it. */
struct thaw_cgroup_mounts {
	char v1[THAW_CGROUP_CONTROLLERS][PATH_MAX];
	char v2[PATH_MAX];     /* the process's own */
	char v2_top[PATH_MAX]; /* the mount's */
};

/* Lines that are not understood are passed over. */
void thaw_cgroup_mounts_find(struct thaw_cgroup_mounts *mounts, const char *mountinfo,
			     const char *groups);

#endif
