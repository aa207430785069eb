/* SPDX-License-Identifier: Apache-2.0 */
/* What machine.c (life), machine_devices.c (assembly) and machine_snapshot.c share. */
#ifndef THAW_VMM_MACHINE_INTERNAL_H
#define THAW_VMM_MACHINE_INTERNAL_H

#include "vmm/bus.h"
#include "vmm/cpu_template.h"
#include "vmm/devices/clock.h"
#include "vmm/devices/mark.h"
#include "vmm/loop.h"
#include "vmm/machine.h"
#include "vmm/memory.h"

struct thaw_block;
struct thaw_net;
struct thaw_serial;
struct thaw_virtio_mmio;
struct thaw_vsock;

#define MACHINE_MMIO_BASE         0xd0000000ull
#define MACHINE_MMIO_WINDOW       0x1000ull
#define MACHINE_DEVICES_MAX       12u
#define MACHINE_DRIVES_MAX        (MACHINE_DEVICES_MAX - 3) /* vsock, rng, net */
#define MACHINE_PMEM_ALIGN        (128ull << 20) /* a memory section of the guest kernel */
#define MACHINE_PMEM_ROOM_MAX_MIB 4096u
#define MACHINE_PMEM_UNIT         (2ull << 20) /* what virtio-pmem can be a multiple of with DAX */

/* Bare: without its devices. Broken: of no use any more. */
enum machine_phase {
	MACHINE_BARE,
	MACHINE_CREATED,
	MACHINE_RUNNING,
	MACHINE_PAUSED,
	MACHINE_BROKEN
};

struct thaw_machine {
	struct thaw_loop *loop;
	struct thaw_machine_events events;
	enum machine_phase phase;

	int kvm_fd, vm_fd, userfaultfd_fd;
	uint64_t memory_mib;
	struct thaw_memory memory;
	enum thaw_cpu_template cpu_template;
	bool software_kvm;
	struct kvm_cpuid2 *cpuid;
	struct thaw_bus mmio, pio;
	struct thaw_gate gate;
	bool gate_ready;

	struct machine_device {
		struct thaw_virtio_mmio *mmio;
		unsigned int gsi;
	} devices[MACHINE_DEVICES_MAX];
	size_t device_count;
	struct thaw_block *blocks[MACHINE_DEVICES_MAX];
	size_t block_count;
	struct machine_pmem {
		void *host;
		uint64_t size;
		gpa_t gpa;
	} pmems[MACHINE_DEVICES_MAX];
	size_t pmem_count;
	struct machine_pmem pmem_room; /* where they will be, made ahead; size 0: none */
	struct thaw_vsock *vsock;
	struct thaw_net *net;
	struct thaw_serial *serial;
	struct thaw_mark mark;
	struct thaw_clock clock;

	struct thaw_uffd *uffd;
	struct thaw_load_result loaded;
	uint64_t index_checksum; /* of the snapshot that was restored */
};

/* 0 when it can be started: it has its devices, and nobody has started it. -EINVAL, -EBUSY. */
int machine_check_new(const struct thaw_machine *m, struct thaw_error *err);
/* Lets devices and vCPUs go on. */
void machine_run(struct thaw_machine *m);

/* Memory slots of the drives that are mapped, or the mappings in the room made for them: before the
 * irqchip and the vCPUs are made, as KVM takes much longer for a slot afterwards. */
int machine_map_drives(struct thaw_machine *m, const Thaw__Vmm__Create *request,
		       struct thaw_fds *fds, struct thaw_error *err);
/* That room. */
int machine_make_room(struct thaw_machine *m, uint64_t mib, struct thaw_error *err);
/* All devices, on their buses and interrupt lines: after the irqchip is made. */
int machine_add_devices(struct thaw_machine *m, const Thaw__Vmm__Create *request,
			struct thaw_fds *fds, struct thaw_error *err);
void machine_destroy_devices(struct thaw_machine *m);
/* Appends " virtio_mmio.device=..." for every device. */
int machine_device_parameters(const struct thaw_machine *m, char *out, size_t size,
			      struct thaw_error *err);

#endif
