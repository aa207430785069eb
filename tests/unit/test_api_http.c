/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server against raw sockets: hostile heads, slow clients, late answers, streams, stops.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/api/api_error.h"
#include "host/api/http.h"
#include "host/api/route.h"
#include "lib/clock.h"
#include "lib/error.h"

#define TIME_MS   200 /* head, idle and grace in the tests of times */
#define MANY      1500
#define REPLY_MAX (1u << 20)

/* Threads that tests leave behind are joined at their end. */
static pthread_t late_threads[4096];
static atomic_uint late_count;
static atomic_uint gone_count;
static atomic_uint handled;

static void late_join(void)
{
	for (unsigned int i = 0, n = atomic_exchange(&late_count, 0); i < n; i++)
		pthread_join(late_threads[i], NULL);
}

static struct thaw_http_response *text_response(unsigned int status, const char *text)
{
	struct thaw_http_response *response = thaw_http_response_new(status);

	thaw_http_response_header(response, "Content-Type", "text/plain");
	thaw_http_response_body_copy(response, text, strlen(text));
	return response;
}

static void *late_answer(void *opaque)
{
	struct thaw_http_request *request = opaque;
	const char *wait = thaw_http_header(request, "X-Wait-Ms");

	usleep((useconds_t)(wait ? atoi(wait) : 20) * 1000);
	thaw_http_respond(request, text_response(200, request->query));
	return NULL;
}

static void on_gone(void *opaque, struct thaw_http_request *request)
{
	(void)opaque;
	(void)request;
	atomic_fetch_add(&gone_count, 1);
}

static void on_gone_answer(void *opaque, struct thaw_http_request *request)
{
	on_gone(opaque, request);
	thaw_http_respond(request, NULL);
}

static void *stream_answer(void *opaque)
{
	struct thaw_http_request *request = opaque;
	size_t total = (size_t)atol(request->query), done = 0;
	uint8_t block[10000];

	if (thaw_http_stream_begin(request, thaw_http_response_new(200)) == 0) {
		while (done < total) {
			size_t n = total - done < sizeof(block) ? total - done : sizeof(block);
			for (size_t i = 0; i < n; i++)
				block[i] = (uint8_t)('a' + (done + i) % 23);
			ssize_t put = thaw_http_stream_write(request, block, n);
			if (put < 0 || (put == 0 && thaw_http_stream_wait(request, 10000) < 0))
				break;
			done += (size_t)put;
		}
	}
	if (strstr(request->path, "abort"))
		thaw_http_stream_abort(request);
	else
		thaw_http_stream_end(request);
	return NULL;
}

static void start_late(void *(*run)(void *), struct thaw_http_request *request)
{
	assert_int_equal(
		pthread_create(&late_threads[atomic_fetch_add(&late_count, 1)], NULL, run, request),
		0);
}

#define FILE_SIZE (300u << 10)

/* A file of one letter, whose last byte is not sent. */
static struct thaw_http_response *file_response(void)
{
	struct thaw_http_response *response = thaw_http_response_new(200);
	int fd = memfd_create("file", MFD_CLOEXEC);
	char *text = calloc(1, FILE_SIZE + 1);

	memset(text, 'f', FILE_SIZE);
	assert_int_equal(write(fd, text, FILE_SIZE + 1), FILE_SIZE + 1);
	free(text);
	/* What was there before goes. */
	thaw_http_response_body_copy(response, "before", 6);
	assert_int_equal(thaw_http_response_body_file(response, fd, FILE_SIZE), 0);
	return response;
}

static void handle(void *opaque, struct thaw_http_request *request)
{
	char text[256];

	(void)opaque;
	atomic_fetch_add(&handled, 1);
	if (strncmp(request->path, "/late", 5) == 0) {
		start_late(late_answer, request);
	} else if (strncmp(request->path, "/stream", 7) == 0) {
		start_late(stream_answer, request);
	} else if (strcmp(request->path, "/never") == 0) {
		if (thaw_http_on_gone(request, on_gone_answer, NULL) < 0)
			on_gone_answer(NULL, request);
	} else if (strcmp(request->path, "/watched") == 0) {
		if (thaw_http_on_gone(request, on_gone, NULL) < 0)
			on_gone(NULL, request);
		start_late(late_answer, request);
	} else if (strcmp(request->path, "/file") == 0) {
		thaw_http_respond(request, file_response());
	} else if (strcmp(request->path, "/echo") == 0) {
		struct thaw_http_response *response = thaw_http_response_new(200);
		thaw_http_response_body_copy(response, request->body, request->body_size);
		thaw_http_respond(request, response);
	} else {
		snprintf(text, sizeof(text), "%s %.80s ?%.80s %zu %s %d", request->method,
			 request->path, request->query, request->body_size, request->peer,
			 request->loopback);
		thaw_http_respond(request, text_response(200, text));
	}
}

static struct thaw_http_response *head(void *opaque, struct thaw_http_request *request)
{
	(void)opaque;
	if (strcmp(request->path, "/missing") == 0)
		return text_response(404, "missing");
	if (strcmp(request->path, "/small") == 0)
		request->body_limit = 10;
	return NULL;
}

static void config_init(struct thaw_http_config *config)
{
	thaw_http_config_init(config);
	config->threads = 2;
	config->connections_per_address = 0;
	config->hooks.head = head;
	config->hooks.handle = handle;
}

static struct thaw_http_server *start(const struct thaw_http_config *config)
{
	struct thaw_http_server *server;
	struct thaw_error err;

	if (thaw_http_start(config, &server, &err) < 0)
		fail_msg("%s", err.message);
	return server;
}

static int dial(const struct thaw_http_server *server)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(thaw_http_port(server)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void put(int fd, const char *text)
{
	/* The server may have closed already: what it answered is what counts. */
	(void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

/* Reads until the end, or until `stop` (may be NULL) has come. Returns what came. */
static char *get(int fd, const char *stop)
{
	static char reply[REPLY_MAX + 1];
	size_t used = 0;

	reply[0] = 0;
	while (used < REPLY_MAX) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		if (poll(&p, 1, 10000) <= 0)
			fail_msg("no answer; so far: %s", reply);
		ssize_t n = recv(fd, reply + used, REPLY_MAX - used, 0);
		if (n <= 0)
			break;
		used += (size_t)n;
		reply[used] = 0;
		if (stop && strstr(reply, stop))
			break;
	}
	return reply;
}

static char *ask(const struct thaw_http_server *server, const char *text)
{
	int fd = dial(server);

	put(fd, text);
	char *reply = get(fd, NULL);
	close(fd);
	return reply;
}

static unsigned int descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void wait_idle(struct thaw_http_server *server)
{
	struct thaw_http_figures figures;

	for (int i = 0; i < 500; i++) {
		thaw_http_figures(server, &figures);
		if (!figures.connections && !figures.requests)
			break;
		/* libmicrohttpd frees a connection that broke while it was written to at the next
		 * event of its thread: a new connection is one for all of them. */
		if (i % 10 == 9)
			close(dial(server));
		usleep(10000);
	}
	assert_int_equal(figures.connections, 0);
	assert_int_equal(figures.requests, 0);
	assert_int_equal(figures.body_bytes, 0);
}

static void test_plain(void **state)
{
	struct thaw_http_config config;

	(void)state;
	config_init(&config);
	struct thaw_http_server *server = start(&config);
	char *reply = ask(server,
			  "GET /a%2Fb/c?x=%41&y HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
	assert_non_null(strstr(reply, "HTTP/1.1 200 "));
	assert_non_null(strstr(reply, "x-amzn-RequestId: "));
	assert_non_null(strstr(reply, "GET /a%2Fb/c ?x=%41&y 0 127.0.0.1 1"));
	reply = ask(server, "HEAD /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
	assert_non_null(strstr(reply, "HTTP/1.1 200 "));
	assert_string_equal(strstr(reply, "\r\n\r\n"), "\r\n\r\n");
	reply = ask(server, "OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
	assert_non_null(strstr(reply, "OPTIONS * ? 0"));
	reply = ask(server, "GET /x HTTP/1.0\r\n\r\n");
	assert_non_null(strstr(reply, " 200 "));
	reply = ask(server,
		    "PUT /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
		    "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n");
	assert_non_null(strstr(reply, "\r\n\r\nabcde"));
	reply = ask(server, "GET /missing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
	assert_non_null(strstr(reply, " 404 "));
	wait_idle(server);
	thaw_http_stop(server, 1000);
}

static void test_file(void **state)
{
	unsigned int open_before = descriptors();
	struct thaw_http_config config;

	(void)state;
	config_init(&config);
	struct thaw_http_server *server = start(&config);
	char *reply = ask(server, "GET /file HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
	assert_non_null(strstr(reply, "Content-Length: 307200\r\n"));
	const char *body = strstr(reply, "\r\n\r\n") + 4;
	assert_int_equal(strspn(body, "f"), FILE_SIZE);
	assert_int_equal(strlen(body), FILE_SIZE);
	reply = ask(server, "HEAD /file HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
	assert_string_equal(strstr(reply, "\r\n\r\n"), "\r\n\r\n");
	wait_idle(server);
	thaw_http_stop(server, 1000);
	/* Not sent at all, or replaced. */
	struct thaw_http_response *response = file_response();
	assert_int_equal(thaw_http_response_body_copy(response, "x", 1), 0);
	thaw_http_response_free(response);
	thaw_http_response_free(file_response());
	assert_int_equal(thaw_http_response_body_file(NULL, dup(0), 1), -ENOMEM);
	assert_int_equal(descriptors(), open_before);
}

/* The response for want of memory: always there, never changed, never freed. */
static void test_no_memory(void **state)
{
	struct thaw_http_response *response = thaw_http_response_no_memory();
	size_t size;

	(void)state;
	assert_non_null(response);
	assert_int_equal(thaw_http_response_status(response), 500);
	assert_int_equal(thaw_http_response_header(response, "A", "b"), -ENOMEM);
	assert_int_equal(thaw_http_response_body_copy(response, "x", 1), -ENOMEM);
	assert_int_equal(thaw_http_response_body_take(response, strdup("x"), 1), -ENOMEM);
	assert_int_equal(thaw_http_response_body_file(response, dup(0), 1), -ENOMEM);
	thaw_http_response_free(response);
	assert_null(thaw_http_response_body(thaw_http_response_no_memory(), &size));
	assert_null(thaw_http_response_find(response, "A"));
}

static void test_malformed(void **state)
{
	static const char *const bad[] = {
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
		"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET x HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET /\x80 HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET /#a HTTP/1.1\r\nHost: h\r\n\r\n",
		"get / HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nA\x01: b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nA: b\x01\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\na",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\na",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x1\r\n\r\na",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: "
		"chunked\r\n\r\n"
		"0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, "
		"chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
	};
	struct thaw_http_config config;

	(void)state;
	config_init(&config);
	struct thaw_http_server *server = start(&config);
	unsigned int before = atomic_load(&handled);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *reply = ask(server, bad[i]);
		if (!strstr(reply, "HTTP/1.1 400 ") && !strstr(reply, "HTTP/1.0 400 ") &&
		    !strstr(reply, " 505 "))
			fail_msg("%s\nwas answered with\n%s", bad[i], reply);
	}
	/* A request line that is none is closed without a word. */
	assert_string_equal(ask(server, "GARBAGE\r\n\r\n"), "");
	assert_string_equal(ask(server, "\x16\x03\x01\x02\r\n\r\n"), "");
	/* Chunk sizes that are none: closed, never handled. */
	ask(server, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n");
	ask(server, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
		    "fffffffffffffffff\r\n\r\n");
	assert_int_equal(atomic_load(&handled), before);
	wait_idle(server);
	thaw_http_stop(server, 1000);
}

static void test_sizes(void **state)
{
	static char big[1 << 16];
	struct thaw_http_config config;
	struct thaw_http_figures figures;

	(void)state;
	config_init(&config);
	struct thaw_http_server *server = start(&config);
	/* 10 MB of one header, then of many. */
	memset(big, 'a', sizeof(big) - 1);
	for (int many = 0; many < 2; many++) {
		int fd = dial(server);
		put(fd, "GET / HTTP/1.1\r\nHost: h\r\nX: ");
		for (size_t i = 0; many && i + 4 < sizeof(big); i += 4)
			memcpy(big + i, "a:\r\n", 4);
		for (int i = 0; i < 160 && send(fd, big, sizeof(big) - 1, MSG_NOSIGNAL) > 0; i++)
			;
		thaw_http_figures(server, &figures);
		assert_true(figures.body_bytes == 0);
		char *reply = get(fd, NULL);
		/* A reset may overtake the words; an answer must be the right one. */
		assert_true(!reply[0] || strstr(reply, " 431 ") || strstr(reply, " 400 ") ||
			    strstr(reply, " 413 "));
		close(fd);
	}
	/* A body at its limit and one past it; announced, chunked, and asked for first. */
	char *reply = ask(server, "POST /small HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
				  "Content-Length: 10\r\n\r\n0123456789");
	assert_non_null(strstr(reply, "POST /small ? 10"));
	reply = ask(server,
		    "POST /small HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n0123456789a");
	assert_non_null(strstr(reply, " 413 "));
	reply = ask(server, "POST /small HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
			    "b\r\n0123456789a\r\n0\r\n\r\n");
	assert_non_null(strstr(reply, " 413 "));
	reply = ask(server, "POST /small HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
			    "Content-Length: 11\r\n\r\n");
	assert_non_null(strstr(reply, "HTTP/1.1 413 "));
	reply = ask(
		server,
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n");
	assert_true(strstr(reply, " 413 ") || strstr(reply, " 400 "));
	int fd = dial(server);
	put(fd, "POST /small HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
		"Connection: close\r\nContent-Length: 5\r\n\r\n");
	assert_non_null(strstr(get(fd, "\r\n\r\n"), "HTTP/1.1 100 "));
	put(fd, "01234");
	assert_non_null(strstr(get(fd, NULL), "POST /small ? 5"));
	close(fd);
	wait_idle(server);
	thaw_http_stop(server, 1000);
}

static void test_body_memory(void **state)
{
	struct thaw_http_config config;
	struct thaw_http_figures figures;
	int fds[8];

	(void)state;
	config_init(&config);
	config.body_total = 100000;
	struct thaw_http_server *server = start(&config);
	for (int i = 0; i < 8; i++) {
		fds[i] = dial(server);
		put(fds[i], "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nx");
	}
	usleep(100000);
	thaw_http_figures(server, &figures);
	assert_int_equal(figures.requests, 8);
	assert_true(figures.body_bytes <= config.body_total);
	for (int i = 0; i < 8; i++)
		close(fds[i]);
	wait_idle(server);
	thaw_http_stop(server, 1000);
}

static void test_pipeline(void **state)
{
	struct thaw_http_config config;

	(void)state;
	config_init(&config);
	struct thaw_http_server *server = start(&config);
	char *reply = ask(server, "GET /late?first HTTP/1.1\r\nHost: h\r\nX-Wait-Ms: 100\r\n\r\n"
				  "GET /late?second HTTP/1.1\r\nHost: h\r\nX-Wait-Ms: 1\r\n\r\n"
				  "GET /third HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
	char *first = strstr(reply, "first"), *second = strstr(reply, "second");
	assert_true(first && second && strstr(second, "/third") && first < second);
	late_join();
	wait_idle(server);
	thaw_http_stop(server, 1000);
}

static uint64_t elapsed_ms(uint64_t since)
{
	return (thaw_monotonic_ns() - since) / 1000000;
}

/* One byte now and then until the server has had enough. How long that took, and its words. */
static uint64_t drip(const struct thaw_http_server *server, const char *text, const char *bytes,
		     char **reply)
{
	uint64_t since = thaw_monotonic_ns();
	int fd = dial(server);

	put(fd, text);
	for (int i = 0; i < 500; i++) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		if (poll(&p, 1, 10) > 0)
			break;
		(void)!send(fd, bytes, strlen(bytes), MSG_NOSIGNAL);
	}
	uint64_t took = elapsed_ms(since);
	*reply = get(fd, NULL);
	close(fd);
	return took;
}

static void test_slow(void **state)
{
	struct thaw_http_config config;
	struct thaw_http_figures figures;
	char *reply;

	(void)state;
	config_init(&config);
	config.head_ms = config.grace_ms = TIME_MS;
	config.idle_ms = 2 * TIME_MS;
	config.rate_min = 10000;
	struct thaw_http_server *server = start(&config);
	/* Nothing at all; a head that never ends; one behind a whole request; a body; a chunk. */
	uint64_t took = drip(server, "", "", &reply);
	assert_in_range(took, TIME_MS - 20, 5 * TIME_MS);
	took = drip(server, "GET / HTTP/1.1\r\nHost: h\r\nX: ", "a", &reply);
	assert_in_range(took, TIME_MS - 20, 5 * TIME_MS);
	assert_non_null(strstr(reply, " 408 "));
	took = drip(server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n", "a",
		    &reply);
	assert_in_range(took, TIME_MS - 20, 5 * TIME_MS);
	assert_non_null(strstr(reply, " 408 "));
	took = drip(server, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
		    "1\r\na\r\n", &reply);
	assert_in_range(took, TIME_MS - 20, 5 * TIME_MS);
	int fd = dial(server);
	put(fd, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_non_null(strstr(get(fd, "127.0.0.1 1"), " 200 "));
	uint64_t since = thaw_monotonic_ns();
	assert_string_equal(get(fd, NULL), ""); /* idle: closed without a word */
	assert_in_range(elapsed_ms(since), 2 * TIME_MS - 20, 8 * TIME_MS);
	close(fd);
	/* A body at a fair rate is let through, although it takes longer than the grace. */
	fd = dial(server);
	put(fd, "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 20000\r\n\r\n");
	for (int i = 0; i < 20; i++) {
		static char block[1001];
		memset(block, 'b', 1000);
		put(fd, block);
		usleep(TIME_MS * 1000 / 10);
	}
	assert_non_null(strstr(get(fd, NULL), " 200 "));
	close(fd);
	/* A handler may take longer than any of a client's times. */
	reply = ask(
		server,
		"GET /late?x HTTP/1.1\r\nHost: h\r\nX-Wait-Ms: 900\r\nConnection: close\r\n\r\n");
	assert_non_null(strstr(reply, " 200 "));
	late_join();
	thaw_http_figures(server, &figures);
	assert_int_equal(figures.cut, 5);
	wait_idle(server);
	thaw_http_stop(server, 1000);
}

static void test_slow_reader(void **state)
{
	struct thaw_http_config config;
	struct thaw_http_figures figures;

	(void)state;
	config_init(&config);
	config.head_ms = config.grace_ms = TIME_MS;
	config.rate_min = 100u << 20; /* loopback buffers count as read */
	struct thaw_http_server *server = start(&config);
	int fd = dial(server);
	put(fd, "GET /stream?50000000 HTTP/1.1\r\nHost: h\r\n\r\n");
	late_join(); /* returns when the stream broke: nobody reads */
	for (int i = 0; i < 200; i++) {
		thaw_http_figures(server, &figures);
		if (figures.cut)
			break;
		usleep(10000);
	}
	assert_int_equal(figures.cut, 1);
	close(fd);
	wait_idle(server);
	thaw_http_stop(server, 1000);
}

static void test_stream(void **state)
{
	struct thaw_http_config config;

	(void)state;
	config_init(&config);
	config.stream_max = 5000;
	struct thaw_http_server *server = start(&config);
	char *reply = ask(server, "GET /stream?300000 HTTP/1.0\r\n\r\n");
	char *body = strstr(reply, "\r\n\r\n") + 4;
	assert_int_equal(strlen(body), 300000);
	for (size_t i = 0; i < 300000; i++)
		assert_int_equal(body[i], 'a' + i % 23);
	reply = ask(server, "GET /stream?7 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
	assert_non_null(strstr(reply, "chunked"));
	assert_non_null(strstr(reply, "\r\nabcdefg\r\n0\r\n\r\n"));
	reply = ask(server, "GET /stream/abort?7 HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_null(strstr(reply, "\r\n0\r\n"));
	/* A client that leaves in the middle: the writer is told and ends. */
	int fd = dial(server);
	put(fd, "GET /stream?900000000 HTTP/1.1\r\nHost: h\r\n\r\n");
	get(fd, "chunked");
	close(fd);
	late_join();
	wait_idle(server);
	thaw_http_stop(server, 1000);
}

static void test_gone(void **state)
{
	struct thaw_http_config config;

	(void)state;
	config_init(&config);
	struct thaw_http_server *server = start(&config);
	atomic_store(&gone_count, 0);
	for (int i = 0; i < 50; i++) {
		int fd = dial(server);
		put(fd, i % 2 ? "GET /never HTTP/1.1\r\nHost: h\r\n\r\n"
			      : "GET /watched HTTP/1.1\r\nHost: h\r\nX-Wait-Ms: 100\r\n\r\n");
		usleep((useconds_t)(i % 5) * 1000);
		close(fd);
	}
	usleep(200000);
	late_join();
	wait_idle(server);
	/* Those that left before their request was read were never handled. */
	assert_in_range(atomic_load(&gone_count), 40, 50);
	thaw_http_stop(server, 1000);
}

static void test_many(void **state)
{
	static int fds[MANY];
	struct thaw_http_config config;
	struct thaw_http_figures figures;

	(void)state;
	config_init(&config);
	struct thaw_http_server *server = start(&config);
	unsigned int before = descriptors();
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < MANY; i++) {
			fds[i] = dial(server);
			assert_true(fds[i] >= 0);
			put(fds[i], i % 10 ? "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
					   : "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n");
			if (i % 10 == 0) {
				assert_non_null(strstr(get(fds[i], NULL), " 400 "));
			}
		}
		for (int i = 0; i < MANY; i++) {
			if (i % 10)
				assert_non_null(strstr(get(fds[i], "127.0.0.1 1"), " 200 "));
		}
		/* Those refused are closed soon after their answer. */
		for (int i = 0; i < 200; i++) {
			thaw_http_figures(server, &figures);
			if (figures.connections == MANY - MANY / 10)
				break;
			usleep(10000);
		}
		assert_int_equal(figures.connections, MANY - MANY / 10);
		for (int i = 0; i < MANY; i++)
			close(fds[i]);
		wait_idle(server);
	}
	assert_int_equal(descriptors(), before);
	thaw_http_stop(server, 1000);
}

static void *busy_client(void *opaque)
{
	static const char request[] = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n";
	char reply[1024];

	for (int i = 0; i < 30; i++) {
		int fd = dial(opaque);
		for (int k = 0; k < 20; k++) {
			put(fd, request);
			if (recv(fd, reply, sizeof(reply), 0) <= 0)
				return opaque;
		}
		close(fd);
	}
	return NULL;
}

/* While the watch looks every 5 ms, nobody who keeps the times is cut. */
static void test_busy(void **state)
{
	struct thaw_http_config config;
	struct thaw_http_figures figures;
	pthread_t clients[32];
	void *lost;

	(void)state;
	config_init(&config);
	config.threads = 4;
	config.head_ms = config.grace_ms = config.idle_ms = 5000;
	config.watch_ms = 5;
	struct thaw_http_server *server = start(&config);
	for (int i = 0; i < 32; i++)
		assert_int_equal(pthread_create(&clients[i], NULL, busy_client, server), 0);
	for (int i = 0; i < 32; i++) {
		assert_int_equal(pthread_join(clients[i], &lost), 0);
		assert_null(lost);
	}
	thaw_http_figures(server, &figures);
	assert_int_equal(figures.cut, 0);
	wait_idle(server);
	thaw_http_stop(server, 1000);
}

static void test_limits(void **state)
{
	struct thaw_http_config config;
	struct thaw_http_figures figures;
	int fds[8];

	(void)state;
	config_init(&config);
	config.connections_per_address = 5;
	struct thaw_http_server *server = start(&config);
	for (int i = 0; i < 8; i++) {
		fds[i] = dial(server);
		usleep(20000);
	}
	for (int i = 5; i < 8; i++)
		assert_string_equal(get(fds[i], NULL), "");
	thaw_http_figures(server, &figures);
	assert_int_equal(figures.connections, 5);
	assert_int_equal(figures.turned_away, 3);
	for (int i = 0; i < 8; i++)
		close(fds[i]);
	wait_idle(server);
	assert_non_null(strstr(ask(server, "GET /x HTTP/1.0\r\n\r\n"), " 200 "));
	thaw_http_stop(server, 1000);
}

static void test_stop(void **state)
{
	struct thaw_http_config config;
	struct thaw_http_server *server;

	(void)state;
	config_init(&config);
	unsigned int before = descriptors();
	/* Within its time, what is under way finishes. */
	server = start(&config);
	int busy = dial(server), idle = dial(server);
	put(busy, "GET /late?done HTTP/1.1\r\nHost: h\r\nX-Wait-Ms: 300\r\n\r\n");
	usleep(50000);
	uint64_t since = thaw_monotonic_ns();
	thaw_http_stop(server, 3000);
	assert_in_range(elapsed_ms(since), 200, 2500);
	char *reply = get(busy, NULL);
	assert_non_null(strstr(reply, "done"));
	assert_non_null(strstr(reply, "close"));
	assert_string_equal(get(idle, NULL), "");
	close(busy);
	close(idle);
	late_join();
	/* Past it: 503 for those who wait, the end for streams and half requests; the handlers
	 * answer later, to nobody. */
	server = start(&config);
	int wait = dial(server), half = dial(server), stream = dial(server);
	put(wait, "GET /late?x HTTP/1.1\r\nHost: h\r\nX-Wait-Ms: 700\r\n\r\n");
	put(half, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nx");
	put(stream, "GET /stream?900000000 HTTP/1.1\r\nHost: h\r\n\r\n");
	usleep(100000);
	since = thaw_monotonic_ns();
	thaw_http_stop(server, 200);
	assert_in_range(elapsed_ms(since), 150, 9000);
	assert_non_null(strstr(get(wait, NULL), " 503 "));
	close(wait);
	close(half);
	close(stream);
	late_join();
	assert_int_equal(descriptors(), before);
}

static void test_addresses(void **state)
{
	struct thaw_http_config config;
	struct thaw_http_server *server, *second;
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};

	(void)state;
	config_init(&config);
	config.address = "nonsense";
	assert_int_equal(thaw_http_start(&config, &server, NULL), -EINVAL);
	config.address = "127.0.0.1";
	server = start(&config);
	config.port = thaw_http_port(server);
	assert_int_equal(thaw_http_start(&config, &second, NULL), -EADDRINUSE);
	thaw_http_stop(server, 100);
	config.port = 0;
	config.address = "::";
	if (thaw_http_start(&config, &server, NULL) < 0)
		return; /* no IPv6 here */
	assert_non_null(strstr(ask(server, "GET /x HTTP/1.0\r\n\r\n"), "127.0.0.1 1"));
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	to.sin6_port = htons(thaw_http_port(server));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0) {
		put(fd, "GET /x HTTP/1.0\r\n\r\n");
		assert_non_null(strstr(get(fd, NULL), " ::1 1"));
	}
	close(fd);
	thaw_http_stop(server, 100);
}

static void route_get(void *opaque, struct thaw_call *call)
{
	char text[200];

	(void)opaque;
	snprintf(text, sizeof(text), "%s:%.80s:%.80s:%s", call->route->operation,
		 thaw_call_path(call, "FunctionName"),
		 thaw_call_query(call, "Qualifier") ? thaw_call_query(call, "Qualifier") : "none",
		 (const char *)call->caller);
	thaw_http_respond(call->request, text_response(200, text));
}

static struct thaw_http_response *route_admit(void *opaque, struct thaw_call *call)
{
	(void)opaque;
	if (!thaw_http_header(call->request, "Authorization"))
		return thaw_api_error_response("MissingAuthenticationTokenException", "no token");
	call->caller = strdup("caller");
	call->caller_free = free;
	return NULL;
}

static struct thaw_http_response *route_authorize(void *opaque, struct thaw_call *call)
{
	(void)opaque;
	return call->request->body_size == 3
		       ? thaw_api_error_response("InvalidSignatureException", "bad")
		       : NULL;
}

/* The router on the server: each refusal in the API's words, and the connection goes on. */
static void test_routed(void **state)
{
	static const struct thaw_route routes[] = {
		{"POST", "/f/{FunctionName}", "Invoke", 5, NULL, route_get},
	};
	static const struct thaw_router router = {
		.routes = routes, .count = 1, .admit = route_admit, .authorize = route_authorize};
	struct thaw_http_config config;

	(void)state;
	config_init(&config);
	config.hooks.head = thaw_router_head;
	config.hooks.handle = thaw_router_handle;
	config.hooks.refuse = thaw_api_refuse;
	config.opaque = (void *)&router;
	struct thaw_http_server *server = start(&config);
	char *reply = ask(server, "GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n"
				  "POST /f/%zz HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}");
	char *second = strstr(reply, "ValidationException");
	assert_non_null(strstr(reply, "x-amzn-ErrorType: UnknownOperationException"));
	assert_non_null(second);
	reply = ask(server, "POST /f/a HTTP/1.0\r\n\r\n");
	assert_non_null(strstr(reply, " 403 "));
	reply = ask(server,
		    "POST /f/a HTTP/1.0\r\nAuthorization: x\r\nContent-Length: 3\r\n\r\nabc");
	assert_non_null(strstr(reply, "InvalidSignatureException"));
	reply = ask(server,
		    "POST /f/a HTTP/1.0\r\nAuthorization: x\r\nContent-Length: 6\r\n\r\nabcdef");
	assert_non_null(strstr(reply, " 413 "));
	assert_non_null(strstr(reply, "RequestEntityTooLargeException"));
	reply = ask(server, "POST /f/a%3A1?Qualifier=%24LATEST HTTP/1.0\r\nAuthorization: x\r\n"
			    "Content-Length: 5\r\n\r\nabcde");
	assert_non_null(strstr(reply, "Invoke:a:1:$LATEST:caller"));
	wait_idle(server);
	thaw_http_stop(server, 1000);
}

static void test_response(void **state)
{
	struct thaw_http_response *response = thaw_http_response_new(200);

	(void)state;
	assert_int_equal(thaw_http_response_header(response, "A", "b\r\nc: d"), -EINVAL);
	assert_int_equal(thaw_http_response_header(response, "A b", "c"), -EINVAL);
	assert_int_equal(thaw_http_response_header(response, "", "c"), -EINVAL);
	for (int i = 0; i < THAW_HTTP_HEADERS_MAX; i++)
		assert_int_equal(thaw_http_response_header(response, "A", "b"), 0);
	assert_int_equal(thaw_http_response_header(response, "A", "b"), -E2BIG);
	assert_string_equal(thaw_http_response_find(response, "a"), "b");
	thaw_http_response_free(response);
	thaw_http_response_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_response),    cmocka_unit_test(test_plain),
		cmocka_unit_test(test_file),        cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_file),        cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_sizes),       cmocka_unit_test(test_body_memory),
		cmocka_unit_test(test_pipeline),    cmocka_unit_test(test_slow),
		cmocka_unit_test(test_slow_reader), cmocka_unit_test(test_stream),
		cmocka_unit_test(test_gone),        cmocka_unit_test(test_busy),
		cmocka_unit_test(test_routed),      cmocka_unit_test(test_limits),
		cmocka_unit_test(test_many),        cmocka_unit_test(test_stop),
		cmocka_unit_test(test_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
