/* SPDX-License-Identifier: Apache-2.0 */
/* A paused machine to files, and files to a machine that has not run. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "vmm/devices/serial.h"
#include "vmm/devices/vsock.h"
#include "vmm/irqchip.h"
#include "vmm/kvm.h"
#include "vmm/machine_internal.h"
#include "vmm/sandbox.h"
#include "vmm/sandbox_table.h"
#include "vmm/snapshot/state.h"
#include "vmm/virtio/mmio.h"

static const char *machine_device_name(const struct thaw_machine *m, size_t i)
{
	return thaw_virtio_mmio_device(m->devices[i].mmio)->ops->name;
}

/* --- saving --- */

static int save_cpus(struct thaw_machine *m, Thaw__Snapshot__State *state, struct thaw_error *err)
{
	unsigned int count = m->gate.count;

	state->cpu = calloc(count, sizeof(state->cpu[0]));
	if (!state->cpu)
		return thaw_error_errno(err, ENOMEM, "saving vCPUs");
	for (unsigned int i = 0; i < count; i++) {
		Thaw__Snapshot__Cpu *cpu = malloc(sizeof(*cpu));
		if (!cpu)
			return thaw_error_errno(err, ENOMEM, "saving vCPUs");
		thaw__snapshot__cpu__init(cpu);
		state->cpu[state->n_cpu++] = cpu;
		thaw_cpuid_set_topology(m->cpuid, i, count);
		cpu->cpuid.len = m->cpuid->nent * sizeof(m->cpuid->entries[0]);
		cpu->cpuid.data = malloc(cpu->cpuid.len);
		if (!cpu->cpuid.data)
			return thaw_error_errno(err, ENOMEM, "saving vCPUs");
		memcpy(cpu->cpuid.data, m->cpuid->entries, cpu->cpuid.len);
		int rc = thaw_vcpu_save(&m->gate.vcpus[i], m->kvm_fd, cpu, err);
		if (rc < 0)
			return thaw_error_wrap(err, "vCPU %u", i);
	}
	return 0;
}

static Thaw__Snapshot__Device *save_add_device(Thaw__Snapshot__State *state, const char *kind)
{
	Thaw__Snapshot__Device *device = malloc(sizeof(*device));

	if (!device)
		return NULL;
	thaw__snapshot__device__init(device);
	device->kind = strdup(kind);
	state->devices[state->n_devices++] = device;
	return device->kind ? device : NULL;
}

static int save_devices(struct thaw_machine *m, Thaw__Snapshot__State *state,
			struct thaw_error *err)
{
	Thaw__Snapshot__Device *device;
	int rc = 0;

	state->devices = calloc(m->device_count + 1, sizeof(state->devices[0]));
	if (!state->devices)
		return thaw_error_errno(err, ENOMEM, "saving devices");
	for (size_t i = 0; i < m->device_count && rc == 0; i++) {
		device = save_add_device(state, machine_device_name(m, i));
		if (!device)
			return thaw_error_errno(err, ENOMEM, "saving devices");
		rc = thaw_virtio_mmio_save(m->devices[i].mmio, device, err);
		if (rc < 0)
			return thaw_error_wrap(err, "device %zu", i);
	}
	if (m->serial) {
		device = save_add_device(state, "serial");
		if (!device)
			return thaw_error_errno(err, ENOMEM, "saving devices");
		rc = thaw_serial_save(m->serial, device, err);
	}
	return rc;
}

static int save_state(struct thaw_machine *m, Thaw__Snapshot__State *state, struct thaw_error *err)
{
	int rc;

	state->vcpus = m->gate.count;
	state->memory_mib = m->memory_mib;
	state->cpu_template = (uint32_t)m->cpu_template;
	rc = save_cpus(m, state, err);
	if (rc < 0)
		return rc;
	rc = thaw_irqchip_save(m->vm_fd, state, err);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&m->loop->lock);
	rc = save_devices(m, state, err);
	pthread_mutex_unlock(&m->loop->lock);
	return rc;
}

int thaw_machine_snapshot(struct thaw_machine *m, const Thaw__Vmm__Snapshot *request,
			  struct thaw_fds *fds, struct thaw_index *index, struct thaw_steps *steps,
			  struct thaw_error *err)
{
	cleanup_close int state_fd = thaw_fds_take(fds, request->state_fd, "state", err);
	cleanup_close int index_fd = thaw_fds_take(fds, request->index_fd, "index", err);
	cleanup_close int frames_fd = thaw_fds_take(fds, request->frames_fd, "frames", err);
	cleanup_close int image_fd = -1;
	int rc;

	if (m->phase != MACHINE_PAUSED)
		return thaw_error_set(err, EINVAL, "only a paused machine can be saved");
	if (state_fd < 0 || index_fd < 0 || frames_fd < 0)
		return -EBADF;
	if (request->image_fd) {
		rc = image_fd = thaw_fds_take(fds, request->image_fd, "image", err);
		if (rc < 0)
			return rc;
	}
	if (m->uffd) {
		rc = thaw_uffd_complete(m->uffd, err);
		if (rc < 0)
			return rc;
		thaw_steps_done(steps, "complete");
	}
	Thaw__Snapshot__State *state = malloc(sizeof(*state));
	if (!state)
		return thaw_error_errno(err, ENOMEM, "saving the machine");
	thaw__snapshot__state__init(state);
	rc = save_state(m, state, err);
	thaw_steps_done(steps, "state");
	if (rc == 0)
		rc = thaw_image_write(&m->memory, index_fd, frames_fd, image_fd,
				      request->level ? request->level : 1, index, err);
	thaw_steps_done(steps, "memory");
	if (rc == 0) {
		state->memory_index = index->checksum;
		rc = thaw_state_write(state, state_fd, err);
		if (rc < 0)
			thaw_index_clear(index);
	}
	thaw__snapshot__state__free_unpacked(state, NULL);
	return rc;
}

int thaw_machine_save_working_set(struct thaw_machine *m, const Thaw__Vmm__SaveWorkingSet *request,
				  struct thaw_fds *fds, struct thaw_error *err)
{
	cleanup_close int fd = thaw_fds_take(fds, request->working_set_fd, "working set", err);

	if (fd < 0)
		return fd;
	if (!m->uffd || m->phase != MACHINE_PAUSED)
		return thaw_error_set(
			err, EINVAL,
			"a working set comes from a paused machine restored with record");
	return thaw_working_set_write(thaw_uffd_recorded(m->uffd), m->index_checksum, fd, err);
}

/* --- loading --- */

static int restore_cpuid(struct thaw_machine *m, unsigned int i, const Thaw__Snapshot__Cpu *cpu,
			 struct thaw_error *err)
{
	const struct kvm_cpuid_entry2 *entries = (const void *)cpu->cpuid.data;
	size_t count = cpu->cpuid.len / sizeof(*entries);

	if (cpu->cpuid.len % sizeof(*entries) || count == 0 || count > 256)
		return thaw_error_set(err, EINVAL, "CPUID has %zu bytes", cpu->cpuid.len);
	thaw_cpuid_set_topology(m->cpuid, i, m->gate.count);
	/* The rule on a host of the same kind: what the vCPU was made with is what it needs. */
	if (count == m->cpuid->nent && !memcmp(entries, m->cpuid->entries, cpu->cpuid.len))
		return 0;
	int rc = thaw_cpuid_covers(m->cpuid, entries, (uint32_t)count, err);
	if (rc < 0)
		return rc;
	cleanup_free struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + cpu->cpuid.len);
	if (!cpuid)
		return thaw_error_errno(err, ENOMEM, "CPUID");
	cpuid->nent = (uint32_t)count;
	memcpy(cpuid->entries, entries, cpu->cpuid.len);
	rc = THAW_KVM(m->gate.vcpus[i].fd, KVM_SET_CPUID2, cpuid, err);
	return rc < 0 ? rc : 0;
}

static int restore_check(const struct thaw_machine *m, const Thaw__Snapshot__State *state,
			 const struct thaw_index *index, struct thaw_error *err)
{
	size_t devices = m->device_count + (m->serial ? 1 : 0);

	if (state->cpu_template != (uint32_t)m->cpu_template)
		return thaw_error_set(err, ENOTSUP,
				      "it was made with the CPU template %s, the machine has %s",
				      thaw_cpu_template_name(state->cpu_template),
				      thaw_cpu_template_name(m->cpu_template));
	if ((state->cpu_template == THAW_CPU_SOFTWARE_KVM) != m->software_kvm)
		return thaw_error_set(
			err, ENOTSUP,
			"it was made with the CPU template %s, and this host's KVM is %s",
			thaw_cpu_template_name(state->cpu_template),
			m->software_kvm ? "a software KVM" : "not a software KVM");
	if (state->vcpus != m->gate.count || state->n_cpu != m->gate.count)
		return thaw_error_set(err, EINVAL, "it has %u vCPUs, the machine %u", state->vcpus,
				      m->gate.count);
	if (state->memory_mib != m->memory_mib)
		return thaw_error_set(err, EINVAL, "it has %llu MiB of memory, the machine %llu",
				      (unsigned long long)state->memory_mib,
				      (unsigned long long)m->memory_mib);
	if (state->memory_index != index->checksum ||
	    index->pages != m->memory.size / THAW_PAGE_SIZE)
		return thaw_error_set(err, EBADMSG,
				      "state and memory index are not of one snapshot");
	if (state->n_devices != devices)
		return thaw_error_set(err, EINVAL, "it has %zu devices, the machine %zu",
				      state->n_devices, devices);
	for (size_t i = 0; i < devices; i++) {
		const char *kind = i < m->device_count ? machine_device_name(m, i) : "serial";
		if (strcmp(state->devices[i]->kind, kind))
			return thaw_error_set(err, EINVAL, "device %zu is %s, the machine's is %s",
					      i, state->devices[i]->kind, kind);
	}
	return 0;
}

static int restore_devices(struct thaw_machine *m, const Thaw__Snapshot__State *state,
			   struct thaw_error *err)
{
	int rc = 0;

	for (size_t i = 0; i < m->device_count; i++) {
		rc = thaw_virtio_mmio_restore(m->devices[i].mmio, state->devices[i], err);
		if (rc < 0)
			return thaw_error_wrap(err, "device %zu (%s)", i, state->devices[i]->kind);
	}
	if (m->serial)
		rc = thaw_serial_restore(m->serial, state->devices[m->device_count], err);
	return rc;
}

static int restore_state(struct thaw_machine *m, const Thaw__Snapshot__State *state,
			 struct thaw_steps *steps, struct thaw_error *err)
{
	int rc = thaw_irqchip_restore(m->vm_fd, state, err);

	if (rc < 0)
		return rc;
	thaw_steps_done(steps, "irqchip");
	for (unsigned int i = 0; i < m->gate.count; i++) {
		rc = restore_cpuid(m, i, state->cpu[i], err);
		if (rc == 0)
			rc = thaw_vcpu_restore(&m->gate.vcpus[i], state->cpu[i], err);
		if (rc < 0)
			return thaw_error_wrap(err, "vCPU %u", i);
	}
	thaw_steps_done(steps, "vcpus");
	return 0;
}

static void restore_uffd_failed(void *opaque, const char *message)
{
	struct thaw_machine *m = opaque;

	m->events.stopped(m->events.opaque, THAW_STOP_HOST, message);
}

/* The working set by io_uring first; what is left when it is touched. Takes image and index. */
static int load_on_demand(struct thaw_machine *m, const Thaw__Vmm__Restore *request, int *image_fd,
			  struct thaw_index *index, const struct thaw_working_set *working_set,
			  struct thaw_steps *steps, struct thaw_error *err)
{
	struct thaw_uffd_config config = {
		.device_fd = m->userfaultfd_fd,
		.record = request->record,
		.failed = restore_uffd_failed,
		.opaque = m,
	};
	int rc = thaw_image_check(*image_fd, &m->memory, err);

	if (rc < 0)
		return rc;
	if (m->userfaultfd_fd < 0)
		return thaw_error_set(
			err, EINVAL,
			"mode uffd needs /dev/userfaultfd when the machine is created");
	if (working_set->count && !request->record) {
		cleanup_free struct thaw_page_range *ranges = NULL;
		size_t count;
		rc = thaw_working_set_ranges(working_set, index->pages, &ranges, &count, err);
		if (rc == 0)
			rc = thaw_uring_read_ranges(&m->memory, *image_fd, ranges, count,
						    &m->loaded, err);
		if (rc < 0)
			return rc;
		m->loaded.pages_loaded += working_set->count;
	}
	thaw_steps_done(steps, "working set");
	config.image_fd = *image_fd;
	config.index = *index;
	rc = thaw_uffd_start(&m->uffd, &m->memory, &config, err);
	if (rc == 0) {
		*image_fd = config.image_fd;
		*index = config.index;
	}
	return rc;
}

static int restore_memory(struct thaw_machine *m, const Thaw__Vmm__Restore *request,
			  struct thaw_fds *fds, struct thaw_index *index, struct thaw_steps *steps,
			  struct thaw_error *err)
{
	bool eager = request->mode == THAW__VMM__RESTORE_MODE__RESTORE_MODE_EAGER;
	cleanup_close int fd = eager ? thaw_fds_take(fds, request->frames_fd, "frames", err)
				     : thaw_fds_take(fds, request->image_fd, "image", err);
	struct thaw_working_set working_set = {0};
	struct thaw_load_source source = {
		.index = index,
		.working_set = &working_set,
		.image_fd = fd,
		.frames_fd = fd,
	};
	int rc;

	if (fd < 0)
		return fd;
	if (request->working_set_fd) {
		cleanup_close int set_fd =
			thaw_fds_take(fds, request->working_set_fd, "working set", err);
		if (set_fd < 0)
			return set_fd;
		rc = thaw_working_set_read(&working_set, index->checksum, index->pages, set_fd,
					   err);
		if (rc < 0)
			return rc;
	}
	switch (request->mode) {
	case THAW__VMM__RESTORE_MODE__RESTORE_MODE_MAP:
		rc = thaw_load_map(&m->memory, &source, err);
		break;
	case THAW__VMM__RESTORE_MODE__RESTORE_MODE_URING:
		rc = thaw_load_uring(&m->memory, &source, &m->loaded, err);
		break;
	case THAW__VMM__RESTORE_MODE__RESTORE_MODE_UFFD:
		rc = load_on_demand(m, request, &fd, index, &working_set, steps, err);
		break;
	case THAW__VMM__RESTORE_MODE__RESTORE_MODE_EAGER:
		rc = thaw_load_eager(&m->memory, &source, &m->loaded, err);
		break;
	default:
		rc = thaw_error_set(err, EINVAL, "no such restore mode: %d", (int)request->mode);
	}
	thaw_working_set_clear(&working_set);
	return rc;
}

static int restore_run(struct thaw_machine *m, const Thaw__Vmm__Restore *request,
		       struct thaw_fds *fds, const Thaw__Snapshot__State *state,
		       struct thaw_index *index, struct thaw_steps *steps, struct thaw_error *err)
{
	int rc = restore_check(m, state, index, err);

	if (rc < 0)
		return rc;
	m->index_checksum = index->checksum;
	m->phase = MACHINE_BROKEN; /* until it is not */
	rc = restore_memory(m, request, fds, index, steps, err);
	if (rc < 0)
		return rc;
	thaw_steps_done(steps, "memory");
	rc = restore_state(m, state, steps, err);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&m->loop->lock);
	rc = restore_devices(m, state, err);
	pthread_mutex_unlock(&m->loop->lock);
	if (rc < 0)
		return rc;
	if (request->vsock_fd) {
		const Thaw__Vmm__VsockAttach attach = {
			.base = PROTOBUF_C_MESSAGE_INIT(&thaw__vmm__vsock_attach__descriptor),
			.fd = request->vsock_fd,
		};
		rc = thaw_machine_vsock_attach(m, &attach, fds, err);
		if (rc < 0)
			return rc;
	}
	thaw_steps_done(steps, "devices");
	machine_run(m);
	/* While the guest takes its first steps; nothing of it is looked at before. */
	thaw_sandbox_narrow(THAW_SANDBOX_RUN);
	return 0;
}

int thaw_machine_restore(struct thaw_machine *m, const Thaw__Vmm__Restore *request,
			 struct thaw_fds *fds, struct thaw_steps *steps,
			 struct thaw_load_result *result, struct thaw_error *err)
{
	cleanup_close int state_fd = thaw_fds_take(fds, request->state_fd, "state", err);
	cleanup_close int index_fd = thaw_fds_take(fds, request->index_fd, "index", err);
	Thaw__Snapshot__State *state = NULL;
	struct thaw_index index = {0};
	int rc;

	if (state_fd < 0 || index_fd < 0)
		return -EBADF;
	rc = machine_check_new(m, err);
	if (rc == 0)
		rc = thaw_state_read(state_fd, &state, err);
	if (rc < 0)
		return rc;
	rc = thaw_index_read(index_fd, &index, err);
	thaw_steps_done(steps, "parse");
	if (rc == 0)
		rc = restore_run(m, request, fds, state, &index, steps, err);
	*result = m->loaded;
	thaw_index_clear(&index);
	thaw__snapshot__state__free_unpacked(state, NULL);
	return rc;
}
