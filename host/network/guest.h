/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every guest with a network device sees of the network: the same for all, since all clones of
 * a snapshot have the address of the machine that was saved. The host tells them apart by where
 * their frames come from, each tap lying in a network namespace of its own.
 *
 * The addresses are of 198.18.0.0/15, which RFC 2544 keeps for such closed networks.
 */
#ifndef THAW_HOST_NETWORK_GUEST_H
#define THAW_HOST_NETWORK_GUEST_H

#define THAW_GUEST_ADDRESS "198.18.0.2"
#define THAW_GUEST_PREFIX  30
#define THAW_GUEST_GATEWAY "198.18.0.1"
#define THAW_GUEST_MTU     1500
/* What it asks for names. The slot sends it on to the host's nameservers, whichever these are now:
 * a snapshot need not be made again when they change. */
#define THAW_GUEST_NAMESERVERS                                                                     \
	{                                                                                          \
		"198.18.53.1", "198.18.53.2", "198.18.53.3"                                        \
	}

/* Locally administered; arrays' initialisers. */
#define THAW_GUEST_MAC                                                                             \
	{                                                                                          \
		0x02, 0x00, 0x00, 0x00, 0x00, 0x02                                                 \
	}
#define THAW_GUEST_GATEWAY_MAC                                                                     \
	{                                                                                          \
		0x02, 0x00, 0x00, 0x00, 0x00, 0x01                                                 \
	}
#define THAW_GUEST_MAC_SIZE 6

#endif
