/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "host/api/http_internal.h"

#define STREAM_BLOCK (32u << 10)

struct thaw_http_response *thaw_http_response_no_memory(void)
{
	static struct thaw_http_response no_memory = {
		.status = 500, .file = -1, .broken = true, .shared = true};

	return &no_memory;
}

struct thaw_http_response *thaw_http_response_new(unsigned int status)
{
	struct thaw_http_response *response = calloc(1, sizeof(*response));

	if (!response)
		return thaw_http_response_no_memory();
	response->status = status;
	response->file = -1;
	return response;
}

/* Who adds to a response need not look whether it could be done. */
static int response_break(struct thaw_http_response *response)
{
	if (response && !response->shared)
		response->broken = true;
	return -ENOMEM;
}

void thaw_http_response_free(struct thaw_http_response *response)
{
	if (!response || response->shared)
		return;
	/* A header's name and value are one allocation. */
	for (size_t i = 0; i < response->header_count; i++)
		free((char *)response->headers[i].name);
	free(response->body);
	if (response->file >= 0)
		close(response->file);
	free(response);
}

unsigned int thaw_http_response_status(const struct thaw_http_response *response)
{
	return response && !response->broken ? response->status : 500;
}

/* RFC 9110, 5.6.2. */
static bool is_token(const char *text)
{
	static const char other[] = "!#$%&'*+-.^_`|~";

	for (const char *c = text; *c; c++) {
		bool alnum = (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') ||
			     (*c >= 'A' && *c <= 'Z');
		if (!alnum && !strchr(other, *c))
			return false;
	}
	return *text;
}

static bool is_value(const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if ((*c < 0x20 && *c != '\t') || *c == 0x7f)
			return false;
	}
	return true;
}

int thaw_http_response_header(struct thaw_http_response *response, const char *name,
			      const char *value)
{
	if (!response || response->broken)
		return -ENOMEM;
	if (!is_token(name) || !is_value(value))
		return -EINVAL;
	if (response->header_count == THAW_HTTP_HEADERS_MAX)
		return -E2BIG;
	size_t name_size = strlen(name) + 1, value_size = strlen(value) + 1;
	char *text = malloc(name_size + value_size);
	if (!text)
		return response_break(response);
	memcpy(text, name, name_size);
	memcpy(text + name_size, value, value_size);
	response->headers[response->header_count++] =
		(struct thaw_http_header){.name = text, .value = text + name_size};
	return 0;
}

int thaw_http_response_body_take(struct thaw_http_response *response, void *data, size_t size)
{
	if (!response || response->broken) {
		free(data);
		return -ENOMEM;
	}
	free(response->body);
	if (response->file >= 0)
		close(response->file);
	response->file = -1;
	response->body = data;
	response->body_size = size;
	return 0;
}

int thaw_http_response_body_file(struct thaw_http_response *response, int fd, size_t size)
{
	if (!response || response->broken) {
		close(fd);
		return -ENOMEM;
	}
	thaw_http_response_body_take(response, NULL, size);
	response->file = fd;
	return 0;
}

int thaw_http_response_body_copy(struct thaw_http_response *response, const void *data, size_t size)
{
	void *copy = malloc(size ? size : 1);

	if (!copy)
		return response_break(response);
	memcpy(copy, data, size);
	return thaw_http_response_body_take(response, copy, size);
}

const char *thaw_http_response_find(const struct thaw_http_response *response, const char *name)
{
	for (size_t i = 0; response && i < response->header_count; i++) {
		if (strcasecmp(response->headers[i].name, name) == 0)
			return response->headers[i].value;
	}
	return NULL;
}

const void *thaw_http_response_body(const struct thaw_http_response *response, size_t *size)
{
	*size = response ? response->body_size : 0;
	return response ? response->body : NULL;
}

struct thaw_http_response *http_response_plain(unsigned int status, const char *reason)
{
	struct thaw_http_response *response = thaw_http_response_new(status);
	char text[256];

	/* `reason` is one of the server's own: nothing in it needs an escape. */
	int size = snprintf(text, sizeof(text), "{\"message\":\"%s\"}", reason);
	if (thaw_http_response_header(response, "Content-Type", "application/json") < 0 ||
	    thaw_http_response_body_copy(response, text, (size_t)size) < 0) {
		thaw_http_response_free(response);
		return thaw_http_response_no_memory();
	}
	return response;
}

struct MHD_Response *http_response_make(struct thaw_http_response *response, const char *id,
					bool close, struct http_exchange *stream)
{
	struct MHD_Response *made = NULL;

	if (response && response->broken) {
		thaw_http_response_free(response);
		response = NULL;
		if (stream)
			return NULL;
	}
	if (stream) {
		http_exchange_ref(stream);
		made = MHD_create_response_from_callback(
			MHD_SIZE_UNKNOWN, STREAM_BLOCK, http_stream_read, stream, http_stream_free);
		if (!made)
			http_exchange_unref(stream);
	} else if (response && response->file >= 0) {
		made = MHD_create_response_from_fd64(response->body_size, response->file);
		if (made)
			response->file = -1;
	} else if (response && response->body_size) {
		made = MHD_create_response_from_buffer(response->body_size, response->body,
						       MHD_RESPMEM_MUST_FREE);
		if (made)
			response->body = NULL;
	} else {
		made = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
	}
	bool ok = made && MHD_add_response_header(made, "x-amzn-RequestId", id) == MHD_YES;
	for (size_t i = 0; ok && response && i < response->header_count; i++)
		ok = MHD_add_response_header(made, response->headers[i].name,
					     response->headers[i].value) == MHD_YES;
	if (ok && close)
		ok = MHD_add_response_header(made, "Connection", "close") == MHD_YES;
	thaw_http_response_free(response);
	if (!ok && made) {
		MHD_destroy_response(made);
		made = NULL;
	}
	return made;
}
