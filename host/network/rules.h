/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may pass between guests and the world, as rulesets of nftables (nft(8)). There are two, one
 * behind the other:
 *
 *	slot	in the slot's own namespace, for the whole life of it: only the guest's own address
 *		goes out, only answers come in, and only to where functions may go. Whatever is done
 *		to the host's own rules does not touch it
 *	host	in the host: slots reach neither the host nor each other, and leave it behind its
 *		address
 *
 * Everything is refused that is not told to pass. IPv4 only: no IPv6 passes.
 */
#ifndef THAW_HOST_NETWORK_RULES_H
#define THAW_HOST_NETWORK_RULES_H

#include "host/network/networks.h"

/* Of slots' interfaces in the host; all daemons' begin so, and then with their id. */
#define THAW_SLOT_PREFIX "thaw"

/* In a slot's namespace. */
#define THAW_SLOT_GUEST "guest" /* the tap */
#define THAW_SLOT_UP    "up"    /* the other way out */

/* Connections that a guest may have open, UDP's half minutes among them: what each takes of the
 * host's memory is not the guest's to fill. */
#define THAW_SLOT_CONNECTIONS 1024

/* How long, in seconds, the host remembers a connection of TCP on which nothing comes: what an
 * environment that is gone has left open must not fill its table for days. */
#define THAW_SLOT_IDLE_S 350

/* The caller frees them; NULL: no memory. */
char *thaw_rules_slot(const struct thaw_networks *networks, const struct thaw_subnet *subnet,
		      uint32_t address);
/* Takes the place of what is there of the same daemon, at once. */
char *thaw_rules_host(const struct thaw_networks *networks);
/* The end of it: nothing is left but, where there are uplinks, which forward still, what keeps
 * them from others than slots. */
char *thaw_rules_host_gone(const struct thaw_networks *networks);

#endif
