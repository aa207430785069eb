/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small world for slots: a namespace that stands for the host, with one interface to the
 * "internet" (203.0.113.0/24) and one to a private "lan" (10.9.0.0/24), each with one machine in a
 * namespace of its own; and frames as a guest could write them, true and forged. No guest runs: the
 * test itself holds the tap.
 */
#ifndef THAW_TEST_WIRE_HARNESS_H
#define THAW_TEST_WIRE_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/network/slot.h"

#define WIRE_HOST_WAN 0xcb007101u /* 203.0.113.1 */
#define WIRE_INTERNET 0xcb007102u /* 203.0.113.2 */
#define WIRE_HOST_LAN 0x0a090001u /* 10.9.0.1 */
#define WIRE_LAN      0x0a090002u /* 10.9.0.2 */
#define WIRE_GUEST    0xc6120002u /* 198.18.0.2 */

struct wire {
	int origin;             /* namespace that the test began in */
	int internet, lan;      /* namespaces */
	int wan_seen, lan_seen; /* packet sockets: all that arrives there */
	struct thaw_netlink host;
};

/* False: no right to make namespaces here. The calling thread is in the host's from now on. With
 * `bridge` the lan is on a bridge "br0" of the host, which has its address there. */
bool wire_begin(struct wire *wire, bool bridge);
void wire_end(struct wire *wire);

/* A UDP socket in a namespace (-1: the host's), bound to a port; 0: any. */
int wire_udp(int space, uint16_t port);

/* A UDP packet out of such a socket. */
void wire_say(int fd, uint32_t to, uint16_t port, const char *text);

/* In a namespace with an "eth0": an address behind a neighbour. */
void wire_route(int space, uint32_t to, uint32_t gateway);

/* What a frame is made of; fields beyond the first four are for forgeries. */
struct wire_frame {
	uint32_t to;
	uint16_t from_port, to_port;
	const char *text;
	uint32_t from;    /* 0: the guest's address */
	uint8_t mac[6];   /* all 0: the guest's */
	uint8_t dst[6];   /* all 0: the gateway's */
	uint16_t type;    /* 0: IPv4 */
	uint8_t protocol; /* 0: UDP */
	bool vlan, options;
};

/* Writes it into the tap. */
void wire_send(int tap, const struct wire_frame *frame);

/* The text of the next UDP packet that a socket gets within `ms`, and from where; NULL: none. */
const char *wire_receive(int fd, int ms, uint32_t *from, uint16_t *from_port);

/* Frames that have come out of the tap by now, up to a UDP packet with `text` (for which it waits a
 * second; NULL: for none): how many ICMP errors of "administratively prohibited", and whether there
 * was anything else. */
struct wire_seen {
	bool text;
	unsigned int prohibited, other;
};
struct wire_seen wire_read(int tap, const char *text);

/* Packets at a packet socket by now, up to a UDP packet with `text` (as above) that are IPv4 and
 * not it. */
struct wire_seen wire_sniff(int fd, const char *text);

#endif
