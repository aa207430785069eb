/* SPDX-License-Identifier: Apache-2.0 */
#include "host/host.h"

#include "lib/error.h"
#include "lib/fd.h"

int thaw_host_open(struct thaw_host *host, const char *state, struct thaw_error *err)
{
	*host = (struct thaw_host)THAW_HOST_NONE;
	int rc = thaw_paths_find(&host->paths, err);
	return rc < 0 ? rc : thaw_state_open(&host->state, state, err);
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
