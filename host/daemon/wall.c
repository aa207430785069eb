/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/wall.h"

int64_t thaw_wall_look(struct thaw_wall *wall, int64_t real_ms, int64_t monotonic_ms)
{
	int64_t jump = real_ms - wall->real_ms - (monotonic_ms - wall->monotonic_ms);
	int first = wall->monotonic_ms == 0;

	*wall = (struct thaw_wall){real_ms, monotonic_ms};
	return first || (jump > -THAW_WALL_SLACK_MS && jump < THAW_WALL_SLACK_MS) ? 0 : jump;
}
