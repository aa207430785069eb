/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls of thaw-vmm, as a table: a row is a call, what its arguments must be, which
 * threads may make it, and why (sandbox_table.c). What no row allows ends the process.
 *
 * The table is compiled to filters when Thaw is built (sandbox_compile.c), and compared with what
 * running microVMs call by tests/integration/test_sandbox.py: a row that no test needs has to say
 * that it is seldom, and why.
 */
#ifndef THAW_VMM_SANDBOX_TABLE_H
#define THAW_VMM_SANDBOX_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Kinds of threads. The I/O thread is of the first until its guest runs, and of the second from
 * then on; all others begin as it was when it made them. */
enum {
	THAW_SANDBOX_START,  /* makes the machine, loads memory, makes threads */
	THAW_SANDBOX_RUN,    /* serves the devices and the host, saves, takes all down */
	THAW_SANDBOX_VCPU,   /* runs the guest, and answers its accesses to registers */
	THAW_SANDBOX_MEMORY, /* serves page faults (load_uffd.c) */
	THAW_SANDBOX_KINDS,
};

/* Stands for the process's own id, which is filled in when a filter is loaded. */
#define THAW_SANDBOX_SELF 0x5e1f5e1fu

/* Of one argument (from 0): (argument & mask) == value. A mask of 0 checks nothing. */
struct thaw_sandbox_check {
	unsigned int argument;
	uint64_t mask, value;
};

#define THAW_SANDBOX_CHECKS 2

struct thaw_sandbox_row {
	int call;
	const char *name;
	const char *detail; /* the checks, to be read; "" */
	struct thaw_sandbox_check checks[THAW_SANDBOX_CHECKS];
	unsigned int kinds; /* a bit each */
	bool seldom;        /* no test can make it happen at will: the reason says when it does */
	const char *reason;
};

extern const struct thaw_sandbox_row thaw_sandbox_rows[];
extern const size_t thaw_sandbox_row_count;

/* Refused with ENOSYS, so that the C library takes another: it hides its flags in memory. */
#define THAW_SANDBOX_ABSENT SYS_clone3

#endif
