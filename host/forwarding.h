/* SPDX-License-Identifier: Apache-2.0 */
/* Which interfaces of this host forward IPv4 (Linux's networking/ip-sysctl.rst). */
#ifndef THAW_HOST_FORWARDING_H
#define THAW_HOST_FORWARDING_H

/* How many, without loopback and the slots of functions (host/network/slot.h), in the network
 * namespace of the calling thread; 0 also when nothing can be read. */
unsigned int thaw_forwarding_count(void);

#endif
