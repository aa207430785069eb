/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where time went: named stretches of the monotonic clock, in the order in which they ended.
 * Names are short, lower case and stable: they are keys of the JSON that `thaw bench` writes.
 */
#ifndef THAW_HOST_PHASES_H
#define THAW_HOST_PHASES_H

#include <stddef.h>
#include <stdint.h>

#define THAW_PHASES_MAX     32
#define THAW_PHASE_NAME_MAX 32

struct thaw_phase {
	char name[THAW_PHASE_NAME_MAX];
	uint64_t ns;
};

struct thaw_phases {
	size_t count;
	uint64_t last; /* CLOCK_MONOTONIC at which the last stretch ended */
	struct thaw_phase item[THAW_PHASES_MAX];
};

/* Forgets all; the first stretch begins now. */
void thaw_phases_start(struct thaw_phases *phases);

/* Ends a stretch, now. Beyond THAW_PHASES_MAX it is dropped. */
void thaw_phases_mark(struct thaw_phases *phases, const char *name);

/* Adds a stretch measured elsewhere (a step reported by thaw-vmm); `last` stays. */
void thaw_phases_add(struct thaw_phases *phases, const char *name, uint64_t ns);

/* The stretch's length in nanoseconds, 0 when there is none of that name. */
uint64_t thaw_phases_get(const struct thaw_phases *phases, const char *name);

#endif
