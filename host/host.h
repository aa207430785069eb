/* SPDX-License-Identifier: Apache-2.0 */
/* What every command needs of this host: where things are, the state directory, the devices. */
#ifndef THAW_HOST_HOST_H
#define THAW_HOST_HOST_H

#include <stdint.h>

#include "host/paths.h"
#include "host/state.h"

struct thaw_private_copies;
struct thaw_cgroups;

struct thaw_host {
	struct thaw_paths paths;
	struct thaw_state state;
	int kvm;
	int userfaultfd; /* -1 where there is none */
	/* Where accounts share no drive (host/private_copies.h): whoever set it frees it. NULL:
	 * they do. */
	struct thaw_private_copies *copies;
	/* Whoever sets these sees to it that they outlive all microVMs. */
	struct thaw_cgroups *cgroups; /* for a group for each microVM; NULL: none */
	uint64_t disk_bytes;          /* thaw_cgroup_limits */
	uint32_t disk_operations;
};

#define THAW_HOST_NONE                                                                             \
	{                                                                                          \
		.state = THAW_STATE_NONE, .kvm = -1, .userfaultfd = -1                             \
	}

/* Paths, the state directory and the host's key, which is made when it is missing; but not where a
 * daemon may have sealed secrets with one that is lost: then there is none (state.key NULL). */
int thaw_host_open(struct thaw_host *host, const char *state, struct thaw_error *err);
/* The devices too: wanted by whoever starts a microVM. */
int thaw_host_open_devices(struct thaw_host *host, struct thaw_error *err);
void thaw_host_close(struct thaw_host *host);

#endif
