/* SPDX-License-Identifier: Apache-2.0 */
/* The client of thaw-agent against a guest that is right, and guests that are hostile. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/agent_client.h"
#include "host/timeouts.h"
#include "lib/error.h"
#include "lib/fd.h"

struct guest {
	struct thaw_agent agent;
	int socket; /* the guest's end, thaw-vmm's greeting included */
	size_t logged;
	Thaw__Agent__Log__Source source; /* of the latest log */
	pthread_t thread;                /* talks */
	const uint8_t *phrase;           /* what it says, again and again */
	size_t phrase_size;
};

static void count_log(void *context, Thaw__Agent__Log__Source source, const uint8_t *data,
		      size_t size, uint64_t dropped)
{
	struct guest *guest = context;

	(void)data;
	(void)dropped;
	guest->source = source;
	guest->logged += size;
}

static int setup(void **state)
{
	static struct guest guest;
	const struct timeval patience = {.tv_sec = 20};
	char line[32] = "";
	int pair[2];

	guest = (struct guest){.agent = THAW_AGENT_NONE};
	guest.agent.log = count_log;
	guest.agent.log_context = &guest;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	setsockopt(pair[1], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_int_equal(thaw_agent_open(&guest.agent, pair[0], 1024, NULL), 0);
	assert_int_equal(thaw_agent_flush(&guest.agent, NULL), 0);
	guest.socket = pair[1];
	assert_int_equal(read(guest.socket, line, 13), 13);
	assert_string_equal(line, "CONNECT 1024\n");
	*state = &guest;
	return 0;
}

static int teardown(void **state)
{
	struct guest *guest = *state;

	thaw_cleanup_close(&guest->socket);
	thaw_agent_close(&guest->agent);
	return 0;
}

static void greet(struct guest *guest)
{
	assert_int_equal(thaw_write_full(guest->socket, "OK 1073741824\n", 14), 0);
}

static void guest_send(struct guest *guest, const Thaw__Agent__GuestMessage *message)
{
	size_t size = thaw__agent__guest_message__get_packed_size(message);
	uint8_t *frame = malloc(THAW_FRAME_HEADER + size);

	assert_non_null(frame);
	thaw_frame_header(frame, (uint32_t)size);
	thaw__agent__guest_message__pack(message, frame + THAW_FRAME_HEADER);
	assert_int_equal(thaw_write_full(guest->socket, frame, THAW_FRAME_HEADER + size), 0);
	free(frame);
}

static void guest_pong(struct guest *guest, uint32_t seq)
{
	Thaw__Agent__GuestMessage message = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__Pong pong = THAW__AGENT__PONG__INIT;

	message.seq = seq;
	message.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_PONG;
	message.pong = &pong;
	guest_send(guest, &message);
}

static void guest_log(struct guest *guest, const char *text)
{
	Thaw__Agent__GuestMessage message = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__Log log = THAW__AGENT__LOG__INIT;

	log.data.data = (uint8_t *)text;
	log.data.len = strlen(text);
	message.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_LOG;
	message.log = &log;
	guest_send(guest, &message);
}

static void guest_chunk(struct guest *guest, uint32_t seq, const uint8_t *data, size_t size)
{
	Thaw__Agent__GuestMessage message = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__Chunk chunk = THAW__AGENT__CHUNK__INIT;

	chunk.data.data = (uint8_t *)data;
	chunk.data.len = size;
	message.seq = seq;
	message.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_CHUNK;
	message.chunk = &chunk;
	guest_send(guest, &message);
}

static void guest_done(struct guest *guest, uint32_t seq, Thaw__Agent__Outcome outcome,
		       const char *payload, uint64_t size)
{
	Thaw__Agent__GuestMessage message = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__InvokeDone done = THAW__AGENT__INVOKE_DONE__INIT;

	done.outcome = outcome;
	done.payload.data = (uint8_t *)payload;
	done.payload.len = strlen(payload);
	done.response_size = size;
	message.seq = seq;
	message.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_INVOKE_DONE;
	message.invoke_done = &done;
	guest_send(guest, &message);
}

static uint32_t ask_ping(struct guest *guest)
{
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__Ping ping = THAW__AGENT__PING__INIT;
	uint32_t seq;

	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_PING;
	message.ping = &ping;
	assert_int_equal(thaw_agent_send(&guest->agent, &message, &seq, NULL), 0);
	return seq;
}

static uint32_t ask_invoke(struct guest *guest, const uint8_t *payload, size_t size)
{
	Thaw__Agent__Invoke invoke = THAW__AGENT__INVOKE__INIT;
	uint32_t seq;

	invoke.request_id = (char *)"r";
	assert_int_equal(thaw_agent_send_invoke(&guest->agent, &invoke, payload, size, &seq, NULL),
			 0);
	return seq;
}

static int wait_pong(struct guest *guest, uint32_t seq, uint32_t ms, struct thaw_error *err)
{
	return thaw_agent_receive(&guest->agent, seq, THAW__AGENT__GUEST_MESSAGE__BODY_PONG,
				  thaw_deadline(ms), NULL, err);
}

static int wait_invoke(struct guest *guest, uint32_t seq)
{
	return thaw_agent_receive_invoke(&guest->agent, seq, thaw_deadline(20000), NULL, NULL);
}

static void test_pipelined(void **state)
{
	struct guest *guest = *state;
	uint32_t ping = ask_ping(guest);
	uint32_t invoke = ask_invoke(guest, (const uint8_t *)"{}", 2);

	greet(guest);
	guest_pong(guest, ping);
	guest_log(guest, "hello\n");
	guest_done(guest, invoke, THAW__AGENT__OUTCOME__OUTCOME_OK, "42", 2);
	assert_int_equal(wait_pong(guest, ping, 1000, NULL), 0);
	assert_int_equal(guest->logged, 0);
	assert_int_equal(wait_invoke(guest, invoke), 0);
	assert_int_equal(guest->logged, 6);
	assert_int_equal(guest->agent.response_size, 2);
	assert_memory_equal(guest->agent.response, "42", 2);
}

static void test_refused(void **state)
{
	struct guest *guest = *state;
	uint32_t seq = ask_ping(guest);

	close(guest->socket);
	guest->socket = -1;
	assert_int_equal(wait_pong(guest, seq, 1000, NULL), -EPIPE);
}

static void test_bad_greetings(void **state)
{
	static const char *const bad[] = {"ERR\n",   "OK\n",
					  "OK x\n",  "OK 12x\n",
					  "OK -1\n", "OK 00000000000000000000000000000000000\n"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct guest *guest = *state;
		uint32_t seq = ask_ping(guest);
		assert_int_equal(thaw_write_full(guest->socket, bad[i], strlen(bad[i])), 0);
		assert_int_equal(wait_pong(guest, seq, 1000, NULL), -EPROTO);
		teardown(state);
		setup(state);
	}
}

static void test_wrong_seq(void **state)
{
	struct guest *guest = *state;
	uint32_t seq = ask_ping(guest);

	greet(guest);
	guest_pong(guest, seq + 1);
	assert_int_equal(wait_pong(guest, seq, 1000, NULL), -EPROTO);
}

static void test_wrong_kind(void **state)
{
	struct guest *guest = *state;
	uint32_t seq = ask_ping(guest);

	greet(guest);
	guest_done(guest, seq, THAW__AGENT__OUTCOME__OUTCOME_OK, "", 0);
	assert_int_equal(wait_pong(guest, seq, 1000, NULL), -EPROTO);
}

static void test_chunk_for_ping(void **state)
{
	struct guest *guest = *state;
	uint32_t seq = ask_ping(guest);

	greet(guest);
	guest_chunk(guest, seq, (const uint8_t *)"x", 1);
	assert_int_equal(wait_pong(guest, seq, 1000, NULL), -EPROTO);
}

static void test_failure(void **state)
{
	struct guest *guest = *state;
	Thaw__Agent__GuestMessage message = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__Failure failure = THAW__AGENT__FAILURE__INIT;
	struct thaw_error err = {0};

	message.seq = ask_ping(guest);
	failure.message = (char *)"no such\ndevice";
	message.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_FAILURE;
	message.failure = &failure;
	greet(guest);
	guest_send(guest, &message);
	assert_int_equal(wait_pong(guest, message.seq, 1000, &err), -EREMOTEIO);
	assert_string_equal(err.message, "the agent: no such?device");
	/* The conversation goes on. */
	uint32_t seq = ask_ping(guest);
	guest_pong(guest, seq);
	assert_int_equal(wait_pong(guest, seq, 1000, NULL), 0);
}

static void test_oversized_frame(void **state)
{
	struct guest *guest = *state;
	uint32_t seq = ask_ping(guest);
	uint8_t header[THAW_FRAME_HEADER];

	greet(guest);
	thaw_frame_header(header, THAW_FRAME_MAX + 1);
	assert_int_equal(thaw_write_full(guest->socket, header, sizeof(header)), 0);
	assert_int_equal(wait_pong(guest, seq, 1000, NULL), -EPROTO);
}

static void test_malformed_frame(void **state)
{
	struct guest *guest = *state;
	uint32_t seq = ask_ping(guest);

	greet(guest);
	assert_int_equal(thaw_write_full(guest->socket, "\4\0\0\0\xff\xff\xff\xff", 8), 0);
	assert_int_equal(wait_pong(guest, seq, 1000, NULL), -EPROTO);
}

static void test_end_in_a_frame(void **state)
{
	struct guest *guest = *state;
	uint32_t seq = ask_ping(guest);

	greet(guest);
	assert_int_equal(thaw_write_full(guest->socket, "\4\0\0\0\x08", 5), 0);
	shutdown(guest->socket, SHUT_WR);
	assert_int_equal(wait_pong(guest, seq, 1000, NULL), -EPIPE);
}

static void test_silence(void **state)
{
	struct guest *guest = *state;
	uint32_t seq = ask_ping(guest);

	assert_int_equal(wait_pong(guest, seq, 20, NULL), -ETIMEDOUT);
	greet(guest);
	assert_int_equal(wait_pong(guest, seq, 20, NULL), -ETIMEDOUT);
}

/* A guest that talks for ever. */
static void *talk(void *context)
{
	const struct guest *guest = context;

	while (send(guest->socket, guest->phrase, guest->phrase_size, MSG_NOSIGNAL) > 0)
		;
	return NULL;
}

static void talk_start(struct guest *guest, const void *phrase, size_t size)
{
	guest->phrase = phrase;
	guest->phrase_size = size;
	assert_int_equal(pthread_create(&guest->thread, NULL, talk, guest), 0);
}

static void talk_end(struct guest *guest)
{
	thaw_agent_close(&guest->agent);
	pthread_join(guest->thread, NULL);
}

/* It logs, and never answers. */
static void test_endless_log(void **state)
{
	static const uint8_t frame[] = {7, 0, 0, 0, 0x62, 5, 0x12, 3, 'a', 'b', '\n'};
	struct guest *guest = *state;
	uint32_t seq = ask_ping(guest);

	greet(guest);
	talk_start(guest, frame, sizeof(frame));
	assert_int_equal(wait_pong(guest, seq, 100, NULL), -ETIMEDOUT);
	assert_true(guest->logged > 0);
	talk_end(guest);
}

/* A frame that comes bit by bit, and is always about to be whole. */
static void test_endless_frame(void **state)
{
	struct guest *guest = *state;
	uint32_t seq = ask_ping(guest);
	uint8_t header[THAW_FRAME_HEADER];

	greet(guest);
	thaw_frame_header(header, THAW_FRAME_MAX);
	assert_int_equal(thaw_write_full(guest->socket, header, sizeof(header)), 0);
	talk_start(guest, "x", 1);
	assert_int_equal(wait_pong(guest, seq, 50, NULL), -ETIMEDOUT);
	talk_end(guest);
}

/* A response of single bytes: six million of them would be allowed. */
static void test_endless_chunks(void **state)
{
	static const uint8_t frame[] = {7, 0, 0, 0, 0x08, 1, 0x32, 3, 0x0a, 1, 'x'};
	static uint8_t frames[sizeof(frame) * 6000];
	struct guest *guest = *state;
	uint32_t seq = ask_invoke(guest, (const uint8_t *)"{}", 2);

	assert_int_equal(seq, 1);
	/* So many at once that there is always more to read. */
	for (size_t at = 0; at < sizeof(frames); at += sizeof(frame))
		memcpy(frames + at, frame, sizeof(frame));
	greet(guest);
	talk_start(guest, frames, sizeof(frames));
	assert_int_equal(
		thaw_agent_receive_invoke(&guest->agent, seq, thaw_deadline(100), NULL, NULL),
		-ETIMEDOUT);
	assert_true(guest->agent.response_size > 0);
	talk_end(guest);
}

/* A good answer, and half a million fields that nobody knows, each of which would be kept. */
static void test_many_fields(void **state)
{
	struct guest *guest = *state;
	uint32_t seq = ask_ping(guest);
	size_t size = THAW_FRAME_HEADER + THAW_FRAME_MAX;
	struct thaw_error err = {0};
	uint8_t *frame = malloc(size);

	assert_non_null(frame);
	thaw_frame_header(frame, THAW_FRAME_MAX);
	for (size_t at = THAW_FRAME_HEADER; at < size; at += 2) {
		frame[at] = 15 << 3; /* field 15, a number */
		frame[at + 1] = 0;
	}
	memcpy(frame + THAW_FRAME_HEADER, "\x08\x01\x1a\x00", 4); /* seq 1, a Pong */
	assert_int_equal(seq, 1);
	greet(guest);
	talk_start(guest, frame, size);
	assert_int_equal(wait_pong(guest, seq, 20000, &err), -EPROTO);
	assert_string_equal(err.message, "the agent sent a malformed message");
	talk_end(guest);
	free(frame);
}

/* Statistics with phases without end. */
static void test_giant_statistics(void **state)
{
	enum { PHASES = 400000 };
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__GetStatistics ask = THAW__AGENT__GET_STATISTICS__INIT;
	struct guest *guest = *state;
	size_t size = THAW_FRAME_HEADER + 6 + 2 * PHASES;
	uint8_t *frame = malloc(size), *to = frame;
	uint32_t seq;

	assert_non_null(frame);
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_GET_STATISTICS;
	message.get_statistics = &ask;
	assert_int_equal(thaw_agent_send(&guest->agent, &message, &seq, NULL), 0);
	assert_int_equal(seq, 1);
	thaw_frame_header(to, (uint32_t)(size - THAW_FRAME_HEADER));
	to += THAW_FRAME_HEADER;
	memcpy(to, "\x08\x01\x5a", 3); /* seq 1, field 11, and its length */
	to[3] = 0x80 | (2 * PHASES & 0x7f);
	to[4] = 0x80 | (2 * PHASES >> 7 & 0x7f);
	to[5] = 2 * PHASES >> 14;
	for (to += 6; to < frame + size; to += 2)
		memcpy(to, "\x3a\x00", 2); /* field 7: an empty phase */
	greet(guest);
	talk_start(guest, frame, size);
	assert_int_equal(thaw_agent_receive(&guest->agent, seq,
					    THAW__AGENT__GUEST_MESSAGE__BODY_STATISTICS,
					    thaw_deadline(20000), NULL, NULL),
			 -EPROTO);
	talk_end(guest);
	free(frame);
}

static void test_log_sources(void **state)
{
	static const struct {
		int told, taken;
	} sources[] = {
		{THAW__AGENT__LOG__SOURCE__STDOUT, THAW__AGENT__LOG__SOURCE__STDOUT},
		{THAW__AGENT__LOG__SOURCE__STDERR, THAW__AGENT__LOG__SOURCE__STDERR},
		{THAW__AGENT__LOG__SOURCE__AGENT, THAW__AGENT__LOG__SOURCE__AGENT},
		{3, THAW__AGENT__LOG__SOURCE__STDOUT},
		{-1, THAW__AGENT__LOG__SOURCE__STDOUT},
	};
	struct guest *guest = *state;

	greet(guest);
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		Thaw__Agent__GuestMessage message = THAW__AGENT__GUEST_MESSAGE__INIT;
		Thaw__Agent__Log log = THAW__AGENT__LOG__INIT;
		uint32_t seq = ask_ping(guest);
		log.source = (Thaw__Agent__Log__Source)sources[i].told;
		message.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_LOG;
		message.log = &log;
		guest_send(guest, &message);
		guest_pong(guest, seq);
		assert_int_equal(wait_pong(guest, seq, 5000, NULL), 0);
		assert_int_equal(guest->source, sources[i].taken);
	}
}

/* We stood still meanwhile: what has come counts, also behind lines of log. */
static void test_late_look(void **state)
{
	struct guest *guest = *state;
	uint32_t seq = ask_ping(guest);

	greet(guest);
	for (int i = 0; i < 3; i++)
		guest_log(guest, "hello\n");
	guest_pong(guest, seq);
	assert_int_equal(thaw_agent_receive(&guest->agent, seq,
					    THAW__AGENT__GUEST_MESSAGE__BODY_PONG, 1, NULL, NULL),
			 0);
	assert_int_equal(guest->logged, 18);
}

static void test_empty_chunk(void **state)
{
	struct guest *guest = *state;
	uint32_t seq = ask_invoke(guest, (const uint8_t *)"{}", 2);

	greet(guest);
	guest_chunk(guest, seq, (const uint8_t *)"", 0);
	assert_int_equal(wait_invoke(guest, seq), -EPROTO);
}

static void test_sizes_disagree(void **state)
{
	struct guest *guest = *state;
	uint32_t seq = ask_invoke(guest, (const uint8_t *)"{}", 2);

	greet(guest);
	guest_chunk(guest, seq, (const uint8_t *)"abc", 3);
	guest_done(guest, seq, THAW__AGENT__OUTCOME__OUTCOME_OK, "d", 3);
	assert_int_equal(wait_invoke(guest, seq), -EPROTO);
}

static void test_error_drops_the_response(void **state)
{
	struct guest *guest = *state;
	uint32_t seq = ask_invoke(guest, (const uint8_t *)"{}", 2);

	greet(guest);
	guest_chunk(guest, seq, (const uint8_t *)"half a response", 15);
	guest_done(guest, seq, THAW__AGENT__OUTCOME__OUTCOME_ERROR, "{\"errorType\":\"E\"}", 0);
	assert_int_equal(wait_invoke(guest, seq), 0);
	assert_int_equal(guest->agent.response_size, 17);
	assert_memory_equal(guest->agent.response, "{\"errorType\":\"E\"}", 17);
}

/* 6 MB each way at once: neither end may wait for the other. */
struct echo {
	struct guest *guest;
	uint32_t seq;
	size_t extra; /* bytes beyond what came in */
};

static void *echo_run(void *context)
{
	struct echo *echo = context;
	struct thaw_frame_reader reader = {0};
	size_t got = 0, total = 1;
	const uint8_t *body;
	size_t size;

	greet(echo->guest);
	while (got < total) {
		while (thaw_frame_next(&reader, &body, &size) == 0)
			assert_true(thaw_frame_fill(&reader, echo->guest->socket) > 0);
		Thaw__Agent__HostMessage *message =
			thaw__agent__host_message__unpack(NULL, size, body);
		assert_non_null(message);
		const ProtobufCBinaryData *part = &message->invoke->payload;
		if (message->body_case == THAW__AGENT__HOST_MESSAGE__BODY_CHUNK)
			part = &message->chunk->data;
		else
			total = message->invoke->payload_size;
		assert_true(part->len <= THAW_CHUNK_MAX);
		got += part->len;
		guest_chunk(echo->guest, echo->seq, part->data, part->len);
		thaw__agent__host_message__free_unpacked(message, NULL);
	}
	if (echo->extra)
		guest_chunk(echo->guest, echo->seq, (const uint8_t *)"xxxx", echo->extra);
	guest_done(echo->guest, echo->seq, THAW__AGENT__OUTCOME__OUTCOME_OK, "", got + echo->extra);
	thaw_frame_reader_clear(&reader);
	return NULL;
}

static void echo(struct guest *guest, size_t size, size_t extra, int wanted)
{
	uint8_t *payload = malloc(size);
	struct echo echo = {.guest = guest, .extra = extra};
	pthread_t thread;

	for (size_t i = 0; i < size; i++)
		payload[i] = (uint8_t)(i * 31 >> 3);
	echo.seq = ask_invoke(guest, payload, size);
	assert_int_equal(pthread_create(&thread, NULL, echo_run, &echo), 0);
	assert_int_equal(wait_invoke(guest, echo.seq), wanted);
	if (wanted == 0) {
		assert_int_equal(guest->agent.response_size, size);
		assert_memory_equal(guest->agent.response, payload, size);
	}
	pthread_join(thread, NULL);
	free(payload);
}

static void test_six_megabytes(void **state)
{
	echo(*state, THAW_PAYLOAD_MAX, 0, 0);
}

static void test_six_megabytes_and_one(void **state)
{
	struct guest *guest = *state;
	Thaw__Agent__Invoke invoke = THAW__AGENT__INVOKE__INIT;
	uint32_t seq;

	invoke.request_id = (char *)"r";
	assert_int_equal(thaw_agent_send_invoke(&guest->agent, &invoke, (const uint8_t *)"",
						THAW_PAYLOAD_MAX + 1, &seq, NULL),
			 -EMSGSIZE);
	echo(guest, THAW_PAYLOAD_MAX, 1, -EPROTO);
}

static int dead(void *context, struct thaw_error *err)
{
	(void)context;
	return thaw_error_set(err, ECANCELED, "the microVM stopped: test");
}

static void test_watch(void **state)
{
	struct guest *guest = *state;
	struct thaw_error err = {0};
	int pair[2];
	uint32_t seq = ask_ping(guest);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	guest->agent.watch = (struct thaw_agent_watch){.fd = pair[0], .ready = dead};
	greet(guest);
	close(pair[1]);
	assert_int_equal(wait_pong(guest, seq, 5000, &err), -ECANCELED);
	close(pair[0]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_pipelined),
		T(test_refused),
		T(test_bad_greetings),
		T(test_wrong_seq),
		T(test_wrong_kind),
		T(test_chunk_for_ping),
		T(test_failure),
		T(test_oversized_frame),
		T(test_malformed_frame),
		T(test_end_in_a_frame),
		T(test_silence),
		T(test_endless_log),
		T(test_endless_frame),
		T(test_endless_chunks),
		T(test_late_look),
		T(test_many_fields),
		T(test_giant_statistics),
		T(test_log_sources),
		T(test_empty_chunk),
		T(test_sizes_disagree),
		T(test_error_drops_the_response),
		T(test_six_megabytes),
		T(test_six_megabytes_and_one),
		T(test_watch),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
