/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A serial port, as a console for people who look into a guest: what the guest transmits is
 * written to a descriptor, and nothing is ever received. A vCPU does not wait for it: bytes that
 * the descriptor does not take at once are lost.
 *
 * Bus accesses come with the device lock held.
 */
#ifndef THAW_VMM_DEVICES_SERIAL_H
#define THAW_VMM_DEVICES_SERIAL_H

#include "vmm/bus.h"

struct thaw_serial;
struct Thaw__Snapshot__Device;

/* `fd` is set to non-blocking if it is a pipe, a socket or a terminal: pass one that nobody shares.
 * `irq_fd` is an eventfd that raises the interrupt line, an edge at each write. Both belong to the
 * port, also when this fails. */
int thaw_serial_create(struct thaw_serial **out, int fd, int irq_fd, struct thaw_error *err);
/* NULL is allowed. */
void thaw_serial_destroy(struct thaw_serial *serial);

/* For thaw_bus_add: eight ports. */
extern const struct thaw_bus_ops thaw_serial_bus_ops;

/* The registers, into `out` (initialised; its kind may be set). */
int thaw_serial_save(const struct thaw_serial *serial, struct Thaw__Snapshot__Device *out,
		     struct thaw_error *err);
/* From an untrusted state: -EPROTO when it is none. */
int thaw_serial_restore(struct thaw_serial *serial, const struct Thaw__Snapshot__Device *in,
			struct thaw_error *err);

#endif
