/* SPDX-License-Identifier: Apache-2.0 */
#include "service_wire_harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/network/guest.h"
#include "lib/error.h"
#include "lib/fd.h"

#define IP_HEADER  20
#define UDP_HEADER 8
#define PATIENCE   1000

static struct thaw_error error;

#define ok(call)                                                                                   \
	do {                                                                                       \
		int rc_ = (call);                                                                  \
		if (rc_ < 0)                                                                       \
			fail_msg("%s: %d: %s", #call, rc_, error.message);                         \
	} while (0)

static int own_namespace(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void enter(int space)
{
	assert_int_equal(setns(space, CLONE_NEWNET), 0);
}

/* A socket that sees all that an interface of this namespace gets. */
static int sniffer(const char *interface)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(interface),
	};

	assert_true(fd >= 0 && address.sll_ifindex);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* A machine at the other end of a pair, whose way to all else is the host. */
static int machine(struct wire *wire, const char *interface, uint32_t host, uint32_t address,
		   unsigned char number, int *seen)
{
	const uint8_t mac[] = {2, 9, 0, 0, number, 1}, host_mac[] = {2, 9, 0, 0, number, 2};
	struct thaw_netlink netlink = THAW_NETLINK_NONE;
	struct thaw_link up = {.no_ipv6 = true};
	int origin = own_namespace();

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	int space = own_namespace();
	ok(thaw_netlink_open(&netlink, &error));
	ok(thaw_netlink_add_veth(&netlink, "eth0", mac, interface, host_mac, origin, &error));
	int index = thaw_netlink_index(&netlink, "eth0", &error);
	ok(index);
	int far = index;
	ok(thaw_netlink_set(&netlink, index, &up, &error));
	ok(thaw_netlink_add_address(&netlink, index, address, 24, &error));
	ok(thaw_netlink_add_route(&netlink, index, 0, 0, host, &error));
	*seen = sniffer("eth0");
	enter(origin);
	close(origin);
	index = thaw_netlink_index(&wire->host, interface, &error);
	ok(index);
	ok(thaw_netlink_set(&wire->host, index, &up, &error));
	ok(thaw_netlink_wait(&netlink, far, &error));
	thaw_netlink_close(&netlink);
	return space;
}

static void host_address(struct wire *wire, const char *interface, uint32_t address)
{
	int index = thaw_netlink_index(&wire->host, interface, &error);

	ok(index);
	ok(thaw_netlink_add_address(&wire->host, index, address, 24, &error));
}

bool wire_begin(struct wire *wire, bool bridge)
{
	*wire = (struct wire){.origin = own_namespace(), .internet = -1, .lan = -1};
	if (unshare(CLONE_NEWNET) < 0) {
		close(wire->origin);
		return false;
	}
	ok(thaw_netlink_open(&wire->host, &error));
	wire->internet = machine(wire, "wan0", WIRE_HOST_WAN, WIRE_INTERNET, 1, &wire->wan_seen);
	wire->lan = machine(wire, "lan0", WIRE_HOST_LAN, WIRE_LAN, 2, &wire->lan_seen);
	host_address(wire, "wan0", WIRE_HOST_WAN);
	if (!bridge) {
		host_address(wire, "lan0", WIRE_HOST_LAN);
		return true;
	}
	assert_int_equal(system("ip link add br0 type bridge && ip link set lan0 master br0 && "
				"ip link set br0 up"),
			 0);
	host_address(wire, "br0", WIRE_HOST_LAN);
	ok(thaw_netlink_wait(&wire->host, thaw_netlink_index(&wire->host, "br0", NULL), &error));
	return true;
}

void wire_end(struct wire *wire)
{
	thaw_netlink_close(&wire->host);
	enter(wire->origin);
	close(wire->wan_seen);
	close(wire->lan_seen);
	close(wire->internet);
	close(wire->lan);
	close(wire->origin);
}

int wire_udp(int space, uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int origin = own_namespace();

	if (space >= 0)
		enter(space);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	enter(origin);
	close(origin);
	return fd;
}

void wire_say(int fd, uint32_t to, uint16_t port, const char *text)
{
	const struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(to)};

	assert_int_equal(sendto(fd, text, strlen(text), 0, (const struct sockaddr *)&address,
				sizeof(address)),
			 strlen(text));
}

void wire_route(int space, uint32_t to, uint32_t gateway)
{
	struct thaw_netlink netlink;
	int origin = own_namespace();

	enter(space);
	ok(thaw_netlink_open(&netlink, &error));
	int index = thaw_netlink_index(&netlink, "eth0", &error);
	ok(index);
	ok(thaw_netlink_add_route(&netlink, index, to, 32, gateway, &error));
	thaw_netlink_close(&netlink);
	enter(origin);
	close(origin);
}

/* --- frames -------------------------------------------------------------------------------- */

static uint8_t *put16(uint8_t *at, uint16_t value)
{
	*at++ = (uint8_t)(value >> 8);
	*at++ = (uint8_t)value;
	return at;
}

static uint8_t *put32(uint8_t *at, uint32_t value)
{
	return put16(put16(at, (uint16_t)(value >> 16)), (uint16_t)value);
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

/* RFC 1071 */
static uint16_t checksum(const uint8_t *data, size_t size)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < size; i += 2)
		sum += get16(data + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static uint8_t *put_mac(uint8_t *at, const uint8_t given[6], const uint8_t usual[6])
{
	static const uint8_t none[6];

	memcpy(at, memcmp(given, none, 6) == 0 ? usual : given, 6);
	return at + 6;
}

void wire_send(int tap, const struct wire_frame *frame)
{
	static const uint8_t guest[] = THAW_GUEST_MAC, gateway[] = THAW_GUEST_GATEWAY_MAC;
	uint8_t data[1600], *at = data;
	size_t text = strlen(frame->text), header = IP_HEADER + (frame->options ? 4 : 0);

	at = put_mac(at, frame->dst, gateway);
	at = put_mac(at, frame->mac, guest);
	if (frame->vlan)
		at = put32(at, 0x81000005);
	at = put16(at, frame->type ? frame->type : ETH_P_IP);
	uint8_t *ip = at;
	*at++ = (uint8_t)(0x40 | header / 4);
	*at++ = 0;
	at = put16(at, (uint16_t)(header + UDP_HEADER + text));
	at = put32(at, 0x4000); /* not a fragment, but may not be made one */
	*at++ = 64;
	*at++ = frame->protocol ? frame->protocol : IPPROTO_UDP;
	at = put16(at, 0);
	at = put32(at, frame->from ? frame->from : WIRE_GUEST);
	at = put32(at, frame->to);
	if (frame->options)
		at = put32(at, 0x01010100); /* three times nothing, and the end */
	put16(ip + 10, checksum(ip, header));
	at = put16(at, frame->from_port);
	at = put16(at, frame->to_port);
	at = put16(at, (uint16_t)(UDP_HEADER + text));
	at = put16(at, 0); /* none, as RFC 768 allows */
	memcpy(at, frame->text, text);
	at += text;
	/* A tap does not take what is shorter than a frame's head: nothing is that short here. */
	assert_int_equal(write(tap, data, (size_t)(at - data)), at - data);
}

const char *wire_receive(int fd, int ms, uint32_t *from, uint16_t *from_port)
{
	static char text[2048];
	struct sockaddr_in address;
	socklen_t size = sizeof(address);
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	if (poll(&ready, 1, ms) != 1)
		return NULL;
	ssize_t n = recvfrom(fd, text, sizeof(text) - 1, 0, (struct sockaddr *)&address, &size);
	if (n < 0)
		return NULL;
	text[n] = 0;
	if (from)
		*from = ntohl(address.sin_addr.s_addr);
	if (from_port)
		*from_port = ntohs(address.sin_port);
	return text;
}

/* One frame: what of it counts. True: it is the text that was waited for. */
static bool look_at(const uint8_t *data, size_t size, const char *text, struct wire_seen *seen)
{
	if (size < 14 || get16(data + 12) == ETH_P_ARP)
		return false;
	if (size < 14 + IP_HEADER + UDP_HEADER || get16(data + 12) != ETH_P_IP) {
		seen->other++;
		return false;
	}
	const uint8_t *ip = data + 14, *next = ip + (ip[0] & 15) * 4;
	if (ip[9] == IPPROTO_ICMP && next[0] == 3 && next[1] == 13) {
		seen->prohibited++;
		return false;
	}
	size_t length = text ? strlen(text) : 0;
	if (text && ip[9] == IPPROTO_UDP && size >= (size_t)(next - data) + UDP_HEADER + length &&
	    memcmp(next + UDP_HEADER, text, length) == 0)
		return seen->text = true;
	seen->other++;
	return false;
}

struct wire_seen wire_read(int tap, const char *text)
{
	struct pollfd ready = {.fd = tap, .events = POLLIN};
	struct wire_seen seen = {0};
	uint8_t data[2048];

	while (poll(&ready, 1, text ? PATIENCE : 0) == 1) {
		ssize_t n = read(tap, data, sizeof(data));
		if (n <= 0 || look_at(data, (size_t)n, text, &seen))
			break;
	}
	return seen;
}

struct wire_seen wire_sniff(int fd, const char *text)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	struct wire_seen seen = {0};
	struct sockaddr_ll address;
	uint8_t data[2048];

	while (poll(&ready, 1, text ? PATIENCE : 0) == 1) {
		socklen_t size = sizeof(address);
		ssize_t n = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&address, &size);
		if (n <= 0)
			break;
		if (address.sll_pkttype != PACKET_OUTGOING && look_at(data, (size_t)n, text, &seen))
			break;
	}
	return seen;
}
