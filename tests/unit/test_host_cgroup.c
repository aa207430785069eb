/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits by control groups: where they are, on texts; what they do, on this machine's kernel,
 * whichever version it has. Without the right to make groups only the texts are tested.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/cgroup.h"
#include "host/cgroup_internal.h"
#include "host/cgroup_mounts.h"
#include "host/spawn.h"
#include "lib/clock.h"
#include "lib/error.h"

#define MIB (UINT64_C(1) << 20)

static struct thaw_error error;
static char name[32];

#define assert_ok(call)                                                                            \
	do {                                                                                       \
		int rc_ = (call);                                                                  \
		if (rc_ != 0)                                                                      \
			fail_msg("%d: %s", rc_, error.message);                                    \
	} while (0)

static void test_mounts(void **state)
{
	struct thaw_cgroup_mounts m;

	(void)state;
	/* A plain host of version 2. */
	thaw_cgroup_mounts_find(&m,
				"24 29 0:22 / /proc rw - proc proc rw\n"
				"30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 "
				"rw,nsdelegate\n",
				"0::/system.slice/thawd.service\n");
	assert_string_equal(m.v2, "/sys/fs/cgroup/system.slice/thawd.service");
	assert_string_equal(m.v2_top, "/sys/fs/cgroup");
	assert_string_equal(m.v1[THAW_CGROUP_CPU], "");
	/* Version 1, two controllers in one hierarchy, in a container without a name space. */
	thaw_cgroup_mounts_find(
		&m,
		"33 25 0:29 /docker/ab /sys/fs/cgroup/cpu,cpuacct ro - cgroup "
		"cgroup rw,cpu,cpuacct\n"
		"34 25 0:30 /docker/ab /a\\040b rw master:1 - cgroup c rw,memory\n"
		"35 25 0:31 / /p rw - cgroup cgroup rw,pids\n"
		"36 25 0:32 / /set rw - cgroup cgroup rw,cpuset\n"
		"37 25 0:33 / /u rw - cgroup2 cgroup2 rw\n",
		"5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab/c\n3:pids:/\n0::/\n");
	assert_string_equal(m.v1[THAW_CGROUP_CPU], "/sys/fs/cgroup/cpu,cpuacct");
	assert_string_equal(m.v1[THAW_CGROUP_CPUACCT], "/sys/fs/cgroup/cpu,cpuacct");
	assert_string_equal(m.v1[THAW_CGROUP_MEMORY], "/a b/c");
	assert_string_equal(m.v1[THAW_CGROUP_PIDS], "/p");
	assert_string_equal(m.v2, "/u");
	/* A group outside of the mount; one whose name only begins like the mount's. */
	thaw_cgroup_mounts_find(&m, "1 1 0:1 / /g rw - cgroup2 c rw\n", "0::/../x\n");
	assert_string_equal(m.v2, "/g");
	thaw_cgroup_mounts_find(&m, "1 1 0:1 /a /g rw - cgroup2 c rw\n", "0::/ab\n");
	assert_string_equal(m.v2, "/g");
	/* Nonsense. */
	thaw_cgroup_mounts_find(&m, "\n- - -\n1 1 0:1 / /g rw - cgroup2\n1 1 0:1 / /g rw",
				"0:x\n:\n");
	assert_string_equal(m.v2, "");
	char *line = malloc(100000);
	memset(line, 'x', 99999);
	line[99999] = 0;
	thaw_cgroup_mounts_find(&m, line, line);
	assert_string_equal(m.v2, "");
	free(line);
}

static void test_cpu_us(void **state)
{
	(void)state;
	assert_int_equal(thaw_cgroup_cpu_us(1769), 100000);
	assert_int_equal(thaw_cgroup_cpu_us(128), 7235);
	assert_int_equal(thaw_cgroup_cpu_us(10240), 578858);
	assert_int_equal(thaw_cgroup_cpu_us(1), 1000);
}

static int setup(void **state)
{
	struct thaw_cgroups *cgroups;

	snprintf(name, sizeof(name), "test-%d", (int)getpid());
	*state = NULL;
	int rc = thaw_cgroups_open(&cgroups, name, &error);
	if (rc == 0)
		*state = cgroups;
	else
		print_message("%s\n", error.message);
	return rc == 0 || rc == -ENOTSUP ? 0 : -1;
}

static int teardown(void **state)
{
	thaw_cgroups_close(*state);
	return 0;
}

static struct thaw_cgroup make(struct thaw_cgroups *cgroups, const char *id,
			       struct thaw_cgroup_limits limits)
{
	struct thaw_cgroup cgroup = {0};

	assert_ok(thaw_cgroup_make(cgroups, id, &limits, &cgroup, &error));
	return cgroup;
}

/* In how many hierarchies a process is in a group whose path ends so. */
static int groups_of(pid_t pid, const char *end)
{
	char path[64], line[4096];
	int count = 0;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		size_t size = strlen(line), wanted = strlen(end);
		count += size >= wanted && strcmp(line + size - wanted, end) == 0;
	}
	fclose(file);
	return count;
}

static void birth_child(void *opaque)
{
	char *const argv[] = {(char *)"sleep", (char *)"60", NULL};

	(void)opaque;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execv("/bin/sleep", argv);
	_exit(9);
}

/* Whether a file of the group's limits of disks has this word. */
static bool disk_file_says(const struct thaw_cgroups *cgroups, const char *id, const char *word)
{
	static const char *const files[] = {"io.max", "blkio.throttle.read_bps_device",
					    "blkio.throttle.write_iops_device"};
	bool found = false;

	for (unsigned int i = 0; i < cgroups->count; i++) {
		int dir = openat(cgroups->parents[i], id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		for (size_t f = 0; f < sizeof(files) / sizeof(files[0]); f++) {
			char *text = thaw_cgroup_file_read(dir, files[f]);
			found |= text && strstr(text, word);
			free(text);
		}
		close(dir);
	}
	return found;
}

/* A child that begins once it is in the group; NULL: it only sleeps. */
static pid_t start(const struct thaw_cgroup *cgroup, void (*run)(void))
{
	int go[2];
	char byte;

	assert_int_equal(pipe(go), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(go[1]);
		if (read(go[0], &byte, 1) != 1)
			_exit(9);
		if (run)
			run();
		for (;;)
			pause();
	}
	close(go[0]);
	assert_ok(thaw_cgroup_join(cgroup, pid, &error));
	assert_int_equal(write(go[1], "x", 1), 1);
	close(go[1]);
	return pid;
}

static void spin(void)
{
	for (volatile unsigned int i = 0;; i++)
		;
}

static void fill(void)
{
	size_t size = 64 * MIB;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		_exit(8);
	memset(memory, 1, size);
	_exit(0);
}

static void breed(void)
{
	int born = 0;

	while (born < 20) {
		pid_t pid = fork();
		if (pid == 0) {
			for (;;)
				pause();
		}
		if (pid < 0)
			_exit(errno == EAGAIN ? 100 + born : 99);
		born++;
	}
	_exit(98);
}

static int wait_status(pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_cpu(void **state)
{
	struct thaw_cgroup_usage usage;

	if (!*state)
		skip();
	struct thaw_cgroup cgroup =
		make(*state, "cpu", (struct thaw_cgroup_limits){.cpu_us = 10000, .pids = 10});
	uint64_t since = thaw_monotonic_ns();
	pid_t pid = start(&cgroup, spin);
	usleep(450000);
	assert_ok(thaw_cgroup_usage(&cgroup, &usage, &error));
	uint64_t took = thaw_monotonic_ns() - since;
	assert_true(usage.cpu_ns > 5000000);
	/* A tenth of a CPU, two periods to begin with, and what a tick is late. */
	assert_true(usage.cpu_ns < took / 10 + 60000000);
	assert_ok(thaw_cgroup_remove(&cgroup, &error));
	assert_true(WIFSIGNALED(wait_status(pid)));
	assert_ok(thaw_cgroup_remove(&cgroup, &error));
}

static void test_memory(void **state)
{
	struct thaw_cgroup_usage usage;

	if (!*state)
		skip();
	struct thaw_cgroup small =
		make(*state, "small", (struct thaw_cgroup_limits){.memory = 16 * MIB});
	int status = wait_status(start(&small, fill));
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_ok(thaw_cgroup_usage(&small, &usage, &error));
	assert_true(usage.memory <= 16 * MIB);
	assert_ok(thaw_cgroup_remove(&small, &error));
	struct thaw_cgroup large =
		make(*state, "large", (struct thaw_cgroup_limits){.memory = 256 * MIB});
	status = wait_status(start(&large, fill));
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_ok(thaw_cgroup_remove(&large, &error));
}

static void test_pids(void **state)
{
	if (!*state)
		skip();
	struct thaw_cgroup cgroup = make(*state, "pids", (struct thaw_cgroup_limits){.pids = 5});
	int status = wait_status(start(&cgroup, breed));
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 104);
	/* Its four children are nobody's now. */
	assert_ok(thaw_cgroup_remove(&cgroup, &error));
}

static void test_refused(void **state)
{
	static const char *const bad[] = {"", ".", "..", "a/b", "../x", ".hidden", "a b", "\n"};
	struct thaw_cgroup_limits none = {0}, wrong = {.cpu_us = 1};
	struct thaw_cgroup cgroup = {0}, second = {0};
	struct thaw_cgroups *other;
	char long_name[THAW_CGROUP_NAME_MAX + 2];

	memset(long_name, 'a', sizeof(long_name));
	long_name[THAW_CGROUP_NAME_MAX + 1] = 0;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(thaw_cgroups_open(&other, bad[i], &error), -EINVAL);
	assert_int_equal(thaw_cgroups_open(&other, long_name, &error), -EINVAL);
	if (!*state)
		skip();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(thaw_cgroup_make(*state, bad[i], &none, &cgroup, &error), -EINVAL);
	assert_int_equal(thaw_cgroup_make(*state, long_name, &none, &cgroup, &error), -EINVAL);
	/* A limit that the kernel does not take leaves nothing behind. */
	assert_int_equal(thaw_cgroup_make(*state, "a", &wrong, &cgroup, &error), -EINVAL);
	assert_ok(thaw_cgroup_make(*state, "a", &none, &cgroup, &error));
	assert_int_equal(thaw_cgroup_make(*state, "a", &none, &second, &error), -EEXIST);
	assert_null(second.cgroups);
	/* The first is untouched by that. */
	pid_t pid = start(&cgroup, NULL);
	assert_int_equal(thaw_cgroup_join(&cgroup, 0x7ffffff0, &error), -ESRCH);
	assert_ok(thaw_cgroup_remove(&cgroup, &error));
	wait_status(pid);
	/* Nobody removes the group that he is in. */
	assert_ok(thaw_cgroup_make(*state, "self", &none, &cgroup, &error));
	pid = fork();
	if (pid == 0) {
		if (thaw_cgroup_join(&cgroup, getpid(), &error) < 0)
			_exit(1);
		_exit(thaw_cgroup_remove(&cgroup, &error) == -EBUSY ? 0 : 2);
	}
	assert_int_equal(wait_status(pid), 0);
	assert_ok(thaw_cgroup_remove(&cgroup, &error));
}

/* Born in the group, by a thread that is not in it before or after: nothing is moved. */
static void test_birth(void **state)
{
	struct thaw_cgroups *cgroups = *state;
	int fd, status;

	if (!cgroups)
		skip();
	struct thaw_cgroup cgroup = make(cgroups, "birth", (struct thaw_cgroup_limits){.pids = 8});
	pid_t moved = start(&cgroup, NULL);
	assert_ok(thaw_cgroup_birth_begin(&cgroup, &fd, &error));
	struct thaw_spawn spawn = {.cgroup = fd};
	pid_t pid = thaw_spawn(&spawn, birth_child, NULL);
	assert_true(pid > 0);
	thaw_cgroup_birth_end(&cgroup);
	if (fd >= 0)
		close(fd);
	assert_true(groups_of(moved, "/birth") > 0);
	assert_int_equal(groups_of(pid, "/birth"), groups_of(moved, "/birth"));
	assert_int_equal(groups_of(getpid(), "/birth"), 0);
	/* It is a process of its own: removing the group ends it. */
	assert_ok(thaw_cgroup_remove(&cgroup, &error));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	wait_status(moved);
	/* Nothing in particular: as any child. */
	assert_ok(thaw_cgroup_birth_begin(NULL, &fd, &error));
	assert_int_equal(fd, -1);
	thaw_cgroup_birth_end(NULL);
}

/* Of the disk with the root, or with THAW_TEST_DISK, a directory. */
static void test_disk(void **state)
{
	const struct thaw_cgroup_limits limits = {.disk_bytes = 8 * MIB, .disk_operations = 100};
	struct thaw_cgroups *cgroups = *state;

	if (!cgroups)
		skip();
	int dir = open(getenv("THAW_TEST_DISK") ?: "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = thaw_cgroups_disk(cgroups, dir, &error);
	close(dir);
	if (rc < 0)
		assert_int_equal(rc, -ENOTSUP);
	dir = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(thaw_cgroups_disk(cgroups, dir, &error), -ENOTSUP);
	close(dir);
	if (rc < 0) {
		print_message("%s\n", error.message);
		skip();
	}
	/* The last that was found stays. */
	struct thaw_cgroup cgroup = make(cgroups, "disk", limits);
	assert_true(disk_file_says(cgroups, "disk", "8388608"));
	assert_true(disk_file_says(cgroups, "disk", "100"));
	assert_ok(thaw_cgroup_remove(&cgroup, &error));
}

/* Somebody made groups, started processes in them, and died. */
static void test_sweep(void **state)
{
	struct thaw_cgroup_limits none = {0};
	struct thaw_cgroup cgroup;
	int told[2];
	pid_t left[2];

	if (!*state)
		skip();
	assert_int_equal(thaw_cgroups_sweep(*state, &error), 0);
	assert_int_equal(pipe(told), 0);
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* to see its children's end */
	pid_t pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 2; i++) {
			if (thaw_cgroup_make(*state, i ? "left" : "right", &none, &cgroup, &error) <
			    0)
				_exit(1);
			left[i] = fork();
			if (left[i] == 0) {
				for (;;)
					pause();
			}
			if (thaw_cgroup_join(&cgroup, left[i], &error) < 0)
				_exit(2);
		}
		if (write(told[1], left, sizeof(left)) != sizeof(left))
			_exit(3);
		_exit(0);
	}
	assert_int_equal(wait_status(pid), 0);
	assert_int_equal(read(told[0], left, sizeof(left)), sizeof(left));
	close(told[0]);
	close(told[1]);
	assert_int_equal(kill(left[0], 0), 0);
	assert_int_equal(thaw_cgroups_sweep(*state, &error), 2);
	for (int i = 0; i < 2; i++) {
		int status = wait_status(left[i]);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	assert_int_equal(thaw_cgroups_sweep(*state, &error), 0);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

/* A second opening finds what the first has left; and nothing is left in the end. */
static void test_again(void **state)
{
	struct thaw_cgroup_limits limits = {.cpu_us = 50000, .memory = 64 * MIB, .pids = 10};
	struct thaw_cgroup cgroup = {0};
	struct thaw_cgroups *second;

	if (!*state)
		skip();
	for (int i = 0; i < 3; i++) {
		assert_ok(thaw_cgroups_open(&second, name, &error));
		assert_ok(thaw_cgroup_make(second, "vm", &limits, &cgroup, &error));
		pid_t pid = start(&cgroup, NULL);
		assert_ok(thaw_cgroup_remove(&cgroup, &error));
		wait_status(pid);
		assert_int_equal(thaw_cgroups_sweep(second, &error), 0);
		thaw_cgroups_close(second);
	}
	/* The parent is gone: the first's groups are not to be made any more. */
	assert_true(thaw_cgroup_make(*state, "vm", &limits, &cgroup, &error) < 0);
}

#define with_groups(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mounts), cmocka_unit_test(test_cpu_us),
		with_groups(test_cpu),         with_groups(test_memory),
		with_groups(test_pids),        with_groups(test_refused),
		with_groups(test_sweep),       with_groups(test_again),
		with_groups(test_birth),       with_groups(test_disk),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
