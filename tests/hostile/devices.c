/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that a device's own rules forbid, or that ask for more than a guest may have. */
#include "guest.h"

enum { READ = 0, WRITE_OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, WRITE_ZEROES = 13 };
enum { S_OK, S_IOERR, S_UNSUPP };

/* --- block --- */

static void block_ranges(void)
{
	const uint64_t sectors[] = {
		DISK_SIZE / SECTOR, DISK_SIZE / SECTOR - 1, ~0ull,      1ull << 63,
		1ull << 55,         (1ull << 55) - 1,       ~0ull >> 9, ~0ull - 1};
	const uint32_t sizes[] = {1024, 4096, 1, 511, 513, 1025, BIG_SIZE};
	const uint32_t types[] = {READ, WRITE_OUT};

	for (unsigned int n = 0; n < 2; n++) {
		struct device *d = device_of(ID_BLOCK, n);
		bring_up(d);
		for (unsigned int i = 0; i < 8 * 7 * 2; i++) {
			if (block_request(d, types[i & 1], sectors[i / 2 % 8], BIG,
					  sizes[i / 16]) != S_IOERR)
				fault("a request outside of the drive was not refused");
		}
		for (unsigned int i = 2; i < 7; i++) {
			uint8_t status = block_request(d, READ, 0, BIG, sizes[i]);
			if (status !=
			    (sizes[i] % SECTOR || sizes[i] > REQUEST_SIZE ? S_IOERR : S_OK))
				fault("a read of odd size");
		}
		/* Nor the whole of it at once. */
		if (block_request(d, READ, 0, BIG, REQUEST_SIZE) != (n ? S_IOERR : S_OK) ||
		    block_request(d, READ, 0, BIG, REQUEST_SIZE + SECTOR) != S_IOERR)
			fault("a read of the largest size");
		for (uint32_t type = 2; type < 64; type++) {
			if (type == FLUSH || type == GET_ID || type == DISCARD ||
			    type == WRITE_ZEROES)
				continue;
			if (block_request(d, type, 0, BIG, SECTOR) != S_UNSUPP)
				fault("an unknown request");
		}
		block_request(d, ~0u, ~0ull, BIG, SECTOR);
		block_request(d, GET_ID, 0, BIG, 1);
		block_request(d, GET_ID, 0, BIG, BIG_SIZE);
		block_request(d, GET_ID, 0, BIG, 20);
	}
	/* The first is read-only. */
	if (block_request(device_of(ID_BLOCK, 0), WRITE_OUT, 0, BIG, SECTOR) != S_IOERR)
		fault("a write to a read-only drive");
}

/* Requests without a header, a status, or either in pieces. */
static void block_pieces(void)
{
	struct device *d = device_of(ID_BLOCK, 0);
	volatile uint8_t *status = (volatile uint8_t *)BIG + 8192;

	for (uint32_t size = 0; size < 16; size++) {
		bring_up(d);
		fill((void *)BIG, 0, 64);
		describe(d, 0, 0, BIG, size, NEXT, 1);
		describe(d, 0, 1, (uintptr_t)status, 1, WRITE, 0);
		offer(d, 0, 0);
		kick(d, 0);
		describe(d, 0, 1, BIG, 16, 0, 0);
		offer(d, 0, 0);
		kick(d, 0);
	}
	bring_up(d);
	*status = 0xff;
	for (uint16_t i = 0; i < 16; i++)
		describe(d, 0, i, BIG + i, 1, NEXT, (uint16_t)(i + 1));
	for (uint16_t i = 16; i < 48; i++)
		describe(d, 0, i, BIG + 4096 + 16u * i, 16, NEXT | WRITE, (uint16_t)(i + 1));
	describe(d, 0, 48, (uintptr_t)status, 1, WRITE, 0);
	offer(d, 0, 0);
	kick(d, 0);
	if (!used_up(d, 0, 1, 10000) || *status != S_OK)
		fault("a request in many pieces");
}

static void discards(void)
{
	static volatile struct {
		uint64_t sector;
		uint32_t count, flags;
	} segment[8];
	static const struct {
		uint64_t sector;
		uint32_t count, flags;
	} bad[] = {{~0ull, 1, 0}, {0, ~0u, 0},        {~0ull, ~0u, 0},          {8191, 2, 0},
		   {8192, 1, 0},  {1ull << 55, 1, 0}, {(1ull << 55) - 1, 2, 0}, {0, 1u << 21, 0},
		   {0, 8, 2},     {0, 8, ~0u},        {0, (1u << 21) + 1, 0}};

	for (unsigned int n = 0; n < 2; n++) {
		struct device *d = device_of(ID_BLOCK, n);
		bring_up(d);
		for (unsigned int i = 0; i < 2 * sizeof(bad) / sizeof(bad[0]); i++) {
			segment[0].sector = bad[i / 2].sector;
			segment[0].count = bad[i / 2].count;
			segment[0].flags = bad[i / 2].flags;
			if (block_request(d, i & 1 ? DISCARD : WRITE_ZEROES, 0, (uintptr_t)segment,
					  16) == S_OK)
				fault("a discard outside of the drive");
		}
		for (uint32_t size = 0; size <= sizeof(segment); size += 8) {
			if (size != 16 &&
			    block_request(d, DISCARD, 0, (uintptr_t)segment, size) == S_OK)
				fault("a discard of no one segment");
		}
		/* The whole of it; of the read-only one nothing. */
		segment[0].sector = segment[0].flags = 0;
		segment[0].count = 8;
		for (unsigned int i = 0; i < 200; i++) {
			segment[0].sector = 64 + 8 * (i % 100);
			if (block_request(d, i & 1 ? DISCARD : WRITE_ZEROES, 0, (uintptr_t)segment,
					  16) != (n ? S_OK : S_IOERR))
				fault("a discard that is allowed, or of a read-only drive");
		}
	}
}

static void storm(struct device *d, uint32_t type, unsigned int rounds)
{
	volatile uint32_t *header = (volatile uint32_t *)BIG;

	bring_up(d);
	fill(header, 0, 64);
	header[0] = type;
	describe(d, 0, 0, BIG, 16, NEXT, 1);
	describe(d, 0, 1, BIG + 64, 1, WRITE, 0);
	for (unsigned int n = 0; n < rounds; n++) {
		for (unsigned int i = 0; i < d->size[0]; i++)
			offer(d, 0, 0);
		kick(d, 0);
		if (!used_up(d, 0, d->ring[0]->avail_index, 20000))
			fault("a flush without an answer");
	}
}

static void flush_storm(void)
{
	storm(device_of(ID_BLOCK, 0), FLUSH, 20);
	storm(device_of(ID_BLOCK, 1), FLUSH, 20);
}

/* As much as a request moves, in as many requests as the queue takes, into the same memory. */
static void gigabytes(struct device *d)
{
	bring_up(d);
	fill((void *)0x30000, 0, 64);
	describe(d, 0, 0, 0x30000, 16, NEXT, 1);
	for (uint16_t i = 1; i <= PIECES; i++)
		describe(d, 0, i, BIG + PIECE_SIZE * i, PIECE_SIZE, NEXT | WRITE,
			 (uint16_t)(i + 1));
	describe(d, 0, PIECES + 1, 0x30040, 1, WRITE, 0);
}

/* And again, whenever one is done. */
static void more_gigabytes(struct device *d)
{
	volatile struct ring *r = d->ring[0];

	while ((uint16_t)(r->avail_index - r->used_index) < d->size[0])
		offer(d, 0, 0);
	kick(d, 0);
}

/* A device that is told to read for minutes does not keep thaw-vmm from its work: neither while it
 * reads (the harness asks all the time) nor when it is reset in the middle. */
static void block_gigabytes(void)
{
	struct device *d = device_of(ID_BLOCK, 0);
	uint64_t began;

	gigabytes(d);
	began = now_ms();
	while (now_ms() < began + 1500)
		more_gigabytes(d);
	for (unsigned int n = 0; n < 3; n++) {
		began = now_ms();
		reset(d);
		if (now_ms() > began + 5000)
			fault("a reset waited for requests that nobody wants");
		gigabytes(d);
		more_gigabytes(d);
	}
	reset(d);
}

/* And it is left so: the machine ends in the middle of it. */
static void block_busy_end(void)
{
	struct device *d = device_of(ID_BLOCK, 0);

	gigabytes(d);
	more_gigabytes(d);
	out8(MARK_PORT, MARK_DONE);
	print("resting\n");
	for (;;)
		more_gigabytes(d);
}

/* --- rng --- */

static void rng_gigabytes(void)
{
	struct device *d = device_of(ID_RNG, 0);

	bring_up(d);
	for (uint16_t i = 0; i < d->size[0]; i++)
		describe(d, 0, i, BIG, BIG_SIZE, (i + 1 < d->size[0] ? NEXT : 0) | WRITE,
			 (uint16_t)(i + 1));
	for (unsigned int n = 0; n < 20; n++) {
		for (unsigned int i = 0; i < d->size[0]; i++)
			offer(d, 0, 0);
		kick(d, 0);
		used_up(d, 0, d->ring[0]->avail_index, 5000);
	}
	for (unsigned int i = 0; i < d->size[0]; i++) {
		if (d->ring[0]->used[i].len > BIG_SIZE)
			fault("more random bytes than there is room for");
	}
}

/* --- vsock --- */

enum { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST };

struct packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

static struct packet packets[RING_MAX];
static uint16_t sent, received;

/* Receive buffers of 4 KiB, all in one place: nobody reads them. */
static void vsock_up(struct device *d, bool listening)
{
	bring_up(d);
	sent = received = 0;
	for (uint16_t i = 0; i < d->size[0] && listening; i++) {
		describe(d, 0, i, BIG + 4096u * i, 4096, WRITE, 0);
		offer(d, 0, i);
	}
	kick(d, 0);
}

static void vsock_recycle(struct device *d)
{
	volatile struct ring *r = d->ring[0];

	while (received != r->used_index) {
		offer(d, 0, (uint16_t)r->used[received & (d->size[0] - 1)].id);
		received++;
	}
	kick(d, 0);
}

static bool vsock_send(struct device *d, struct packet *p, uint64_t data, uint32_t size)
{
	uint16_t at = sent % (d->size[1] / 2);

	if (sent >= d->size[1] / 2 && !used_up(d, 1, d->ring[1]->avail_index, 20) &&
	    (status_of(d) & NEEDS_RESET))
		return false;
	packets[at] = *p;
	describe(d, 1, 2 * at, (uintptr_t)&packets[at], sizeof(*p), size ? NEXT : 0,
		 (uint16_t)(2 * at + 1));
	describe(d, 1, 2 * at + 1, data, size, 0, 0);
	offer(d, 1, 2 * at);
	sent++;
	kick(d, 1);
	return true;
}

static struct packet packet_of(uint16_t op, uint32_t port)
{
	return (struct packet){.src_cid = 3,
			       .dst_cid = 2,
			       .src_port = port,
			       .dst_port = 5000,
			       .type = 1,
			       .op = op,
			       .buf_alloc = 65536};
}

static void vsock_garbage(void)
{
	struct device *d = device_of(ID_VSOCK, 0);
	uint32_t n = 1;

	vsock_up(d, true);
	for (uint32_t i = 0; i < 600; i++) {
		struct packet p = packet_of((uint16_t)(i < 300 ? i : i << 4), 1000 + i % 7);
		n = n * 1103515245 + 12345;
		if (n & 1u << 20)
			p.src_cid = n;
		if (n & 1u << 21)
			p.dst_cid = n;
		if (n & 1u << 22)
			p.type = (uint16_t)n;
		p.flags = n >> 3;
		p.buf_alloc = n;
		p.fwd_cnt = n << 7;
		vsock_send(d, &p, BIG, 0);
		vsock_recycle(d);
	}
	/* Lengths that are not there. */
	const uint32_t lengths[] = {1, 45, 65536, 0x7fffffff, 0xffffffd4, ~0u};
	for (unsigned int i = 0; i < 6; i++) {
		struct packet p = packet_of(RW, 77);
		p.len = lengths[i];
		vsock_up(d, true);
		vsock_send(d, &p, BIG, 0);
	}
	/* Receive buffers too small for a header. */
	for (uint32_t size = 0; size < 46; size += 9) {
		struct packet p = packet_of(RW, 77);
		vsock_up(d, false);
		describe(d, 0, 0, BIG, size, WRITE, 0);
		offer(d, 0, 0);
		kick(d, 0);
		vsock_send(d, &p, BIG, 0);
	}
}

static void vsock_exhaust(void)
{
	struct device *d = device_of(ID_VSOCK, 0);

	for (unsigned int round = 0; round < 3; round++) {
		vsock_up(d, true);
		for (uint32_t i = 0; i < 1500; i++) {
			struct packet p = packet_of(REQUEST, 10000 + i);
			vsock_send(d, &p, 0, 0);
			vsock_recycle(d);
		}
	}
}

static void vsock_half_open(void)
{
	const uint16_t ops[] = {REQUEST,  SHUTDOWN, REQUEST, RST, REQUEST,
				RESPONSE, RW,       REQUEST, RST};
	struct device *d = device_of(ID_VSOCK, 0);

	vsock_up(d, true);
	for (uint32_t i = 0; i < 3000; i++) {
		struct packet p = packet_of(ops[i % 9], 20000 + i / 3);
		p.flags = i % 4;
		vsock_send(d, &p, 0, 0);
		if (i % 5 == 0)
			vsock_recycle(d);
	}
}

/* Nobody fetches what the device has to tell, and there is ever more of it. */
static void vsock_deaf(void)
{
	struct device *d = device_of(ID_VSOCK, 0);

	vsock_up(d, false);
	/* As many as it takes before it takes no more. */
	for (uint32_t i = 0; i < 2000; i++) {
		struct packet p = packet_of(i & 1 ? RW : REQUEST, 30000 + i);
		vsock_send(d, &p, 0, 0);
		if (d->ring[1]->avail_index - d->ring[1]->used_index > d->size[1] - 2)
			break;
	}
	if (status_of(d) & NEEDS_RESET)
		fault("the device gave up");
	/* Late, but not lost. */
	for (uint16_t i = 0; i < d->size[0]; i++) {
		describe(d, 0, i, BIG + 4096u * i, 4096, WRITE, 0);
		offer(d, 0, i);
	}
	kick(d, 0);
	if (!used_up(d, 0, d->size[0], 10000))
		fault("what was held back does not come");
}

/* More than was granted, to a host that does not read; lies about room of one's own. */
static void vsock_credit(void)
{
	const uint32_t rooms[] = {0, 1, 0x7fffffff, 0x80000000, ~0u};
	struct device *d = device_of(ID_VSOCK, 0);

	vsock_up(d, true);
	for (uint32_t port = 0; port < 20; port++) {
		struct packet p = packet_of(REQUEST, 40000 + port);
		vsock_send(d, &p, 0, 0);
		vsock_recycle(d);
		for (uint32_t i = 0; i < 20; i++) {
			p = packet_of(RW, 40000 + port);
			p.len = 65536;
			p.buf_alloc = rooms[i % 5];
			p.fwd_cnt = rooms[(i + port) % 5];
			vsock_send(d, &p, BIG, 65536);
			p = packet_of(i & 1 ? CREDIT_REQUEST : CREDIT_UPDATE, 40000 + port);
			p.buf_alloc = rooms[(i + 1) % 5];
			vsock_send(d, &p, 0, 0);
			vsock_recycle(d);
		}
	}
}

/* A packet in as many buffers as there are descriptors, and one far above what is allowed. */
static void vsock_big(void)
{
	struct device *d = device_of(ID_VSOCK, 0);

	for (uint32_t size = 1024; size <= (1u << 20); size <<= 1) {
		struct packet p = packet_of(REQUEST, 50000 + size);
		uint16_t parts = (uint16_t)(d->size[1] - 2);
		vsock_up(d, true);
		vsock_send(d, &p, 0, 0);
		used_up(d, 1, 1, 5000);
		packets[0] = packet_of(RW, 50000 + size);
		packets[0].len = size / parts * parts;
		describe(d, 1, 0, (uintptr_t)&packets[0], sizeof(p), NEXT, 1);
		for (uint16_t i = 1; i <= parts; i++)
			describe(d, 1, i, BIG + i, size / parts, i < parts ? NEXT : 0,
				 (uint16_t)(i + 1));
		for (unsigned int n = 0; n < 8; n++)
			offer(d, 1, 0);
		kick(d, 1);
		used_up(d, 1, 9, 5000);
	}
}

static void vsock_reset_storm(void)
{
	struct device *d = device_of(ID_VSOCK, 0);

	for (unsigned int round = 0; round < 100; round++) {
		vsock_up(d, round & 1);
		for (uint32_t i = 0; i < d->size[1] / 2; i++) {
			packets[i] = packet_of(REQUEST, 60000 + i);
			describe(d, 1, i, (uintptr_t)&packets[i], sizeof(packets[i]), 0, 0);
			offer(d, 1, (uint16_t)i);
		}
		if (round & 2)
			kick(d, 1);
	}
}

const struct scenario device_scenarios[] = {
	{"block-ranges", block_ranges},
	{"block-pieces", block_pieces},
	{"block-discards", discards},
	{"block-flush-storm", flush_storm},
	{"block-gigabytes", block_gigabytes},
	{"block-busy-end", block_busy_end},
	{"rng-gigabytes", rng_gigabytes},
	{"vsock-garbage", vsock_garbage},
	{"vsock-exhaust", vsock_exhaust},
	{"vsock-half-open", vsock_half_open},
	{"vsock-deaf", vsock_deaf},
	{"vsock-credit", vsock_credit},
	{"vsock-big", vsock_big},
	{"vsock-reset-storm", vsock_reset_storm},
	{0},
};
