/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot opened for restoring, once for any number of clones. */
#ifndef THAW_TOOLS_RESTORE_H
#define THAW_TOOLS_RESTORE_H

#include "host/environment.h"
#include "host/host.h"
#include "host/snapshot_store.h"
#include "tools/tool.h"

struct restore {
	const struct thaw_host *host;
	const struct thaw_network *network; /* of one clone at a time; set after opening, or NULL */
	struct thaw_snapshot snapshot;
	int root;
};

/* 0, or an exit code, told. */
int restore_open(struct restore *restore, const struct thaw_host *host, const char *name);
void restore_close(struct restore *restore);

/* Makes ready for `mode`: opens the image (making it if need be), for O_DIRECT in mode uring when
 * it is not cached. As restore_open. */
int restore_prepare(struct restore *restore, struct thaw_restore_options *options);

/* Starts one clone; *tmp is its /tmp, to be closed after the environment. As restore_open. */
int restore_clone(const struct restore *restore, const struct thaw_restore_options *options,
		  struct thaw_environment *environment, const struct thaw_invocation *first,
		  int *tmp);

/* "map", "uring", "uffd" or "eager": true and *mode. */
bool restore_mode_parse(const char *text, Thaw__Vmm__RestoreMode *mode);
const char *restore_mode_name(Thaw__Vmm__RestoreMode mode);

#endif
