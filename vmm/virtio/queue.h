/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split virtqueue, device side (Virtual I/O Device 1.2, section 2.7).
 *
 * Everything in the rings belongs to a hostile driver. Each ring field is read once; a chain is
 * bounded by the queue's size, its indirect table refused (not offered), its buffers checked
 * against guest memory before a device sees them, readable ones before writable ones. Any breach
 * is an error that makes the device need a reset.
 */
#ifndef THAW_VMM_VIRTIO_QUEUE_H
#define THAW_VMM_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/memory.h"

struct thaw_error;

#define THAW_VIRTQUEUE_SIZE_MAX 256u

struct thaw_virtqueue {
	const struct thaw_memory *memory;
	uint16_t size; /* entries, a power of two; 0: not set up */
	uint16_t size_max;
	bool ready;
	gpa_t desc, avail, used;
	uint16_t next_avail; /* the next available entry to take */
	uint16_t next_used;  /* the next used entry to write */
	uint16_t signalled;  /* used index at the last interrupt (VIRTIO_F_EVENT_IDX) */
	bool event_idx;      /* negotiated */
};

/* A request taken from the queue: host ranges of guest memory, already checked. They hold bytes
 * that the guest may change at any time: copy what is interpreted (thaw_chain_read). */
struct thaw_chain {
	uint16_t head;
	unsigned int readable; /* iov[0..readable): from the driver */
	unsigned int writable; /* iov[readable..readable+writable): to the driver */
	uint64_t readable_size, writable_size;
	struct iovec iov[THAW_VIRTQUEUE_SIZE_MAX];
};

/* The rings as the driver set them: size, alignment and that they lie in RAM. */
int thaw_virtqueue_check(const struct thaw_virtqueue *queue, struct thaw_error *err);

/* Takes the next chain. 1: taken; 0: none is available; -EPROTO: the driver broke the rules;
 * -EFAULT: it kept to them, but a buffer is not RAM. Then the chain was taken too, less the buffers
 * that cannot be reached, and a device may answer that request alone with an error: O_DIRECT from
 * a DAX mapping is a thing that a guest's user may do, and must not cost him the whole drive. */
int thaw_virtqueue_take(struct thaw_virtqueue *queue, struct thaw_chain *chain,
			struct thaw_error *err);
/* Puts back the chain taken last, so that the next take gives it again. */
void thaw_virtqueue_untake(struct thaw_virtqueue *queue);
/* Gives the chain `head` back with `written` bytes in its writable part. */
int thaw_virtqueue_give(struct thaw_virtqueue *queue, uint16_t head, uint32_t written,
			struct thaw_error *err);
/* Whether something is available, and asks for a kick when the next is added (event_idx). */
bool thaw_virtqueue_rearm(struct thaw_virtqueue *queue);
/* How many chains are available, as the driver says now (0..65535: not yet validated). */
uint16_t thaw_virtqueue_available(const struct thaw_virtqueue *queue);
/* The same, and asks for a kick at the next addition, though there are some already (event_idx). */
uint16_t thaw_virtqueue_watch(struct thaw_virtqueue *queue);
/* Whether the driver wants an interrupt for what was given since the last call. */
bool thaw_virtqueue_wants_signal(struct thaw_virtqueue *queue);

/* Copies `size` bytes from `offset` of the chain's readable part (write: into its writable part).
 * The count copied, less than `size` when the part is shorter. */
size_t thaw_chain_read(const struct thaw_chain *chain, size_t offset, void *out, size_t size);
size_t thaw_chain_write(const struct thaw_chain *chain, size_t offset, const void *in, size_t size);

/* Ranges of at most `limit` bytes from `offset` of the readable (writable) part: for readv and
 * writev. `out` has room for THAW_VIRTQUEUE_SIZE_MAX; the count filled. */
unsigned int thaw_chain_readable(const struct thaw_chain *chain, uint64_t offset, uint64_t limit,
				 struct iovec *out);
unsigned int thaw_chain_writable(const struct thaw_chain *chain, uint64_t offset, uint64_t limit,
				 struct iovec *out);

#endif
