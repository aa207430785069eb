/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the doctor share: doctor.c looks for what microVMs need to run,
 * doctor_hardening.c for what holds them apart (docs/security.md).
 */
#ifndef THAW_HOST_DOCTOR_INTERNAL_H
#define THAW_HOST_DOCTOR_INTERNAL_H

#include "host/doctor.h"

/* Adds a finding without advice. */
struct thaw_finding *doctor_found(struct thaw_doctor *doctor, const char *name,
				  enum thaw_health health, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

void doctor_advise(struct thaw_finding *finding, const char *advice);

/* The host's side of what is left between guests: threads of a core, weaknesses of processors,
 * pages that are merged, memory that goes to a disk. `root` is "" (tests: a directory with a /sys
 * and a /proc). Warnings at most. */
void doctor_examine_hardening(struct thaw_doctor *doctor, const char *root);

#endif
