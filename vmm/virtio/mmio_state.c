/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "proto/snapshot.pb-c.h"
#include "vmm/virtio/mmio_private.h"

static int mmio_save_queues(const struct thaw_virtio_mmio *mmio, Thaw__Snapshot__Virtio *out)
{
	unsigned int count = mmio->virtio.ops->queues;

	out->queues = calloc(count, sizeof(*out->queues));
	if (!out->queues)
		return -ENOMEM;
	for (unsigned int i = 0; i < count; i++) {
		const struct thaw_virtqueue *queue = &mmio->virtio.queue[i];
		Thaw__Snapshot__Queue *q = malloc(sizeof(*q));
		if (!q)
			return -ENOMEM;
		thaw__snapshot__queue__init(q);
		q->size = queue->size;
		q->ready = queue->ready;
		q->desc = queue->desc;
		q->avail = queue->avail;
		q->used = queue->used;
		q->next_avail = queue->next_avail;
		q->next_used = queue->next_used;
		q->signalled = queue->signalled;
		out->queues[out->n_queues++] = q;
	}
	return 0;
}

int thaw_virtio_mmio_save(struct thaw_virtio_mmio *mmio, Thaw__Snapshot__Device *out,
			  struct thaw_error *err)
{
	const struct thaw_virtio_ops *ops = mmio->virtio.ops;
	Thaw__Snapshot__Virtio *state = malloc(sizeof(*state));

	thaw_virtio_mmio_drain(mmio);
	if (!state)
		return thaw_error_errno(err, ENOMEM, "saving the %s device", ops->name);
	/* From here on what is allocated hangs on `out`, and goes with it. */
	thaw__snapshot__virtio__init(state);
	out->state_case = THAW__SNAPSHOT__DEVICE__STATE_VIRTIO;
	out->virtio = state;
	if (!out->kind[0])
		out->kind = strdup(ops->name);
	if (!out->kind || mmio_save_queues(mmio, state) < 0)
		return thaw_error_errno(err, ENOMEM, "saving the %s device", ops->name);
	state->status = mmio->status;
	state->driver_features = mmio->driver_features;
	state->features_select = mmio->features_select;
	state->driver_features_select = mmio->driver_features_select;
	state->queue_select = mmio->queue_select;
	state->interrupt_status = mmio->interrupt_status;
	return ops->save ? ops->save(mmio->virtio.device, out, err) : 0;
}

static int mmio_restore_queue(struct thaw_virtio_mmio *mmio, unsigned int i,
			      const Thaw__Snapshot__Queue *in, struct thaw_error *err)
{
	struct thaw_virtqueue *queue = &mmio->virtio.queue[i];
	int rc;

	if (in->size > queue->size_max || in->next_avail > UINT16_MAX ||
	    in->next_used > UINT16_MAX || in->signalled > UINT16_MAX)
		return thaw_error_set(err, EPROTO, "queue %u: a value out of range", i);
	queue->size = (uint16_t)in->size;
	queue->desc = in->desc;
	queue->avail = in->avail;
	queue->used = in->used;
	queue->next_avail = (uint16_t)in->next_avail;
	queue->next_used = (uint16_t)in->next_used;
	queue->signalled = (uint16_t)in->signalled;
	queue->ready = in->ready;
	if (!queue->ready)
		return 0;
	rc = thaw_virtqueue_check(queue, err);
	return rc < 0 ? thaw_error_wrap(err, "queue %u", i) : 0;
}

/* A state that mmio_write_status could have led to. */
static int mmio_restore_status(struct thaw_virtio_mmio *mmio, const Thaw__Snapshot__Virtio *in,
			       struct thaw_error *err)
{
	uint64_t features = in->driver_features;
	bool features_ok = in->status & VIRTIO_CONFIG_S_FEATURES_OK;

	if ((in->status & ~MMIO_STATUS_KNOWN) ||
	    (!features_ok && (in->status & VIRTIO_CONFIG_S_DRIVER_OK)))
		return thaw_error_set(err, EPROTO, "status 0x%x", in->status);
	if (features_ok && ((features & ~thaw_virtio_mmio_features(mmio)) ||
			    !(features & (1ull << VIRTIO_F_VERSION_1))))
		return thaw_error_set(err, EPROTO, "features 0x%llx are not this device's",
				      (unsigned long long)features);
	if (in->n_queues != mmio->virtio.ops->queues)
		return thaw_error_set(err, EPROTO, "%zu queues and not %u", in->n_queues,
				      mmio->virtio.ops->queues);
	mmio->status = in->status;
	mmio->driver_features = features;
	mmio->virtio.features = features_ok ? features : 0;
	mmio->features_select = in->features_select;
	mmio->driver_features_select = in->driver_features_select;
	mmio->queue_select = in->queue_select;
	mmio->interrupt_status = in->interrupt_status;
	return 0;
}

static int mmio_restore(struct thaw_virtio_mmio *mmio, const Thaw__Snapshot__Device *in,
			struct thaw_error *err)
{
	const struct thaw_virtio_ops *ops = mmio->virtio.ops;
	int rc;

	if (strcmp(in->kind, ops->name) != 0)
		return thaw_error_set(err, EPROTO, "the state is of a device \"%s\"", in->kind);
	if (in->state_case != THAW__SNAPSHOT__DEVICE__STATE_VIRTIO || !in->virtio)
		return thaw_error_set(err, EPROTO, "the state is not of a virtio device");
	rc = mmio_restore_status(mmio, in->virtio, err);
	for (unsigned int i = 0; i < ops->queues && rc == 0; i++)
		rc = mmio_restore_queue(mmio, i, in->virtio->queues[i], err);
	if (rc == 0 && (mmio->status & VIRTIO_CONFIG_S_DRIVER_OK) &&
	    !(mmio->status & (VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED)))
		rc = thaw_virtio_mmio_activate(mmio, err);
	if (rc == 0 && ops->restore)
		rc = ops->restore(mmio->virtio.device, in, mmio->virtio.active, err);
	if (rc < 0)
		mmio->virtio.active = false;
	return rc;
}

int thaw_virtio_mmio_restore(struct thaw_virtio_mmio *mmio, const Thaw__Snapshot__Device *in,
			     struct thaw_error *err)
{
	int rc = mmio_restore(mmio, in, err);

	return rc < 0 ? thaw_error_wrap(err, "%s device", mmio->virtio.ops->name) : 0;
}
