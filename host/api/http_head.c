/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a request: the server's own copy, and what is refused before anything is done. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/api/http_internal.h"

#define METHOD_MAX 16

struct head {
	struct http_exchange *exchange;
	size_t text_size;
	size_t count;
	char *text; /* NULL while counting */
	bool bad;
	unsigned int lengths;
	unsigned int codings;
	unsigned int hosts;
	bool coding_bad;
};

static bool has_control(const char *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)data[i];
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return true;
	}
	return false;
}

static const char *head_keep(struct head *head, const char *data, size_t size)
{
	char *kept = head->text + head->text_size;

	memcpy(kept, data, size);
	kept[size] = 0;
	head->text_size += size + 1;
	return kept;
}

static enum MHD_Result head_count(void *opaque, enum MHD_ValueKind kind, const char *name,
				  size_t name_size, const char *value, size_t value_size)
{
	struct head *head = opaque;

	(void)kind;
	(void)name;
	(void)value;
	head->text_size += name_size + value_size + 2;
	head->count++;
	return MHD_YES;
}

static enum MHD_Result head_copy(void *opaque, enum MHD_ValueKind kind, const char *name,
				 size_t name_size, const char *value, size_t value_size)
{
	struct head *head = opaque;
	struct thaw_http_header *header = &head->exchange->headers[head->count++];

	(void)kind;
	while (value_size && (value[value_size - 1] == ' ' || value[value_size - 1] == '\t'))
		value_size--;
	if (!name_size || has_control(name, name_size) || memchr(name, ' ', name_size) ||
	    memchr(name, '\t', name_size) || has_control(value ? value : "", value_size))
		head->bad = true;
	header->name = head_keep(head, name, name_size);
	header->value = head_keep(head, value ? value : "", value_size);
	if (strcasecmp(header->name, "Content-Length") == 0) {
		head->lengths++;
	} else if (strcasecmp(header->name, "Host") == 0) {
		head->hosts++;
	} else if (strcasecmp(header->name, "Transfer-Encoding") == 0) {
		head->codings++;
		if (strcasecmp(header->value, "chunked") != 0)
			head->coding_bad = true;
	}
	return MHD_YES;
}

/* The request target: a path in visible ASCII, or "*" for OPTIONS (RFC 9112, 3.2). */
static bool target_split(struct http_exchange *exchange, const char *method)
{
	struct thaw_http_request *request = &exchange->request;
	char *target = exchange->target;

	for (const unsigned char *c = (const unsigned char *)target; *c; c++) {
		if (*c <= 0x20 || *c >= 0x7f)
			return false;
	}
	if (target[0] != '/' && !(strcmp(target, "*") == 0 && strcmp(method, "OPTIONS") == 0))
		return false;
	if (strchr(target, '#'))
		return false;
	char *mark = strchr(target, '?');
	request->path = target;
	request->query = "";
	if (mark) {
		*mark = 0;
		request->query = mark + 1;
	}
	return true;
}

static bool method_valid(const char *method)
{
	size_t size = strlen(method);

	for (size_t i = 0; i < size; i++) {
		if (method[i] < 'A' || method[i] > 'Z')
			return false;
	}
	return size && size <= METHOD_MAX;
}

static void peer_set(struct http_exchange *exchange)
{
	struct thaw_http_request *request = &exchange->request;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(exchange->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *address = info ? info->client_addr : NULL;

	if (address && address->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)address;
		inet_ntop(AF_INET, &in->sin_addr, request->peer, sizeof(request->peer));
		request->loopback = ntohl(in->sin_addr.s_addr) >> 24 == 127;
	} else if (address && address->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const void *)address;
		const uint8_t *bytes = in->sin6_addr.s6_addr;
		if (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr)) {
			inet_ntop(AF_INET, bytes + 12, request->peer, sizeof(request->peer));
			request->loopback = bytes[12] == 127;
		} else {
			inet_ntop(AF_INET6, bytes, request->peer, sizeof(request->peer));
			request->loopback = IN6_IS_ADDR_LOOPBACK(&in->sin6_addr);
		}
	}
}

/* Pool memory goes when the connection does, but a handler may hold its request longer. */
static int head_take_headers(struct http_exchange *exchange, const char *method, struct head *head)
{
	MHD_get_connection_values_n(exchange->mhd, MHD_HEADER_KIND, head_count, head);
	if (head->count > THAW_HTTP_HEADERS_MAX)
		return -E2BIG;
	exchange->head_text = malloc(head->text_size + strlen(method) + 1);
	exchange->headers = calloc(head->count + 1, sizeof(*exchange->headers));
	if (!exchange->head_text || !exchange->headers)
		return -ENOMEM;
	head->text = exchange->head_text;
	head->text_size = 0;
	head->count = 0;
	exchange->request.method = head_keep(head, method, strlen(method));
	MHD_get_connection_values_n(exchange->mhd, MHD_HEADER_KIND, head_copy, head);
	exchange->request.headers = exchange->headers;
	exchange->request.header_count = head->count;
	return 0;
}

unsigned int http_head_take(struct http_exchange *exchange, const char *method, const char *version,
			    const char **reason)
{
	struct head head = {.exchange = exchange};
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(exchange->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

	peer_set(exchange);
	int rc = head_take_headers(exchange, method, &head);
	if (rc == -E2BIG || (info && info->header_size > exchange->server->config.head_max)) {
		*reason = "The request head is too large.";
		return 431;
	}
	if (rc < 0) {
		*reason = "No memory left for the request.";
		return 503;
	}
	exchange->http_1_0 = strcmp(version, "HTTP/1.0") == 0;
	if (strcmp(version, "HTTP/1.1") != 0 && !exchange->http_1_0)
		*reason = "The protocol is not HTTP/1.1.";
	else if (!method_valid(method))
		*reason = "The request method is malformed.";
	else if (!target_split(exchange, method))
		*reason = "The request target is malformed.";
	else if (head.bad)
		*reason = "A header is malformed.";
	else if (head.hosts > 1 || (head.hosts == 0 && !exchange->http_1_0))
		*reason = "One Host header is wanted.";
	else if (head.lengths > 1 || (head.lengths && head.codings))
		*reason = "The length of the body is ambiguous.";
	else if (head.codings > 1 || head.coding_bad || (head.codings && exchange->http_1_0))
		*reason = "The transfer coding is not supported.";
	else
		return 0;
	return 400;
}

const char *thaw_http_header(const struct thaw_http_request *request, const char *name)
{
	for (size_t i = 0; i < request->header_count; i++) {
		if (strcasecmp(request->headers[i].name, name) == 0)
			return request->headers[i].value;
	}
	return NULL;
}
