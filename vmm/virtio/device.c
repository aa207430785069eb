/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/device.h"

#include "lib/error.h"

void thaw_virtio_serve(struct thaw_virtio_device *virtio, unsigned int index,
		       thaw_virtio_answer *answer)
{
	struct thaw_virtqueue *queue = &virtio->queue[index];
	struct thaw_chain chain;
	struct thaw_error err;
	uint32_t written;
	int rc;

	for (unsigned int turns = 0;; turns++) {
		/* A driver that adds as fast as we answer must not keep the device lock for ever.
		 */
		if (turns > queue->size) {
			thaw_virtio_kick_later(virtio, index);
			break;
		}
		rc = thaw_virtqueue_take(queue, &chain, &err);
		if (rc == 0 && !thaw_virtqueue_rearm(queue))
			break;
		if (rc > 0) {
			written = 0;
			rc = answer(virtio->device, &chain, &written, &err);
			if (rc == 0)
				rc = thaw_virtqueue_give(queue, chain.head, written, &err);
		}
		if (rc < 0) {
			thaw_virtio_fail(virtio, "%s", err.message);
			return;
		}
	}
	thaw_virtio_signal(virtio, index);
}
