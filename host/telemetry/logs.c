/* SPDX-License-Identifier: Apache-2.0 */
#include "host/telemetry/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "host/telemetry/logs_internal.h"
#include "lib/error.h"
#include "lib/fd.h"

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
	return value ? value : otherwise;
}

int thaw_logs_folder(int dir, const char *name, bool make)
{
	cleanup_close int fd = -1;
	struct stat st;

	if (make && mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid())
		return -EPERM;
	if ((st.st_mode & 0777) != 0700 && fchmod(fd, 0700) < 0)
		return -errno;
	return thaw_fd_take(&fd);
}

struct thaw_logs *thaw_logs_open(int data, const struct thaw_logs_config *config,
				 struct thaw_error *err)
{
	static const struct thaw_logs_config none;

	if (!config)
		config = &none;
	struct thaw_logs *logs = calloc(1, sizeof(*logs));
	if (!logs) {
		thaw_error_errno(err, ENOMEM, "opening the logs");
		return NULL;
	}
	logs->config = (struct thaw_logs_config){
		.file_max = or_default(config->file_max, UINT64_C(16) << 20),
		.function_max = or_default(config->function_max, UINT64_C(1) << 30),
		.retention_s = or_default(config->retention_s, UINT64_C(14) * 24 * 60 * 60),
		.rate = or_default(config->rate, UINT64_C(1) << 20),
		.burst = or_default(config->burst, UINT64_C(8) << 20),
	};
	logs->dir = thaw_logs_folder(data, THAW_LOG_FOLDER, true);
	if (logs->dir < 0) {
		thaw_error_errno(err, -logs->dir,
				 "the folder \"" THAW_LOG_FOLDER "\" in the data directory");
		free(logs);
		return NULL;
	}
	return logs;
}

void thaw_logs_close(struct thaw_logs *logs)
{
	if (!logs)
		return;
	close(logs->dir);
	free(logs);
}

void thaw_logs_count(struct thaw_logs *logs, struct thaw_logs_counts *counts)
{
	*counts = (struct thaw_logs_counts){
		.records = atomic_load_explicit(&logs->records, memory_order_relaxed),
		.bytes = atomic_load_explicit(&logs->bytes, memory_order_relaxed),
		.dropped_bytes = atomic_load_explicit(&logs->dropped_bytes, memory_order_relaxed),
		.lost_records = atomic_load_explicit(&logs->lost_records, memory_order_relaxed),
	};
}
