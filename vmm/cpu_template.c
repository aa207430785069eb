/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/cpu_template.h"

#include <asm/kvm_para.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "vmm/kvm.h"

#define CPUID_ENTRIES_MAX 256

#define LEAF_KVM_FEATURES 0x40000001u

/* KVM features (Documentation/virt/kvm/x86/cpuid.rst) that a restored clone must not have: they
 * are promises about one host's memory or scheduling, and the guest kernel pays to set them up. */
#define KVM_FEATURES_HOST                                                                          \
	(1u << KVM_FEATURE_CLOCKSOURCE | 1u << KVM_FEATURE_NOP_IO_DELAY |                          \
	 1u << KVM_FEATURE_CLOCKSOURCE2 | 1u << KVM_FEATURE_CLOCKSOURCE_STABLE_BIT)

const char *thaw_cpu_template_name(enum thaw_cpu_template cpu_template)
{
	switch (cpu_template) {
	case THAW_CPU_AUTO:
		return "auto";
	case THAW_CPU_HOST:
		return "host";
	case THAW_CPU_SOFTWARE_KVM:
		return "software-kvm";
	}
	return "unknown";
}

const char *thaw_cpu_template_command_line(enum thaw_cpu_template cpu_template)
{
	if (cpu_template != THAW_CPU_SOFTWARE_KVM)
		return "";
	/* smap smep xsave popcnt erms fsrm fsgsbase invpcid pcid cx16: leaf 1, 7 and 0xd bits
	 * that such a KVM forces on. A TSC that cannot be set cannot be a clock across restores.
	 * Write-protecting kernel text walks the whole direct map: two seconds there.
	 *
	 * Without XSAVE, which it cannot execute, the kernel switches x87 and SSE state and no
	 * more; but a processor may tell user code that AVX can be used, for neither CPUID nor XCR0
	 * can be hidden from it there. So those who look are told otherwise: the C library, whose
	 * memcpy would lose what it holds in registers, and OpenSSL. What the kernel does not know
	 * becomes init's environment (docs/guest-kernel.md, AVX). */
	return "software_kvm noxsave clearcpuid=308,295,154,151,297,580,288,298,145,141 "
	       "clocksource=kvm-clock tsc=unstable rodata=off "
	       "GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512CD,-AVX512BW,-AVX512DQ,"
	       "-AVX512VL,-FMA,-FMA4,-AVX_Fast_Unaligned_Load "
	       "OPENSSL_ia32cap=~0x1000180000000000:~0x5e42d0230020";
}

/* Bits no guest is shown, by leaf. */
static void cpuid_restrict(struct kvm_cpuid_entry2 *entry)
{
	switch (entry->function) {
	case 0x1:
		entry->ecx &= ~(1u << 3 | 1u << 5 | 1u << 6 | 1u << 15); /* MONITOR VMX SMX PDCM */
		entry->ecx |= 1u << 24 | 1u << 31; /* TSC deadline timer, hypervisor */
		break;
	case 0x7:
		if (entry->index == 0) {
			entry->ebx &= ~(1u << 2 | 1u << 4 | 1u << 11); /* SGX HLE RTM */
			entry->edx &= ~(1u << 18);                     /* PCONFIG */
		}
		break;
	case 0xa: /* performance counters */
	case 0x80000022:
		entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
		break;
	case 0x80000001:
		/* SVM, IBS, SKINIT, WDT, LWP, PERFCTR_CORE, PERFCTR_NB, PERFCTR_LLC */
		entry->ecx &= ~(1u << 2 | 1u << 10 | 1u << 12 | 1u << 13 | 1u << 15 | 1u << 23 |
				1u << 24 | 1u << 28);
		break;
	case 0x8000000a: /* SVM */
		entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
		break;
	case LEAF_KVM_FEATURES:
		entry->eax &= KVM_FEATURES_HOST;
		break;
	}
}

int thaw_cpu_template_cpuid(int kvm_fd, enum thaw_cpu_template cpu_template,
			    struct kvm_cpuid2 **cpuid, struct thaw_error *err)
{
	struct kvm_cpuid2 *c;
	int rc;

	if (cpu_template != THAW_CPU_HOST && cpu_template != THAW_CPU_SOFTWARE_KVM)
		return thaw_error_set(err, EINVAL, "no such CPU template: %d", (int)cpu_template);
	c = calloc(1, sizeof(*c) + CPUID_ENTRIES_MAX * sizeof(c->entries[0]));
	if (!c)
		return thaw_error_errno(err, ENOMEM, "CPUID");
	c->nent = CPUID_ENTRIES_MAX;
	rc = THAW_KVM(kvm_fd, KVM_GET_SUPPORTED_CPUID, c, err);
	if (rc < 0) {
		free(c);
		return rc;
	}
	for (uint32_t i = 0; i < c->nent; i++)
		cpuid_restrict(&c->entries[i]);
	*cpuid = c;
	return 0;
}

void thaw_cpuid_set_topology(struct kvm_cpuid2 *cpuid, uint32_t apic_id, uint32_t vcpus)
{
	uint32_t shift = 0;

	while (1u << shift < vcpus)
		shift++;
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];
		switch (e->function) {
		case 0x1:
			e->ebx = (e->ebx & 0xffffu) | vcpus << 16 | apic_id << 24;
			if (vcpus > 1)
				e->edx |= 1u << 28; /* HTT: the count above is meant */
			else
				e->edx &= ~(1u << 28);
			break;
		case 0xb: /* extended topology: one thread a core, the cores of one package */
		case 0x1f:
			e->edx = apic_id;
			if (e->index == 0) {
				e->eax = 0;
				e->ebx = 1;
				e->ecx = 1u << 8;
			} else if (e->index == 1) {
				e->eax = shift;
				e->ebx = vcpus;
				e->ecx = 2u << 8 | 1;
			} else {
				e->eax = e->ebx = 0;
				e->ecx = e->index;
			}
			break;
		case 0x80000008: /* AMD: number of cores */
			e->ecx = (e->ecx & ~0xf0ffu) | shift << 12 | (vcpus - 1);
			break;
		case 0x8000001e:
			e->eax = apic_id;
			e->ebx = apic_id & 0xff;
			e->ecx = 0;
			break;
		}
	}
}

static const struct kvm_cpuid_entry2 *cpuid_find(const struct kvm_cpuid2 *cpuid, uint32_t function,
						 uint32_t index)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == function && cpuid->entries[i].index == index)
			return &cpuid->entries[i];
	}
	return NULL;
}

int thaw_cpuid_covers(const struct kvm_cpuid2 *have, const struct kvm_cpuid_entry2 *wanted,
		      uint32_t count, struct thaw_error *err)
{
	/* Leaves whose registers are sets of features. */
	static const struct {
		uint32_t function, index;
		bool ebx; /* else it holds something else: ids, sizes */
	} features[] = {
		{0x1, 0, false}, {0x7, 0, true},         {0x7, 1, true},
		{0xd, 1, false}, {0x80000001, 0, false}, {LEAF_KVM_FEATURES, 0, false},
	};

	for (uint32_t i = 0; i < count; i++) {
		const struct kvm_cpuid_entry2 *w = &wanted[i];
		for (size_t f = 0; f < sizeof(features) / sizeof(features[0]); f++) {
			if (w->function != features[f].function || w->index != features[f].index)
				continue;
			const struct kvm_cpuid_entry2 *h = cpuid_find(have, w->function, w->index);
			const struct kvm_cpuid_entry2 none = {0};
			if (!h)
				h = &none;
			/* eax is a set of features in some leaves only (1: the model, 7.0 and
			 * 0x80000001: not features). */
			uint32_t eax = w->function == LEAF_KVM_FEATURES || w->index == 1
					       ? w->eax & ~h->eax
					       : 0;
			uint32_t ebx = features[f].ebx ? w->ebx & ~h->ebx : 0;
			/* OSXSAVE and OSPKE mirror the guest's CR4. */
			uint32_t ecx = w->ecx & ~h->ecx & ~(w->function == 1 ? 1u << 27 : 0) &
				       ~(w->function == 7 ? 1u << 4 : 0);
			uint32_t edx = w->edx & ~h->edx & ~(w->function == 1 ? 1u << 28 : 0);
			if (eax | ebx | ecx | edx)
				return thaw_error_set(err, ENOTSUP,
						      "this host's processor lacks features the "
						      "guest was started with (CPUID leaf 0x%x.%u: "
						      "eax %08x ebx %08x ecx %08x edx %08x)",
						      w->function, w->index, eax, ebx, ecx, edx);
		}
	}
	return 0;
}
