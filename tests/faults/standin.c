/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In thaw-vmm's place: a microVM and its agent as the host sees them, without a guest. It answers
 * what the host asks, and at each step does what the file "orders" beside it says, which is read
 * anew every time: a line a step, "STEP FAULT [NUMBER]".
 *
 *	kill stop        the process ends, or stands still, in place of the answer
 *	killed stopped   and right after it
 *	mute             no answer to this
 *	hangup           the socket is closed, the process stays
 *	cut noise id     half of an answer; nonsense; one with another number
 *	fail NUMBER      a failure with this errno
 *	slow NUMBER      the answer is so many ms late
 *	flood            log lines without end, and no answer (the agent's steps)
 *	talk NUMBER      so many of them, and the answer
 *	dead late gone   init, invoke: the runtime exits; overruns; overruns while it starts anew
 *
 * "spawn" is the step before the first request. Steps are written to "steps" there, if it exists.
 * An event of {"sleep": MS} is answered late.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/frame.h"
#include "proto/agent.pb-c.h"
#include "proto/vmm.pb-c.h"

#define CONTROL 3
#define IMAGE   65536

static char place[PATH_MAX];
static int stream = -1; /* to the host, as the agent has it */
static bool greeted;
static struct thaw_frame_reader reader;

static void rest(uint64_t ms)
{
	const struct timespec time = {.tv_sec = (time_t)(ms / 1000),
				      .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&time, NULL);
}

/* --- orders --- */

struct order {
	char fault[16];
	long number;
};

static FILE *beside(const char *name, const char *mode)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/%s", place, name);
	return strcmp(mode, "a") == 0 && access(path, F_OK) < 0 ? NULL : fopen(path, mode);
}

static struct order order_of(const char *step)
{
	struct order order = {.fault = ""}, read;
	char name[16], line[128];

	FILE *file = beside("steps", "a");
	if (file) {
		fprintf(file, "%s\n", step);
		fclose(file);
	}
	file = beside("orders", "r");
	while (file && fgets(line, sizeof(line), file)) {
		read.number = 0;
		if (sscanf(line, "%15s %15s %ld", name, read.fault, &read.number) >= 2 &&
		    strcmp(name, step) == 0)
			order = read;
	}
	if (file)
		fclose(file);
	return order;
}

static bool is(const struct order *order, const char *fault)
{
	return strcmp(order->fault, fault) == 0;
}

/* As the first process of a namespace, which takes no signal that it sends itself; a trap is the
 * processor's. Who stands still does not wait for anything. */
static void end(void)
{
	__builtin_trap();
}

static void stand_still(void)
{
	for (;;)
		pause();
}

/* What is alike for all steps. False: there is no answer to be given. */
static bool obey(const struct order *order, int *socket)
{
	if (is(order, "kill"))
		end();
	if (is(order, "stop"))
		stand_still();
	if (is(order, "slow"))
		rest((uint64_t)order->number);
	if (is(order, "hangup")) {
		close(*socket);
		stand_still();
	}
	return !is(order, "mute");
}

static void obey_after(const struct order *order)
{
	if (is(order, "killed"))
		end();
	if (is(order, "stopped"))
		stand_still();
}

/* --- thaw-vmm's part --- */

static void reply_send(const struct order *order, Thaw__Vmm__Reply *reply)
{
	Thaw__Vmm__Failure failure = THAW__VMM__FAILURE__INIT;
	int socket = CONTROL;
	uint8_t packet[4096];

	if (!obey(order, &socket))
		return;
	if (is(order, "fail")) {
		failure.code = (int32_t)order->number;
		failure.message = (char *)"as ordered";
		reply->body_case = THAW__VMM__REPLY__BODY_FAILURE;
		reply->failure = &failure;
	}
	if (is(order, "id"))
		reply->id += 100;
	size_t size = thaw__vmm__reply__pack(reply, packet);
	if (is(order, "noise"))
		memset(packet, 0xff, size);
	if (is(order, "cut"))
		size = (size + 1) / 2;
	send(CONTROL, packet, size, MSG_NOSIGNAL);
	obey_after(order);
}

static void reply_done(const char *step, uint32_t id)
{
	Thaw__Vmm__Reply reply = THAW__VMM__REPLY__INIT;
	Thaw__Vmm__Done done = THAW__VMM__DONE__INIT;
	struct order order = order_of(step);

	reply.id = id;
	reply.body_case = THAW__VMM__REPLY__BODY_DONE;
	reply.done = &done;
	reply_send(&order, &reply);
}

static void reply_create(const char *step, uint32_t id)
{
	Thaw__Vmm__Reply reply = THAW__VMM__REPLY__INIT;
	Thaw__Vmm__CreateDone done = THAW__VMM__CREATE_DONE__INIT;
	struct order order = order_of(step);

	done.cpu_template = THAW__VMM__CPU_TEMPLATE__CPU_TEMPLATE_HOST;
	reply.id = id;
	reply.body_case = THAW__VMM__REPLY__BODY_CREATE;
	reply.create = &done;
	reply_send(&order, &reply);
}

static void mark(const char *step, uint32_t value)
{
	Thaw__Vmm__Reply reply = THAW__VMM__REPLY__INIT;
	Thaw__Vmm__Mark body = THAW__VMM__MARK__INIT;
	struct order order = order_of(step);

	body.value = value;
	reply.body_case = THAW__VMM__REPLY__BODY_MARK;
	reply.mark = &body;
	reply_send(&order, &reply);
}

static void fill(int fd, const char *text, off_t size)
{
	if (thaw_write_full(fd, text, strlen(text)) < 0 || ftruncate(fd, size) < 0)
		_exit(4);
}

static void reply_snapshot(uint32_t id, const struct thaw_fds *fds)
{
	Thaw__Vmm__Reply reply = THAW__VMM__REPLY__INIT;
	Thaw__Vmm__SnapshotDone done = THAW__VMM__SNAPSHOT_DONE__INIT;
	Thaw__Vmm__Snapshot__Shape shape = THAW__VMM__SNAPSHOT__SHAPE__INIT;
	struct order order = order_of("snapshot");

	fill(fds->fd[0], "state", 100);
	fill(fds->fd[1], "index", 200);
	fill(fds->fd[2], "frames", 300);
	if (fds->count > 3)
		fill(fds->fd[3], "image", IMAGE);
	shape.pages = 1;
	shape.frames = 1;
	done.shape = &shape;
	reply.id = id;
	reply.body_case = THAW__VMM__REPLY__BODY_SNAPSHOT;
	reply.snapshot = &done;
	reply_send(&order, &reply);
}

static void take_stream(struct thaw_fds *fds)
{
	stream = fds->fd[fds->count - 1];
	fds->fd[fds->count - 1] = -1;
	greeted = false;
}

static void reply_restore(uint32_t id, struct thaw_fds *fds)
{
	Thaw__Vmm__Reply reply = THAW__VMM__REPLY__INIT;
	Thaw__Vmm__RestoreDone done = THAW__VMM__RESTORE_DONE__INIT;
	struct order order = order_of("restore");

	take_stream(fds);
	reply.id = id;
	reply.body_case = THAW__VMM__REPLY__BODY_RESTORE;
	reply.restore = &done;
	reply_send(&order, &reply);
}

static void request_take(const Thaw__Vmm__Request *request, struct thaw_fds *fds)
{
	switch (request->body_case) {
	case THAW__VMM__REQUEST__BODY_CREATE:
		reply_create("create", request->id);
		break;
	case THAW__VMM__REQUEST__BODY_ATTACH:
		reply_create("attach", request->id);
		break;
	case THAW__VMM__REQUEST__BODY_BOOT:
		reply_done("boot", request->id);
		mark("entered", 1);
		mark("listens", 2);
		break;
	case THAW__VMM__REQUEST__BODY_VSOCK_ATTACH:
		take_stream(fds);
		reply_done("vsock", request->id);
		break;
	case THAW__VMM__REQUEST__BODY_RESTORE:
		reply_restore(request->id, fds);
		break;
	case THAW__VMM__REQUEST__BODY_PAUSE:
		reply_done("pause", request->id);
		break;
	case THAW__VMM__REQUEST__BODY_RESUME:
		reply_done("run", request->id);
		break;
	case THAW__VMM__REQUEST__BODY_SNAPSHOT:
		reply_snapshot(request->id, fds);
		break;
	case THAW__VMM__REQUEST__BODY_MATERIALISE:
		fill(fds->fd[2], "image", IMAGE);
		reply_done("materialise", request->id);
		break;
	case THAW__VMM__REQUEST__BODY_SAVE_WORKING_SET:
		fill(fds->fd[0], "working set", 100);
		reply_done("touched", request->id);
		break;
	default:
		reply_done("other", request->id);
	}
}

static void control_take(void)
{
	static uint8_t packet[65536];
	struct thaw_fds fds;

	ssize_t n = thaw_recv_fds(CONTROL, packet, sizeof(packet), fds.fd, &fds.count);
	if (n <= 0)
		_exit(0);
	Thaw__Vmm__Request *request = thaw__vmm__request__unpack(NULL, (size_t)n, packet);
	if (!request)
		_exit(2);
	request_take(request, &fds);
	thaw__vmm__request__free_unpacked(request, NULL);
	thaw_fds_close(&fds);
}

/* --- the agent's part --- */

static void stream_lost(void)
{
	close(stream);
	stream = -1;
	greeted = false;
	thaw_frame_reader_clear(&reader);
}

static void stream_write(const uint8_t *data, size_t size)
{
	if (thaw_write_full(stream, data, size) < 0)
		stream_lost();
}

static void frame_send(const Thaw__Agent__GuestMessage *message, const struct order *order)
{
	size_t size = thaw__agent__guest_message__get_packed_size(message);
	uint8_t *frame = malloc(THAW_FRAME_HEADER + size);

	thaw_frame_header(frame, (uint32_t)size);
	thaw__agent__guest_message__pack(message, frame + THAW_FRAME_HEADER);
	size += THAW_FRAME_HEADER;
	if (is(order, "noise"))
		memset(frame + THAW_FRAME_HEADER, 0xff, size - THAW_FRAME_HEADER);
	stream_write(frame, is(order, "cut") ? (size + 1) / 2 : size);
	free(frame);
}

static void flood(long count)
{
	static uint8_t text[4096];
	const struct order none = {.fault = ""};
	Thaw__Agent__GuestMessage message = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__Log log = THAW__AGENT__LOG__INIT;

	memset(text, 'x', sizeof(text));
	log.data.data = text;
	log.data.len = sizeof(text);
	message.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_LOG;
	message.log = &log;
	while (stream >= 0 && count-- > 0)
		frame_send(&message, &none);
}

static void answer_send(const struct order *order, Thaw__Agent__GuestMessage *answer, uint32_t seq)
{
	Thaw__Agent__Failure failure = THAW__AGENT__FAILURE__INIT;

	if (!obey(order, &stream))
		return;
	if (is(order, "flood"))
		flood(LONG_MAX);
	if (is(order, "talk"))
		flood(order->number);
	if (is(order, "fail")) {
		failure.message = (char *)"as ordered";
		answer->body_case = THAW__AGENT__GUEST_MESSAGE__BODY_FAILURE;
		answer->failure = &failure;
	}
	answer->seq = is(order, "id") ? seq + 100 : seq;
	if (stream >= 0)
		frame_send(answer, order);
	obey_after(order);
}

static Thaw__Agent__Outcome outcome_of(const struct order *order)
{
	return is(order, "dead")                        ? THAW__AGENT__OUTCOME__OUTCOME_EXIT
	       : is(order, "late") || is(order, "gone") ? THAW__AGENT__OUTCOME__OUTCOME_TIMEOUT
							: THAW__AGENT__OUTCOME__OUTCOME_OK;
}

static void answer_invoke(const Thaw__Agent__Invoke *invoke, uint32_t seq)
{
	static char error[] = "{\"errorMessage\":\"as ordered\",\"errorType\":\"Ordered\"}";
	static bool died; /* the runtime, in an earlier one */
	Thaw__Agent__GuestMessage answer = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__InvokeDone done = THAW__AGENT__INVOKE_DONE__INIT;
	struct order order = order_of("invoke");
	unsigned int ms;
	char text[64] = "";

	memcpy(text, invoke->payload.data,
	       invoke->payload.len < sizeof(text) - 1 ? invoke->payload.len : sizeof(text) - 1);
	if (sscanf(text, "{\"sleep\": %u", &ms) == 1)
		rest(ms);
	done.outcome = outcome_of(&order);
	done.payload = invoke->payload;
	done.response_size = invoke->payload.len;
	if (done.outcome != THAW__AGENT__OUTCOME__OUTCOME_OK) {
		done.payload.data = (uint8_t *)error;
		done.payload.len = strlen(error);
	}
	done.duration_us = 1000;
	if (died && !is(&order, "gone"))
		done.init_duration_us = 1000;
	died = done.outcome != THAW__AGENT__OUTCOME__OUTCOME_OK;
	answer.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_INVOKE_DONE;
	answer.invoke_done = &done;
	answer_send(&order, &answer, seq);
}

static void answer_init(uint32_t seq)
{
	Thaw__Agent__GuestMessage answer = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__InitDone init = THAW__AGENT__INIT_DONE__INIT;
	struct order order = order_of("init");

	init.outcome = outcome_of(&order);
	answer.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_INIT_DONE;
	answer.init_done = &init;
	answer_send(&order, &answer, seq);
}

static void message_take(const Thaw__Agent__HostMessage *message)
{
	Thaw__Agent__GuestMessage answer = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__Configured configured = THAW__AGENT__CONFIGURED__INIT;
	Thaw__Agent__SnapshotReady ready = THAW__AGENT__SNAPSHOT_READY__INIT;
	Thaw__Agent__Resumed resumed = THAW__AGENT__RESUMED__INIT;
	struct order order;

	switch (message->body_case) {
	case THAW__AGENT__HOST_MESSAGE__BODY_INIT:
		answer_init(message->seq);
		return;
	case THAW__AGENT__HOST_MESSAGE__BODY_INVOKE:
		answer_invoke(message->invoke, message->seq);
		return;
	case THAW__AGENT__HOST_MESSAGE__BODY_CONFIGURE:
		order = order_of("configure");
		answer.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_CONFIGURED;
		answer.configured = &configured;
		break;
	case THAW__AGENT__HOST_MESSAGE__BODY_PREPARE_SNAPSHOT:
		order = order_of("prepare");
		answer.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_SNAPSHOT_READY;
		answer.snapshot_ready = &ready;
		break;
	case THAW__AGENT__HOST_MESSAGE__BODY_RESUME:
		order = order_of("resume");
		answer.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_RESUMED;
		answer.resumed = &resumed;
		break;
	default:
		return;
	}
	answer_send(&order, &answer, message->seq);
}

static void greet(void)
{
	struct order order = order_of("connect");
	const char *text = is(&order, "noise") ? "NO\n" : "OK 1\n";
	char c = 0;

	while (c != '\n') {
		if (read(stream, &c, 1) != 1) {
			stream_lost();
			return;
		}
	}
	greeted = true;
	if (!obey(&order, &stream))
		return;
	stream_write((const uint8_t *)text, is(&order, "cut") ? 2 : strlen(text));
	obey_after(&order);
}

static void stream_take(void)
{
	const uint8_t *body;
	size_t size;

	if (!greeted) {
		greet();
		return;
	}
	if (thaw_frame_fill(&reader, stream) <= 0) {
		stream_lost();
		return;
	}
	while (stream >= 0 && thaw_frame_next(&reader, &body, &size) == 1) {
		Thaw__Agent__HostMessage *message =
			thaw__agent__host_message__unpack(NULL, size, body);
		if (!message)
			_exit(2);
		message_take(message);
		thaw__agent__host_message__free_unpacked(message, NULL);
	}
}

int main(void)
{
	struct order order;
	int socket = CONTROL;

	/* As it was started: a link to this program, with its orders beside it. */
	snprintf(place, sizeof(place), "%s", (const char *)getauxval(AT_EXECFN));
	*strrchr(place, '/') = 0;
	order = order_of("spawn");
	obey(&order, &socket);
	for (;;) {
		struct pollfd watch[] = {{.fd = CONTROL, .events = POLLIN},
					 {.fd = stream, .events = POLLIN}};
		if (poll(watch, 2, -1) < 0)
			continue;
		if (watch[0].revents)
			control_take();
		else if (watch[1].revents)
			stream_take();
	}
}
