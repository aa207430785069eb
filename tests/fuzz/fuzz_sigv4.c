/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that claim to be signed: one line each for the method, the path and the query, then
 * headers as "Name: value", one a line. Nothing that a claim holds may break its promises; the
 * signature of a claim is accepted, and no other; and a signed request stays one when what does
 * not count is spelled otherwise.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/api/sigv4.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int right)
{
	if (!right)
		abort();
}

static int secret_of(void *opaque, const char *key_id, const char *token,
		     char secret[THAW_SIGV4_SECRET])
{
	(void)token;
	check(key_id[0] && strlen(key_id) < THAW_SIGV4_KEY_ID);
	if (*(int *)opaque)
		return -ENOENT;
	strcpy(secret, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
	return 0;
}

/* Each line in memory of its own size, so that a read beyond it is seen. */
static char *line_take(const uint8_t **data, size_t *size)
{
	const uint8_t *end = *size ? memchr(*data, '\n', *size) : NULL;
	size_t length = end ? (size_t)(end - *data) : *size;
	char *line = malloc(length + 1);

	check(line != NULL);
	if (length)
		memcpy(line, *data, length);
	line[length] = 0;
	*data += length + (end != NULL);
	*size -= length + (end != NULL);
	return line;
}

static void check_claim(const struct thaw_sigv4_claim *claim)
{
	check(strspn(claim->date, "0123456789") == 8 && !claim->date[8]);
	check(claim->region[0] && strlen(claim->region) < THAW_SIGV4_SCOPE);
	check(claim->service[0] && strlen(claim->service) < THAW_SIGV4_SCOPE);
	check(strlen(claim->time) == THAW_SIGV4_TIME - 1);
	check(strlen(claim->payload) < THAW_DIGEST_TEXT);
	check(strlen(claim->token) < THAW_SIGV4_TOKEN);
	check(!claim->presigned ||
	      (claim->expires >= 1 && claim->expires <= THAW_SIGV4_EXPIRES_MAX));
	const char *host = strstr(claim->signed_headers, "host");
	check(host != NULL);
}

/* The right signature is accepted, a wrong one and that of an unknown key are not. */
static void check_verify(struct thaw_sigv4_claim *claim, const struct thaw_sigv4_request *request)
{
	struct thaw_sigv4_policy policy = {
		.service = claim->service,
		.now = claim->at,
		.skew = THAW_SIGV4_SKEW,
		.unsigned_payload = true,
	};
	struct thaw_sigv4_outcome outcome;
	int unknown = 0;
	const char *payload = claim->payload[0] ? claim->payload : EMPTY;
	const char *body = strcmp(payload, "UNSIGNED-PAYLOAD") == 0 ? EMPTY : payload;

	if (thaw_sigv4_check(claim, &policy, &outcome)) {
		/* Only the day can be wrong. */
		check(outcome.result == THAW_SIGV4_SCOPE_WRONG);
		return;
	}
	check(thaw_sigv4_sign(claim, request, payload, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
			      claim->signature) == 0);
	check(thaw_sigv4_verify(claim, request, &policy, body, secret_of, &unknown, &outcome) ==
	      THAW_SIGV4_ACCEPTED);
	claim->signature[0] ^= 1;
	check(thaw_sigv4_verify(claim, request, &policy, body, secret_of, &unknown, &outcome) ==
	      THAW_SIGV4_MISMATCH);
	claim->signature[0] ^= 1;
	unknown = 1;
	check(thaw_sigv4_verify(claim, request, &policy, body, secret_of, &unknown, &outcome) ==
	      THAW_SIGV4_UNKNOWN_KEY);
}

/* Slashes and spaces more do not change a signature. */
static void check_spelling(const struct thaw_sigv4_claim *claim,
			   const struct thaw_sigv4_request *request)
{
	struct thaw_sigv4_header headers[THAW_SIGV4_HEADERS_MAX];
	struct thaw_sigv4_request again = *request;
	uint8_t first[32], second[32];
	char *path = malloc(strlen(request->path) + 4);
	char *last = NULL;

	check(path != NULL);
	strcat(strcpy(path, "/./"), request->path);
	again.path = path;
	again.headers = headers;
	for (size_t i = 0; i < request->header_count; i++)
		headers[i] = request->headers[i];
	if (request->header_count) {
		struct thaw_sigv4_header *header = &headers[request->header_count - 1];
		last = malloc(strlen(header->value) + 3);
		check(last != NULL);
		strcat(strcat(strcpy(last, " "), header->value), "\t");
		header->value = last;
	}
	check(thaw_sigv4_sign(claim, request, EMPTY, "secret", first) == 0);
	check(thaw_sigv4_sign(claim, &again, EMPTY, "secret", second) == 0);
	check(memcmp(first, second, 32) == 0);
	free(path);
	free(last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct thaw_sigv4_header headers[THAW_SIGV4_HEADERS_MAX + 1];
	struct thaw_sigv4_claim claim;
	struct thaw_sigv4_outcome outcome;
	size_t count = 0;

	char *method = line_take(&data, &size), *path = line_take(&data, &size),
	     *query = line_take(&data, &size);
	while (size && count <= THAW_SIGV4_HEADERS_MAX) {
		char *line = line_take(&data, &size);
		char *colon = strstr(line, ": ");
		headers[count].value = strdup(colon ? colon + 2 : "");
		if (colon)
			*colon = 0;
		headers[count++].name = line;
	}
	const struct thaw_sigv4_request request = {
		.method = method,
		.path = path,
		.query = query,
		.headers = headers,
		.header_count = count,
	};
	enum thaw_sigv4_result result = thaw_sigv4_parse(&claim, &request, &outcome);
	check(result == outcome.result && result < THAW_SIGV4_RESULTS);
	check(strlen(outcome.message) < THAW_SIGV4_MESSAGE);
	if (result == THAW_SIGV4_ACCEPTED) {
		check_claim(&claim);
		check_spelling(&claim, &request);
		check_verify(&claim, &request);
	} else {
		check(outcome.message[0] && result != THAW_SIGV4_TROUBLE);
	}
	for (size_t i = 0; i < count; i++) {
		free((char *)headers[i].name);
		free((char *)headers[i].value);
	}
	free(method);
	free(path);
	free(query);
	return 0;
}
