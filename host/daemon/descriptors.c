/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host/daemon/service.h"
#include "lib/error.h"

#define KEPT 64 /* the daemon's own, and those of a moment */

static unsigned int limit_now(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > 1u << 30)
		return 1u << 30;
	return (unsigned int)limit.rlim_cur;
}

unsigned int thaw_descriptors_connections(const struct thaw_config *config)
{
	unsigned int limit = limit_now();
	unsigned int most = limit > KEPT ? (limit - KEPT) / 2 : 0;

	most = most < config->threads ? config->threads : most;
	return config->connections < most ? config->connections : most;
}

int thaw_descriptors_check(struct thaw_service *service, struct thaw_error *err)
{
	unsigned int limit = limit_now();
	unsigned int others = thaw_descriptors_connections(service->config);
	struct thaw_http_figures figures = {0};

	/* The lowest that is free: about as many are open. */
	int free_one = fcntl(service->host.kvm, F_DUPFD_CLOEXEC, 0);
	if (free_one < 0)
		return thaw_error_errno(err, errno, "another environment");
	close(free_one);
	if (service->server)
		thaw_http_figures(service->server, &figures);
	if ((unsigned int)free_one + others + KEPT < limit + (unsigned int)figures.connections)
		return 0;
	return thaw_error_set(err, EMFILE,
			      "of %u descriptors none are left for another environment", limit);
}
