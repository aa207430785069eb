/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses to devices: one bus for MMIO, one for port I/O. Accesses come from vCPU threads, with
 * the machine's device lock held, so that a device never runs twice at once.
 */
#ifndef THAW_VMM_BUS_H
#define THAW_VMM_BUS_H

#include <stddef.h>
#include <stdint.h>

struct thaw_error;

/* `offset` lies within the region and offset + size too; size is 1, 2, 4 or 8. */
struct thaw_bus_ops {
	void (*read)(void *device, uint64_t offset, void *data, unsigned int size);
	void (*write)(void *device, uint64_t offset, const void *data, unsigned int size);
};

#define THAW_BUS_REGIONS_MAX 32

struct thaw_bus {
	struct thaw_bus_region {
		uint64_t base, size;
		const struct thaw_bus_ops *ops;
		void *device;
	} regions[THAW_BUS_REGIONS_MAX];
	size_t count;
};

/* -EEXIST when the region overlaps another, -ENOSPC when the bus is full. */
int thaw_bus_add(struct thaw_bus *bus, uint64_t base, uint64_t size, const struct thaw_bus_ops *ops,
		 void *device, struct thaw_error *err);

/* An access where no device is reads as all ones and writes to nothing, as on a PC. */
void thaw_bus_read(struct thaw_bus *bus, uint64_t address, void *data, unsigned int size);
void thaw_bus_write(struct thaw_bus *bus, uint64_t address, const void *data, unsigned int size);

#endif
