/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/http_server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/error.h"
#include "lib/fd.h"

#define READ_MIN THAW_HTTP_HEAD_MAX
/* A client that pipelines requests and reads no answers is not listened to above this. */
#define UNSENT_MAX (64u * 1024)
/* Of one connection, when those who spoke are dead. More than what a response can be in, were each
 * read a page: a last word that goes on and on (a write of gigabytes ends with its last byte) is
 * cut. */
#define DRAIN_READS_MAX 4096u

static const char *reason_phrase(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 202:
		return "Accepted";
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 413:
		return "Payload Too Large";
	case 417:
		return "Expectation Failed";
	case 431:
		return "Request Header Fields Too Large";
	case 501:
		return "Not Implemented";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Internal Server Error";
	}
}

static void conn_close(struct thaw_http_conn *conn)
{
	int fd = conn->watch.fd;

	if (fd < 0)
		return;
	thaw_loop_remove(conn->server->loop, &conn->watch);
	close(fd);
	thaw_buffer_clear(&conn->in);
	thaw_buffer_clear(&conn->out);
}

/* Closes a connection that the owner may be waiting for. */
static void conn_lose(struct thaw_http_conn *conn)
{
	bool owed = (conn->phase == THAW_HTTP_BODY || conn->phase == THAW_HTTP_WAIT) &&
		    (!conn->replied || conn->owed);

	if (conn->watch.fd < 0)
		return;
	conn_close(conn);
	if (owed)
		conn->server->ops->gone(conn->server->owner, conn);
}

/* A peer that has sent its end is read no more, but a waiting one must still be noticed when it
 * goes: EPOLLHUP comes unasked. */
static void conn_watch(struct thaw_http_conn *conn)
{
	uint32_t events = thaw_http_unsent(conn) && !conn->lazy ? EPOLLOUT : 0;
	bool full = conn->phase == THAW_HTTP_WAIT && thaw_buffer_size(&conn->in) >= READ_MIN;

	if (!conn->ended && !conn->paused && !conn->closing && !full &&
	    (conn->lazy || thaw_http_unsent(conn) <= UNSENT_MAX || conn->phase == THAW_HTTP_WAIT))
		events |= EPOLLIN;
	thaw_loop_change(conn->server->loop, &conn->watch, events);
}

/* Writes what is unsent and then `data`, by one call; keeps what the socket does not take. */
static int conn_write(struct thaw_http_conn *conn, const void *data, size_t size)
{
	size_t unsent = thaw_http_unsent(conn);
	struct iovec iov[2] = {
		{.iov_base = unsent ? thaw_buffer_bytes(&conn->out) : NULL, .iov_len = unsent},
		{.iov_base = (void *)data, .iov_len = size},
	};
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n;

	if (unsent + size == 0)
		return 0;
	do {
		n = sendmsg(conn->watch.fd, &message, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN)
		return -errno;
	size_t sent = n > 0 ? (size_t)n : 0;
	if (sent < unsent) {
		thaw_buffer_consume(&conn->out, sent);
		sent = 0;
	} else {
		thaw_buffer_consume(&conn->out, unsent);
		sent -= unsent;
	}
	conn->lazy = false;
	if (sent == size)
		return 0;
	return thaw_buffer_append(&conn->out, (const char *)data + sent, size - sent);
}

/* After a request is answered and its body is in: on to the next one. */
static void conn_next_request(struct thaw_http_conn *conn)
{
	conn->phase = THAW_HTTP_HEAD;
	conn->replied = false;
	conn->scanned = 0;
	if (!conn->keep_alive)
		conn->closing = true;
}

/* Nobody can follow a stream whose framing is broken: one answer, and the end. */
static void conn_refuse(struct thaw_http_conn *conn, int status)
{
	if (conn->phase == THAW_HTTP_BODY && !conn->replied)
		conn->server->ops->gone(conn->server->owner, conn);
	conn->keep_alive = false;
	conn->closing = true;
	if (conn->replied)
		return;
	conn->phase = THAW_HTTP_WAIT;
	thaw_http_reply(conn, status, "", "", 0, 0, false);
}

static bool parse_head(struct thaw_http_conn *conn)
{
	struct thaw_http_head head;
	ssize_t n = thaw_http_parse_head(&head, (char *)thaw_buffer_bytes(&conn->in),
					 thaw_buffer_size(&conn->in), &conn->scanned);

	if (n == 0)
		return false;
	if (n < 0) {
		conn->replied = false;
		conn_refuse(conn, (int)-n);
		return false;
	}
	conn->keep_alive = head.keep_alive;
	conn->replied = false;
	conn->discarded = 0;
	conn->phase = THAW_HTTP_BODY;
	thaw_http_body_start(&conn->body, &head);
	conn->server->ops->begin(conn->server->owner, conn, &head);
	if (conn->watch.fd < 0)
		return false;
	thaw_buffer_consume(&conn->in, (size_t)n);
	bool body_comes = conn->body.state != THAW_HTTP_BODY_DONE;
	if (conn->replied && body_comes && head.expect_continue) {
		/* The client asked first and has its answer: whether it sends the body all the
		 * same cannot be known, so the connection ends here (RFC 9110 10.1.1). */
		conn->keep_alive = false;
		conn->closing = true;
		return false;
	}
	if (!conn->replied && body_comes && head.expect_continue &&
	    conn_write(conn, "HTTP/1.1 100 Continue\r\n\r\n", 25) < 0) {
		conn_lose(conn);
		return false;
	}
	return true;
}

/* The part of a body that is there. False when more bytes are needed. */
static bool parse_body(struct thaw_http_conn *conn)
{
	const struct thaw_http_ops *ops = conn->server->ops;

	if (conn->body.state != THAW_HTTP_BODY_DONE) {
		struct thaw_slice piece;
		ssize_t n = thaw_http_body_take(&conn->body, (char *)thaw_buffer_bytes(&conn->in),
						thaw_buffer_size(&conn->in), &piece);
		if (n == 0)
			return false;
		if (n < 0) {
			conn_refuse(conn, (int)-n);
			return false;
		}
		if (conn->replied) {
			conn->discarded += (uint64_t)n;
			if (conn->discarded > THAW_HTTP_DISCARD_MAX) {
				conn->closing = true;
				return false;
			}
		} else if (piece.size) {
			ops->body(conn->server->owner, conn, (const uint8_t *)piece.data,
				  piece.size);
		}
		if (conn->watch.fd < 0)
			return false;
		if (conn->body.state == THAW_HTTP_BODY_DONE && !conn->replied) {
			conn->phase = THAW_HTTP_WAIT;
			ops->end(conn->server->owner, conn, &conn->body.trailers);
			if (conn->watch.fd < 0)
				return false;
		}
		thaw_buffer_consume(&conn->in, (size_t)n);
	} else if (!conn->replied) {
		conn->phase = THAW_HTTP_WAIT;
		ops->end(conn->server->owner, conn, &conn->body.trailers);
		if (conn->watch.fd < 0)
			return false;
	}
	if (conn->body.state == THAW_HTTP_BODY_DONE && conn->replied && !conn->owed)
		conn_next_request(conn);
	else if (conn->body.state != THAW_HTTP_BODY_DONE && conn->replied)
		conn->phase = THAW_HTTP_DISCARD;
	return true;
}

/* Many clients send a head and a small body by two writes; Nagle's algorithm keeps the second back
 * until the first is acknowledged, and that waits 40 ms in the hope of an answer to ride on. There
 * will be none before the body is here: acknowledge now. */
static void conn_hasten(struct thaw_http_conn *conn)
{
	bool partial = conn->phase == THAW_HTTP_BODY || conn->phase == THAW_HTTP_DISCARD ||
		       (conn->phase == THAW_HTTP_HEAD && thaw_buffer_size(&conn->in));
	int on = 1;

	if (conn->tcp && conn->small_read && partial)
		setsockopt(conn->watch.fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
	conn->small_read = false;
}

/* All that can be done with the bytes at hand; then what was written meanwhile goes out. */
static void conn_parse(struct thaw_http_conn *conn)
{
	bool more = true;

	if (conn->parsing)
		return;
	conn->parsing = true;
	while (more && conn->watch.fd >= 0 && !conn->closing && conn->phase != THAW_HTTP_WAIT &&
	       (thaw_http_unsent(conn) <= UNSENT_MAX || conn->phase != THAW_HTTP_HEAD)) {
		if (conn->phase == THAW_HTTP_HEAD)
			more = thaw_buffer_size(&conn->in) && parse_head(conn);
		else
			more = parse_body(conn);
	}
	conn->parsing = false;
	if (conn->watch.fd < 0)
		return;
	/* Only an answer that another request is queued behind may wait for that one's. */
	if (conn->phase != THAW_HTTP_WAIT)
		conn->lazy = false;
	if (!conn->lazy && thaw_http_unsent(conn) && conn_write(conn, NULL, 0) < 0) {
		conn_lose(conn);
		return;
	}
	if (conn->closing && !thaw_http_unsent(conn)) {
		conn_lose(conn);
		return;
	}
	/* Bytes of a further request, held back by unsent answers, are parsed when those are out;
	 * an end of the stream behind them likewise. */
	if (conn->ended && conn->phase != THAW_HTTP_WAIT && !thaw_http_unsent(conn)) {
		conn_lose(conn);
		return;
	}
	conn_hasten(conn);
	conn_watch(conn);
}

/* One read. False at the end of the stream, or when there is nothing. */
static bool conn_read(struct thaw_http_conn *conn)
{
	size_t want = READ_MIN;
	ssize_t n;

	if (conn->phase == THAW_HTTP_BODY || conn->phase == THAW_HTTP_DISCARD) {
		uint64_t left = conn->body.left;
		if (conn->body.state == THAW_HTTP_BODY_DATA ||
		    conn->body.state == THAW_HTTP_BODY_CHUNK_DATA)
			want += left < THAW_HTTP_READ_MAX ? (size_t)left : THAW_HTTP_READ_MAX;
	}
	size_t held = thaw_buffer_size(&conn->in);
	want = want > held ? want - held : READ_MIN;
	uint8_t *at = thaw_buffer_reserve(&conn->in, want);
	if (!at) {
		conn_lose(conn);
		return false;
	}
	conn->active = ++conn->server->reads;
	do {
		n = recv(conn->watch.fd, at, want, 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		thaw_buffer_commit(&conn->in, (size_t)n);
		conn->small_read = (size_t)n < READ_MIN;
		return true;
	}
	if (n < 0 && errno == EAGAIN)
		return false;
	conn->ended = true;
	/* Somebody who asked and left will not read the answer; a half-closed socket is taken for
	 * that too, for no HTTP library waits on one. What is in flight is not worth keeping. */
	if (n < 0 || conn->phase != THAW_HTTP_HEAD || !thaw_http_unsent(conn))
		conn_lose(conn);
	return false;
}

static void conn_ready(struct thaw_watch *watch, uint32_t events)
{
	struct thaw_http_conn *conn =
		(struct thaw_http_conn *)((char *)watch - offsetof(struct thaw_http_conn, watch));

	if ((events & EPOLLOUT) && thaw_http_unsent(conn) && !conn->lazy) {
		if (conn_write(conn, NULL, 0) < 0) {
			conn_lose(conn);
			return;
		}
		if (!thaw_http_unsent(conn))
			conn_parse(conn);
	}
	if (watch->fd < 0)
		return;
	/* The peer is gone, and epoll says so again and again: better to take its last bytes, which
	 * are bounded, than to wait for room for them. */
	if (events & (EPOLLHUP | EPOLLERR))
		conn->paused = false;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && conn_read(conn))
		conn_parse(conn);
	else if (watch->fd >= 0)
		conn_watch(conn);
}

/* The loop tells of the loss, from its own stack. */
static void conn_abort(struct thaw_http_conn *conn)
{
	conn->closing = true;
	conn->paused = false;
	shutdown(conn->watch.fd, SHUT_RDWR);
	thaw_buffer_clear(&conn->out);
	thaw_loop_change(conn->server->loop, &conn->watch, EPOLLIN);
}

static struct thaw_http_conn *free_place(struct thaw_http_server *server)
{
	struct thaw_http_conn *oldest = NULL;

	for (size_t i = 0; i < THAW_HTTP_CONNECTIONS; i++) {
		struct thaw_http_conn *conn = &server->conns[i];
		if (conn->watch.fd < 0)
			return conn;
		if (!conn->pinned && (!oldest || conn->active < oldest->active))
			oldest = conn;
	}
	if (oldest)
		conn_lose(oldest);
	return oldest;
}

/* Takes `fd` over, closed on failure. */
static int conn_open(struct thaw_http_server *server, struct thaw_http_conn *conn, int fd)
{
	*conn = (struct thaw_http_conn){.server = server, .phase = THAW_HTTP_HEAD};
	conn->active = ++server->reads;
	conn->watch.fd = -1;
	conn->watch.ready = conn_ready;
	int rc = thaw_loop_add(server->loop, &conn->watch, fd, EPOLLIN);
	if (rc < 0)
		close(fd);
	return rc;
}

int thaw_http_server_adopt(struct thaw_http_server *server, int fd)
{
	struct thaw_http_conn *conn = free_place(server);

	if (!conn) {
		close(fd);
		return -EBUSY;
	}
	return conn_open(server, conn, fd);
}

static void listener_ready(struct thaw_watch *watch, uint32_t events)
{
	struct thaw_http_server *server =
		(struct thaw_http_server *)((char *)watch -
					    offsetof(struct thaw_http_server, listener));
	struct thaw_http_conn *conn;
	int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd < 0 || !(conn = free_place(server))) {
		thaw_cleanup_close(&fd);
		return;
	}
	if (conn_open(server, conn, fd) == 0)
		conn->tcp = true;
}

int thaw_http_server_open(struct thaw_http_server *server, struct thaw_loop *loop,
			  const struct thaw_http_ops *ops, void *owner, struct sockaddr_in *address,
			  struct thaw_error *err)
{
	socklen_t size = sizeof(*address);
	int on = 1;

	server->loop = loop;
	server->ops = ops;
	server->owner = owner;
	server->listener = (struct thaw_watch){.fd = -1, .ready = listener_ready};
	for (size_t i = 0; i < THAW_HTTP_CONNECTIONS; i++)
		server->conns[i].watch.fd = -1;
	cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return thaw_error_errno(err, errno, "making a TCP socket");
	/* Both are inherited by the connections, which spares two calls for each. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)address, sizeof(*address)) < 0)
		return thaw_error_errno(err, errno, "binding the Runtime API's port %u",
					ntohs(address->sin_port));
	if (listen(fd, THAW_HTTP_CONNECTIONS) < 0)
		return thaw_error_errno(err, errno, "listening for the Runtime API");
	if (getsockname(fd, (struct sockaddr *)address, &size) < 0)
		return thaw_error_errno(err, errno, "asking for the Runtime API's port");
	int rc = thaw_loop_add(loop, &server->listener, fd, EPOLLIN);
	if (rc < 0)
		return thaw_error_errno(err, -rc, "watching the Runtime API's port");
	thaw_fd_take(&fd);
	return 0;
}

void thaw_http_server_drop_all(struct thaw_http_server *server)
{
	for (size_t i = 0; i < THAW_HTTP_CONNECTIONS; i++)
		conn_close(&server->conns[i]);
}

void thaw_http_server_close(struct thaw_http_server *server)
{
	int fd = server->listener.fd;

	if (fd < 0)
		return;
	thaw_http_server_drop_all(server);
	thaw_loop_remove(server->loop, &server->listener);
	close(fd);
}

void thaw_http_server_drain(struct thaw_http_server *server)
{
	for (size_t i = 0; i < THAW_HTTP_CONNECTIONS; i++) {
		struct thaw_http_conn *conn = &server->conns[i];
		/* Nor is read what could not be parsed, as nobody takes the answers before. */
		for (unsigned int reads = 0;
		     reads < DRAIN_READS_MAX && conn->watch.fd >= 0 && !conn->paused &&
		     !conn->ended && conn->phase != THAW_HTTP_WAIT &&
		     thaw_http_unsent(conn) <= UNSENT_MAX && conn_read(conn);
		     reads++)
			conn_parse(conn);
	}
}

void thaw_http_reply(struct thaw_http_conn *conn, int status, const char *fields, const void *body,
		     size_t size, uint64_t total, bool lazy)
{
	size_t room = strlen(fields) + 128;
	char *head = (char *)thaw_buffer_reserve(&conn->out, room);
	bool waited = conn->phase == THAW_HTTP_WAIT && !conn->parsing;

	conn->replied = true;
	conn->owed = total - size;
	if (!head) {
		conn_abort(conn);
		return;
	}
	int n = snprintf(head, room, "HTTP/1.1 %d %s\r\n%sContent-Length: %llu\r\n%s\r\n", status,
			 reason_phrase(status), fields, (unsigned long long)total,
			 conn->keep_alive ? "" : "Connection: close\r\n");
	thaw_buffer_commit(&conn->out, (size_t)n);
	conn->lazy = lazy;
	if (!waited) {
		if (thaw_buffer_append(&conn->out, body, size) < 0)
			conn_abort(conn);
		return;
	}
	if (conn_write(conn, body, size) < 0) {
		conn_abort(conn);
		return;
	}
	if (conn->owed == 0)
		conn_next_request(conn);
	conn_parse(conn);
}

void thaw_http_send(struct thaw_http_conn *conn, const void *data, size_t size)
{
	if (conn->watch.fd < 0 || size > conn->owed)
		return;
	conn->owed -= size;
	if (conn_write(conn, data, size) < 0) {
		conn_abort(conn);
		return;
	}
	if (conn->owed == 0)
		conn_next_request(conn);
	conn_parse(conn);
}

void thaw_http_pause(struct thaw_http_conn *conn, bool paused)
{
	conn->paused = paused;
	if (conn->watch.fd >= 0 && !conn->parsing)
		conn_watch(conn);
}
