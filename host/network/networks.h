/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The networks that functions may have, as the operator has written them (docs/operations.md,
 * "Networks"):
 *
 *	egress		out through the host, behind its address, to public addresses
 *	NAME		a bridge of the operator's, with addresses on it that are ours
 *
 * Functions name one as a subnet, "subnet-egress" or "subnet-NAME" (host/operations).
 */
#ifndef THAW_HOST_NETWORK_NETWORKS_H
#define THAW_HOST_NETWORK_NETWORKS_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/network/prefix.h"

struct thaw_error;

#define THAW_SUBNET_NAME_MAX      32 /* of [a-z0-9-], the first a letter or a digit */
#define THAW_SUBNET_EGRESS        "egress"
#define THAW_NETWORKS_MAX         16
#define THAW_NETWORK_ALLOWED_MAX  64
#define THAW_NETWORKS_NAMESERVERS 3 /* resolv.conf(5) */
#define THAW_UPLINKS_MAX          8
#define THAW_NETWORK_ID_TEXT      7 /* six hexadecimal digits and a 0 */

struct thaw_subnet {
	char name[THAW_SUBNET_NAME_MAX + 1];
	char bridge[IFNAMSIZ]; /* "": egress */
	uint32_t first, last;  /* addresses of slots: each is one's, at a time */
	uint8_t length;        /* bridge: of the prefix that they are in */
	uint32_t gateway;      /* bridge; 0: none, only the bridge's own network is reached */
};

struct thaw_networks {
	/* Tells several daemons' interfaces and tables apart. */
	char id[THAW_NETWORK_ID_TEXT];
	struct thaw_subnet subnet[THAW_NETWORKS_MAX];
	size_t count;
	/* Private prefixes that egress may reach all the same. */
	struct thaw_prefix allowed[THAW_NETWORK_ALLOWED_MAX];
	size_t allowed_count;
	uint32_t nameservers[THAW_NETWORKS_NAMESERVERS];
	size_t nameserver_count;
	/* Interfaces that we let forward; none: whether the host does is the operator's matter. */
	char uplinks[THAW_UPLINKS_MAX][IFNAMSIZ];
	size_t uplink_count;
};

/* As in the configuration; lists are lines, "" is none. */
struct thaw_networks_text {
	bool egress;
	const char *range;   /* of egress' slots: a prefix of 16 to 30 bits */
	const char *bridges; /* lines: see thaw_networks_add_bridge */
	const char *allowed; /* lines: a prefix each */
	const char *nameservers;
	const char *uplinks;
};

/* -EINVAL with the line that is wrong. `id` stays "". */
int thaw_networks_read(struct thaw_networks *networks, const struct thaw_networks_text *text,
		       struct thaw_error *err);

/* Where none were given: what a file as /etc/resolv.conf has that is neither IPv6 nor loopback. */
int thaw_networks_read_resolv(struct thaw_networks *networks, const char *path,
			      struct thaw_error *err);

/* Of whoever has this number, as the device and inode of a data directory. */
void thaw_networks_identify(struct thaw_networks *networks, uint64_t device, uint64_t inode);

/* NULL: there is none of this name. */
const struct thaw_subnet *thaw_networks_find(const struct thaw_networks *networks,
					     const char *name);

/* How many slots it has addresses for. */
uint32_t thaw_subnet_size(const struct thaw_subnet *subnet);

/* THAW_SUBNET_NAME_MAX says what is one. */
bool thaw_subnet_name_valid(const char *name);

#endif
