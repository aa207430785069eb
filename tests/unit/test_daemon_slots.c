/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots on this machine's kernel: what passes, and what does not, whatever a guest writes into its
 * tap. Nothing here waits for nothing: behind each packet that must not arrive goes one that does.
 */
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/network/nft.h"
#include "host/network/rules.h"
#include "host/network/slots.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "service_wire_harness.h"

#define PORT 7

static struct thaw_error error;
static struct wire wire;
static struct thaw_networks networks;
static struct thaw_slots *slots;
static struct thaw_slot first = THAW_SLOT_NONE, second = THAW_SLOT_NONE;
static int server = -1;

static const struct thaw_subnet *subnet(const char *name)
{
	const struct thaw_subnet *found = thaw_networks_find(&networks, name);

	assert_non_null(found);
	return found;
}

static void take(const char *name, struct thaw_slot *slot)
{
	if (thaw_slots_take(slots, subnet(name), slot, &error) < 0)
		fail_msg("%s", error.message);
}

/* The world, and a slot for each of two tenants. */
static void begin(const char *name, const struct thaw_networks_text *text)
{
	memset(&error, 0, sizeof(error));
	if (!wire_begin(&wire, *text->bridges))
		skip();
	if (thaw_networks_read(&networks, text, &error) < 0)
		fail_msg("%s", error.message);
	thaw_networks_identify(&networks, 1, 2);
	slots = thaw_slots_new(&networks, 2, &error);
	if (!slots)
		fail_msg("%s", error.message);
	server = wire_udp(wire.internet, PORT);
	take(name, &first);
	take(name, &second);
}

static void end(void)
{
	close(server);
	thaw_slots_return(slots, &first);
	thaw_slots_return(slots, &second);
	thaw_slots_free(slots);
	slots = NULL;
	wire_end(&wire);
}

static const struct thaw_networks_text egress_text = {
	.egress = true,
	.range = "100.64.0.0/24",
	.bridges = "",
	.allowed = "10.9.0.128/25",
	.nameservers = "10.9.0.2",
	.uplinks = "wan0\nlan0",
};

static const struct thaw_networks_text bridge_text = {
	.egress = true,
	.range = "100.64.0.0/24",
	.bridges = "lan br0 10.9.0.100-10.9.0.109/24 10.9.0.1",
	.allowed = "",
	.nameservers = "10.9.0.2",
	.uplinks = "wan0",
};

static void say(int tap, uint32_t to, uint16_t port, const char *text)
{
	const struct wire_frame frame = {
		.to = to, .from_port = 4000, .to_port = port, .text = text};

	wire_send(tap, &frame);
}

/* A packet to the server has arrived, and nothing else before it. */
static void arrives_alone(int tap, const char *what)
{
	static unsigned int number;
	char marker[32];

	snprintf(marker, sizeof(marker), "marker %u", ++number);
	say(tap, WIRE_INTERNET, PORT, marker);
	struct wire_seen seen = wire_sniff(wire.wan_seen, marker);
	if (!seen.text)
		fail_msg("after \"%s\" nothing arrives any more", what);
	if (seen.other || seen.prohibited)
		fail_msg("\"%s\" has arrived", what);
	assert_string_equal(wire_receive(server, 1000, NULL, NULL), marker);
}

static void reply(uint32_t to, uint16_t port, const char *text)
{
	wire_say(server, to, port, text);
}

/* The host has no IPv6 address towards slots. */
static void no_ipv6(void)
{
	char line[256];
	FILE *file = fopen("/proc/thread-self/net/if_inet6", "re");

	while (file && fgets(line, sizeof(line), file))
		assert_null(strstr(line, THAW_SLOT_PREFIX));
	if (file)
		fclose(file);
}

static void test_egress(void **state)
{
	uint32_t from;
	uint16_t port[2];

	(void)state;
	begin(THAW_SUBNET_EGRESS, &egress_text);
	/* Two guests with the same address and port, told apart outside. */
	say(first.tap, WIRE_INTERNET, PORT, "one");
	assert_string_equal(wire_receive(server, 1000, &from, &port[0]) ?: "", "one");
	assert_int_equal(from, WIRE_HOST_WAN);
	say(second.tap, WIRE_INTERNET, PORT, "two");
	assert_string_equal(wire_receive(server, 1000, &from, &port[1]) ?: "", "two");
	assert_int_equal(from, WIRE_HOST_WAN);
	assert_int_not_equal(port[0], port[1]);
	reply(from, port[1], "for two");
	reply(from, port[0], "for one");
	struct wire_seen seen = wire_read(first.tap, "for one");
	assert_true(seen.text && !seen.other);
	seen = wire_read(second.tap, "for two");
	assert_true(seen.text && !seen.other);
	no_ipv6();
	end();
}

static void test_forged(void **state)
{
	const struct wire_frame plain = {
		.to = WIRE_INTERNET, .from_port = 4000, .to_port = PORT, .text = "forged"};
	struct wire_frame f;

	(void)state;
	begin(THAW_SUBNET_EGRESS, &egress_text);
	arrives_alone(first.tap, "nothing");
	f = plain;
	f.from = 0xc6120003; /* of the gateway's network */
	wire_send(first.tap, &f);
	arrives_alone(first.tap, "an address beside the guest's");
	f.from = 0x64400001 + second.index;
	wire_send(first.tap, &f);
	arrives_alone(first.tap, "the other slot's address");
	f.from = WIRE_LAN;
	wire_send(first.tap, &f);
	arrives_alone(first.tap, "a private address");
	f = plain;
	f.mac[0] = 2, f.mac[5] = 3;
	wire_send(first.tap, &f);
	arrives_alone(first.tap, "another MAC");
	f = plain;
	memset(f.dst, 0xff, 6);
	wire_send(first.tap, &f);
	arrives_alone(first.tap, "a broadcast");
	f = plain;
	f.vlan = true;
	wire_send(first.tap, &f);
	arrives_alone(first.tap, "a VLAN");
	f = plain;
	f.options = true;
	wire_send(first.tap, &f);
	arrives_alone(first.tap, "options");
	f = plain;
	f.type = ETH_P_IPV6;
	wire_send(first.tap, &f);
	arrives_alone(first.tap, "IPv6");
	const uint8_t protocols[] = {IPPROTO_IPIP, IPPROTO_GRE, IPPROTO_ESP, IPPROTO_SCTP, 255};
	for (size_t i = 0; i < sizeof(protocols); i++) {
		f = plain;
		f.protocol = protocols[i];
		wire_send(first.tap, &f);
		arrives_alone(first.tap, "another protocol");
	}
	end();
}

static void test_refused(void **state)
{
	static const uint32_t nowhere[] = {
		0x00000001, 0x7f000001, 0xa9fea9fe, 0xe0000001,    0xffffffff,
		0xf0000001, 0x0a090002, 0xac100001, 0xc0a80001,    0x64400001,
		0x64400002, 0xc6120001, 0xc0000001, WIRE_HOST_WAN, WIRE_HOST_LAN,
	};

	(void)state;
	begin(THAW_SUBNET_EGRESS, &egress_text);
	int host = wire_udp(-1, PORT), lan = wire_udp(wire.lan, PORT);
	for (size_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
		say(first.tap, nowhere[i], PORT, "refused");
		arrives_alone(first.tap, "a refused address");
		assert_null(wire_receive(host, 0, NULL, NULL));
		assert_null(wire_receive(lan, 0, NULL, NULL));
	}
	struct wire_seen seen = wire_sniff(wire.lan_seen, NULL);
	assert_int_equal(seen.other + seen.prohibited, 0);
	/* The guest is told, so that its functions need not wait. */
	seen = wire_read(first.tap, NULL);
	assert_true(seen.prohibited >= 6);
	assert_int_equal(seen.other, 0);
	seen = wire_read(second.tap, NULL);
	assert_int_equal(seen.prohibited + seen.other, 0);
	close(host);
	close(lan);
	end();
}

static void test_exceptions(void **state)
{
	uint32_t from;
	uint16_t port;

	(void)state;
	begin(THAW_SUBNET_EGRESS, &egress_text);
	int names = wire_udp(wire.lan, 53);
	/* The nameserver is private, and reached, on its port alone; a prefix is allowed. */
	say(first.tap, WIRE_LAN, 53, "name?");
	assert_string_equal(wire_receive(names, 1000, NULL, NULL) ?: "", "name?");
	/* By the name that it has in guests, too. */
	say(first.tap, 0xc6123502, 53, "and this?");
	assert_string_equal(wire_receive(names, 1000, &from, &port) ?: "", "and this?");
	wire_say(names, from, port, "its address");
	struct wire_seen seen = wire_read(first.tap, "its address");
	assert_true(seen.text && !seen.other);
	(void)wire_sniff(wire.lan_seen, NULL);
	say(first.tap, 0xc6123502, 54, "no name");
	say(first.tap, WIRE_LAN, 54, "no name");
	arrives_alone(first.tap, "another port of the nameserver");
	seen = wire_sniff(wire.lan_seen, NULL);
	assert_int_equal(seen.other, 0);
	close(names);
	end();
}

/* Who is outside reaches no guest, by no address. */
static void test_inwards(void **state)
{
	uint16_t port;

	(void)state;
	begin(THAW_SUBNET_EGRESS, &egress_text);
	reply(WIRE_HOST_WAN, 4000, "in");
	reply(0x64400001 + first.index, 4000, "in");
	reply(WIRE_GUEST, 4000, "in");
	/* Nor does the host forward for its neighbours, though its uplink forwards. */
	reply(WIRE_LAN, PORT, "through");
	say(first.tap, WIRE_INTERNET, PORT, "question");
	assert_string_equal(wire_receive(server, 1000, NULL, &port) ?: "", "question");
	reply(WIRE_HOST_WAN, port, "answer");
	struct wire_seen seen = wire_read(first.tap, "answer");
	assert_true(seen.text);
	assert_int_equal(seen.other + seen.prohibited, 0);
	seen = wire_sniff(wire.lan_seen, NULL);
	assert_int_equal(seen.other + seen.prohibited, 0);
	end();
}

/* The end of the daemon is no way through its uplink. */
static void test_ended(void **state)
{
	char text[64];

	(void)state;
	begin(THAW_SUBNET_EGRESS, &egress_text);
	thaw_slots_return(slots, &first);
	thaw_slots_return(slots, &second);
	thaw_slots_free(slots);
	slots = NULL;
	reply(WIRE_LAN, PORT, "through");
	/* Another daemon takes its place. */
	slots = thaw_slots_new(&networks, 1, &error);
	assert_non_null(slots);
	take(THAW_SUBNET_EGRESS, &first);
	say(first.tap, WIRE_LAN, 53, "name?");
	struct wire_seen seen = wire_sniff(wire.lan_seen, "name?");
	assert_true(seen.text);
	assert_int_equal(seen.other, 0);
	snprintf(text, sizeof(text), "list chain inet thaw_%s source\n", networks.id);
	assert_int_equal(thaw_nft_run(text, &error), 0);
	end();
}

/* Two daemons of one host share the range, and nothing else. */
static void test_two_daemons(void **state)
{
	static struct thaw_networks theirs;
	struct thaw_slot slot;

	(void)state;
	begin(THAW_SUBNET_EGRESS, &egress_text);
	theirs = networks;
	thaw_networks_identify(&theirs, 1, 3);
	struct thaw_slots *other = thaw_slots_new(&theirs, 1, &error);
	assert_non_null(other);
	const struct thaw_subnet *egress = thaw_networks_find(&theirs, THAW_SUBNET_EGRESS);
	if (thaw_slots_take(other, egress, &slot, &error) < 0)
		fail_msg("%s", error.message);
	assert_int_not_equal(slot.index, first.index);
	assert_int_not_equal(slot.index, second.index);
	say(slot.tap, egress->first + first.index, 4000, "tenant");
	say(slot.tap, WIRE_HOST_WAN, PORT, "host");
	arrives_alone(slot.tap, "a refused address");
	thaw_slots_return(other, &slot);
	thaw_slots_free(other);
	arrives_alone(first.tap, "nothing");
	say(first.tap, WIRE_HOST_WAN, PORT, "host");
	struct wire_seen seen = wire_read(first.tap, NULL);
	assert_int_equal(seen.prohibited, 1);
	assert_int_equal(seen.other, 0);
	end();
}

static void test_connections(void **state)
{
	struct wire_frame f = {.to = WIRE_INTERNET, .to_port = PORT, .text = "flood"};
	unsigned int arrived = 0;

	(void)state;
	begin(THAW_SUBNET_EGRESS, &egress_text);
	for (unsigned int i = 0; i < 1200; i++) {
		f.from_port = (uint16_t)(10000 + i);
		wire_send(first.tap, &f);
		/* As they come: a socket's buffer is finite. */
		arrived += wire_receive(server, i % 16 ? 0 : 5, NULL, NULL) != NULL;
		(void)wire_read(first.tap, NULL);
	}
	while (wire_receive(server, 50, NULL, NULL))
		arrived++;
	assert_true(arrived > 900 && arrived <= 1024);
	/* That is one guest's matter. */
	say(second.tap, WIRE_INTERNET, PORT, "still here");
	assert_string_equal(wire_receive(server, 1000, NULL, NULL) ?: "", "still here");
	end();
}

/* "nft flush ruleset": what slots have of their own stays, and the host's comes back. */
static void test_flushed(void **state)
{
	bool back = false;

	(void)state;
	begin(THAW_SUBNET_EGRESS, &egress_text);
	int host = wire_udp(-1, PORT);
	assert_int_equal(thaw_nft_run("flush ruleset\n", &error), 0);
	say(first.tap, WIRE_LAN, PORT, "lan");
	say(first.tap, WIRE_HOST_LAN, PORT, "host");
	say(first.tap, 0xa9fea9fe, PORT, "metadata");
	struct wire_seen seen = wire_read(first.tap, NULL);
	assert_int_equal(seen.prohibited, 3);
	for (unsigned int i = 0; i < 50 && !back; i++) {
		usleep(100000);
		char text[64];
		snprintf(text, sizeof(text), "list table inet thaw_%s\n", networks.id);
		back = thaw_nft_run(text, NULL) == 0;
	}
	assert_true(back);
	say(first.tap, WIRE_HOST_WAN, PORT, "host");
	arrives_alone(first.tap, "nothing");
	assert_null(wire_receive(host, 0, NULL, NULL));
	close(host);
	end();
}

static void test_bridge(void **state)
{
	uint32_t from;
	uint16_t port;

	(void)state;
	begin("lan", &bridge_text);
	int lan = wire_udp(wire.lan, PORT), host = wire_udp(-1, PORT);
	say(first.tap, WIRE_LAN, PORT, "hello");
	assert_string_equal(wire_receive(lan, 1000, &from, NULL) ?: "", "hello");
	assert_int_equal(from, subnet("lan")->first + first.index);
	say(second.tap, WIRE_LAN, PORT, "hello");
	assert_string_equal(wire_receive(lan, 1000, &from, NULL) ?: "", "hello");
	assert_int_equal(from, subnet("lan")->first + second.index);
	/* Neither the host, nor the other, nor link-local. */
	say(first.tap, WIRE_HOST_LAN, PORT, "host");
	say(first.tap, WIRE_HOST_WAN, PORT, "host");
	say(first.tap, subnet("lan")->first + second.index, 4000, "tenant");
	say(first.tap, 0xa9fea9fe, PORT, "metadata");
	say(first.tap, WIRE_LAN, PORT, "last");
	assert_string_equal(wire_receive(lan, 1000, NULL, NULL) ?: "", "last");
	assert_null(wire_receive(host, 50, NULL, NULL));
	struct wire_seen seen = wire_read(second.tap, NULL);
	assert_int_equal(seen.other + seen.prohibited, 0);
	/* A neighbour that knows the guest's own address, and makes a slot its way there. */
	wire_route(wire.lan, WIRE_GUEST, subnet("lan")->first + second.index);
	wire_say(lan, WIRE_GUEST, 4000, "in");
	wire_say(lan, subnet("lan")->first + second.index, 4001, "in");
	say(second.tap, WIRE_LAN, PORT, "last");
	assert_string_equal(wire_receive(lan, 1000, &from, &port) ?: "", "last");
	wire_say(lan, from, port, "answer");
	seen = wire_read(second.tap, "answer");
	assert_true(seen.text);
	assert_int_equal(seen.other + seen.prohibited, 0);
	close(lan);
	close(host);
	end();
}

/* Whoever had the slot is gone: so is all of it. */
static void gone(const char *name)
{
	for (unsigned int i = 0; i < 500 && if_nametoindex(name); i++)
		usleep(10000);
	assert_int_equal(if_nametoindex(name), 0);
}

static void test_vanish(void **state)
{
	char name[IFNAMSIZ];

	(void)state;
	begin(THAW_SUBNET_EGRESS, &egress_text);
	thaw_slot_interface(&networks, first.network, first.index, name);
	assert_true(if_nametoindex(name));
	thaw_slots_return(slots, &first);
	gone(name);
	/* A process that has it and is killed. */
	thaw_slot_interface(&networks, second.network, second.index, name);
	pid_t child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	thaw_slots_return(slots, &second);
	usleep(50000);
	assert_true(if_nametoindex(name));
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	gone(name);
	end();
}

/* Not a measurement, but the order of one: how many a second, and what taking one costs. */
static void test_pace(void **state)
{
	struct thaw_slot taken[20];
	struct thaw_slots_counts counts;

	(void)state;
	begin(THAW_SUBNET_EGRESS, &egress_text);
	uint64_t began = thaw_monotonic_ns();
	for (size_t i = 0; i < 20; i++)
		take(THAW_SUBNET_EGRESS, &taken[i]);
	uint64_t made = thaw_monotonic_ns();
	for (unsigned int i = 0; i < 200; i++) {
		thaw_slots_count(slots, &counts);
		if (counts.waiting == 2)
			break;
		usleep(10000);
	}
	assert_int_equal(counts.waiting, 2);
	uint64_t before = thaw_monotonic_ns();
	struct thaw_slot ready;
	take(THAW_SUBNET_EGRESS, &ready);
	uint64_t after = thaw_monotonic_ns();
	print_message("20 slots in %.0f ms; one that waits in %.3f ms\n",
		      (double)(made - began) / 1e6, (double)(after - before) / 1e6);
	assert_int_equal(counts.failed, 0);
	thaw_slots_return(slots, &ready);
	for (size_t i = 0; i < 20; i++)
		thaw_slots_return(slots, &taken[i]);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_egress),      cmocka_unit_test(test_forged),
		cmocka_unit_test(test_refused),     cmocka_unit_test(test_exceptions),
		cmocka_unit_test(test_inwards),     cmocka_unit_test(test_ended),
		cmocka_unit_test(test_two_daemons), cmocka_unit_test(test_connections),
		cmocka_unit_test(test_flushed),     cmocka_unit_test(test_bridge),
		cmocka_unit_test(test_vanish),      cmocka_unit_test(test_pace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
