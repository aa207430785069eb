/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/serial.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/serial_reg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/error.h"
#include "proto/snapshot.pb-c.h"

/* IIR with the FIFOs on reads so on a 16550A; a driver tells the chip by it. */
#define IIR_FIFO        0xc0u
#define IER_IMPLEMENTED (UART_IER_RDI | UART_IER_THRI | UART_IER_RLSI | UART_IER_MSI)
#define MCR_IMPLEMENTED                                                                            \
	(UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT1 | UART_MCR_OUT2 | UART_MCR_LOOP)

/* Saved byte for byte. */
struct serial_registers {
	uint8_t ier, lcr, mcr, scr;
	uint8_t dll, dlm;
	uint8_t fifo;         /* 1: FCR has switched the FIFOs on */
	uint8_t thre_pending; /* 1: the transmitter has become empty, not yet told through IIR */
	uint8_t loop_full;    /* 1: loop_data waits in RBR (loopback only) */
	uint8_t loop_data;
};

struct thaw_serial {
	int fd, irq_fd;
	struct serial_registers r;
};

/* The divisor of 9600 baud, as firmware leaves it. */
static const struct serial_registers power_on = {.dll = 12, .thre_pending = 1};

int thaw_serial_create(struct thaw_serial **out, int fd, int irq_fd, struct thaw_error *err)
{
	struct thaw_serial *serial = calloc(1, sizeof(*serial));
	int flags = fcntl(fd, F_GETFL);

	if (!serial || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		int code = serial ? errno : ENOMEM;
		free(serial);
		close(fd);
		close(irq_fd);
		return thaw_error_errno(err, code, "making a serial port");
	}
	*serial = (struct thaw_serial){.fd = fd, .irq_fd = irq_fd, .r = power_on};
	*out = serial;
	return 0;
}

void thaw_serial_destroy(struct thaw_serial *serial)
{
	if (!serial)
		return;
	close(serial->fd);
	close(serial->irq_fd);
	free(serial);
}

/* The cause with the highest priority, as IIR tells it. */
static uint8_t serial_cause(const struct thaw_serial *serial)
{
	const struct serial_registers *r = &serial->r;

	if (r->loop_full && (r->ier & UART_IER_RDI))
		return UART_IIR_RDI;
	if (r->thre_pending && (r->ier & UART_IER_THRI))
		return UART_IIR_THRI;
	return UART_IIR_NO_INT;
}

/* The line is edge-triggered: called whenever a cause has come up. */
static void serial_interrupt(struct thaw_serial *serial)
{
	const uint64_t one = 1;

	if (serial_cause(serial) != UART_IIR_NO_INT) {
		ssize_t n = write(serial->irq_fd, &one, sizeof(one));
		(void)n;
	}
}

static void serial_transmit(struct thaw_serial *serial, uint8_t byte)
{
	struct serial_registers *r = &serial->r;

	if (r->mcr & UART_MCR_LOOP) {
		r->loop_data = byte;
		r->loop_full = 1;
	} else {
		/* Lost when the descriptor is full, or its reader gone. */
		ssize_t n = write(serial->fd, &byte, 1);
		(void)n;
	}
	r->thre_pending = 1; /* sent in no time */
	serial_interrupt(serial);
}

static uint8_t serial_modem_status(const struct thaw_serial *serial)
{
	uint8_t mcr = serial->r.mcr, msr = 0;

	if (!(mcr & UART_MCR_LOOP))
		return UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS; /* a peer that is ready */
	if (mcr & UART_MCR_RTS)
		msr |= UART_MSR_CTS;
	if (mcr & UART_MCR_DTR)
		msr |= UART_MSR_DSR;
	if (mcr & UART_MCR_OUT1)
		msr |= UART_MSR_RI;
	if (mcr & UART_MCR_OUT2)
		msr |= UART_MSR_DCD;
	return msr;
}

static uint8_t serial_receive(struct thaw_serial *serial)
{
	uint8_t byte = serial->r.loop_full ? serial->r.loop_data : 0;

	serial->r.loop_full = 0;
	return byte;
}

static uint8_t serial_read(struct thaw_serial *serial, uint64_t port)
{
	struct serial_registers *r = &serial->r;
	bool divisor = r->lcr & UART_LCR_DLAB;
	uint8_t cause;

	switch (port) {
	case UART_RX:
		return divisor ? r->dll : serial_receive(serial);
	case UART_IER:
		return divisor ? r->dlm : r->ier;
	case UART_IIR:
		cause = serial_cause(serial);
		if (cause == UART_IIR_THRI)
			r->thre_pending = 0;
		return cause | (r->fifo ? IIR_FIFO : 0);
	case UART_LCR:
		return r->lcr;
	case UART_MCR:
		return r->mcr;
	case UART_LSR:
		return UART_LSR_THRE | UART_LSR_TEMT | (r->loop_full ? UART_LSR_DR : 0);
	case UART_MSR:
		return serial_modem_status(serial);
	default:
		return r->scr;
	}
}

static void serial_write(struct thaw_serial *serial, uint64_t port, uint8_t value)
{
	struct serial_registers *r = &serial->r;
	bool divisor = r->lcr & UART_LCR_DLAB;

	switch (port) {
	case UART_TX:
		if (divisor)
			r->dll = value;
		else
			serial_transmit(serial, value);
		break;
	case UART_IER:
		if (divisor) {
			r->dlm = value;
			break;
		}
		/* The transmitter is always empty: asking for its interrupt gets it at once. */
		if ((value & UART_IER_THRI) && !(r->ier & UART_IER_THRI))
			r->thre_pending = 1;
		r->ier = value & IER_IMPLEMENTED;
		serial_interrupt(serial);
		break;
	case UART_FCR:
		r->fifo = value & UART_FCR_ENABLE_FIFO;
		if (value & UART_FCR_CLEAR_RCVR)
			r->loop_full = 0;
		break;
	case UART_LCR:
		r->lcr = value;
		break;
	case UART_MCR:
		r->mcr = value & MCR_IMPLEMENTED;
		break;
	case UART_SCR:
		r->scr = value;
		break;
	default: /* LSR and MSR are read-only */
		break;
	}
}

/* Registers are bytes; a wider access reaches those that follow, as on the ISA bus. */
static void serial_bus_read(void *device, uint64_t offset, void *data, unsigned int size)
{
	uint8_t *bytes = data;

	for (unsigned int i = 0; i < size; i++)
		bytes[i] = serial_read(device, offset + i);
}

static void serial_bus_write(void *device, uint64_t offset, const void *data, unsigned int size)
{
	const uint8_t *bytes = data;

	for (unsigned int i = 0; i < size; i++)
		serial_write(device, offset + i, bytes[i]);
}

const struct thaw_bus_ops thaw_serial_bus_ops = {
	.read = serial_bus_read,
	.write = serial_bus_write,
};

int thaw_serial_save(const struct thaw_serial *serial, Thaw__Snapshot__Device *out,
		     struct thaw_error *err)
{
	Thaw__Snapshot__Serial *state = malloc(sizeof(*state));

	if (!state)
		return thaw_error_errno(err, ENOMEM, "saving the serial port");
	thaw__snapshot__serial__init(state);
	out->state_case = THAW__SNAPSHOT__DEVICE__STATE_SERIAL;
	out->serial = state;
	if (!out->kind[0])
		out->kind = strdup("serial");
	state->registers.data = malloc(sizeof(serial->r));
	if (!out->kind || !state->registers.data)
		return thaw_error_errno(err, ENOMEM, "saving the serial port");
	state->registers.len = sizeof(serial->r);
	memcpy(state->registers.data, &serial->r, sizeof(serial->r));
	return 0;
}

int thaw_serial_restore(struct thaw_serial *serial, const Thaw__Snapshot__Device *in,
			struct thaw_error *err)
{
	struct serial_registers r;

	if (in->state_case != THAW__SNAPSHOT__DEVICE__STATE_SERIAL || !in->serial ||
	    in->serial->registers.len != sizeof(r))
		return thaw_error_set(err, EPROTO, "serial port: the state is of another device");
	memcpy(&r, in->serial->registers.data, sizeof(r));
	if ((r.ier & ~IER_IMPLEMENTED) || (r.mcr & ~MCR_IMPLEMENTED) || r.fifo > 1 ||
	    r.thre_pending > 1 || r.loop_full > 1)
		return thaw_error_set(err, EPROTO, "serial port: a register out of range");
	serial->r = r;
	/* An edge that the saved machine had not taken yet may be lost. One too many is harmless:
	 * the driver reads IIR. */
	serial_interrupt(serial);
	return 0;
}
