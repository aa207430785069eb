/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/vcpu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/error.h"
#include "vmm/bus.h"
#include "vmm/kvm.h"
#include "vmm/sandbox.h"
#include "vmm/sandbox_table.h"

#define KICK_SIGNAL SIGUSR1

/* The keyboard controller's reset line: what Linux pulls with reboot=k. */
#define PORT_KEYBOARD_COMMAND 0x64
#define KEYBOARD_RESET        0xfe

static const char *const exit_names[THAW_EXIT_REASONS] = {
	[KVM_EXIT_UNKNOWN] = "unknown",
	[KVM_EXIT_EXCEPTION] = "exception",
	[KVM_EXIT_IO] = "io",
	[KVM_EXIT_HYPERCALL] = "hypercall",
	[KVM_EXIT_DEBUG] = "debug",
	[KVM_EXIT_HLT] = "hlt",
	[KVM_EXIT_MMIO] = "mmio",
	[KVM_EXIT_IRQ_WINDOW_OPEN] = "irq-window",
	[KVM_EXIT_SHUTDOWN] = "shutdown",
	[KVM_EXIT_FAIL_ENTRY] = "fail-entry",
	[KVM_EXIT_INTR] = "intr",
	[KVM_EXIT_INTERNAL_ERROR] = "internal-error",
	[KVM_EXIT_SYSTEM_EVENT] = "system-event",
};

const char *thaw_exit_name(unsigned int reason)
{
	return reason < THAW_EXIT_REASONS && exit_names[reason] ? exit_names[reason] : "other";
}

static void kick_handler(int signal)
{
	(void)signal; /* it is enough that KVM_RUN returns */
}

void thaw_gate_setup(struct thaw_gate *gate)
{
	struct sigaction action = {.sa_handler = kick_handler};

	pthread_mutex_init(&gate->lock, NULL);
	pthread_cond_init(&gate->changed, NULL);
	sigaction(KICK_SIGNAL, &action, NULL);
}

/* A count that this thread alone changes and others read at any time. */
static void count_add(uint64_t *count, uint64_t n)
{
	__atomic_store_n(count, *count + n, __ATOMIC_RELAXED);
}

/* --- what the guest did --- */

/* Takes all vCPUs out of the guest, the gate being closed and its lock held. immediate_exit and the
 * signal close the race with a thread about to enter: it sees the one or is interrupted by the
 * other. */
static void gate_interrupt(struct thaw_gate *gate)
{
	for (unsigned int i = 0; i < gate->count; i++) {
		__atomic_store_n(&gate->vcpus[i].run->immediate_exit, 1, __ATOMIC_RELAXED);
		pthread_kill(gate->vcpus[i].thread, KICK_SIGNAL);
	}
}

static void vcpu_stop(struct thaw_vcpu *vcpu, enum thaw_stop_reason reason, const char *message)
{
	struct thaw_gate *gate = vcpu->gate;
	bool first;

	pthread_mutex_lock(&gate->lock);
	first = !gate->ended;
	__atomic_store_n(&gate->ended, true, __ATOMIC_RELAXED);
	__atomic_store_n(&gate->open, false, __ATOMIC_RELEASE);
	/* What is over for one is over for all: the others may never come out by themselves. */
	if (first)
		gate_interrupt(gate);
	pthread_mutex_unlock(&gate->lock);
	if (first)
		gate->stopped(gate->opaque, reason, message);
}

static void vcpu_io(struct thaw_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	bool out = run->io.direction == KVM_EXIT_IO_OUT;

	if (out && run->io.port == PORT_KEYBOARD_COMMAND && data[0] == KEYBOARD_RESET) {
		vcpu_stop(vcpu, THAW_STOP_RESET, "the guest reset itself");
		return;
	}
	pthread_mutex_lock(vcpu->gate->device_lock);
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (out)
			thaw_bus_write(vcpu->gate->pio, run->io.port, data, run->io.size);
		else
			thaw_bus_read(vcpu->gate->pio, run->io.port, data, run->io.size);
	}
	pthread_mutex_unlock(vcpu->gate->device_lock);
}

static void vcpu_mmio(struct thaw_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	pthread_mutex_lock(vcpu->gate->device_lock);
	if (run->mmio.is_write)
		thaw_bus_write(vcpu->gate->mmio, run->mmio.phys_addr, run->mmio.data,
			       run->mmio.len);
	else
		thaw_bus_read(vcpu->gate->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	pthread_mutex_unlock(vcpu->gate->device_lock);
}

/* Says which instruction KVM could not emulate, where, and what to do. */
static void vcpu_internal_error(struct thaw_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	struct kvm_regs regs = {0};
	struct kvm_sregs sregs = {0};
	char bytes[3 * 15 + 1] = "";
	char message[THAW_ERROR_MAX];

	ioctl(vcpu->fd, KVM_GET_REGS, &regs);
	ioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION) {
		snprintf(message, sizeof(message), "KVM internal error %u at 0x%llx (%s mode)",
			 run->internal.suberror, regs.rip, sregs.cs.dpl == 3 ? "user" : "kernel");
		vcpu_stop(vcpu, THAW_STOP_KVM, message);
		return;
	}
	if (run->emulation_failure.ndata >= 1 &&
	    run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) {
		size_t size = run->emulation_failure.insn_size;
		if (size > sizeof(run->emulation_failure.insn_bytes))
			size = sizeof(run->emulation_failure.insn_bytes);
		for (size_t i = 0; i < size; i++)
			snprintf(bytes + 3 * i, 4, "%02x ", run->emulation_failure.insn_bytes[i]);
	}
	snprintf(message, sizeof(message),
		 "KVM cannot emulate the instruction at 0x%llx (%s mode)%s%s: on a software KVM "
		 "use the guest kernel of Thaw and the CPU template software-kvm",
		 regs.rip, sregs.cs.dpl == 3 ? "user" : "kernel", bytes[0] ? ", bytes " : "",
		 bytes);
	vcpu_stop(vcpu, THAW_STOP_KVM, message);
}

static void vcpu_handle(struct thaw_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	unsigned int reason = run->exit_reason < THAW_EXIT_REASONS ? run->exit_reason : 0;
	char message[128];

	count_add(&vcpu->exits[reason], 1);
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		vcpu_io(vcpu);
		break;
	case KVM_EXIT_MMIO:
		vcpu_mmio(vcpu);
		break;
	case KVM_EXIT_INTR:
		break;
	case KVM_EXIT_SHUTDOWN:
		vcpu_stop(vcpu, THAW_STOP_RESET, "the guest shut down by a triple fault");
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		vcpu_stop(vcpu, THAW_STOP_RESET, "the guest shut down");
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		vcpu_internal_error(vcpu);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(message, sizeof(message), "KVM could not enter the guest: reason 0x%llx",
			 run->fail_entry.hardware_entry_failure_reason);
		vcpu_stop(vcpu, THAW_STOP_KVM, message);
		break;
	default:
		snprintf(message, sizeof(message), "KVM stopped with exit reason %u",
			 run->exit_reason);
		vcpu_stop(vcpu, THAW_STOP_KVM, message);
	}
}

/* --- the thread --- */

/* Enters the guest once. With the gate closed, only completes an I/O instruction under way. */
static void vcpu_enter(struct thaw_vcpu *vcpu)
{
	uint64_t start = thaw_monotonic_ns(), *first = &vcpu->gate->first_run_ns, never = 0;
	int rc;

	if (!__atomic_load_n(first, __ATOMIC_RELAXED))
		__atomic_compare_exchange_n(first, &never, start, false, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED);
	rc = ioctl(vcpu->fd, KVM_RUN, 0);
	count_add(&vcpu->guest_ns, thaw_monotonic_ns() - start);
	if (rc == 0) {
		vcpu_handle(vcpu);
	} else if (errno == EINTR || errno == EAGAIN) {
		count_add(&vcpu->signals, 1);
	} else {
		char message[128];
		snprintf(message, sizeof(message), "KVM_RUN: %s", strerror(errno));
		vcpu_stop(vcpu, THAW_STOP_HOST, message);
	}
}

/* Waits at the closed gate. False: the thread is to end. */
static bool vcpu_park(struct thaw_vcpu *vcpu)
{
	struct thaw_gate *gate = vcpu->gate;
	bool go_on;

	/* KVM finishes an MMIO or port access at the next KVM_RUN: registers are whole only after
	 * it (api.rst, KVM_RUN). With immediate_exit no further guest instruction runs. */
	if (__atomic_load_n(&gate->first_run_ns, __ATOMIC_RELAXED) &&
	    !__atomic_load_n(&gate->ended, __ATOMIC_RELAXED)) {
		__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_RELAXED);
		vcpu_enter(vcpu);
	}
	pthread_mutex_lock(&gate->lock);
	gate->parked++;
	pthread_cond_broadcast(&gate->changed);
	while (!gate->open && !gate->quit)
		pthread_cond_wait(&gate->changed, &gate->lock);
	gate->parked--;
	go_on = !gate->quit;
	__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&gate->lock);
	return go_on;
}

static void *vcpu_thread(void *opaque)
{
	struct thaw_vcpu *vcpu = opaque;

	thaw_sandbox_narrow(THAW_SANDBOX_VCPU);
	for (;;) {
		if (!__atomic_load_n(&vcpu->gate->open, __ATOMIC_ACQUIRE) && !vcpu_park(vcpu))
			return NULL;
		vcpu_enter(vcpu);
	}
}

void thaw_gate_open(struct thaw_gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	if (!gate->ended)
		__atomic_store_n(&gate->open, true, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
}

void thaw_gate_close(struct thaw_gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	__atomic_store_n(&gate->open, false, __ATOMIC_RELEASE);
	gate_interrupt(gate);
	while (gate->parked < gate->count)
		pthread_cond_wait(&gate->changed, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
}

int thaw_vcpu_create(struct thaw_gate *gate, int vm_fd, int run_size,
		     const struct kvm_cpuid2 *cpuid, struct thaw_error *err)
{
	struct thaw_vcpu *vcpu = &gate->vcpus[gate->count];
	int rc;

	*vcpu = (struct thaw_vcpu){.gate = gate, .index = gate->count, .run_size = run_size};
	vcpu->fd = THAW_KVM(vm_fd, KVM_CREATE_VCPU, (void *)(uintptr_t)vcpu->index, err);
	if (vcpu->fd < 0)
		return vcpu->fd;
	rc = THAW_KVM(vcpu->fd, KVM_SET_CPUID2, cpuid, err);
	if (rc < 0)
		goto fail;
	vcpu->run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		rc = thaw_error_errno(err, errno, "mapping a vCPU");
		goto fail;
	}
	gate->count++;
	rc = pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);
	if (rc) {
		gate->count--;
		rc = thaw_error_errno(err, rc, "starting a vCPU's thread");
		munmap(vcpu->run, (size_t)run_size);
		goto fail;
	}
	return 0;
fail:
	close(vcpu->fd);
	return rc;
}

void thaw_gate_destroy(struct thaw_gate *gate)
{
	thaw_gate_close(gate);
	pthread_mutex_lock(&gate->lock);
	gate->quit = true;
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
	for (unsigned int i = 0; i < gate->count; i++) {
		struct thaw_vcpu *vcpu = &gate->vcpus[i];
		pthread_join(vcpu->thread, NULL);
		munmap(vcpu->run, (size_t)vcpu->run_size);
		close(vcpu->fd);
	}
	gate->count = 0;
	pthread_cond_destroy(&gate->changed);
	pthread_mutex_destroy(&gate->lock);
}
