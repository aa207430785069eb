/* SPDX-License-Identifier: Apache-2.0 */
/* What every command needs of this host: where things are, the state directory, the devices. */
#ifndef THAW_HOST_HOST_H
#define THAW_HOST_HOST_H

#include "host/paths.h"
#include "host/state.h"

struct thaw_host {
	struct thaw_paths paths;
	struct thaw_state state;
	int kvm;
	int userfaultfd; /* -1 where there is none */
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
