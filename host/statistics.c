/* SPDX-License-Identifier: Apache-2.0 */
#include "host/statistics.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "host/timeouts.h"
#include "host/vmm_client.h"
#include "lib/error.h"

/* Whether [start, end) lies in a mapping that thaw-vmm names; *memory: in guest memory. */
static bool mapping_find(const Thaw__Vmm__Statistics *from, uint64_t start, uint64_t end,
			 bool *memory)
{
	for (size_t i = 0; i < from->n_mappings; i++) {
		const Thaw__Vmm__Mapping *mapping = from->mappings[i];
		if (start < mapping->address || end < start ||
		    end - mapping->address > mapping->size)
			continue;
		*memory = mapping->name && strcmp(mapping->name, "memory") == 0;
		return true;
	}
	return false;
}

static void statistics_smaps(pid_t pid, const Thaw__Vmm__Statistics *from,
			     struct thaw_statistics *out)
{
	char path[64];
	char line[512];
	bool guest = false, memory = false;
	uint64_t start, end, value;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &start, &end) == 2) {
			guest = mapping_find(from, start, end, &memory);
		} else if (sscanf(line, "Rss: %" SCNu64, &value) == 1) {
			if (!guest)
				out->own_kib += value;
			else if (memory)
				out->memory_kib += value;
			else
				out->drives_kib += value;
		} else if (guest && memory && sscanf(line, "Anonymous: %" SCNu64, &value) == 1) {
			/* Not Private_*: the image's pages count as these while one clone runs. */
			out->memory_private_kib += value;
		}
	}
	fclose(file);
}

int thaw_statistics_get(struct thaw_vmm *vmm, struct thaw_statistics *out, struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__GetStatistics get = THAW__VMM__GET_STATISTICS__INIT;
	Thaw__Vmm__Reply *reply;

	memset(out, 0, sizeof(*out));
	request.body_case = THAW__VMM__REQUEST__BODY_GET_STATISTICS;
	request.get_statistics = &get;
	int rc = thaw_vmm_call(vmm, &request, NULL, 0, THAW__VMM__REPLY__BODY_STATISTICS,
			       THAW_TIMEOUT_REQUEST, &reply, err);
	if (rc < 0)
		return rc;
	const Thaw__Vmm__Statistics *from = reply->statistics;
	for (size_t i = 0; i < from->n_exits; i++) {
		const Thaw__Vmm__Count *count = from->exits[i];
		out->exits_total += count->value;
		if (!count->value || out->exit_count == THAW_EXIT_KINDS_MAX)
			continue;
		snprintf(out->exits[out->exit_count].name, sizeof(out->exits[0].name), "%s",
			 count->name ? count->name : "");
		thaw_text_printable(out->exits[out->exit_count].name);
		out->exits[out->exit_count++].value = count->value;
	}
	out->guest_ns = from->guest_ns;
	out->minor_faults = from->minor_faults;
	out->major_faults = from->major_faults;
	out->uffd_faults = from->uffd_faults;
	out->pages_loaded = from->pages_loaded;
	out->bytes_read = from->bytes_read;
	out->bytes_written = from->bytes_written;
	out->vsock_rx_bytes = from->vsock_rx_bytes;
	out->vsock_tx_bytes = from->vsock_tx_bytes;
	out->net_rx_bytes = from->net_rx_bytes;
	out->net_rx_packets = from->net_rx_packets;
	out->net_tx_bytes = from->net_tx_bytes;
	out->net_tx_packets = from->net_tx_packets;
	out->net_dropped = from->net_dropped;
	out->first_run_ns = from->first_run_ns;
	if (vmm->pid > 0)
		statistics_smaps(vmm->pid, from, out);
	thaw__vmm__reply__free_unpacked(reply, NULL);
	return 0;
}
