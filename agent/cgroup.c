/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/error.h"
#include "lib/fd.h"

void thaw_cgroup_init(struct thaw_cgroup *cgroup)
{
	memset(cgroup, 0xff, sizeof(*cgroup)); /* every descriptor -1 */
}

static int open_in(int dir, const char *name, int flags)
{
	return openat(dir, name, flags | O_CLOEXEC);
}

int thaw_cgroup_open(struct thaw_cgroup *cgroup, const char *dir, struct thaw_error *err)
{
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return thaw_error_errno(err, errno, "making the cgroup \"%s\"", dir);
	cleanup_close int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return thaw_error_errno(err, errno, "opening the cgroup \"%s\"", dir);
	cgroup->procs = open_in(fd, "cgroup.procs", O_WRONLY);
	cgroup->kill = open_in(fd, "cgroup.kill", O_WRONLY);
	cgroup->freeze = open_in(fd, "cgroup.freeze", O_WRONLY);
	cgroup->events = open_in(fd, "cgroup.events", O_RDONLY);
	cgroup->memory_events = open_in(fd, "memory.events", O_RDONLY);
	cgroup->memory_current = open_in(fd, "memory.current", O_RDONLY);
	cgroup->memory_peak = open_in(fd, "memory.peak", O_RDONLY);
	cgroup->cpu_stat = open_in(fd, "cpu.stat", O_RDONLY);
	if (cgroup->procs < 0 || cgroup->kill < 0 || cgroup->freeze < 0 || cgroup->events < 0) {
		thaw_cgroup_close(cgroup);
		return thaw_error_set(err, ENOTSUP, "the cgroup \"%s\" cannot be frozen and killed",
				      dir);
	}
	return 0;
}

void thaw_cgroup_close(struct thaw_cgroup *cgroup)
{
	int *fds = (int *)cgroup;

	for (size_t i = 0; i < sizeof(*cgroup) / sizeof(int); i++)
		thaw_cleanup_close(&fds[i]);
	thaw_cgroup_init(cgroup);
}

static int write_in(const char *dir, const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return thaw_write_full(fd, text, strlen(text));
}

int thaw_cgroup_limit(struct thaw_cgroup *cgroup, const char *dir, uint32_t memory_mib,
		      uint32_t processes, struct thaw_error *err)
{
	char text[32];

	(void)cgroup;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)memory_mib << 20);
	int rc = write_in(dir, "memory.max", text);
	if (rc < 0)
		return thaw_error_errno(err, -rc, "setting the memory limit of the runtime");
	/* There is no swap in most guests, and then no such file. */
	rc = write_in(dir, "memory.swap.max", "0");
	if (rc < 0 && rc != -ENOENT)
		return thaw_error_errno(err, -rc, "shutting swap for the runtime");
	rc = write_in(dir, "memory.oom.group", "1");
	if (rc < 0)
		return thaw_error_errno(err, -rc, "making the runtime one for the OOM killer");
	snprintf(text, sizeof(text), "%u", processes);
	rc = write_in(dir, "pids.max", text);
	if (rc < 0)
		return thaw_error_errno(err, -rc, "limiting the number of processes");
	return 0;
}

static int put(int fd, const char *text)
{
	if (fd < 0)
		return -ENODEV;
	return pwrite(fd, text, strlen(text), 0) < 0 ? -errno : 0;
}

int thaw_cgroup_kill(struct thaw_cgroup *cgroup)
{
	return put(cgroup->kill, "1");
}

int thaw_cgroup_set_frozen(struct thaw_cgroup *cgroup, bool frozen)
{
	return put(cgroup->freeze, frozen ? "1" : "0");
}

uint64_t thaw_keyed_number(const char *text, const char *key)
{
	size_t length = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		if (*line == '\n')
			line++;
		if (strncmp(line, key, length) == 0 && line[length] != 0 &&
		    strchr(": \t", line[length]))
			return strtoull(line + length + 1, NULL, 10);
	}
	return 0;
}

/* A short file's text from its start; "" when it cannot be read. */
static void get(int fd, char *text, size_t space)
{
	ssize_t n = fd < 0 ? -1 : pread(fd, text, space - 1, 0);

	text[n > 0 ? n : 0] = 0;
}

bool thaw_cgroup_is_frozen(struct thaw_cgroup *cgroup)
{
	char text[256];

	get(cgroup->events, text, sizeof(text));
	return thaw_keyed_number(text, "frozen") == 1;
}

static uint64_t number_kib(int fd)
{
	char text[64];

	get(fd, text, sizeof(text));
	return strtoull(text, NULL, 10) >> 10;
}

uint64_t thaw_cgroup_memory_kib(struct thaw_cgroup *cgroup)
{
	return number_kib(cgroup->memory_current);
}

uint64_t thaw_cgroup_peak_kib(struct thaw_cgroup *cgroup)
{
	return number_kib(cgroup->memory_peak);
}

uint64_t thaw_cgroup_oom_kills(struct thaw_cgroup *cgroup)
{
	char text[512];

	get(cgroup->memory_events, text, sizeof(text));
	return thaw_keyed_number(text, "oom_kill");
}

uint64_t thaw_cgroup_cpu_us(struct thaw_cgroup *cgroup)
{
	char text[1024];

	get(cgroup->cpu_stat, text, sizeof(text));
	return thaw_keyed_number(text, "usage_usec");
}
