/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/bus.h"

#include <errno.h>
#include <string.h>

#include "lib/error.h"

int thaw_bus_add(struct thaw_bus *bus, uint64_t base, uint64_t size, const struct thaw_bus_ops *ops,
		 void *device, struct thaw_error *err)
{
	for (size_t i = 0; i < bus->count; i++) {
		const struct thaw_bus_region *r = &bus->regions[i];
		if (base < r->base + r->size && r->base < base + size)
			return thaw_error_set(err, EEXIST, "two devices at address 0x%llx",
					      (unsigned long long)base);
	}
	if (bus->count == THAW_BUS_REGIONS_MAX)
		return thaw_error_set(err, ENOSPC, "more than %d device regions",
				      THAW_BUS_REGIONS_MAX);
	bus->regions[bus->count++] = (struct thaw_bus_region){base, size, ops, device};
	return 0;
}

static struct thaw_bus_region *bus_find(struct thaw_bus *bus, uint64_t address, unsigned int size)
{
	for (size_t i = 0; i < bus->count; i++) {
		struct thaw_bus_region *r = &bus->regions[i];
		if (address >= r->base && address - r->base < r->size &&
		    size <= r->size - (address - r->base))
			return r;
	}
	return NULL;
}

void thaw_bus_read(struct thaw_bus *bus, uint64_t address, void *data, unsigned int size)
{
	struct thaw_bus_region *r = bus_find(bus, address, size);

	memset(data, 0xff, size);
	if (r && r->ops->read)
		r->ops->read(r->device, address - r->base, data, size);
}

void thaw_bus_write(struct thaw_bus *bus, uint64_t address, const void *data, unsigned int size)
{
	struct thaw_bus_region *r = bus_find(bus, address, size);

	if (r && r->ops->write)
		r->ops->write(r->device, address - r->base, data, size);
}
