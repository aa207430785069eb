/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the walls cost: microVMs in waiting are made and ended, with and without a jail, with and
 *without a control group, in turn. For tests/bench/jail.
 *
 *	bench-shells COUNT		a line for each: KIND MICROSECONDS-TO-MAKE
 *MICROSECONDS-TO-END
 *KIB bench-shells COUNT --vm		"vm" MICROSECONDS for each KVM_CREATE_VM of this process
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/kvm.h>
#include <unistd.h>

#include "host/cgroup.h"
#include "host/host.h"
#include "host/shells.h"
#include "host/vmm_client.h"
#include "lib/clock.h"
#include "lib/error.h"

#define MEMORY_MIB 192

/* Proportional share of all that a process has resident; a shell has touched nothing of its guest.
 */
static long pss_kib(pid_t pid)
{
	char path[64], line[256];
	long kib = -1;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		sscanf(line, "Pss: %ld", &kib);
	if (file)
		fclose(file);
	return kib;
}

static int one(const struct thaw_host *host, const char *kind, struct thaw_error *err)
{
	const struct thaw_shell_shape shape = {
		.vcpus = 1, .memory_mib = MEMORY_MIB, .pmem_mib = 256};
	struct thaw_shell shell;
	uint64_t began = thaw_monotonic_ns();

	int rc = thaw_shell_make(host, &shape, &shell, err);
	if (rc < 0)
		return rc;
	uint64_t made = thaw_monotonic_ns();
	long kib = pss_kib(shell.vmm.pid);
	uint64_t ending = thaw_monotonic_ns();
	thaw_vmm_close(&shell.vmm);
	printf("%s %.1f %.1f %ld\n", kind, (double)(made - began) / 1e3,
	       (double)(thaw_monotonic_ns() - ending) / 1e3, kib);
	return 0;
}

static int all(struct thaw_host *host, struct thaw_cgroups *cgroups, unsigned int count,
	       struct thaw_error *err)
{
	static const struct {
		const char *name;
		struct thaw_jail jail;
		bool group;
	} kinds[] = {
		{"plain", {.when = THAW_JAIL_NEVER}, false},
		{"jail", {.when = THAW_JAIL_ALWAYS}, false},
		{"jail+group", {.when = THAW_JAIL_ALWAYS}, true},
	};
	int rc = 0;

	for (unsigned int i = 0; i < count && rc == 0; i++) {
		for (size_t k = 0; k < 3 && rc == 0; k++) {
			if (kinds[k].group && !cgroups)
				continue;
			host->cgroups = kinds[k].group ? cgroups : NULL;
			thaw_vmm_jail(&kinds[k].jail);
			rc = one(host, kinds[k].name, err);
		}
	}
	return rc;
}

/* In this process, wherever it is. */
static int create_vms(int kvm, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		uint64_t began = thaw_monotonic_ns();
		int vm = ioctl(kvm, KVM_CREATE_VM, 0);
		if (vm < 0)
			return -1;
		printf("vm %.1f\n", (double)(thaw_monotonic_ns() - began) / 1e3);
		close(vm);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct thaw_host host = THAW_HOST_NONE;
	struct thaw_cgroups *cgroups = NULL;
	struct thaw_error err = {0};
	unsigned int count = argc > 1 ? (unsigned int)atoi(argv[1]) : 0;

	if (!count)
		return 2;
	int rc = thaw_paths_find(&host.paths, &err);
	if (rc == 0)
		rc = thaw_host_open_devices(&host, &err);
	if (rc == 0 && argc > 2)
		return create_vms(host.kvm, count) < 0;
	if (rc == 0 && thaw_cgroups_open(&cgroups, "bench-shells", &err) < 0)
		fprintf(stderr, "%s\n", err.message);
	if (rc == 0)
		rc = all(&host, cgroups, count, &err);
	thaw_cgroups_close(cgroups);
	thaw_host_close(&host);
	if (rc < 0)
		fprintf(stderr, "bench-shells: %s\n", err.message);
	return rc < 0;
}
