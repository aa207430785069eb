/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk on a memfd: what a drive does, and what a driver may try. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "proto/vmm.pb-c.h"
#include "tests/unit/virtio_driver.h"
#include "vmm/devices/block.h"

#define SECTORS 64u
#define SIZE    (SECTORS * 512u)
#define NOTHING 0xee /* no status was written */

static struct driver driver;
static struct thaw_block *block;
static struct thaw_error err;
static int file;
static uint8_t data[SIZE];

static int create(int fd, bool writable, Thaw__Vmm__RateLimit *limit)
{
	Thaw__Vmm__Drive drive = THAW__VMM__DRIVE__INIT;

	drive.writable = writable;
	drive.limit = limit;
	return thaw_block_create(&block, fd, &drive, &driver.loop, &err);
}

static void attach(bool writable)
{
	assert_int_equal(create(dup(file), writable, NULL), 0);
	driver_attach(&driver, &thaw_block_ops, block);
}

static int setup(void **state)
{
	(void)state;
	file = memfd_create("drive", MFD_CLOEXEC);
	for (unsigned int i = 0; i < SIZE; i++)
		data[i] = (uint8_t)(i * 31 + i / 509);
	assert_int_equal(write(file, data, SIZE), SIZE);
	driver_create(&driver);
	attach(true);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	driver_destroy(&driver);
	close(file);
	return 0;
}

/* A request's parts in guest memory. */
static struct driver_buffer parts[3];

/* Sends one request, and waits for its answer: the status. The payload, of `size` bytes, goes to
 * the device (out), or comes from it. */
static int request(uint32_t type, uint64_t sector, const void *out, uint32_t size, bool in)
{
	struct virtio_blk_outhdr header = {.type = type, .sector = sector};
	uint8_t status = NOTHING;
	unsigned int n = 0;
	uint16_t head, used_head;
	uint32_t written;

	memset(parts, 0, sizeof(parts));
	parts[n++] = (struct driver_buffer){.out = &header, .size = sizeof(header)};
	if (size)
		parts[n++] = (struct driver_buffer){.out = in ? NULL : out, .size = size};
	parts[n++] = (struct driver_buffer){.out = &status, .size = 1};
	head = driver_add(&driver, 0, parts, in || !size ? 1 : 2, in && size ? 2 : 1);
	driver_kick(&driver, 0);
	for (unsigned int i = 0; !driver_used(&driver, 0, &used_head, &written); i++) {
		assert_true(i < 1000);
		driver_turn(&driver, 10);
	}
	assert_int_equal(used_head, head);
	status = *(uint8_t *)driver_at(&driver, parts[n - 1].gpa);
	if (status == VIRTIO_BLK_S_OK)
		assert_int_equal(written, in ? size + 1 : 1);
	return status;
}

static int read_sectors(uint64_t sector, uint32_t size)
{
	return request(VIRTIO_BLK_T_IN, sector, NULL, size, true);
}

static const uint8_t *payload(void)
{
	return driver_at(&driver, parts[1].gpa);
}

static void test_config(void **state)
{
	uint64_t capacity;
	struct virtio_blk_config config;

	(void)state;
	thaw_virtio_mmio_bus_ops.read(driver.mmio, 0x100, &capacity, 8);
	assert_int_equal(capacity, SECTORS);
	for (unsigned int i = 0; i < sizeof(config); i++)
		thaw_virtio_mmio_bus_ops.read(driver.mmio, 0x100 + i, (uint8_t *)&config + i, 1);
	assert_int_equal(config.blk_size, 512);
	assert_int_equal(config.max_discard_seg, 1);
	assert_int_equal(driver_read(&driver, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_BLOCK);
	driver_detach(&driver);
	attach(false);
	assert_true(driver_read(&driver, VIRTIO_MMIO_DEVICE_FEATURES) & (1u << VIRTIO_BLK_F_RO));
	assert_false(driver_read(&driver, VIRTIO_MMIO_DEVICE_FEATURES) &
		     (1u << VIRTIO_BLK_F_DISCARD));
}

static void test_read_and_write(void **state)
{
	uint8_t bytes[1024];

	(void)state;
	driver_start(&driver, 1ull << VIRTIO_RING_F_EVENT_IDX);
	assert_int_equal(read_sectors(0, 4096), VIRTIO_BLK_S_OK);
	assert_memory_equal(payload(), data, 4096);
	assert_int_equal(read_sectors(SECTORS - 1, 512), VIRTIO_BLK_S_OK);
	assert_memory_equal(payload(), data + SIZE - 512, 512);
	memset(bytes, 0x5a, sizeof(bytes));
	assert_int_equal(request(VIRTIO_BLK_T_OUT, 3, bytes, 1024, false), VIRTIO_BLK_S_OK);
	assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, NULL, 0, false), VIRTIO_BLK_S_OK);
	assert_int_equal(pread(file, data, SIZE, 0), SIZE);
	assert_memory_equal(data + 3 * 512, bytes, 1024);
	assert_int_equal(data[3 * 512 - 1], (uint8_t)((3 * 512 - 1) * 31 + (3 * 512 - 1) / 509));
	assert_int_equal(read_sectors(3, 1024), VIRTIO_BLK_S_OK);
	assert_memory_equal(payload(), bytes, 1024);
	assert_int_equal(thaw_block_bytes_read(block), 4096 + 512 + 1024);
	assert_int_equal(thaw_block_bytes_written(block), 1024);
	assert_true(driver_interrupt(&driver) & VIRTIO_MMIO_INT_VRING);
}

static void test_discard_and_zeroes(void **state)
{
	struct virtio_blk_discard_write_zeroes segment = {.sector = 8, .num_sectors = 8};
	static const uint8_t zero[4096];

	(void)state;
	driver_start(&driver, 0);
	assert_int_equal(request(VIRTIO_BLK_T_DISCARD, 0, &segment, sizeof(segment), false),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(read_sectors(8, 4096), VIRTIO_BLK_S_OK);
	assert_memory_equal(payload(), zero, 4096);
	for (uint32_t flags = 0; flags < 2; flags++) {
		segment = (struct virtio_blk_discard_write_zeroes){
			.sector = 16 + 3 * flags, .num_sectors = 3, .flags = flags};
		assert_int_equal(
			request(VIRTIO_BLK_T_WRITE_ZEROES, 0, &segment, sizeof(segment), false),
			VIRTIO_BLK_S_OK);
	}
	assert_int_equal(read_sectors(16, 7 * 512), VIRTIO_BLK_S_OK);
	assert_memory_equal(payload(), zero, 6 * 512);
	assert_memory_equal(payload() + 6 * 512, data + 22 * 512, 512);
	assert_int_equal(lseek(file, 0, SEEK_END), SIZE);
	/* Beyond the end, of no size, of an unknown kind, cut short. */
	segment = (struct virtio_blk_discard_write_zeroes){.sector = 63, .num_sectors = 2};
	assert_int_equal(request(VIRTIO_BLK_T_DISCARD, 0, &segment, sizeof(segment), false),
			 VIRTIO_BLK_S_IOERR);
	segment.sector = UINT64_MAX;
	assert_int_equal(request(VIRTIO_BLK_T_DISCARD, 0, &segment, sizeof(segment), false),
			 VIRTIO_BLK_S_IOERR);
	segment = (struct virtio_blk_discard_write_zeroes){.num_sectors = UINT32_MAX};
	assert_int_equal(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, &segment, sizeof(segment), false),
			 VIRTIO_BLK_S_IOERR);
	segment.num_sectors = 0;
	assert_int_equal(request(VIRTIO_BLK_T_DISCARD, 0, &segment, sizeof(segment), false),
			 VIRTIO_BLK_S_OK);
	segment.flags = 2;
	assert_int_equal(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, &segment, sizeof(segment), false),
			 VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request(VIRTIO_BLK_T_DISCARD, 0, &segment, 8, false), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(VIRTIO_BLK_T_DISCARD, 0, NULL, 0, false), VIRTIO_BLK_S_IOERR);
}

static void test_identity(void **state)
{
	(void)state;
	driver_start(&driver, 0);
	assert_int_equal(request(VIRTIO_BLK_T_GET_ID, 0, NULL, VIRTIO_BLK_ID_BYTES, true),
			 VIRTIO_BLK_S_OK);
	assert_string_equal((const char *)payload(), "thaw");
	assert_int_equal(request(VIRTIO_BLK_T_GET_ID, 0, NULL, 3, true), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(99, 0, NULL, 512, true), VIRTIO_BLK_S_UNSUPP);
}

static void test_beyond_the_end(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t size;
	} cases[] = {
		{SECTORS, 512},    {SECTORS - 1, 1024},
		{UINT64_MAX, 512}, {UINT64_MAX / 512, 512},
		{1ull << 55, 512}, {0, 511},
		{0, 513},          {0, SIZE + 512},
	};

	(void)state;
	driver_start(&driver, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(read_sectors(cases[i].sector, cases[i].size), VIRTIO_BLK_S_IOERR);
		assert_int_equal(
			request(VIRTIO_BLK_T_OUT, cases[i].sector, NULL, cases[i].size, false),
			VIRTIO_BLK_S_IOERR);
	}
	assert_int_equal(lseek(file, 0, SEEK_END), SIZE);
	assert_int_equal(read_sectors(SECTORS, 0), VIRTIO_BLK_S_OK); /* nothing, at the end */
	/* The file has become shorter than the drive. */
	assert_int_equal(ftruncate(file, 512), 0);
	assert_int_equal(read_sectors(0, 1024), VIRTIO_BLK_S_IOERR);
	assert_int_equal(read_sectors(0, 512), VIRTIO_BLK_S_OK);
}

static void test_read_only(void **state)
{
	struct virtio_blk_discard_write_zeroes segment = {.num_sectors = 8};
	uint8_t bytes[512] = {0};

	(void)state;
	driver_detach(&driver);
	attach(false);
	driver_start(&driver, 0);
	assert_int_equal(request(VIRTIO_BLK_T_OUT, 0, bytes, 512, false), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(VIRTIO_BLK_T_DISCARD, 0, &segment, sizeof(segment), false),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(read_sectors(0, 512), VIRTIO_BLK_S_OK);
	assert_memory_equal(payload(), data, 512);
}

static void test_many_at_once(void **state)
{
	struct virtio_blk_outhdr header[DRIVER_QUEUE / 4];
	uint16_t head;
	uint32_t size;

	(void)state;
	driver_start(&driver, 1ull << VIRTIO_RING_F_EVENT_IDX);
	for (unsigned int round = 0; round < 100; round++) {
		struct driver_buffer buffers[DRIVER_QUEUE / 4][4];
		memset(buffers, 0, sizeof(buffers));
		for (unsigned int i = 0; i < DRIVER_QUEUE / 4; i++) {
			header[i] = (struct virtio_blk_outhdr){.sector = (round * 7 + i) % 60};
			buffers[i][0] = (struct driver_buffer){.out = &header[i], .size = 16};
			buffers[i][1].size = 700; /* the seam falls within a sector */
			buffers[i][2].size = 1024 - 700;
			buffers[i][3].size = 1;
			driver_add(&driver, 0, buffers[i], 1, 3);
		}
		driver_kick(&driver, 0);
		for (unsigned int done = 0; done < DRIVER_QUEUE / 4;) {
			if (driver_used(&driver, 0, &head, &size)) {
				assert_int_equal(size, 1025);
				done++;
			} else {
				driver_turn(&driver, 100);
			}
		}
		for (unsigned int i = 0; i < DRIVER_QUEUE / 4; i++) {
			const uint8_t *want = data + header[i].sector * 512;
			assert_memory_equal(driver_at(&driver, buffers[i][1].gpa), want, 700);
			assert_memory_equal(driver_at(&driver, buffers[i][2].gpa), want + 700, 324);
			assert_int_equal(*(uint8_t *)driver_at(&driver, buffers[i][3].gpa), 0);
		}
	}
}

/* A driver that gives the same descriptors again and again, without waiting for any answer. */
static void test_flood(void **state)
{
	struct virtio_blk_outhdr header = {.sector = 0};
	struct driver_buffer buffers[3] = {
		{.out = &header, .size = 16}, {.size = 4096}, {.size = 1}};

	(void)state;
	driver_start(&driver, 0);
	uint16_t head = driver_add(&driver, 0, buffers, 1, 2);
	const struct thaw_virtqueue *queue = &thaw_virtio_mmio_device(driver.mmio)->queue[0];
	for (unsigned int i = 1; i < 2000; i++) {
		while ((uint16_t)(driver.queue[0].avail_idx - queue->next_avail) == DRIVER_QUEUE)
			assert_true(driver_turn(&driver, 1000));
		driver_publish(&driver, 0, head);
		driver_kick(&driver, 0);
	}
	while (queue->next_used != 2000)
		assert_true(driver_turn(&driver, 1000));
	assert_int_equal(driver_status(&driver), 0xf);
	assert_int_equal(thaw_block_bytes_read(block), 2000 * 4096);
}

static void test_memory_outside(void **state)
{
	struct virtio_blk_outhdr header = {.sector = 0};
	uint16_t head;
	uint32_t size;

	(void)state;
	driver_start(&driver, 0);
	for (unsigned int i = 0; i < 2; i++) {
		struct driver_buffer buffers[3] = {
			{.out = &header, .size = 16}, {.size = 4096}, {.size = 1}};
		buffers[1].gpa = i ? 0xd0000000 : DRIVER_MEMORY - 100;
		driver_add(&driver, 0, buffers, 1, 2);
		driver_kick(&driver, 0);
		driver_settle(&driver);
		/* This request fails; the drive lives. */
		assert_true(driver_used(&driver, 0, &head, &size));
		assert_int_equal(*(uint8_t *)driver_at(&driver, buffers[2].gpa),
				 VIRTIO_BLK_S_IOERR);
	}
	assert_int_equal(driver_status(&driver), 0xf);
	assert_int_equal(read_sectors(0, 512), VIRTIO_BLK_S_OK);
}

static void test_broken_requests(void **state)
{
	struct virtio_blk_outhdr header = {.sector = 0};

	(void)state;
	for (unsigned int how = 0; how < 4; how++) {
		struct driver_buffer buffers[3] = {
			{.out = &header, .size = 16}, {.size = 512}, {.size = 1}};
		driver_start(&driver, 0);
		if (how == 0) /* no status */
			driver_add(&driver, 0, buffers, 2, 0);
		if (how == 1) { /* half a header */
			buffers[0].size = 15;
			driver_add(&driver, 0, buffers, 1, 2);
		}
		if (how == 2) /* no header */
			driver_add(&driver, 0, buffers, 0, 2);
		if (how == 3) { /* a loop */
			driver_add(&driver, 0, buffers, 1, 2);
			driver_desc(&driver, 0, 2)->flags |= VRING_DESC_F_NEXT;
			driver_desc(&driver, 0, 2)->next = 1;
		}
		driver_kick(&driver, 0);
		assert_true(driver_status(&driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	}
	driver_start(&driver, 0);
	assert_int_equal(read_sectors(0, 512), VIRTIO_BLK_S_OK);
}

/* A header in pieces, as virtio 1.x allows. */
static void test_scattered_header(void **state)
{
	struct virtio_blk_outhdr header = {.sector = 2};
	struct driver_buffer buffers[4] = {{.out = &header, .size = 5},
					   {.out = (uint8_t *)&header + 5, .size = 11},
					   {.size = 512},
					   {.size = 1}};
	uint16_t head;
	uint32_t size;

	(void)state;
	driver_start(&driver, 0);
	driver_add(&driver, 0, buffers, 2, 2);
	driver_kick(&driver, 0);
	while (!driver_used(&driver, 0, &head, &size))
		driver_turn(&driver, 100);
	assert_memory_equal(driver_at(&driver, buffers[2].gpa), data + 1024, 512);
}

static void test_reset_under_way(void **state)
{
	struct virtio_blk_outhdr header = {.sector = 0};
	uint16_t head;
	uint32_t size;

	(void)state;
	for (unsigned int i = 0; i < 50; i++) {
		struct driver_buffer buffers[3] = {
			{.out = &header, .size = 16}, {.size = 8192}, {.size = 1}};
		driver_start(&driver, 0);
		driver_add(&driver, 0, buffers, 1, 2);
		driver_kick(&driver, 0);
		driver_write(&driver, VIRTIO_MMIO_STATUS, 0);
		/* From here on the memory is the driver's. */
		memset(driver_at(&driver, buffers[1].gpa), 0x77, 8192);
		driver_settle(&driver);
		const uint8_t *bytes = driver_at(&driver, buffers[1].gpa);
		for (unsigned int at = 0; at < 8192; at++)
			assert_int_equal(bytes[at], 0x77);
	}
	driver_start(&driver, 0);
	assert_false(driver_used(&driver, 0, &head, &size));
	assert_int_equal(read_sectors(1, 512), VIRTIO_BLK_S_OK);
}

#define LONG_PIECE  999936u /* not a multiple of what the device moves in one go */
#define LONG_PIECES 8u
#define LONG_SIZE   (LONG_PIECES * LONG_PIECE) /* not far below the longest request */

/* A drive of LONG_SIZE, and a request for all of it, `times` over, into one piece of memory. */
static uint16_t long_requests(unsigned int times)
{
	static const struct virtio_blk_outhdr header = {.sector = 0};
	static uint8_t piece[LONG_PIECE];
	gpa_t to = driver_alloc(&driver, LONG_PIECE, 4096);
	struct driver_buffer buffers[LONG_PIECES + 2] = {{.out = &header, .size = 16},
							 [LONG_PIECES + 1] = {.size = 1}};
	uint16_t head;

	driver_detach(&driver);
	for (unsigned int i = 0; i < LONG_PIECES; i++) {
		for (unsigned int at = 0; at < LONG_PIECE; at++)
			piece[at] = (uint8_t)(at * 7 + at / 4099 + i);
		assert_int_equal(pwrite(file, piece, LONG_PIECE, (off_t)i * LONG_PIECE),
				 LONG_PIECE);
		buffers[i + 1] = (struct driver_buffer){.size = LONG_PIECE, .gpa = to};
	}
	attach(true);
	driver_start(&driver, 0);
	head = driver_add(&driver, 0, buffers, 1, LONG_PIECES + 1);
	for (unsigned int i = 1; i < times; i++)
		driver_publish(&driver, 0, head);
	driver_kick(&driver, 0);
	return head;
}

/* What takes long is done in parts, with turns of the loop between them. */
static void test_long_request(void **state)
{
	uint16_t head, used_head;
	uint32_t written;
	unsigned int turns = 0;

	(void)state;
	head = long_requests(1);
	for (; !driver_used(&driver, 0, &used_head, &written); turns++)
		assert_true(driver_turn(&driver, 1000));
	assert_true(turns >= 3);
	assert_int_equal(used_head, head);
	assert_int_equal(written, LONG_SIZE + 1);
	assert_int_equal(thaw_block_bytes_read(block), LONG_SIZE);
	const struct vring_desc *last = driver_desc(&driver, 0, 8);
	const uint8_t *bytes = driver_at(&driver, last->addr);
	for (unsigned int at = 0; at < LONG_PIECE; at++)
		assert_int_equal(bytes[at], (uint8_t)(at * 7 + at / 4099 + 7));
}

/* A driver asked for its whole drive in each entry of the queue, and reset the device: which first
 * did it all, for as long as it took. */
static void test_long_requests_reset(void **state)
{
	(void)state;
	long_requests(DRIVER_QUEUE);
	driver_write(&driver, VIRTIO_MMIO_STATUS, 0);
	assert_true(thaw_block_bytes_read(block) <= LONG_SIZE / 2 * DRIVER_QUEUE);
	driver_start(&driver, 0);
	assert_int_equal(read_sectors(1, 512), VIRTIO_BLK_S_OK);
}

/* A pause has to wait for what was taken: so not all of it is taken. */
static void test_long_requests_drain(void **state)
{
	(void)state;
	long_requests(DRIVER_QUEUE);
	thaw_virtio_mmio_drain(driver.mmio);
	assert_true(thaw_block_bytes_read(block) <= (16u << 20) + LONG_SIZE);
	thaw_virtio_mmio_resume(driver.mmio);
	while (thaw_block_bytes_read(block) != (uint64_t)LONG_SIZE * DRIVER_QUEUE)
		assert_true(driver_turn(&driver, 1000));
}

/* 7.75 MiB and no more: whoever wants more asks again. */
static void test_too_long_request(void **state)
{
	const uint32_t most = 62 * (128u << 10);
	static const struct virtio_blk_outhdr header = {.sector = 0};
	gpa_t to = driver_alloc(&driver, 1 << 20, 4096);
	struct virtio_blk_config config;

	(void)state;
	assert_int_equal(ftruncate(file, 2 * most), 0);
	driver_detach(&driver);
	attach(true);
	for (unsigned int i = 0; i < sizeof(config); i++)
		thaw_virtio_mmio_bus_ops.read(driver.mmio, 0x100 + i, (uint8_t *)&config + i, 1);
	assert_int_equal(config.size_max * config.seg_max, most);
	driver_start(&driver, 0);
	for (unsigned int i = 0; i < 3; i++) {
		struct driver_buffer buffers[11] = {
			{.out = &header, .size = 16}, [10] = {.size = 1}};
		uint16_t head;
		uint32_t size;
		for (unsigned int n = 1; n < 10; n++)
			buffers[n] = (struct driver_buffer){.size = 1 << 20, .gpa = to};
		buffers[8].size = most - (7 << 20);
		buffers[9].size = i == 1 ? 512 : i == 2 ? 1 << 20 : 0;
		driver_add(&driver, 0, buffers, 1, 10);
		driver_kick(&driver, 0);
		while (!driver_used(&driver, 0, &head, &size))
			assert_true(driver_turn(&driver, 1000));
		assert_int_equal(*(uint8_t *)driver_at(&driver, buffers[10].gpa),
				 i ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
		assert_int_equal(thaw_block_bytes_read(block), most);
	}
}

/* Requests beyond the limit are late, and none is refused; more bytes than the bucket holds pass in
 * the end. A pause does not wait for them. */
static void test_limit(void **state)
{
	Thaw__Vmm__RateLimit limit = THAW__VMM__RATE_LIMIT__INIT;
	Thaw__Vmm__TokenBucket requests = THAW__VMM__TOKEN_BUCKET__INIT;
	Thaw__Vmm__TokenBucket bytes = THAW__VMM__TOKEN_BUCKET__INIT;
	static const struct virtio_blk_outhdr header = {.sector = 0};
	uint16_t head;
	uint32_t size;

	(void)state;
	/* Slow enough that a stalled machine does not pass for what is tested. */
	requests.size = 4;
	requests.per_second = 10;
	bytes.size = 512;
	bytes.per_second = 4096 * 20;
	for (unsigned int how = 0; how < 2; how++) {
		limit.operations = how ? NULL : &requests;
		limit.bytes = how ? &bytes : NULL;
		driver_detach(&driver);
		assert_int_equal(create(dup(file), true, &limit), 0);
		driver_attach(&driver, &thaw_block_ops, block);
		driver_start(&driver, how ? 1ull << VIRTIO_RING_F_EVENT_IDX : 0);
		uint64_t began = thaw_monotonic_ns();
		for (unsigned int i = 0; i < 6; i++) {
			assert_int_equal(request(VIRTIO_BLK_T_IN, i, NULL, 4096, true), 0);
			assert_memory_equal(payload(), data + 512 * i, 4096);
		}
		/* Four at once, two at 10 in a second; one at once, five of 4 KiB. */
		assert_true(thaw_monotonic_ns() - began >= (how ? 230000000 : 195000000));
		for (unsigned int i = 0; i < 2; i++) {
			struct driver_buffer buffers[3] = {
				{.out = &header, .size = 16}, {.size = 4096}, {.size = 1}};
			driver_add(&driver, 0, buffers, 1, 2);
			driver_kick(&driver, 0);
		}
		thaw_virtio_mmio_drain(driver.mmio);
		driver_settle(&driver); /* kicks of before */
		thaw_virtio_mmio_drain(driver.mmio);
		uint64_t read_before = thaw_block_bytes_read(block);
		assert_true(read_before < 8 * 4096);
		assert_false(driver_turn(&driver, 120));
		assert_int_equal(thaw_block_bytes_read(block), read_before);
		thaw_virtio_mmio_resume(driver.mmio);
		for (unsigned int i = 0; i < 2; i++) {
			while (!driver_used(&driver, 0, &head, &size))
				assert_true(driver_turn(&driver, 1000));
			assert_int_equal(size, 4097);
		}
	}
	requests.per_second = 0;
	limit.operations = &requests;
	assert_int_equal(create(dup(file), true, &limit), -EINVAL);
}

static void test_snapshot(void **state)
{
	struct virtio_blk_outhdr header = {.sector = 5};
	struct driver_buffer buffers[3] = {
		{.out = &header, .size = 16}, {.size = 512}, {.size = 1}};
	uint16_t head;
	uint32_t size;

	(void)state;
	driver_start(&driver, 1ull << VIRTIO_RING_F_EVENT_IDX);
	assert_int_equal(read_sectors(1, 512), VIRTIO_BLK_S_OK);
	driver_add(&driver, 0, buffers, 1, 2); /* made available, and not kicked */
	assert_int_equal(create(dup(file), true, NULL), 0);
	assert_int_equal(driver_snapshot(&driver, block, &err), 0);
	while (!driver_used(&driver, 0, &head, &size))
		assert_true(driver_turn(&driver, 1000));
	assert_memory_equal(driver_at(&driver, buffers[1].gpa), data + 5 * 512, 512);
	/* A drive of another size, or kind, is another drive. */
	assert_int_equal(create(dup(file), false, NULL), 0);
	assert_int_equal(driver_snapshot(&driver, block, &err), -EPROTO);
}

static void test_bad_drives(void **state)
{
	int fd = memfd_create("empty", MFD_CLOEXEC);
	int pipes[2];

	(void)state;
	assert_int_equal(create(dup(fd), true, NULL), -EINVAL);
	assert_int_equal(ftruncate(fd, 511), 0);
	assert_int_equal(create(fd, true, NULL), -EINVAL);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(create(pipes[0], true, NULL), -ESPIPE);
	close(pipes[1]);
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	assert_int_equal(create(fd, true, NULL), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_config),
		TEST(test_read_and_write),
		TEST(test_discard_and_zeroes),
		TEST(test_identity),
		TEST(test_beyond_the_end),
		TEST(test_read_only),
		TEST(test_many_at_once),
		TEST(test_flood),
		TEST(test_memory_outside),
		TEST(test_broken_requests),
		TEST(test_scattered_header),
		TEST(test_reset_under_way),
		TEST(test_long_request),
		TEST(test_long_requests_reset),
		TEST(test_long_requests_drain),
		TEST(test_too_long_request),
		TEST(test_limit),
		TEST(test_snapshot),
		TEST(test_bad_drives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
