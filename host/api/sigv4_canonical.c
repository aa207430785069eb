/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The canonical request: one spelling for all requests that mean the same, so that a signature
 * survives what proxies and libraries do to a request. It is never whole in memory but goes into
 * its digest piece by piece.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/api/sigv4_internal.h"
#include "lib/fd.h"

struct sink {
	struct thaw_digest *digest;
	char buffer[512];
	size_t used;
};

static void sink_flush(struct sink *sink)
{
	thaw_digest_add(sink->digest, sink->buffer, sink->used);
	sink->used = 0;
}

static void sink_byte(struct sink *sink, char c)
{
	if (sink->used == sizeof(sink->buffer))
		sink_flush(sink);
	sink->buffer[sink->used++] = c;
}

static void sink_text(struct sink *sink, const char *text)
{
	while (*text)
		sink_byte(sink, *text++);
}

/* RFC 3986, 2.3. Not isalnum: that asks the locale. */
static bool unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

static char *encode(char *to, char c)
{
	static const char digits[] = "0123456789ABCDEF";

	if (unreserved(c)) {
		*to++ = c;
	} else {
		*to++ = '%';
		*to++ = digits[(uint8_t)c >> 4];
		*to++ = digits[(uint8_t)c & 15];
	}
	return to;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One byte of a query, decoded, and where the next one is; NULL for a bad escape. */
static const char *decode(const char *raw, char *c)
{
	*c = *raw == '+' ? ' ' : *raw;
	if (*raw != '%')
		return raw + 1;
	int high = hex_value(raw[1]);
	int low = high < 0 ? -1 : hex_value(raw[2]);
	*c = (char)(high * 16 + low);
	return low < 0 ? NULL : raw + 3;
}

int thaw_sigv4_query_read(struct thaw_sigv4_query *query, const char *raw)
{
	memset(query, 0, sizeof(*query));
	if (!raw || !*raw)
		return 0;
	/* A byte becomes three at most; each '&' makes room for the end of two texts, and one pair
	 * has none. */
	query->text = malloc(3 * strlen(raw) + 2);
	if (!query->text)
		return -ENOMEM;
	char *to = query->text;
	for (;;) {
		if (query->count == THAW_SIGV4_PARAMETERS_MAX)
			return -E2BIG;
		struct thaw_sigv4_parameter *parameter = &query->at[query->count++];
		parameter->name = to;
		parameter->value = NULL;
		while (*raw && *raw != '&') {
			char c;
			if (*raw == '=' && !parameter->value) {
				*to++ = 0;
				parameter->value = to;
				raw++;
				continue;
			}
			raw = decode(raw, &c);
			if (!raw)
				return -EINVAL;
			to = encode(to, c);
		}
		*to = 0;
		if (!parameter->value)
			parameter->value = to; /* empty: the end of the name */
		to++;
		if (!*raw++)
			return 0;
	}
}

void thaw_sigv4_query_clear(struct thaw_sigv4_query *query)
{
	free(query->text);
	query->text = NULL;
	query->count = 0;
}

static int parameter_order(const void *a, const void *b)
{
	const struct thaw_sigv4_parameter *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : strcmp(x->value, y->value);
}

static int canonical_query(struct sink *sink, const struct thaw_sigv4_claim *claim, const char *raw)
{
	struct thaw_sigv4_query query;
	const char *between = "";

	int rc = thaw_sigv4_query_read(&query, raw);
	if (rc == 0 && query.count)
		qsort(query.at, query.count, sizeof(query.at[0]), parameter_order);
	for (size_t i = 0; rc == 0 && i < query.count; i++) {
		if (claim->presigned && strcmp(query.at[i].name, "X-Amz-Signature") == 0)
			continue;
		sink_text(sink, between);
		sink_text(sink, query.at[i].name);
		sink_byte(sink, '=');
		sink_text(sink, query.at[i].value);
		between = "&";
	}
	thaw_sigv4_query_clear(&query);
	return rc;
}

/* Without empty segments, "." and ".." (RFC 3986, 5.2.4, but "/a/." becomes "/a": so do the SDKs),
 * and then encoded again, escapes and all. */
static int canonical_path(struct sink *sink, const char *path)
{
	size_t size = strlen(path), used = 0;
	cleanup_free char *kept = malloc(size + 1);

	if (!kept)
		return -ENOMEM;
	for (const char *at = path; *at;) {
		at += *at == '/';
		size_t n = strcspn(at, "/");
		if (n == 2 && at[0] == '.' && at[1] == '.') {
			while (used && kept[--used] != '/')
				;
		} else if (n && !(n == 1 && at[0] == '.')) {
			kept[used++] = '/';
			memcpy(kept + used, at, n);
			used += n;
		}
		at += n;
	}
	for (size_t i = 0; i < used; i++) {
		char encoded[3];
		char *end = kept[i] == '/' ? encoded : encode(encoded, kept[i]);
		if (kept[i] == '/')
			*end++ = '/';
		for (char *c = encoded; c < end; c++)
			sink_byte(sink, *c);
	}
	if (!used || path[size - 1] == '/')
		sink_byte(sink, '/');
	return 0;
}

size_t thaw_sigv4_header_find(const struct thaw_sigv4_request *request, const char *name,
			      size_t size, const char **value)
{
	size_t count = 0;

	for (size_t i = 0; i < request->header_count; i++) {
		const struct thaw_sigv4_header *header = &request->headers[i];
		if (strncasecmp(header->name, name, size) == 0 && header->name[size] == 0) {
			*value = header->value;
			count++;
		}
	}
	return count;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

static void canonical_value(struct sink *sink, const char *value)
{
	bool first = true;

	for (;;) {
		while (is_space(*value))
			value++;
		if (!*value)
			return;
		if (!first)
			sink_byte(sink, ' ');
		first = false;
		while (*value && !is_space(*value))
			sink_byte(sink, *value++);
	}
}

static int canonical_headers(struct sink *sink, const struct thaw_sigv4_claim *claim,
			     const struct thaw_sigv4_request *request)
{
	for (const char *name = claim->signed_headers; *name;) {
		const char *value;
		size_t size = strcspn(name, ";");
		if (thaw_sigv4_header_find(request, name, size, &value) != 1)
			return -EINVAL;
		for (size_t i = 0; i < size; i++)
			sink_byte(sink, name[i]);
		sink_byte(sink, ':');
		canonical_value(sink, value);
		sink_byte(sink, '\n');
		name += size + (name[size] == ';');
	}
	return 0;
}

int thaw_sigv4_canonical(const struct thaw_sigv4_claim *claim,
			 const struct thaw_sigv4_request *request, const char *payload,
			 char hash[THAW_DIGEST_TEXT])
{
	struct sink sink = {.digest = thaw_digest_new()};

	if (!sink.digest)
		return -ENOMEM;
	sink_text(&sink, request->method);
	sink_byte(&sink, '\n');
	int rc = canonical_path(&sink, request->path);
	sink_byte(&sink, '\n');
	if (rc == 0)
		rc = canonical_query(&sink, claim, request->query);
	sink_byte(&sink, '\n');
	if (rc == 0)
		rc = canonical_headers(&sink, claim, request);
	sink_byte(&sink, '\n');
	sink_text(&sink, claim->signed_headers);
	sink_byte(&sink, '\n');
	sink_text(&sink, payload);
	sink_flush(&sink);
	thaw_digest_finish(sink.digest, rc == 0 ? hash : NULL);
	return rc;
}
