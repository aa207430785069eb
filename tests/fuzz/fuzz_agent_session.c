/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole session of the agent between a host and a runtime, both hostile. The input is a list of
 * events: a byte that says which, a byte of length, and so many bytes. There is no process behind
 * the runtime: its life and its death are events too.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Greater than any process id: a signal sent to it reaches nobody. */
#define NOBODY  0x7ffffff0
#define CLIENTS 3

enum event {
	EVENT_HOST_BYTES,
	EVENT_HOST_FRAME,
	EVENT_CONFIGURE,
	EVENT_START, /* a runtime lives */
	EVENT_DEATH,
	EVENT_TIME, /* the operation's time is over */
	EVENT_HOST_RECONNECT,
	EVENT_CLIENT_CLOSE,
	EVENT_CLIENT_BYTES, /* and the two above it: which client */
	EVENTS = EVENT_CLIENT_BYTES + CLIENTS,
};

struct world {
	struct thaw_loop loop;
	struct thaw_session session;
	int host;
	int clients[CLIENTS];
	struct thaw_frame_reader heard;
};

static int make_pair(int *theirs)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
		abort();
	*theirs = ends[1];
	return ends[0];
}

/* What the agent says must be frames of its protocol. */
static void hear_host(struct world *w)
{
	const uint8_t *body;
	size_t size;
	int rc;

	if (w->host < 0)
		return;
	while (thaw_frame_fill(&w->heard, w->host) > 0) {
		while ((rc = thaw_frame_next(&w->heard, &body, &size)) > 0) {
			Thaw__Agent__GuestMessage *message =
				thaw__agent__guest_message__unpack(NULL, size, body);
			if (!message)
				abort();
			thaw__agent__guest_message__free_unpacked(message, NULL);
		}
		if (rc < 0)
			abort();
	}
}

static void settle(struct world *w)
{
	uint8_t bytes[4096];

	for (int i = 0; i < 3; i++) {
		thaw_loop_step(&w->loop, 0);
		thaw_session_pump(&w->session);
		hear_host(w);
		for (int c = 0; c < CLIENTS; c++) {
			while (w->clients[c] >= 0 && read(w->clients[c], bytes, sizeof(bytes)) > 0)
				;
		}
	}
}

static void connect_host(struct world *w)
{
	int theirs;

	if (w->host >= 0)
		close(w->host);
	thaw_frame_reader_clear(&w->heard);
	w->host = make_pair(&theirs);
	thaw_session_attach(&w->session, theirs);
}

static void tell_host(struct world *w, const void *data, size_t size)
{
	if (w->host >= 0 && send(w->host, data, size, MSG_NOSIGNAL) < 0)
		return;
}

static void tell_client(struct world *w, unsigned int which, const uint8_t *data, size_t size)
{
	int theirs;

	if (w->clients[which] < 0) {
		w->clients[which] = make_pair(&theirs);
		thaw_http_server_adopt(&w->session.api.server, theirs);
	}
	if (send(w->clients[which], data, size, MSG_NOSIGNAL) < 0)
		return;
}

static void configure(struct world *w)
{
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__Configure body = THAW__AGENT__CONFIGURE__INIT;
	Thaw__Agent__Function function = THAW__AGENT__FUNCTION__INIT;
	uint8_t bytes[256];

	function.handler = "a.b";
	function.memory_mib = 128;
	body.function = &function;
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_CONFIGURE;
	message.configure = &body;
	size_t size = thaw__agent__host_message__pack(&message, bytes + THAW_FRAME_HEADER);
	thaw_frame_header(bytes, (uint32_t)size);
	tell_host(w, bytes, THAW_FRAME_HEADER + size);
}

static void happen(struct world *w, unsigned int event, const uint8_t *data, size_t size)
{
	struct thaw_session *s = &w->session;
	uint8_t header[THAW_FRAME_HEADER];

	switch (event) {
	case EVENT_HOST_BYTES:
		tell_host(w, data, size);
		break;
	case EVENT_HOST_FRAME:
		thaw_frame_header(header, (uint32_t)size);
		tell_host(w, header, sizeof(header));
		tell_host(w, data, size);
		break;
	case EVENT_CONFIGURE:
		configure(w);
		break;
	case EVENT_START:
		if (s->configuration && !s->runtime.pid)
			s->runtime.pid = NOBODY;
		break;
	case EVENT_DEATH:
		if (s->runtime.pid) {
			s->runtime.pid = 0;
			s->runtime.dying(&s->runtime);
			s->runtime.died(&s->runtime, size ? data[0] << 8 : 9, false);
		}
		break;
	case EVENT_TIME:
		if (s->timer.at_ns) {
			s->timer.at_ns = 0;
			s->timer.expired(&s->timer);
		}
		break;
	case EVENT_HOST_RECONNECT:
		connect_host(w);
		break;
	case EVENT_CLIENT_CLOSE:
		event = size ? data[0] % CLIENTS : 0;
		if (w->clients[event] >= 0)
			close(w->clients[event]);
		w->clients[event] = -1;
		break;
	default:
		tell_client(w, event - EVENT_CLIENT_BYTES, data, size);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	const struct thaw_session_config config = {
		.place =
			{
				.root = "/nonexistent",
				.task = "/var/task",
				.opt = "/opt",
				.runtime_dir = "/var/runtime",
			},
	};
	struct thaw_error err;

	signal(SIGPIPE, SIG_IGN);
	if (thaw_loop_open(&w.loop, &err) < 0 ||
	    thaw_session_open(&w.session, &w.loop, &config, &err) < 0)
		abort();
	w.host = -1;
	for (int i = 0; i < CLIENTS; i++)
		w.clients[i] = -1;
	connect_host(&w);
	for (size_t at = 0; at + 2 <= size && !w.loop.stopped;) {
		size_t length = data[at + 1];
		if (length > size - at - 2)
			length = size - at - 2;
		happen(&w, data[at] % EVENTS, data + at + 2, length);
		settle(&w);
		at += 2 + length;
	}
	w.session.runtime.pid = 0;
	thaw_session_close(&w.session);
	for (int i = 0; i < CLIENTS; i++) {
		if (w.clients[i] >= 0)
			close(w.clients[i]);
	}
	close(w.host);
	thaw_frame_reader_clear(&w.heard);
	thaw_loop_close(&w.loop);
	return 0;
}
