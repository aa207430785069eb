/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wall clock, watched: it may be set while we run, by hours and years, forth and back. What is
 * kept by it over a restart has to be found out about and put right (queue.h), and nothing is
 * thrown away for a time that may be a mistake (housekeeping.h).
 */
#ifndef THAW_HOST_DAEMON_WALL_H
#define THAW_HOST_DAEMON_WALL_H

#include <stdint.h>

#define THAW_WALL_SLACK_MS 2000 /* less is slewing, or nothing that anybody minds */

struct thaw_wall {
	int64_t real_ms, monotonic_ms; /* at the last look; 0: there was none */
};

/* How far the clock has been set since the last look, in milliseconds; 0: it has not. */
int64_t thaw_wall_look(struct thaw_wall *wall, int64_t real_ms, int64_t monotonic_ms);

#endif
