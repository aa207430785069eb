/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mark port: a byte that the guest writes there tells the host how far it has come. No more
 * than that: it cannot be read, and a guest that lies about it fools only itself.
 */
#ifndef THAW_VMM_DEVICES_MARK_H
#define THAW_VMM_DEVICES_MARK_H

#include <stdint.h>

#include "vmm/bus.h"

#define THAW_MARK_PORT 0x510u

#define THAW_MARK_AGENT  0x01u /* the agent has entered main */
#define THAW_MARK_LISTEN 0x02u /* it listens for its host */

/* Lives with its owner, who sets both fields. */
struct thaw_mark {
	void (*handle)(void *opaque, uint8_t value); /* on the vCPU thread, device lock held */
	void *opaque;
};

/* For thaw_bus_add with a struct thaw_mark, at THAW_MARK_PORT, of size 1. */
extern const struct thaw_bus_ops thaw_mark_bus_ops;

#endif
