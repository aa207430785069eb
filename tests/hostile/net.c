/* SPDX-License-Identifier: Apache-2.0 */
/* Frames and buffers that the network device's rules forbid, and floods. The harness floods the
 * device from the other side all the while, and looks at each frame that comes out: none may bear
 * another's address. */
#include "guest.h"

#define NET_HEADER 12u
#define FRAME_MAX  1514u
#define BUFFER_MIN (NET_HEADER + FRAME_MAX)
#define FRAME      (BIG + (1u << 20)) /* with its header */
#define BUFFERS    (BIG + (2u << 20))

enum { RX, TX };

/* A frame from this device; `wrong` bits of its source are not as they should be. */
static void frame_make(const struct device *d, uint64_t at, uint64_t wrong)
{
	fill((void *)at, 0, NET_HEADER);
	fill((void *)(at + NET_HEADER), 0xff, 6);
	for (unsigned int i = 0; i < 6; i++)
		put8(at + NET_HEADER + 6 + i,
		     get8(d->base + VIRTIO_MMIO_CONFIG + i) ^ (uint8_t)(wrong >> (8 * i)));
	put16(at + NET_HEADER + 12, 0x0008);
}

static void frame_send(struct device *d, uint32_t size)
{
	uint16_t count = (uint16_t)(d->ring[TX]->used_index + 1);

	describe(d, TX, 0, FRAME, size, 0, 0);
	offer(d, TX, 0);
	kick(d, TX);
	if (!used_up(d, TX, count, 10000))
		fault("a frame is not taken");
}

static void buffers_offer(struct device *d, uint32_t size)
{
	for (uint16_t i = 0; i < d->size[RX]; i++) {
		describe(d, RX, i, BUFFERS + 4096u * i, size, WRITE, 0);
		offer(d, RX, i);
	}
	kick(d, RX);
}

/* Of every size, and in another's name. */
static void frames(void)
{
	struct device *d = device_of(ID_NET, 0);

	bring_up(d);
	frame_make(d, FRAME, 0);
	for (uint32_t size = NET_HEADER; size < 2000; size += size < 40 || size > 1500 ? 1 : 61)
		frame_send(d, size);
	for (uint32_t size = 4096; size <= BIG_SIZE / 4; size <<= 1)
		frame_send(d, size);
	for (unsigned int bit = 0; bit < 48; bit++) {
		frame_make(d, FRAME, 1ull << bit);
		frame_send(d, 100);
	}
	frame_make(d, FRAME, ~0ull);
	frame_send(d, 100);
	/* In the header anything may stand. */
	frame_make(d, FRAME, 0);
	for (unsigned int i = 0; i < 256; i++) {
		fill((void *)FRAME, (uint8_t)i, NET_HEADER);
		frame_send(d, 60);
	}
	if (status_of(d) & NEEDS_RESET)
		fault("the device gave up");
}

/* Without a whole header, or with room for an answer. */
static void broken_frames(void)
{
	struct device *d = device_of(ID_NET, 0);

	for (uint32_t size = 0; size <= NET_HEADER; size++) {
		uint64_t began = now_ms();
		bring_up(d);
		frame_make(d, FRAME, 0);
		/* The last is whole, and wants something written. */
		describe(d, TX, 0, FRAME, size, size == NET_HEADER ? NEXT : 0, 1);
		describe(d, TX, 1, FRAME + 4096, 64, WRITE, 0);
		offer(d, TX, 0);
		kick(d, TX);
		while (!(status_of(d) & NEEDS_RESET)) {
			if (now_ms() > began + 5000) {
				fault("a frame without a header");
				break;
			}
		}
	}
	/* A header and a frame in as many pieces as there are. */
	bring_up(d);
	frame_make(d, FRAME, 0);
	for (uint16_t i = 0; i < d->size[TX]; i++)
		describe(d, TX, i, FRAME + i, 1, i + 1 < d->size[TX] ? NEXT : 0, (uint16_t)(i + 1));
	offer(d, TX, 0);
	kick(d, TX);
	if (!used_up(d, TX, 1, 10000))
		fault("a frame in many pieces");
}

static void buffers(void)
{
	const uint32_t small[] = {0, 1, 11, 12, 13, 26, BUFFER_MIN - 1};
	struct device *d = device_of(ID_NET, 0);

	for (unsigned int i = 0; i < 7; i++) {
		uint64_t began = now_ms();
		bring_up(d);
		buffers_offer(d, small[i]);
		while (!(status_of(d) & NEEDS_RESET)) {
			if (now_ms() > began + 5000) {
				fault("a receive buffer without room");
				break;
			}
		}
	}
	bring_up(d);
	buffers_offer(d, BIG_SIZE / 4);
	if (!used_up(d, RX, d->size[RX], 10000))
		fault("large receive buffers");
	bring_up(d);
	for (uint16_t i = 0; i < d->size[RX]; i++)
		describe(d, RX, i, BUFFERS + 64u * i, 32, WRITE | (i + 1 < d->size[RX] ? NEXT : 0),
			 (uint16_t)(i + 1));
	offer(d, RX, 0);
	kick(d, RX);
	if (!used_up(d, RX, 1, 10000))
		fault("a receive buffer in many pieces");
	if (d->ring[RX]->used[0].len > BUFFER_MIN)
		fault("a frame longer than frames are");
}

/* As fast as it goes, both ways, from and into the same memory. */
static void flood(void)
{
	struct device *d = device_of(ID_NET, 0);
	volatile struct ring *rx = d->ring[RX], *tx = d->ring[TX];
	uint64_t began = now_ms();

	bring_up(d);
	frame_make(d, FRAME, 0);
	describe(d, TX, 0, FRAME, BUFFER_MIN, 0, 0);
	describe(d, RX, 0, BUFFERS, 4096, WRITE, 0);
	while (now_ms() < began + 1500) {
		while ((uint16_t)(tx->avail_index - tx->used_index) < d->size[TX])
			offer(d, TX, 0);
		while ((uint16_t)(rx->avail_index - rx->used_index) < d->size[RX])
			offer(d, RX, 0);
		kick(d, TX);
		kick(d, RX);
	}
	if (status_of(d) & NEEDS_RESET)
		fault("the device gave up");
	if (!tx->used_index || !rx->used_index)
		fault("nothing came through");
}

/* Frames come, and nobody has room for them. */
static void deaf(void)
{
	struct device *d = device_of(ID_NET, 0);
	uint64_t began = now_ms();

	bring_up(d);
	while (now_ms() < began + 1000)
		kick(d, RX);
	buffers_offer(d, 2048);
	if (!used_up(d, RX, d->size[RX], 10000))
		fault("what waited does not come");
}

static void resets(void)
{
	struct device *d = device_of(ID_NET, 0);

	for (unsigned int round = 0; round < 200; round++) {
		bring_up(d);
		frame_make(d, FRAME, 0);
		describe(d, TX, 0, FRAME, 1000, 0, 0);
		for (unsigned int i = 0; i < d->size[TX]; i++)
			offer(d, TX, 0);
		if (round & 1)
			buffers_offer(d, 2048);
		if (round & 2)
			kick(d, TX);
		if (round & 4)
			reset(d);
	}
}

static void change_source(void)
{
	put8(FRAME + NET_HEADER + 6, get8(FRAME + NET_HEADER + 6) ^ 0x40);
}

/* The second processor changes the source while the device looks at it. */
static void source_race(void)
{
	struct device *d = device_of(ID_NET, 0);
	volatile struct ring *tx = d->ring[TX];
	uint64_t began = now_ms();

	bring_up(d);
	frame_make(d, FRAME, 0);
	describe(d, TX, 0, FRAME, 100, 0, 0);
	second_run(change_source);
	while (now_ms() < began + 1000) {
		while ((uint16_t)(tx->avail_index - tx->used_index) < d->size[TX])
			offer(d, TX, 0);
		kick(d, TX);
	}
	second_stop();
}

const struct scenario net_scenarios[] = {
	{"net-frames", frames},       {"net-broken-frames", broken_frames},
	{"net-buffers", buffers},     {"net-flood", flood},
	{"net-deaf", deaf},           {"net-resets", resets},
	{"race-source", source_race}, {0},
};
