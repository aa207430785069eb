/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/error.h"
#include "vmm/boot/boot.h"
#include "vmm/devices/block.h"
#include "vmm/devices/vsock.h"
#include "vmm/irqchip.h"
#include "vmm/kvm.h"
#include "vmm/machine_internal.h"
#include "vmm/virtio/mmio.h"

#define MEMORY_MIB_MIN 32u

static int machine_choose_template(struct thaw_machine *m, const Thaw__Vmm__Create *request,
				   struct thaw_error *err)
{
	int rc = 0;

	if (request->kvm_kind == THAW__VMM__KVM_KIND__KVM_KIND_UNKNOWN)
		rc = thaw_kvm_probe_software(m->kvm_fd, &m->software_kvm, err);
	else
		m->software_kvm = request->kvm_kind == THAW__VMM__KVM_KIND__KVM_KIND_SOFTWARE;
	m->cpu_template = m->software_kvm ? THAW_CPU_SOFTWARE_KVM : THAW_CPU_HOST;
	if (request->cpu_template != THAW__VMM__CPU_TEMPLATE__CPU_TEMPLATE_AUTO)
		m->cpu_template = (enum thaw_cpu_template)request->cpu_template;
	return rc;
}

static int machine_map_memory(struct thaw_machine *m, bool huge_pages, struct thaw_error *err)
{
	uint64_t size = m->memory_mib << 20, low = size < THAW_MMIO_GAP ? size : THAW_MMIO_GAP;
	int rc = thaw_memory_create(&m->memory, size, huge_pages, err);

	if (rc < 0)
		return rc;
	rc = thaw_kvm_set_memory(m->vm_fd, 0, 0, low, m->memory.base, false, err);
	if (rc >= 0 && size > low)
		rc = thaw_kvm_set_memory(m->vm_fd, 1, THAW_MMIO_GAP_END, size - low,
					 m->memory.base + low, false, err);
	return rc < 0 ? rc : 0;
}

static void machine_vcpu_stopped(void *opaque, enum thaw_stop_reason reason, const char *message)
{
	struct thaw_machine *m = opaque;

	m->events.stopped(m->events.opaque, reason, message);
}

static int machine_create_vcpus(struct thaw_machine *m, unsigned int count, struct thaw_error *err)
{
	int run_size = THAW_KVM(m->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL, err);

	if (run_size < 0)
		return run_size;
	m->gate.mmio = &m->mmio;
	m->gate.pio = &m->pio;
	m->gate.device_lock = &m->loop->lock;
	m->gate.stopped = machine_vcpu_stopped;
	m->gate.opaque = m;
	for (unsigned int i = 0; i < count; i++) {
		thaw_cpuid_set_topology(m->cpuid, i, count);
		int rc = thaw_vcpu_create(&m->gate, m->vm_fd, run_size, m->cpuid, err);
		if (rc < 0)
			return thaw_error_wrap(err, "vCPU %u", i);
	}
	return 0;
}

/* With the drives mapped, the rest. */
static int machine_complete(struct thaw_machine *m, const Thaw__Vmm__Create *request,
			    struct thaw_fds *fds, struct thaw_steps *steps, struct thaw_error *err)
{
	int rc = machine_add_devices(m, request, fds, err);

	if (rc < 0)
		return rc;
	m->phase = MACHINE_CREATED;
	thaw_steps_done(steps, "devices");
	return 0;
}

static int machine_assemble(struct thaw_machine *m, const Thaw__Vmm__Create *request,
			    struct thaw_fds *fds, struct thaw_steps *steps, struct thaw_error *err)
{
	struct kvm_enable_cap emulation = {.cap = KVM_CAP_EXIT_ON_EMULATION_FAILURE, .args = {1}};
	int rc;

	rc = m->kvm_fd = thaw_fds_take(fds, request->kvm_fd, "KVM", err);
	if (rc < 0)
		return rc;
	rc = thaw_kvm_check(m->kvm_fd, err);
	if (rc < 0)
		return rc;
	if (request->userfaultfd_fd) {
		rc = m->userfaultfd_fd =
			thaw_fds_take(fds, request->userfaultfd_fd, "userfaultfd", err);
		if (rc < 0)
			return rc;
	}
	rc = machine_choose_template(m, request, err);
	if (rc < 0)
		return rc;
	rc = thaw_cpu_template_cpuid(m->kvm_fd, m->cpu_template, &m->cpuid, err);
	if (rc < 0)
		return rc;
	thaw_steps_done(steps, "probe");
	rc = m->vm_fd = thaw_kvm_create_vm(m->kvm_fd, err);
	if (rc < 0)
		return rc;
	/* Gives the bytes of an instruction that KVM cannot emulate; absent before Linux 5.16. */
	if (thaw_kvm_capability(m->vm_fd, KVM_CAP_EXIT_ON_EMULATION_FAILURE))
		THAW_KVM(m->vm_fd, KVM_ENABLE_CAP, &emulation, NULL);
	thaw_steps_done(steps, "vm");
	rc = machine_map_memory(m, request->huge_pages, err);
	if (rc < 0)
		return rc;
	if (!request->devices_later)
		rc = machine_map_drives(m, request, fds, err);
	else if (request->pmem_mib)
		rc = machine_make_room(m, request->pmem_mib, err);
	if (rc < 0)
		return rc;
	thaw_steps_done(steps, "memory");
	rc = thaw_irqchip_create(m->vm_fd, err);
	if (rc < 0)
		return rc;
	thaw_steps_done(steps, "irqchip");
	rc = machine_create_vcpus(m, request->vcpus, err);
	thaw_steps_done(steps, "vcpus");
	if (rc < 0 || request->devices_later)
		return rc;
	return machine_complete(m, request, fds, steps, err);
}

int thaw_machine_attach(struct thaw_machine *m, const Thaw__Vmm__Create *request,
			struct thaw_fds *fds, struct thaw_steps *steps, struct thaw_error *err)
{
	if (m->phase != MACHINE_BARE)
		return thaw_error_set(err, EBUSY, "the machine has its devices already");
	m->phase = MACHINE_BROKEN; /* until it is not */
	int rc = machine_map_drives(m, request, fds, err);
	if (rc < 0)
		return rc;
	thaw_steps_done(steps, "drives");
	return machine_complete(m, request, fds, steps, err);
}

int thaw_machine_create(struct thaw_machine **machine, struct thaw_loop *loop,
			const struct thaw_machine_events *events, const Thaw__Vmm__Create *request,
			struct thaw_fds *fds, struct thaw_steps *steps, struct thaw_error *err)
{
	if (request->vcpus < 1 || request->vcpus > THAW_VCPUS_MAX)
		return thaw_error_set(err, EINVAL, "%u vCPUs: from 1 to %u are possible",
				      request->vcpus, THAW_VCPUS_MAX);
	if (request->memory_mib < MEMORY_MIB_MIN ||
	    request->memory_mib > THAW_PAGES_MAX * THAW_PAGE_SIZE >> 20)
		return thaw_error_set(err, EINVAL,
				      "%llu MiB of memory: from %u to %llu are possible",
				      (unsigned long long)request->memory_mib, MEMORY_MIB_MIN,
				      THAW_PAGES_MAX * THAW_PAGE_SIZE >> 20);
	struct thaw_machine *m = calloc(1, sizeof(*m));
	if (!m)
		return thaw_error_errno(err, ENOMEM, "making a machine");
	m->loop = loop;
	m->events = *events;
	m->kvm_fd = m->vm_fd = m->userfaultfd_fd = -1;
	m->memory_mib = request->memory_mib;
	thaw_gate_setup(&m->gate);
	int rc = machine_assemble(m, request, fds, steps, err);
	if (rc < 0) {
		thaw_machine_destroy(m);
		return rc;
	}
	*machine = m;
	return 0;
}

void thaw_machine_destroy(struct thaw_machine *m)
{
	if (!m)
		return;
	thaw_gate_destroy(&m->gate);
	machine_destroy_devices(m);
	thaw_uffd_stop(m->uffd);
	for (size_t i = 0; i < m->pmem_count; i++)
		munmap(m->pmems[i].host, m->pmems[i].size);
	if (m->pmem_room.size)
		munmap(m->pmem_room.host, m->pmem_room.size);
	thaw_memory_destroy(&m->memory);
	thaw_cleanup_close(&m->vm_fd);
	thaw_cleanup_close(&m->kvm_fd);
	thaw_cleanup_close(&m->userfaultfd_fd);
	free(m->cpuid);
	free(m);
}

static int machine_set_boot_registers(struct thaw_machine *m, gpa_t entry, struct thaw_error *err)
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	int fd = m->gate.vcpus[0].fd;
	int rc = THAW_KVM(fd, KVM_GET_SREGS, &sregs, err);

	if (rc < 0)
		return rc;
	thaw_boot_registers(entry, &regs, &sregs);
	rc = THAW_KVM(fd, KVM_SET_SREGS, &sregs, err);
	if (rc < 0)
		return rc;
	rc = THAW_KVM(fd, KVM_SET_REGS, &regs, err);
	return rc < 0 ? rc : 0;
}

int machine_check_new(const struct thaw_machine *m, struct thaw_error *err)
{
	if (m->phase == MACHINE_BARE)
		return thaw_error_set(err, EINVAL, "the machine has no devices yet");
	if (m->phase != MACHINE_CREATED)
		return thaw_error_set(err, EBUSY, "the machine has been started already");
	return 0;
}

int thaw_machine_boot(struct thaw_machine *m, const Thaw__Vmm__Boot *request, struct thaw_fds *fds,
		      struct thaw_error *err)
{
	char command_line[BOOT_COMMAND_LINE_MAX + 1];
	cleanup_close int kernel_fd = -1, initrd_fd = -1;
	struct thaw_boot boot = {.command_line = command_line, .vcpus = m->gate.count};
	gpa_t entry;
	int rc;

	rc = machine_check_new(m, err);
	if (rc < 0)
		return rc;
	rc = kernel_fd = thaw_fds_take(fds, request->kernel_fd, "kernel", err);
	if (rc < 0)
		return rc;
	if (request->initrd_fd) {
		rc = initrd_fd = thaw_fds_take(fds, request->initrd_fd, "initrd", err);
		if (rc < 0)
			return rc;
	}
	int n = snprintf(command_line, sizeof(command_line), "%s %s", request->command_line,
			 thaw_cpu_template_command_line(m->cpu_template));
	if (n < 0 || (size_t)n >= sizeof(command_line))
		return thaw_error_set(err, E2BIG, "the kernel command line is too long");
	rc = machine_device_parameters(m, command_line + n, sizeof(command_line) - (size_t)n, err);
	if (rc < 0)
		return rc;
	m->phase = MACHINE_BROKEN; /* until it is not */
	rc = thaw_boot_load(&m->memory, kernel_fd, initrd_fd, &boot, &entry, err);
	if (rc < 0)
		return rc;
	rc = machine_set_boot_registers(m, entry, err);
	if (rc < 0)
		return rc;
	m->phase = MACHINE_RUNNING;
	thaw_gate_open(&m->gate);
	return 0;
}

void machine_run(struct thaw_machine *m)
{
	pthread_mutex_lock(&m->loop->lock);
	for (size_t i = 0; i < m->device_count; i++)
		thaw_virtio_mmio_resume(m->devices[i].mmio);
	pthread_mutex_unlock(&m->loop->lock);
	m->phase = MACHINE_RUNNING;
	thaw_gate_open(&m->gate);
}

int thaw_machine_pause(struct thaw_machine *m, struct thaw_error *err)
{
	if (m->phase == MACHINE_PAUSED)
		return 0;
	if (m->phase != MACHINE_RUNNING)
		return thaw_error_set(err, EINVAL, "the machine does not run");
	thaw_gate_close(&m->gate);
	if (__atomic_load_n(&m->gate.ended, __ATOMIC_RELAXED))
		return thaw_error_set(err, EINVAL, "the guest has come to an end");
	pthread_mutex_lock(&m->loop->lock);
	for (size_t i = 0; i < m->device_count; i++)
		thaw_virtio_mmio_drain(m->devices[i].mmio);
	pthread_mutex_unlock(&m->loop->lock);
	m->phase = MACHINE_PAUSED;
	return 0;
}

int thaw_machine_resume(struct thaw_machine *m, struct thaw_error *err)
{
	if (m->phase == MACHINE_RUNNING)
		return 0;
	if (m->phase != MACHINE_PAUSED)
		return thaw_error_set(err, EINVAL, "the machine is not paused");
	/* Tells the guest's watchdogs that it was not they who slept. */
	for (unsigned int i = 0; i < m->gate.count; i++)
		THAW_KVM(m->gate.vcpus[i].fd, KVM_KVMCLOCK_CTRL, NULL, NULL);
	machine_run(m);
	return 0;
}

int thaw_machine_vsock_attach(struct thaw_machine *m, const Thaw__Vmm__VsockAttach *request,
			      struct thaw_fds *fds, struct thaw_error *err)
{
	cleanup_close int fd = thaw_fds_take(fds, request->fd, "vsock connection", err);

	if (fd < 0)
		return fd;
	if (!m->vsock)
		return thaw_error_set(err, ENODEV, "the machine has no vsock device");
	pthread_mutex_lock(&m->loop->lock);
	int rc = thaw_vsock_attach(m->vsock, thaw_fd_take(&fd), err);
	pthread_mutex_unlock(&m->loop->lock);
	return rc;
}

enum thaw_cpu_template thaw_machine_cpu_template(const struct thaw_machine *m)
{
	return m->cpu_template;
}

bool thaw_machine_software_kvm(const struct thaw_machine *m)
{
	return m->software_kvm;
}

static void statistics_exits(const struct thaw_machine *m, struct thaw_machine_statistics *out)
{
	uint64_t signals = 0;

	for (unsigned int r = 0; r < THAW_EXIT_REASONS; r++) {
		uint64_t sum = 0;
		for (unsigned int i = 0; i < m->gate.count; i++)
			sum += __atomic_load_n(&m->gate.vcpus[i].exits[r], __ATOMIC_RELAXED);
		if (!sum)
			continue;
		out->exits[out->exit_count].name = thaw_exit_name(r);
		out->exits[out->exit_count++].value = sum;
	}
	for (unsigned int i = 0; i < m->gate.count; i++) {
		const struct thaw_vcpu *vcpu = &m->gate.vcpus[i];
		signals += __atomic_load_n(&vcpu->signals, __ATOMIC_RELAXED);
		out->guest_ns += __atomic_load_n(&vcpu->guest_ns, __ATOMIC_RELAXED);
	}
	out->exits[out->exit_count].name = "signal";
	out->exits[out->exit_count++].value = signals;
}

static void statistics_mapping(struct thaw_machine_statistics *out, const char *name,
			       const void *at, uint64_t size)
{
	out->mappings[out->mapping_count].name = name;
	out->mappings[out->mapping_count].address = (uintptr_t)at;
	out->mappings[out->mapping_count++].size = size;
}

void thaw_machine_statistics(struct thaw_machine *m, struct thaw_machine_statistics *out)
{
	*out = (struct thaw_machine_statistics){0};
	statistics_exits(m, out);
	statistics_mapping(out, "memory", m->memory.base, m->memory.size);
	for (size_t i = 0; i < m->pmem_count; i++)
		statistics_mapping(out, "pmem", m->pmems[i].host, m->pmems[i].size);
	out->first_run_ns = __atomic_load_n(&m->gate.first_run_ns, __ATOMIC_RELAXED);
	out->pages_loaded = m->loaded.pages_loaded;
	out->bytes_read = m->loaded.bytes_read;
	if (m->uffd) {
		out->uffd_faults = thaw_uffd_faults(m->uffd);
		out->bytes_read += thaw_uffd_bytes_read(m->uffd);
	}
	pthread_mutex_lock(&m->loop->lock);
	for (size_t i = 0; i < m->block_count; i++) {
		out->bytes_read += thaw_block_bytes_read(m->blocks[i]);
		out->bytes_written += thaw_block_bytes_written(m->blocks[i]);
	}
	if (m->vsock)
		thaw_vsock_statistics(m->vsock, &out->vsock_rx_bytes, &out->vsock_tx_bytes);
	if (m->net)
		thaw_net_statistics(m->net, &out->net);
	pthread_mutex_unlock(&m->loop->lock);
}
