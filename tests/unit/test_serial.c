/* SPDX-License-Identifier: Apache-2.0 */
/* The serial port and the mark port, at the level of their registers. */
#include <errno.h>
#include <fcntl.h>
#include <linux/serial_reg.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/error.h"
#include "proto/snapshot.pb-c.h"
#include "vmm/devices/mark.h"
#include "vmm/devices/serial.h"

static struct thaw_serial *serial;
static struct thaw_error err;
static int irq, out;

static int setup(void **state)
{
	int pipes[2];

	(void)state;
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	out = pipes[0];
	fcntl(out, F_SETFL, O_NONBLOCK);
	irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(thaw_serial_create(&serial, pipes[1], dup(irq), &err), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	thaw_serial_destroy(serial);
	close(out);
	close(irq);
	return 0;
}

static uint8_t in8(uint64_t port)
{
	uint8_t value = 0;

	thaw_serial_bus_ops.read(serial, port, &value, 1);
	return value;
}

static void out8(uint64_t port, uint8_t value)
{
	thaw_serial_bus_ops.write(serial, port, &value, 1);
}

static bool interrupted(void)
{
	uint64_t count;

	return read(irq, &count, sizeof(count)) == sizeof(count);
}

static void test_transmits(void **state)
{
	char text[16] = "";

	(void)state;
	for (const char *c = "hello\n"; *c; c++) {
		assert_int_equal(in8(UART_LSR) & UART_LSR_THRE, UART_LSR_THRE);
		out8(UART_TX, (uint8_t)*c);
	}
	assert_int_equal(read(out, text, sizeof(text)), 6);
	assert_string_equal(text, "hello\n");
	assert_false(interrupted()); /* nobody asked */
	assert_int_equal(in8(UART_LSR) & UART_LSR_DR, 0);
	assert_int_equal(in8(UART_RX), 0);
}

/* As Linux's 8250 driver tells a 16550A. */
static void test_probe(void **state)
{
	(void)state;
	out8(UART_SCR, 0xa5);
	assert_int_equal(in8(UART_SCR), 0xa5);
	out8(UART_IER, 0xff);
	assert_int_equal(in8(UART_IER), 0x0f);
	out8(UART_IER, 0);
	out8(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
	assert_int_equal(in8(UART_MSR) & 0xf0, UART_MSR_DCD | UART_MSR_CTS);
	out8(UART_MCR, 0);
	assert_int_equal(in8(UART_IIR) & 0xc0, 0);
	out8(UART_FCR, UART_FCR_ENABLE_FIFO);
	assert_int_equal(in8(UART_IIR) & 0xc0, 0xc0);
	out8(UART_LCR, UART_LCR_DLAB);
	out8(UART_DLL, 1);
	out8(UART_DLM, 2);
	assert_int_equal(in8(UART_DLL), 1);
	assert_int_equal(in8(UART_DLM), 2);
	out8(UART_LCR, UART_LCR_WLEN8);
	assert_int_equal(in8(UART_IER), 0);
	assert_int_equal(in8(UART_LCR), UART_LCR_WLEN8);
}

static void test_transmit_interrupt(void **state)
{
	(void)state;
	assert_int_equal(in8(UART_IIR) & 0x0f, UART_IIR_NO_INT);
	out8(UART_IER, UART_IER_THRI);
	assert_true(interrupted()); /* empty already */
	assert_int_equal(in8(UART_IIR) & 0x0f, UART_IIR_THRI);
	assert_int_equal(in8(UART_IIR) & 0x0f, UART_IIR_NO_INT); /* told */
	out8(UART_TX, 'x');
	assert_true(interrupted());
	assert_int_equal(in8(UART_IIR) & 0x0f, UART_IIR_THRI);
	out8(UART_IER, 0);
	out8(UART_TX, 'y');
	assert_false(interrupted());
	out8(UART_IER, UART_IER_THRI);
	assert_true(interrupted());
}

static void test_loopback(void **state)
{
	char c;

	(void)state;
	out8(UART_MCR, UART_MCR_LOOP);
	out8(UART_IER, UART_IER_RDI);
	out8(UART_TX, 'z');
	assert_true(interrupted());
	assert_int_equal(in8(UART_IIR) & 0x0f, UART_IIR_RDI);
	assert_true(in8(UART_LSR) & UART_LSR_DR);
	assert_int_equal(in8(UART_RX), 'z');
	assert_false(in8(UART_LSR) & UART_LSR_DR);
	assert_int_equal(read(out, &c, 1), -1);
}

static void test_never_waits(void **state)
{
	static char sink[1 << 20];

	(void)state;
	for (unsigned int i = 0; i < 200000; i++) /* more than a pipe holds */
		out8(UART_TX, 'a');
	while (read(out, sink, sizeof(sink)) > 0)
		;
	out8(UART_TX, 'b');
	assert_int_equal(read(out, sink, sizeof(sink)), 1);
	assert_int_equal(sink[0], 'b');
}

static void test_wide_accesses(void **state)
{
	uint32_t all;

	(void)state;
	for (uint64_t port = 0; port <= 4; port++)
		thaw_serial_bus_ops.read(serial, port, &all, 4);
	thaw_serial_bus_ops.write(serial, 4, &all, 4);
	uint64_t everything = UINT64_MAX;
	thaw_serial_bus_ops.write(serial, 0, &everything, 8);
	thaw_serial_bus_ops.read(serial, 0, &everything, 8);
}

static void test_snapshot(void **state)
{
	Thaw__Snapshot__Device *saved = malloc(sizeof(*saved));

	(void)state;
	out8(UART_SCR, 0x42);
	out8(UART_LCR, UART_LCR_WLEN8);
	out8(UART_IER, UART_IER_THRI);
	interrupted();
	thaw__snapshot__device__init(saved);
	assert_int_equal(thaw_serial_save(serial, saved, &err), 0);
	assert_string_equal(saved->kind, "serial");
	teardown(NULL);
	setup(NULL);
	assert_int_equal(thaw_serial_restore(serial, saved, &err), 0);
	assert_true(interrupted()); /* the cause had not been read */
	assert_int_equal(in8(UART_SCR), 0x42);
	assert_int_equal(in8(UART_LCR), UART_LCR_WLEN8);
	saved->serial->registers.data[0] = 0xff;
	assert_int_equal(thaw_serial_restore(serial, saved, &err), -EPROTO);
	saved->serial->registers.len--;
	assert_int_equal(thaw_serial_restore(serial, saved, &err), -EPROTO);
	thaw__snapshot__device__free_unpacked(saved, NULL);
	Thaw__Snapshot__Device empty = THAW__SNAPSHOT__DEVICE__INIT;
	assert_int_equal(thaw_serial_restore(serial, &empty, &err), -EPROTO);
}

static void mark_noted(void *opaque, uint8_t value)
{
	*(unsigned int *)opaque = *(unsigned int *)opaque * 256 + value;
}

static void test_mark(void **state)
{
	unsigned int marks = 0;
	struct thaw_mark mark = {mark_noted, &marks};
	struct thaw_bus bus = {0};
	uint32_t value = 0x02;

	(void)state;
	assert_int_equal(thaw_bus_add(&bus, THAW_MARK_PORT, 1, &thaw_mark_bus_ops, &mark, &err), 0);
	thaw_bus_write(&bus, THAW_MARK_PORT, &value, 1);
	assert_int_equal(marks, THAW_MARK_LISTEN);
	thaw_bus_write(&bus, THAW_MARK_PORT, &value, 2); /* wider than the port */
	assert_int_equal(marks, THAW_MARK_LISTEN);
	thaw_bus_read(&bus, THAW_MARK_PORT, &value, 1);
	assert_int_equal(value & 0xff, 0xff);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_transmits), TEST(test_probe),       TEST(test_transmit_interrupt),
		TEST(test_loopback),  TEST(test_never_waits), TEST(test_wide_accesses),
		TEST(test_snapshot),  TEST(test_mark),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
