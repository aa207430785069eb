/* SPDX-License-Identifier: Apache-2.0 */
/* What a microVM has done and holds: thaw-vmm's own counts, and the kernel's view of its memory. */
#ifndef THAW_HOST_STATISTICS_H
#define THAW_HOST_STATISTICS_H

#include <stddef.h>
#include <stdint.h>

struct thaw_error;
struct thaw_vmm;

#define THAW_EXIT_KINDS_MAX 24

struct thaw_statistics {
	struct {
		char name[32];
		uint64_t value;
	} exits[THAW_EXIT_KINDS_MAX]; /* KVM_RUN's, by reason */
	size_t exit_count;
	uint64_t exits_total;
	uint64_t guest_ns;
	uint64_t minor_faults, major_faults; /* of thaw-vmm */
	uint64_t uffd_faults;
	uint64_t pages_loaded;
	uint64_t bytes_read, bytes_written;
	uint64_t vsock_rx_bytes, vsock_tx_bytes;
	uint64_t net_rx_bytes, net_rx_packets; /* to the guest */
	uint64_t net_tx_bytes, net_tx_packets;
	uint64_t net_dropped;
	uint64_t first_run_ns; /* CLOCK_MONOTONIC */
	/* From /proc/PID/smaps, KiB. */
	uint64_t memory_kib;         /* guest memory that is there: pages touched or loaded */
	uint64_t memory_private_kib; /* of it, the clone's own: written, or loaded for it alone */
	uint64_t drives_kib;         /* mapped drives that are there */
	uint64_t own_kib;            /* thaw-vmm's own: RSS less both */
};

int thaw_statistics_get(struct thaw_vmm *vmm, struct thaw_statistics *out, struct thaw_error *err);

#endif
