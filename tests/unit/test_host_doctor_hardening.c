/* SPDX-License-Identifier: Apache-2.0 */
/* What the doctor says of a host's hardening, by files of the kernel's that are made up. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/doctor_internal.h"
#include "host/state.h"
#include "lib/fd.h"

static char root[] = "/tmp/thaw-test-doctor-XXXXXX";

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/thaw-test-doctor-XXXXXX");
	assert_non_null(mkdtemp(root));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(thaw_remove_tree(AT_FDCWD, root), 0);
	return 0;
}

static void says(const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s%s", root, name);
	for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		mkdir(path, 0700);
		*slash = '/';
	}
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(thaw_write_full(fd, text, strlen(text)), 0);
}

static const struct thaw_finding *look(struct thaw_doctor *doctor, const char *name)
{
	memset(doctor, 0, sizeof(*doctor));
	doctor_examine_hardening(doctor, root);
	for (size_t i = 0; i < doctor->count; i++) {
		if (strcmp(doctor->finding[i].name, name) == 0)
			return &doctor->finding[i];
	}
	fail_msg("no finding \"%s\"", name);
	return NULL;
}

#define WARNS(NAME, DETAIL)                                                                        \
	do {                                                                                       \
		struct thaw_doctor doctor_;                                                        \
		const struct thaw_finding *finding_ = look(&doctor_, NAME);                        \
		assert_int_equal(finding_->health, THAW_HEALTH_WARN);                              \
		assert_string_equal(finding_->detail, DETAIL);                                     \
		assert_int_not_equal(finding_->advice[0], 0);                                      \
	} while (0)

#define PASSES(NAME, DETAIL)                                                                       \
	do {                                                                                       \
		struct thaw_doctor doctor_;                                                        \
		const struct thaw_finding *finding_ = look(&doctor_, NAME);                        \
		assert_string_equal(finding_->detail, DETAIL);                                     \
		assert_int_equal(finding_->health, THAW_HEALTH_OK);                                \
	} while (0)

static void test_threads(void **state)
{
	(void)state;
	PASSES("core threads", "one a core");
	says("/sys/devices/system/cpu/smt/active", "1\n");
	/* Whether there is core scheduling, this machine's kernel says. */
	unsigned long long cookie;
	if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, PR_SCHED_CORE_SCOPE_THREAD, &cookie) == 0)
		PASSES("core threads", "several a core, which never run two microVMs at a time");
	else
		WARNS("core threads", "several a core, and no core scheduling");
	says("/sys/devices/system/cpu/smt/active", "0\n");
	PASSES("core threads", "one a core");
}

static void test_processor(void **state)
{
	struct thaw_doctor doctor;

	(void)state;
	assert_int_equal(look(&doctor, "processor")->health, THAW_HEALTH_WARN);
	says("/sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected\n");
	says("/sys/devices/system/cpu/vulnerabilities/mds",
	     "Mitigation: Clear CPU buffers; SMT vulnerable\n");
	PASSES("processor", "all of 2 known weaknesses absent or mitigated");
	says("/sys/devices/system/cpu/vulnerabilities/retbleed", "Vulnerable\n");
	WARNS("processor", "open: retbleed");
	says("/sys/devices/system/cpu/vulnerabilities/retbleed", "Mitigation: IBPB\n");
	says("/sys/devices/system/cpu/vulnerabilities/itlb_multihit", "KVM: Vulnerable\n");
	WARNS("processor", "open: itlb_multihit");
}

/* More names than there is room for. */
static void test_many_weaknesses(void **state)
{
	struct thaw_doctor doctor;
	char name[96];

	(void)state;
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name),
			 "/sys/devices/system/cpu/vulnerabilities/a_long_name_%d", i);
		says(name, "Vulnerable: of course\n");
	}
	assert_int_equal(look(&doctor, "processor")->health, THAW_HEALTH_WARN);
}

static void test_merging(void **state)
{
	(void)state;
	PASSES("page merging", "off");
	says("/sys/kernel/mm/ksm/run", "1\n");
	WARNS("page merging", "KSM is on");
	says("/sys/kernel/mm/ksm/run", "2\n");
	PASSES("page merging", "off");
}

static void test_swap(void **state)
{
	static const char head[] = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
	char text[256];

	(void)state;
	PASSES("swap", "none");
	says("/proc/swaps", head);
	PASSES("swap", "none");
	snprintf(text, sizeof(text), "%s/dev/sda2 partition\t976\t0\t-2\n", head);
	says("/proc/swaps", text);
	WARNS("swap", "on /dev/sda2");
	snprintf(text, sizeof(text), "%s/dev/zram0 partition\t976\t0\t100\n", head);
	says("/proc/swaps", text);
	PASSES("swap", "in memory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_processor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_weaknesses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_merging, setup, teardown),
		cmocka_unit_test_setup_teardown(test_swap, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
