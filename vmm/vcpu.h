/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual processors: each is a thread that runs guest code, hands accesses to the buses, and
 * stops when told.
 *
 * All vCPUs of a machine obey one gate. It begins closed: threads are made parked. While the gate
 * is closed and thaw_gate_close has returned, no guest code runs, every I/O instruction is whole,
 * and registers may be read and written from any thread.
 */
#ifndef THAW_VMM_VCPU_H
#define THAW_VMM_VCPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct thaw_bus;
struct thaw_error;
struct Thaw__Snapshot__Cpu;

#define THAW_VCPUS_MAX    6u
#define THAW_EXIT_REASONS 64u /* KVM_EXIT_*; larger ones count as 0 (unknown) */

enum thaw_stop_reason { THAW_STOP_RESET, THAW_STOP_KVM, THAW_STOP_HOST };

struct thaw_vcpu {
	struct thaw_gate *gate;
	unsigned int index;
	int fd;
	struct kvm_run *run;
	int run_size;
	pthread_t thread;
	/* Written by the thread alone; to be read atomically. */
	uint64_t exits[THAW_EXIT_REASONS];
	uint64_t signals; /* returns from KVM_RUN for a signal */
	uint64_t guest_ns;
};

struct thaw_gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool open, quit;
	unsigned int parked;
	struct thaw_vcpu vcpus[THAW_VCPUS_MAX];
	unsigned int count;

	/* Set by the owner before thaw_vcpu_create. Bus accesses hold device_lock. */
	struct thaw_bus *mmio, *pio;
	pthread_mutex_t *device_lock;
	/* The guest has come to an end; called once, from a vCPU thread, which then parks. */
	void (*stopped)(void *opaque, enum thaw_stop_reason reason, const char *message);
	void *opaque;
	bool ended;
	uint64_t first_run_ns; /* CLOCK_MONOTONIC of the first KVM_RUN; 0: not yet; atomic */
};

void thaw_gate_setup(struct thaw_gate *gate);
/* Ends all threads and closes the vCPUs. */
void thaw_gate_destroy(struct thaw_gate *gate);

/* Makes vCPU number gate->count with these CPUID entries, and its parked thread. */
int thaw_vcpu_create(struct thaw_gate *gate, int vm_fd, int run_size,
		     const struct kvm_cpuid2 *cpuid, struct thaw_error *err);

void thaw_gate_open(struct thaw_gate *gate);
void thaw_gate_close(struct thaw_gate *gate);

/* Registers to protobuf and back, the gate being closed. save fills fields with malloc'ed data
 * that thaw__snapshot__cpu__free_unpacked releases; all but the CPUID, which is the machine's. */
int thaw_vcpu_save(struct thaw_vcpu *vcpu, int kvm_fd, struct Thaw__Snapshot__Cpu *out,
		   struct thaw_error *err);
/* Untrusted input: sizes are checked here, values by KVM. */
int thaw_vcpu_restore(struct thaw_vcpu *vcpu, const struct Thaw__Snapshot__Cpu *in,
		      struct thaw_error *err);

/* "io", "mmio", "hlt", ... */
const char *thaw_exit_name(unsigned int reason);

#endif
