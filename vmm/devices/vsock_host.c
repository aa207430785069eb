/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/vsock_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"

/* Host ports of connections that the host opens: a range that no service of the host uses. */
#define HOST_PORT_BASE 0x40000000u
#define HOST_PORT_MASK 0x3fffffffu

void thaw_vsock_accept(void *opaque, uint32_t events)
{
	struct thaw_vsock *vsock = opaque;
	struct thaw_error err;

	(void)events;
	if (vsock->count >= THAW_VSOCK_CONNECTIONS_MAX) {
		/* Clients wait in the listener's queue until a connection ends. */
		thaw_loop_modify(vsock->loop, &vsock->listener, 0);
		return;
	}
	cleanup_close int fd = accept4(vsock->listener.fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		/* Out of descriptors, most likely: try again when one is closed, not in a loop. */
		thaw_error_errno(&err, errno, "accepting a connection");
		thaw_log(THAW_LOG_WARN, "vsock: %s", err.message);
		if (vsock->count)
			thaw_loop_modify(vsock->loop, &vsock->listener, 0);
		return;
	}
	if (thaw_vsock_attach(vsock, thaw_fd_take(&fd), &err) < 0)
		thaw_log(THAW_LOG_WARN, "%s", err.message);
}

int thaw_vsock_attach(struct thaw_vsock *vsock, int fd, struct thaw_error *err)
{
	cleanup_close int ours = fd;
	struct vsock_connection *connection;
	int type = 0;
	socklen_t size = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
		return thaw_error_set(err, EINVAL, "vsock: descriptor %d is not a stream socket",
				      fd);
	connection = thaw_vsock_connection_new(vsock, fd, err);
	if (!connection)
		return err ? -err->code : -ENOSPC;
	ours = -1;
	thaw_vsock_greet(connection);
	thaw_vsock_pump(vsock);
	return 0;
}

/* "CONNECT <port>\n" in text[0..size). */
static int greeting_parse(const char *text, size_t size, uint32_t *port)
{
	static const char command[] = "CONNECT ";
	const size_t skip = sizeof(command) - 1;
	uint64_t value = 0;

	if (size < skip + 2 || memcmp(text, command, skip) != 0 || text[size - 1] != '\n')
		return -EINVAL;
	for (size_t i = skip; i < size - 1; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		value = value * 10 + (uint64_t)(text[i] - '0');
		if (value >= UINT32_MAX) /* the last is the wildcard, no port */
			return -EINVAL;
	}
	*port = (uint32_t)value;
	return 0;
}

static uint32_t host_port_choose(struct thaw_vsock *vsock, uint32_t guest_port)
{
	uint32_t port;

	/* Ends: there are more ports than connections. */
	do {
		port = HOST_PORT_BASE | (vsock->next_port++ & HOST_PORT_MASK);
	} while (thaw_vsock_connection_find(vsock, port, guest_port));
	return port;
}

void thaw_vsock_greet(struct vsock_connection *c)
{
	char *at = c->greeting + c->greeting_size;
	size_t room = sizeof(c->greeting) - c->greeting_size;
	uint32_t port;
	/* Only the line is taken: what follows it is the stream's. */
	ssize_t n = recv(c->source.fd, at, room, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		thaw_vsock_connection_free(c);
		return;
	}
	const char *newline = memchr(at, '\n', (size_t)n);
	size_t take = newline ? (size_t)(newline - at) + 1 : (size_t)n;
	if (recv(c->source.fd, at, take, MSG_DONTWAIT) != (ssize_t)take) {
		thaw_vsock_connection_free(c);
		return;
	}
	c->greeting_size += (unsigned int)take;
	if (!newline && c->greeting_size < sizeof(c->greeting))
		return;
	if (greeting_parse(c->greeting, c->greeting_size, &port) < 0) {
		thaw_log(THAW_LOG_WARN, "vsock: a client did not say CONNECT <port>");
		thaw_vsock_connection_free(c);
		return;
	}
	c->state = VSOCK_WAITING;
	thaw_vsock_connection_name(c, host_port_choose(c->vsock, port), port);
	thaw_vsock_connection_want(c, VSOCK_WANT_REQUEST);
}

int thaw_vsock_greeting_answer(const struct vsock_connection *c)
{
	char text[32];
	int size = snprintf(text, sizeof(text), "OK %u\n", c->host_port);
	/* The first bytes on a fresh socket: a host end without room for them is no client. */
	ssize_t n = send(c->source.fd, text, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);

	return n == size ? 0 : -EPIPE;
}

struct vsock_connection *thaw_vsock_forward(struct thaw_vsock *vsock, uint32_t host_port,
					    uint32_t guest_port)
{
	struct vsock_connection *connection;
	char text[16];
	int pair[2];

	if (vsock->forward_fd < 0 || vsock->count >= THAW_VSOCK_CONNECTIONS_MAX ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return NULL;
	cleanup_close int ours = pair[0];
	cleanup_close int theirs = pair[1];
	int size = snprintf(text, sizeof(text), "%u\n", host_port);
	if (thaw_send_fds(vsock->forward_fd, text, (size_t)size, &theirs, 1) < 0)
		return NULL;
	/* From here on a failure closes `ours`, which the host sees as the connection's end. */
	connection = thaw_vsock_connection_new(vsock, ours, NULL);
	if (!connection)
		return NULL;
	ours = -1;
	connection->state = VSOCK_OPEN;
	thaw_vsock_connection_name(connection, host_port, guest_port);
	thaw_vsock_connection_want(connection, VSOCK_WANT_RESPONSE);
	return connection;
}
