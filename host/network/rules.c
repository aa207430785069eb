/* SPDX-License-Identifier: Apache-2.0 */
#include "host/network/rules.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/network/guest.h"

/* What is never anybody's to reach: "this" host, loopback, link-local (and the clouds' metadata
 * there), multicast, reserved and broadcast (RFC 6890). */
static const char *const never[] = {
	"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
};

/* And what egress does not reach: networks that are somebody's own. Ranges for documentation are
 * not routed anyway, and serve tests. */
static const char *const private[] = {
	"10.0.0.0/8",   "100.64.0.0/10",  "172.16.0.0/12",
	"192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void write_mac(FILE *out, const uint8_t mac[THAW_GUEST_MAC_SIZE])
{
	for (size_t i = 0; i < THAW_GUEST_MAC_SIZE; i++)
		fprintf(out, "%s%02x", i ? ":" : "", mac[i]);
}

static void write_address(FILE *out, uint32_t address)
{
	char text[THAW_IPV4_TEXT];

	thaw_ipv4_text(address, text);
	fputs(text, out);
}

static void write_refused(FILE *out, bool egress)
{
	fputs("	set refused { type ipv4_addr; flags interval; elements = {", out);
	for (size_t i = 0; i < COUNT(never); i++)
		fprintf(out, "%s %s", i ? "," : "", never[i]);
	for (size_t i = 0; egress && i < COUNT(private); i++)
		fprintf(out, ", %s", private[i]);
	fputs(" }; }\n", out);
}

/* "		ip daddr { ... } ..." for nameservers and for what the operator allows. */
static void write_exceptions(FILE *out, const struct thaw_networks *networks, const char *verdict)
{
	for (size_t i = 0; i < networks->nameserver_count; i++) {
		fputs("		meta l4proto { tcp, udp } th dport 53 ip daddr ", out);
		write_address(out, networks->nameservers[i]);
		fprintf(out, " %s\n", verdict);
	}
	for (size_t i = 0; i < networks->allowed_count; i++) {
		fputs("		ip daddr ", out);
		write_address(out, networks->allowed[i].address);
		fprintf(out, "/%u %s\n", networks->allowed[i].length, verdict);
	}
}

/* What the tap takes: the guest's one address, to the gateway's. No VLANs, no options of IP (which
 * could name a route). */
static void write_tap(FILE *out)
{
	static const uint8_t guest[] = THAW_GUEST_MAC, gateway[] = THAW_GUEST_GATEWAY_MAC;

	fputs("table netdev slot {\n"
	      "	chain tap {\n"
	      "		type filter hook ingress device \"" THAW_SLOT_GUEST
	      "\" priority -500; policy drop;\n"
	      "		ether saddr != ",
	      out);
	write_mac(out, guest);
	fputs(" drop\n"
	      "		ether type ip ip saddr " THAW_GUEST_ADDRESS " ip hdrlength 5 ether daddr ",
	      out);
	write_mac(out, gateway);
	fputs(" accept\n"
	      "		ether type arp arp operation request arp daddr ip " THAW_GUEST_GATEWAY
	      " arp saddr ip " THAW_GUEST_ADDRESS " arp saddr ether ",
	      out);
	write_mac(out, guest);
	fputs(" accept\n"
	      "	}\n"
	      "}\n",
	      out);
}

/* What guests call their nameservers are the host's, in turn where it has fewer. */
static void write_names(FILE *out, const struct thaw_networks *networks)
{
	static const char *const names[] = THAW_GUEST_NAMESERVERS;

	fputs("	chain names {\n"
	      "		type nat hook prerouting priority dstnat;\n",
	      out);
	for (size_t i = 0; networks->nameserver_count && i < COUNT(names); i++) {
		fprintf(out,
			"		iifname \"" THAW_SLOT_GUEST
			"\" ip daddr %s meta l4proto { tcp, udp } th dport 53 dnat ip to ",
			names[i]);
		write_address(out, networks->nameservers[i % networks->nameserver_count]);
		fputc('\n', out);
	}
	fputs("	}\n", out);
}

static char *finish(FILE *out, char **text)
{
	bool failed = ferror(out);

	if (fclose(out) == 0 && !failed)
		return *text;
	free(*text);
	return NULL;
}

/* The kernel's own: only its errors about what passes. */
static void write_slot_self(FILE *out)
{
	fputs("	chain input {\n"
	      "		type filter hook input priority filter; policy drop;\n"
	      "		iifname \"" THAW_SLOT_GUEST "\" reject with icmp admin-prohibited\n"
	      "	}\n"
	      "	chain output {\n"
	      "		type filter hook output priority filter; policy drop;\n"
	      "		ct state related accept\n"
	      "	}\n",
	      out);
}

/* From the guest what begins, to it what answers. */
static void write_slot_forward(FILE *out, const struct thaw_networks *networks)
{
	fputs("	chain forward {\n"
	      "		type filter hook forward priority filter; policy drop;\n"
	      "		meta nfproto != ipv4 drop\n"
	      "		iifname \"" THAW_SLOT_UP "\" oifname \"" THAW_SLOT_GUEST
	      "\" ct state established,related accept\n"
	      "		iifname \"" THAW_SLOT_GUEST "\" oifname \"" THAW_SLOT_UP "\" jump out\n"
	      "	}\n"
	      "	chain out {\n"
	      "		ct state established,related accept\n"
	      "		ct state != new drop\n"
	      "		meta l4proto != { tcp, udp, icmp } reject with icmp admin-prohibited\n",
	      out);
	write_exceptions(out, networks, "goto begin");
	fprintf(out,
		"		ip daddr @refused reject with icmp admin-prohibited\n"
		"		goto begin\n"
		"	}\n"
		"	chain begin {\n"
		"		ct count over %d reject with icmp admin-prohibited\n"
		"		accept\n"
		"	}\n",
		THAW_SLOT_CONNECTIONS);
}

char *thaw_rules_slot(const struct thaw_networks *networks, const struct thaw_subnet *subnet,
		      uint32_t address)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	write_tap(out);
	fputs("table inet slot {\n", out);
	write_refused(out, !*subnet->bridge);
	write_names(out, networks);
	write_slot_self(out);
	write_slot_forward(out, networks);
	fputs("	chain source {\n"
	      "		type nat hook postrouting priority srcnat;\n"
	      "		oifname \"" THAW_SLOT_UP "\" snat ip to ",
	      out);
	write_address(out, address);
	fputs("\n"
	      "	}\n"
	      "}\n",
	      out);
	return finish(out, &text);
}

static void write_host_input(FILE *out, const struct thaw_networks *networks)
{
	fprintf(out,
		"	chain input {\n"
		"		type filter hook input priority filter - 10; policy accept;\n"
		"		iifname \"" THAW_SLOT_PREFIX "%s*\" goto to_host\n",
		networks->id);
	for (size_t i = 0; i < networks->count; i++) {
		const struct thaw_subnet *subnet = &networks->subnet[i];
		if (!*subnet->bridge)
			continue;
		fprintf(out, "		iifname \"%s\" ip saddr ", subnet->bridge);
		write_address(out, subnet->first);
		fputc('-', out);
		write_address(out, subnet->last);
		fputs(" goto to_host\n", out);
	}
	fputs("	}\n"
	      "	chain to_host {\n",
	      out);
	for (size_t i = 0; i < networks->nameserver_count; i++) {
		fputs("		meta l4proto { tcp, udp } th dport 53 ip daddr ", out);
		write_address(out, networks->nameservers[i]);
		fputs(" accept\n", out);
	}
	fputs("		reject with icmpx admin-prohibited\n"
	      "	}\n",
	      out);
}

/* We made them forward: for our guests, not for their neighbours. */
static void write_guard(FILE *out, const struct thaw_networks *networks)
{
	for (size_t i = 0; i < networks->uplink_count; i++)
		fprintf(out,
			"		iifname \"%s\" oifname != \"" THAW_SLOT_PREFIX
			"*\" meta nfproto ipv4 drop\n",
			networks->uplinks[i]);
}

static void write_host_forward(FILE *out, const struct thaw_networks *networks)
{
	const struct thaw_subnet *egress = thaw_networks_find(networks, THAW_SUBNET_EGRESS);

	fprintf(out,
		"	chain forward {\n"
		"		type filter hook forward priority filter - 10; policy accept;\n"
		"		iifname \"" THAW_SLOT_PREFIX "%s*\" goto from_slots\n"
		"		oifname \"" THAW_SLOT_PREFIX
		"%s*\" ct state established,related accept\n"
		"		oifname \"" THAW_SLOT_PREFIX "%s*\" drop\n",
		networks->id, networks->id, networks->id);
	write_guard(out, networks);
	fputs("	}\n"
	      "	chain from_slots {\n"
	      "		oifname \"" THAW_SLOT_PREFIX "*\" reject with icmpx admin-prohibited\n"
	      "		meta nfproto != ipv4 drop\n",
	      out);
	if (egress) {
		fputs("		ip saddr != ", out);
		write_address(out, egress->first);
		fputc('-', out);
		write_address(out, egress->last);
		fputs(" drop\n"
		      "		ct state established,related accept\n",
		      out);
		write_exceptions(out, networks, "accept");
		fputs("		ip daddr @refused reject with icmp admin-prohibited\n"
		      "		accept\n",
		      out);
	} else {
		fputs("		drop\n", out);
	}
	fputs("	}\n", out);
}

static void write_host_nat(FILE *out, const struct thaw_networks *networks)
{
	fprintf(out,
		"	ct timeout idle { protocol tcp; l3proto ip; policy = { established : %d }; "
		"}\n"
		"	chain remember {\n"
		"		type filter hook prerouting priority mangle; policy accept;\n"
		"		iifname \"" THAW_SLOT_PREFIX
		"%s*\" meta l4proto tcp ct timeout set \"idle\"\n"
		"	}\n"
		"	chain source {\n"
		"		type nat hook postrouting priority srcnat;\n"
		"		iifname \"" THAW_SLOT_PREFIX "%s*\" masquerade\n"
		"	}\n",
		THAW_SLOT_IDLE_S, networks->id, networks->id);
}

/* To add first is what makes the removal of what may not be there no error. */
static FILE *host_begin(const struct thaw_networks *networks, char **text, size_t *size)
{
	FILE *out = open_memstream(text, size);

	if (out)
		fprintf(out,
			"add table inet thaw_%s\n"
			"delete table inet thaw_%s\n",
			networks->id, networks->id);
	return out;
}

char *thaw_rules_host(const struct thaw_networks *networks)
{
	char *text = NULL;
	size_t size;
	FILE *out = host_begin(networks, &text, &size);

	if (!out)
		return NULL;
	fprintf(out, "table inet thaw_%s {\n", networks->id);
	write_refused(out, true);
	write_host_input(out, networks);
	write_host_forward(out, networks);
	write_host_nat(out, networks);
	fputs("}\n", out);
	return finish(out, &text);
}

char *thaw_rules_host_gone(const struct thaw_networks *networks)
{
	char *text = NULL;
	size_t size;
	FILE *out = host_begin(networks, &text, &size);

	if (!out)
		return NULL;
	if (networks->uplink_count) {
		fprintf(out,
			"table inet thaw_%s {\n"
			"	chain forward {\n"
			"		type filter hook forward priority filter - 10; policy "
			"accept;\n",
			networks->id);
		write_guard(out, networks);
		fputs("	}\n"
		      "}\n",
		      out);
	}
	return finish(out, &text);
}
