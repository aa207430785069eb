/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slot: what one microVM's network device is plugged into. It is a network namespace with
 *
 *	guest	a tap; its other side is thaw-vmm, and the guest
 *	up	one end of a veth pair, with the slot's own address
 *
 * and rules (rules.h) that let pass from the one to the other what may; the guest's address, which
 * all guests share, becomes the slot's. The pair's other end is in the host's namespace, to be
 * routed (egress), or in the operator's bridge.
 *
 * The namespace has no name, and no process in it: the descriptor of the tap alone keeps it, so all
 * of it goes when the last who has that is gone, however it went.
 */
#ifndef THAW_HOST_NETWORK_SLOT_H
#define THAW_HOST_NETWORK_SLOT_H

#include "host/network/netlink.h"
#include "host/network/networks.h"

struct thaw_slot {
	int tap; /* owned; non-blocking */
	uint8_t network;
	uint32_t index; /* within the network: first + index is its address */
};

#define THAW_SLOT_NONE                                                                             \
	{                                                                                          \
		.tap = -1                                                                          \
	}

/* Who makes slots, and for whom. Of one thread, whose namespace is the host's. */
struct thaw_slot_maker {
	const struct thaw_networks *networks;
	int host_namespace;
	struct thaw_netlink host;
};

int thaw_slot_maker_open(struct thaw_slot_maker *maker, const struct thaw_networks *networks,
			 struct thaw_error *err);
void thaw_slot_maker_close(struct thaw_slot_maker *maker);

/* The name of its interface in the host. */
void thaw_slot_interface(const struct thaw_networks *networks, unsigned int network, uint32_t index,
			 char name[IFNAMSIZ]);

/* Makes one. The calling thread is in the host's namespace again afterwards; if it cannot get back
 * there the process ends. -EEXIST: this index is in use, or not gone yet. */
int thaw_slot_make(struct thaw_slot_maker *maker, unsigned int network, uint32_t index,
		   struct thaw_slot *slot, struct thaw_error *err);
void thaw_slot_close(struct thaw_slot *slot);

#endif
