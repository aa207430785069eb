/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP parser. The first byte says in which steps the rest arrives; requests follow each other
 * as on a kept connection. What the parser hands out must lie in what it was given, and the pieces
 * of a body must not depend on the steps.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/http.h"
#include "agent/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct digest {
	uint64_t requests;
	uint64_t body_bytes;
	uint64_t sum;
	ssize_t end;
};

static void check(int right)
{
	if (!right)
		abort();
}

static void check_slice(const struct thaw_slice *slice, const char *data, size_t size)
{
	check(slice->data >= data && slice->data + slice->size <= data + size);
}

/* One request at the start of what is known. 1: taken; 0: more is needed; negative: refused. */
static int take_request(const char *data, size_t *at, size_t known, size_t *scanned,
			struct thaw_http_body *body, int *in_body, struct digest *digest)
{
	struct thaw_http_head head;

	if (!*in_body) {
		ssize_t n = thaw_http_parse_head(&head, data + *at, known - *at, scanned);
		if (n <= 0)
			return (int)n;
		check((size_t)n <= known - *at);
		check_slice(&head.method, data + *at, (size_t)n);
		check_slice(&head.target, data + *at, (size_t)n);
		check(head.fields.count <= THAW_HTTP_FIELDS_MAX);
		for (size_t i = 0; i < head.fields.count; i++) {
			check_slice(&head.fields.at[i].name, data + *at, (size_t)n);
			check_slice(&head.fields.at[i].value, data + *at, (size_t)n);
		}
		*at += (size_t)n;
		*in_body = 1;
		digest->requests++;
		thaw_http_body_start(body, &head);
	}
	while (body->state != THAW_HTTP_BODY_DONE) {
		struct thaw_slice piece;
		ssize_t n = thaw_http_body_take(body, data + *at, known - *at, &piece);
		if (n <= 0)
			return (int)n;
		check((size_t)n <= known - *at);
		if (piece.size)
			check_slice(&piece, data + *at, (size_t)n);
		for (size_t i = 0; i < piece.size; i++)
			digest->sum = digest->sum * 31 + (uint8_t)piece.data[i];
		digest->body_bytes += piece.size;
		*at += (size_t)n;
	}
	*in_body = 0;
	*scanned = 0;
	return 1;
}

static struct digest run(const char *data, size_t size, size_t step)
{
	struct digest digest = {0};
	struct thaw_http_body body;
	size_t at = 0;
	size_t known = 0;
	size_t scanned = 0;
	int in_body = 0;

	while (known < size) {
		int rc;
		known = size - known < step ? size : known + step;
		do {
			rc = take_request(data, &at, known, &scanned, &body, &in_body, &digest);
		} while (rc > 0 && at < known);
		if (rc < 0) {
			digest.end = rc;
			return digest;
		}
	}
	return digest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t decoded;

	if (size < 1)
		return 0;
	/* A copy of the exact size: a read beyond it is seen. */
	char *text = malloc(size);
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	struct digest whole = run(text, size - 1, size);
	struct digest parts = run(text, size - 1, (size_t)data[0] % 64 + 1);
	/* Refusals of what is too long may come at another place; all else must agree. */
	if (whole.end == parts.end && whole.end != -431) {
		check(whole.requests == parts.requests);
		check(whole.body_bytes == parts.body_bytes);
		check(whole.sum == parts.sum);
	}
	free(thaw_base64_decode(text, size - 1, &decoded));
	free(text);
	return 0;
}
