/* SPDX-License-Identifier: Apache-2.0 */
#include "host/network/networks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/error.h"

#define LINE_MAX_BYTES 256
#define RANGE_SHORTEST 16 /* bits: so many slots have numbers */
#define RANGE_LONGEST  30
#define BRIDGE_LONGEST 30
#define BRIDGE_MAX     65536

bool thaw_subnet_name_valid(const char *name)
{
	size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return size && !name[size] && size <= THAW_SUBNET_NAME_MAX && name[0] != '-';
}

/* As the kernel wants interfaces' names, and without what means something to nftables. */
static bool interface_valid(const char *name)
{
	size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789.-_");

	return size && !name[size] && size < IFNAMSIZ && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0;
}

/* The next line of a list into `line`: false at the end. */
static bool line_next(const char **list, char line[LINE_MAX_BYTES])
{
	if (!*list || !**list)
		return false;
	size_t size = strcspn(*list, "\n");
	snprintf(line, LINE_MAX_BYTES, "%.*s", (int)size, *list);
	*list += size + ((*list)[size] == '\n');
	return true;
}

static int networks_add(struct thaw_networks *networks, const struct thaw_subnet *subnet,
			struct thaw_error *err)
{
	if (thaw_networks_find(networks, subnet->name))
		return thaw_error_set(err, EINVAL, "there are two networks \"%s\"", subnet->name);
	if (networks->count == THAW_NETWORKS_MAX)
		return thaw_error_set(err, EINVAL, "more than %d networks", THAW_NETWORKS_MAX);
	networks->subnet[networks->count++] = *subnet;
	return 0;
}

static int add_egress(struct thaw_networks *networks, const char *range, struct thaw_error *err)
{
	struct thaw_subnet subnet = {.name = THAW_SUBNET_EGRESS};
	struct thaw_prefix prefix;

	int rc = thaw_prefix_parse(range, &prefix, err);
	if (rc == 0 && (prefix.length < RANGE_SHORTEST || prefix.length > RANGE_LONGEST))
		rc = thaw_error_set(err, EINVAL, "\"%s\" is not of %d to %d bits", range,
				    RANGE_SHORTEST, RANGE_LONGEST);
	if (rc < 0)
		return thaw_error_wrap(err, "network-range");
	/* Not the first and the last, which some would take for the network and for everybody. */
	subnet.first = prefix.address + 1;
	subnet.last = prefix.address + (1u << (32 - prefix.length)) - 2;
	return networks_add(networks, &subnet, err);
}

/* Its addresses are of one network, in which the gateway is too, and is none of them. */
static int check_addresses(const struct thaw_subnet *subnet, const char *line,
			   struct thaw_error *err)
{
	struct thaw_prefix prefix = {.length = subnet->length};

	if (subnet->length < 1 || subnet->length > BRIDGE_LONGEST)
		return thaw_error_set(err, EINVAL, "\"%s\": the length is not from 1 to %d", line,
				      BRIDGE_LONGEST);
	prefix.address = subnet->first & UINT32_MAX << (32 - subnet->length);
	if (subnet->last < subnet->first || subnet->last - subnet->first >= BRIDGE_MAX ||
	    !thaw_prefix_has(&prefix, subnet->last))
		return thaw_error_set(err, EINVAL,
				      "\"%s\": these are no addresses, at most %d, of one /%u",
				      line, BRIDGE_MAX, subnet->length);
	bool own = subnet->gateway >= subnet->first && subnet->gateway <= subnet->last;
	if (subnet->gateway && (own || !thaw_prefix_has(&prefix, subnet->gateway)))
		return thaw_error_set(err, EINVAL,
				      "\"%s\": the gateway is not in the network, or is a slot's",
				      line);
	return 0;
}

/* "NAME BRIDGE FIRST-LAST/LENGTH [GATEWAY]" */
static int add_bridge(struct thaw_networks *networks, const char *line, struct thaw_error *err)
{
	char name[64], bridge[64], first[32], last[32], gateway[32] = "0.0.0.0", more[2];
	struct thaw_subnet subnet = {0};
	unsigned int length;

	int n = sscanf(line, "%63s %63s %31[0-9.]-%31[0-9.]/%2u %31s %1s", name, bridge, first,
		       last, &length, gateway, more);
	if (n != 5 && n != 6)
		return thaw_error_set(err, EINVAL,
				      "\"%s\" is not \"NAME BRIDGE FIRST-LAST/LENGTH GATEWAY\", as "
				      "\"lan br0 10.1.0.100-10.1.0.199/24 10.1.0.1\" (the gateway "
				      "may be left out)",
				      line);
	if (!thaw_subnet_name_valid(name) || strcmp(name, THAW_SUBNET_EGRESS) == 0)
		return thaw_error_set(err, EINVAL,
				      "\"%s\" is no name for a network: letters a to z, digits, "
				      "\"-\", at most %d, and not \"" THAW_SUBNET_EGRESS "\"",
				      name, THAW_SUBNET_NAME_MAX);
	if (!interface_valid(bridge))
		return thaw_error_set(err, EINVAL, "\"%s\" is no interface's name", bridge);
	strcpy(subnet.name, name);
	strcpy(subnet.bridge, bridge);
	subnet.length = (uint8_t)length;
	int rc = thaw_ipv4_parse(first, &subnet.first, err);
	if (rc == 0)
		rc = thaw_ipv4_parse(last, &subnet.last, err);
	if (rc == 0)
		rc = thaw_ipv4_parse(gateway, &subnet.gateway, err);
	if (rc == 0)
		rc = check_addresses(&subnet, line, err);
	return rc < 0 ? rc : networks_add(networks, &subnet, err);
}

static int add_allowed(struct thaw_networks *networks, const char *line, struct thaw_error *err)
{
	if (networks->allowed_count == THAW_NETWORK_ALLOWED_MAX)
		return thaw_error_set(err, EINVAL, "more than %d prefixes",
				      THAW_NETWORK_ALLOWED_MAX);
	return thaw_prefix_parse(line, &networks->allowed[networks->allowed_count++], err);
}

static bool nameserver_usable(uint32_t address)
{
	return address >> 24 != 0 && address >> 24 != 127 && address >> 28 < 14;
}

static int add_nameserver(struct thaw_networks *networks, const char *line, struct thaw_error *err)
{
	uint32_t address;

	int rc = thaw_ipv4_parse(line, &address, err);
	if (rc < 0)
		return rc;
	if (!nameserver_usable(address))
		return thaw_error_set(err, EINVAL, "%s cannot be reached from guests", line);
	if (networks->nameserver_count == THAW_NETWORKS_NAMESERVERS)
		return thaw_error_set(err, EINVAL, "more than %d nameservers",
				      THAW_NETWORKS_NAMESERVERS);
	networks->nameservers[networks->nameserver_count++] = address;
	return 0;
}

static int add_uplink(struct thaw_networks *networks, const char *line, struct thaw_error *err)
{
	if (!interface_valid(line))
		return thaw_error_set(err, EINVAL, "\"%s\" is no interface's name", line);
	if (networks->uplink_count == THAW_UPLINKS_MAX)
		return thaw_error_set(err, EINVAL, "more than %d interfaces", THAW_UPLINKS_MAX);
	strcpy(networks->uplinks[networks->uplink_count++], line);
	return 0;
}

static int each_line(struct thaw_networks *networks, const char *list, const char *option,
		     int (*add)(struct thaw_networks *, const char *, struct thaw_error *),
		     struct thaw_error *err)
{
	char line[LINE_MAX_BYTES];

	while (line_next(&list, line)) {
		if (add(networks, line, err) < 0)
			return thaw_error_wrap(err, "%s", option);
	}
	return 0;
}

int thaw_networks_read(struct thaw_networks *networks, const struct thaw_networks_text *text,
		       struct thaw_error *err)
{
	int rc = 0;

	*networks = (struct thaw_networks){0};
	if (text->egress)
		rc = add_egress(networks, text->range, err);
	if (rc == 0)
		rc = each_line(networks, text->bridges, "bridge", add_bridge, err);
	if (rc == 0)
		rc = each_line(networks, text->allowed, "network-allow", add_allowed, err);
	if (rc == 0)
		rc = each_line(networks, text->nameservers, "nameserver", add_nameserver, err);
	if (rc == 0)
		rc = each_line(networks, text->uplinks, "network-uplink", add_uplink, err);
	return rc;
}

int thaw_networks_read_resolv(struct thaw_networks *networks, const char *path,
			      struct thaw_error *err)
{
	char line[LINE_MAX_BYTES], word[64];
	uint32_t address;

	if (networks->nameserver_count)
		return 0;
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "nameserver %63s", word) == 1 &&
		    networks->nameserver_count < THAW_NETWORKS_NAMESERVERS &&
		    thaw_ipv4_parse(word, &address, NULL) == 0 && nameserver_usable(address))
			networks->nameservers[networks->nameserver_count++] = address;
	}
	if (file)
		fclose(file);
	if (networks->nameserver_count)
		return 0;
	return thaw_error_set(err, EINVAL,
			      "no nameserver for functions: \"%s\" has none that they could reach "
			      "(say nameserver = ADDRESS)",
			      path);
}

void thaw_networks_identify(struct thaw_networks *networks, uint64_t device, uint64_t inode)
{
	uint64_t hash = 14695981039346656037u;

	for (unsigned int i = 0; i < 16; i++)
		hash = (hash ^ ((i < 8 ? device : inode) >> i % 8 * 8 & 255)) * 1099511628211u;
	snprintf(networks->id, sizeof(networks->id), "%06llx",
		 (unsigned long long)((hash >> 32 ^ hash) & 0xffffff));
}

const struct thaw_subnet *thaw_networks_find(const struct thaw_networks *networks, const char *name)
{
	for (size_t i = 0; i < networks->count; i++) {
		if (strcmp(networks->subnet[i].name, name) == 0)
			return &networks->subnet[i];
	}
	return NULL;
}

uint32_t thaw_subnet_size(const struct thaw_subnet *subnet)
{
	return subnet->last - subnet->first + 1;
}
