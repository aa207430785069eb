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
