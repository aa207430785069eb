/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/rng.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <sys/random.h>

#include "lib/error.h"

#define RNG_QUEUE_SIZE 8u
/* The device may give less than was asked for; a request must not hold the device lock for long. */
#define RNG_REQUEST_MAX 65536u

struct thaw_rng {
	struct thaw_virtio_device *virtio;
};

int thaw_rng_create(struct thaw_rng **out, struct thaw_error *err)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : thaw_error_errno(err, ENOMEM, "making an rng device");
}

static void rng_attach(void *device, struct thaw_virtio_device *virtio)
{
	struct thaw_rng *rng = device;

	rng->virtio = virtio;
}

static int rng_answer(void *device, const struct thaw_chain *chain, uint32_t *written,
		      struct thaw_error *err)
{
	struct iovec iov[THAW_VIRTQUEUE_SIZE_MAX];
	unsigned int count = thaw_chain_writable(chain, 0, RNG_REQUEST_MAX, iov);

	(void)device;
	if (chain->readable || !chain->writable)
		return thaw_error_set(err, EPROTO, "a request that is not for bytes");
	for (unsigned int i = 0; i < count; i++) {
		/* Short when a signal came: then this is what the driver gets. */
		ssize_t n = getrandom(iov[i].iov_base, iov[i].iov_len, 0);
		if (n > 0)
			*written += (uint32_t)n;
		if (n != (ssize_t)iov[i].iov_len)
			break;
	}
	return 0;
}

static void rng_kick(void *device, unsigned int index)
{
	struct thaw_rng *rng = device;

	thaw_virtio_serve(rng->virtio, index, rng_answer);
}

static void rng_destroy(void *device)
{
	free(device);
}

const struct thaw_virtio_ops thaw_rng_ops = {
	.name = "rng",
	.device_id = VIRTIO_ID_RNG,
	.queues = 1,
	.queue_size_max = RNG_QUEUE_SIZE,
	.attach = rng_attach,
	.kick = rng_kick,
	.destroy = rng_destroy,
};
