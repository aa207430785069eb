/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/error.h"
#include "proto/snapshot.pb-c.h"
#include "proto/vmm.pb-c.h"
#include "vmm/loop.h"
#include "vmm/token_bucket.h"

enum { NET_QUEUE_RX, NET_QUEUE_TX, NET_QUEUES };

/* Linux fills the whole receive queue with buffers of 2 KiB each. What they do not hold waits in
 * the tap, which has a queue of its own. */
#define NET_QUEUE_SIZE 64u
/* With VERSION_1 the header always has its last field (5.1.6). */
#define NET_HEADER ((uint32_t)sizeof(struct virtio_net_hdr_v1))
/* Frames moved in one go, each way: then others have their turn. */
#define NET_TURNS 64u
/* Frames thrown away at most when a tap is taken over: more than the queue of one holds. */
#define NET_STALE_MAX 4096u

_Static_assert(THAW_NET_FRAME_MAX == ETH_FRAME_LEN && THAW_NET_MTU == ETH_DATA_LEN,
	       "a frame is Ethernet's");

/* One way of the device, and what holds it back. */
struct net_way {
	struct thaw_rate_limit limit;
	struct thaw_timer timer; /* until the limit allows more */
	uint64_t bytes, packets;
};

struct thaw_net {
	struct thaw_virtio_device *virtio;
	struct thaw_loop *loop;
	struct thaw_source tap; /* its fd is -1 when it is gone */
	struct virtio_net_config config;
	struct net_way rx, tx;
	uint64_t dropped;
	bool rx_wanted; /* there are buffers, and the limit allows it */
	bool tx_held;   /* the tap takes no more at present */
};

void thaw_net_statistics(const struct thaw_net *net, struct thaw_net_statistics *out)
{
	*out = (struct thaw_net_statistics){
		.rx_bytes = net->rx.bytes,
		.rx_packets = net->rx.packets,
		.tx_bytes = net->tx.bytes,
		.tx_packets = net->tx.packets,
		.dropped = net->dropped,
	};
}

/* --- the tap --- */

/* Only what can be made use of is watched for: a level-triggered event that nobody takes care of
 * would come for ever. */
static void net_watch(struct thaw_net *net)
{
	thaw_loop_modify(net->loop, &net->tap,
			 (net->rx_wanted ? EPOLLIN : 0u) | (net->tx_held ? EPOLLOUT : 0u));
}

/* It is of no use any more, and epoll would say so again and again. */
static void net_tap_gone(struct thaw_net *net)
{
	thaw_loop_remove(net->loop, &net->tap);
	if (net->tap.fd >= 0)
		close(net->tap.fd);
	net->tap.fd = -1;
}

/* Whether the frame's way may go on now; if not, it does so later. */
static bool way_open(struct thaw_net *net, struct net_way *way)
{
	uint64_t due;

	if (thaw_rate_limit_allows(&way->limit, &due))
		return true;
	thaw_loop_set_timer(net->loop, &way->timer, due);
	return false;
}

static void way_count(struct net_way *way, size_t size)
{
	thaw_rate_limit_spend(&way->limit, size);
	way->bytes += size;
	way->packets++;
}

/* It costs what a frame costs: a flood of bad ones is held back as one of good ones is. */
static void way_drop(struct thaw_net *net, struct net_way *way)
{
	thaw_rate_limit_spend(&way->limit, 0);
	net->dropped++;
}

/* --- to the guest --- */

/* One frame into one of the guest's buffers. 1: there may be more; 0: not now; negative: the driver
 * broke the rules. */
static int rx_frame(struct thaw_net *net, struct thaw_error *err)
{
	const struct virtio_net_hdr_v1 header = {.num_buffers = 1};
	struct thaw_virtqueue *queue = &net->virtio->queue[NET_QUEUE_RX];
	uint8_t frame[THAW_NET_FRAME_MAX + 1];
	struct thaw_chain chain;
	int rc;

	if (!way_open(net, &net->rx))
		return 0;
	do {
		rc = thaw_virtqueue_take(queue, &chain, err);
	} while (rc == 0 && thaw_virtqueue_rearm(queue));
	if (rc <= 0)
		return rc;
	/* 5.1.6.3.1: without merged buffers each holds any frame. */
	if (chain.readable || chain.writable_size < NET_HEADER + THAW_NET_FRAME_MAX)
		return thaw_error_set(err, EPROTO, "a receive buffer of %llu bytes",
				      (unsigned long long)chain.writable_size);
	ssize_t size = read(net->tap.fd, frame, sizeof(frame));
	if (size < ETH_HLEN || size > (ssize_t)THAW_NET_FRAME_MAX) {
		thaw_virtqueue_untake(queue);
		if (size >= 0)
			way_drop(net, &net->rx);
		else if (errno == EAGAIN)
			net->rx_wanted = true; /* when there is one */
		else if (errno != EINTR)
			net_tap_gone(net);
		return size >= 0 || errno == EINTR;
	}
	thaw_chain_write(&chain, 0, &header, NET_HEADER);
	thaw_chain_write(&chain, NET_HEADER, frame, (size_t)size);
	way_count(&net->rx, (size_t)size);
	rc = thaw_virtqueue_give(queue, chain.head, NET_HEADER + (uint32_t)size, err);
	return rc < 0 ? rc : 1;
}

static void net_rx(struct thaw_net *net)
{
	struct thaw_virtio_device *virtio = net->virtio;
	struct thaw_error err;
	int rc = 1;

	net->rx_wanted = false;
	if (!virtio->active || net->tap.fd < 0)
		return;
	for (unsigned int turns = 0; rc > 0; turns++) {
		if (turns == NET_TURNS) {
			net->rx_wanted = true; /* the tap tells of itself again */
			break;
		}
		rc = rx_frame(net, &err);
	}
	if (rc < 0)
		thaw_virtio_fail(virtio, "%s", err.message);
	else
		thaw_virtio_signal(virtio, NET_QUEUE_RX);
}

/* --- from the guest --- */

/* The frame is one that may leave: copied into `frame`, its size; 0: it is to be dropped. */
static size_t tx_check(const struct thaw_net *net, const struct thaw_chain *chain,
		       uint8_t frame[THAW_NET_FRAME_MAX])
{
	uint64_t size = chain->readable_size - NET_HEADER;

	if (size < ETH_HLEN || size > THAW_NET_FRAME_MAX)
		return 0;
	thaw_chain_read(chain, NET_HEADER, frame, (size_t)size);
	return memcmp(frame + ETH_ALEN, net->config.mac, ETH_ALEN) == 0 ? (size_t)size : 0;
}

/* Whether the tap can take no more now. Whatever else it says, the frame is done with. */
static bool tx_write(struct thaw_net *net, const uint8_t *frame, size_t size)
{
	ssize_t n = net->tap.fd < 0 ? -1 : write(net->tap.fd, frame, size);

	if (n < 0 && net->tap.fd >= 0 && errno == EAGAIN)
		return true;
	if (n < 0)
		way_drop(net, &net->tx); /* the tap is down or gone, or the host has no memory */
	else
		way_count(&net->tx, size);
	return false;
}

/* As rx_frame. */
static int tx_frame(struct thaw_net *net, struct thaw_error *err)
{
	struct thaw_virtqueue *queue = &net->virtio->queue[NET_QUEUE_TX];
	uint8_t frame[THAW_NET_FRAME_MAX];
	struct thaw_chain chain;
	size_t size = 0;
	int rc;

	if (!way_open(net, &net->tx))
		return 0;
	do {
		rc = thaw_virtqueue_take(queue, &chain, err);
	} while (rc == 0 && thaw_virtqueue_rearm(queue));
	if (rc == 0 || (rc < 0 && rc != -EFAULT))
		return rc;
	if (rc > 0 && (chain.writable || chain.readable_size < NET_HEADER))
		return thaw_error_set(err, EPROTO, "a frame of %llu bytes with its header",
				      (unsigned long long)chain.readable_size);
	if (rc > 0)
		size = tx_check(net, &chain, frame);
	if (size == 0) {
		way_drop(net, &net->tx);
	} else if (tx_write(net, frame, size)) {
		thaw_virtqueue_untake(queue);
		net->tx_held = true;
		return 0;
	}
	rc = thaw_virtqueue_give(queue, chain.head, 0, err);
	return rc < 0 ? rc : 1;
}

static void net_tx(struct thaw_net *net)
{
	struct thaw_virtio_device *virtio = net->virtio;
	struct thaw_error err;
	int rc = 1;

	net->tx_held = false;
	if (!virtio->active)
		return;
	for (unsigned int turns = 0; rc > 0; turns++) {
		if (turns == NET_TURNS) {
			thaw_virtio_kick_later(virtio, NET_QUEUE_TX);
			break;
		}
		rc = tx_frame(net, &err);
	}
	if (rc < 0)
		thaw_virtio_fail(virtio, "%s", err.message);
	else
		thaw_virtio_signal(virtio, NET_QUEUE_TX);
}

/* --- events --- */

static void net_kick(void *device, unsigned int index)
{
	struct thaw_net *net = device;

	if (index == NET_QUEUE_RX)
		net_rx(net);
	else
		net_tx(net);
	net_watch(net);
}

static void net_tap_event(void *opaque, uint32_t events)
{
	struct thaw_net *net = opaque;

	if (events & EPOLLIN)
		net_rx(net);
	if (events & EPOLLOUT)
		net_tx(net);
	if (events & (EPOLLERR | EPOLLHUP))
		net_tap_gone(net);
	net_watch(net);
}

static void net_rx_timer(void *opaque)
{
	net_kick(opaque, NET_QUEUE_RX);
}

static void net_tx_timer(void *opaque)
{
	net_kick(opaque, NET_QUEUE_TX);
}

/* Nothing is ever under way, and what the limits hold back stays in its queue: nobody waits. A
 * paused machine's device leaves the tap alone until the kicks that come with the resume; one that
 * was on its way before is still served, as far as the guest's buffers go. */
static void net_rest(void *device)
{
	struct thaw_net *net = device;

	thaw_loop_cancel_timer(net->loop, &net->rx.timer);
	thaw_loop_cancel_timer(net->loop, &net->tx.timer);
	net->rx_wanted = net->tx_held = false;
	net_watch(net);
}

/* --- the transport's questions --- */

static void net_attach(void *device, struct thaw_virtio_device *virtio)
{
	struct thaw_net *net = device;

	net->virtio = virtio;
}

static uint64_t net_features(void *device)
{
	(void)device;
	return (1ull << VIRTIO_NET_F_MAC) | (1ull << VIRTIO_NET_F_MTU);
}

static void net_config_read(void *device, uint32_t offset, void *data, unsigned int size)
{
	const struct thaw_net *net = device;

	memcpy(data, (const uint8_t *)&net->config + offset, size);
}

static int net_save(void *device, Thaw__Snapshot__Device *out, struct thaw_error *err)
{
	const struct thaw_net *net = device;
	Thaw__Snapshot__Net *state = malloc(sizeof(*state));

	if (!state)
		return thaw_error_errno(err, ENOMEM, "saving the network device");
	thaw__snapshot__net__init(state);
	out->virtio->device_case = THAW__SNAPSHOT__VIRTIO__DEVICE_NET;
	out->virtio->net = state;
	state->mac.data = malloc(ETH_ALEN);
	if (!state->mac.data)
		return thaw_error_errno(err, ENOMEM, "saving the network device");
	memcpy(state->mac.data, net->config.mac, ETH_ALEN);
	state->mac.len = ETH_ALEN;
	return 0;
}

static int net_restore(void *device, const Thaw__Snapshot__Device *in, bool active,
		       struct thaw_error *err)
{
	const struct thaw_net *net = device;
	const Thaw__Snapshot__Virtio *virtio = in->virtio;

	(void)active;
	if (virtio->device_case != THAW__SNAPSHOT__VIRTIO__DEVICE_NET || !virtio->net)
		return thaw_error_set(err, EPROTO, "the network device is missing from the state");
	/* The guest goes on using the address it has read. */
	if (virtio->net->mac.len != ETH_ALEN ||
	    memcmp(virtio->net->mac.data, net->config.mac, ETH_ALEN) != 0)
		return thaw_error_set(err, EPROTO,
				      "the snapshot's network device has another address");
	return 0;
}

static void net_destroy(void *device)
{
	struct thaw_net *net = device;

	net_rest(net);
	net_tap_gone(net);
	free(net);
}

const struct thaw_virtio_ops thaw_net_ops = {
	.name = "net",
	.device_id = VIRTIO_ID_NET,
	.queues = NET_QUEUES,
	.queue_size_max = NET_QUEUE_SIZE,
	.config_size = offsetof(struct virtio_net_config, mtu) + 2,
	.attach = net_attach,
	.features = net_features,
	.config_read = net_config_read,
	.kick = net_kick,
	.reset = net_rest,
	.drain = net_rest,
	.save = net_save,
	.restore = net_restore,
	.destroy = net_destroy,
};

/* --- making one --- */

static int net_configure(struct thaw_net *net, const Thaw__Vmm__Network *from,
			 struct thaw_error *err)
{
	static const uint8_t none[ETH_ALEN];
	int flags = fcntl(net->tap.fd, F_GETFL);

	if (flags < 0)
		return thaw_error_errno(err, errno, "the tap");
	if (!(flags & O_NONBLOCK) || (flags & O_ACCMODE) != O_RDWR)
		return thaw_error_set(err, EINVAL, "the tap must be read-write and not block");
	/* Unicast: the lowest bit of the first byte (IEEE 802.3, 3.2.3). */
	if (from->mac.len != ETH_ALEN || (from->mac.data[0] & 1) ||
	    memcmp(from->mac.data, none, ETH_ALEN) == 0)
		return thaw_error_set(err, EINVAL, "an address that is not a unicast MAC address");
	memcpy(net->config.mac, from->mac.data, ETH_ALEN);
	net->config.mtu = THAW_NET_MTU;
	int rc = thaw_rate_limit_init(&net->rx.limit, from->to_guest, err);
	if (rc < 0)
		return thaw_error_wrap(err, "to the guest");
	rc = thaw_rate_limit_init(&net->tx.limit, from->from_guest, err);
	return rc < 0 ? thaw_error_wrap(err, "from the guest") : 0;
}

static void net_discard_stale(const struct thaw_net *net)
{
	uint8_t byte;

	for (unsigned int i = 0; i < NET_STALE_MAX; i++) {
		if (read(net->tap.fd, &byte, sizeof(byte)) < 0)
			break;
	}
}

int thaw_net_create(struct thaw_net **out, int tap_fd, const Thaw__Vmm__Network *config,
		    struct thaw_loop *loop, struct thaw_error *err)
{
	struct thaw_net *net = calloc(1, sizeof(*net));

	if (!net) {
		close(tap_fd);
		return thaw_error_errno(err, ENOMEM, "making a network device");
	}
	net->loop = loop;
	net->tap = (struct thaw_source){
		.fd = tap_fd, .handle = net_tap_event, .opaque = net, .locked = true};
	net->rx.timer = (struct thaw_timer){.handle = net_rx_timer, .opaque = net};
	net->tx.timer = (struct thaw_timer){.handle = net_tx_timer, .opaque = net};
	int rc = net_configure(net, config, err);
	if (rc == 0) {
		net_discard_stale(net);
		rc = thaw_loop_add(loop, &net->tap, err);
	}
	if (rc < 0) {
		net_destroy(net);
		return rc;
	}
	*out = net;
	return 0;
}
