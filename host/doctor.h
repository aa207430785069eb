/* SPDX-License-Identifier: Apache-2.0 */
/* What this host has and lacks for running microVMs, and what to do about each lack. */
#ifndef THAW_HOST_DOCTOR_H
#define THAW_HOST_DOCTOR_H

#include <stddef.h>

struct thaw_host;

enum thaw_health { THAW_HEALTH_OK, THAW_HEALTH_WARN, THAW_HEALTH_FAIL };

struct thaw_finding {
	const char *name; /* stable: a key of the JSON */
	enum thaw_health health;
	char detail[256]; /* what was found */
	char advice[256]; /* what to do; "" when nothing */
};

#define THAW_FINDINGS_MAX 32

/* The kind of KVM: "hardware", "software", "emulated host", or "none". */
struct thaw_doctor {
	struct thaw_finding finding[THAW_FINDINGS_MAX];
	size_t count;
	const char *kvm_kind;
};

/* Looks at everything; starts one thaw-vmm to find out the kind of KVM. */
void thaw_doctor_examine(struct thaw_doctor *doctor, const char *state);

/* "software KVM", "hardware KVM" or "emulated host": how results are labelled. */
const char *thaw_kvm_label(int software_kvm);

#endif
