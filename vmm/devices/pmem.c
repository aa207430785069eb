/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/pmem.h"

#include <errno.h>
#include <linux/virtio_pmem.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "proto/snapshot.pb-c.h"

#define PMEM_QUEUE_SIZE 16u

struct thaw_pmem {
	struct thaw_virtio_device *virtio;
	struct virtio_pmem_config config;
};

int thaw_pmem_create(struct thaw_pmem **out, gpa_t start, uint64_t size, struct thaw_error *err)
{
	struct thaw_pmem *pmem;
	uint64_t end;

	if (size == 0 || start % THAW_PAGE_SIZE || size % THAW_PAGE_SIZE ||
	    __builtin_add_overflow(start, size, &end))
		return thaw_error_set(err, EINVAL, "pmem region 0x%llx + 0x%llx",
				      (unsigned long long)start, (unsigned long long)size);
	pmem = calloc(1, sizeof(*pmem));
	if (!pmem)
		return thaw_error_errno(err, ENOMEM, "making a pmem device");
	pmem->config = (struct virtio_pmem_config){.start = start, .size = size};
	*out = pmem;
	return 0;
}

static void pmem_attach(void *device, struct thaw_virtio_device *virtio)
{
	struct thaw_pmem *pmem = device;

	pmem->virtio = virtio;
}

static void pmem_config_read(void *device, uint32_t offset, void *data, unsigned int size)
{
	const struct thaw_pmem *pmem = device;

	memcpy(data, (const uint8_t *)&pmem->config + offset, size);
}

static int pmem_answer(void *device, const struct thaw_chain *chain, uint32_t *written,
		       struct thaw_error *err)
{
	struct virtio_pmem_req request;
	struct virtio_pmem_resp response;

	(void)device;
	if (thaw_chain_read(chain, 0, &request, sizeof(request)) != sizeof(request))
		return thaw_error_set(err, EPROTO, "a request of %llu bytes",
				      (unsigned long long)chain->readable_size);
	response.ret = request.type == VIRTIO_PMEM_REQ_TYPE_FLUSH ? 0 : 1;
	if (thaw_chain_write(chain, 0, &response, sizeof(response)) != sizeof(response))
		return thaw_error_set(err, EPROTO, "room for %llu bytes of answer",
				      (unsigned long long)chain->writable_size);
	*written = sizeof(response);
	return 0;
}

static void pmem_kick(void *device, unsigned int index)
{
	struct thaw_pmem *pmem = device;

	thaw_virtio_serve(pmem->virtio, index, pmem_answer);
}

static int pmem_save(void *device, Thaw__Snapshot__Device *out, struct thaw_error *err)
{
	const struct thaw_pmem *pmem = device;
	Thaw__Snapshot__Pmem *state = malloc(sizeof(*state));

	if (!state)
		return thaw_error_errno(err, ENOMEM, "saving the pmem device");
	thaw__snapshot__pmem__init(state);
	state->start = pmem->config.start;
	state->size = pmem->config.size;
	out->virtio->device_case = THAW__SNAPSHOT__VIRTIO__DEVICE_PMEM;
	out->virtio->pmem = state;
	return 0;
}

static int pmem_restore(void *device, const Thaw__Snapshot__Device *in, bool active,
			struct thaw_error *err)
{
	const struct thaw_pmem *pmem = device;
	const Thaw__Snapshot__Virtio *virtio = in->virtio;

	(void)active;
	if (virtio->device_case != THAW__SNAPSHOT__VIRTIO__DEVICE_PMEM || !virtio->pmem)
		return thaw_error_set(err, EPROTO, "the region is missing from the state");
	if (virtio->pmem->start != pmem->config.start || virtio->pmem->size != pmem->config.size)
		return thaw_error_set(err, EPROTO,
				      "the snapshot's drive is 0x%llx bytes at 0x%llx, this one "
				      "0x%llx at 0x%llx",
				      (unsigned long long)virtio->pmem->size,
				      (unsigned long long)virtio->pmem->start,
				      (unsigned long long)pmem->config.size,
				      (unsigned long long)pmem->config.start);
	return 0;
}

static void pmem_destroy(void *device)
{
	free(device);
}

const struct thaw_virtio_ops thaw_pmem_ops = {
	.name = "pmem",
	.device_id = VIRTIO_ID_PMEM,
	.queues = 1,
	.queue_size_max = PMEM_QUEUE_SIZE,
	.config_size = sizeof(struct virtio_pmem_config),
	.attach = pmem_attach,
	.config_read = pmem_config_read,
	.kick = pmem_kick,
	.save = pmem_save,
	.restore = pmem_restore,
	.destroy = pmem_destroy,
};
