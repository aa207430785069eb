/* SPDX-License-Identifier: Apache-2.0 */
#include "host/host.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/error.h"
#include "lib/fd.h"

/* The daemon's (store/store.h). Where it is, secrets may be sealed with a key that is lost just
 * now; whether they are, the daemon knows, and makes a new one or does not start. */
#define DATABASE "thaw.db"

int thaw_host_open(struct thaw_host *host, const char *state, struct thaw_error *err)
{
	*host = (struct thaw_host)THAW_HOST_NONE;
	int rc = thaw_paths_find(&host->paths, err);
	if (rc == 0)
		rc = thaw_state_open(&host->state, state, err);
	if (rc < 0)
		return rc;
	bool make = faccessat(host->state.root, DATABASE, F_OK, AT_SYMLINK_NOFOLLOW) < 0;
	rc = thaw_state_open_key(&host->state, make, err);
	return rc == -ENOENT && !make ? 0 : rc;
}

int thaw_host_open_devices(struct thaw_host *host, struct thaw_error *err)
{
	host->kvm = thaw_kvm_open(err);
	if (host->kvm < 0)
		return host->kvm;
	host->userfaultfd = thaw_userfaultfd_open(NULL);
	if (host->userfaultfd < 0)
		host->userfaultfd = -1;
	return 0;
}

void thaw_host_close(struct thaw_host *host)
{
	thaw_state_close(&host->state);
	thaw_cleanup_close(&host->kvm);
	thaw_cleanup_close(&host->userfaultfd);
	*host = (struct thaw_host)THAW_HOST_NONE;
}
