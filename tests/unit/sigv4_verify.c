/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads signed requests on standard input, in the form of sigv4_vectors.py: each must be accepted,
 * and refused once any one byte of what is signed is another.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/api/sigv4.h"

#define LINE_MAX (1u << 20)

struct signed_request {
	char name[128];
	char *method, *path, *query, *body; /* owned; the body in hexadecimal */
	struct thaw_sigv4_header headers[THAW_SIGV4_HEADERS_MAX]; /* both texts owned */
	size_t header_count;
	int64_t now;
	bool fixed_path, fixed_body;
};

static unsigned int accepted, refused, failures;

static int secret_of(void *opaque, const char *key_id, const char *token,
		     char secret[THAW_SIGV4_SECRET])
{
	(void)opaque;
	if (strcmp(key_id, "AKIDEXAMPLE") != 0 ||
	    (token[0] && strcmp(token, "a/token+with=signs") != 0))
		return -ENOENT;
	strcpy(secret, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
	return 0;
}

static void *checked(void *p)
{
	if (!p)
		abort();
	return p;
}

static void clear(struct signed_request *request)
{
	free(request->method);
	free(request->path);
	free(request->query);
	free(request->body);
	for (size_t i = 0; i < request->header_count; i++) {
		free((char *)request->headers[i].name);
		free((char *)request->headers[i].value);
	}
	memset(request, 0, sizeof(*request));
}

static void hash(const char *hex, char text[THAW_DIGEST_TEXT])
{
	struct thaw_digest *digest = checked(thaw_digest_new());

	for (; hex[0] && hex[1]; hex += 2) {
		char pair[3] = {hex[0], hex[1], 0};
		uint8_t byte = (uint8_t)strtoul(pair, NULL, 16);
		thaw_digest_add(digest, &byte, 1);
	}
	thaw_digest_finish(digest, text);
}

static enum thaw_sigv4_result verify(const struct signed_request *request, const char *body_hash,
				     struct thaw_sigv4_claim *claim,
				     struct thaw_sigv4_outcome *outcome)
{
	const struct thaw_sigv4_policy policy = {
		.service = "lambda",
		.now = request->now,
		.skew = THAW_SIGV4_SKEW,
		.unsigned_payload = request->fixed_body,
	};
	const struct thaw_sigv4_request plain = {
		.method = request->method,
		.path = request->path,
		.query = request->query,
		.headers = request->headers,
		.header_count = request->header_count,
	};

	if (thaw_sigv4_parse(claim, &plain, outcome))
		return outcome->result;
	return thaw_sigv4_verify(claim, &plain, &policy, body_hash, secret_of, NULL, outcome);
}

/* Another character of the same kind, so that what is refused is the change and not its form. */
static char another(char c)
{
	if (c >= 'a' && c <= 'z')
		return c == 'z' ? 'a' : (char)(c + 1);
	if (c >= 'A' && c <= 'Z')
		return c == 'Z' ? 'A' : (char)(c + 1);
	if (c >= '0' && c <= '9')
		return c == '9' ? '0' : (char)(c + 1);
	return 'x';
}

/* Each byte of `text`, which is a part of the request, in turn. */
static void change(struct signed_request *request, char *text, const char *what, bool body)
{
	struct thaw_sigv4_claim claim;
	struct thaw_sigv4_outcome outcome;
	char body_hash[THAW_DIGEST_TEXT];
	size_t size = text ? strlen(text) : 0;
	/* Of a large body, only some: all of it is hashed alike. */
	size_t step = body && size > 512 ? size / 16 : 1;

	hash(request->body, body_hash);
	for (size_t i = 0; i < size; i += step) {
		char before = text[i];
		if (body) {
			text[i] = before == '0' ? '1' : '0';
			hash(request->body, body_hash);
		} else {
			text[i] = another(before);
		}
		if (verify(request, body_hash, &claim, &outcome) == THAW_SIGV4_ACCEPTED) {
			printf("%s: accepted with byte %zu of its %s changed from '%c' to '%c'\n",
			       request->name, i, what, before, text[i]);
			failures++;
		} else if (outcome.result == THAW_SIGV4_TROUBLE) {
			printf("%s: %s\n", request->name, outcome.message);
			failures++;
		} else {
			refused++;
		}
		text[i] = before;
	}
}

static bool is_signed(const struct thaw_sigv4_claim *claim, const char *name)
{
	size_t length = strlen(name);

	if (!claim->presigned && strcasecmp(name, "authorization") == 0)
		return true;
	for (const char *at = claim->signed_headers; *at;) {
		size_t size = strcspn(at, ";");
		if (size == length && strncasecmp(at, name, size) == 0)
			return true;
		at += size + (at[size] == ';');
	}
	return false;
}

static void check(struct signed_request *request)
{
	struct thaw_sigv4_claim claim, scratch;
	struct thaw_sigv4_outcome outcome;
	char body_hash[THAW_DIGEST_TEXT];

	hash(request->body, body_hash);
	if (verify(request, body_hash, &claim, &outcome) != THAW_SIGV4_ACCEPTED) {
		printf("%s: %s %s?%s: %s: %s\n", request->name, request->method, request->path,
		       request->query ? request->query : "", thaw_sigv4_code(outcome.result),
		       outcome.message);
		failures++;
		return;
	}
	accepted++;
	change(request, request->method, "method", false);
	if (!request->fixed_path)
		change(request, request->path, "path", false);
	change(request, request->query, "query", false);
	for (size_t i = 0; i < request->header_count; i++) {
		if (!is_signed(&claim, request->headers[i].name))
			continue;
		change(request, (char *)request->headers[i].value, "headers' values", false);
		change(request, (char *)request->headers[i].name, "headers' names", false);
	}
	if (!request->fixed_body) {
		char *body = request->body;
		change(request, body, "body", true);
		/* A byte more. */
		request->body = checked(malloc(strlen(body) + 3));
		strcat(strcpy(request->body, body), "00");
		hash(request->body, body_hash);
		if (verify(request, body_hash, &scratch, &outcome) == THAW_SIGV4_ACCEPTED) {
			printf("%s: accepted with a longer body\n", request->name);
			failures++;
		}
		free(request->body);
		request->body = body;
	}
}

static void add_header(struct signed_request *request, const char *text)
{
	const char *colon = strstr(text, ": ");

	if (!colon || request->header_count == THAW_SIGV4_HEADERS_MAX)
		abort();
	request->headers[request->header_count].name =
		checked(strndup(text, (size_t)(colon - text)));
	request->headers[request->header_count++].value = checked(strdup(colon + 2));
}

static void take(struct signed_request *request, const char *key, const char *value)
{
	if (strcmp(key, "name") == 0)
		snprintf(request->name, sizeof(request->name), "%s", value);
	else if (strcmp(key, "now") == 0)
		request->now = strtoll(value, NULL, 10);
	else if (strcmp(key, "method") == 0)
		request->method = checked(strdup(value));
	else if (strcmp(key, "path") == 0)
		request->path = checked(strdup(value));
	else if (strcmp(key, "query") == 0)
		request->query = checked(strdup(value));
	else if (strcmp(key, "body") == 0)
		request->body = checked(strdup(value));
	else if (strcmp(key, "header") == 0)
		add_header(request, value);
	else if (strcmp(key, "fixed") == 0)
		*(strcmp(value, "path") == 0 ? &request->fixed_path : &request->fixed_body) = true;
	else
		abort();
}

int main(void)
{
	static char line[LINE_MAX];
	static struct signed_request request;
	unsigned long count = 0, promised = 0;

	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		char *value = line + strcspn(line, " ");
		if (*value)
			*value++ = 0;
		if (strcmp(line, "done") == 0) {
			promised = strtoul(value, NULL, 10);
		} else if (strcmp(line, "end") == 0) {
			check(&request);
			clear(&request);
			count++;
		} else {
			take(&request, line, value);
		}
	}
	clear(&request);
	printf("%lu requests, %u accepted, %u changed ones refused, %u failures\n", count, accepted,
	       refused, failures);
	return failures || !count || count != promised;
}
