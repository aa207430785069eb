/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

#define SERIAL_PORT  0x3f8
#define CLOCK_PORT   0x518
#define COMMAND_LINE 0x20000ull
#define SECOND_CODE  0x10000ull
#define APIC_COMMAND 0xfee00300ull

extern const uint8_t second_start[], second_end[];
void guest_main(void);
void second_main(void);

static bool faulty;
static void (*volatile second_work)(void);
static volatile bool second_stopped = true, second_here, over;

void print(const char *text)
{
	while (*text)
		out8(SERIAL_PORT, (uint8_t)*text++);
}

void print_number(uint64_t value)
{
	char text[20];
	unsigned int at = sizeof(text);

	text[--at] = 0;
	do {
		text[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value && at);
	print(text + at);
}

void fault(const char *what)
{
	faulty = true;
	print("fault: ");
	print(what);
	print("\n");
}

uint64_t now_ms(void)
{
	uint64_t low = in32(CLOCK_PORT), high = in32(CLOCK_PORT + 4);

	return (low | high << 32) / 1000000;
}

void fill(volatile void *at, uint8_t value, unsigned int size)
{
	volatile uint64_t *to = at;
	uint64_t word = value * 0x0101010101010101ull;

	for (unsigned int i = 0; i < size / 8; i++)
		to[i] = word;
}

/* The compiler makes calls of these two as it sees fit. */
void *memset(void *at, int value, size_t size);
void *memcpy(void *to, const void *from, size_t size);

void *memset(void *at, int value, size_t size)
{
	volatile uint8_t *to = at;

	for (size_t i = 0; i < size; i++)
		to[i] = (uint8_t)value;
	return at;
}

void *memcpy(void *to, const void *from, size_t size)
{
	volatile uint8_t *out = to;
	const uint8_t *in = from;

	for (size_t i = 0; i < size; i++)
		out[i] = in[i];
	return to;
}

void rest(void)
{
	over = true;
	for (;;)
		__asm__ volatile("cli; hlt");
}

void second_main(void)
{
	second_here = true;
	for (;;) {
		void (*work)(void) = second_work;
		if (work) {
			second_stopped = false;
			while (second_work)
				work();
			second_stopped = true;
		}
		if (over)
			rest();
		__asm__ volatile("pause");
	}
}

void second_run(void (*run)(void))
{
	uint64_t began = now_ms();

	if (!second_here) {
		memcpy((void *)SECOND_CODE, second_start, (size_t)(second_end - second_start));
		/* To all but oneself. */
		put32(APIC_COMMAND, 0xc4500); /* INIT */
		while (now_ms() < began + 20)
			;
		put32(APIC_COMMAND, 0xc4600 | (SECOND_CODE >> 12)); /* STARTUP */
		while (!second_here && now_ms() < began + 5000)
			;
		if (!second_here)
			fault("the second processor does not start");
	}
	second_work = run;
}

void second_stop(void)
{
	uint64_t began = now_ms();

	second_work = NULL;
	while (!second_stopped && now_ms() < began + 5000)
		;
}

/* The word after "scenario=". */
static bool chosen(const char *name)
{
	const char *text = (const char *)COMMAND_LINE, *key = "scenario=";

	while (*key) {
		if (*text++ != *key++)
			return false;
	}
	while (*name) {
		if (*text++ != *name++)
			return false;
	}
	return *text == ' ' || !*text;
}

static const struct scenario *const tables[] = {transport_scenarios, ring_scenarios,
						device_scenarios, net_scenarios, machine_scenarios};

void guest_main(void)
{
	const struct scenario *found = NULL;

	for (unsigned int t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		for (const struct scenario *s = tables[t]; s->name; s++) {
			if (chosen("list")) {
				print(s->name);
				print("\n");
			} else if (chosen(s->name)) {
				found = s;
			}
		}
	}
	if (chosen("list")) {
		print("resting\n");
		rest();
	}
	find_devices();
	if (found)
		found->run();
	else
		fault("no such scenario");
	/* Nobody may listen to marks any more (mark-flood); the console is always heard. */
	out8(MARK_PORT, MARK_DONE);
	print("done\n");
	bool well = all_well() && !faulty;
	out8(MARK_PORT, well ? MARK_WELL : MARK_UNWELL);
	print(well ? "well\n" : "unwell\n");
	rest();
}
