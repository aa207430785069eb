/* SPDX-License-Identifier: Apache-2.0 */
#include "host/network/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "host/network/guest.h"
#include "host/network/nft.h"
#include "host/network/rules.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"

/* Where a routed slot sends all that it lets out: an address that is only a name for the other end
 * of its pair, never in a packet. */
#define NEXT_HOP 0xa9fe0001u /* 169.254.0.1 */

/* Under the name of its slot, the pair's end in the host has this bit more in its address. */
#define MAC_HOST_END 0x10

int thaw_slot_maker_open(struct thaw_slot_maker *maker, const struct thaw_networks *networks,
			 struct thaw_error *err)
{
	*maker = (struct thaw_slot_maker){
		.networks = networks,
		.host_namespace = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC),
		.host = THAW_NETLINK_NONE,
	};
	if (maker->host_namespace < 0)
		return thaw_error_errno(err, errno, "opening the host's network namespace");
	int rc = thaw_netlink_open(&maker->host, err);
	if (rc < 0)
		thaw_slot_maker_close(maker);
	return rc;
}

void thaw_slot_maker_close(struct thaw_slot_maker *maker)
{
	thaw_netlink_close(&maker->host);
	thaw_cleanup_close(&maker->host_namespace);
	maker->host_namespace = -1;
}

void thaw_slot_interface(const struct thaw_networks *networks, unsigned int network, uint32_t index,
			 char name[IFNAMSIZ])
{
	snprintf(name, IFNAMSIZ, THAW_SLOT_PREFIX "%.6s%c%04x", networks->id,
		 (char)('a' + network % THAW_NETWORKS_MAX), index & 0xffff);
}

/* Locally administered; the same for the same address, so that neighbours on a bridge stay right
 * when it gets a new slot. */
static void slot_mac(const struct thaw_networks *networks, unsigned int network, uint32_t index,
		     uint8_t mac[THAW_LINK_ADDRESS])
{
	unsigned long id = strtoul(networks->id, NULL, 16);
	const uint8_t bytes[THAW_LINK_ADDRESS] = {
		0x02,        (uint8_t)(id >> 16 ^ network), (uint8_t)(id >> 8),
		(uint8_t)id, (uint8_t)(index >> 8),         (uint8_t)index,
	};

	memcpy(mac, bytes, THAW_LINK_ADDRESS);
}

/* What is under way of a slot. */
struct making {
	const struct thaw_slot_maker *maker;
	const struct thaw_subnet *subnet;
	uint32_t address;
	char outside[IFNAMSIZ];
	int outside_index;
	uint8_t up_mac[THAW_LINK_ADDRESS], outside_mac[THAW_LINK_ADDRESS];
	struct thaw_netlink netlink; /* in the slot */
	int tap;
};

/* The namespace lives as long as the tap's descriptor does (a socket in the kernel, which belongs
 * to it). */
static int making_tap(struct making *making, struct thaw_error *err)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};

	strcpy(request.ifr_name, THAW_SLOT_GUEST);
	making->tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (making->tap < 0)
		return thaw_error_errno(err, errno, "opening /dev/net/tun");
	if (ioctl(making->tap, TUNSETIFF, &request) < 0)
		return thaw_error_errno(err, errno, "making a tap");
	return 0;
}

static int making_rules(const struct making *making, struct thaw_error *err)
{
	cleanup_free char *text =
		thaw_rules_slot(making->maker->networks, making->subnet, making->address);

	if (!text)
		return thaw_error_errno(err, ENOMEM, "a slot's rules");
	return thaw_nft_run(text, err);
}

static int making_guest(struct making *making, struct thaw_error *err)
{
	static const uint8_t gateway_mac[] = THAW_GUEST_GATEWAY_MAC, guest_mac[] = THAW_GUEST_MAC;
	const struct thaw_link link = {
		.mac = gateway_mac, .mtu = THAW_GUEST_MTU, .forwards = true, .no_ipv6 = true};
	uint32_t gateway, guest;

	thaw_ipv4_parse(THAW_GUEST_GATEWAY, &gateway, NULL);
	thaw_ipv4_parse(THAW_GUEST_ADDRESS, &guest, NULL);
	int index = thaw_netlink_index(&making->netlink, THAW_SLOT_GUEST, err);
	int rc = index < 0 ? index : thaw_netlink_set(&making->netlink, index, &link, err);
	if (rc == 0)
		rc = thaw_netlink_add_address(&making->netlink, index, gateway, THAW_GUEST_PREFIX,
					      err);
	if (rc == 0)
		rc = thaw_netlink_add_neighbour(&making->netlink, index, guest, guest_mac, err);
	return rc;
}

static int making_up(struct making *making, struct thaw_error *err)
{
	const struct thaw_subnet *subnet = making->subnet;
	const struct thaw_link link = {.mtu = THAW_GUEST_MTU, .forwards = true, .no_ipv6 = true};
	bool routed = !*subnet->bridge;
	uint32_t gateway = routed ? NEXT_HOP : subnet->gateway;

	int index = thaw_netlink_index(&making->netlink, THAW_SLOT_UP, err);
	int rc = index < 0 ? index : thaw_netlink_set(&making->netlink, index, &link, err);
	if (rc == 0)
		rc = thaw_netlink_add_address(&making->netlink, index, making->address,
					      routed ? 32 : subnet->length, err);
	if (rc == 0 && routed)
		rc = thaw_netlink_add_neighbour(&making->netlink, index, NEXT_HOP,
						making->outside_mac, err);
	if (rc == 0 && gateway)
		rc = thaw_netlink_add_route(&making->netlink, index, 0, 0, gateway, err);
	return rc;
}

/* The end in the host's namespace, by a socket of there: before the other one, */
static int making_outside(struct making *making, struct thaw_netlink *host, struct thaw_error *err)
{
	const struct thaw_subnet *subnet = making->subnet;
	struct thaw_link link = {.mtu = THAW_GUEST_MTU, .no_ipv6 = true};

	if (*subnet->bridge) {
		link.bridge = thaw_netlink_index(host, subnet->bridge, err);
		if (link.bridge < 0)
			return thaw_error_wrap(err, "the bridge");
	} else {
		link.forwards = true;
	}
	making->outside_index = thaw_netlink_index(host, making->outside, err);
	return making->outside_index < 0
		       ? making->outside_index
		       : thaw_netlink_set(host, making->outside_index, &link, err);
}

/* and what wants both. */
static int making_joined(struct making *making, struct thaw_netlink *host, struct thaw_error *err)
{
	int index = making->outside_index;
	int rc = thaw_netlink_wait(host, index, err);

	if (rc < 0 || *making->subnet->bridge)
		return rc;
	rc = thaw_netlink_add_neighbour(host, index, making->address, making->up_mac, err);
	if (rc == 0)
		rc = thaw_netlink_add_route(host, index, making->address, 32, 0, err);
	return rc;
}

/* Nothing is up before its rules are there. */
static int making_all(struct making *making, struct thaw_slot_maker *maker, struct thaw_error *err)
{
	int rc = thaw_netlink_open(&making->netlink, err);

	if (rc == 0)
		rc = thaw_netlink_add_veth(&making->netlink, THAW_SLOT_UP, making->up_mac,
					   making->outside, making->outside_mac,
					   maker->host_namespace, err);
	if (rc == 0)
		rc = making_tap(making, err);
	if (rc == 0)
		rc = making_rules(making, err);
	if (rc == 0)
		rc = making_guest(making, err);
	if (rc == 0)
		rc = making_outside(making, &maker->host, err);
	if (rc == 0)
		rc = making_up(making, err);
	if (rc == 0)
		rc = making_joined(making, &maker->host, err);
	return rc;
}

int thaw_slot_make(struct thaw_slot_maker *maker, unsigned int network, uint32_t index,
		   struct thaw_slot *slot, struct thaw_error *err)
{
	const struct thaw_subnet *subnet = &maker->networks->subnet[network];
	struct making making = {
		.maker = maker,
		.subnet = subnet,
		.address = subnet->first + index,
		.netlink = THAW_NETLINK_NONE,
		.tap = -1,
	};

	thaw_slot_interface(maker->networks, network, index, making.outside);
	slot_mac(maker->networks, network, index, making.up_mac);
	memcpy(making.outside_mac, making.up_mac, THAW_LINK_ADDRESS);
	making.outside_mac[0] |= MAC_HOST_END;
	if (unshare(CLONE_NEWNET) < 0)
		return thaw_error_errno(err, errno, "a network namespace");
	int rc = making_all(&making, maker, err);
	thaw_netlink_close(&making.netlink);
	if (setns(maker->host_namespace, CLONE_NEWNET) < 0) {
		thaw_log(THAW_LOG_ERROR, "the way back from a network namespace: %s",
			 strerror(errno));
		abort();
	}
	if (rc < 0) {
		thaw_cleanup_close(&making.tap);
		return thaw_error_wrap(err, "network \"%s\"", subnet->name);
	}
	*slot = (struct thaw_slot){.tap = making.tap, .network = (uint8_t)network, .index = index};
	return 0;
}

void thaw_slot_close(struct thaw_slot *slot)
{
	thaw_cleanup_close(&slot->tap);
	slot->tap = -1;
}
