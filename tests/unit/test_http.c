/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP parser: what it accepts, what it refuses, and that it does not matter how bytes come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/http.h"
#include "agent/json.h"

static ssize_t parse(struct thaw_http_head *head, const char *text)
{
	size_t scanned = 0;

	return thaw_http_parse_head(head, text, strlen(text), &scanned);
}

static void a_request_is_taken_apart(void **state)
{
	static const char text[] = "POST /a/b?c=d HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n"
				   "X-Empty:\r\nx-Spaced: \t a b \t\r\n\r\nbody";
	struct thaw_http_head head;

	(void)state;
	assert_int_equal(parse(&head, text), sizeof(text) - 1 - 4);
	assert_true(thaw_slice_is(&head.method, "POST"));
	assert_true(thaw_slice_is(&head.target, "/a/b?c=d"));
	assert_int_equal(head.content_length, 12);
	assert_true(head.keep_alive);
	assert_false(head.chunked);
	assert_false(head.expect_continue);
	assert_int_equal(head.fields.count, 4);
	assert_true(thaw_slice_is(thaw_http_find(&head.fields, "X-EMPTY"), ""));
	assert_true(thaw_slice_is(thaw_http_find(&head.fields, "X-SPACED"), "a b"));
	assert_null(thaw_http_find(&head.fields, "X-Other"));
}

static void framing_fields_are_understood(void **state)
{
	struct thaw_http_head head;

	(void)state;
	assert_true(parse(&head, "GET / HTTP/1.0\r\n\r\n") > 0);
	assert_false(head.keep_alive);
	assert_true(parse(&head, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n") > 0);
	assert_true(head.keep_alive);
	assert_true(parse(&head, "GET / HTTP/1.1\r\nconnection: close\r\n\r\n") > 0);
	assert_false(head.keep_alive);
	assert_true(parse(&head, "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n"
				 "Expect: 100-Continue\r\n\r\n") > 0);
	assert_true(head.chunked);
	assert_true(head.expect_continue);
	/* Bare line feeds, and empty lines before the request, are allowed by the standard. */
	assert_true(parse(&head, "\r\n\r\nGET / HTTP/1.1\nHost: x\n\n") > 0);
	assert_int_equal(head.fields.count, 1);
}

static void what_is_wrong_is_refused(void **state)
{
	static const struct {
		int status;
		const char *text;
	} cases[] = {
		{-400, "GET\r\n\r\n"},
		{-400, "GET /\r\n\r\n"},
		{-400, "GET  HTTP/1.1\r\n\r\n"},
		{-400, "G@T / HTTP/1.1\r\n\r\n"},
		{-400, "GET / HTTP/1.1 \r\n\r\n"},
		{-400, "GET /a b HTTP/1.1\r\n\r\n"},
		{-400, "GET /\x01 HTTP/1.1\r\n\r\n"},
		{-400, "GET / FTP/1.1\r\n\r\n"},
		{-505, "GET / HTTP/2.0\r\n\r\n"},
		{-400, "GET / HTTP/1.1\r\nno colon\r\n\r\n"},
		{-400, "GET / HTTP/1.1\r\n: no name\r\n\r\n"},
		{-400, "GET / HTTP/1.1\r\nspace : x\r\n\r\n"},
		{-400, "GET / HTTP/1.1\r\na: b\r\n folded\r\n\r\n"},
		{-400, "GET / HTTP/1.1\r\na: b\rc\r\n\r\n"},
		{-400, "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"},
		{-400, "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n"},
		{-400, "POST / HTTP/1.1\r\nContent-Length: 0x10\r\n\r\n"},
		{-400, "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n"},
		{-400, "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"},
		{-400, "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"},
		{-400,
		 "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{-501, "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
		{-400, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
		       "Transfer-Encoding: chunked\r\n\r\n"},
		{-417, "POST / HTTP/1.1\r\nExpect: miracles\r\n\r\n"},
	};
	struct thaw_http_head head;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ssize_t got = parse(&head, cases[i].text);
		if (got != cases[i].status)
			fail_msg("%zd where %d is due: %s", got, cases[i].status, cases[i].text);
	}
}

static void heads_are_bounded(void **state)
{
	struct thaw_http_head head;
	size_t scanned = 0;
	char *text = malloc(40000);

	(void)state;
	assert_non_null(text);
	memset(text, 'a', 40000);
	memcpy(text, "GET /", 5);
	assert_int_equal(thaw_http_parse_head(&head, text, 1000, &scanned), 0);
	assert_int_equal(thaw_http_parse_head(&head, text, THAW_HTTP_HEAD_MAX + 1, &scanned), -431);
	scanned = 0;
	size_t at = (size_t)sprintf(text, "GET / HTTP/1.1\r\n");
	for (unsigned int i = 0; i <= THAW_HTTP_FIELDS_MAX; i++)
		at += (size_t)sprintf(text + at, "a%u: b\r\n", i);
	at += (size_t)sprintf(text + at, "\r\n");
	assert_int_equal(thaw_http_parse_head(&head, text, at, &scanned), -431);
	free(text);
}

/* Head and body of `text`, offered as 1, 2, 3... bytes more each time. */
static void feed(const char *text, size_t step, char *body, size_t *body_size, int *end)
{
	struct thaw_http_head head;
	struct thaw_http_body state;
	size_t size = strlen(text);
	size_t scanned = 0;
	size_t at = 0;
	size_t known = 0;
	bool in_body = false;

	*body_size = 0;
	*end = 0;
	while (known < size) {
		known = known + step < size ? known + step : size;
		if (!in_body) {
			ssize_t n = thaw_http_parse_head(&head, text, known, &scanned);
			assert_true(n >= 0);
			if (n == 0)
				continue;
			at = (size_t)n;
			in_body = true;
			thaw_http_body_start(&state, &head);
		}
		while (state.state != THAW_HTTP_BODY_DONE) {
			struct thaw_slice piece;
			ssize_t n = thaw_http_body_take(&state, text + at, known - at, &piece);
			if (n < 0) {
				*end = (int)n;
				return;
			}
			if (n == 0)
				break;
			memcpy(body + *body_size, piece.data, piece.size);
			*body_size += piece.size;
			at += (size_t)n;
		}
	}
	*end = in_body && state.state == THAW_HTTP_BODY_DONE ? (int)at : 0;
}

static void bodies_come_in_any_pieces(void **state)
{
	static const char with_length[] =
		"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n0123456789GET";
	static const char chunked[] = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
				      "4;ext=1\r\n0123\r\n06\r\n456789\r\n0\r\nT: v\r\n\r\nGET";
	char body[64];
	size_t size;
	int end;

	(void)state;
	for (size_t step = 1; step < 100; step++) {
		feed(with_length, step, body, &size, &end);
		assert_int_equal(end, sizeof(with_length) - 1 - 3);
		assert_int_equal(size, 10);
		assert_memory_equal(body, "0123456789", 10);
		feed(chunked, step, body, &size, &end);
		assert_int_equal(end, sizeof(chunked) - 1 - 3);
		assert_int_equal(size, 10);
		assert_memory_equal(body, "0123456789", 10);
	}
}

static void broken_chunks_are_refused(void **state)
{
	static const char *const cases[] = {
		"x\r\n",      "-1\r\n",
		"\r\n",       "4\r\n0123xx",
		"4\r\n01234", "fffffffffffff\r\n",
		"4 4\r\n",    "0\r\nno colon\r\n\r\n",
	};
	char text[256];
	char body[64];
	size_t size;
	int end;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text),
			 "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%s", cases[i]);
		feed(text, 1000, body, &size, &end);
		if (end != -400)
			fail_msg("%d for \"%s\"", end, cases[i]);
	}
}

static void trailers_are_found(void **state)
{
	static const char text[] = "1\r\nx\r\n0\r\nLambda-Runtime-Function-Error-Type: A.B\r\n\r\n";
	struct thaw_http_head head = {.chunked = true};
	struct thaw_http_body body;
	struct thaw_slice piece;
	size_t at = 0;

	(void)state;
	thaw_http_body_start(&body, &head);
	while (body.state != THAW_HTTP_BODY_DONE) {
		ssize_t n = thaw_http_body_take(&body, text + at, sizeof(text) - 1 - at, &piece);
		assert_true(n > 0);
		at += (size_t)n;
	}
	assert_true(thaw_slice_is(
		thaw_http_find(&body.trailers, "lambda-runtime-function-error-type"), "A.B"));
}

static void json_and_base64(void **state)
{
	size_t size;

	(void)state;
	char *text = thaw_json_error("T", "a\"b\\c\n\xc3\xa4", &size);
	assert_string_equal(text, "{\"errorMessage\":\"a\\\"b\\\\c\\u000a\xc3\xa4\","
				  "\"errorType\":\"T\"}");
	assert_int_equal(size, strlen(text));
	free(text);
	static const char *const pairs[][2] = {
		{"", ""}, {"Zg==", "f"}, {"Zm8=", "fo"}, {"Zm9v", "foo"}, {"Zm9vYmFy", "foobar"}};
	for (size_t i = 0; i < 5; i++) {
		uint8_t *bytes = thaw_base64_decode(pairs[i][0], strlen(pairs[i][0]), &size);
		assert_non_null(bytes);
		assert_int_equal(size, strlen(pairs[i][1]));
		assert_memory_equal(bytes, pairs[i][1], size);
		free(bytes);
	}
	assert_null(thaw_base64_decode("Zg=", 3, &size));
	assert_null(thaw_base64_decode("Z===", 4, &size));
	assert_null(thaw_base64_decode("Zm 9", 4, &size));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_taken_apart),
		cmocka_unit_test(framing_fields_are_understood),
		cmocka_unit_test(what_is_wrong_is_refused),
		cmocka_unit_test(heads_are_bounded),
		cmocka_unit_test(bodies_come_in_any_pieces),
		cmocka_unit_test(broken_chunks_are_refused),
		cmocka_unit_test(trailers_are_found),
		cmocka_unit_test(json_and_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
