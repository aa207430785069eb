/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that does anything: guest memory and a script of register accesses, memory writes,
 * kicks and host events come from the input, and every device has to live through it.
 *
 *	byte 0          which device, whether a well-behaved handshake comes first, and limits
 *	then            commands of one byte with operands, see `step`
 *
 * Memory is small and rings lie at fixed places within it, so that the input finds them. In the
 * middle of a script the device may be restored from a state that is not what was saved: a hostile
 * snapshot of a guest with work under way, which then goes on. When a script is over the device is
 * saved, restored into a new one and resumed, as a guest would be.
 */
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "proto/snapshot.pb-c.h"
#include "proto/vmm.pb-c.h"
#include "vmm/devices/block.h"
#include "vmm/devices/net.h"
#include "vmm/devices/pmem.h"
#include "vmm/devices/rng.h"
#include "vmm/devices/vsock_private.h"
#include "vmm/loop.h"
#include "vmm/virtio/mmio.h"

#define MEMORY (64u << 10)
#define QUEUE  8u
/* Rings of queue i lie at i * RING; the input's own data from DATA on. */
#define RING  0x400u
#define AVAIL 0x100u
#define USED  0x200u
#define DATA  0x1000u
#define HOSTS 8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static uint8_t mac[] = {2, 0, 0, 0, 0, 2};

struct input {
	const uint8_t *data;
	size_t size;
};

struct fuzz {
	struct thaw_memory memory;
	struct thaw_loop loop;
	struct thaw_virtio_mmio *mmio;
	unsigned int kind;
	int drive;
	int forward;
	int wire, tap; /* of the network device: the host's end, and the device's */
	bool limited;
	struct thaw_vsock *vsock;
	int hosts[HOSTS];
};

static uint64_t take(struct input *in, unsigned int size)
{
	uint64_t value = 0;

	if (size > in->size)
		size = (unsigned int)in->size;
	memcpy(&value, in->data, size);
	in->data += size;
	in->size -= size;
	return value;
}

static void must(bool good)
{
	if (!good)
		abort();
}

static void poke(struct fuzz *f, uint64_t offset, uint32_t value)
{
	thaw_virtio_mmio_bus_ops.write(f->mmio, offset, &value, sizeof(value));
}

static void *make_block(struct fuzz *f, Thaw__Vmm__RateLimit *limit)
{
	Thaw__Vmm__Drive config = THAW__VMM__DRIVE__INIT;
	struct thaw_block *block;

	config.writable = true;
	config.limit = limit;
	must(thaw_block_create(&block, dup(f->drive), &config, &f->loop, NULL) == 0);
	return block;
}

static void *make_net(struct fuzz *f, Thaw__Vmm__RateLimit *limit)
{
	Thaw__Vmm__Network config = THAW__VMM__NETWORK__INIT;
	struct thaw_net *net;
	int pair[2];

	if (f->tap < 0) {
		must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
		f->wire = pair[0];
		f->tap = pair[1];
	}
	config.mac.data = mac;
	config.mac.len = sizeof(mac);
	config.to_guest = config.from_guest = limit;
	must(thaw_net_create(&net, dup(f->tap), &config, &f->loop, NULL) == 0);
	return net;
}

static void make_device(struct fuzz *f)
{
	Thaw__Vmm__RateLimit limit = THAW__VMM__RATE_LIMIT__INIT;
	Thaw__Vmm__TokenBucket bucket = THAW__VMM__TOKEN_BUCKET__INIT;
	const struct thaw_virtio_ops *ops;
	void *device;
	int pair[2];

	/* A debt of some frames is paid off while a script goes on. */
	bucket.size = 3;
	bucket.per_second = 1000000;
	limit.bytes = limit.operations = &bucket;
	f->vsock = NULL;
	switch (f->kind) {
	case 0:
		device = make_block(f, f->limited ? &limit : NULL);
		ops = &thaw_block_ops;
		break;
	case 4:
		device = make_net(f, f->limited ? &limit : NULL);
		ops = &thaw_net_ops;
		break;
	case 1:
		must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
		must(thaw_vsock_create(&f->vsock, &f->loop, 3, -1, pair[1], NULL) == 0);
		/* So that inputs mean the same in every run. */
		f->vsock->next_port = 0;
		if (f->forward >= 0)
			close(f->forward);
		f->forward = pair[0];
		device = f->vsock;
		ops = &thaw_vsock_ops;
		break;
	case 2:
		must(thaw_rng_create((struct thaw_rng **)&device, NULL) == 0);
		ops = &thaw_rng_ops;
		break;
	default:
		must(thaw_pmem_create((struct thaw_pmem **)&device, 1ull << 32, 1 << 21, NULL) ==
		     0);
		ops = &thaw_pmem_ops;
		break;
	}
	must(thaw_virtio_mmio_create(&f->mmio, ops, device, &f->memory, &f->loop,
				     eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), NULL) == 0);
}

static void handshake(struct fuzz *f, bool event_idx)
{
	poke(f, VIRTIO_MMIO_STATUS, 1);
	poke(f, VIRTIO_MMIO_STATUS, 3);
	poke(f, VIRTIO_MMIO_DRIVER_FEATURES, event_idx ? 1u << 29 : 0);
	poke(f, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	poke(f, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	poke(f, VIRTIO_MMIO_STATUS, 11);
	for (uint32_t i = 0; i < thaw_virtio_mmio_queues(f->mmio); i++) {
		poke(f, VIRTIO_MMIO_QUEUE_SEL, i);
		poke(f, VIRTIO_MMIO_QUEUE_NUM, QUEUE);
		poke(f, VIRTIO_MMIO_QUEUE_DESC_LOW, i * RING);
		poke(f, VIRTIO_MMIO_QUEUE_AVAIL_LOW, i * RING + AVAIL);
		poke(f, VIRTIO_MMIO_QUEUE_USED_LOW, i * RING + USED);
		poke(f, VIRTIO_MMIO_QUEUE_READY, 1);
	}
	poke(f, VIRTIO_MMIO_STATUS, 15);
}

static void turn(struct fuzz *f)
{
	for (unsigned int rounds = 0; rounds < 4; rounds++) {
		if (thaw_loop_turn(&f->loop, 0) <= 0)
			return;
	}
}

/* Frames from elsewhere, and those of the guest: all of which are its own. */
static void wire(struct fuzz *f, struct input *in)
{
	uint8_t frame[4096] = {0};
	size_t size = take(in, 2) % sizeof(frame);
	size_t given = in->size < 64 ? in->size : 64;
	ssize_t n;

	memcpy(frame, in->data, given);
	take(in, 0);
	in->data += given;
	in->size -= given;
	(void)!write(f->wire, frame, size);
	while ((n = read(f->wire, frame, sizeof(frame))) > 0)
		must(n >= 14 && n <= 1514 && memcmp(frame + 6, mac, sizeof(mac)) == 0);
}

/* A host program's doings: a greeting, bytes, reading, shutting down, closing. */
static void host(struct fuzz *f, struct input *in)
{
	uint8_t what = (uint8_t)take(in, 1);
	int *fd = &f->hosts[what % HOSTS];
	uint8_t bytes[256];
	int pair[2];

	if (f->wire >= 0)
		wire(f, in);
	if (!f->vsock)
		return;
	switch (what / HOSTS % 6) {
	case 0:
		if (*fd >= 0)
			close(*fd);
		must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
		*fd = pair[0];
		(void)!write(*fd, "CONNECT 1024\n", 13);
		thaw_vsock_attach(f->vsock, pair[1], NULL);
		return;
	case 1: {
		size_t size = in->size < sizeof(bytes) ? in->size : sizeof(bytes);
		send(*fd, in->data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		return;
	}
	case 2:
		recv(*fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		return;
	case 3:
		shutdown(*fd, (int)(take(in, 1) % 3));
		return;
	case 4: {
		/* A connection that the guest has opened. */
		int fds[THAW_FDS_MAX];
		size_t count;
		if (fcntl(f->forward, F_SETFL, O_NONBLOCK) < 0 ||
		    thaw_recv_fds(f->forward, bytes, sizeof(bytes), fds, &count) <= 0)
			return;
		for (size_t i = 1; i < count; i++)
			close(fds[i]);
		if (*fd >= 0)
			close(*fd);
		*fd = count ? fds[0] : -1;
		return;
	}
	default:
		if (*fd >= 0)
			close(*fd);
		*fd = -1;
		return;
	}
}

/* Makes chain `head` of queue `q` available, as a driver would. */
static void publish(struct fuzz *f, unsigned int q, uint16_t head)
{
	uint8_t *avail = f->memory.base + q * RING + AVAIL;
	uint16_t idx;

	memcpy(&idx, avail + 2, 2);
	memcpy(avail + 4 + 2 * (idx % QUEUE), &head, 2);
	idx++;
	memcpy(avail + 2, &idx, 2);
}

/* A descriptor: mostly plausible. */
static void descriptor(struct fuzz *f, struct input *in)
{
	uint8_t at = (uint8_t)take(in, 1);
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} d = {.addr = DATA + (uint16_t)take(in, 2) % (MEMORY - DATA),
	       .len = (uint16_t)take(in, 2)};
	uint8_t flags = (uint8_t)take(in, 1);

	d.flags = flags & 7;
	d.next = flags >> 4;
	if (flags & 8)
		d.addr = take(in, 8);
	memcpy(f->memory.base + at / QUEUE % 3 * RING + 16 * (at % QUEUE), &d, sizeof(d));
}

static void save_and_restore(struct fuzz *f)
{
	Thaw__Snapshot__Device *state = malloc(sizeof(*state));

	must(state);
	thaw__snapshot__device__init(state);
	must(thaw_virtio_mmio_save(f->mmio, state, NULL) == 0);
	thaw_virtio_mmio_destroy(f->mmio);
	make_device(f);
	/* What save tells restore takes, whatever the guest did. */
	must(thaw_virtio_mmio_restore(f->mmio, state, NULL) == 0);
	thaw_virtio_mmio_resume(f->mmio);
	thaw__snapshot__device__free_unpacked(state, NULL);
}

/* One value of a state is another than was saved. */
static void forge(Thaw__Snapshot__Virtio *virtio, struct input *in)
{
	uint8_t field = (uint8_t)take(in, 1), which = field / 16;
	uint64_t value = take(in, field & 8 ? 8 : 2);
	Thaw__Snapshot__Queue *queue = virtio->queues[which % virtio->n_queues];

	switch (field % 8 + (field & 8 ? 8 : 0)) {
	case 0:
		virtio->status = (uint32_t)value;
		break;
	case 1:
		queue->next_avail = (uint32_t)value;
		break;
	case 2:
		queue->next_used = (uint32_t)value;
		break;
	case 3:
		queue->signalled = (uint32_t)value;
		break;
	case 4:
		queue->size = (uint32_t)value;
		break;
	case 5:
		queue->ready = value & 1;
		break;
	case 6:
		virtio->queue_select = (uint32_t)value;
		break;
	case 7:
		virtio->interrupt_status = (uint32_t)value;
		break;
	case 8:
		virtio->driver_features = value;
		break;
	case 9:
		queue->desc = value;
		break;
	case 10:
		queue->avail = value;
		break;
	case 11:
		queue->used = value;
		break;
	case 12:
		virtio->features_select = (uint32_t)value;
		virtio->driver_features_select = (uint32_t)(value >> 32);
		break;
	case 13:
		if (virtio->device_case == THAW__SNAPSHOT__VIRTIO__DEVICE_VSOCK) {
			virtio->vsock->guest_cid = value >> 1;
			virtio->vsock->connections = value & 1;
		}
		break;
	case 14:
		if (virtio->device_case == THAW__SNAPSHOT__VIRTIO__DEVICE_BLOCK)
			virtio->block->sectors = value;
		else if (virtio->device_case == THAW__SNAPSHOT__VIRTIO__DEVICE_PMEM)
			virtio->pmem->size = value;
		break;
	default:
		/* One queue too few. */
		if (which == 15 && virtio->n_queues > 1)
			thaw__snapshot__queue__free_unpacked(virtio->queues[--virtio->n_queues],
							     NULL);
		break;
	}
}

/* What is refused is the end of that machine; what is not goes on as its guest wants. */
static void restore_forged(struct fuzz *f, struct input *in)
{
	Thaw__Snapshot__Device *state = malloc(sizeof(*state));

	must(state);
	thaw__snapshot__device__init(state);
	must(thaw_virtio_mmio_save(f->mmio, state, NULL) == 0);
	for (uint64_t count = take(in, 1) % 8; count > 0; count--)
		forge(state->virtio, in);
	thaw_virtio_mmio_destroy(f->mmio);
	make_device(f);
	if (thaw_virtio_mmio_restore(f->mmio, state, NULL) == 0) {
		thaw_virtio_mmio_resume(f->mmio);
	} else {
		thaw_virtio_mmio_destroy(f->mmio);
		make_device(f);
	}
	thaw__snapshot__device__free_unpacked(state, NULL);
}

static void step(struct fuzz *f, struct input *in)
{
	uint8_t command = (uint8_t)take(in, 1);
	uint64_t offset, value;
	size_t size;

	switch (command % 10) {
	case 0: /* a register */
		offset = take(in, 1) * 4 % 0x100;
		poke(f, offset, (uint32_t)take(in, 4));
		break;
	case 1: /* any access */
		size = 1u << (command / 10 % 4);
		offset = take(in, 2) % (THAW_VIRTIO_MMIO_SIZE - size + 1);
		value = take(in, 8);
		thaw_virtio_mmio_bus_ops.write(f->mmio, offset, &value, (unsigned int)size);
		thaw_virtio_mmio_bus_ops.read(f->mmio, offset, &value, (unsigned int)size);
		break;
	case 2: /* memory */
		offset = take(in, 2) % MEMORY;
		size = take(in, 1);
		if (size > in->size)
			size = in->size;
		if (size > MEMORY - offset)
			size = MEMORY - offset;
		memcpy(f->memory.base + offset, in->data, size);
		take(in, 0);
		in->data += size;
		in->size -= size;
		break;
	case 3:
		descriptor(f, in);
		break;
	case 4:
		publish(f, command / 10 % 3, (uint16_t)(take(in, 1) % (QUEUE + 1)));
		break;
	case 5:
		poke(f, VIRTIO_MMIO_QUEUE_NOTIFY, command / 10 % 4);
		turn(f); /* the kick comes by its event */
		break;
	case 6:
		turn(f);
		break;
	case 7:
		host(f, in);
		break;
	case 8:
		if (command < 32)
			save_and_restore(f);
		else if (command < 128)
			restore_forged(f, in);
		break;
	default:
		if (command < 32) {
			poke(f, VIRTIO_MMIO_STATUS, 0);
			handshake(f, true);
		}
		break;
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	thaw_log_setup("fuzz", THAW_LOG_OFF, false, 2);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct fuzz f = {.forward = -1, .wire = -1, .tap = -1};
	uint8_t first = (uint8_t)take(&in, 1);

	/* Inputs of before there was a network device mean what they did. */
	f.kind = first & 16 ? 4 : first % 4;
	f.limited = first & 32;
	for (unsigned int i = 0; i < HOSTS; i++)
		f.hosts[i] = -1;
	must(thaw_memory_create(&f.memory, MEMORY, false, NULL) == 0);
	must(thaw_loop_create(&f.loop, NULL) == 0);
	f.drive = memfd_create("drive", MFD_CLOEXEC);
	must(f.drive >= 0 && ftruncate(f.drive, 16384) == 0);
	make_device(&f);
	if (first & 4)
		handshake(&f, first & 8);
	while (in.size)
		step(&f, &in);
	turn(&f);
	save_and_restore(&f);
	turn(&f);
	must(lseek(f.drive, 0, SEEK_END) == 16384);
	thaw_virtio_mmio_destroy(f.mmio);
	for (unsigned int i = 0; i < HOSTS; i++) {
		if (f.hosts[i] >= 0)
			close(f.hosts[i]);
	}
	if (f.forward >= 0)
		close(f.forward);
	if (f.wire >= 0) {
		close(f.wire);
		close(f.tap);
	}
	close(f.drive);
	thaw_loop_destroy(&f.loop);
	thaw_memory_destroy(&f.memory);
	return 0;
}
