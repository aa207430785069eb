/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interfaces, addresses, routes and neighbours of IPv4 over rtnetlink (rtnetlink(7)). A socket
 * belongs to the network namespace of the thread that opens it, and stays there: one thread may
 * have sockets of several. Each call waits for the kernel's answer; errors are its errno, with what
 * it says of it.
 */
#ifndef THAW_HOST_NETWORK_NETLINK_H
#define THAW_HOST_NETWORK_NETLINK_H

#include <stdbool.h>
#include <stdint.h>

struct thaw_error;

#define THAW_LINK_ADDRESS 6

struct thaw_netlink {
	int fd;
	uint32_t sequence;
};

#define THAW_NETLINK_NONE                                                                          \
	{                                                                                          \
		.fd = -1                                                                           \
	}

int thaw_netlink_open(struct thaw_netlink *netlink, struct thaw_error *err);
void thaw_netlink_close(struct thaw_netlink *netlink);

/* The index of an interface in the socket's namespace. -ENODEV. */
int thaw_netlink_index(const struct thaw_netlink *netlink, const char *name,
		       struct thaw_error *err);

/* A pair: `name` here, `peer` in another namespace. -EEXIST: one of the names is taken. */
int thaw_netlink_add_veth(struct thaw_netlink *netlink, const char *name,
			  const uint8_t mac[THAW_LINK_ADDRESS], const char *peer,
			  const uint8_t peer_mac[THAW_LINK_ADDRESS], int peer_namespace,
			  struct thaw_error *err);

struct thaw_link {
	const uint8_t *mac; /* NULL: as it is */
	uint32_t mtu;       /* 0: as it is */
	bool forwards;      /* IPv4 that comes in here; ARP is for its own addresses alone */
	bool no_ipv6;       /* no IPv6 address by itself */
	int bridge; /* an index: it becomes a port that reaches no other such port; 0: none */
};

/* Sets all of it, and then brings the interface up. */
int thaw_netlink_set(struct thaw_netlink *netlink, int index, const struct thaw_link *link,
		     struct thaw_error *err);

/* Waits until an interface that is up sends what it is given: the first end of a pair does only
 * once the kernel has noticed, in a while of its own, that the other is up too. -ETIMEDOUT. */
int thaw_netlink_wait(struct thaw_netlink *netlink, int index, struct thaw_error *err);

/* Lets IPv4 packets that come in at an interface go on to others. */
int thaw_netlink_forward(struct thaw_netlink *netlink, int index, struct thaw_error *err);

/* Addresses are in host byte order. */
int thaw_netlink_add_address(struct thaw_netlink *netlink, int index, uint32_t address,
			     uint8_t length, struct thaw_error *err);
/* -EEXIST: there is one. `gateway` 0: what is meant is on the link. */
int thaw_netlink_add_route(struct thaw_netlink *netlink, int index, uint32_t destination,
			   uint8_t length, uint32_t gateway, struct thaw_error *err);
/* For ever: nobody is asked. */
int thaw_netlink_add_neighbour(struct thaw_netlink *netlink, int index, uint32_t address,
			       const uint8_t mac[THAW_LINK_ADDRESS], struct thaw_error *err);

#endif
