/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/vsock_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/error.h"

#define VSOCK_HEADER ((uint32_t)sizeof(struct virtio_vsock_hdr))

static unsigned int ports_hash(uint32_t host_port, uint32_t guest_port)
{
	return ((host_port * 0x9e3779b1u) ^ (guest_port * 0x85ebca77u)) >> 24;
}

/* Bytes that the guest has room for, as far as we know. */
static uint32_t connection_credit(const struct vsock_connection *c)
{
	uint32_t sent = c->tx_count - c->peer_fwd_count;

	return sent < c->peer_buf_alloc ? c->peer_buf_alloc - sent : 0;
}

/* Watches the host's end for what can be served now, and for nothing else: epoll is told of a
 * change only where there is one. A hang-up is always told. */
static void connection_watch(struct vsock_connection *c)
{
	uint32_t events = 0;

	if (c->state == VSOCK_GREETING)
		events |= EPOLLIN;
	if (c->state == VSOCK_OPEN && !c->host_eof && !(c->wants & VSOCK_WANT_DATA) &&
	    !(c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV) && connection_credit(c))
		events |= EPOLLIN;
	if (c->buffer)
		events |= EPOLLOUT;
	thaw_loop_modify(c->vsock->loop, &c->source, events);
}

void thaw_vsock_connection_want(struct vsock_connection *c, unsigned int wants)
{
	if (!c->wants && wants)
		TAILQ_INSERT_TAIL(&c->vsock->pending, c, line);
	c->wants |= wants;
}

static void connection_unwant(struct vsock_connection *c, unsigned int wants)
{
	if (!c->wants)
		return;
	c->wants &= ~wants;
	if (!c->wants)
		TAILQ_REMOVE(&c->vsock->pending, c, line);
}

static void connection_unname(struct vsock_connection *c)
{
	if (c->hashed)
		LIST_REMOVE(c, hash);
	c->hashed = false;
}

/* What the guest sent and the host will not read any more. */
static void connection_drop_buffer(struct vsock_connection *c)
{
	free(c->buffer);
	c->buffer = NULL;
	c->buffer_start = 0;
	c->fwd_count = c->rx_count;
}

static void connection_close_host(struct vsock_connection *c)
{
	thaw_loop_remove(c->vsock->loop, &c->source);
	if (c->source.fd >= 0)
		close(c->source.fd);
	c->source.fd = -1;
	c->hung_up = true;
	c->host_eof = true;
	connection_drop_buffer(c);
}

void thaw_vsock_connection_free(struct vsock_connection *c)
{
	struct thaw_vsock *vsock = c->vsock;

	connection_unwant(c, ~0u);
	connection_unname(c);
	connection_close_host(c);
	LIST_REMOVE(c, all);
	if (vsock->current == c)
		vsock->current = NULL;
	vsock->count--;
	thaw_vsock_retire(vsock, c);
	/* It may have been switched off for want of room. */
	thaw_loop_modify(vsock->loop, &vsock->listener, EPOLLIN);
}

void thaw_vsock_connection_reset(struct vsock_connection *c)
{
	connection_close_host(c);
	connection_unwant(c, ~0u);
	c->state = VSOCK_DEAD;
	thaw_vsock_connection_want(c, VSOCK_WANT_RST);
}

bool thaw_vsock_connection_alive(const struct vsock_connection *c)
{
	switch (c->state) {
	case VSOCK_REQUESTED:
	case VSOCK_DEAD:
		return true;
	case VSOCK_OPEN:
		return c->shutdown != VSOCK_SHUTDOWN_BOTH || (c->wants & VSOCK_WANT_SHUTDOWN);
	default:
		return false;
	}
}

/* The host has said its last byte; after a hang-up it hears nothing more either. */
static void connection_host_end(struct vsock_connection *c)
{
	uint32_t told = c->shutdown;

	c->host_eof = true;
	connection_unwant(c, VSOCK_WANT_DATA);
	c->shutdown |= VIRTIO_VSOCK_SHUTDOWN_SEND;
	if (c->hung_up) {
		c->shutdown = VSOCK_SHUTDOWN_BOTH;
		connection_close_host(c);
	}
	if (c->shutdown != told)
		thaw_vsock_connection_want(c, VSOCK_WANT_SHUTDOWN);
}

/* The host reads no more, but may still have something to say (if it has not, a hang-up follows):
 * what the guest sends from here on goes nowhere. */
static void connection_host_deaf(struct vsock_connection *c)
{
	connection_drop_buffer(c);
	if (c->state != VSOCK_OPEN || (c->shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV))
		return;
	c->shutdown |= VIRTIO_VSOCK_SHUTDOWN_RCV;
	thaw_vsock_connection_want(c, VSOCK_WANT_SHUTDOWN);
}

/* Acts on what the guest has shut down, as far as its last bytes have gone to the host. */
static void connection_guest_end(struct vsock_connection *c)
{
	uint32_t flags = c->guest_shutdown;

	/* Both sides are through: RST is the answer that the guest waits for (5.10.6.6). */
	if (flags == VSOCK_SHUTDOWN_BOTH || (c->source.fd < 0 && flags)) {
		if (!c->buffer)
			thaw_vsock_connection_reset(c);
		return;
	}
	if ((flags & VIRTIO_VSOCK_SHUTDOWN_SEND) && !c->buffer)
		shutdown(c->source.fd, SHUT_WR);
	if (flags & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		connection_unwant(c, VSOCK_WANT_DATA);
		shutdown(c->source.fd, SHUT_RD);
	}
}

/* Tells the guest of room it does not know of, when by its own count it is running short, and when
 * there is enough to be worth a packet. A buffer that drains wholly always is, so no guest that
 * waits is forgotten. Every packet we send tells it too; so a talk of small messages needs none. */
static void connection_offer_credit(struct vsock_connection *c)
{
	uint32_t believed = VSOCK_BUFFER_SIZE - (c->rx_count - c->fwd_told);
	uint32_t gain = c->fwd_count - c->fwd_told;

	if (c->state == VSOCK_OPEN && believed < VSOCK_BUFFER_SIZE / 2 &&
	    gain >= VSOCK_BUFFER_SIZE / 4)
		thaw_vsock_connection_want(c, VSOCK_WANT_CREDIT);
}

/* The host's end takes bytes again. */
static void connection_flush(struct vsock_connection *c)
{
	uint32_t size = c->rx_count - c->fwd_count;

	if (!c->buffer)
		return;
	uint32_t first = VSOCK_BUFFER_SIZE - c->buffer_start;
	if (first > size)
		first = size;
	struct iovec iov[2] = {{c->buffer + c->buffer_start, first}, {c->buffer, size - first}};
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n = sendmsg(c->source.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		connection_host_deaf(c);
	} else {
		c->fwd_count += (uint32_t)n;
		c->buffer_start = (c->buffer_start + (uint32_t)n) % VSOCK_BUFFER_SIZE;
		if (c->fwd_count == c->rx_count)
			connection_drop_buffer(c);
	}
	if (c->state == VSOCK_FLUSHING) {
		if (!c->buffer)
			thaw_vsock_connection_free(c);
		return;
	}
	connection_offer_credit(c);
	if (!c->buffer && c->guest_shutdown)
		connection_guest_end(c);
}

/* Notes that the host's end is closed on both sides. What it has said before still counts, what it
 * was to hear does not. May free the connection. */
static void connection_hang_up(struct vsock_connection *c)
{
	/* epoll would tell of it for ever. */
	thaw_loop_remove(c->vsock->loop, &c->source);
	c->hung_up = true;
	switch (c->state) {
	case VSOCK_GREETING:
	case VSOCK_WAITING:
	case VSOCK_FLUSHING:
		thaw_vsock_connection_free(c);
		break;
	case VSOCK_REQUESTED:
		thaw_vsock_connection_reset(c);
		break;
	case VSOCK_OPEN:
		connection_drop_buffer(c);
		if (c->guest_shutdown == VSOCK_SHUTDOWN_BOTH)
			thaw_vsock_connection_reset(c);
		else if (c->host_eof || (c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV))
			connection_host_end(c);
		else
			thaw_vsock_connection_want(c, VSOCK_WANT_DATA);
		break;
	case VSOCK_DEAD:
	case VSOCK_RETIRED:
		break;
	}
}

void thaw_vsock_connection_poll(struct vsock_connection *c)
{
	/* Those that the guest knows nothing of can wait for their event. */
	if (!c->source.added || c->state == VSOCK_GREETING || c->state == VSOCK_WAITING)
		return;
	/* Sending nothing at all still fails where nobody is left to receive it. */
	if (send(c->source.fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EPIPE)
		connection_hang_up(c);
}

/* The host's end has something to tell. */
static void connection_handle(void *opaque, uint32_t events)
{
	struct vsock_connection *c = opaque;
	struct thaw_vsock *vsock = c->vsock;

	if (c->state == VSOCK_RETIRED)
		return;
	vsock->current = c;
	if (events & (EPOLLHUP | EPOLLERR)) {
		connection_hang_up(c);
	} else if (c->state == VSOCK_GREETING) {
		thaw_vsock_greet(c);
	} else {
		if (events & EPOLLOUT)
			connection_flush(c);
		if (vsock->current && (events & EPOLLIN) && c->state == VSOCK_OPEN && !c->host_eof)
			thaw_vsock_connection_want(c, VSOCK_WANT_DATA);
	}
	thaw_vsock_pump(vsock);
	if (vsock->current)
		connection_watch(vsock->current);
	vsock->current = NULL;
}

struct vsock_connection *thaw_vsock_connection_new(struct thaw_vsock *vsock, int fd,
						   struct thaw_error *err)
{
	struct vsock_connection *c;

	if (vsock->count >= THAW_VSOCK_CONNECTIONS_MAX) {
		thaw_error_set(err, ENOSPC, "vsock: more than %u connections",
			       THAW_VSOCK_CONNECTIONS_MAX);
		return NULL;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		thaw_error_errno(err, ENOMEM, "vsock: a connection");
		return NULL;
	}
	c->vsock = vsock;
	c->state = VSOCK_GREETING;
	c->source = (struct thaw_source){
		.fd = fd,
		.events = EPOLLIN,
		.handle = connection_handle,
		.opaque = c,
		.locked = true,
	};
	if (thaw_loop_add(vsock->loop, &c->source, err) < 0) {
		free(c);
		return NULL;
	}
	LIST_INSERT_HEAD(&vsock->all, c, all);
	vsock->count++;
	return c;
}

void thaw_vsock_connection_name(struct vsock_connection *c, uint32_t host_port, uint32_t guest_port)
{
	c->host_port = host_port;
	c->guest_port = guest_port;
	LIST_INSERT_HEAD(&c->vsock->hash[ports_hash(host_port, guest_port)], c, hash);
	c->hashed = true;
	connection_watch(c);
}

struct vsock_connection *thaw_vsock_connection_find(struct thaw_vsock *vsock, uint32_t host_port,
						    uint32_t guest_port)
{
	struct vsock_connection *c;

	LIST_FOREACH(c, &vsock->hash[ports_hash(host_port, guest_port)], hash)
	{
		if (c->host_port == host_port && c->guest_port == guest_port)
			return c;
	}
	return NULL;
}

/* Writes a header; its packet's size. */
static uint32_t connection_packet(struct vsock_connection *c, const struct thaw_chain *chain,
				  uint16_t op, uint32_t flags, uint32_t size)
{
	const struct virtio_vsock_hdr header = {
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = c->vsock->config.guest_cid,
		.src_port = c->host_port,
		.dst_port = c->guest_port,
		.len = size,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.flags = flags,
		.buf_alloc = VSOCK_BUFFER_SIZE,
		.fwd_cnt = c->fwd_count,
	};

	thaw_chain_write(chain, 0, &header, sizeof(header));
	c->fwd_told = c->fwd_count;
	connection_unwant(c, VSOCK_WANT_CREDIT);
	return VSOCK_HEADER + size;
}

/* Reads the host's end straight into the guest's buffer. 0: there was nothing to read. */
static uint32_t connection_read(struct vsock_connection *c, const struct thaw_chain *chain)
{
	struct iovec iov[THAW_VIRTQUEUE_SIZE_MAX];
	struct msghdr message = {.msg_iov = iov};
	uint64_t room = chain->writable_size - VSOCK_HEADER;
	uint32_t credit = connection_credit(c);
	ssize_t n;

	if (room > VSOCK_PACKET_MAX)
		room = VSOCK_PACKET_MAX;
	if (room > credit)
		room = credit;
	if (room == 0) { /* the guest's next credit update brings us back */
		connection_unwant(c, VSOCK_WANT_DATA);
		return 0;
	}
	message.msg_iovlen = thaw_chain_writable(chain, VSOCK_HEADER, room, iov);
	n = recvmsg(c->source.fd, &message, MSG_DONTWAIT);
	if (n > 0) {
		c->tx_count += (uint32_t)n;
		c->vsock->to_guest += (uint64_t)n;
		/* Short: that was all there is. Nothing tells of the rest after a hang-up, so then
		 * we go on to the end. */
		if ((uint64_t)n < room && !c->hung_up)
			connection_unwant(c, VSOCK_WANT_DATA);
		return connection_packet(c, chain, VIRTIO_VSOCK_OP_RW, 0, (uint32_t)n);
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR) && !c->hung_up)
		connection_unwant(c, VSOCK_WANT_DATA);
	else /* the end, or an error that has the same consequence */
		connection_host_end(c);
	return 0;
}

uint32_t thaw_vsock_connection_send(struct vsock_connection *c, const struct thaw_chain *chain)
{
	uint32_t size = 0;

	if (c->wants & VSOCK_WANT_RST) {
		size = connection_packet(c, chain, VIRTIO_VSOCK_OP_RST, 0, 0);
		thaw_vsock_connection_free(c);
		return size;
	}
	if (c->wants & VSOCK_WANT_REQUEST) {
		size = connection_packet(c, chain, VIRTIO_VSOCK_OP_REQUEST, 0, 0);
		connection_unwant(c, VSOCK_WANT_REQUEST);
		c->state = VSOCK_REQUESTED;
	} else if (c->wants & VSOCK_WANT_RESPONSE) {
		size = connection_packet(c, chain, VIRTIO_VSOCK_OP_RESPONSE, 0, 0);
		connection_unwant(c, VSOCK_WANT_RESPONSE);
	} else if (c->wants & VSOCK_WANT_DATA) {
		size = connection_read(c, chain);
	}
	if (!size && (c->wants & VSOCK_WANT_SHUTDOWN)) {
		size = connection_packet(c, chain, VIRTIO_VSOCK_OP_SHUTDOWN, c->shutdown, 0);
		connection_unwant(c, VSOCK_WANT_SHUTDOWN);
	}
	if (!size && (c->wants & VSOCK_WANT_CREDIT))
		size = connection_packet(c, chain, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0);
	if (c->wants) { /* the others' turn */
		TAILQ_REMOVE(&c->vsock->pending, c, line);
		TAILQ_INSERT_TAIL(&c->vsock->pending, c, line);
	}
	connection_watch(c);
	return size;
}

/* Keeps `size` bytes from `offset` of the chain's readable part for later. */
static int connection_keep(struct vsock_connection *c, const struct thaw_chain *chain,
			   uint32_t offset, uint32_t size)
{
	uint32_t used = c->rx_count - c->fwd_count;
	uint32_t end = (c->buffer_start + used) % VSOCK_BUFFER_SIZE;
	uint32_t first = VSOCK_BUFFER_SIZE - end;

	if (!c->buffer)
		c->buffer = malloc(VSOCK_BUFFER_SIZE);
	if (!c->buffer)
		return -ENOMEM;
	if (first > size)
		first = size;
	thaw_chain_read(chain, offset, c->buffer + end, first);
	thaw_chain_read(chain, offset + first, c->buffer, size - first);
	c->rx_count += size;
	return 0;
}

/* Payload of the guest: to the host's end, straight from guest memory if it takes it. */
static int connection_write(struct vsock_connection *c, const struct thaw_chain *chain,
			    uint32_t size)
{
	struct iovec iov[THAW_VIRTQUEUE_SIZE_MAX];
	struct msghdr message = {.msg_iov = iov};
	uint32_t done = 0;

	/* Credit the guest was never given. */
	if (size > VSOCK_BUFFER_SIZE - (c->rx_count - c->fwd_count))
		return -EPROTO;
	c->vsock->from_guest += size;
	if (!c->buffer && size && !c->hung_up) {
		message.msg_iovlen = thaw_chain_readable(chain, VSOCK_HEADER, size, iov);
		ssize_t n = sendmsg(c->source.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			connection_host_deaf(c);
		done = n > 0 ? (uint32_t)n : 0;
	}
	if (c->hung_up || (c->shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV))
		done = size;
	c->rx_count += done;
	c->fwd_count += done;
	if (done < size && connection_keep(c, chain, VSOCK_HEADER + done, size - done) < 0)
		return -ENOMEM;
	connection_offer_credit(c);
	return 0;
}

/* The guest knows nothing more of the connection. */
static void connection_guest_gone(struct vsock_connection *c)
{
	/* After an orderly end its last bytes still belong to the host. */
	if (c->state == VSOCK_OPEN && c->guest_shutdown == VSOCK_SHUTDOWN_BOTH && c->buffer) {
		connection_unwant(c, ~0u);
		connection_unname(c);
		c->state = VSOCK_FLUSHING;
		connection_watch(c);
		return;
	}
	thaw_vsock_connection_free(c);
}

/* A packet for an open connection. Negative: it has no place there. */
static int connection_receive_open(struct vsock_connection *c,
				   const struct virtio_vsock_hdr *header,
				   const struct thaw_chain *chain)
{
	switch (header->op) {
	case VIRTIO_VSOCK_OP_RW:
		if (c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND)
			return -EPROTO;
		return connection_write(c, chain, header->len);
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		c->guest_shutdown |= header->flags & VSOCK_SHUTDOWN_BOTH;
		if (c->guest_shutdown)
			connection_guest_end(c);
		return 0;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		return 0;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		thaw_vsock_connection_want(c, VSOCK_WANT_CREDIT);
		return 0;
	default:
		return -EPROTO;
	}
}

void thaw_vsock_connection_receive(struct vsock_connection *c,
				   const struct virtio_vsock_hdr *header,
				   const struct thaw_chain *chain)
{
	int rc = 0;

	if (header->op == VIRTIO_VSOCK_OP_RST) {
		connection_guest_gone(c);
		return;
	}
	if (c->state == VSOCK_DEAD)
		return;
	c->peer_buf_alloc = header->buf_alloc;
	c->peer_fwd_count = header->fwd_cnt;
	if (c->state == VSOCK_REQUESTED && header->op == VIRTIO_VSOCK_OP_RESPONSE) {
		c->state = VSOCK_OPEN;
		rc = thaw_vsock_greeting_answer(c);
	} else if (c->state == VSOCK_OPEN) {
		rc = connection_receive_open(c, header, chain);
	} else {
		rc = -EPROTO;
	}
	if (rc < 0)
		thaw_vsock_connection_reset(c);
	if (c->state != VSOCK_OPEN)
		return;
	/* There may be credit now for a host end that epoll tells nothing more of. */
	if (c->hung_up && !c->host_eof && connection_credit(c))
		thaw_vsock_connection_want(c, VSOCK_WANT_DATA);
	connection_watch(c);
}
