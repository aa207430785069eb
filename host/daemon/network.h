/* SPDX-License-Identifier: Apache-2.0 */
/* The network of one microVM: its slot, and what a start is told of it. */
#ifndef THAW_HOST_DAEMON_NETWORK_H
#define THAW_HOST_DAEMON_NETWORK_H

#include "host/environment.h"
#include "host/network/slot.h"

struct thaw_error;
struct thaw_service;

struct thaw_attachment {
	struct thaw_slot slot;
	struct thaw_network network; /* borrows the slot's tap */
};

#define THAW_ATTACHMENT_NONE                                                                       \
	{                                                                                          \
		.slot = THAW_SLOT_NONE, .network = {.tap = -1 }                                    \
	}

/* At the start: reads whom functions ask for names, and makes the slots' place. Nothing where no
 * network is configured. */
int thaw_network_start(struct thaw_service *service, struct thaw_error *err);

/* A function's network is known: there will be invocations of it. "" is none. */
void thaw_network_expect(struct thaw_service *service, const char *name);

/* A slot of the network with this name; with "" nothing. -ENOTSUP: this host has none of that
 * name. */
int thaw_attachment_make(struct thaw_service *service, const char *name,
			 struct thaw_attachment *attachment, struct thaw_error *err);
/* What a machine is given; NULL where there is none. */
const struct thaw_network *thaw_attachment_network(const struct thaw_attachment *attachment);
/* The microVM has ended. */
void thaw_attachment_drop(struct thaw_service *service, struct thaw_attachment *attachment);

/* What /tmp may do. */
struct thaw_rate_limit thaw_network_tmp_limit(const struct thaw_service *service);

#endif
