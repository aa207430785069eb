/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/restores.h"

#include <errno.h>
#include <sys/stat.h>
#include <time.h>

#include "host/daemon/service.h"
#include "host/daemon/snapshots.h"
#include "host/daemon/targets.h"
#include "lib/error.h"
#include "lib/log.h"

/* So many in a row, and the snapshot is made again; but not if it is younger than that, for the
 * function may be what kills them. */
#define FAILED_MAX 3
#define YOUNG_S    600

int thaw_target_open_files(struct thaw_target *target, struct thaw_error *err)
{
	const struct thaw_host *host = &target->service->host;
	bool direct = false;
	int rc = 0;

	pthread_mutex_lock(&target->lock);
	if (!target->files_open) {
		rc = thaw_snapshot_open(&host->state, target->snapshot, &target->files, err);
		if (rc == 0) {
			rc = thaw_snapshot_open_image(&target->files, host, &direct, err);
			if (rc == 0)
				rc = thaw_snapshot_open_root(&target->files, host, &target->root,
							     err);
			if (rc < 0)
				thaw_snapshot_close(&target->files);
			target->files_open = rc == 0;
		}
	}
	pthread_mutex_unlock(&target->lock);
	return rc;
}

static bool files_old(const struct thaw_snapshot *files)
{
	struct stat st;

	return fstat(files->dir, &st) == 0 && time(NULL) - st.st_ctim.tv_sec > YOUNG_S;
}

void thaw_target_restored(struct thaw_target *target, int rc)
{
	bool died = rc == -EPIPE || rc == -ECANCELED || rc == -ETIMEDOUT || rc == -EPROTO;

	if (!died) {
		if (rc == 0)
			atomic_store(&target->restores_failed, 0);
		return;
	}
	unsigned int failed = atomic_fetch_add(&target->restores_failed, 1) + 1;
	pthread_mutex_lock(&target->lock);
	bool damaged =
		target->files_open &&
		(!thaw_snapshot_image_is_good(&target->files, &target->service->host.state) ||
		 (failed >= FAILED_MAX && files_old(&target->files)));
	pthread_mutex_unlock(&target->lock);
	if (!damaged || atomic_exchange(&target->damaged, true))
		return;
	thaw_log(THAW_LOG_WARN,
		 "function \"%s\", version %s: its environments die with their memory: the "
		 "snapshot is made again",
		 target->function.name, target->function.version);
	thaw_snapshots_again(target->service->snapshots, target->function_id, target->version);
}
