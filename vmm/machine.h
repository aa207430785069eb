/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One microVM's life. The only file that knows all parts.
 *
 *	create -> boot or restore -> running <-> paused -> destroy
 *	                                          snapshot
 *
 * Requests of proto/vmm.proto come as they are; descriptors are taken out of `fds`. All functions
 * are called from the I/O thread. A failed create, boot or restore leaves a machine that can only
 * be destroyed.
 */
#ifndef THAW_VMM_MACHINE_H
#define THAW_VMM_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/fd.h"
#include "proto/vmm.pb-c.h"
#include "vmm/cpu_template.h"
#include "vmm/devices/net.h"
#include "vmm/snapshot/image.h"
#include "vmm/snapshot/load.h"
#include "vmm/steps.h"
#include "vmm/vcpu.h"

struct thaw_error;
struct thaw_loop;
struct thaw_machine;

/* Called from any thread. */
struct thaw_machine_events {
	void (*mark)(void *opaque, uint8_t value, uint64_t since_first_run_ns);
	void (*stopped)(void *opaque, enum thaw_stop_reason reason, const char *message);
	void *opaque;
};

int thaw_machine_create(struct thaw_machine **machine, struct thaw_loop *loop,
			const struct thaw_machine_events *events, const Thaw__Vmm__Create *request,
			struct thaw_fds *fds, struct thaw_steps *steps, struct thaw_error *err);
/* The devices of a machine that was made with devices_later; once, before it is started. Whatever
 * else `request` says is not looked at. */
int thaw_machine_attach(struct thaw_machine *machine, const Thaw__Vmm__Create *request,
			struct thaw_fds *fds, struct thaw_steps *steps, struct thaw_error *err);
void thaw_machine_destroy(struct thaw_machine *machine);

int thaw_machine_boot(struct thaw_machine *machine, const Thaw__Vmm__Boot *request,
		      struct thaw_fds *fds, struct thaw_error *err);
int thaw_machine_restore(struct thaw_machine *machine, const Thaw__Vmm__Restore *request,
			 struct thaw_fds *fds, struct thaw_steps *steps,
			 struct thaw_load_result *result, struct thaw_error *err);

int thaw_machine_pause(struct thaw_machine *machine, struct thaw_error *err);
int thaw_machine_resume(struct thaw_machine *machine, struct thaw_error *err);

/* The machine is paused and stays so. index->... is the caller's to clear. */
int thaw_machine_snapshot(struct thaw_machine *machine, const Thaw__Vmm__Snapshot *request,
			  struct thaw_fds *fds, struct thaw_index *index, struct thaw_steps *steps,
			  struct thaw_error *err);
int thaw_machine_save_working_set(struct thaw_machine *machine,
				  const Thaw__Vmm__SaveWorkingSet *request, struct thaw_fds *fds,
				  struct thaw_error *err);

int thaw_machine_vsock_attach(struct thaw_machine *machine, const Thaw__Vmm__VsockAttach *request,
			      struct thaw_fds *fds, struct thaw_error *err);

/* What the machine is, for replies. */
enum thaw_cpu_template thaw_machine_cpu_template(const struct thaw_machine *machine);
bool thaw_machine_software_kvm(const struct thaw_machine *machine);

/* Fills numbers; arrays point into `out` and the machine, valid until the next call. */
struct thaw_machine_statistics {
	struct {
		const char *name;
		uint64_t value;
	} exits[THAW_EXIT_REASONS + 1];
	size_t exit_count;
	struct {
		const char *name;
		uint64_t address, size;
	} mappings[16];
	size_t mapping_count;
	uint64_t guest_ns, first_run_ns;
	uint64_t uffd_faults, pages_loaded, bytes_read, bytes_written;
	uint64_t vsock_rx_bytes, vsock_tx_bytes;
	struct thaw_net_statistics net;
};
void thaw_machine_statistics(struct thaw_machine *machine, struct thaw_machine_statistics *out);

#endif
