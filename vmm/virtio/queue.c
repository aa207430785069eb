/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/queue.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "lib/error.h"

/* virtio is little-endian, and so is every host that Thaw runs on: fields are used as they are. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rings are read without swapping");

/* The rings (2.7.5, 2.7.6, 2.7.8), in bytes. */
#define DESC_SIZE       16u
#define AVAIL_IDX       2u
#define AVAIL_RING      4u
#define USED_IDX        2u
#define USED_RING       4u
#define USED_ENTRY_SIZE 8u

static uint64_t avail_ring_size(uint16_t size)
{
	return AVAIL_RING + 2ull * size + 2; /* and used_event */
}

static uint64_t used_ring_size(uint16_t size)
{
	return USED_RING + (uint64_t)USED_ENTRY_SIZE * size + 2; /* and avail_event */
}

static int ring_check(const struct thaw_virtqueue *queue, const char *name, gpa_t gpa,
		      uint64_t size, unsigned int align, struct thaw_error *err)
{
	if (gpa % align)
		return thaw_error_set(err, EPROTO, "%s ring at 0x%llx is not aligned to %u", name,
				      (unsigned long long)gpa, align);
	if (!thaw_memory_range(queue->memory, gpa, size))
		return thaw_error_set(err, EPROTO, "%s ring at 0x%llx is not in memory", name,
				      (unsigned long long)gpa);
	return 0;
}

int thaw_virtqueue_check(const struct thaw_virtqueue *queue, struct thaw_error *err)
{
	uint16_t size = queue->size;
	int rc;

	if (size == 0 || (size & (size - 1)) || size > queue->size_max ||
	    size > THAW_VIRTQUEUE_SIZE_MAX)
		return thaw_error_set(err, EPROTO, "queue size %u", size);
	rc = ring_check(queue, "descriptor", queue->desc, (uint64_t)DESC_SIZE * size, 16, err);
	if (rc == 0)
		rc = ring_check(queue, "available", queue->avail, avail_ring_size(size), 2, err);
	if (rc == 0)
		rc = ring_check(queue, "used", queue->used, used_ring_size(size), 4, err);
	return rc;
}

/* A 16-bit ring field. thaw_virtqueue_check has seen that it is RAM and aligned, and both stay so;
 * the gate is asked all the same, since it costs a few instructions and forgives nothing. */
static uint16_t *ring_field(const struct thaw_virtqueue *queue, gpa_t gpa)
{
	static uint16_t nowhere;
	uint16_t *field = thaw_memory_range(queue->memory, gpa, sizeof(*field));

	return field ? field : &nowhere;
}

static uint16_t ring_load(const struct thaw_virtqueue *queue, gpa_t gpa)
{
	return __atomic_load_n(ring_field(queue, gpa), __ATOMIC_RELAXED);
}

/* The driver's entries are to be read after its index that covers them. */
static uint16_t avail_index(const struct thaw_virtqueue *queue)
{
	return __atomic_load_n(ring_field(queue, queue->avail + AVAIL_IDX), __ATOMIC_ACQUIRE);
}

/* Adds one descriptor's buffer. Memory that is not RAM is left out and noted in *outside. */
static int chain_add(const struct thaw_virtqueue *queue, struct thaw_chain *chain,
		     const struct vring_desc *desc, bool *outside, struct thaw_error *err)
{
	bool writable = desc->flags & VRING_DESC_F_WRITE;
	uint64_t *total = writable ? &chain->writable_size : &chain->readable_size;

	if (!writable && chain->writable)
		return thaw_error_set(err, EPROTO, "a readable buffer after a writable one");
	if (desc->len == 0)
		return 0;
	/* 2.7.4.2: a chain holds at most 2^32 bytes. We keep below, so that a count fits 32 bits.
	 */
	if (chain->readable_size + chain->writable_size + desc->len > UINT32_MAX)
		return thaw_error_set(err, EPROTO, "a chain of 4 GiB or more");
	void *data = thaw_memory_range(queue->memory, desc->addr, desc->len);
	if (!data) {
		*outside = true;
		return 0;
	}
	chain->iov[chain->readable + chain->writable] = (struct iovec){data, desc->len};
	if (writable)
		chain->writable++;
	else
		chain->readable++;
	*total += desc->len;
	return 0;
}

static int chain_walk(const struct thaw_virtqueue *queue, struct thaw_chain *chain, bool *outside,
		      struct thaw_error *err)
{
	uint16_t index = chain->head;
	int rc;

	for (unsigned int i = 0; i < queue->size; i++) {
		struct vring_desc desc;
		if (thaw_memory_read(queue->memory, queue->desc + DESC_SIZE * (uint64_t)index,
				     &desc, sizeof(desc)) < 0)
			return thaw_error_set(err, EPROTO, "descriptor %u is not in memory", index);
		if (desc.flags & VRING_DESC_F_INDIRECT)
			return thaw_error_set(err, EPROTO, "an indirect descriptor, not offered");
		rc = chain_add(queue, chain, &desc, outside, err);
		if (rc < 0)
			return rc;
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return 0;
		if (desc.next >= queue->size)
			return thaw_error_set(err, EPROTO, "next descriptor %u of %u", desc.next,
					      queue->size);
		index = desc.next;
	}
	return thaw_error_set(err, EPROTO, "a chain longer than its queue: a loop");
}

int thaw_virtqueue_take(struct thaw_virtqueue *queue, struct thaw_chain *chain,
			struct thaw_error *err)
{
	uint16_t pending;
	bool outside = false;
	int rc;

	chain->readable = chain->writable = 0;
	chain->readable_size = chain->writable_size = 0;
	if (!queue->ready)
		return 0;
	pending = (uint16_t)(avail_index(queue) - queue->next_avail);
	if (pending == 0)
		return 0;
	if (pending > queue->size)
		return thaw_error_set(err, EPROTO, "%u buffers available in a queue of %u", pending,
				      queue->size);
	chain->head = ring_load(queue, queue->avail + AVAIL_RING +
					       2u * (queue->next_avail & (queue->size - 1u)));
	if (chain->head >= queue->size)
		return thaw_error_set(err, EPROTO, "available descriptor %u of %u", chain->head,
				      queue->size);
	rc = chain_walk(queue, chain, &outside, err);
	if (rc < 0)
		return rc;
	queue->next_avail++;
	if (outside)
		return thaw_error_set(err, EFAULT, "a buffer is not in memory");
	return 1;
}

void thaw_virtqueue_untake(struct thaw_virtqueue *queue)
{
	queue->next_avail--;
}

int thaw_virtqueue_give(struct thaw_virtqueue *queue, uint16_t head, uint32_t written,
			struct thaw_error *err)
{
	struct vring_used_elem entry = {.id = head, .len = written};
	uint16_t slot = queue->next_used & (queue->size - 1u);

	if (!queue->ready)
		return thaw_error_set(err, EPROTO, "the queue is not set up");
	if (thaw_memory_write(queue->memory, queue->used + USED_RING + USED_ENTRY_SIZE * slot,
			      &entry, sizeof(entry)) < 0)
		return thaw_error_set(err, EPROTO, "the used ring is not in memory");
	queue->next_used++;
	/* The driver reads the entry, and the buffer, when it has seen the index. */
	__atomic_store_n(ring_field(queue, queue->used + USED_IDX), queue->next_used,
			 __ATOMIC_RELEASE);
	return 0;
}

uint16_t thaw_virtqueue_available(const struct thaw_virtqueue *queue)
{
	return queue->ready ? (uint16_t)(avail_index(queue) - queue->next_avail) : 0;
}

/* The driver kicks when it makes entry number `index` available (2.7.10). */
static void avail_event_set(struct thaw_virtqueue *queue, uint16_t index)
{
	gpa_t event = queue->used + USED_RING + USED_ENTRY_SIZE * (uint64_t)queue->size;

	if (!queue->event_idx)
		return;
	__atomic_store_n(ring_field(queue, event), index, __ATOMIC_RELAXED);
	/* Our event index must be visible before we look for the last time, as the driver
	 * publishes its index before it reads the event: one of the two sees the other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

bool thaw_virtqueue_rearm(struct thaw_virtqueue *queue)
{
	if (!queue->ready)
		return false;
	avail_event_set(queue, queue->next_avail);
	return thaw_virtqueue_available(queue) != 0;
}

uint16_t thaw_virtqueue_watch(struct thaw_virtqueue *queue)
{
	uint16_t available = thaw_virtqueue_available(queue);

	if (queue->ready)
		avail_event_set(queue, (uint16_t)(queue->next_avail + available));
	return available;
}

bool thaw_virtqueue_wants_signal(struct thaw_virtqueue *queue)
{
	uint16_t before = queue->signalled;
	uint16_t now = queue->next_used;

	if (!queue->ready || now == before)
		return false;
	queue->signalled = now;
	/* The used index must be visible before we read whether the driver waits for it (2.7.7.2).
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (queue->event_idx) {
		uint16_t event = ring_load(queue, queue->avail + AVAIL_RING + 2ull * queue->size);
		return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
	}
	return !(ring_load(queue, queue->avail) & VRING_AVAIL_F_NO_INTERRUPT);
}

/* The part of iov[0..count) from `offset` on, at most `limit` bytes. */
static unsigned int iov_slice(const struct iovec *iov, unsigned int count, uint64_t offset,
			      uint64_t limit, struct iovec *out)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < count && limit; i++) {
		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		uint64_t size = iov[i].iov_len - offset;
		if (size > limit)
			size = limit;
		out[n++] = (struct iovec){(uint8_t *)iov[i].iov_base + offset, size};
		limit -= size;
		offset = 0;
	}
	return n;
}

unsigned int thaw_chain_readable(const struct thaw_chain *chain, uint64_t offset, uint64_t limit,
				 struct iovec *out)
{
	return iov_slice(chain->iov, chain->readable, offset, limit, out);
}

unsigned int thaw_chain_writable(const struct thaw_chain *chain, uint64_t offset, uint64_t limit,
				 struct iovec *out)
{
	return iov_slice(chain->iov + chain->readable, chain->writable, offset, limit, out);
}

/* Copies between a flat buffer and a part of a chain; `in` or `out` is NULL. */
static size_t iov_copy(const struct iovec *iov, unsigned int count, size_t offset, uint8_t *out,
		       const uint8_t *in, size_t size)
{
	size_t done = 0;

	for (unsigned int i = 0; i < count && done < size; i++) {
		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		size_t part = iov[i].iov_len - offset;
		if (part > size - done)
			part = size - done;
		uint8_t *guest = (uint8_t *)iov[i].iov_base + offset;
		if (out)
			memcpy(out + done, guest, part);
		else
			memcpy(guest, in + done, part);
		done += part;
		offset = 0;
	}
	return done;
}

size_t thaw_chain_read(const struct thaw_chain *chain, size_t offset, void *out, size_t size)
{
	return iov_copy(chain->iov, chain->readable, offset, out, NULL, size);
}

size_t thaw_chain_write(const struct thaw_chain *chain, size_t offset, const void *in, size_t size)
{
	return iov_copy(chain->iov + chain->readable, chain->writable, offset, NULL, in, size);
}
