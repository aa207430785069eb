/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a path to an operation: a table, one row an operation. Paths are split at '/' first and
 * decoded after, once, so an encoded '/' stays inside its parameter (RFC 3986, 2.2; clients send
 * ARNs as arn%3Aaws%3A...). Decoding is strict: a bad escape, a 0 byte, a control byte, text that
 * is not UTF-8, or a parameter over THAW_ROUTE_TEXT_MAX is refused with 400. One '/' at the end is
 * passed over. Unknown paths and wrong methods are both UnknownOperationException, 404.
 */
#ifndef THAW_HOST_API_ROUTE_H
#define THAW_HOST_API_ROUTE_H

#include <stddef.h>

struct thaw_call;
struct thaw_http_request;
struct thaw_http_response;

#define THAW_ROUTE_PARTS_MAX 12
#define THAW_ROUTE_PATH_MAX  4  /* parameters of a path */
#define THAW_ROUTE_QUERY_MAX 64 /* parameters of a query */
#define THAW_ROUTE_TEXT_MAX  2048

struct thaw_route {
	const char *method;
	/* "/2015-03-31/functions/{FunctionName}/versions". With "?List=ALL" only requests match
	 * whose query has that; such a row stands before the one without. */
	const char *path;
	const char *operation;
	size_t body_limit;    /* 0: the server's */
	const char *repeated; /* the one query parameter that may come more than once, or NULL */
	/* Owns the call's request: see struct thaw_http_hooks, handle. */
	void (*handle)(void *opaque, struct thaw_call *call);
};

struct thaw_parameter {
	const char *name;
	const char *value; /* decoded */
};

/* A request and what the router made of it; freed with the request. */
struct thaw_call {
	struct thaw_http_request *request;
	const struct thaw_route *route;
	struct thaw_parameter path[THAW_ROUTE_PATH_MAX];
	size_t path_count;
	struct thaw_parameter *query;
	size_t query_count;
	void *caller; /* for the authorize hook: who it is */
	void (*caller_free)(void *caller);
	char *text; /* what the parameters point into */
};

struct thaw_router {
	const struct thaw_route *routes;
	size_t count;
	/* Both may be NULL; both give NULL to go on, or the response that refuses. `admit` sees
	 * the head only (a key that nobody has need not send a body); `authorize` sees the body,
	 * whose hash a signature covers. */
	struct thaw_http_response *(*admit)(void *opaque, struct thaw_call *call);
	struct thaw_http_response *(*authorize)(void *opaque, struct thaw_call *call);
	void *opaque; /* given to handlers, too */
};

/* struct thaw_http_hooks' head and handle, with the router as their opaque. */
struct thaw_http_response *thaw_router_head(void *router, struct thaw_http_request *request);
void thaw_router_handle(void *router, struct thaw_http_request *request);

/* The match alone: on 0 *call is set, and the caller frees it with thaw_call_free. -ENOENT: no such
 * operation; -EINVAL: malformed, with *reason; -ENOMEM. */
int thaw_router_match(const struct thaw_router *router, const char *method, const char *path,
		      const char *query, struct thaw_call **call, const char **reason);
void thaw_call_free(void *call);

/* A parameter's value, NULL when it is not there ("" when it is empty). */
const char *thaw_call_path(const struct thaw_call *call, const char *name);
const char *thaw_call_query(const struct thaw_call *call, const char *name);

/* Decodes %XX of `size` bytes (and '+' as a space in a query) into `out` (size + 1 bytes). The
 * length, or -EINVAL. */
long thaw_percent_decode(const char *text, size_t size, int query, char *out);

#endif
