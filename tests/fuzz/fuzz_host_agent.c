/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of the conversation with a hostile guest. The input is a list of events: a byte
 * that says which, two of length (little-endian), and so many bytes. What the guest says is
 * written down as it is told, and goes into the socket bit by bit while the host waits for an
 * answer; there it ends when nothing is left. No answer that the client gives out may break its
 * promises, whatever the guest has said.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/agent_client.h"
#include "host/timeouts.h"
#include "lib/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STREAM_MAX (9u << 20) /* of the guest: more than a response may have */
#define SMALL_MAX  64         /* writes of a chosen size; those that follow are large */
#define CONNECT    "CONNECT 1024\n"

enum event {
	EVENT_ASK,     /* which request; of an Invoke, two bytes: its payload in units of 128 */
	EVENT_RECEIVE, /* the answer to the oldest request */
	EVENT_GREETING,
	EVENT_BYTES,
	EVENT_FRAME,
	EVENT_CHUNK, /* seq, four bytes of size */
	EVENT_DONE,  /* seq, outcome, four bytes of the response's size; the payload */
	EVENT_LOG,   /* source, bytes dropped; the text */
	EVENT_PACE,  /* bytes that are written at once: 2 to the power of this */
	EVENTS,
};

struct world {
	struct thaw_agent agent;
	int guest; /* its end of the stream */
	uint8_t *stream;
	size_t size, at, pace;
	unsigned int writes;
	char connect[sizeof(CONNECT)];
	size_t connected;
	struct thaw_frame_reader heard;
};

static uint8_t payload[8u << 20];
static volatile unsigned int touched;

static void check(int right)
{
	if (!right)
		abort();
}

/* All of it is there: a read beyond it is seen. */
static void touch(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		touched += data[i];
}

/* --- the guest --- */

/* What the host says must be its greeting, then frames of its protocol. */
static void guest_hear(struct world *w)
{
	const uint8_t *body;
	size_t size;
	int rc;

	while (w->connected < sizeof(CONNECT) - 1) {
		ssize_t n = read(w->guest, w->connect + w->connected,
				 sizeof(CONNECT) - 1 - w->connected);
		if (n <= 0)
			return;
		w->connected += (size_t)n;
		check(memcmp(w->connect, CONNECT, w->connected) == 0);
	}
	while (thaw_frame_fill(&w->heard, w->guest) > 0) {
		while ((rc = thaw_frame_next(&w->heard, &body, &size)) > 0) {
			Thaw__Agent__HostMessage *message =
				thaw__agent__host_message__unpack(NULL, size, body);
			check(message != NULL);
			thaw__agent__host_message__free_unpacked(message, NULL);
		}
		check(rc == 0);
	}
}

/* The watch: the host has nothing to read and waits. */
static int guest_goes_on(void *context, struct thaw_error *err)
{
	struct world *w = context;
	size_t left = w->size - w->at;

	(void)err;
	guest_hear(w);
	if (left > w->pace && w->writes++ < SMALL_MAX)
		left = w->pace;
	if (left == 0) {
		shutdown(w->guest, SHUT_WR);
		return 0;
	}
	ssize_t n = send(w->guest, w->stream + w->at, left, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		w->at += (size_t)n;
	return 0;
}

static void say(struct world *w, const void *data, size_t size)
{
	if (size > STREAM_MAX - w->size)
		return;
	uint8_t *stream = realloc(w->stream, w->size + size + 1);
	check(stream != NULL);
	w->stream = stream;
	if (size)
		memcpy(w->stream + w->size, data, size);
	w->size += size;
}

static void say_frame(struct world *w, const uint8_t *data, size_t size)
{
	uint8_t header[THAW_FRAME_HEADER];

	thaw_frame_header(header, (uint32_t)size);
	say(w, header, sizeof(header));
	say(w, data, size);
}

static void say_message(struct world *w, const Thaw__Agent__GuestMessage *message)
{
	size_t size = thaw__agent__guest_message__get_packed_size(message);
	uint8_t *frame = malloc(size + 1);

	check(frame != NULL);
	thaw__agent__guest_message__pack(message, frame);
	say_frame(w, frame, size);
	free(frame);
}

/* Bytes of an event, 0 where there are none left. */
static uint32_t take(const uint8_t **data, size_t *size, unsigned int count)
{
	uint32_t value = 0;

	for (unsigned int i = 0; i < count; i++) {
		if (!*size)
			break;
		value |= (uint32_t) * (*data)++ << (8 * i);
		(*size)--;
	}
	return value;
}

static void say_chunk(struct world *w, const uint8_t *data, size_t size)
{
	Thaw__Agent__GuestMessage message = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__Chunk chunk = THAW__AGENT__CHUNK__INIT;

	message.seq = take(&data, &size, 1);
	chunk.data.data = payload;
	chunk.data.len = take(&data, &size, 4) % (THAW_FRAME_MAX + 2);
	message.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_CHUNK;
	message.chunk = &chunk;
	say_message(w, &message);
}

static void say_done(struct world *w, const uint8_t *data, size_t size)
{
	Thaw__Agent__GuestMessage message = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__InvokeDone done = THAW__AGENT__INVOKE_DONE__INIT;

	message.seq = take(&data, &size, 1);
	done.outcome = (Thaw__Agent__Outcome)take(&data, &size, 1);
	done.response_size = take(&data, &size, 4);
	done.payload.data = (uint8_t *)data;
	done.payload.len = size;
	message.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_INVOKE_DONE;
	message.invoke_done = &done;
	say_message(w, &message);
}

static void say_log(struct world *w, const uint8_t *data, size_t size)
{
	Thaw__Agent__GuestMessage message = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__Log log = THAW__AGENT__LOG__INIT;

	log.source = (Thaw__Agent__Log__Source)take(&data, &size, 1);
	log.dropped = take(&data, &size, 1);
	log.data.data = (uint8_t *)data;
	log.data.len = size;
	message.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_LOG;
	message.log = &log;
	say_message(w, &message);
}

/* --- the host --- */

static void hear_log(void *context, Thaw__Agent__Log__Source source, const uint8_t *data,
		     size_t size, uint64_t dropped)
{
	(void)context;
	touched += (unsigned int)source + (unsigned int)dropped;
	check(size <= THAW_FRAME_MAX);
	touch(data, size);
}

/* Three kinds stand for all that have one message as their answer; the fourth is an Invoke. */
static void ask(struct world *w, const uint8_t *data, size_t size)
{
	static Thaw__Agent__Ping ping = THAW__AGENT__PING__INIT;
	static Thaw__Agent__Init init = THAW__AGENT__INIT__INIT;
	static Thaw__Agent__Resume resume = THAW__AGENT__RESUME__INIT;
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__Invoke invoke = THAW__AGENT__INVOKE__INIT;
	size_t count = w->agent.asked_count;
	uint32_t kind = take(&data, &size, 1), seq = 0;
	int rc;

	switch (kind % 4) {
	case 0:
		message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_PING;
		message.ping = &ping;
		break;
	case 1:
		message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_INIT;
		message.init = &init;
		break;
	case 2:
		message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_RESUME;
		message.resume = &resume;
		break;
	default:
		break;
	}
	size_t length = take(&data, &size, 2) * 128u;
	if (message.body_case)
		rc = thaw_agent_send(&w->agent, &message, &seq, NULL);
	else
		rc = thaw_agent_send_invoke(&w->agent, &invoke, payload, length, &seq, NULL);
	check(rc == 0 || (rc == -EBUSY && count == THAW_AGENT_ASKED_MAX) ||
	      (rc == -EMSGSIZE && length > THAW_PAYLOAD_MAX));
	check(w->agent.asked_count == count + (rc == 0));
}

static void check_invoke_done(const struct thaw_agent *agent, const Thaw__Agent__InvokeDone *done)
{
	check(agent->response_size <= THAW_PAYLOAD_MAX);
	touch(agent->response, agent->response_size);
	if (done->outcome == THAW__AGENT__OUTCOME__OUTCOME_OK)
		check(done->response_size == agent->response_size);
	else
		check(done->payload.len == agent->response_size);
}

/* Answers to pings, inits, resumes: the request's kind is not remembered, so any may be wanted. */
static Thaw__Agent__GuestMessage__BodyCase wanted(uint32_t kind)
{
	switch (kind % 3) {
	case 0:
		return THAW__AGENT__GUEST_MESSAGE__BODY_PONG;
	case 1:
		return THAW__AGENT__GUEST_MESSAGE__BODY_INIT_DONE;
	default:
		return THAW__AGENT__GUEST_MESSAGE__BODY_RESUMED;
	}
}

/* False: the conversation is over. */
static int receive(struct world *w, const uint8_t *data, size_t size)
{
	struct thaw_agent *agent = &w->agent;
	Thaw__Agent__GuestMessage__BodyCase want = wanted(take(&data, &size, 1));
	Thaw__Agent__GuestMessage *message = NULL;
	struct thaw_error err = {0};
	size_t count = agent->asked_count;
	int rc;

	if (!count)
		return 1;
	uint32_t seq = agent->asked[0].seq;
	check(thaw_agent_receive(agent, seq + 1, want, 0, &message, NULL) == -EINVAL);
	if (agent->asked[0].invoke) {
		want = THAW__AGENT__GUEST_MESSAGE__BODY_INVOKE_DONE;
		rc = thaw_agent_receive_invoke(agent, seq, thaw_deadline(60000), &message, &err);
	} else {
		rc = thaw_agent_receive(agent, seq, want, thaw_deadline(60000), &message, &err);
	}
	check((rc == 0) == (message != NULL));
	if (rc == 0) {
		check(message->seq == seq && message->body_case == want);
		if (want == THAW__AGENT__GUEST_MESSAGE__BODY_INVOKE_DONE)
			check_invoke_done(agent, message->invoke_done);
		thaw__agent__guest_message__free_unpacked(message, NULL);
	} else {
		check(rc == -EPIPE || rc == -EPROTO || rc == -EREMOTEIO);
		check(err.code == -rc && err.message[0]);
		for (const char *c = err.message; *c; c++)
			check((uint8_t)*c >= ' ' && *c != 0x7f);
	}
	if (rc == 0 || rc == -EREMOTEIO)
		check(agent->asked_count == count - 1);
	check(agent->response_space <= 2 * THAW_PAYLOAD_MAX);
	check(agent->reader.space <= 2 * THAW_FRAME_MAX);
	return rc == 0 || rc == -EREMOTEIO;
}

static int happen(struct world *w, unsigned int event, const uint8_t *data, size_t size)
{
	switch (event) {
	case EVENT_ASK:
		ask(w, data, size);
		break;
	case EVENT_RECEIVE:
		return receive(w, data, size);
	case EVENT_GREETING:
		say(w, "OK 7\n", 5);
		break;
	case EVENT_BYTES:
		say(w, data, size);
		break;
	case EVENT_FRAME:
		say_frame(w, data, size);
		break;
	case EVENT_CHUNK:
		say_chunk(w, data, size);
		break;
	case EVENT_DONE:
		say_done(w, data, size);
		break;
	case EVENT_LOG:
		say_log(w, data, size);
		break;
	default:
		w->pace = (size_t)1 << take(&data, &size, 1) % 20;
		break;
	}
	return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = {.agent = THAW_AGENT_NONE, .pace = STREAM_MAX};
	int ends[2], always = eventfd(1, EFD_CLOEXEC), good = 1;

	check(always >= 0);
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
	w.guest = ends[1];
	w.agent.log = hear_log;
	w.agent.watch = (struct thaw_agent_watch){
		.fd = always,
		.ready = guest_goes_on,
		.context = &w,
	};
	check(thaw_agent_open(&w.agent, ends[0], THAW_AGENT_PORT, NULL) == 0);
	while (good && size >= 3) {
		unsigned int event = data[0] % EVENTS;
		size_t length = (size_t)data[1] | (size_t)data[2] << 8;
		data += 3;
		size -= 3;
		if (length > size)
			length = size;
		good = happen(&w, event, data, length);
		data += length;
		size -= length;
	}
	while (good && w.agent.asked_count)
		good = receive(&w, NULL, 0);
	thaw_agent_close(&w.agent);
	thaw_frame_reader_clear(&w.heard);
	close(w.guest);
	close(always);
	free(w.stream);
	return 0;
}
