/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which addresses may this host be made to talk to by its tenants? Only those of the public
 * Internet: a URL that a tenant names must not reach the host itself, its network, or a cloud's
 * metadata service (169.254.169.254).
 */
#ifndef THAW_HOST_DAEMON_ADDRESS_H
#define THAW_HOST_DAEMON_ADDRESS_H

#include <stdbool.h>

struct sockaddr;

/* Not those that IANA's special-purpose registries (RFC 6890) keep from global use, multicast, nor
 * IPv6 addresses that carry one of these as an IPv4 address (mapped, compatible, 6to4, NAT64).
 * False for all families but IPv4 and IPv6. */
bool thaw_address_is_public(const struct sockaddr *address);

#endif
