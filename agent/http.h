/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 requests, parsed where they lie (RFC 9112). No descriptors, no allocation: the caller
 * owns the bytes and asks again when more have come. The clients are a handler's processes and
 * nothing they send is trusted; what is ambiguous is refused, for two readings of one request are
 * how requests get smuggled.
 */
#ifndef THAW_AGENT_HTTP_H
#define THAW_AGENT_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define THAW_HTTP_HEAD_MAX   16384u /* of a head, and of a trailer section */
#define THAW_HTTP_FIELDS_MAX 64u
#define THAW_HTTP_LINE_MAX   256u /* of a chunk-size line */

/* Bytes inside the caller's buffer; not terminated. */
struct thaw_slice {
	const char *data;
	size_t size;
};

struct thaw_http_field {
	struct thaw_slice name;
	struct thaw_slice value;
};

struct thaw_http_fields {
	struct thaw_http_field at[THAW_HTTP_FIELDS_MAX];
	size_t count;
};

struct thaw_http_head {
	struct thaw_slice method;
	struct thaw_slice target;
	struct thaw_http_fields fields;
	uint64_t content_length; /* 0 when there is none */
	bool chunked;
	bool keep_alive;
	bool expect_continue;
};

/*
 * Parses the head at the beginning of `data`. Its size (> 0) when it is whole; 0: more bytes are
 * needed; otherwise the negative HTTP status to answer with before closing (-400, -417, -431,
 * -501, -505). `*scanned` remembers how far the end was looked for: 0 for a new head. The slices
 * in `head` point into `data`.
 */
ssize_t thaw_http_parse_head(struct thaw_http_head *head, const char *data, size_t size,
			     size_t *scanned);

/* The value of a field (name in any case), or NULL. */
const struct thaw_slice *thaw_http_find(const struct thaw_http_fields *fields, const char *name);

bool thaw_slice_is(const struct thaw_slice *slice, const char *text);
bool thaw_slice_is_nocase(const struct thaw_slice *slice, const char *text);
/* Copies as much as fits and terminates it; control bytes become '?'. */
void thaw_slice_copy(char *to, size_t space, const struct thaw_slice *from);

enum thaw_http_body_state {
	THAW_HTTP_BODY_DONE,
	THAW_HTTP_BODY_DATA,       /* `left` bytes of a body with a length */
	THAW_HTTP_BODY_CHUNK_SIZE, /* a chunk-size line comes */
	THAW_HTTP_BODY_CHUNK_DATA, /* `left` bytes of a chunk */
	THAW_HTTP_BODY_CHUNK_END,  /* the CRLF behind a chunk */
	THAW_HTTP_BODY_TRAILERS,
};

struct thaw_http_body {
	enum thaw_http_body_state state;
	uint64_t left;
	struct thaw_http_fields trailers; /* set when DONE is reached, until the bytes go */
};

void thaw_http_body_start(struct thaw_http_body *body, const struct thaw_http_head *head);

/*
 * Takes the next part of a body from `data`. The count of bytes taken, with `*piece` the content
 * among them (perhaps none); 0 and state not DONE: more bytes are needed; or a negative HTTP
 * status. A caller with room for THAW_HTTP_HEAD_MAX bytes never gets stuck.
 */
ssize_t thaw_http_body_take(struct thaw_http_body *body, const char *data, size_t size,
			    struct thaw_slice *piece);

#endif
