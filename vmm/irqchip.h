/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interrupt controllers and the clock, which KVM emulates: a pair of 8259s, an I/O APIC and
 * kvm-clock. There is no PIT: guests have a TSC deadline timer and a clock from KVM.
 */
#ifndef THAW_VMM_IRQCHIP_H
#define THAW_VMM_IRQCHIP_H

struct thaw_error;
struct Thaw__Snapshot__State;

/* After the memory slots (a slot added to a machine with an irqchip costs 40 times as much), and
 * before the vCPUs. */
int thaw_irqchip_create(int vm_fd, struct thaw_error *err);

/* Raises line `gsi` for a moment whenever the returned eventfd is written. The caller owns it. */
int thaw_irqchip_line(int vm_fd, unsigned int gsi, struct thaw_error *err);

int thaw_irqchip_save(int vm_fd, struct Thaw__Snapshot__State *out, struct thaw_error *err);
int thaw_irqchip_restore(int vm_fd, const struct Thaw__Snapshot__State *in, struct thaw_error *err);

#endif
