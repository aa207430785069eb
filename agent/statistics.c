/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/statistics.h"

#include <fcntl.h>
#include <unistd.h>

#include "lib/fd.h"

static const char *read_text(const char *path, char *text, size_t space)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, space - 1);

	text[n > 0 ? n : 0] = 0;
	return text;
}

void thaw_statistics_read(struct thaw_cgroup *cgroup, Thaw__Agent__Statistics *statistics)
{
	char text[16384];

	statistics->memory_current_kib = thaw_cgroup_memory_kib(cgroup);
	statistics->memory_peak_kib = thaw_cgroup_peak_kib(cgroup);
	statistics->cpu_usage_us = thaw_cgroup_cpu_us(cgroup);
	read_text("/proc/meminfo", text, sizeof(text));
	statistics->memory_free_kib = thaw_keyed_number(text, "MemFree");
	read_text("/proc/vmstat", text, sizeof(text));
	statistics->minor_faults = thaw_keyed_number(text, "pgfault");
	statistics->major_faults = thaw_keyed_number(text, "pgmajfault");
}
