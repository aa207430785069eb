/* SPDX-License-Identifier: Apache-2.0 */
/* The processor, ports that are no virtio device's, and memory that is none. */
#include "guest.h"

/* What the harness itself finds in a guest that does no harm. */
static void nothing(void)
{
}

static void triple_fault(void)
{
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = {0, 0};

	__asm__ volatile("lidt %0; ud2" : : "m"(none));
}

/* Says nothing more, and may or may not be awake. */
static void halt(void)
{
	out8(MARK_PORT, MARK_DONE);
	print("resting\n");
	rest();
}

static void spin(void)
{
	out8(MARK_PORT, MARK_DONE);
	print("resting\n");
	for (;;)
		__asm__ volatile("pause");
}

static void second_loop(void)
{
	put32(MMIO_BASE, 0);
	out8(MARK_PORT, 1);
	out8(0x3ff, '.'); /* not the console, where our last word would drown */
}

/* Both processors ask for the devices without end. */
static void storm_for_ever(void)
{
	second_run(second_loop);
	out8(MARK_PORT, MARK_DONE);
	print("resting\n");
	for (;;)
		second_loop();
}

static void keyboard_reset(void)
{
	out8(0x64, 0xfe);
	rest();
}

static void second_reset(void)
{
	out8(0x64, 0xfe);
}

static void both_reset(void)
{
	second_run(second_reset);
	for (;;)
		out8(0x64, 0xfe);
}

static volatile bool spinning;

static void second_spin(void)
{
	spinning = true;
	for (;;)
		__asm__ volatile("pause");
}

/* The end of one processor is the end of the other, which would never notice. */
static void reset_beside_spin(void)
{
	second_run(second_spin);
	while (!spinning)
		;
	out8(0x64, 0xfe);
	rest();
}

static void console_flood(void)
{
	for (unsigned int i = 0; i < 20000; i++)
		out8(0x3f8, (uint8_t)('a' + i % 26));
	print("\n");
}

static void mark_flood(void)
{
	for (unsigned int i = 0; i < 20000; i++)
		out8(MARK_PORT, (uint8_t)(i % 0x20));
}

static void serial_registers(void)
{
	uint32_t n = 1;

	for (unsigned int i = 0; i < 5000; i++) {
		n = n * 1103515245 + 12345;
		out8((uint16_t)(0x3f8 + (n >> 20) % 8), (uint8_t)(n >> 12));
		in8((uint16_t)(0x3f8 + (n >> 24) % 8));
	}
	out8(0x3fb, 3); /* no divisor latch, no loop: the console again */
	out8(0x3fc, 0);
	out8(0x3f9, 0);
}

/* Runs what a device's registers hold. */
static void run_device(void)
{
	__asm__ volatile("jmp *%0" : : "r"(MMIO_BASE));
}

static void run_hole(void)
{
	__asm__ volatile("jmp *%0" : : "r"(0xc8000000ull));
}

/* Page tables where no memory is. */
static void tables_in_hole(void)
{
	__asm__ volatile("movq %0, %%cr3" : : "r"(0xc8000000ull) : "memory");
}

/* Writes all over a mapped drive, which is above 4 GiB: through page tables of one's own. */
static void pmem_write(void)
{
	struct device *d = device_of(ID_PMEM, 0);
	uint64_t start = get32(d->base + 0x100) | (uint64_t)get32(d->base + 0x104) << 32;
	volatile uint64_t *directory = (volatile uint64_t *)BIG;

	/* The fifth GiB of the PDPT at 0xa000 is a directory of ours. */
	directory[0] = (start & ~0x1fffffull) | 0x83;
	put64(0xa000 + 8 * 5, BIG | 3);
	volatile uint64_t *drive = (volatile uint64_t *)((5ull << 30) + (start & 0x1fffff));
	for (unsigned int i = 0; i < 4096; i += 97)
		drive[i] = ~0ull;
}

const struct scenario machine_scenarios[] = {
	{"nothing", nothing},
	{"triple-fault", triple_fault},
	{"halt", halt},
	{"spin", spin},
	{"storm-for-ever", storm_for_ever},
	{"keyboard-reset", keyboard_reset},
	{"both-reset", both_reset},
	{"reset-beside-spin", reset_beside_spin},
	{"console-flood", console_flood},
	{"mark-flood", mark_flood},
	{"serial-registers", serial_registers},
	{"run-device", run_device},
	{"run-hole", run_hole},
	{"tables-in-hole", tables_in_hole},
	{"pmem-write", pmem_write},
	{0},
};
