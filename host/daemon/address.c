/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/address.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

struct block {
	uint8_t prefix[16];
	unsigned int bits;
};

static const struct block blocks_4[] = {
	{{0}, 8},             /* this network */
	{{10}, 8},            /* private */
	{{100, 64}, 10},      /* behind a provider's translation */
	{{127}, 8},           /* loopback */
	{{169, 254}, 16},     /* link-local: metadata services */
	{{172, 16}, 12},      /* private */
	{{192, 0, 0}, 24},    /* protocol assignments */
	{{192, 0, 2}, 24},    /* documentation */
	{{192, 88, 99}, 24},  /* 6to4 relays */
	{{192, 168}, 16},     /* private */
	{{198, 18}, 15},      /* benchmarks */
	{{198, 51, 100}, 24}, /* documentation */
	{{203, 0, 113}, 24},  /* documentation */
	{{224}, 3},           /* multicast, reserved, broadcast */
};

static const struct block blocks_6[] = {
	{{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 48}, /* local translation */
	{{0x01}, 64},                               /* discard */
	{{0x20, 0x01}, 23},                         /* protocol assignments, Teredo */
	{{0x20, 0x01, 0x0d, 0xb8}, 32},             /* documentation */
	{{0x3f, 0xff}, 20},                         /* documentation */
	{{0x5f}, 16},                               /* segment routing */
	{{0xfc}, 7},                                /* unique local */
	{{0xfe}, 8},                                /* link-local and site-local */
	{{0xff}, 8},                                /* multicast */
};

/* Where an IPv4 address is in an IPv6 one of this prefix. */
static const struct carrier {
	struct block block;
	size_t at;
} carriers[] = {
	{{{[10] = 0xff, [11] = 0xff}, 96}, 12}, /* mapped */
	{{{0}, 96}, 12},                        /* compatible; :: and ::1 too */
	{{{0x00, 0x64, 0xff, 0x9b}, 96}, 12},   /* NAT64 */
	{{{0x20, 0x02}, 16}, 2},                /* 6to4 */
};

static bool in_block(const uint8_t *address, const struct block *block)
{
	unsigned int whole = block->bits / 8, rest = block->bits % 8;

	if (memcmp(address, block->prefix, whole) != 0)
		return false;
	return !rest || (address[whole] ^ block->prefix[whole]) >> (8 - rest) == 0;
}

static bool in_any(const uint8_t *address, const struct block *blocks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (in_block(address, &blocks[i]))
			return true;
	}
	return false;
}

static bool is_public_4(const uint8_t *address)
{
	return !in_any(address, blocks_4, sizeof(blocks_4) / sizeof(blocks_4[0]));
}

static bool is_public_6(const uint8_t *address)
{
	for (size_t i = 0; i < sizeof(carriers) / sizeof(carriers[0]); i++) {
		if (in_block(address, &carriers[i].block))
			return is_public_4(address + carriers[i].at);
	}
	return !in_any(address, blocks_6, sizeof(blocks_6) / sizeof(blocks_6[0]));
}

bool thaw_address_is_public(const struct sockaddr *address)
{
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;

	switch (address->sa_family) {
	case AF_INET:
		memcpy(&in4, address, sizeof(in4));
		return is_public_4((const uint8_t *)&in4.sin_addr);
	case AF_INET6:
		memcpy(&in6, address, sizeof(in6));
		return is_public_6(in6.sin6_addr.s6_addr);
	default:
		return false;
	}
}
