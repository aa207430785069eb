/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that means harm: no kernel, one scenario a run, named on the command line. It drives the
 * devices of thaw-vmm in ways that no driver does, then resets them and sees whether they serve a
 * driver that keeps to the rules.
 *
 *	guest.c      console, time, the second processor, the scenarios' table
 *	virtio.c     a driver, as far as one is needed to do harm
 *	transport.c  registers: orders, values, offsets and widths
 *	rings.c      queues, for every device
 *	devices.c    requests of block, rng and vsock
 *	net.c        frames and buffers of net
 *	machine.c    everything that is no virtio device
 *
 * It runs in 64-bit mode at ring 0, without an interrupt table: a fault is the end. On a software
 *KVM its instructions are emulated one by one: nothing here but plain integer code.
 */
#ifndef THAW_TESTS_HOSTILE_GUEST_H
#define THAW_TESTS_HOSTILE_GUEST_H

#include <linux/virtio_mmio.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the harness makes this guest of (harness.c). */
#define MEMORY_SIZE (64ull << 20)
#define BIG         (32ull << 20) /* a buffer: the upper half of memory */
#define BIG_SIZE    (32u << 20)
#define MMIO_BASE   0xd0000000ull
#define WINDOW      0x1000ull
#define DISK_SIZE   (1ull << 30) /* the read-only one */
#define SECTOR      512u
/* What a request of a drive moves at most. */
#define PIECES       62u
#define PIECE_SIZE   (128u << 10)
#define REQUEST_SIZE (PIECES * PIECE_SIZE)

/* Marks: the scenario is over; devices work again; or they do not. */
#define MARK_PORT   0x510
#define MARK_DONE   0x20
#define MARK_WELL   0x21
#define MARK_UNWELL 0x22

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint16_t in16(uint16_t port)
{
	uint16_t value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void put8(uint64_t at, uint8_t value)
{
	__asm__ volatile("movb %0, (%1)" : : "q"(value), "r"(at) : "memory");
}

static inline void put16(uint64_t at, uint16_t value)
{
	__asm__ volatile("movw %0, (%1)" : : "r"(value), "r"(at) : "memory");
}

static inline void put32(uint64_t at, uint32_t value)
{
	__asm__ volatile("movl %0, (%1)" : : "r"(value), "r"(at) : "memory");
}

static inline void put64(uint64_t at, uint64_t value)
{
	__asm__ volatile("movq %0, (%1)" : : "r"(value), "r"(at) : "memory");
}

static inline uint8_t get8(uint64_t at)
{
	uint8_t value;

	__asm__ volatile("movb (%1), %0" : "=q"(value) : "r"(at) : "memory");
	return value;
}

static inline uint16_t get16(uint64_t at)
{
	uint16_t value;

	__asm__ volatile("movw (%1), %0" : "=r"(value) : "r"(at) : "memory");
	return value;
}

static inline uint32_t get32(uint64_t at)
{
	uint32_t value;

	__asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(at) : "memory");
	return value;
}

static inline uint64_t get64(uint64_t at)
{
	uint64_t value;

	__asm__ volatile("movq (%1), %0" : "=r"(value) : "r"(at) : "memory");
	return value;
}

/* --- guest.c --- */

void print(const char *text);
void print_number(uint64_t value);
/* The scenario has found something wrong: says so, and the run does not count as well. */
void fault(const char *what);
/* Milliseconds of the host's wall clock. */
uint64_t now_ms(void);
/* Has `run` called over and over by the second processor until `second_stop`. */
void second_run(void (*run)(void));
void second_stop(void);
_Noreturn void rest(void);
void fill(volatile void *at, uint8_t value, unsigned int size);

/* --- virtio.c --- */

#define DEVICES_MAX 12u
#define QUEUES_MAX  3u
#define RING_MAX    256u

enum { ID_NET = 1, ID_BLOCK = 2, ID_RNG = 4, ID_VSOCK = 19, ID_PMEM = 27 };
enum {
	ACKNOWLEDGE = 1,
	DRIVER = 2,
	DRIVER_OK = 4,
	FEATURES_OK = 8,
	NEEDS_RESET = 64,
	FAILED = 128
};
enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

struct descriptor {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

/* A queue as it lies in memory. */
struct ring {
	struct descriptor desc[RING_MAX];
	uint16_t avail_flags, avail_index, avail[RING_MAX], used_event;
	uint8_t pad[506];
	uint16_t used_flags, used_index;
	struct {
		uint32_t id, len;
	} used[RING_MAX];
	uint16_t avail_event;
	uint8_t end[506];
} __attribute__((aligned(4096)));

struct device {
	uint64_t base;
	uint32_t id;
	unsigned int queues;
	uint16_t size[QUEUES_MAX]; /* the most, which bring_up takes */
	volatile struct ring *ring[QUEUES_MAX];
};

extern struct device devices[DEVICES_MAX];
extern unsigned int device_count;

void find_devices(void);
/* The nth device of a kind. */
struct device *device_of(uint32_t id, unsigned int n);

uint32_t reg_get(const struct device *d, uint32_t offset);
void reg_set(const struct device *d, uint32_t offset, uint32_t value);
uint32_t status_of(const struct device *d);
void reset(const struct device *d);
/* Up to FEATURES_OK, with VERSION_1 and `features`. Whether the device took them. */
bool negotiate(const struct device *d, uint64_t features);
void queue_set(const struct device *d, unsigned int queue, uint32_t size, uint64_t desc,
	       uint64_t avail, uint64_t used);
/* All the way to DRIVER_OK with empty rings. */
void bring_up(struct device *d);
void describe(struct device *d, unsigned int queue, unsigned int at, uint64_t addr, uint32_t len,
	      uint16_t flags, uint16_t next);
/* Makes `head` available; kick tells the device. */
void offer(struct device *d, unsigned int queue, uint16_t head);
void kick(const struct device *d, unsigned int queue);
/* Whether `count` in all were used within ms. */
bool used_up(const struct device *d, unsigned int queue, uint16_t count, unsigned int ms);
/* A block request in descriptors 0..2; its status byte, 0xff if none came. */
uint8_t block_request(struct device *d, uint32_t type, uint64_t sector, uint64_t addr,
		      uint32_t size);
/* Resets all devices and uses them properly. */
bool all_well(void);

/* --- scenarios --- */

struct scenario {
	const char *name;
	void (*run)(void);
};

extern const struct scenario transport_scenarios[], ring_scenarios[], device_scenarios[],
	net_scenarios[], machine_scenarios[];

#endif
