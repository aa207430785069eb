/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a kernel's file to a vCPU at its first instruction: the 64-bit boot protocol of Linux
 * (Documentation/x86/boot.rst) with an MP table (Intel MultiProcessor Specification 1.4) in place
 * of firmware.
 *
 * Kernel and initrd are outside bytes: every length and address in them is checked before use,
 * and a file that is not a kernel, or not all of one, is refused before anything starts.
 */
#ifndef THAW_VMM_BOOT_BOOT_H
#define THAW_VMM_BOOT_BOOT_H

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/memory.h"

struct thaw_error;

/* The lower megabyte, as boot.c lays it out. */
#define BOOT_GDT          0x500ull
#define BOOT_PARAMS       0x7000ull
#define BOOT_PAGE_TABLES  0x9000ull /* PML4, PDPT, 4 PDs: 4 GiB mapped one to one */
#define BOOT_SETUP_DATA   0x6000ull /* a list of one: the seed of the guest's randomness */
#define BOOT_STACK        0x8ff0ull
#define BOOT_COMMAND_LINE 0x20000ull
#define BOOT_MP_TABLE     0x9fc00ull /* the last kilobyte of base memory: where Linux looks */
#define BOOT_BASE_END     0x9fc00ull
#define BOOT_HIGH_MEMORY  0x100000ull

#define BOOT_COMMAND_LINE_MAX 2048u /* COMMAND_LINE_SIZE of x86, its 0 byte included */

struct thaw_boot_kernel {
	gpa_t entry;           /* of the 64-bit protocol */
	gpa_t end;             /* first byte after what the kernel needs when it starts */
	uint64_t initrd_max;   /* highest address an initrd's last byte may have */
	uint8_t header[0x100]; /* setup header for the boot parameters, from offset 0x1f1 */
	size_t header_size;
};

struct thaw_boot {
	const char *command_line;
	unsigned int vcpus;
};

/* Loads kernel, initrd (initrd_fd -1: none), parameters and tables into memory, and gives the
 * kernel's entry point. */
int thaw_boot_load(const struct thaw_memory *memory, int kernel_fd, int initrd_fd,
		   const struct thaw_boot *boot, gpa_t *entry, struct thaw_error *err);

/* Registers of the boot processor. sregs come from KVM_GET_SREGS. */
void thaw_boot_registers(gpa_t entry, struct kvm_regs *regs, struct kvm_sregs *sregs);

/* The two formats, told apart by their magic. */
int thaw_boot_load_elf(const struct thaw_memory *memory, int fd, uint64_t size,
		       struct thaw_boot_kernel *kernel, struct thaw_error *err);
int thaw_boot_load_bzimage(const struct thaw_memory *memory, int fd, uint64_t size,
			   struct thaw_boot_kernel *kernel, struct thaw_error *err);

int thaw_boot_mp_table(const struct thaw_memory *memory, unsigned int vcpus,
		       struct thaw_error *err);

#endif
