/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every step of boot, invoke, snapshot and restore against a thaw-vmm, or an agent, that dies
 * there, stands still, says nothing, half of it, or nonsense (tests/faults/standin.c): each ends in
 * time, with the error that tells what happened, and leaves no process, descriptor or file behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/host.h"
#include "host/snapshot_create.h"
#include "host/snapshot_store.h"
#include "host/tmp_drive.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"

#define SCALE     "0.03"
#define THREADS   48
#define CASES_MAX 400
#define LATEST_MS 15000 /* the longest wait, scaled, is 5.4 s */
#define DIGEST    "00000000000000000000000000000000000000000000000000000000000000aa"

/* --- what is done, and its steps --- */

enum act { BOOT, WARM, SNAPSHOT, RESTORE, ACTS };

static const char *const act_names[] = {"boot", "warm", "snapshot", "restore"};

/* What thaw-vmm answers, what it says unasked; what the agent answers, and the line before. */
enum side { VMM, EVENT, AGENT, LINE };

static const struct step {
	enum act act;
	enum side side;
	const char *name;
} steps[] = {
	{BOOT, VMM, "create"},       {BOOT, VMM, "boot"},          {BOOT, EVENT, "entered"},
	{BOOT, EVENT, "listens"},    {BOOT, VMM, "vsock"},         {BOOT, LINE, "connect"},
	{BOOT, AGENT, "configure"},  {BOOT, AGENT, "init"},        {BOOT, AGENT, "invoke"},
	{WARM, VMM, "pause"},        {WARM, VMM, "run"},           {SNAPSHOT, EVENT, "listens"},
	{SNAPSHOT, AGENT, "init"},   {SNAPSHOT, AGENT, "prepare"}, {SNAPSHOT, VMM, "pause"},
	{SNAPSHOT, VMM, "snapshot"}, {RESTORE, VMM, "create"},     {RESTORE, VMM, "restore"},
	{RESTORE, LINE, "connect"},  {RESTORE, AGENT, "resume"},   {RESTORE, AGENT, "invoke"},
};

/* What may come of each, 0 at the end. */
static const struct fault {
	const char *name;
	bool harmless; /* where nothing follows */
	bool answers;  /* only of what has a number and a kind */
	bool agent;    /* the agent's only */
	int codes[3];
} faults[] = {
	{.name = "kill", .codes = {EPIPE}},
	{.name = "killed", .harmless = true, .codes = {EPIPE}},
	{.name = "stop", .codes = {ETIMEDOUT}},
	{.name = "stopped", .harmless = true, .codes = {ETIMEDOUT}},
	{.name = "mute", .codes = {ETIMEDOUT}},
	{.name = "hangup", .codes = {EPIPE}},
	/* Half a packet may be a message, of another meaning. */
	{.name = "cut", .codes = {EPROTO, ETIMEDOUT}},
	{.name = "noise", .codes = {EPROTO}},
	{.name = "id", .answers = true, .codes = {EPROTO}},
	{.name = "fail 28", .answers = true, .codes = {ENOSPC, EREMOTEIO}},
	{.name = "flood", .answers = true, .agent = true, .codes = {ETIMEDOUT}},
};

static bool fault_fits(const struct fault *fault, enum side side)
{
	return (!fault->answers || side == VMM || side == AGENT) &&
	       (!fault->agent || side == AGENT);
}

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

struct trial {
	const struct step *step; /* NULL: none */
	const struct fault *fault;
	enum act act;
	char dir[PATH_MAX + 16];
	int rc;
	bool left; /* something that should have gone is there */
	uint64_t ms;
	struct thaw_error err;
};

static char place[PATH_MAX];
static struct thaw_host the_host = THAW_HOST_NONE;
static struct thaw_function the_function;
static int drive;

/* --- one trial --- */

static void write_text(const char *dir, const char *name, const char *text)
{
	char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(thaw_write_full(fd, text, strlen(text)), 0);
	close(fd);
}

static int act_invoke(struct thaw_environment *environment, struct thaw_error *err)
{
	struct thaw_invocation invocation = {.event = (const uint8_t *)"{}", .event_size = 2};
	struct thaw_result result;

	thaw_request_id_make(invocation.request_id);
	return thaw_environment_invoke(environment, &invocation, &result, err);
}

static int act_boot(struct thaw_environment *environment, bool warm, struct thaw_error *err)
{
	struct thaw_cold cold = THAW_COLD_NONE;
	const struct thaw_cold_code code = {.drive = drive, .digest = DIGEST, .layers = -1};

	int rc = thaw_cold_open(&cold, environment->host, &the_function, &code, NULL, err);
	if (rc == 0)
		rc = thaw_environment_boot(environment, &cold.machine, err);
	if (rc == 0)
		rc = act_invoke(environment, err);
	if (rc == 0 && warm)
		rc = thaw_environment_pause(environment, err);
	if (rc == 0 && warm)
		rc = thaw_environment_unpause(environment, err);
	if (rc == 0 && warm)
		rc = act_invoke(environment, err);
	thaw_cold_close(&cold);
	return rc;
}

static int act_restore(struct thaw_environment *environment, struct thaw_error *err)
{
	const struct thaw_restore_options options = {
		.mode = THAW__VMM__RESTORE_MODE__RESTORE_MODE_MAP};
	const struct thaw_host *host = environment->host;
	struct thaw_machine machine = THAW_MACHINE_NONE;
	cleanup_close int tmp = -1, root = -1;
	struct thaw_snapshot snapshot;

	int rc = thaw_snapshot_open(&host->state, "good", &snapshot, err);
	if (rc < 0)
		return rc;
	rc = thaw_snapshot_open_image(&snapshot, host, NULL, err);
	if (rc == 0)
		rc = thaw_snapshot_open_root(&snapshot, host, &root, err);
	if (rc == 0)
		rc = thaw_tmp_drive_copy(&host->state, snapshot.tmp, &tmp, err);
	machine.root = root;
	machine.code = snapshot.code;
	machine.tmp = tmp;
	machine.cpu_template = snapshot.manifest.cpu_template;
	if (rc == 0)
		rc = thaw_environment_restore(environment, &machine, &snapshot.files, &options,
					      NULL, err);
	if (rc == 0)
		rc = act_invoke(environment, err);
	thaw_snapshot_close(&snapshot);
	return rc;
}

static int act_snapshot(const struct thaw_host *host, const char *name, struct thaw_error *err)
{
	struct thaw_manifest manifest;
	bool function_failed;
	const struct thaw_snapshot_plan plan = {
		.name = name,
		.function = &the_function,
		.code = {.drive = drive, .digest = DIGEST, .layers = -1},
		.serial = -1,
		.init_timeout_ms = 10000,
	};

	int rc = thaw_snapshot_create(host, &plan, &manifest, &function_failed, err);
	if (rc == 0)
		thaw_manifest_clear(&manifest);
	return rc;
}

static void trial_run(struct trial *trial, unsigned int number)
{
	struct thaw_host host = the_host;
	struct thaw_environment environment;
	char name[32];

	snprintf(host.paths.vmm, sizeof(host.paths.vmm), "%.4000s/thaw-vmm", trial->dir);
	thaw_environment_init(&environment, &host, &the_function);
	uint64_t began = thaw_monotonic_ns();
	if (trial->act == SNAPSHOT) {
		snprintf(name, sizeof(name), "trial-%u", number);
		trial->rc = act_snapshot(&host, name, &trial->err);
		trial->left = thaw_snapshot_exists(&host.state, name) != (trial->rc == 0);
	} else {
		trial->rc = trial->act == RESTORE
				    ? act_restore(&environment, &trial->err)
				    : act_boot(&environment, trial->act == WARM, &trial->err);
		pid_t pid = environment.vmm.pid;
		thaw_environment_close(&environment);
		trial->left = pid > 0 && kill(pid, 0) == 0;
	}
	trial->ms = (thaw_monotonic_ns() - began) / 1000000;
}

static struct trial trials[CASES_MAX];
static unsigned int trial_count;
static atomic_uint trial_next;

/* A thaw-vmm dies with the thread that started it. */
static void *trials_thread(void *unused)
{
	unsigned int number;

	(void)unused;
	while ((number = atomic_fetch_add(&trial_next, 1)) < trial_count)
		trial_run(&trials[number], number);
	return NULL;
}

static struct trial *trial_add(enum act act, const struct step *step, const struct fault *fault)
{
	struct trial *trial = &trials[trial_count];
	char path[PATH_MAX + 64], order[64];

	assert_true(trial_count < CASES_MAX);
	*trial = (struct trial){.step = step, .fault = fault, .act = act};
	snprintf(trial->dir, sizeof(trial->dir), "%s/%u", place, trial_count++);
	assert_int_equal(mkdir(trial->dir, 0700), 0);
	snprintf(path, sizeof(path), "%s/thaw-vmm", trial->dir);
	assert_int_equal(symlink(THAW_BINARY_DIR "/tests/faults/standin", path), 0);
	snprintf(order, sizeof(order), "%s %s\n", step ? step->name : "none",
		 fault ? fault->name : "none");
	write_text(trial->dir, "orders", order);
	return trial;
}

static void trials_run(void)
{
	pthread_t threads[THREADS];

	atomic_store(&trial_next, 0);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, trials_thread, NULL), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static bool trial_good(const struct trial *trial)
{
	bool good = trial->rc == 0 && trial->fault->harmless;

	for (size_t i = 0; i < COUNT(trial->fault->codes) && trial->fault->codes[i]; i++)
		good |= trial->rc == -trial->fault->codes[i] && *trial->err.message;
	return good && !trial->left && trial->ms < LATEST_MS;
}

/* --- what is there before and after --- */

static int setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	char path[PATH_MAX + 32];

	(void)state;
	snprintf(place, sizeof(place), "%.900s/thaw-faults-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(place));
	snprintf(path, sizeof(path), "%s/state", place);
	assert_int_equal(thaw_host_open(&the_host, path, NULL), 0);
	the_host.kvm = open("/dev/null", O_RDWR | O_CLOEXEC);
	snprintf(the_host.paths.lib, sizeof(the_host.paths.lib), "%.3000s/lib", place);
	for (const char *const *dir = (const char *const[]){"", "/guest", "/images", NULL}; *dir;
	     dir++) {
		snprintf(path, sizeof(path), "%.3000s/lib%s", place, *dir);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	write_text(the_host.paths.lib, "guest/vmlinux", "kernel");
	write_text(the_host.paths.lib, "guest/initramfs.cpio", "initramfs");
	write_text(the_host.paths.lib, "images/python3.11.erofs", "image");
	write_text(place, "drive", "code");
	snprintf(path, sizeof(path), "%s/drive", place);
	drive = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(drive >= 0);
	thaw_function_init(&the_function);
	assert_int_equal(thaw_function_set_runtime(&the_function, "python3.11", NULL), 0);
	assert_int_equal(thaw_function_set_handler(&the_function, "app.handler", NULL), 0);
	assert_int_equal(thaw_function_set_timeout(&the_function, 1, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	thaw_function_clear(&the_function);
	close(drive);
	thaw_host_close(&the_host);
	return thaw_remove_tree(AT_FDCWD, place);
}

static unsigned int open_descriptors(void)
{
	unsigned int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void assert_nothing_half_made(void)
{
	char path[PATH_MAX + 32];

	/* The lock is all that stays. */
	snprintf(path, sizeof(path), "%s/state/tmp/.lock", place);
	assert_int_equal(unlink(path), 0);
	snprintf(path, sizeof(path), "%s/state/tmp", place);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	close(the_host.state.tmp);
	the_host.state.tmp = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

/* --- the tests --- */

static void test_all_is_well(void **state)
{
	(void)state;
	trial_count = 0;
	for (enum act act = 0; act < RESTORE; act++)
		trial_add(act, NULL, NULL);
	trials_run();
	for (unsigned int i = 0; i < trial_count; i++) {
		if (trials[i].rc < 0)
			fail_msg("%s: %s", act_names[trials[i].act], trials[i].err.message);
	}
	struct thaw_host host = the_host;
	struct thaw_error err = {0};
	snprintf(host.paths.vmm, sizeof(host.paths.vmm), "%.4000s/thaw-vmm", trials[0].dir);
	if (act_snapshot(&host, "good", &err) < 0)
		fail_msg("%s", err.message);
	struct trial *restore = trial_add(RESTORE, NULL, NULL);
	trial_run(restore, 0);
	if (restore->rc < 0)
		fail_msg("restore: %s", restore->err.message);
	assert_nothing_half_made();
}

static void test_every_step(void **state)
{
	unsigned int before = open_descriptors(), bad = 0;
	uint64_t longest = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(steps); i++) {
		for (size_t k = 0; k < COUNT(faults); k++) {
			if (fault_fits(&faults[k], steps[i].side))
				trial_add(steps[i].act, &steps[i], &faults[k]);
		}
	}
	trials_run();
	for (unsigned int i = 0; i < trial_count; i++) {
		const struct trial *trial = &trials[i];
		if (!trial->fault)
			continue;
		longest = trial->ms > longest ? trial->ms : longest;
		if (trial_good(trial))
			continue;
		bad++;
		print_error("%s, %s at %s: %d after %llu ms%s: %s\n", act_names[trial->act],
			    trial->fault->name, trial->step->name, trial->rc,
			    (unsigned long long)trial->ms, trial->left ? ", something is left" : "",
			    trial->err.message);
	}
	print_message("%u faults, the longest wait %llu ms\n", trial_count,
		      (unsigned long long)longest);
	assert_int_equal(bad, 0);
	assert_int_equal(open_descriptors(), before);
	assert_nothing_half_made();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_is_well),
		cmocka_unit_test(test_every_step),
	};

	/* Before the first wait. */
	setenv("THAW_TIMEOUT_SCALE", SCALE, 1);
	return cmocka_run_group_tests(tests, setup, teardown);
}
