/* SPDX-License-Identifier: Apache-2.0 */
#include "host/operations/event_stream.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "host/api/http.h"
#include "host/daemon/invoke.h"

#define CHUNK_MAX (64u << 10)
#define WAIT_MS   30000 /* for a client that does not read */

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

static void stream_begin(struct thaw_event_stream *stream, const char *executed_version)
{
	struct thaw_http_response *response = thaw_http_response_new(200);

	stream->begun = true;
	thaw_http_response_header(response, "Content-Type", "application/vnd.amazon.eventstream");
	thaw_http_response_header(response, "X-Amz-Executed-Version", executed_version);
	thaw_http_response_header(response, "X-Amzn-Remapped-Content-Type", "application/json");
	int rc = thaw_http_stream_begin(stream->request, response);
	stream->broken = rc < 0;
	/* Then it is not a stream, and this its answer. */
	if (rc == -ENOMEM) {
		thaw_http_respond(stream->request, NULL);
		stream->request = NULL;
	}
}

static void stream_write(struct thaw_event_stream *stream, const uint8_t *data, size_t size)
{
	while (size && !stream->broken) {
		ssize_t n = thaw_http_stream_write(stream->request, data, size);
		if (n < 0 || (n == 0 && thaw_http_stream_wait(stream->request, WAIT_MS) < 0)) {
			stream->broken = true;
			return;
		}
		data += n;
		size -= (size_t)n;
	}
}

static void stream_event(struct thaw_event_stream *stream, const char *type,
			 const char *content_type, const void *payload, size_t size)
{
	uint8_t *event = malloc(size + THAW_EVENT_OVERHEAD);

	if (event)
		stream_write(stream, event,
			     thaw_event_stream_event(event, type, content_type, payload, size));
	else
		stream->broken = true;
	free(event);
}

void thaw_event_stream_part(struct thaw_event_stream *stream, const char *executed_version,
			    const uint8_t *data, size_t size)
{
	if (!stream->begun)
		stream_begin(stream, executed_version);
	stream->sent += size;
	for (size_t at = 0; at < size && !stream->broken; at += CHUNK_MAX) {
		size_t part = size - at < CHUNK_MAX ? size - at : CHUNK_MAX;
		stream_event(stream, "PayloadChunk", "application/octet-stream", data + at, part);
	}
}

void thaw_event_stream_end(struct thaw_event_stream *stream,
			   const struct thaw_invoke_answer *answer)
{
	if (!stream->begun)
		stream_begin(stream, answer->executed_version);
	if (!answer->function_error && answer->payload_size > stream->sent)
		thaw_event_stream_part(stream, answer->executed_version,
				       answer->payload + stream->sent,
				       answer->payload_size - stream->sent);
	char *complete = answer->refused ? NULL : complete_text(answer);
	if (complete)
		stream_event(stream, "InvokeComplete", "application/json", complete,
			     strlen(complete));
	/* What is cut short must not look whole. */
	if (complete && !stream->broken)
		thaw_http_stream_end(stream->request);
	else if (stream->request)
		thaw_http_stream_abort(stream->request);
	free(complete);
}
