/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/mmio.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/error.h"
#include "lib/log.h"
#include "vmm/loop.h"
#include "vmm/virtio/mmio_private.h"

#define MMIO_MAGIC   0x74726976u /* "virt" */
#define MMIO_VERSION 2u
#define MMIO_VENDOR  0x77616854u /* "Thaw" */
/* Not in this kernel's header: the selected queue's reset, which is not offered. */
#define MMIO_QUEUE_RESET 0x0c0u

/* A guest that breaks the rules in a loop must not fill the host's log. */
#define WARNINGS_MAX 8u

static struct thaw_virtio_mmio *mmio_of(struct thaw_virtio_device *virtio)
{
	return (struct thaw_virtio_mmio *)((char *)virtio -
					   offsetof(struct thaw_virtio_mmio, virtio));
}

uint64_t thaw_virtio_mmio_features(const struct thaw_virtio_mmio *mmio)
{
	const struct thaw_virtio_ops *ops = mmio->virtio.ops;

	return (1ull << VIRTIO_F_VERSION_1) | (1ull << VIRTIO_RING_F_EVENT_IDX) |
	       (ops->features ? ops->features(mmio->virtio.device) : 0);
}

/* An eventfd takes a write until its counter is full, which nobody lives to see. */
static void event_raise(int fd)
{
	const uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one));

	(void)n;
}

static void mmio_interrupt(struct thaw_virtio_mmio *mmio, uint32_t cause)
{
	mmio->interrupt_status |= cause;
	event_raise(mmio->irq_fd);
}

bool thaw_virtio_signal(struct thaw_virtio_device *virtio, unsigned int index)
{
	if (!virtio->active || !thaw_virtqueue_wants_signal(&virtio->queue[index]))
		return false;
	mmio_interrupt(mmio_of(virtio), VIRTIO_MMIO_INT_VRING);
	return true;
}

void thaw_virtio_kick_later(struct thaw_virtio_device *virtio, unsigned int index)
{
	event_raise(mmio_of(virtio)->kicks[index].source.fd);
}

void thaw_virtio_fail(struct thaw_virtio_device *virtio, const char *format, ...)
{
	struct thaw_virtio_mmio *mmio = mmio_of(virtio);
	struct thaw_error err;
	char text[512];
	va_list args;

	if (mmio->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	virtio->active = false;
	mmio->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	/* 2.1.2: the driver is told, if it had got as far as to listen. */
	if (mmio->status & VIRTIO_CONFIG_S_DRIVER_OK)
		mmio_interrupt(mmio, VIRTIO_MMIO_INT_CONFIG);
	if (mmio->warnings == WARNINGS_MAX)
		return;
	mmio->warnings++;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	thaw_error_set(&err, EPROTO, "%s", text);
	thaw_log(THAW_LOG_WARN, "%s: the guest's driver broke the rules, device stopped: %s%s",
		 virtio->ops->name, err.message,
		 mmio->warnings == WARNINGS_MAX ? " (the last time this is said)" : "");
}

static void mmio_kick(struct thaw_virtio_mmio *mmio, uint32_t index)
{
	struct thaw_virtio_device *virtio = &mmio->virtio;

	if (virtio->active && index < virtio->ops->queues && virtio->queue[index].ready)
		virtio->ops->kick(virtio->device, index);
}

static void mmio_kick_handle(void *opaque, uint32_t events)
{
	struct mmio_kick *kick = opaque;

	(void)events;
	mmio_kick(kick->mmio, kick->index);
}

/* A vCPU leaves the work to the I/O thread: its own filter of system calls allows little. */
static void mmio_notify(struct thaw_virtio_mmio *mmio, uint32_t index)
{
	if (index < mmio->virtio.ops->queues)
		thaw_virtio_kick_later(&mmio->virtio, index);
}

static void mmio_notify_all(struct thaw_virtio_mmio *mmio)
{
	for (unsigned int i = 0; i < mmio->virtio.ops->queues; i++)
		mmio_notify(mmio, i);
}

static void mmio_queues_clear(struct thaw_virtio_mmio *mmio)
{
	for (unsigned int i = 0; i < THAW_VIRTIO_QUEUES_MAX; i++) {
		mmio->virtio.queue[i] = (struct thaw_virtqueue){
			.memory = mmio->virtio.memory,
			.size_max = mmio->virtio.ops->queue_size_max,
		};
	}
}

static void mmio_reset(struct thaw_virtio_mmio *mmio)
{
	struct thaw_virtio_device *virtio = &mmio->virtio;

	/* Not active first: what ends now is no longer for the driver to hear of. */
	virtio->active = false;
	if (virtio->ops->reset)
		virtio->ops->reset(virtio->device);
	virtio->features = 0;
	mmio->status = 0;
	mmio->driver_features = 0;
	mmio->features_select = mmio->driver_features_select = 0;
	mmio->queue_select = 0;
	mmio->interrupt_status = 0;
	mmio_queues_clear(mmio);
}

int thaw_virtio_mmio_activate(struct thaw_virtio_mmio *mmio, struct thaw_error *err)
{
	struct thaw_virtio_device *virtio = &mmio->virtio;

	for (unsigned int i = 0; i < virtio->ops->queues; i++) {
		struct thaw_virtqueue *queue = &virtio->queue[i];
		queue->event_idx = virtio->features & (1ull << VIRTIO_RING_F_EVENT_IDX);
		if (!queue->ready)
			continue;
		int rc = thaw_virtqueue_check(queue, err);
		if (rc < 0)
			return thaw_error_wrap(err, "queue %u", i);
	}
	virtio->active = true;
	return 0;
}

static void mmio_driver_ok(struct thaw_virtio_mmio *mmio)
{
	struct thaw_virtio_device *virtio = &mmio->virtio;
	struct thaw_error err;
	int rc = thaw_virtio_mmio_activate(mmio, &err);

	if (rc == 0 && virtio->ops->activate)
		rc = virtio->ops->activate(virtio->device, &err);
	if (rc < 0)
		thaw_virtio_fail(virtio, "%s", err.message);
	else /* buffers made available before DRIVER_OK may have had no kick */
		mmio_notify_all(mmio);
}

/* 3.1.1: ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK in this order, each adding a bit. */
static void mmio_write_status(struct thaw_virtio_mmio *mmio, uint32_t value)
{
	uint32_t added = value & ~mmio->status & MMIO_STATUS_KNOWN & ~VIRTIO_CONFIG_S_NEEDS_RESET;

	if (value == 0) {
		mmio_reset(mmio);
		return;
	}
	if (mmio->status & (VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED))
		return; /* only a reset leads out */
	if (added & VIRTIO_CONFIG_S_FAILED) {
		mmio->status |= VIRTIO_CONFIG_S_FAILED;
		mmio->virtio.active = false;
		return;
	}
	mmio->status |= added & MMIO_STATUS_SETUP;
	if (added & VIRTIO_CONFIG_S_FEATURES_OK) {
		uint64_t wanted = mmio->driver_features;
		/* Refused features leave the bit clear, and the driver reads it back (2.2.2). */
		if ((mmio->status & MMIO_STATUS_SETUP) == MMIO_STATUS_SETUP &&
		    !(wanted & ~thaw_virtio_mmio_features(mmio)) &&
		    (wanted & (1ull << VIRTIO_F_VERSION_1))) {
			mmio->virtio.features = wanted;
			mmio->status |= VIRTIO_CONFIG_S_FEATURES_OK;
		}
	}
	if (added & VIRTIO_CONFIG_S_DRIVER_OK) {
		if (!(mmio->status & VIRTIO_CONFIG_S_FEATURES_OK)) {
			thaw_virtio_fail(&mmio->virtio, "DRIVER_OK without FEATURES_OK");
			return;
		}
		mmio->status |= VIRTIO_CONFIG_S_DRIVER_OK;
		mmio_driver_ok(mmio);
	}
}

static struct thaw_virtqueue *mmio_queue(struct thaw_virtio_mmio *mmio)
{
	if (mmio->queue_select >= mmio->virtio.ops->queues)
		return NULL;
	return &mmio->virtio.queue[mmio->queue_select];
}

static uint32_t mmio_read_register(struct thaw_virtio_mmio *mmio, uint64_t offset)
{
	const struct thaw_virtqueue *queue = mmio_queue(mmio);

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MMIO_MAGIC;
	case VIRTIO_MMIO_VERSION:
		return MMIO_VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return mmio->virtio.ops->device_id;
	case VIRTIO_MMIO_VENDOR_ID:
		return MMIO_VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return mmio->features_select > 1 ? 0
						 : (uint32_t)(thaw_virtio_mmio_features(mmio) >>
							      (32 * mmio->features_select));
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return queue ? queue->size_max : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return queue && queue->ready;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return mmio->interrupt_status;
	case VIRTIO_MMIO_STATUS:
		return mmio->status;
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX;          /* no shared memory region (4.2.2) */
	case VIRTIO_MMIO_CONFIG_GENERATION: /* no configuration ever changes */
	case MMIO_QUEUE_RESET:
	default:
		return 0;
	}
}

static void set_low(gpa_t *address, uint32_t value)
{
	*address = (*address & 0xffffffff00000000ull) | value;
}

static void set_high(gpa_t *address, uint32_t value)
{
	*address = (*address & 0xffffffffull) | ((uint64_t)value << 32);
}

static void mmio_write_queue_ready(struct thaw_virtio_mmio *mmio, struct thaw_virtqueue *queue,
				   uint32_t value)
{
	struct thaw_error err;

	if (!(value & 1)) {
		queue->ready = false;
		return;
	}
	if (queue->ready)
		return;
	if (thaw_virtqueue_check(queue, &err) < 0)
		thaw_virtio_fail(&mmio->virtio, "queue %u: %s", mmio->queue_select, err.message);
	else
		queue->ready = true;
}

/* The selected queue's set-up. Frozen before FEATURES_OK, from DRIVER_OK, and (but for QueueReady)
 * while the queue is ready. */
static void mmio_write_queue(struct thaw_virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
	const uint32_t mask = VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK |
			      VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED;
	struct thaw_virtqueue *queue = mmio_queue(mmio);

	if (!queue || (mmio->status & mask) != VIRTIO_CONFIG_S_FEATURES_OK)
		return;
	if (offset == VIRTIO_MMIO_QUEUE_READY) {
		mmio_write_queue_ready(mmio, queue, value);
		return;
	}
	if (queue->ready)
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		/* A size that does not fit becomes 0, which QueueReady refuses. */
		queue->size = value <= queue->size_max ? (uint16_t)value : 0;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
		set_low(&queue->desc, value);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_high(&queue->desc, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
		set_low(&queue->avail, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_high(&queue->avail, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
		set_low(&queue->used, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_high(&queue->used, value);
		break;
	}
}

static void mmio_write_features(struct thaw_virtio_mmio *mmio, uint32_t value)
{
	unsigned int shift = 32 * mmio->driver_features_select;

	if (mmio->driver_features_select > 1) {
		/* No bit above 63 is offered: taking one up is refused at FEATURES_OK, which a set
		 * bit 63, offered by nobody either, brings about. */
		if (value && !(mmio->status & VIRTIO_CONFIG_S_FEATURES_OK))
			mmio->driver_features |= 1ull << 63;
		return;
	}
	if (!(mmio->status & VIRTIO_CONFIG_S_DRIVER) ||
	    (mmio->status & VIRTIO_CONFIG_S_FEATURES_OK))
		return;
	mmio->driver_features &= ~(0xffffffffull << shift);
	mmio->driver_features |= (uint64_t)value << shift;
}

static void mmio_write_register(struct thaw_virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		mmio->features_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		mmio_write_features(mmio, value);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		mmio->driver_features_select = value;
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		mmio->queue_select = value;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		mmio_notify(mmio, value);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		mmio->interrupt_status &= ~value;
		break;
	case VIRTIO_MMIO_STATUS:
		mmio_write_status(mmio, value);
		break;
	default:
		mmio_write_queue(mmio, offset, value);
		break;
	}
}

/* Whether an access lies in the configuration space of the device; its offset there. */
static bool mmio_config(const struct thaw_virtio_mmio *mmio, uint64_t offset, unsigned int size,
			uint32_t *at)
{
	uint32_t config_size = mmio->virtio.ops->config_size;

	if (offset < VIRTIO_MMIO_CONFIG || offset - VIRTIO_MMIO_CONFIG >= config_size)
		return false;
	*at = (uint32_t)(offset - VIRTIO_MMIO_CONFIG);
	return size <= config_size - *at;
}

static void mmio_bus_read(void *device, uint64_t offset, void *data, unsigned int size)
{
	struct thaw_virtio_mmio *mmio = device;
	uint32_t at;

	memset(data, 0, size);
	if (mmio_config(mmio, offset, size, &at)) {
		if (mmio->virtio.ops->config_read)
			mmio->virtio.ops->config_read(mmio->virtio.device, at, data, size);
	} else if (offset < VIRTIO_MMIO_CONFIG && size == 4 && offset % 4 == 0) {
		uint32_t value = mmio_read_register(mmio, offset);
		memcpy(data, &value, sizeof(value));
	}
}

static void mmio_bus_write(void *device, uint64_t offset, const void *data, unsigned int size)
{
	struct thaw_virtio_mmio *mmio = device;
	uint32_t at;

	if (mmio_config(mmio, offset, size, &at)) {
		if (mmio->virtio.ops->config_write)
			mmio->virtio.ops->config_write(mmio->virtio.device, at, data, size);
	} else if (offset < VIRTIO_MMIO_CONFIG && size == 4 && offset % 4 == 0) {
		uint32_t value;
		memcpy(&value, data, sizeof(value));
		mmio_write_register(mmio, offset, value);
	}
}

const struct thaw_bus_ops thaw_virtio_mmio_bus_ops = {
	.read = mmio_bus_read,
	.write = mmio_bus_write,
};

static int mmio_kicks_create(struct thaw_virtio_mmio *mmio, struct thaw_error *err)
{
	for (unsigned int i = 0; i < mmio->virtio.ops->queues; i++) {
		struct mmio_kick *kick = &mmio->kicks[i];
		int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fd < 0)
			return thaw_error_errno(err, errno, "%s: making an event descriptor",
						mmio->virtio.ops->name);
		/* Edge-triggered: each kick is one event, and need not be read off: one system
		 * call less for each. */
		kick->source = (struct thaw_source){
			.fd = fd,
			.events = EPOLLIN | EPOLLET,
			.handle = mmio_kick_handle,
			.opaque = kick,
			.locked = true,
		};
		int rc = thaw_loop_add(mmio->virtio.loop, &kick->source, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void mmio_kicks_destroy(struct thaw_virtio_mmio *mmio)
{
	for (unsigned int i = 0; i < THAW_VIRTIO_QUEUES_MAX; i++) {
		struct thaw_source *source = &mmio->kicks[i].source;
		thaw_loop_remove(mmio->virtio.loop, source);
		if (source->fd >= 0)
			close(source->fd);
	}
}

int thaw_virtio_mmio_create(struct thaw_virtio_mmio **out, const struct thaw_virtio_ops *ops,
			    void *device, struct thaw_memory *memory, struct thaw_loop *loop,
			    int irq_fd, struct thaw_error *err)
{
	struct thaw_virtio_mmio *mmio = calloc(1, sizeof(*mmio));
	int rc;

	if (!mmio) {
		ops->destroy(device);
		close(irq_fd);
		return thaw_error_errno(err, ENOMEM, "making a %s device", ops->name);
	}
	mmio->virtio = (struct thaw_virtio_device){
		.ops = ops, .device = device, .memory = memory, .loop = loop};
	mmio->irq_fd = irq_fd;
	for (unsigned int i = 0; i < THAW_VIRTIO_QUEUES_MAX; i++) {
		mmio->kicks[i].mmio = mmio;
		mmio->kicks[i].index = i;
		mmio->kicks[i].source.fd = -1;
	}
	mmio_queues_clear(mmio);
	rc = mmio_kicks_create(mmio, err);
	if (rc < 0) {
		thaw_virtio_mmio_destroy(mmio);
		return rc;
	}
	ops->attach(device, &mmio->virtio);
	*out = mmio;
	return 0;
}

void thaw_virtio_mmio_destroy(struct thaw_virtio_mmio *mmio)
{
	if (!mmio)
		return;
	mmio->virtio.active = false;
	mmio->virtio.ops->destroy(mmio->virtio.device);
	mmio_kicks_destroy(mmio);
	close(mmio->irq_fd);
	free(mmio);
}

unsigned int thaw_virtio_mmio_queues(const struct thaw_virtio_mmio *mmio)
{
	return mmio->virtio.ops->queues;
}

int thaw_virtio_mmio_kick_fd(const struct thaw_virtio_mmio *mmio, unsigned int index)
{
	return index < mmio->virtio.ops->queues ? mmio->kicks[index].source.fd : -1;
}

const struct thaw_virtio_device *thaw_virtio_mmio_device(const struct thaw_virtio_mmio *mmio)
{
	return &mmio->virtio;
}

void thaw_virtio_mmio_drain(struct thaw_virtio_mmio *mmio)
{
	if (mmio->virtio.ops->drain)
		mmio->virtio.ops->drain(mmio->virtio.device);
}

void thaw_virtio_mmio_resume(struct thaw_virtio_mmio *mmio)
{
	if (mmio->interrupt_status)
		event_raise(mmio->irq_fd);
	for (unsigned int i = 0; i < mmio->virtio.ops->queues; i++)
		mmio_kick(mmio, i);
}
