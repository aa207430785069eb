/* SPDX-License-Identifier: Apache-2.0 */
/* What the host says of the guest's network: what is taken, and what becomes of it. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "agent/network.h"
#include "lib/error.h"

static uint8_t gateway_mac[] = {2, 0, 0, 0, 0, 1};

static Thaw__Agent__Network good(void)
{
	Thaw__Agent__Network network = THAW__AGENT__NETWORK__INIT;

	network.address = "198.18.0.2";
	network.prefix_length = 30;
	network.gateway = "198.18.0.1";
	network.gateway_mac.data = gateway_mac;
	network.gateway_mac.len = sizeof(gateway_mac);
	network.mtu = 1500;
	return network;
}

static void what_is_right_is_taken(void **state)
{
	char *servers[] = {"198.18.0.1", "9.9.9.9", "255.255.255.255"};
	Thaw__Agent__Network from = good();
	struct thaw_network network;
	struct thaw_error err;

	(void)state;
	assert_int_equal(thaw_network_check(&from, &network, &err), 0);
	assert_int_equal(network.address.s_addr, inet_addr("198.18.0.2"));
	assert_int_equal(network.netmask.s_addr, inet_addr("255.255.255.252"));
	assert_int_equal(network.gateway.s_addr, inet_addr("198.18.0.1"));
	assert_memory_equal(network.gateway_mac, gateway_mac, sizeof(gateway_mac));
	assert_int_equal(network.mtu, 1500);
	assert_string_equal(network.resolver, "");
	from.nameservers = servers;
	from.n_nameservers = 2;
	assert_int_equal(thaw_network_check(&from, &network, &err), 0);
	assert_string_equal(network.resolver, "nameserver 198.18.0.1\nnameserver 9.9.9.9\n");
	/* Three of the longest fit. */
	servers[0] = servers[1] = servers[2] = "123.123.123.123";
	from.n_nameservers = 3;
	assert_int_equal(thaw_network_check(&from, &network, &err), 0);
	assert_int_equal(strlen(network.resolver), 3 * strlen("nameserver 123.123.123.123\n"));
	from.address = "10.255.255.254";
	from.gateway = "10.0.0.1";
	from.prefix_length = 8;
	assert_int_equal(thaw_network_check(&from, &network, &err), 0);
	assert_int_equal(network.netmask.s_addr, inet_addr("255.0.0.0"));
}

static void refuse(const Thaw__Agent__Network *from, const char *why)
{
	struct thaw_network network;
	struct thaw_error err = {0};

	assert_int_equal(thaw_network_check(from, &network, &err), -EINVAL);
	if (!strstr(err.message, why))
		fail_msg("\"%s\" is not in \"%s\"", why, err.message);
}

static void addresses_that_are_none_are_refused(void **state)
{
	static const char *const texts[] = {"",
					    "x",
					    "198.18.0",
					    "198.18.0.2 ",
					    " 198.18.0.2",
					    "198.18.0.256",
					    "0.0.0.0",
					    "0.1.2.3",
					    "127.0.0.2",
					    "224.0.0.2",
					    "255.255.255.255",
					    "198.18.0.2/30",
					    "0306.18.0.2",
					    "::1",
					    "198.18.0.2\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		Thaw__Agent__Network from = good();
		char *server = (char *)texts[i];
		from.address = (char *)texts[i];
		refuse(&from, "the address");
		from = good();
		from.gateway = (char *)texts[i];
		refuse(&from, "the gateway");
		from = good();
		from.nameservers = &server;
		from.n_nameservers = 1;
		refuse(&from, "the nameserver");
	}
}

static void two_that_do_not_meet_are_refused(void **state)
{
	static const struct {
		const char *address;
		uint32_t prefix;
		const char *gateway;
	} cases[] = {
		{"198.18.0.2", 30, "198.18.0.2"}, {"198.18.0.2", 30, "198.18.0.5"},
		{"198.18.0.2", 30, "198.18.0.3"}, {"198.18.0.2", 30, "198.18.0.0"},
		{"198.18.0.0", 30, "198.18.0.1"}, {"198.18.0.3", 30, "198.18.0.1"},
		{"10.0.0.2", 30, "198.18.0.1"},   {"198.18.0.2", 24, "198.18.1.1"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		Thaw__Agent__Network from = good();
		from.address = (char *)cases[i].address;
		from.prefix_length = cases[i].prefix;
		from.gateway = (char *)cases[i].gateway;
		refuse(&from, "are not two of a network");
	}
}

static void numbers_out_of_range_are_refused(void **state)
{
	static const uint32_t prefixes[] = {0, 1, 7, 31, 32, 33, 64, UINT32_MAX};
	static const uint32_t mtus[] = {0, 1, 575, 9001, 65536, UINT32_MAX};
	char *servers[] = {"1.1.1.1", "1.1.1.1", "1.1.1.1", "1.1.1.1"};
	uint8_t multicast[] = {1, 0, 0x5e, 0, 0, 1}, zero[6] = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		Thaw__Agent__Network from = good();
		from.prefix_length = prefixes[i];
		refuse(&from, "prefix");
	}
	for (size_t i = 0; i < sizeof(mtus) / sizeof(mtus[0]); i++) {
		Thaw__Agent__Network from = good();
		from.mtu = mtus[i];
		refuse(&from, "MTU");
	}
	Thaw__Agent__Network from = good();
	from.nameservers = servers;
	from.n_nameservers = 4;
	refuse(&from, "4 nameservers");
	for (size_t size = 0; size < 8; size++) {
		if (size == 6)
			continue;
		uint8_t bytes[8] = {2, 2, 2, 2, 2, 2, 2, 2};
		from = good();
		from.gateway_mac.data = size ? bytes : NULL;
		from.gateway_mac.len = size;
		refuse(&from, "MAC");
	}
	from = good();
	from.gateway_mac.data = multicast;
	refuse(&from, "MAC");
	from.gateway_mac.data = zero;
	refuse(&from, "MAC");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_right_is_taken),
		cmocka_unit_test(addresses_that_are_none_are_refused),
		cmocka_unit_test(two_that_do_not_meet_are_refused),
		cmocka_unit_test(numbers_out_of_range_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
