/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection to the host: messages of proto/agent.proto in frames, over one non-blocking
 * stream socket. A message is packed straight into the queue and written at once; what the socket
 * does not take is written when it does.
 */
#ifndef THAW_AGENT_LINK_H
#define THAW_AGENT_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/buffer.h"
#include "agent/loop.h"
#include "lib/frame.h"
#include "proto/agent.pb-c.h"

/* Above this many bytes unsent, those who produce (response, logs) wait. */
#define THAW_LINK_OUT_HIGH (1u << 20)
/* Above this many bytes read ahead, the host waits. So many hold at least one whole frame. */
#define THAW_LINK_IN_HIGH (THAW_FRAME_HEADER + THAW_FRAME_MAX)

struct thaw_link {
	struct thaw_loop *loop;
	struct thaw_watch watch; /* fd -1: no connection */
	struct thaw_frame_reader in;
	struct thaw_buffer out;
	bool failed; /* a write failed: the loop is about to tell of the loss */

	void (*received)(struct thaw_link *link); /* there may be new frames */
	/* Unsent bytes fell under the high mark. May come from within thaw_link_send, so it only
	 * notes that producers may go on. */
	void (*drained)(struct thaw_link *link);
	void (*lost)(struct thaw_link *link); /* the connection is gone, and closed */
};

/* Takes `fd` over (closed on failure too), and reads what has come over it already: `received`, or
 * `lost`, may be told before this returns. An earlier connection is closed without a word. */
int thaw_link_open(struct thaw_link *link, struct thaw_loop *loop, int fd);
void thaw_link_close(struct thaw_link *link);

static inline bool thaw_link_is_open(const struct thaw_link *link)
{
	return link->watch.fd >= 0;
}

/* The next message, which the caller frees with thaw__agent__host_message__free_unpacked, or NULL
 * when there is none yet. A malformed one ends the connection: `lost` follows from the loop. */
Thaw__Agent__HostMessage *thaw_link_next(struct thaw_link *link);

/* Without a connection the message is dropped: its host is gone. */
void thaw_link_send(struct thaw_link *link, const Thaw__Agent__GuestMessage *message);

static inline bool thaw_link_is_full(const struct thaw_link *link)
{
	return thaw_buffer_size(&link->out) > THAW_LINK_OUT_HIGH;
}

#endif
