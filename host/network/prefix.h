/* SPDX-License-Identifier: Apache-2.0 */
/* IPv4 addresses and prefixes as people write them. Addresses are in host byte order. */
#ifndef THAW_HOST_NETWORK_PREFIX_H
#define THAW_HOST_NETWORK_PREFIX_H

#include <stdbool.h>
#include <stdint.h>

struct thaw_error;

#define THAW_IPV4_TEXT 16

struct thaw_prefix {
	uint32_t address; /* without bits beyond the length */
	uint8_t length;   /* 0 to 32 */
};

/* "192.0.2.1", whole: -EINVAL. */
int thaw_ipv4_parse(const char *text, uint32_t *address, struct thaw_error *err);
/* "192.0.2.0/24", or an address alone (/32). Bits beyond the length are refused. */
int thaw_prefix_parse(const char *text, struct thaw_prefix *prefix, struct thaw_error *err);

void thaw_ipv4_text(uint32_t address, char text[THAW_IPV4_TEXT]);
bool thaw_prefix_has(const struct thaw_prefix *prefix, uint32_t address);

#endif
