/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/virtio_driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/clock.h"

void driver_create(struct driver *driver)
{
	struct thaw_error err;

	*driver = (struct driver){.heap = THAW_PAGE_SIZE, .irq_fd = -1};
	assert_int_equal(thaw_memory_create(&driver->memory, DRIVER_MEMORY, false, &err), 0);
	assert_int_equal(thaw_loop_create(&driver->loop, &err), 0);
}

void driver_attach(struct driver *driver, const struct thaw_virtio_ops *ops, void *device)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct thaw_error err;

	assert_true(fd >= 0);
	driver->irq_fd = dup(fd);
	assert_int_equal(thaw_virtio_mmio_create(&driver->mmio, ops, device, &driver->memory,
						 &driver->loop, fd, &err),
			 0);
}

void driver_detach(struct driver *driver)
{
	thaw_virtio_mmio_destroy(driver->mmio);
	driver->mmio = NULL;
	if (driver->irq_fd >= 0)
		close(driver->irq_fd);
	driver->irq_fd = -1;
}

void driver_destroy(struct driver *driver)
{
	driver_detach(driver);
	thaw_loop_destroy(&driver->loop);
	thaw_memory_destroy(&driver->memory);
}

uint32_t driver_read(struct driver *driver, uint64_t offset)
{
	uint32_t value = 0;

	thaw_virtio_mmio_bus_ops.read(driver->mmio, offset, &value, sizeof(value));
	return value;
}

void driver_write(struct driver *driver, uint64_t offset, uint32_t value)
{
	thaw_virtio_mmio_bus_ops.write(driver->mmio, offset, &value, sizeof(value));
}

uint32_t driver_status(struct driver *driver)
{
	return driver_read(driver, VIRTIO_MMIO_STATUS);
}

bool driver_negotiate(struct driver *driver, uint64_t features)
{
	uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE;

	driver_write(driver, VIRTIO_MMIO_STATUS, 0);
	driver_write(driver, VIRTIO_MMIO_STATUS, status);
	driver_write(driver, VIRTIO_MMIO_STATUS, status |= VIRTIO_CONFIG_S_DRIVER);
	for (uint32_t i = 0; i < 2; i++) {
		driver_write(driver, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		driver_write(driver, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> (32 * i)));
	}
	driver_write(driver, VIRTIO_MMIO_STATUS, status | VIRTIO_CONFIG_S_FEATURES_OK);
	return driver_status(driver) & VIRTIO_CONFIG_S_FEATURES_OK;
}

void driver_queue_setup(struct driver *driver, unsigned int index, uint16_t size)
{
	driver->queue[index] = (struct driver_queue){
		.size = size,
		.desc = driver_alloc(driver, 16ull * size, 16),
		.avail = driver_alloc(driver, 6 + 2ull * size, 2),
		.used = driver_alloc(driver, 6 + 8ull * size, 4),
	};
	driver_queue_write(driver, index);
}

void driver_queue_write(struct driver *driver, unsigned int index)
{
	const struct driver_queue *queue = &driver->queue[index];

	driver_write(driver, VIRTIO_MMIO_QUEUE_SEL, index);
	driver_write(driver, VIRTIO_MMIO_QUEUE_NUM, queue->size);
	driver_write(driver, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)queue->desc);
	driver_write(driver, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(queue->desc >> 32));
	driver_write(driver, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)queue->avail);
	driver_write(driver, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(queue->avail >> 32));
	driver_write(driver, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)queue->used);
	driver_write(driver, VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(queue->used >> 32));
	driver_write(driver, VIRTIO_MMIO_QUEUE_READY, 1);
}

void driver_ok(struct driver *driver)
{
	driver_write(driver, VIRTIO_MMIO_STATUS, driver_status(driver) | VIRTIO_CONFIG_S_DRIVER_OK);
}

void driver_start(struct driver *driver, uint64_t features)
{
	assert_true(driver_negotiate(driver, features | (1ull << VIRTIO_F_VERSION_1)));
	for (unsigned int i = 0; i < thaw_virtio_mmio_queues(driver->mmio); i++) {
		driver_write(driver, VIRTIO_MMIO_QUEUE_SEL, i);
		uint32_t max = driver_read(driver, VIRTIO_MMIO_QUEUE_NUM_MAX);
		driver_queue_setup(driver, i, max < DRIVER_QUEUE ? (uint16_t)max : DRIVER_QUEUE);
		assert_int_equal(driver_read(driver, VIRTIO_MMIO_QUEUE_READY), 1);
	}
	driver_ok(driver);
	assert_int_equal(driver_status(driver),
			 VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
				 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
}

gpa_t driver_alloc(struct driver *driver, uint64_t size, uint64_t align)
{
	gpa_t gpa = (driver->heap + align - 1) & ~(align - 1);

	/* Long tests go round; the first page, and rings made early, lie below. */
	if (gpa + size > DRIVER_MEMORY)
		gpa = DRIVER_MEMORY / 2;
	assert_true(gpa + size <= DRIVER_MEMORY);
	driver->heap = gpa + size;
	return gpa;
}

void *driver_at(struct driver *driver, gpa_t gpa)
{
	return driver->memory.base + gpa;
}

struct vring_desc *driver_desc(struct driver *driver, unsigned int index, uint16_t i)
{
	return (struct vring_desc *)driver_at(driver, driver->queue[index].desc) + i;
}

uint16_t *driver_avail_idx(struct driver *driver, unsigned int index)
{
	return driver_at(driver, driver->queue[index].avail + 2);
}

void driver_publish(struct driver *driver, unsigned int index, uint16_t head)
{
	struct driver_queue *queue = &driver->queue[index];
	uint16_t *ring = driver_at(driver, queue->avail + 4);

	ring[queue->avail_idx % queue->size] = head;
	queue->avail_idx++;
	__atomic_store_n(driver_avail_idx(driver, index), queue->avail_idx, __ATOMIC_RELEASE);
}

uint16_t driver_add(struct driver *driver, unsigned int index, struct driver_buffer *buffers,
		    unsigned int readable, unsigned int writable)
{
	struct driver_queue *queue = &driver->queue[index];
	uint16_t head = queue->next_desc;

	for (unsigned int i = 0; i < readable + writable; i++) {
		struct driver_buffer *buffer = &buffers[i];
		uint16_t at = queue->next_desc;
		queue->next_desc = (uint16_t)((at + 1) % queue->size);
		if (!buffer->gpa)
			buffer->gpa = driver_alloc(driver, buffer->size, 8);
		if (buffer->out)
			memcpy(driver_at(driver, buffer->gpa), buffer->out, buffer->size);
		*driver_desc(driver, index, at) = (struct vring_desc){
			.addr = buffer->gpa,
			.len = buffer->size,
			.flags = (uint16_t)((i >= readable ? VRING_DESC_F_WRITE : 0) |
					    (i + 1 < readable + writable ? VRING_DESC_F_NEXT : 0)),
			.next = queue->next_desc,
		};
	}
	driver_publish(driver, index, head);
	return head;
}

void driver_kick(struct driver *driver, unsigned int index)
{
	driver_write(driver, VIRTIO_MMIO_QUEUE_NOTIFY, index);
	if (!driver->served)
		driver_turn(driver, 0);
}

bool driver_used(struct driver *driver, unsigned int index, uint16_t *head, uint32_t *size)
{
	struct driver_queue *queue = &driver->queue[index];
	const uint16_t *idx = driver_at(driver, queue->used + 2);
	const struct vring_used_elem *ring = driver_at(driver, queue->used + 4);

	if (__atomic_load_n(idx, __ATOMIC_ACQUIRE) == queue->last_used)
		return false;
	*head = (uint16_t)ring[queue->last_used % queue->size].id;
	*size = ring[queue->last_used % queue->size].len;
	queue->last_used++;
	return true;
}

uint32_t driver_interrupt(struct driver *driver)
{
	uint64_t count;
	uint32_t status;

	if (read(driver->irq_fd, &count, sizeof(count)) != sizeof(count))
		return 0;
	status = driver_read(driver, VIRTIO_MMIO_INTERRUPT_STATUS);
	driver_write(driver, VIRTIO_MMIO_INTERRUPT_ACK, status);
	return status;
}

bool driver_turn(struct driver *driver, int ms)
{
	uint64_t end = thaw_monotonic_ns() + (uint64_t)ms * 1000000u;
	int rc;

	/* io_uring's completions interrupt a wait: that is not its end. */
	do {
		rc = thaw_loop_turn(&driver->loop, ms);
	} while (rc == 0 && ms > 0 && thaw_monotonic_ns() < end);
	return rc > 0;
}

void driver_settle(struct driver *driver)
{
	/* A device that never comes to rest is a failure of its own. */
	for (unsigned int i = 0; driver_turn(driver, 0); i++)
		assert_true(i < 100000);
}

Thaw__Snapshot__Device *driver_save(struct driver *driver)
{
	Thaw__Snapshot__Device state = THAW__SNAPSHOT__DEVICE__INIT;
	struct thaw_error err;

	/* On the heap, as the machine has it: free_unpacked releases the message itself too. */
	Thaw__Snapshot__Device *saved = malloc(sizeof(*saved));
	assert_non_null(saved);
	*saved = state;
	assert_int_equal(thaw_virtio_mmio_save(driver->mmio, saved, &err), 0);
	size_t size = thaw__snapshot__device__get_packed_size(saved);
	uint8_t *packed = malloc(size);
	assert_non_null(packed);
	thaw__snapshot__device__pack(saved, packed);
	thaw__snapshot__device__free_unpacked(saved, NULL);
	saved = thaw__snapshot__device__unpack(NULL, size, packed);
	assert_non_null(saved);
	free(packed);
	return saved;
}

int driver_snapshot(struct driver *driver, void *device, struct thaw_error *err)
{
	const struct thaw_virtio_ops *ops = thaw_virtio_mmio_device(driver->mmio)->ops;
	Thaw__Snapshot__Device *state = driver_save(driver);

	driver_detach(driver);
	driver_attach(driver, ops, device);
	int rc = thaw_virtio_mmio_restore(driver->mmio, state, err);
	if (rc == 0)
		thaw_virtio_mmio_resume(driver->mmio);
	thaw__snapshot__device__free_unpacked(state, NULL);
	return rc;
}
