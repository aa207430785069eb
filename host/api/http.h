/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP/1.1 server of the public API (RFC 9112), on libmicrohttpd: a few threads, any number of
 * requests that wait for their answer.
 *
 * Every client is hostile. What one of them can hold is bounded by the configuration: connections
 * (in all and by address; IPv6 by /64), the head, the body (by route, and of all requests
 * together), and time: a head must come within head_ms, a body and the reading of a response at
 * rate_min bytes a second after grace_ms. A client that breaks a time is cut off (with 408 when it
 * had begun a request). Memory grows with bytes that have come, never with bytes announced.
 *
 * Refused with 400 and a closed connection: what is no HTTP/1.x, no Host, more than one
 * Content-Length, Content-Length beside Transfer-Encoding, any transfer coding but "chunked",
 * control bytes in the head (but a 0 byte: libmicrohttpd ends a header's value there, which is then
 * all there is of it, for the signature too), a target that is not a path. 413 a body over its
 * limit, 431 a head over its limit, 503 no memory for bodies left.
 *
 * Threads: hooks and handlers run on the server's threads and must not block; all functions on
 * requests may be called from any thread.
 */
#ifndef THAW_HOST_API_HTTP_H
#define THAW_HOST_API_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct thaw_error;
struct thaw_http_request;
struct thaw_http_response;
struct thaw_http_server;

#define THAW_HTTP_HEADERS_MAX 128 /* of a request, and of a response */
#define THAW_HTTP_ID_TEXT     37  /* a UUID with its 0 byte */
#define THAW_HTTP_PEER_TEXT   64

struct thaw_http_header {
	const char *name;
	const char *value; /* without the space around it; no control bytes but tab */
};

/* One request. All of it is the server's copy and stays until the request is answered. */
struct thaw_http_request {
	char id[THAW_HTTP_ID_TEXT]; /* fresh, random; the response's x-amzn-RequestId */
	const char *method;
	const char *path;  /* as sent, still encoded; begins with '/', or is "*" (OPTIONS) */
	const char *query; /* as sent, without the '?'; "" when there is none */
	const struct thaw_http_header *headers;
	size_t header_count;
	const uint8_t *body; /* never NULL; a 0 byte follows that body_size does not count */
	size_t body_size;
	char peer[THAW_HTTP_PEER_TEXT]; /* the client's address, numbers only, without the port */
	bool loopback;                  /* the client is on this machine (127/8, ::1) */

	/* Set by the head hook: the most this body may be (from body_max of the configuration). */
	size_t body_limit;
	/* The hooks' own; context_free (may be NULL) is called when the request is freed. */
	void *context;
	void (*context_free)(void *context);
};

/* The hooks, all with the configuration's `opaque`. */
struct thaw_http_hooks {
	/* The head has come, the body has not (body is empty). NULL to go on; or a response, which
	 * is sent without taking the body in. May be NULL. */
	struct thaw_http_response *(*head)(void *opaque, struct thaw_http_request *request);
	/* A whole request. The handler owns it from here and must give it back, now or later, by
	 * exactly one of thaw_http_respond, thaw_http_stream_end, thaw_http_stream_abort. */
	void (*handle)(void *opaque, struct thaw_http_request *request);
	/* The words for what the server itself refuses (400, 413, 431, 503). May be NULL, and may
	 * return NULL: then the body is {"message": reason}. */
	struct thaw_http_response *(*refuse)(void *opaque, const struct thaw_http_request *request,
					     unsigned int status, const char *reason);
};

/* Start from thaw_http_config_init. Times in milliseconds, sizes in bytes. */
struct thaw_http_config {
	const char *address; /* numbers: "127.0.0.1", "::" (IPv6 and IPv4), "0.0.0.0" */
	uint16_t port;       /* 0: a free one */
	unsigned int threads;
	unsigned int connections;
	unsigned int connections_per_address; /* 0: as many as `connections` */
	unsigned int head_ms;  /* from the first byte, or the connection, to the head's end */
	unsigned int idle_ms;  /* between two requests of a connection */
	unsigned int grace_ms; /* see rate_min */
	unsigned int watch_ms; /* between two looks at the times; 0: an eighth of the shortest */
	size_t rate_min;       /* bytes a second, counted after grace_ms */
	size_t head_max;
	size_t body_max;    /* where the head hook says nothing else */
	size_t body_total;  /* of all requests under way */
	size_t discard_max; /* read and thrown away of a body over its limit, so that the client
			     * reads the 413 and not a reset */
	size_t stream_max;  /* of one streamed response, not yet taken by the client */
	struct thaw_http_hooks hooks;
	void *opaque;
};

void thaw_http_config_init(struct thaw_http_config *config);

/* Listens and serves. `config` is copied (its address not needed later). On 0 the caller owns
 * *server and ends it with thaw_http_stop. -EINVAL (a bad address or number), -EADDRINUSE, ... */
int thaw_http_start(const struct thaw_http_config *config, struct thaw_http_server **server,
		    struct thaw_error *err);

/* The port it listens on. */
uint16_t thaw_http_port(const struct thaw_http_server *server);

struct thaw_http_figures {
	uint64_t connections; /* open now */
	uint64_t requests;    /* begun and not yet ended */
	uint64_t body_bytes;  /* held for bodies */
	uint64_t accepted;    /* connections ever */
	uint64_t turned_away; /* connections over the limit of their address, ever */
	uint64_t cut;         /* clients that broke a time, ever */
};

void thaw_http_figures(struct thaw_http_server *server, struct thaw_http_figures *figures);

/* No new connections; those without a request are closed; what is under way may finish within
 * `grace_ms`, then it is answered with 503 or cut. Requests that handlers still own stay valid:
 * answering them does nothing. Blocks, and frees the server. NULL is allowed. */
void thaw_http_stop(struct thaw_http_server *server, unsigned int grace_ms);

/* The value of the first header `name` (any case), or NULL. */
const char *thaw_http_header(const struct thaw_http_request *request, const char *name);

/* A response without headers and body. What makes responses never gives NULL for want of memory,
 * since NULL often means "no refusal": it gives the one of no_memory. Whoever adds to a response
 * need not look whether that could be done: what lacks a part is sent as 500, with nothing, as are
 * NULL and no_memory. */
struct thaw_http_response *thaw_http_response_new(unsigned int status);
struct thaw_http_response *thaw_http_response_no_memory(void);
void thaw_http_response_free(struct thaw_http_response *response);
unsigned int thaw_http_response_status(const struct thaw_http_response *response);

/* Appends a header, copied. -EINVAL: a name or value that would break the head; -E2BIG: more than
 * THAW_HTTP_HEADERS_MAX (these two leave the response as it is); -ENOMEM. */
int thaw_http_response_header(struct thaw_http_response *response, const char *name,
			      const char *value);

/* The body, in place of what was there. `take`: malloc'd data, the response's from now on, also on
 * error. */
int thaw_http_response_body_copy(struct thaw_http_response *response, const void *data,
				 size_t size);
int thaw_http_response_body_take(struct thaw_http_response *response, void *data, size_t size);
/* The first `size` bytes of a regular file, which are read as the client takes them: `fd` is the
 * response's from now on, also on error. -ENOMEM. */
int thaw_http_response_body_file(struct thaw_http_response *response, int fd, size_t size);

/* For tests and logs: what was put in. NULL when there is no such header; body may be NULL. */
const char *thaw_http_response_find(const struct thaw_http_response *response, const char *name);
const void *thaw_http_response_body(const struct thaw_http_response *response, size_t *size);

/* Answers, and takes both request and response. */
void thaw_http_respond(struct thaw_http_request *request, struct thaw_http_response *response);

/* Asks to be told once, on a thread of the server, when the client leaves before the answer (it
 * closed, or closed its sending side, or the server is being stopped). The request stays the
 * handler's, and must still be answered; `gone` may do that. `gone` does not run any more when
 * thaw_http_respond or thaw_http_stream_end/abort has returned. -EPIPE: it has left already. */
int thaw_http_on_gone(struct thaw_http_request *request,
		      void (*gone)(void *opaque, struct thaw_http_request *request), void *opaque);

/* Begins a response whose body comes in pieces (chunked for HTTP/1.1). Takes `response`, whose
 * body is not used. 0; -ENOMEM: the request is still to be answered; -EPIPE: nobody listens, but
 * end or abort it all the same. */
int thaw_http_stream_begin(struct thaw_http_request *request, struct thaw_http_response *response);

/* Takes what there is room for, without waiting: the count (0: full), or -EPIPE. */
ssize_t thaw_http_stream_write(struct thaw_http_request *request, const void *data, size_t size);

/* Waits for room. 0, -ETIMEDOUT, or -EPIPE. */
int thaw_http_stream_wait(struct thaw_http_request *request, unsigned int timeout_ms);

/* Both take the request. abort cuts the connection, so that the client sees an incomplete body. */
void thaw_http_stream_end(struct thaw_http_request *request);
void thaw_http_stream_abort(struct thaw_http_request *request);

#endif
