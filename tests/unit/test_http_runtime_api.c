/* SPDX-License-Identifier: Apache-2.0 */
/* The Runtime API against clients of every kind: right, out of turn, slow, and hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/runtime_api.h"
#include "lib/error.h"

#define API "/2018-06-01/runtime/"

/* What the API told its owner. */
struct told {
	int ready, awaits_restore, whole, flushed, broken, failed, init_failed, restore_failed;
	uint64_t too_large;
	char type[THAW_ERROR_TYPE_MAX];
	char content_type[128];
	struct thaw_buffer bytes;
	bool parts_left;
};

static struct told told;
static struct thaw_loop loop;
static struct thaw_runtime_api api;
static struct sockaddr_in address;

static void on_ready(void *owner)
{
	((struct told *)owner)->ready++;
}

static void on_awaits_restore(void *owner)
{
	((struct told *)owner)->awaits_restore++;
}

static void note_error(struct told *t, const struct thaw_reported_error *error)
{
	snprintf(t->type, sizeof(t->type), "%s", error->type);
	thaw_buffer_consume(&t->bytes, thaw_buffer_size(&t->bytes));
	thaw_buffer_append(&t->bytes, error->body, error->size);
}

static void on_init_failed(void *owner, const struct thaw_reported_error *error)
{
	((struct told *)owner)->init_failed++;
	note_error(owner, error);
}

static void on_restore_failed(void *owner, const struct thaw_reported_error *error)
{
	((struct told *)owner)->restore_failed++;
	note_error(owner, error);
}

static void on_failed(void *owner, const struct thaw_reported_error *error)
{
	((struct told *)owner)->failed++;
	note_error(owner, error);
}

static void on_response(void *owner, const uint8_t *data, size_t size, bool last, const char *type)
{
	struct told *t = owner;

	thaw_buffer_append(&t->bytes, data, size);
	snprintf(t->content_type, sizeof(t->content_type), "%s", type);
	t->whole += last;
}

static void on_flush(void *owner)
{
	((struct told *)owner)->flushed++;
}

static bool on_broken(void *owner)
{
	struct told *t = owner;

	t->broken++;
	thaw_buffer_consume(&t->bytes, thaw_buffer_size(&t->bytes));
	return !t->parts_left;
}

static void on_too_large(void *owner, uint64_t size)
{
	((struct told *)owner)->too_large = size;
}

static const struct thaw_runtime_api_ops ops = {
	.ready = on_ready,
	.awaits_restore = on_awaits_restore,
	.init_failed = on_init_failed,
	.restore_failed = on_restore_failed,
	.response = on_response,
	.response_flush = on_flush,
	.response_broken = on_broken,
	.response_too_large = on_too_large,
	.invocation_failed = on_failed,
};

static int setup(void **state)
{
	struct thaw_error err;

	(void)state;
	memset(&told, 0, sizeof(told));
	address = (struct sockaddr_in){.sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	memset(&api, 0, sizeof(api));
	if (thaw_loop_open(&loop, &err) < 0)
		return -1;
	return thaw_runtime_api_open(&api, &loop, &ops, &told, &address, &err);
}

static int teardown(void **state)
{
	(void)state;
	thaw_runtime_api_close(&api);
	thaw_loop_close(&loop);
	thaw_buffer_clear(&told.bytes);
	return 0;
}

/* Lets things happen that are under way. What must have happened is waited for by EVENTUALLY. */
static void settle(void)
{
	for (int i = 0; i < 40; i++)
		assert_int_equal(thaw_loop_step(&loop, i % 20 == 0 ? 1 : 0), 0);
}

#define EVENTUALLY(condition)                                                                      \
	do {                                                                                       \
		for (int tries = 0; tries < 2000 && !(condition); tries++)                         \
			assert_int_equal(thaw_loop_step(&loop, 5), 0);                             \
		assert_true(condition);                                                            \
	} while (0)

static int connect_client(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static void say(int fd, const char *text)
{
	size_t size = strlen(text);

	for (size_t at = 0; at < size;) {
		ssize_t n = send(fd, text + at, size - at, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			break;
		at += n > 0 ? (size_t)n : 0;
		thaw_loop_step(&loop, 0);
	}
	settle();
}

/* What has come, or "closed". */
static const char *hear(int fd)
{
	static char text[65536];
	size_t size = 0;

	for (;;) {
		ssize_t n = recv(fd, text + size, sizeof(text) - 1 - size, 0);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			if (size == 0)
				return "closed";
			break;
		}
		size += (size_t)n;
	}
	text[size] = 0;
	return text;
}

/* Waits for what begins with `start` and has `part` in it. */
static void expect(int fd, const char *start, const char *part)
{
	char heard[65536] = "";

	for (int tries = 0; tries < 2000; tries++) {
		strncat(heard, hear(fd), sizeof(heard) - strlen(heard) - 1);
		if (strncmp(heard, start, strlen(start)) == 0 && strstr(heard, part))
			return;
		if (strstr(heard, "closed"))
			break;
		assert_int_equal(thaw_loop_step(&loop, 5), 0);
	}
	fail_msg("heard \"%s\" where \"%s\" and \"%s\" are due", heard, start, part);
}

static void give(const char *id, const char *payload)
{
	const struct thaw_invocation event = {
		.request_id = id,
		.function_arn = "arn:f",
		.trace_id = "",
		.client_context = "{}",
		.cognito_identity = "",
		.deadline_ms = 12345,
		.payload = (const uint8_t *)payload,
		.payload_size = strlen(payload),
		.payload_total = strlen(payload),
	};

	EVENTUALLY(api.state == THAW_API_READY);
	thaw_runtime_api_invoke(&api, &event);
	settle();
}

static void ask_next(int fd)
{
	say(fd, "GET " API "invocation/next HTTP/1.1\r\nHost: x\r\n\r\n");
}

/* A client in the middle of invocation "id1". */
static int running(void)
{
	int fd = connect_client();

	ask_next(fd);
	EVENTUALLY(api.state == THAW_API_READY);
	give("id1", "{}");
	expect(fd, "HTTP/1.1 200 OK\r\n", "\r\n\r\n{}");
	return fd;
}

static void one_invocation_after_the_other(void **state)
{
	int fd = connect_client();

	(void)state;
	ask_next(fd);
	EVENTUALLY(told.ready == 1);
	assert_string_equal(hear(fd), "");
	give("id1", "[1]");
	expect(fd, "HTTP/1.1 200 OK\r\n", "Lambda-Runtime-Aws-Request-Id: id1\r\n");
	say(fd, "POST " API "invocation/id1/response HTTP/1.1\r\nContent-Length: 4\r\n"
		"Content-Type: text/plain\r\n\r\nabcd");
	expect(fd, "HTTP/1.1 202 Accepted\r\n", "{\"status\":\"OK\"}");
	EVENTUALLY(told.whole == 1);
	assert_string_equal(told.content_type, "text/plain");
	assert_memory_equal(thaw_buffer_bytes(&told.bytes), "abcd", 4);
	/* The answer and the next request at once: the receipt waits for the event. */
	ask_next(fd);
	give("id2", "[2]");
	expect(fd, "HTTP/1.1 200 OK\r\n", "[2]");
	say(fd, "POST " API "invocation/id2/response HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"
		"GET " API "invocation/next HTTP/1.1\r\n\r\n");
	EVENTUALLY(told.whole == 2);
	EVENTUALLY(told.ready == 3);
	assert_string_equal(hear(fd), "");
	give("id3", "[3]");
	expect(fd, "HTTP/1.1 202 Accepted\r\n", "[3]");
	close(fd);
	settle();
}

static void out_of_turn_is_403_and_another_id_400(void **state)
{
	int fd = connect_client();
	int other;

	(void)state;
	say(fd, "POST " API "invocation/id1/response HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
	expect(fd, "HTTP/1.1 400", "InvalidRequestID");
	say(fd, "POST " API "restore/error HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
	expect(fd, "HTTP/1.1 403",
	       "State transition from Started to RestoreError failed for runtime");
	close(fd);
	fd = running();
	other = connect_client();
	ask_next(other);
	expect(other, "HTTP/1.1 403", "State transition from Running to Ready failed");
	say(other, "POST " API "init/error HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
	expect(other, "HTTP/1.1 403", "InvalidStateTransition");
	say(other, "POST " API "invocation/id0/response HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
	expect(other, "HTTP/1.1 400",
	       "{\"errorMessage\":\"Invalid request ID\","
	       "\"errorType\":\"InvalidRequestID\"}");
	say(other, "POST " API "invocation//response HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
	expect(other, "HTTP/1.1 400", "InvalidRequestID");
	/* Any connection may answer; only once. */
	say(other, "POST " API "invocation/id1/response HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
	expect(other, "HTTP/1.1 202", "OK");
	EVENTUALLY(told.whole == 1);
	say(fd, "POST " API "invocation/id1/response HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
	expect(fd, "HTTP/1.1 403", "from ResponseSent to InvocationResponse");
	ask_next(fd);
	ask_next(other);
	expect(other, "HTTP/1.1 403", "from Ready to Ready");
	close(fd);
	close(other);
	settle();
}

static void unknown_paths_and_methods(void **state)
{
	int fd = connect_client();

	(void)state;
	say(fd, "GET / HTTP/1.1\r\n\r\n");
	expect(fd, "HTTP/1.1 404", "NotFound");
	say(fd, "GET /2018-06-01/runtime/invocation/x HTTP/1.1\r\n\r\n");
	expect(fd, "HTTP/1.1 404", "NotFound");
	say(fd, "DELETE " API "invocation/next HTTP/1.1\r\n\r\n");
	expect(fd, "HTTP/1.1 405", "MethodNotAllowed");
	say(fd, "GET " API "init/error HTTP/1.1\r\n\r\n");
	expect(fd, "HTTP/1.1 405", "MethodNotAllowed");
	/* All on one connection, which still serves. */
	say(fd, "GET " API "invocation/next?x=y HTTP/1.1\r\n\r\n");
	EVENTUALLY(told.ready == 1);
	close(fd);
	settle();
}

static void errors_are_passed_on_whole(void **state)
{
	static const char *const types[][2] = {
		{"Runtime.Oops", "Runtime.Oops"},
		{"Function.BadThing2", "Function.BadThing2"},
		{"Function.lower", "Function.Unknown"},
		{"Runtime.", "Runtime.Unknown"},
		{"Unhandled", "Runtime.Unknown"},
		{"Runtime.A-B", "Runtime.Unknown"},
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		int fd = running();
		snprintf(text, sizeof(text),
			 "POST " API "invocation/id1/error HTTP/1.1\r\nContent-Length: 7\r\n"
			 "Lambda-Runtime-Function-Error-Type: %s\r\n\r\n{\"a\":1}",
			 types[i][0]);
		say(fd, text);
		expect(fd, "HTTP/1.1 202", "OK");
		EVENTUALLY(told.failed == (int)i + 1);
		assert_string_equal(told.type, types[i][1]);
		assert_memory_equal(thaw_buffer_bytes(&told.bytes), "{\"a\":1}", 7);
		close(fd);
		settle();
		thaw_runtime_api_reset(&api);
	}
	int fd = running();
	say(fd, "POST " API "invocation/id1/error HTTP/1.1\r\nContent-Length: 262145\r\n"
		"Expect: 100-continue\r\n\r\n");
	expect(fd, "HTTP/1.1 413", "RequestEntityTooLarge");
	expect(fd, "closed", "");
	close(fd);
}

static void init_and_restore(void **state)
{
	int fd = connect_client();

	(void)state;
	say(fd, "GET " API "restore/next HTTP/1.1\r\n\r\n");
	EVENTUALLY(told.awaits_restore == 1);
	EVENTUALLY(api.state == THAW_API_RESTORE_READY);
	thaw_runtime_api_restore(&api, "stream/1");
	settle();
	expect(fd, "HTTP/1.1 200", "Thaw-Log-Stream: stream/1\r\n");
	say(fd, "POST " API "restore/error HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
	expect(fd, "HTTP/1.1 202", "OK");
	EVENTUALLY(told.restore_failed == 1);
	close(fd);
	settle();
	thaw_runtime_api_reset(&api);
	fd = connect_client();
	say(fd, "POST " API "init/error HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
		"Lambda-Runtime-Function-Error-Type: Runtime.Xy\r\n\r\n2\r\n{}\r\n0\r\n\r\n");
	expect(fd, "HTTP/1.1 202", "OK");
	EVENTUALLY(told.init_failed == 1);
	assert_string_equal(told.type, "Runtime.Xy");
	ask_next(fd);
	expect(fd, "HTTP/1.1 403", "from InitError to Ready");
	close(fd);
	settle();
}

static void bodies_of_every_framing(void **state)
{
	int fd = running();

	(void)state;
	say(fd,
	    "POST " API "invocation/id1/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
	say(fd, "3\r\nab");
	say(fd, "c\r\n1\r\nd\r\n0\r");
	assert_int_equal(told.whole, 0);
	say(fd, "\n\r\n");
	expect(fd, "HTTP/1.1 202", "OK");
	EVENTUALLY(told.whole == 1);
	assert_int_equal(thaw_buffer_size(&told.bytes), 4);
	ask_next(fd);
	give("id2", "");
	expect(fd, "HTTP/1.1 200", "\r\n\r\n");
	/* curl's way with a large body. */
	say(fd, "POST " API "invocation/id2/response HTTP/1.1\r\nContent-Length: 3\r\n"
		"Expect: 100-continue\r\n\r\n");
	expect(fd, "HTTP/1.1 100 Continue\r\n\r\n", "");
	say(fd, "xyz");
	expect(fd, "HTTP/1.1 202", "OK");
	EVENTUALLY(told.whole == 2);
	close(fd);
	settle();
}

static void a_stream_is_flushed_and_may_end_in_an_error(void **state)
{
	int fd = running();

	(void)state;
	say(fd, "POST " API "invocation/id1/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
		"Lambda-Runtime-Function-Response-Mode: streaming\r\n\r\n2\r\nab\r\n");
	EVENTUALLY(told.flushed == 1);
	say(fd, "0\r\nLambda-Runtime-Function-Error-Type: Function.Late\r\n"
		"Lambda-Runtime-Function-Error-Body: eyJhIjoxfQ==\r\n\r\n");
	expect(fd, "HTTP/1.1 202", "OK");
	EVENTUALLY(told.failed == 1);
	assert_int_equal(told.whole, 0);
	assert_string_equal(told.type, "Function.Late");
	assert_memory_equal(thaw_buffer_bytes(&told.bytes), "{\"a\":1}", 7);
	close(fd);
	settle();
	thaw_runtime_api_reset(&api);
	fd = running();
	say(fd, "POST " API "invocation/id1/response HTTP/1.1\r\nContent-Length: 0\r\n"
		"Lambda-Runtime-Function-Response-Mode: trickling\r\n\r\n");
	expect(fd, "HTTP/1.1 400", "InvalidFunctionResponseMode");
	close(fd);
	settle();
}

static void too_large_by_length_and_by_count(void **state)
{
	int fd = running();

	(void)state;
	/* Who asks first hears it before a byte is sent. */
	say(fd, "POST " API "invocation/id1/response HTTP/1.1\r\nContent-Length: 6291557\r\n"
		"Expect: 100-continue\r\n\r\n");
	expect(fd, "HTTP/1.1 413", "Exceeded maximum allowed payload size (6291556 bytes).");
	EVENTUALLY(told.too_large == 6291557);
	close(fd);
	settle();
	thaw_runtime_api_reset(&api);
	/* Who does not is heard out, and the connection goes on. */
	fd = running();
	char *body = malloc(6291557 + 1);
	assert_non_null(body);
	memset(body, 'x', 6291557);
	body[6291557] = 0;
	say(fd, "POST " API "invocation/id1/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
		"600065\r\n");
	say(fd, body);
	say(fd, "\r\n0\r\n\r\n");
	free(body);
	expect(fd, "HTTP/1.1 413", "RequestEntityTooLarge");
	assert_true(told.too_large > THAW_RESPONSE_MAX);
	ask_next(fd);
	EVENTUALLY(api.state == THAW_API_READY);
	close(fd);
	settle();
}

static void a_broken_response_may_be_tried_again(void **state)
{
	int fd = running();

	(void)state;
	say(fd, "POST " API "invocation/id1/response HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf");
	close(fd);
	settle();
	EVENTUALLY(told.broken == 1);
	EVENTUALLY(api.state == THAW_API_RUNNING);
	fd = connect_client();
	say(fd, "POST " API "invocation/id1/response HTTP/1.1\r\nContent-Length: 2\r\n\r\nok");
	expect(fd, "HTTP/1.1 202", "OK");
	assert_memory_equal(thaw_buffer_bytes(&told.bytes), "ok", 2);
	close(fd);
	settle();
	thaw_runtime_api_reset(&api);
	/* Not when parts of it have left. */
	told.parts_left = true;
	fd = running();
	say(fd, "POST " API "invocation/id1/response HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf");
	close(fd);
	settle();
	EVENTUALLY(told.failed == 1);
	assert_string_equal(told.type, "Runtime.TruncatedResponse");
}

static void garbage_gets_one_answer_and_the_end(void **state)
{
	int fd = connect_client();

	(void)state;
	say(fd, "\x16\x03\x01\x02\r\n\r\n");
	expect(fd, "HTTP/1.1 400", "Connection: close");
	expect(fd, "closed", "");
	close(fd);
	fd = connect_client();
	for (int i = 0; i < 40; i++)
		say(fd,
		    "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	expect(fd, "HTTP/1.1 431", "");
	close(fd);
	settle();
}

static void a_crowd_of_idle_connections_does_not_keep_the_runtime_out(void **state)
{
	int crowd[100];
	int fd = running();

	(void)state;
	for (int i = 0; i < 100; i++) {
		crowd[i] = connect_client();
		send(crowd[i], "GET / HT", 8, MSG_NOSIGNAL);
		settle();
	}
	/* The runtime's own connection was silent longest: over its event, so it keeps its place.
	 */
	say(fd, "POST " API "invocation/id1/response HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
	expect(fd, "HTTP/1.1 202", "OK");
	ask_next(fd);
	EVENTUALLY(api.state == THAW_API_READY);
	/* One that waits keeps its place. */
	for (int i = 0; i < 100; i++) {
		close(crowd[i]);
		crowd[i] = connect_client();
		settle();
	}
	give("id2", "[]");
	expect(fd, "HTTP/1.1 200", "\r\n\r\n[]");
	for (int i = 0; i < 100; i++)
		close(crowd[i]);
	close(fd);
	settle();
}

static void a_connection_for_each_event_does_not_use_up_the_places(void **state)
{
	int fds[3 * THAW_HTTP_CONNECTIONS];

	(void)state;
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		fds[i] = connect_client();
		ask_next(fds[i]);
		EVENTUALLY(api.state == THAW_API_READY);
		give("id1", "{}");
		expect(fds[i], "HTTP/1.1 200 OK\r\n", "\r\n\r\n{}");
		/* The answer by yet another one; both stay open. */
		int other = connect_client();
		say(other, "POST " API "invocation/id1/response HTTP/1.1\r\nConnection: close\r\n"
			   "Content-Length: 2\r\n\r\n{}");
		expect(other, "HTTP/1.1 202", "OK");
		close(other);
	}
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		close(fds[i]);
	settle();
}

static void a_client_that_reads_nothing_is_bounded(void **state)
{
	int fd = connect_client();
	static const char request[] = "GET / HTTP/1.1\r\n\r\n";
	size_t sent = 0;

	(void)state;
	for (int i = 0; i < 2000000; i++) {
		ssize_t n = send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL);
		if (n < 0) {
			settle();
			if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0)
				break;
		}
		sent++;
		if (i % 64 == 0)
			thaw_loop_step(&loop, 0);
	}
	/* The socket filled up: the server has stopped reading, and holds little. */
	assert_true(sent < 1999999);
	for (size_t i = 0; i < THAW_HTTP_CONNECTIONS; i++) {
		assert_true(thaw_buffer_size(&api.server.conns[i].out) < 256 * 1024);
		assert_true(thaw_buffer_size(&api.server.conns[i].in) < 256 * 1024);
	}
	close(fd);
	settle();
}

static void who_asked_and_left_gets_no_event(void **state)
{
	int fd = connect_client();

	(void)state;
	ask_next(fd);
	EVENTUALLY(told.ready == 1);
	close(fd);
	settle();
	EVENTUALLY(api.state != THAW_API_READY);
	fd = running();
	EVENTUALLY(told.ready == 2);
	close(fd);
	settle();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(one_invocation_after_the_other),
		TEST(out_of_turn_is_403_and_another_id_400),
		TEST(unknown_paths_and_methods),
		TEST(errors_are_passed_on_whole),
		TEST(init_and_restore),
		TEST(bodies_of_every_framing),
		TEST(a_stream_is_flushed_and_may_end_in_an_error),
		TEST(too_large_by_length_and_by_count),
		TEST(a_broken_response_may_be_tried_again),
		TEST(garbage_gets_one_answer_and_the_end),
		TEST(a_crowd_of_idle_connections_does_not_keep_the_runtime_out),
		TEST(a_connection_for_each_event_does_not_use_up_the_places),
		TEST(a_client_that_reads_nothing_is_bounded),
		TEST(who_asked_and_left_gets_no_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
