/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net (Virtual I/O Device 1.2, section 5.1) on a tap of the host: one receive queue, one
 * transmit queue, frames of up to THAW_NET_FRAME_MAX bytes.
 *
 * Offered: the MAC address and the MTU. No checksum or segmentation offload, on purpose: with them
 * the header before each frame, which a guest writes, would be the host kernel's to parse (with
 * IFF_VNET_HDR), and frames of 64 KiB would be ours. So the tap has no such header, the guest's is
 * skipped unread, and what the host's kernel gets is a frame as it may come from any wire. No
 * control queue, no merged buffers, no further queues: nothing in a guest of one address and one
 * function wants them, and what is not there cannot be driven wrongly.
 *
 * A frame is copied once, into the device's own memory, checked there, and moved on from there. A
 * frame whose source is not the device's address is dropped, as is one too short or too long:
 * spoofing ends here, before any filter of the host.
 *
 * The I/O thread does a bounded share of work at a time. What the guest has no buffers for, or what
 * a limit holds back, stays in the tap, whose queue is the host's to bound; what the tap does not
 * take now stays in the guest's queue. A tap that is gone (its namespace was removed) leaves a
 * device that neither receives nor sends.
 */
#ifndef THAW_VMM_DEVICES_NET_H
#define THAW_VMM_DEVICES_NET_H

#include "vmm/virtio/device.h"

struct thaw_net;
struct Thaw__Vmm__Network;

#define THAW_NET_MTU       1500u
#define THAW_NET_FRAME_MAX (14u + THAW_NET_MTU) /* without the check sequence; no VLAN tag */

extern const struct thaw_virtio_ops thaw_net_ops;

/* `tap_fd` (any descriptor that reads and writes one frame at a time, and does not block) belongs
 * to the device, also when this fails; address and limits are of `config`. -EINVAL: they make no
 * device. What waits in the tap now was for whoever had it before, and is thrown away. For
 * thaw_virtio_mmio_create with thaw_net_ops, which then owns the device. */
int thaw_net_create(struct thaw_net **out, int tap_fd, const struct Thaw__Vmm__Network *config,
		    struct thaw_loop *loop, struct thaw_error *err);

/* So far. Dropped: by us, either way; what the host's or the guest's kernel drops is theirs. */
struct thaw_net_statistics {
	uint64_t rx_bytes, rx_packets; /* to the guest */
	uint64_t tx_bytes, tx_packets; /* from the guest */
	uint64_t dropped;
};
void thaw_net_statistics(const struct thaw_net *net, struct thaw_net_statistics *out);

#endif
