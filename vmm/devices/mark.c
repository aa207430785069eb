/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/mark.h"

#include <stddef.h>

static void mark_write(void *device, uint64_t offset, const void *data, unsigned int size)
{
	const struct thaw_mark *mark = device;

	(void)offset;
	if (size == 1)
		mark->handle(mark->opaque, *(const uint8_t *)data);
}

const struct thaw_bus_ops thaw_mark_bus_ops = {
	.read = NULL,
	.write = mark_write,
};
