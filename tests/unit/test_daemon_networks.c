/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's networks as texts: what is taken, what is refused, which rules come of it; and
 * what VpcConfig makes of them. What the rules do is test_daemon_slots'. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/network/guest.h"
#include "host/network/networks.h"
#include "host/network/rules.h"
#include "host/network/slot.h"
#include "host/operations/operation.h"
#include "host/operations/vpc.h"
#include "lib/error.h"

static struct thaw_networks networks;
static struct thaw_error error;

static const struct thaw_networks_text none = {
	.range = "100.64.0.0/16", .bridges = "", .allowed = "", .nameservers = "", .uplinks = ""};

static int read_text(const struct thaw_networks_text *text)
{
	memset(&error, 0, sizeof(error));
	return thaw_networks_read(&networks, text, &error);
}

static void refused(const struct thaw_networks_text *text, const char *part)
{
	assert_int_equal(read_text(text), -EINVAL);
	if (!strstr(error.message, part))
		fail_msg("\"%s\" is not in \"%s\"", part, error.message);
}

static void test_prefixes(void **state)
{
	static const char *const bad[] = {
		"",
		"10",
		"10.0.0.0/33",
		"10.0.0.0/",
		"10.0.0.0/+8",
		"10.0.0.0/8x",
		"10.0.0.1/8",
		"10.0.0.0 /8",
		"::/0",
		"10.0.0.0/-1",
		"010.0.0.0/8",
		"256.0.0.0/8",
		"/8",
		"10.0.0.0//8",
		"10.0.0.0/008",
	};
	struct thaw_prefix prefix;
	char text[THAW_IPV4_TEXT];

	(void)state;
	assert_int_equal(thaw_prefix_parse("10.1.0.0/16", &prefix, &error), 0);
	assert_int_equal(prefix.address, 0x0a010000);
	assert_int_equal(prefix.length, 16);
	assert_true(thaw_prefix_has(&prefix, 0x0a01ffff));
	assert_false(thaw_prefix_has(&prefix, 0x0a020000));
	assert_int_equal(thaw_prefix_parse("0.0.0.0/0", &prefix, &error), 0);
	assert_true(thaw_prefix_has(&prefix, 0xffffffff));
	assert_int_equal(thaw_prefix_parse("192.0.2.7", &prefix, &error), 0);
	assert_int_equal(prefix.length, 32);
	assert_false(thaw_prefix_has(&prefix, 0xc0000208));
	thaw_ipv4_text(0xc0000207, text);
	assert_string_equal(text, "192.0.2.7");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (thaw_prefix_parse(bad[i], &prefix, &error) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
	}
}

static void test_egress(void **state)
{
	struct thaw_networks_text text = none;

	(void)state;
	assert_int_equal(read_text(&text), 0);
	assert_int_equal(networks.count, 0);
	assert_null(thaw_networks_find(&networks, "egress"));
	text.egress = true;
	text.allowed = "10.1.0.0/16\n192.168.7.7";
	text.nameservers = "10.1.0.1\n9.9.9.9";
	text.uplinks = "eth0";
	assert_int_equal(read_text(&text), 0);
	const struct thaw_subnet *egress = thaw_networks_find(&networks, "egress");
	assert_non_null(egress);
	assert_int_equal(egress->first, 0x64400001);
	assert_int_equal(thaw_subnet_size(egress), 65534);
	assert_int_equal(networks.allowed_count, 2);
	assert_int_equal(networks.nameservers[1], 0x09090909);
	text.range = "100.64.0.0/15";
	refused(&text, "16 to 30");
	text.range = "100.64.0.0/31";
	refused(&text, "network-range");
	text = none;
	text.allowed = "10.0.0.0/8\nten";
	refused(&text, "network-allow: \"ten\"");
	text = none;
	text.nameservers = "127.0.0.53";
	refused(&text, "cannot be reached");
	text.nameservers = "1.1.1.1\n1.1.1.2\n1.1.1.3\n1.1.1.4";
	refused(&text, "more than 3");
	text.nameservers = "fd00::1";
	refused(&text, "no IPv4 address");
	text = none;
	text.uplinks = "eth0\" drop";
	refused(&text, "network-uplink");
	text.uplinks = "an-interface-too-long";
	refused(&text, "network-uplink");
}

static void test_bridges(void **state)
{
	static const char *const bad[][2] = {
		{"lan", "is not \"NAME BRIDGE"},
		{"lan br0 10.1.0.1", "is not \"NAME BRIDGE"},
		{"lan br0 10.1.0.5-10.1.0.9/24 10.1.0.1 more", "is not \"NAME BRIDGE"},
		{"Lan br0 10.1.0.5-10.1.0.9/24", "no name for a network"},
		{"-lan br0 10.1.0.5-10.1.0.9/24", "no name for a network"},
		{"egress br0 10.1.0.5-10.1.0.9/24", "no name for a network"},
		{"lan br\"0 10.1.0.5-10.1.0.9/24", "no interface's name"},
		{"lan br0 10.1.0.9-10.1.0.5/24", "no addresses"},
		{"lan br0 10.1.0.5-10.1.1.9/24", "no addresses"},
		{"lan br0 10.0.0.0-10.255.0.0/8", "no addresses"},
		{"lan br0 10.1.0.5-10.1.0.9/0", "the length"},
		{"lan br0 10.1.0.5-10.1.0.9/31", "the length"},
		{"lan br0 10.1.0.5-10.1.0.9/24 10.2.0.1", "the gateway"},
		{"lan br0 10.1.0.5-10.1.0.9/24 10.1.0.7", "the gateway"},
		{"lan br0 10.1.0.5-10.1.0.9/24\nlan br1 10.2.0.5-10.2.0.9/24", "two networks"},
	};
	struct thaw_networks_text text = none;

	(void)state;
	text.bridges = "lan br0 10.1.0.100-10.1.0.199/24 10.1.0.1\ndmz br1 192.0.2.9-192.0.2.9/30";
	assert_int_equal(read_text(&text), 0);
	assert_int_equal(networks.count, 2);
	const struct thaw_subnet *lan = thaw_networks_find(&networks, "lan");
	assert_string_equal(lan->bridge, "br0");
	assert_int_equal(thaw_subnet_size(lan), 100);
	assert_int_equal(lan->gateway, 0x0a010001);
	assert_int_equal(thaw_networks_find(&networks, "dmz")->gateway, 0);
	assert_int_equal(thaw_subnet_size(thaw_networks_find(&networks, "dmz")), 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		text.bridges = bad[i][0];
		refused(&text, bad[i][1]);
	}
}

static void test_resolv(void **state)
{
	char path[] = "/tmp/thaw-resolv-XXXXXX";
	static const char file[] = "# nameserver 1.2.3.4\nsearch x\nnameserver 127.0.0.53\n"
				   "nameserver ::1\nnameserver 10.0.0.2\nnameserver\t9.9.9.9\n";

	(void)state;
	int fd = mkstemp(path);
	assert_int_equal(write(fd, file, sizeof(file) - 1), sizeof(file) - 1);
	assert_int_equal(read_text(&none), 0);
	assert_int_equal(thaw_networks_read_resolv(&networks, path, &error), 0);
	assert_int_equal(networks.nameserver_count, 2);
	assert_int_equal(networks.nameservers[0], 0x0a000002);
	/* Those that were configured stay. */
	assert_int_equal(thaw_networks_read_resolv(&networks, "/nowhere", &error), 0);
	assert_int_equal(ftruncate(fd, 45), 0);
	assert_int_equal(read_text(&none), 0);
	assert_int_equal(thaw_networks_read_resolv(&networks, path, &error), -EINVAL);
	assert_non_null(strstr(error.message, "nameserver = ADDRESS"));
	close(fd);
	unlink(path);
}

/* How often `part` is in a text. */
static unsigned int count(const char *text, const char *part)
{
	unsigned int n = 0;

	for (const char *at = text; (at = strstr(at, part)); at++)
		n++;
	return n;
}

static void test_rules(void **state)
{
	struct thaw_networks_text text = none;
	char name[IFNAMSIZ];

	(void)state;
	text.egress = true;
	text.bridges = "lan br0 10.1.0.100-10.1.0.199/24";
	text.nameservers = "9.9.9.9\n10.0.0.2";
	text.allowed = "10.7.0.0/16";
	text.uplinks = "eth0";
	assert_int_equal(read_text(&text), 0);
	thaw_networks_identify(&networks, 42, 4711);
	assert_int_equal(strlen(networks.id), 6);
	thaw_slot_interface(&networks, 1, 0x123, name);
	assert_int_equal(strncmp(name, "thaw", 4), 0);
	assert_int_equal(strncmp(name + 4, networks.id, 6), 0);
	assert_string_equal(name + 10, "b0123");
	char *rules = thaw_rules_slot(&networks, &networks.subnet[0], 0x64400005);
	assert_int_equal(count(rules, "policy drop"), 4);
	assert_int_equal(count(rules, "snat ip to 100.64.0.5\n"), 1);
	assert_int_equal(count(rules, "10.0.0.0/8"), 1);
	assert_int_equal(count(rules, "ip daddr 10.7.0.0/16 goto begin"), 1);
	/* Three names for two servers. */
	assert_int_equal(count(rules, "dnat ip to 9.9.9.9\n"), 2);
	assert_int_equal(count(rules, "dnat ip to 10.0.0.2\n"), 1);
	free(rules);
	/* On a bridge private networks are the operator's to filter; link-local never passes. */
	rules = thaw_rules_slot(&networks, &networks.subnet[1], 0x0a010064);
	assert_int_equal(count(rules, "10.0.0.0/8"), 0);
	assert_int_equal(count(rules, "169.254.0.0/16"), 1);
	free(rules);
	rules = thaw_rules_host(&networks);
	assert_int_equal(count(rules, "iifname \"eth0\" oifname != \"thaw*\""), 1);
	assert_int_equal(count(rules, "iifname \"br0\" ip saddr 10.1.0.100-10.1.0.199"), 1);
	assert_int_equal(count(rules, networks.id), 9);
	free(rules);
	rules = thaw_rules_host_gone(&networks);
	assert_int_equal(count(rules, "iifname \"eth0\" oifname != \"thaw*\""), 1);
	assert_int_equal(count(rules, "chain"), 1);
	free(rules);
	/* Another data directory has other names. */
	char id[THAW_NETWORK_ID_TEXT];
	strcpy(id, networks.id);
	thaw_networks_identify(&networks, 42, 4712);
	assert_string_not_equal(id, networks.id);
	/* Without egress nothing is routed for slots. */
	text.egress = false;
	assert_int_equal(read_text(&text), 0);
	rules = thaw_rules_host(&networks);
	assert_int_equal(count(rules, "@refused"), 0);
	free(rules);
}

/* --- VpcConfig ----------------------------------------------------------------------------- */

static struct thaw_config config;
static struct thaw_service service;

/* What comes of a body: "" or the refusal's message. The configuration is *stored. */
static char *merge(json_t *stored, const char *body)
{
	struct thaw_request request = {.service = &service};
	size_t size;
	char *message = NULL;

	thaw_validation_init(&request.validation);
	assert_int_equal(thaw_body_parse(body, strlen(body), &request.validation, &request.tree,
					 &request.body),
			 0);
	thaw_vpc_merge(&request, stored);
	if (request.refusal) {
		const char *text = thaw_http_response_body(request.refusal, &size);
		message = strndup(text, size);
	} else if (thaw_validation_failed(&request.validation)) {
		message = calloc(1, THAW_VALIDATION_TEXT_MAX + 64);
		thaw_validation_message(&request.validation, message,
					THAW_VALIDATION_TEXT_MAX + 64);
	}
	json_decref(request.tree);
	thaw_http_response_free(request.refusal);
	return message ?: strdup("");
}

static void merges(json_t *stored, const char *body, const char *network)
{
	char *message = merge(stored, body);

	assert_string_equal(message, "");
	assert_string_equal(thaw_vpc_network(stored) ?: "", network);
	free(message);
}

static void refuses(const char *body, const char *part)
{
	json_t *stored = json_object();
	char *message = merge(stored, body);

	if (!strstr(message, part))
		fail_msg("\"%s\" is not in \"%s\"", part, message);
	free(message);
	json_decref(stored);
}

static void test_vpc(void **state)
{
	struct thaw_networks_text text = none;
	json_t *stored = json_object(), *out = json_object();

	(void)state;
	text.egress = true;
	text.bridges = "lan br0 10.1.0.100-10.1.0.199/24";
	assert_int_equal(read_text(&text), 0);
	config.networks = networks;
	service.config = &config;
	merges(stored, "{}", "");
	merges(stored, "{\"VpcConfig\":{}}", "");
	merges(stored, "{\"VpcConfig\":{\"SubnetIds\":[],\"SecurityGroupIds\":[]}}", "");
	thaw_vpc_render(stored, out);
	assert_int_equal(json_object_size(out), 0);
	merges(stored,
	       "{\"VpcConfig\":{\"SubnetIds\":[\"subnet-lan\",\"subnet-lan\"],"
	       "\"SecurityGroupIds\":[\"sg-1\"]}}",
	       "lan");
	merges(stored, "{}", "lan"); /* as it was */
	thaw_vpc_render(stored, out);
	json_t *wanted = json_loads("{\"VpcConfig\":{\"SubnetIds\":[\"subnet-lan\",\"subnet-lan\"],"
				    "\"SecurityGroupIds\":[\"sg-1\"],\"VpcId\":\"vpc-lan\","
				    "\"Ipv6AllowedForDualStack\":false}}",
				    0, NULL);
	assert_true(json_equal(out, wanted));
	json_decref(wanted);
	merges(stored, "{\"VpcConfig\":{\"SubnetIds\":[\"subnet-egress\"]}}", "egress");
	merges(stored, "{\"VpcConfig\":{\"SubnetIds\":[]}}", "");
	json_decref(stored);
	json_decref(out);
	refuses("{\"VpcConfig\":{\"SubnetIds\":[\"subnet-0a1b\"]}}",
		"The subnet ID 'subnet-0a1b' does not exist. Subnets of this host: subnet-egress, "
		"subnet-lan.");
	refuses("{\"VpcConfig\":{\"SubnetIds\":[\"lan\"]}}", "does not exist");
	refuses("{\"VpcConfig\":{\"SubnetIds\":[\"subnet-lan\",\"subnet-egress\"]}}", "are two");
	refuses("{\"VpcConfig\":{\"SecurityGroupIds\":[\"sg-1\"]}}", "must coexist");
	refuses("{\"VpcConfig\":{\"SubnetIds\":[\"subnet-lan\"],\"SecurityGroupIds\":[\"s g\"]}}",
		"security group ID 's g'");
	refuses("{\"VpcConfig\":{\"SubnetIds\":[\"subnet-lan\"],\"SecurityGroupIds\":[\"1\",\"2\","
		"\"3\",\"4\",\"5\",\"6\"]}}",
		"securityGroupIds");
	refuses("{\"VpcConfig\":{\"SubnetIds\":[\"subnet-lan\"],\"Ipv6AllowedForDualStack\":true}}",
		"IPv4 only");
	refuses("{\"VpcConfig\":{\"SubnetIds\":\"subnet-lan\"}}", "Expected list");
	config.networks.count = 0;
	refuses("{\"VpcConfig\":{\"SubnetIds\":[\"subnet-lan\"]}}", "of this host: none.");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prefixes), cmocka_unit_test(test_egress),
		cmocka_unit_test(test_bridges),  cmocka_unit_test(test_resolv),
		cmocka_unit_test(test_rules),    cmocka_unit_test(test_vpc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
