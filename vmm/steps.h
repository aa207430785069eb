/* SPDX-License-Identifier: Apache-2.0 */
/* A stop-watch for work in steps: what a reply tells of where its time went. */
#ifndef THAW_VMM_STEPS_H
#define THAW_VMM_STEPS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/clock.h"

#define THAW_STEPS_MAX 16u

struct thaw_steps {
	struct {
		const char *name; /* a literal */
		uint64_t ns;
	} step[THAW_STEPS_MAX];
	size_t count;
	uint64_t last;
};

static inline void thaw_steps_start(struct thaw_steps *steps)
{
	steps->count = 0;
	steps->last = thaw_monotonic_ns();
}

/* The time since the last step, or the start, was spent on `name`. */
static inline void thaw_steps_done(struct thaw_steps *steps, const char *name)
{
	uint64_t now = thaw_monotonic_ns();

	if (steps->count < THAW_STEPS_MAX) {
		steps->step[steps->count].name = name;
		steps->step[steps->count++].ns = now - steps->last;
	}
	steps->last = now;
}

#endif
