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

#include <stddef.h>
#include <stdint.h>

struct thaw_http_response;
struct thaw_invoke_answer;

#define THAW_EVENT_CHUNK_MAX (64u << 10)

/* A whole response. NULL: no memory. */
struct thaw_http_response *thaw_event_stream_response(const struct thaw_invoke_answer *answer);

/* Writes one event into `out`, which holds THAW_EVENT_OVERHEAD bytes more than the payload; its
 * size. `content_type` may be NULL. */
#define THAW_EVENT_OVERHEAD 256u
size_t thaw_event_stream_event(uint8_t *out, const char *type, const char *content_type,
			       const void *payload, size_t size);

#endif
