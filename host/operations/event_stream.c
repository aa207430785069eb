/* SPDX-License-Identifier: Apache-2.0 */
#include "host/operations/event_stream.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "host/api/http.h"
#include "host/daemon/invoke.h"

static uint8_t *put32(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 24);
	at[1] = (uint8_t)(value >> 16);
	at[2] = (uint8_t)(value >> 8);
	at[3] = (uint8_t)value;
	return at + 4;
}

static uint8_t *put_header(uint8_t *at, const char *name, const char *value)
{
	size_t name_size = strlen(name), size = strlen(value);

	*at++ = (uint8_t)name_size;
	memcpy(at, name, name_size);
	at += name_size;
	*at++ = 7;
	*at++ = (uint8_t)(size >> 8);
	*at++ = (uint8_t)size;
	memcpy(at, value, size);
	return at + size;
}

size_t thaw_event_stream_event(uint8_t *out, const char *type, const char *content_type,
			       const void *payload, size_t size)
{
	uint8_t *at = out + 12;

	at = put_header(at, ":event-type", type);
	if (content_type)
		at = put_header(at, ":content-type", content_type);
	at = put_header(at, ":message-type", "event");
	size_t headers = (size_t)(at - out) - 12;
	if (size)
		memcpy(at, payload, size);
	size_t total = 12 + headers + size + 4;
	put32(out, (uint32_t)total);
	put32(out + 4, (uint32_t)headers);
	put32(out + 8, (uint32_t)crc32(0, out, 8));
	put32(out + total - 4, (uint32_t)crc32(0, out, (uInt)(total - 4)));
	return total;
}

/* {"ErrorCode", "ErrorDetails", "LogResult"}: what is known only when all of the response is out.
 */
static char *complete_text(const struct thaw_invoke_answer *answer)
{
	json_t *body = json_object();
	json_t *error = NULL;

	if (answer->function_error) {
		error = json_loadb((const char *)answer->payload, answer->payload_size, 0, NULL);
		const char *type = json_string_value(json_object_get(error, "errorType"));
		json_object_set_new(body, "ErrorCode",
				    json_string(type ? type : answer->function_error));
		json_object_set_new(
			body, "ErrorDetails",
			json_stringn((const char *)answer->payload, answer->payload_size));
	}
	if (*answer->log_tail)
		json_object_set_new(body, "LogResult", json_string(answer->log_tail));
	char *text = json_dumps(body, JSON_COMPACT);
	json_decref(error);
	json_decref(body);
	return text;
}

struct thaw_http_response *thaw_event_stream_response(const struct thaw_invoke_answer *answer)
{
	size_t size = answer->function_error ? 0 : answer->payload_size;
	size_t chunks = (size + THAW_EVENT_CHUNK_MAX - 1) / THAW_EVENT_CHUNK_MAX;
	char *complete = complete_text(answer);
	size_t complete_size = complete ? strlen(complete) : 0;
	uint8_t *body = malloc(size + complete_size + (chunks + 1) * THAW_EVENT_OVERHEAD);
	struct thaw_http_response *response = thaw_http_response_new(200);
	size_t used = 0;

	if (!complete || !body || !response) {
		free(complete);
		free(body);
		thaw_http_response_free(response);
		return NULL;
	}
	for (size_t at = 0; at < size; at += THAW_EVENT_CHUNK_MAX) {
		size_t part = size - at < THAW_EVENT_CHUNK_MAX ? size - at : THAW_EVENT_CHUNK_MAX;
		used += thaw_event_stream_event(body + used, "PayloadChunk",
						"application/octet-stream", answer->payload + at,
						part);
	}
	used += thaw_event_stream_event(body + used, "InvokeComplete", "application/json", complete,
					complete_size);
	free(complete);
	thaw_http_response_header(response, "Content-Type", "application/vnd.amazon.eventstream");
	thaw_http_response_header(response, "X-Amz-Executed-Version", answer->executed_version);
	thaw_http_response_header(response, "X-Amzn-Remapped-Content-Type", "application/json");
	thaw_http_response_body_take(response, body, used);
	return response;
}
