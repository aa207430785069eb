/* SPDX-License-Identifier: Apache-2.0 */
#include "host/phases.h"

#include <stdio.h>
#include <string.h>

#include "lib/clock.h"

void thaw_phases_start(struct thaw_phases *phases)
{
	phases->count = 0;
	phases->last = thaw_monotonic_ns();
}

void thaw_phases_add(struct thaw_phases *phases, const char *name, uint64_t ns)
{
	if (phases->count == THAW_PHASES_MAX)
		return;
	struct thaw_phase *item = &phases->item[phases->count++];
	snprintf(item->name, sizeof(item->name), "%s", name);
	item->ns = ns;
}

void thaw_phases_mark(struct thaw_phases *phases, const char *name)
{
	uint64_t now = thaw_monotonic_ns();

	thaw_phases_add(phases, name, now - phases->last);
	phases->last = now;
}

uint64_t thaw_phases_get(const struct thaw_phases *phases, const char *name)
{
	for (size_t i = 0; i < phases->count; i++) {
		if (strcmp(phases->item[i].name, name) == 0)
			return phases->item[i].ns;
	}
	return 0;
}
