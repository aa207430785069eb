/* SPDX-License-Identifier: Apache-2.0 */
/* Time in nanoseconds. Durations are always taken from the monotonic clock. */
#ifndef THAW_LIB_CLOCK_H
#define THAW_LIB_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t thaw_clock_ns(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t thaw_monotonic_ns(void)
{
	return thaw_clock_ns(CLOCK_MONOTONIC);
}

static inline uint64_t thaw_realtime_ns(void)
{
	return thaw_clock_ns(CLOCK_REALTIME);
}

#endif
