/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of the conversation with thaw-agent in a guest (proto/agent.proto, in frames of
 * lib/frame.h), over a stream socket that thaw-vmm joins to a vsock port of the guest.
 *
 * Requests may be sent one behind the other; answers come in the same order and are waited for
 * one by one. The guest is hostile: sizes, order, kinds and totals are checked, logs are handed
 * on but never kept, and no wait is without a deadline. After any error but -EREMOTEIO the
 * conversation is over and the microVM should be killed.
 */
#ifndef THAW_HOST_AGENT_CLIENT_H
#define THAW_HOST_AGENT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/frame.h"
#include "proto/agent.pb-c.h"

struct thaw_error;

#define THAW_AGENT_PORT      1024
#define THAW_PAYLOAD_MAX     6291556u /* bytes of an event or a response: Lambda's 6 MB */
#define THAW_CHUNK_MAX       (512u << 10)
#define THAW_AGENT_ASKED_MAX 4

/* What the handler and the agent print, as it comes; `source` is that of agent.proto's Log. */
typedef void thaw_agent_log_fn(void *context, Thaw__Agent__Log__Source source, const uint8_t *data,
			       size_t size, uint64_t dropped);

/* A part of the response to the Invoke now answered, as it comes. All parts are in the response
 * too, but those of one that fails in its middle. May take its time: the guest waits. */
typedef void thaw_agent_part_fn(void *context, const uint8_t *data, size_t size);

/* Called when `fd` is readable while an answer is waited for; a negative return ends the wait. */
struct thaw_agent_watch {
	int fd; /* -1: none */
	int (*ready)(void *context, struct thaw_error *err);
	void *context;
};

struct thaw_agent {
	int fd;       /* -1: none */
	bool greeted; /* "OK <port>" has been read */
	uint32_t seq; /* of the last request */
	struct {
		uint32_t seq;
		bool invoke;
	} asked[THAW_AGENT_ASKED_MAX]; /* not yet answered, oldest first */
	size_t asked_count;
	struct thaw_frame_reader reader;
	uint8_t *out; /* not yet written */
	size_t out_size, out_done, out_space;
	uint8_t *response; /* of the Invoke now answered; owned */
	size_t response_size, response_space;
	thaw_agent_log_fn *log;
	void *log_context;
	thaw_agent_part_fn *part; /* NULL: nobody wants parts */
	void *part_context;
	struct thaw_agent_watch watch;
};

#define THAW_AGENT_NONE                                                                            \
	{                                                                                          \
		.fd = -1, .watch = {.fd = -1 }                                                     \
	}

/* Takes the stream over (also on failure) and asks for the connection to `port`; nothing is
 * waited for. Keeps log and watch, which the caller has set. */
int thaw_agent_open(struct thaw_agent *agent, int fd, unsigned int port, struct thaw_error *err);

/* Closes and frees; safe on THAW_AGENT_NONE. */
void thaw_agent_close(struct thaw_agent *agent);

/* Queues a request; its seq is set here. The frame leaves with flush or while an answer is waited
 * for. -EMSGSIZE when it is too long for a frame, -EBUSY when too many are under way. */
int thaw_agent_send(struct thaw_agent *agent, Thaw__Agent__HostMessage *message, uint32_t *seq,
		    struct thaw_error *err);

/* Queues an Invoke with its payload (at most THAW_PAYLOAD_MAX), in chunks. The payload's fields
 * of `invoke` are set here. */
int thaw_agent_send_invoke(struct thaw_agent *agent, Thaw__Agent__Invoke *invoke,
			   const uint8_t *payload, size_t size, uint32_t *seq,
			   struct thaw_error *err);

/* Writes what the socket takes now. */
int thaw_agent_flush(struct thaw_agent *agent, struct thaw_error *err);

/* Waits for the "OK <port>" of thaw-vmm. -EPIPE when the guest refuses. */
int thaw_agent_wait_greeting(struct thaw_agent *agent, uint64_t deadline, struct thaw_error *err);

/* Waits for the answer to `seq`, the oldest request not yet answered. On 0 the caller owns
 * *message, whose body is `want` (thaw__agent__guest_message__free_unpacked). What has arrived by
 * the deadline counts, even if we come to look at it later. A Failure becomes
 * -EREMOTEIO with its message. -EPIPE: the guest has closed; -EPROTO: it broke the rules;
 * -ETIMEDOUT; or what the watch returned. */
int thaw_agent_receive(struct thaw_agent *agent, uint32_t seq,
		       Thaw__Agent__GuestMessage__BodyCase want, uint64_t deadline,
		       Thaw__Agent__GuestMessage **message, struct thaw_error *err);

/* As receive, for an Invoke: with OUTCOME_OK the whole response is agent->response, valid until
 * the next call; otherwise the error document is there. Sizes are checked against each other. */
int thaw_agent_receive_invoke(struct thaw_agent *agent, uint32_t seq, uint64_t deadline,
			      Thaw__Agent__GuestMessage **message, struct thaw_error *err);

#endif
