/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "host/doctor_internal.h"
#include "lib/fd.h"

#define WEAKNESSES "/sys/devices/system/cpu/vulnerabilities"

/* The first line of a file of the kernel's; false where there is none. */
static bool first_line(const char *root, const char *name, char *line, size_t size)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s%s", root, name);
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, line, size - 1) : -1;
	if (n <= 0)
		return false;
	line[n] = 0;
	line[strcspn(line, "\n")] = 0;
	return true;
}

/* Two threads of a core share its caches and more. Tagged by core scheduling, threads of two
 * microVMs never run on one core at a time (vmm/jail.h). */
static void examine_threads(struct thaw_doctor *doctor, const char *root)
{
	char active[16];

	if (!first_line(root, "/sys/devices/system/cpu/smt/active", active, sizeof(active)) ||
	    strcmp(active, "1") != 0) {
		doctor_found(doctor, "core threads", THAW_HEALTH_OK, "one a core");
		return;
	}
	unsigned long long cookie;
	if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, PR_SCHED_CORE_SCOPE_THREAD, &cookie) == 0)
		doctor_found(doctor, "core threads", THAW_HEALTH_OK,
			     "several a core, which never run two microVMs at a time");
	else
		doctor_advise(doctor_found(doctor, "core threads", THAW_HEALTH_WARN,
					   "several a core, and no core scheduling"),
			      "boot with nosmt where accounts do not trust one another");
}

static void examine_weaknesses(struct thaw_doctor *doctor, const char *root)
{
	char path[PATH_MAX], line[256], list[160] = "";
	size_t used = 0, open_count = 0, count = 0;

	snprintf(path, sizeof(path), "%s" WEAKNESSES, root);
	DIR *dir = opendir(path);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		char name[sizeof(WEAKNESSES) + sizeof(entry->d_name) + 1];
		snprintf(name, sizeof(name), WEAKNESSES "/%s", entry->d_name);
		if (entry->d_name[0] == '.' || !first_line(root, name, line, sizeof(line)))
			continue;
		count++;
		/* "KVM: Vulnerable" too; not "Mitigation: ...; SMT vulnerable", which is the line
		 * above. */
		if (strncmp(line, "Vulnerable", 10) != 0 &&
		    strncmp(line, "KVM: Vulnerable", 15) != 0)
			continue;
		open_count++;
		int n = snprintf(list + used, sizeof(list) - used, "%s%s", used ? ", " : "",
				 entry->d_name);
		used = used + (size_t)n < sizeof(list) ? used + (size_t)n : sizeof(list) - 1;
	}
	if (dir)
		closedir(dir);
	if (!dir)
		doctor_found(doctor, "processor", THAW_HEALTH_WARN,
			     "the kernel does not tell its weaknesses");
	else if (open_count)
		doctor_advise(doctor_found(doctor, "processor", THAW_HEALTH_WARN, "open: %s", list),
			      "update the processor's microcode and the kernel; do not boot with "
			      "mitigations=off");
	else
		doctor_found(doctor, "processor", THAW_HEALTH_OK,
			     "all of %zu known weaknesses absent or mitigated", count);
}

/* Merged pages tell by the time of a write what is in another's. */
static void examine_merging(struct thaw_doctor *doctor, const char *root)
{
	char run[16] = "0";

	first_line(root, "/sys/kernel/mm/ksm/run", run, sizeof(run));
	if (strcmp(run, "1") == 0)
		doctor_advise(
			doctor_found(doctor, "page merging", THAW_HEALTH_WARN, "KSM is on"),
			"echo 2 > /sys/kernel/mm/ksm/run (microVMs ask for none, but others may)");
	else
		doctor_found(doctor, "page merging", THAW_HEALTH_OK, "off");
}

/* A guest's memory on a disk outlives it; and a host that swaps answers nobody. */
static void examine_swap(struct thaw_doctor *doctor, const char *root)
{
	char path[PATH_MAX], text[4096], device[64] = "";
	ssize_t n = -1;

	snprintf(path, sizeof(path), "%s/proc/swaps", root);
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = 0;
	const char *second = strchr(text, '\n');
	if (second)
		sscanf(second + 1, "%63s", device);
	/* zram's never leaves the memory. */
	if (*device && !strstr(device, "/zram"))
		doctor_advise(
			doctor_found(doctor, "swap", THAW_HEALTH_WARN, "on %s", device),
			"swapoff -a, or encrypt it with a key of this boot: guests' memory is "
			"written to it");
	else
		doctor_found(doctor, "swap", THAW_HEALTH_OK, *device ? "in memory" : "none");
}

void doctor_examine_hardening(struct thaw_doctor *doctor, const char *root)
{
	examine_threads(doctor, root);
	examine_weaknesses(doctor, root);
	examine_merging(doctor, root);
	examine_swap(doctor, root);
}
