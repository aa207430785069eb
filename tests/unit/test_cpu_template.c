/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest was promised of the processor must be there where it goes on. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/error.h"
#include "vmm/cpu_template.h"

static struct kvm_cpuid2 *cpuid_of(const struct kvm_cpuid_entry2 *entries, uint32_t count)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + count * sizeof(*entries));

	cpuid->nent = count;
	memcpy(cpuid->entries, entries, count * sizeof(*entries));
	return cpuid;
}

static void a_host_with_more_will_do(void **state)
{
	const struct kvm_cpuid_entry2 wanted[] = {
		{.function = 1, .eax = 0xa10f11, .ebx = 0x01010800, .ecx = 0x80000201, .edx = 0x1},
		{.function = 7, .ebx = 0x20},
	};
	struct kvm_cpuid_entry2 more[2];
	struct thaw_error err;

	(void)state;
	memcpy(more, wanted, sizeof(more));
	more[0].eax = 0xb00f20;   /* another model */
	more[0].ebx = 0x05060800; /* another APIC id and count */
	more[0].ecx |= 1u << 28;
	more[1].ebx |= 1u << 16;
	struct kvm_cpuid2 *have = cpuid_of(more, 2);
	assert_int_equal(thaw_cpuid_covers(have, wanted, 2, &err), 0);
	free(have);
}

static void a_host_with_less_is_refused_by_leaf(void **state)
{
	const struct kvm_cpuid_entry2 full[] = {
		{.function = 1, .ecx = 0x80000201, .edx = 0x1},
		{.function = 7, .ebx = 0x20},
		{.function = 0x80000001, .ecx = 0x21},
	};
	struct kvm_cpuid_entry2 less[3];
	struct kvm_cpuid2 *have;
	struct thaw_error err;

	(void)state;
	memcpy(less, full, sizeof(less));
	less[1].ebx = 0;
	have = cpuid_of(less, 3);
	assert_int_equal(thaw_cpuid_covers(have, full, 3, &err), -ENOTSUP);
	assert_non_null(strstr(err.message, "leaf 0x7.0: eax 00000000 ebx 00000020"));
	free(have);
	/* A leaf that is not there at all has no features. */
	have = cpuid_of(full, 2);
	assert_int_equal(thaw_cpuid_covers(have, full, 3, &err), -ENOTSUP);
	assert_non_null(strstr(err.message, "leaf 0x80000001.0"));
	free(have);
	/* OSXSAVE mirrors what the guest did, not what the host has. */
	struct kvm_cpuid_entry2 osxsave = {.function = 1, .ecx = 1u << 27};
	have = cpuid_of(full, 3);
	assert_int_equal(thaw_cpuid_covers(have, &osxsave, 1, &err), 0);
	free(have);
}

static void each_vcpu_knows_its_place(void **state)
{
	const struct kvm_cpuid_entry2 entries[] = {
		{.function = 1, .ebx = 0xff000800},
		{.function = 0xb, .index = 0},
		{.function = 0xb, .index = 1},
		{.function = 0x80000008, .ecx = 0x703f},
	};
	struct kvm_cpuid2 *cpuid = cpuid_of(entries, 4);

	(void)state;
	thaw_cpuid_set_topology(cpuid, 4, 6);
	assert_int_equal(cpuid->entries[0].ebx, 0x04060800);
	assert_true(cpuid->entries[0].edx & 1u << 28);
	assert_int_equal(cpuid->entries[1].edx, 4);
	assert_int_equal(cpuid->entries[2].eax, 3); /* 6 cores take 3 bits */
	assert_int_equal(cpuid->entries[2].ebx, 6);
	assert_int_equal(cpuid->entries[3].ecx & 0xf0ff, 0x3005);
	thaw_cpuid_set_topology(cpuid, 0, 1);
	assert_false(cpuid->entries[0].edx & 1u << 28);
	assert_int_equal(cpuid->entries[2].eax, 0);
	free(cpuid);
}

static void templates_have_names_and_one_has_parameters(void **state)
{
	(void)state;
	assert_string_equal(thaw_cpu_template_name(THAW_CPU_HOST), "host");
	assert_string_equal(thaw_cpu_template_name(THAW_CPU_SOFTWARE_KVM), "software-kvm");
	assert_string_equal(thaw_cpu_template_name((enum thaw_cpu_template)99), "unknown");
	assert_string_equal(thaw_cpu_template_command_line(THAW_CPU_HOST), "");
	assert_non_null(
		strstr(thaw_cpu_template_command_line(THAW_CPU_SOFTWARE_KVM), "software_kvm "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_host_with_more_will_do),
		cmocka_unit_test(a_host_with_less_is_refused_by_leaf),
		cmocka_unit_test(each_vcpu_knows_its_place),
		cmocka_unit_test(templates_have_names_and_one_has_parameters),
	};

	return cmocka_run_group_tests_name("CPU templates", tests, NULL, NULL);
}
