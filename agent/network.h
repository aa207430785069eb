/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's network: one device, one address, one gateway whose own address is told, so that
 * nobody need be asked for it. Set up once, before a snapshot; all its clones have the same, and
 * nothing is renewed after a restore.
 *
 * IPv6 is off on the device, and so is multicast: a guest says nothing of its own accord.
 */
#ifndef THAW_AGENT_NETWORK_H
#define THAW_AGENT_NETWORK_H

#include <netinet/in.h>
#include <stdint.h>

#include "proto/agent.pb-c.h"

struct thaw_error;

#define THAW_NAMESERVERS_MAX 3 /* as the C library has it */

struct thaw_network {
	struct in_addr address, netmask, gateway;
	uint8_t gateway_mac[6];
	unsigned int mtu;
	char resolver[THAW_NAMESERVERS_MAX * 32]; /* /etc/resolv.conf; "": as the image has it */
};

/* What the host says, checked: unicast addresses of one network, which is neither of them. -EINVAL.
 */
int thaw_network_check(const Thaw__Agent__Network *from, struct thaw_network *network,
		       struct thaw_error *err);

/* Sets up the only device there is, which is waited for, and the resolver of the tree at `root`.
 * -ENODEV: there is none. As root; once. */
int thaw_network_apply(const struct thaw_network *network, const char *root,
		       struct thaw_error *err);

#endif
