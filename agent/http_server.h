/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP connections of a handler's processes: a fixed number of them, non-blocking, each bounded in
 * what it may make the agent hold. A request is told to the owner as begin, body..., end; the
 * owner answers it now or later by thaw_http_reply, and until then the next request of the same
 * connection waits (HTTP/1.1 keep-alive and pipelining).
 *
 * When all places are taken, a new connection gets the place of the one that has been silent for
 * longest, unless the owner has pinned it.
 */
#ifndef THAW_AGENT_HTTP_SERVER_H
#define THAW_AGENT_HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <netinet/in.h>

#include "agent/buffer.h"
#include "agent/http.h"
#include "agent/loop.h"

struct thaw_error;

#define THAW_HTTP_CONNECTIONS 16
#define THAW_HTTP_READ_MAX    (256u * 1024)       /* of a body, taken by one read */
#define THAW_HTTP_DISCARD_MAX (64u * 1024 * 1024) /* of a refused body, read away */

struct thaw_http_server;

enum thaw_http_phase {
	THAW_HTTP_HEAD,    /* a head is awaited */
	THAW_HTTP_BODY,    /* the body is on its way to the owner */
	THAW_HTTP_DISCARD, /* answered before the body was there, which is read away */
	THAW_HTTP_WAIT,    /* the request is whole and not answered yet */
};

struct thaw_http_conn {
	struct thaw_http_server *server;
	struct thaw_watch watch; /* fd -1: a free place */
	struct thaw_buffer in;
	struct thaw_buffer out;
	struct thaw_http_body body;
	enum thaw_http_phase phase;
	size_t scanned;
	uint64_t discarded;
	uint64_t owed;    /* bytes of an answer's body that thaw_http_send still has to bring */
	uint64_t active;  /* when it last said something, counted in reads of the server */
	unsigned int tag; /* the owner's, for the current request */
	bool tcp;
	bool small_read; /* the latest read left room */
	bool keep_alive;
	bool replied; /* the current request has its answer */
	bool parsing; /* its bytes are being parsed: what is written goes out afterwards */
	bool lazy;    /* what is unsent may wait for the answer of the request behind it */
	bool paused;  /* the owner takes no more body for now */
	bool pinned;  /* keeps its place */
	bool closing; /* closed when what is unsent has gone out */
	bool ended;   /* the peer sends no more */
};

/* What the owner does. `owner` is the server's. All are called from the loop. */
struct thaw_http_ops {
	/* A head has come; its slices are valid during the call only. */
	void (*begin)(void *owner, struct thaw_http_conn *conn, const struct thaw_http_head *head);
	/* A part of the body; not called any more once the request is answered. */
	void (*body)(void *owner, struct thaw_http_conn *conn, const uint8_t *data, size_t size);
	/* The body is whole. `trailers` are valid during the call only. */
	void (*end)(void *owner, struct thaw_http_conn *conn,
		    const struct thaw_http_fields *trailers);
	/* The connection went away with a request not answered, or not to the end. */
	void (*gone)(void *owner, struct thaw_http_conn *conn);
};

struct thaw_http_server {
	struct thaw_loop *loop;
	const struct thaw_http_ops *ops;
	void *owner;
	struct thaw_watch listener;
	struct thaw_http_conn conns[THAW_HTTP_CONNECTIONS];
	uint64_t reads;
};

/* Listens on `address`; with port 0 the kernel chooses, and `address` says which. */
int thaw_http_server_open(struct thaw_http_server *server, struct thaw_loop *loop,
			  const struct thaw_http_ops *ops, void *owner, struct sockaddr_in *address,
			  struct thaw_error *err);
void thaw_http_server_close(struct thaw_http_server *server);

/* Serves a connected stream socket (any family) too; it is the server's from now on, and closed
 * on failure. */
int thaw_http_server_adopt(struct thaw_http_server *server, int fd);

/* Closes all connections, without `gone`. The listener stays. */
void thaw_http_server_drop_all(struct thaw_http_server *server);
/* Reads what has arrived on every connection until there is no more, within bounds: the last words
 * of processes that have just died. */
void thaw_http_server_drain(struct thaw_http_server *server);

/*
 * Answers the current request. The connection may be closed, or already be in the middle of its
 * next request, when this returns. `fields` are further header lines, each with its CRLF, or "".
 * With `size` bytes of body; `total` may be larger: the rest follows by thaw_http_send. `lazy`: if
 * the next request is there already, the answer may wait for that one's, and share its packet.
 */
void thaw_http_reply(struct thaw_http_conn *conn, int status, const char *fields, const void *body,
		     size_t size, uint64_t total, bool lazy);
/* More of a body announced by `total`. */
void thaw_http_send(struct thaw_http_conn *conn, const void *data, size_t size);
static inline size_t thaw_http_unsent(const struct thaw_http_conn *conn)
{
	return thaw_buffer_size(&conn->out);
}

/* Stops and restarts the reading of a connection (back-pressure). */
void thaw_http_pause(struct thaw_http_conn *conn, bool paused);

#endif
