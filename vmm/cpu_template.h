/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest sees of the processor: CPUID, and the kernel parameters that go with it.
 *
 *  host          what KVM can give, less what lets a guest do more than compute (nested
 *                virtualisation, performance counters, transactional memory).
 *  software-kvm  for a KVM that emulates guest kernel code: the same, and a command line that
 *                keeps the kernel from instructions the emulator lacks (docs/guest-kernel.md).
 */
#ifndef THAW_VMM_CPU_TEMPLATE_H
#define THAW_VMM_CPU_TEMPLATE_H

#include <linux/kvm.h>
#include <stdint.h>

struct thaw_error;

/* The numbers are thaw.vmm.CpuTemplate's, and are stored in snapshots. */
enum thaw_cpu_template {
	THAW_CPU_AUTO = 0,
	THAW_CPU_HOST = 1,
	THAW_CPU_SOFTWARE_KVM = 2,
};

const char *thaw_cpu_template_name(enum thaw_cpu_template cpu_template);
/* Parameters for the guest kernel's command line; may be empty. */
const char *thaw_cpu_template_command_line(enum thaw_cpu_template cpu_template);

/* The CPUID entries every vCPU starts from; the caller frees *cpuid. */
int thaw_cpu_template_cpuid(int kvm_fd, enum thaw_cpu_template cpu_template,
			    struct kvm_cpuid2 **cpuid, struct thaw_error *err);

/* Sets the APIC id and the number of vCPUs in entries of thaw_cpu_template_cpuid. */
void thaw_cpuid_set_topology(struct kvm_cpuid2 *cpuid, uint32_t apic_id, uint32_t vcpus);

/* Whether a guest that was told `wanted` can go on where `have` is what this host gives: every
 * feature it was promised is there. -ENOTSUP names the first that is not. */
int thaw_cpuid_covers(const struct kvm_cpuid2 *have, const struct kvm_cpuid_entry2 *wanted,
		      uint32_t count, struct thaw_error *err);

#endif
