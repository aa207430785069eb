/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The socket reads as ended from now on, so the loop tells of the loss from its own stack, and no
 * sender finds its session gone under its feet. */
static void link_fail(struct thaw_link *link)
{
	link->failed = true;
	shutdown(link->watch.fd, SHUT_RDWR);
	thaw_buffer_clear(&link->out);
	thaw_loop_change(link->loop, &link->watch, EPOLLIN);
}

static void link_lose(struct thaw_link *link)
{
	thaw_link_close(link);
	link->lost(link);
}

static uint32_t wanted_events(const struct thaw_link *link)
{
	uint32_t events = thaw_buffer_size(&link->out) ? EPOLLOUT : 0;

	if (link->in.end - link->in.start <= THAW_LINK_IN_HIGH)
		events |= EPOLLIN;
	return events;
}

static void link_write(struct thaw_link *link)
{
	bool was_full = thaw_link_is_full(link);

	if (thaw_buffer_write(&link->out, link->watch.fd) < 0) {
		link_fail(link);
		return;
	}
	thaw_loop_change(link->loop, &link->watch, wanted_events(link));
	if (was_full && !thaw_link_is_full(link))
		link->drained(link);
}

static void link_ready(struct thaw_watch *watch, uint32_t events)
{
	struct thaw_link *link =
		(struct thaw_link *)((char *)watch - offsetof(struct thaw_link, watch));

	if ((events & EPOLLOUT) && !link->failed)
		link_write(link);
	if (watch->fd < 0 || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	if (link->failed) {
		link_lose(link);
		return;
	}
	ssize_t n = thaw_frame_fill(&link->in, watch->fd);
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		link_lose(link);
		return;
	}
	link->received(link);
	if (watch->fd >= 0)
		thaw_loop_change(link->loop, watch, wanted_events(link));
}

int thaw_link_open(struct thaw_link *link, struct thaw_loop *loop, int fd)
{
	thaw_link_close(link);
	link->loop = loop;
	link->failed = false;
	link->watch.ready = link_ready;
	int rc = thaw_loop_add(loop, &link->watch, fd, EPOLLIN);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	/* A host in a hurry has sent its requests with the connection: no need to be told of them.
	 */
	link_ready(&link->watch, EPOLLIN);
	return 0;
}

void thaw_link_close(struct thaw_link *link)
{
	int fd = link->watch.fd;

	if (fd < 0)
		return;
	thaw_loop_remove(link->loop, &link->watch);
	close(fd);
	link->in.start = link->in.end = 0;
	thaw_buffer_consume(&link->out, thaw_buffer_size(&link->out));
}

/* Entropy is wiped where it has been: here as it came, in the message by who uses it. */
static bool is_secret(const Thaw__Agent__HostMessage *message)
{
	return message && (message->body_case == THAW__AGENT__HOST_MESSAGE__BODY_CONFIGURE ||
			   message->body_case == THAW__AGENT__HOST_MESSAGE__BODY_RESUME);
}

Thaw__Agent__HostMessage *thaw_link_next(struct thaw_link *link)
{
	const uint8_t *body;
	size_t size;

	if (!thaw_link_is_open(link) || link->failed)
		return NULL;
	int rc = thaw_frame_next(&link->in, &body, &size);
	if (rc == 0)
		return NULL;
	if (rc > 0) {
		Thaw__Agent__HostMessage *message =
			thaw__agent__host_message__unpack(NULL, size, body);
		if (is_secret(message))
			explicit_bzero((uint8_t *)body, size);
		if (message) {
			if (!(link->watch.events & EPOLLIN))
				thaw_loop_change(link->loop, &link->watch, wanted_events(link));
			return message;
		}
	}
	link_fail(link);
	return NULL;
}

void thaw_link_send(struct thaw_link *link, const Thaw__Agent__GuestMessage *message)
{
	if (!thaw_link_is_open(link) || link->failed)
		return;
	bool first = thaw_buffer_size(&link->out) == 0;
	size_t size = thaw__agent__guest_message__get_packed_size(message);
	uint8_t *at = thaw_buffer_reserve(&link->out, THAW_FRAME_HEADER + size);
	if (!at || size > THAW_FRAME_MAX) {
		link_fail(link);
		return;
	}
	thaw_frame_header(at, (uint32_t)size);
	thaw__agent__guest_message__pack(message, at + THAW_FRAME_HEADER);
	thaw_buffer_commit(&link->out, THAW_FRAME_HEADER + size);
	/* With bytes waiting already, the loop writes when the socket can take them. */
	if (first)
		link_write(link);
}
