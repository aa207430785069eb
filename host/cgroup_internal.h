/* SPDX-License-Identifier: Apache-2.0 */
/* What cgroup.c and cgroup_places.c share. */
#ifndef THAW_HOST_CGROUP_INTERNAL_H
#define THAW_HOST_CGROUP_INTERNAL_H

#include <stdbool.h>

#include "host/cgroup.h"
#include "host/cgroup_mounts.h"

/* One directory on version 2; on version 1 one for each controller, by its number. */
struct thaw_cgroups {
	bool unified;
	bool io;              /* there are limits of disks */
	unsigned int disk[2]; /* whose, by its numbers; 0, 0: none */
	unsigned int count;
	int bases[THAW_CGROUP_CONTROLLERS];   /* where the parents are */
	int parents[THAW_CGROUP_CONTROLLERS]; /* of all groups */
	bool moved;                           /* version 2: into `daemon` */
	char parent[THAW_CGROUP_NAME_MAX + 16];
	char daemon[THAW_CGROUP_NAME_MAX + 16];
};

bool thaw_cgroup_name_good(const char *name);

/* 0, or a negative errno. */
int thaw_cgroup_file_write(int dir, const char *file, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The whole text; the caller frees it. NULL: it cannot be read. */
char *thaw_cgroup_file_read(int dir, const char *file);

#endif
