/* SPDX-License-Identifier: Apache-2.0 */
#include "host/network/prefix.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/error.h"

static uint32_t mask(uint8_t length)
{
	return length ? UINT32_MAX << (32 - length) : 0;
}

int thaw_ipv4_parse(const char *text, uint32_t *address, struct thaw_error *err)
{
	struct in_addr in;

	if (inet_pton(AF_INET, text, &in) != 1)
		return thaw_error_set(err, EINVAL, "\"%.64s\" is no IPv4 address", text);
	*address = ntohl(in.s_addr);
	return 0;
}

int thaw_prefix_parse(const char *text, struct thaw_prefix *prefix, struct thaw_error *err)
{
	const char *slash = strchr(text, '/');
	size_t size = slash ? (size_t)(slash - text) : strlen(text);
	char address[THAW_IPV4_TEXT] = "";
	unsigned int length = 32;
	int used = 0;

	if (size < sizeof(address))
		memcpy(address, text, size);
	if (slash && (sscanf(slash + 1, "%2u%n", &length, &used) != 1 || slash[1 + used] ||
		      slash[1] < '0' || slash[1] > '9' || length > 32))
		address[0] = 0;
	uint32_t value = 0;
	int rc = thaw_ipv4_parse(address, &value, NULL);
	if (rc < 0)
		return thaw_error_set(err, EINVAL, "\"%.64s\" is no IPv4 prefix, as 192.0.2.0/24",
				      text);
	if (value & ~mask((uint8_t)length))
		return thaw_error_set(err, EINVAL, "\"%.64s\" has bits beyond its length", text);
	*prefix = (struct thaw_prefix){.address = value, .length = (uint8_t)length};
	return 0;
}

void thaw_ipv4_text(uint32_t address, char text[THAW_IPV4_TEXT])
{
	snprintf(text, THAW_IPV4_TEXT, "%u.%u.%u.%u", address >> 24, address >> 16 & 255,
		 address >> 8 & 255, address & 255);
}

bool thaw_prefix_has(const struct thaw_prefix *prefix, uint32_t address)
{
	return (address & mask(prefix->length)) == prefix->address;
}
