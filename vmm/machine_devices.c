/* SPDX-License-Identifier: Apache-2.0 */
/* Which devices a machine has, and where. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/error.h"
#include "vmm/devices/block.h"
#include "vmm/devices/mark.h"
#include "vmm/devices/net.h"
#include "vmm/devices/pmem.h"
#include "vmm/devices/rng.h"
#include "vmm/devices/serial.h"
#include "vmm/devices/vsock.h"
#include "vmm/irqchip.h"
#include "vmm/kvm.h"
#include "vmm/machine_internal.h"
#include "vmm/virtio/mmio.h"

#define SERIAL_PORT 0x3f8u
#define SERIAL_GSI  4u

#define PMEM_SLOT_FIRST 2u /* 0 and 1 are RAM */

/* Lines of the I/O APIC that nothing of a PC is wired to: not the timer, the cascade, the first
 * serial port, the clock and the FPU. */
static const unsigned int gsis[MACHINE_DEVICES_MAX] = {5, 6, 7, 9, 10, 11, 12, 14, 15, 16, 17, 18};

static gpa_t pmem_next(const struct thaw_machine *m)
{
	gpa_t gpa = thaw_memory_end(&m->memory);

	if (m->pmem_count) {
		const struct machine_pmem *last = &m->pmems[m->pmem_count - 1];
		gpa = last->gpa + last->size;
	}
	return (gpa + MACHINE_PMEM_ALIGN - 1) & ~(MACHINE_PMEM_ALIGN - 1);
}

static bool pmem_readonly(const struct thaw_machine *m)
{
	return thaw_kvm_capability(m->kvm_fd, KVM_CAP_READONLY_MEM);
}

int machine_make_room(struct thaw_machine *m, uint64_t mib, struct thaw_error *err)
{
	uint64_t size = mib << 20;

	if (mib > MACHINE_PMEM_ROOM_MAX_MIB)
		return thaw_error_set(err, EINVAL, "room for drives: at most %u MiB",
				      MACHINE_PMEM_ROOM_MAX_MIB);
	/* A guest that looks where no drive is finds nothing: KVM gives up, and so does it. */
	void *host =
		mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (host == MAP_FAILED)
		return thaw_error_errno(err, errno, "room for drives");
	m->pmem_room = (struct machine_pmem){host, size, pmem_next(m)};
	int rc = thaw_kvm_set_memory(m->vm_fd, PMEM_SLOT_FIRST, m->pmem_room.gpa, size, host,
				     pmem_readonly(m), err);
	return rc < 0 ? rc : 0;
}

/* Where in the room the drive goes; NULL with size 0 when there is none. */
static int room_place(const struct thaw_machine *m, gpa_t gpa, uint64_t size, void **place,
		      struct thaw_error *err)
{
	const struct machine_pmem *room = &m->pmem_room;

	*place = NULL;
	if (!room->size)
		return 0;
	if (gpa < room->gpa || size > room->size || gpa - room->gpa > room->size - size)
		return thaw_error_set(err, ENOSPC, "it does not fit the room made for drives");
	*place = (char *)room->host + (gpa - room->gpa);
	return 0;
}

static int map_drive(struct thaw_machine *m, int fd, struct thaw_error *err)
{
	struct machine_pmem *pmem = &m->pmems[m->pmem_count];
	bool readonly = pmem_readonly(m);
	gpa_t gpa = pmem_next(m);
	struct stat st;
	void *place;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return thaw_error_set(err, EINVAL, "not a regular file");
	if (st.st_size == 0 || (uint64_t)st.st_size % MACHINE_PMEM_UNIT)
		return thaw_error_set(err, EINVAL,
				      "%lld bytes: a mapped drive is a multiple of 2 MiB",
				      (long long)st.st_size);
	int rc = room_place(m, gpa, (uint64_t)st.st_size, &place, err);
	if (rc < 0)
		return rc;
	/* Where KVM has no read-only slots, a guest that writes gets pages of its own. */
	void *host = mmap(place, (size_t)st.st_size, readonly ? PROT_READ : PROT_READ | PROT_WRITE,
			  (readonly ? MAP_SHARED : MAP_PRIVATE) | (place ? MAP_FIXED : 0), fd, 0);
	if (host == MAP_FAILED)
		return thaw_error_errno(err, errno, "mapping");
	*pmem = (struct machine_pmem){host, (uint64_t)st.st_size, gpa};
	m->pmem_count++;
	if (place)
		return 0;
	rc = thaw_kvm_set_memory(m->vm_fd, PMEM_SLOT_FIRST + (uint32_t)m->pmem_count - 1, gpa,
				 pmem->size, host, readonly, err);
	return rc < 0 ? rc : 0;
}

int machine_map_drives(struct thaw_machine *m, const Thaw__Vmm__Create *request,
		       struct thaw_fds *fds, struct thaw_error *err)
{
	if (request->n_drives > MACHINE_DRIVES_MAX)
		return thaw_error_set(err, EINVAL, "%zu drives: at most %u are possible",
				      request->n_drives, MACHINE_DRIVES_MAX);
	for (size_t i = 0; i < request->n_drives; i++) {
		const Thaw__Vmm__Drive *drive = request->drives[i];
		if (drive->kind != THAW__VMM__DRIVE__KIND__PMEM)
			continue;
		/* The mapping outlives the descriptor. */
		cleanup_close int fd = thaw_fds_take(fds, drive->fd, "drive", err);
		int rc = fd < 0 ? fd : map_drive(m, fd, err);
		if (rc < 0)
			return thaw_error_wrap(err, "drive %zu", i);
	}
	return 0;
}

/* Puts a device on the bus and its line, and binds its kicks to eventfds. Takes `device` over:
 * it is destroyed by the transport, also on failure. */
static int add_virtio(struct thaw_machine *m, const struct thaw_virtio_ops *ops, void *device,
		      struct thaw_error *err)
{
	gpa_t base = MACHINE_MMIO_BASE + m->device_count * MACHINE_MMIO_WINDOW;
	struct machine_device *d = &m->devices[m->device_count];
	int rc;

	d->gsi = gsis[m->device_count];
	int irq_fd = thaw_irqchip_line(m->vm_fd, d->gsi, err);
	if (irq_fd < 0) {
		ops->destroy(device);
		return irq_fd;
	}
	rc = thaw_virtio_mmio_create(&d->mmio, ops, device, &m->memory, m->loop, irq_fd, err);
	if (rc < 0)
		return rc;
	m->device_count++;
	rc = thaw_bus_add(&m->mmio, base, MACHINE_MMIO_WINDOW, &thaw_virtio_mmio_bus_ops, d->mmio,
			  err);
	for (unsigned int q = 0; q < ops->queues && rc == 0; q++) {
		struct kvm_ioeventfd kick = {
			.addr = base + THAW_VIRTIO_MMIO_NOTIFY,
			.len = 4,
			.datamatch = q,
			.fd = thaw_virtio_mmio_kick_fd(d->mmio, q),
			.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
		};
		rc = THAW_KVM(m->vm_fd, KVM_IOEVENTFD, &kick, err);
	}
	return rc < 0 ? rc : 0;
}

static int add_drives(struct thaw_machine *m, const Thaw__Vmm__Create *request,
		      struct thaw_fds *fds, struct thaw_error *err)
{
	size_t pmem_at = 0;
	int rc = 0;

	for (size_t i = 0; i < request->n_drives && rc == 0; i++) {
		const Thaw__Vmm__Drive *drive = request->drives[i];
		if (drive->kind == THAW__VMM__DRIVE__KIND__PMEM) {
			const struct machine_pmem *region = &m->pmems[pmem_at++];
			struct thaw_pmem *pmem;
			rc = thaw_pmem_create(&pmem, region->gpa, region->size, err);
			if (rc == 0)
				rc = add_virtio(m, &thaw_pmem_ops, pmem, err);
		} else {
			struct thaw_block *block;
			rc = thaw_fds_take(fds, drive->fd, "drive", err);
			if (rc >= 0)
				rc = thaw_block_create(&block, rc, drive, m->loop, err);
			if (rc == 0)
				rc = add_virtio(m, &thaw_block_ops, block, err);
			if (rc == 0)
				m->blocks[m->block_count++] = block;
		}
		if (rc < 0)
			return thaw_error_wrap(err, "drive %zu", i);
	}
	return rc;
}

static int add_vsock(struct thaw_machine *m, const Thaw__Vmm__Create *request, struct thaw_fds *fds,
		     struct thaw_error *err)
{
	cleanup_close int listener = -1, forward = -1;
	int rc;

	if (request->vsock_listener_fd) {
		rc = listener =
			thaw_fds_take(fds, request->vsock_listener_fd, "vsock listener", err);
		if (rc < 0)
			return rc;
	}
	if (request->vsock_forward_fd) {
		rc = forward = thaw_fds_take(fds, request->vsock_forward_fd, "vsock forward", err);
		if (rc < 0)
			return rc;
	}
	rc = thaw_vsock_create(&m->vsock, m->loop, request->vsock_cid, thaw_fd_take(&listener),
			       thaw_fd_take(&forward), err);
	if (rc < 0)
		return rc;
	rc = add_virtio(m, &thaw_vsock_ops, m->vsock, err);
	if (rc < 0)
		m->vsock = NULL;
	return rc;
}

static int add_net(struct thaw_machine *m, const Thaw__Vmm__Network *network, struct thaw_fds *fds,
		   struct thaw_error *err)
{
	int rc = thaw_fds_take(fds, network->tap_fd, "tap", err);

	if (rc >= 0)
		rc = thaw_net_create(&m->net, rc, network, m->loop, err);
	if (rc < 0)
		return thaw_error_wrap(err, "network");
	rc = add_virtio(m, &thaw_net_ops, m->net, err);
	if (rc < 0)
		m->net = NULL;
	return rc;
}

static int add_serial(struct thaw_machine *m, const Thaw__Vmm__Create *request,
		      struct thaw_fds *fds, struct thaw_error *err)
{
	int fd = thaw_fds_take(fds, request->serial_fd, "serial console", err);
	int irq_fd, rc;

	if (fd < 0)
		return fd;
	irq_fd = thaw_irqchip_line(m->vm_fd, SERIAL_GSI, err);
	if (irq_fd < 0) {
		close(fd);
		return irq_fd;
	}
	/* Both descriptors are the device's from here on, whatever comes of it. */
	rc = thaw_serial_create(&m->serial, fd, irq_fd, err);
	if (rc < 0)
		return rc;
	return thaw_bus_add(&m->pio, SERIAL_PORT, 8, &thaw_serial_bus_ops, m->serial, err);
}

static void mark_handle(void *opaque, uint8_t value)
{
	struct thaw_machine *m = opaque;

	uint64_t first = __atomic_load_n(&m->gate.first_run_ns, __ATOMIC_RELAXED);

	m->events.mark(m->events.opaque, value, thaw_monotonic_ns() - first);
}

int machine_add_devices(struct thaw_machine *m, const Thaw__Vmm__Create *request,
			struct thaw_fds *fds, struct thaw_error *err)
{
	int rc;

	m->mark = (struct thaw_mark){.handle = mark_handle, .opaque = m};
	rc = thaw_bus_add(&m->pio, THAW_MARK_PORT, 1, &thaw_mark_bus_ops, &m->mark, err);

	if (rc == 0)
		rc = thaw_bus_add(&m->pio, THAW_CLOCK_PORT, THAW_CLOCK_SIZE, &thaw_clock_bus_ops,
				  &m->clock, err);
	if (rc == 0)
		rc = add_drives(m, request, fds, err);
	if (rc == 0 && request->vsock_cid)
		rc = add_vsock(m, request, fds, err);
	if (rc == 0 && request->rng) {
		struct thaw_rng *rng;
		rc = thaw_rng_create(&rng, err);
		if (rc == 0)
			rc = add_virtio(m, &thaw_rng_ops, rng, err);
	}
	/* The last: where the others are does not depend on it. */
	if (rc == 0 && request->network)
		rc = add_net(m, request->network, fds, err);
	if (rc == 0 && request->serial_fd)
		rc = add_serial(m, request, fds, err);
	return rc;
}

void machine_destroy_devices(struct thaw_machine *m)
{
	for (size_t i = 0; i < m->device_count; i++)
		thaw_virtio_mmio_destroy(m->devices[i].mmio);
	thaw_serial_destroy(m->serial);
}

int machine_device_parameters(const struct thaw_machine *m, char *out, size_t size,
			      struct thaw_error *err)
{
	for (size_t i = 0; i < m->device_count; i++) {
		int n = snprintf(out, size, " virtio_mmio.device=4K@0x%llx:%u",
				 MACHINE_MMIO_BASE + i * MACHINE_MMIO_WINDOW, m->devices[i].gsi);
		if (n < 0 || (size_t)n >= size)
			return thaw_error_set(err, E2BIG, "the kernel command line is too long");
		out += n;
		size -= (size_t)n;
	}
	return 0;
}
