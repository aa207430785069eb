/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots in waiting (slot.h). To make one takes the kernel some milliseconds, which no invocation
 * should wait for: of each network that a function has asked for, so many are kept ahead, by a
 * thread of its own. Before the first is asked for there are none.
 *
 * A slot is for one environment, and goes with it: what the kernel remembers of its connections is
 * never another's.
 */
#ifndef THAW_HOST_NETWORK_SLOTS_H
#define THAW_HOST_NETWORK_SLOTS_H

#include "host/network/slot.h"

struct thaw_slots;

/* Sets the host's rules, and its uplinks to forward. Keeps `count` (at least 1) of
 * each network. `networks` must outlive it. -errno as *err has it. */
struct thaw_slots *thaw_slots_new(const struct thaw_networks *networks, unsigned int count,
				  struct thaw_error *err);
/* All that were taken have been returned. The host's rules go (rules.h). NULL is allowed. */
void thaw_slots_free(struct thaw_slots *slots);

/* Somebody will want one of this network before long. */
void thaw_slots_expect(struct thaw_slots *slots, const struct thaw_subnet *subnet);

/* One that waits, or one that is made now, for which it waits a while. -ETIMEDOUT, or the reason
 * why none can be made. */
int thaw_slots_take(struct thaw_slots *slots, const struct thaw_subnet *subnet,
		    struct thaw_slot *slot, struct thaw_error *err);
/* Once nobody uses it any more. THAW_SLOT_NONE is allowed. */
void thaw_slots_return(struct thaw_slots *slots, struct thaw_slot *slot);

struct thaw_slots_counts {
	uint64_t made, taken, missed, failed;
	unsigned int waiting, used;
};
void thaw_slots_count(struct thaw_slots *slots, struct thaw_slots_counts *counts);

#endif
