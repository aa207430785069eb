/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/vsock_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/error.h"
#include "proto/snapshot.pb-c.h"

/* Linux fills the whole receive queue with buffers of 4 KiB, two descriptors each, when the driver
 * comes up: 128 KiB of guest memory here, written by the guest, saved and restored. */
#define VSOCK_QUEUE_SIZE 64u
/* What a guest may hold of packets that were taken, before it is told. */
#define VSOCK_UNTOLD_BYTES 32768u
#define VSOCK_HEADER       ((uint32_t)sizeof(struct virtio_vsock_hdr))

static int descriptor_nonblocking(int fd, struct thaw_error *err)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return thaw_error_errno(err, errno, "vsock: descriptor %d", fd);
	return 0;
}

static void vsock_close(int listener_fd, int forward_fd)
{
	if (listener_fd >= 0)
		close(listener_fd);
	if (forward_fd >= 0)
		close(forward_fd);
}

void thaw_vsock_retire(struct thaw_vsock *vsock, struct vsock_connection *connection)
{
	connection->state = VSOCK_RETIRED;
	LIST_INSERT_HEAD(&vsock->retired, connection, all);
	eventfd_write(vsock->reaper.fd, 1);
}

static void vsock_list_free(struct vsock_list *list)
{
	while (!LIST_EMPTY(list)) {
		struct vsock_connection *connection = LIST_FIRST(list);
		LIST_REMOVE(connection, all);
		free(connection);
	}
}

static void vsock_reap(void *opaque, uint32_t events)
{
	struct thaw_vsock *vsock = opaque;

	(void)events;
	vsock_list_free(&vsock->passed);
	while (!LIST_EMPTY(&vsock->retired)) {
		struct vsock_connection *connection = LIST_FIRST(&vsock->retired);
		LIST_REMOVE(connection, all);
		LIST_INSERT_HEAD(&vsock->passed, connection, all);
	}
	if (!LIST_EMPTY(&vsock->passed))
		eventfd_write(vsock->reaper.fd, 1);
}

static int vsock_watch(struct thaw_vsock *vsock, struct thaw_error *err)
{
	int rc;

	/* Edge-triggered: it runs once for what was written before, never twice in a batch. */
	vsock->reaper = (struct thaw_source){
		.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.events = EPOLLIN | EPOLLET,
		.handle = vsock_reap,
		.opaque = vsock,
		.locked = true,
	};
	if (vsock->reaper.fd < 0)
		return thaw_error_errno(err, errno, "vsock: making an event descriptor");
	rc = thaw_loop_add(vsock->loop, &vsock->reaper, err);
	if (rc < 0 || vsock->listener.fd < 0)
		return rc;
	rc = descriptor_nonblocking(vsock->listener.fd, err);
	return rc < 0 ? rc : thaw_loop_add(vsock->loop, &vsock->listener, err);
}

static void vsock_destroy(void *device)
{
	struct thaw_vsock *vsock = device;

	while (!LIST_EMPTY(&vsock->all))
		thaw_vsock_connection_free(LIST_FIRST(&vsock->all));
	vsock_list_free(&vsock->retired);
	vsock_list_free(&vsock->passed);
	thaw_loop_remove(vsock->loop, &vsock->listener);
	thaw_loop_remove(vsock->loop, &vsock->reaper);
	if (vsock->reaper.fd >= 0)
		close(vsock->reaper.fd);
	vsock_close(vsock->listener.fd, vsock->forward_fd);
	free(vsock);
}

int thaw_vsock_create(struct thaw_vsock **out, struct thaw_loop *loop, uint64_t guest_cid,
		      int listener_fd, int forward_fd, struct thaw_error *err)
{
	struct thaw_vsock *vsock;
	int rc = 0;

	vsock = calloc(1, sizeof(*vsock));
	if (!vsock) {
		vsock_close(listener_fd, forward_fd);
		return thaw_error_errno(err, ENOMEM, "making a vsock device");
	}
	if (guest_cid <= VSOCK_HOST_CID || guest_cid >= UINT32_MAX)
		rc = thaw_error_set(err, EINVAL, "vsock: guest CID %llu is not 3..4294967294",
				    (unsigned long long)guest_cid);
	vsock->loop = loop;
	vsock->config.guest_cid = guest_cid;
	vsock->forward_fd = forward_fd;
	vsock->reaper.fd = -1;
	TAILQ_INIT(&vsock->pending);
	/* A restored guest may still hold connections of its first life. Ports from a random start
	 * keep clear of them. */
	if (getrandom(&vsock->next_port, sizeof(vsock->next_port), 0) < 0)
		vsock->next_port = (uint32_t)getpid();
	vsock->listener = (struct thaw_source){
		.fd = listener_fd,
		.events = EPOLLIN,
		.handle = thaw_vsock_accept,
		.opaque = vsock,
		.locked = true,
	};
	if (rc == 0 && forward_fd >= 0)
		rc = descriptor_nonblocking(forward_fd, err);
	if (rc == 0)
		rc = vsock_watch(vsock, err);
	if (rc < 0) {
		vsock_destroy(vsock);
		return rc;
	}
	*out = vsock;
	return 0;
}

static void vsock_attach(void *device, struct thaw_virtio_device *virtio)
{
	struct thaw_vsock *vsock = device;

	vsock->virtio = virtio;
}

static void vsock_config_read(void *device, uint32_t offset, void *data, unsigned int size)
{
	const struct thaw_vsock *vsock = device;

	memcpy(data, (const uint8_t *)&vsock->config + offset, size);
}

void thaw_vsock_statistics(const struct thaw_vsock *vsock, uint64_t *to_guest, uint64_t *from_guest)
{
	*to_guest = vsock->to_guest;
	*from_guest = vsock->from_guest;
}

/* The next packet for the guest. Its size; 0: there is none. */
static uint32_t vsock_fill(struct thaw_vsock *vsock, const struct thaw_chain *chain)
{
	uint32_t size = 0;

	if (vsock->replies_count) {
		thaw_chain_write(chain, 0, &vsock->replies[vsock->replies_start], VSOCK_HEADER);
		vsock->replies_start = (vsock->replies_start + 1) % VSOCK_REPLIES_MAX;
		vsock->replies_count--;
		return VSOCK_HEADER;
	}
	while (size == 0 && !TAILQ_EMPTY(&vsock->pending))
		size = thaw_vsock_connection_send(TAILQ_FIRST(&vsock->pending), chain);
	return size;
}

/* One packet into one buffer. 1: given; 0: no packet, or no buffer; negative: the driver broke the
 * rules. */
static int vsock_give(struct thaw_vsock *vsock, struct thaw_error *err)
{
	struct thaw_virtqueue *queue = &vsock->virtio->queue[VSOCK_QUEUE_RX];
	struct thaw_chain chain;
	uint32_t size;
	int rc;

	do {
		rc = thaw_virtqueue_take(queue, &chain, err);
	} while (rc == 0 && thaw_virtqueue_rearm(queue));
	if (rc <= 0)
		return rc;
	if (chain.readable || chain.writable_size <= VSOCK_HEADER)
		return thaw_error_set(err, EPROTO, "a receive buffer of %llu bytes",
				      (unsigned long long)chain.writable_size);
	size = vsock_fill(vsock, &chain);
	if (size == 0) {
		thaw_virtqueue_untake(queue);
		return 0;
	}
	rc = thaw_virtqueue_give(queue, chain.head, size, err);
	return rc < 0 ? rc : 1;
}

void thaw_vsock_pump(struct thaw_vsock *vsock)
{
	struct thaw_virtio_device *virtio = vsock->virtio;
	unsigned int turns = 0;
	struct thaw_error err;
	int rc = 1;

	if (!virtio->active || vsock->reset != VSOCK_RESET_NONE)
		return;
	while (rc > 0 && (vsock->replies_count || !TAILQ_EMPTY(&vsock->pending))) {
		if (++turns > VSOCK_QUEUE_SIZE) {
			thaw_virtio_kick_later(virtio, VSOCK_QUEUE_RX);
			break;
		}
		rc = vsock_give(vsock, &err);
	}
	if (rc < 0) {
		thaw_virtio_fail(virtio, "%s", err.message);
		return;
	}
	if (thaw_virtio_signal(virtio, VSOCK_QUEUE_RX))
		vsock->tx_untold = vsock->tx_untold_bytes = 0;
	if (vsock->tx_held && vsock->replies_count <= VSOCK_REPLIES_MAX / 2) {
		vsock->tx_held = false;
		thaw_virtio_kick_later(virtio, VSOCK_QUEUE_TX);
	}
}

/* Refuses a packet: RST with its addresses turned round. There is room: vsock_tx saw to it. */
static void vsock_refuse(struct thaw_vsock *vsock, const struct virtio_vsock_hdr *header)
{
	unsigned int end = (vsock->replies_start + vsock->replies_count) % VSOCK_REPLIES_MAX;

	if (header->op == VIRTIO_VSOCK_OP_RST)
		return; /* never answered: two ends could go on for ever */
	vsock->replies[end] = (struct virtio_vsock_hdr){
		.src_cid = header->dst_cid,
		.dst_cid = header->src_cid,
		.src_port = header->dst_port,
		.dst_port = header->src_port,
		.type = header->type,
		.op = VIRTIO_VSOCK_OP_RST,
	};
	vsock->replies_count++;
}

static int vsock_receive(struct thaw_vsock *vsock, const struct thaw_chain *chain,
			 struct thaw_error *err)
{
	struct vsock_connection *connection;
	struct virtio_vsock_hdr header;

	if (thaw_chain_read(chain, 0, &header, VSOCK_HEADER) != VSOCK_HEADER ||
	    header.len > chain->readable_size - VSOCK_HEADER)
		return thaw_error_set(err, EPROTO, "a packet that does not fit its %llu bytes",
				      (unsigned long long)chain->readable_size);
	if (header.src_cid != vsock->config.guest_cid)
		return 0; /* in nobody's name: dropped, as vhost does */
	if (header.dst_cid != VSOCK_HOST_CID || header.type != VIRTIO_VSOCK_TYPE_STREAM) {
		vsock_refuse(vsock, &header);
		return 0;
	}
	connection = thaw_vsock_connection_find(vsock, header.dst_port, header.src_port);
	if (connection) {
		thaw_vsock_connection_receive(connection, &header, chain);
		return 0;
	}
	if (header.op == VIRTIO_VSOCK_OP_REQUEST)
		connection = thaw_vsock_forward(vsock, header.dst_port, header.src_port);
	if (!connection) {
		vsock_refuse(vsock, &header);
		return 0;
	}
	connection->peer_buf_alloc = header.buf_alloc;
	connection->peer_fwd_count = header.fwd_cnt;
	return 0;
}

static void vsock_tx(struct thaw_vsock *vsock)
{
	struct thaw_virtio_device *virtio = vsock->virtio;
	struct thaw_virtqueue *queue = &virtio->queue[VSOCK_QUEUE_TX];
	struct thaw_chain chain;
	struct thaw_error err;

	for (unsigned int turns = 0;; turns++) {
		if (vsock->replies_count == VSOCK_REPLIES_MAX) {
			vsock->tx_held = true;
			break;
		}
		if (turns > queue->size) {
			thaw_virtio_kick_later(virtio, VSOCK_QUEUE_TX);
			break;
		}
		int rc = thaw_virtqueue_take(queue, &chain, &err);
		if (rc == 0) {
			if (!thaw_virtqueue_rearm(queue))
				break;
			continue;
		}
		if (rc > 0) {
			vsock->tx_untold++;
			vsock->tx_untold_bytes += (uint32_t)chain.readable_size;
			rc = vsock_receive(vsock, &chain, &err);
		}
		if (rc == 0)
			rc = thaw_virtqueue_give(queue, chain.head, 0, &err);
		if (rc < 0) {
			thaw_virtio_fail(virtio, "%s", err.message);
			return;
		}
	}
	thaw_vsock_pump(vsock);
	/* All that a driver does with a packet that was taken is to free it. It need not be woken
	 * for that: it finds out with the next packet it is given. */
	if ((vsock->tx_untold >= queue->size / 4 || vsock->tx_untold_bytes >= VSOCK_UNTOLD_BYTES) &&
	    thaw_virtio_signal(virtio, VSOCK_QUEUE_TX))
		vsock->tx_untold = vsock->tx_untold_bytes = 0;
}

/* Tells the driver that all its connections are gone (5.10.6.7), and waits until it has heard:
 * until it gives the event's buffer back. */
static void vsock_tell_reset(struct thaw_vsock *vsock)
{
	const struct virtio_vsock_event event = {.id = VIRTIO_VSOCK_EVENT_TRANSPORT_RESET};
	struct thaw_virtio_device *virtio = vsock->virtio;
	struct thaw_virtqueue *queue = &virtio->queue[VSOCK_QUEUE_EVENT];
	struct thaw_chain chain;
	struct thaw_error err;
	int rc;

	if (vsock->reset == VSOCK_RESET_TOLD &&
	    thaw_virtqueue_available(queue) != vsock->reset_available) {
		vsock->reset = VSOCK_RESET_NONE;
		thaw_vsock_pump(vsock);
	}
	if (vsock->reset != VSOCK_RESET_WANTED)
		return;
	do {
		rc = thaw_virtqueue_take(queue, &chain, &err);
	} while (rc == 0 && thaw_virtqueue_rearm(queue));
	if (rc == 0)
		return;
	if (rc > 0 && thaw_chain_write(&chain, 0, &event, sizeof(event)) != sizeof(event))
		rc = thaw_error_set(&err, EPROTO, "an event buffer of %llu bytes",
				    (unsigned long long)chain.writable_size);
	if (rc > 0)
		rc = thaw_virtqueue_give(queue, chain.head, sizeof(event), &err);
	if (rc < 0) {
		thaw_virtio_fail(virtio, "%s", err.message);
		return;
	}
	vsock->reset = VSOCK_RESET_TOLD;
	vsock->reset_available = thaw_virtqueue_watch(queue);
	thaw_virtio_signal(virtio, VSOCK_QUEUE_EVENT);
}

static void vsock_kick(void *device, unsigned int index)
{
	struct thaw_vsock *vsock = device;

	if (index == VSOCK_QUEUE_RX)
		thaw_vsock_pump(vsock);
	else if (index == VSOCK_QUEUE_TX)
		vsock_tx(vsock);
	else
		vsock_tell_reset(vsock);
}

/* The driver starts anew: what it knew of is gone, what it did not know of waits for it. */
static void vsock_reset(void *device)
{
	struct thaw_vsock *vsock = device;
	struct vsock_connection *connection, *next;

	for (connection = LIST_FIRST(&vsock->all); connection; connection = next) {
		next = LIST_NEXT(connection, all);
		if (connection->state != VSOCK_GREETING && connection->state != VSOCK_WAITING)
			thaw_vsock_connection_free(connection);
	}
	vsock->replies_count = 0;
	vsock->tx_held = false;
	vsock->tx_untold = vsock->tx_untold_bytes = 0;
	vsock->reset = VSOCK_RESET_NONE;
}

/* A host program may have closed its connection just before the machine was paused. If the guest
 * is told before it is saved, it has to be told of no reset when it is restored. */
static void vsock_drain(void *device)
{
	struct thaw_vsock *vsock = device;
	struct vsock_connection *connection, *next;

	for (connection = LIST_FIRST(&vsock->all); connection; connection = next) {
		next = LIST_NEXT(connection, all);
		thaw_vsock_connection_poll(connection);
	}
	thaw_vsock_pump(vsock);
}

static int vsock_save(void *device, Thaw__Snapshot__Device *out, struct thaw_error *err)
{
	struct thaw_vsock *vsock = device;
	Thaw__Snapshot__Vsock *state = malloc(sizeof(*state));
	struct vsock_connection *connection;

	if (!state)
		return thaw_error_errno(err, ENOMEM, "saving the vsock device");
	thaw__snapshot__vsock__init(state);
	state->guest_cid = vsock->config.guest_cid;
	state->connections = vsock->reset != VSOCK_RESET_NONE;
	/* Resets are told to this guest, if it runs on, when the transport is resumed: from now on
	 * its memory must not change until it is saved. */
	LIST_FOREACH(connection, &vsock->all, all)
	{
		if (!thaw_vsock_connection_alive(connection))
			continue;
		state->connections = true;
		thaw_vsock_connection_reset(connection);
	}
	out->virtio->device_case = THAW__SNAPSHOT__VIRTIO__DEVICE_VSOCK;
	out->virtio->vsock = state;
	return 0;
}

static int vsock_restore(void *device, const Thaw__Snapshot__Device *in, bool active,
			 struct thaw_error *err)
{
	struct thaw_vsock *vsock = device;
	const Thaw__Snapshot__Virtio *virtio = in->virtio;

	if (virtio->device_case != THAW__SNAPSHOT__VIRTIO__DEVICE_VSOCK || !virtio->vsock)
		return thaw_error_set(err, EPROTO, "the guest's CID is missing from the state");
	if (virtio->vsock->guest_cid <= VSOCK_HOST_CID || virtio->vsock->guest_cid >= UINT32_MAX)
		return thaw_error_set(err, EPROTO, "guest CID %llu",
				      (unsigned long long)virtio->vsock->guest_cid);
	/* The driver has read it once and for all, and a Unix socket has no use for it. */
	vsock->config.guest_cid = virtio->vsock->guest_cid;
	if (active && virtio->vsock->connections) {
		vsock->reset = VSOCK_RESET_WANTED;
		vsock_tell_reset(vsock);
	}
	return 0;
}

const struct thaw_virtio_ops thaw_vsock_ops = {
	.name = "vsock",
	.device_id = VIRTIO_ID_VSOCK,
	.queues = VSOCK_QUEUES,
	.queue_size_max = VSOCK_QUEUE_SIZE,
	.config_size = sizeof(struct virtio_vsock_config),
	.attach = vsock_attach,
	.config_read = vsock_config_read,
	.kick = vsock_kick,
	.reset = vsock_reset,
	.drain = vsock_drain,
	.save = vsock_save,
	.restore = vsock_restore,
	.destroy = vsock_destroy,
};
