/* SPDX-License-Identifier: Apache-2.0 */
/* What may lie in a queue that no driver would put there: the same for every queue of every device.
 */
#include "guest.h"

#define ALL(d, q)                                                                                  \
	for (struct device *d = devices; d < devices + device_count; d++)                          \
		for (unsigned int q = 0; q < d->queues; q++)

/* Offers descriptor 0 and gives the device a moment; it may have stopped or answered. */
static void go(struct device *d, unsigned int q)
{
	uint64_t began = now_ms();

	offer(d, q, 0);
	kick(d, q);
	while (!(status_of(d) & NEEDS_RESET) && !d->ring[q]->used_index && now_ms() < began + 30)
		;
}

/* Breaks the rules: no answer, and the device says so. */
static void must_stop(struct device *d, unsigned int q, const char *what)
{
	uint64_t began = now_ms();

	/* Where vsock has nothing to tell, it takes no buffer: nothing is seen to be wrong with it.
	 */
	if (d->id == ID_VSOCK && q != 1)
		return;
	while (!(status_of(d) & NEEDS_RESET)) {
		if (now_ms() < began + 5000)
			continue;
		print_number(d->id);
		fault(what);
		return;
	}
	if (d->ring[q]->used_index)
		fault("an answer to what broke the rules");
}

static void loops(void)
{
	ALL(d, q)
	{
		for (unsigned int kind = 0; kind < 3; kind++) {
			uint16_t flags = kind == 2 ? NEXT | WRITE : NEXT;
			bring_up(d);
			describe(d, q, 0, BIG, 16, flags, kind == 0 ? 0 : 1);
			describe(d, q, 1, BIG, 16, flags, 0);
			go(d, q);
			must_stop(d, q, "a loop was not noticed");
		}
		bring_up(d);
		for (uint16_t i = 0; i < d->size[q]; i++)
			describe(d, q, i, BIG, 16, NEXT, (uint16_t)((i + 1) % d->size[q]));
		go(d, q);
		must_stop(d, q, "a long loop was not noticed");
	}
}

static void outside(void)
{
	ALL(d, q)
	{
		const uint16_t indices[] = {d->size[q], 0x7fff, 0x8000, 0xffff};
		for (unsigned int i = 0; i < 4; i++) {
			bring_up(d);
			describe(d, q, 0, BIG, 16, NEXT, indices[i]);
			go(d, q);
			must_stop(d, q, "a next descriptor outside of its table");
			bring_up(d);
			offer(d, q, indices[i]);
			kick(d, q);
			must_stop(d, q, "an available descriptor outside of its table");
		}
	}
}

static void indirect(void)
{
	volatile struct descriptor *table = (volatile struct descriptor *)BIG;

	for (unsigned int i = 0; i < 16; i++)
		table[i] = (struct descriptor){BIG + 4096, 512, NEXT | (i ? WRITE : 0),
					       (uint16_t)(i + 1)};
	table[15].flags = WRITE;
	ALL(d, q)
	{
		for (uint16_t flags = INDIRECT; flags < 8; flags++) {
			bring_up(d);
			describe(d, q, 0, BIG, 256, flags, 0);
			go(d, q);
			must_stop(d, q, "an indirect descriptor was followed");
		}
	}
}

static void index_jumps(void)
{
	const uint16_t jumps[] = {257, 0x7fff, 0x8000, 0xfff0, 0xffff};

	ALL(d, q)
	{
		for (unsigned int i = 0; i < 5; i++) {
			bring_up(d);
			describe(d, q, 0, BIG, 64, q ? 0 : WRITE, 0);
			d->ring[q]->avail_index = jumps[i];
			kick(d, q);
			must_stop(d, q, "an index that jumped was followed");
		}
		/* Back and forth. */
		bring_up(d);
		for (unsigned int i = 0; i < 200; i++) {
			d->ring[q]->avail_index = (uint16_t)(i & 1 ? 0 : i);
			kick(d, q);
		}
	}
}

static void lengths(void)
{
	const uint32_t sizes[] = {0, 1, 15, 17, 0x7fffffff, 0x80000000, 0xfffffff0, ~0u};

	ALL(d, q)
	{
		for (unsigned int i = 0; i < 8 * 4; i++) {
			uint16_t first = i & 8 ? WRITE : 0, second = i & 16 ? WRITE : 0;
			bring_up(d);
			describe(d, q, 0, BIG, sizes[i & 7], first | NEXT, 1);
			describe(d, q, 1, BIG + 4096, sizes[7 - (i & 7)], second, 0);
			go(d, q);
		}
		/* 4 GiB and more in one chain. */
		bring_up(d);
		for (uint16_t i = 0; i < d->size[q]; i++)
			describe(d, q, i, BIG, BIG_SIZE,
				 (i + 1 < d->size[q] ? NEXT : 0) | (i ? WRITE : 0),
				 (uint16_t)(i + 1));
		go(d, q);
		/* Nothing but empty buffers. */
		bring_up(d);
		for (uint16_t i = 0; i < d->size[q]; i++)
			describe(d, q, i, ~0ull, 0,
				 (i + 1 < d->size[q] ? NEXT : 0) | (i ? WRITE : 0),
				 (uint16_t)(i + 1));
		go(d, q);
	}
}

static void edges(void)
{
	const uint64_t at[] = {MEMORY_SIZE - 1, MEMORY_SIZE - 511, MEMORY_SIZE, 0xc0000000 - 8,
			       MMIO_BASE,       0xfee00000,        0xffffff00,  1ull << 32,
			       0x108000000,     0x100000000 - 1,   ~0ull,       ~0ull - 511,
			       1ull << 63};

	ALL(d, q)
	{
		for (unsigned int i = 0; i < 2 * sizeof(at) / sizeof(at[0]); i++) {
			bring_up(d);
			fill((void *)BIG, 0, 64);
			/* For a drive: a read of the first sector to there. */
			describe(d, q, 0, i & 1 ? at[i / 2] : BIG, 16, NEXT, 1);
			describe(d, q, 1, at[i / 2], 512, NEXT | WRITE, 2);
			describe(d, q, 2, BIG + 64, 1, WRITE, 0);
			go(d, q);
		}
	}
}

static void order(void)
{
	ALL(d, q)
	{
		bring_up(d);
		describe(d, q, 0, BIG, 64, NEXT | WRITE, 1);
		describe(d, q, 1, BIG, 64, 0, 0);
		go(d, q);
		must_stop(d, q, "a readable buffer after a writable one");
	}
}

/* The same request many times at once. */
static void same_head(void)
{
	ALL(d, q)
	{
		bring_up(d);
		fill((void *)BIG, 0, 4096);
		describe(d, q, 0, BIG, 16, NEXT, 1);
		describe(d, q, 1, BIG + 64, 512, NEXT | WRITE, 2);
		describe(d, q, 2, BIG + 1024, 1, WRITE, 0);
		for (unsigned int n = 0; n < 20; n++) {
			for (uint16_t i = 0; i < d->size[q]; i++)
				offer(d, q, 0);
			kick(d, q);
			used_up(d, q, d->ring[q]->avail_index, 10);
		}
	}
}

/* The device is made to write into its own rings, all of which are one. */
static void overlap(void)
{
	ALL(d, q)
	{
		for (unsigned int part = 0; part < 8; part++) {
			uint64_t ring = (uintptr_t)d->ring[q]->desc;
			bring_up(d);
			fill((void *)BIG, 0, 64);
			describe(d, q, 0, BIG, 16, NEXT | (d->id == ID_RNG ? WRITE : 0), 1);
			describe(d, q, 1, ring + part * 1024, 1024, NEXT | WRITE, 2);
			describe(d, q, 2, ring + part * 512, 1, WRITE, 0);
			go(d, q);
			negotiate(d, 0);
			queue_set(d, q, d->size[q], ring, ring, ring);
			reg_set(d, VIRTIO_MMIO_STATUS, 15);
			for (unsigned int n = 0; n < 50; n++) {
				put32(ring, 0x00010001u * (n + 1));
				kick(d, q);
			}
		}
	}
}

/* The second processor rewrites what the device reads. */

static struct device *raced;
static unsigned int raced_queue;

static void rewrite(void)
{
	static uint32_t n;
	volatile struct ring *r = raced->ring[raced_queue];
	volatile uint32_t *header = (volatile uint32_t *)BIG;

	n = n * 1103515245 + 12345;
	r->desc[n >> 28 & 3].len = n >> 8;
	r->desc[n >> 26 & 3].flags = (uint16_t)(n >> 12 & 3);
	r->desc[n >> 24 & 3].next = (uint16_t)(n >> 10 & 3);
	r->desc[n >> 22 & 1].addr = n & 64 ? MEMORY_SIZE - (n >> 20 & 1023) : BIG;
	r->avail[n >> 18 & 7] = (uint16_t)(n >> 9 & 3);
	/* So few that the device reads them. */
	r->avail_index = (uint16_t)(r->used_index + (n >> 16 & 7));
	header[n >> 20 & 15] = n >> 5 & (n & 1 ? 15 : ~0u);
}

/* All four descriptors that are raced for: none is to lead to this guest itself. */
static void raced_start(struct device *d, unsigned int q)
{
	bring_up(d);
	describe(d, q, 0, BIG, 44, NEXT, 1);
	describe(d, q, 1, BIG + 512, 512, NEXT | WRITE, 2);
	describe(d, q, 2, BIG + 1024, 1, WRITE, 0);
	describe(d, q, 3, BIG + 2048, 1, WRITE, 0);
}

static void buffer_race(void)
{
	ALL(d, q)
	{
		uint64_t began = now_ms();
		raced = d;
		raced_queue = q;
		fill((void *)BIG, 0, 4096);
		raced_start(d, q);
		second_run(rewrite);
		while (now_ms() < began + 250) {
			for (unsigned int n = 0; n < 10; n++)
				kick(d, q);
			if (status_of(d) & NEEDS_RESET)
				raced_start(d, q);
		}
		second_stop();
	}
}

static void reset_now(void)
{
	reset(raced);
}

/* One brings the device up and uses it, the other resets it. */
static void reset_race(void)
{
	ALL(d, q)
	{
		uint64_t began = now_ms();
		raced = d;
		fill((void *)BIG, 0, 4096);
		second_run(reset_now);
		while (now_ms() < began + 250) {
			raced_start(d, q);
			for (unsigned int n = 0; n < 8; n++)
				offer(d, q, 0);
			kick(d, q);
		}
		second_stop();
	}
}

const struct scenario ring_scenarios[] = {
	{"ring-loops", loops},       {"ring-outside", outside},
	{"ring-indirect", indirect}, {"ring-index-jumps", index_jumps},
	{"ring-lengths", lengths},   {"ring-edges", edges},
	{"ring-order", order},       {"ring-same-head", same_head},
	{"ring-overlap", overlap},   {"race-buffers", buffer_race},
	{"race-reset", reset_race},  {0},
};
