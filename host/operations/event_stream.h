/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of InvokeWithResponseStream: application/vnd.amazon.eventstream, messages of
 *
 *	total length, headers' length (4 bytes each, big-endian), CRC-32 of these eight
 *	headers: name's length (1), name, type (1; 7: text), value's length (2), value
 *	payload
 *	CRC-32 of all before it
 *
 * as AWS SDKs read them ("Event Stream Protocol", Smithy): PayloadChunk events with the response,
 * and one InvokeComplete with what became of it, as JSON.
 */
#ifndef THAW_HOST_OPERATIONS_EVENT_STREAM_H
#define THAW_HOST_OPERATIONS_EVENT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thaw_http_request;
struct thaw_invoke_answer;

/* One response under way: nothing has been sent while `begun` is false. */
struct thaw_event_stream {
	struct thaw_http_request *request;
	bool begun;
	bool broken; /* nobody listens any more */
	size_t sent; /* bytes of the response */
};

/* Sends a part, after the head if it is the first. */
void thaw_event_stream_part(struct thaw_event_stream *stream, const char *executed_version,
			    const uint8_t *data, size_t size);

/* Sends what has not been sent of the answer, and the end; takes the request. */
void thaw_event_stream_end(struct thaw_event_stream *stream,
			   const struct thaw_invoke_answer *answer);

/* Writes one event into `out`, which holds THAW_EVENT_OVERHEAD bytes more than the payload; its
 * size. `content_type` may be NULL. */
#define THAW_EVENT_OVERHEAD 256u
size_t thaw_event_stream_event(uint8_t *out, const char *type, const char *content_type,
			       const void *payload, size_t size);

#endif
