/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shells: microVMs in waiting. A thaw-vmm that runs, with its VM, memory, interrupt chips and vCPUs
 * made, lacks only what a function is: its drives, and its snapshot. Making one takes some
 * milliseconds that nobody should wait for; so as many as have been taken are made again, ahead, by
 * a thread of their own.
 *
 * Shells differ in their shape. Which shapes are wanted is learned from those that are asked for;
 * of all together there are at most as many as was said, and those of the shape not asked for the
 * longest make room.
 *
 * A thaw-vmm dies with the thread that started it (vmm_client.h): shells that were taken live no
 * longer than their makers' thread, which ends with thaw_shells_free.
 */
#ifndef THAW_HOST_SHELLS_H
#define THAW_HOST_SHELLS_H

#include <stdbool.h>
#include <stdint.h>

#include "host/function.h"
#include "host/vmm_client.h"

struct thaw_error;
struct thaw_host;
struct thaw_machine;
struct thaw_shells;

struct thaw_shell_shape {
	uint32_t vcpus;
	uint32_t memory_mib;
	uint32_t pmem_mib;                   /* room for drives that are mapped */
	Thaw__Vmm__CpuTemplate cpu_template; /* as it was asked for */
};

struct thaw_shell {
	struct thaw_shell_shape shape;
	struct thaw_vmm vmm;
	Thaw__Vmm__CpuTemplate cpu_template; /* in force */
	bool software_kvm;
};

/* What a function's environments are made of, with these drives. */
struct thaw_shell_shape thaw_shell_shape(const struct thaw_function *function,
					 const struct thaw_machine *machine);

/* One, made by the calling thread, which must outlive it. */
int thaw_shell_make(const struct thaw_host *host, const struct thaw_shell_shape *shape,
		    struct thaw_shell *shell, struct thaw_error *err);

/* Keeps at most `count` (at least 1). `host` must outlive it. */
struct thaw_shells *thaw_shells_new(const struct thaw_host *host, unsigned int count,
				    struct thaw_error *err);

/* Ends those that wait. All that were taken must be closed. NULL is allowed. */
void thaw_shells_free(struct thaw_shells *shells);

/* One of the shape, if there is one that waits (and lives); it is the caller's to close. Does not
 * wait. `shells` may be NULL. */
bool thaw_shells_take(struct thaw_shells *shells, const struct thaw_shell_shape *shape,
		      struct thaw_shell *shell);

struct thaw_shells_counts {
	uint64_t made, taken, missed, failed;
	unsigned int waiting;
};
void thaw_shells_count(struct thaw_shells *shells, struct thaw_shells_counts *counts);

#endif
