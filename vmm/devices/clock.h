/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's wall clock at eight I/O ports from THAW_CLOCK_PORT: CLOCK_REALTIME in nanoseconds,
 * little-endian. A read of the first port takes the time, the others give the rest of it. A guest
 * that was restored sets its clock from here, where no delay of delivery makes it late.
 */
#ifndef THAW_VMM_DEVICES_CLOCK_H
#define THAW_VMM_DEVICES_CLOCK_H

#include <stdint.h>

#include "vmm/bus.h"

#define THAW_CLOCK_PORT 0x518u
#define THAW_CLOCK_SIZE 8u

/* Lives with its owner. Nothing of it is worth saving. */
struct thaw_clock {
	uint64_t taken;
};

/* For thaw_bus_add with a struct thaw_clock. */
extern const struct thaw_bus_ops thaw_clock_bus_ops;

#endif
