/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime's control group (cgroup v2): what it may use, and one switch to freeze or kill all of
 * it. Its files are opened once: an open under /sys costs more than what is read there.
 *
 * Where there is no cgroup (tests on a host), the calls do nothing or say -ENODEV.
 */
#ifndef THAW_AGENT_CGROUP_H
#define THAW_AGENT_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

struct thaw_error;

struct thaw_cgroup {
	int procs;
	int kill;
	int freeze;
	int events; /* cgroup.events */
	int memory_max;
	int memory_events;
	int memory_current;
	int memory_peak;
	int cpu_stat;
};

/* All closed. */
void thaw_cgroup_init(struct thaw_cgroup *cgroup);

/* Makes `dir` (whose parent is a cgroup2 directory) if need be and opens its files. Controllers
 * are optional, the switches are not. */
int thaw_cgroup_open(struct thaw_cgroup *cgroup, const char *dir, struct thaw_error *err);
void thaw_cgroup_close(struct thaw_cgroup *cgroup);

/* Limits: memory in MiB with the swap shut, killed as one on OOM; number of processes. Fails when
 * the kernel has no memory controller. */
int thaw_cgroup_limit(struct thaw_cgroup *cgroup, const char *dir, uint32_t memory_mib,
		      uint32_t processes, struct thaw_error *err);

static inline bool thaw_cgroup_exists(const struct thaw_cgroup *cgroup)
{
	return cgroup->procs >= 0;
}

/* Kills every process in it, frozen ones too. -ENODEV without one. */
int thaw_cgroup_kill(struct thaw_cgroup *cgroup);
int thaw_cgroup_set_frozen(struct thaw_cgroup *cgroup, bool frozen);
/* Whether all its processes have stopped. Changes raise EPOLLPRI on `events`. */
bool thaw_cgroup_is_frozen(struct thaw_cgroup *cgroup);

/* In KiB; 0 when not known. */
uint64_t thaw_cgroup_memory_kib(struct thaw_cgroup *cgroup);
uint64_t thaw_cgroup_peak_kib(struct thaw_cgroup *cgroup);
/* Processes the OOM killer has taken here, ever. */
uint64_t thaw_cgroup_oom_kills(struct thaw_cgroup *cgroup);
uint64_t thaw_cgroup_cpu_us(struct thaw_cgroup *cgroup);

/* The number behind `key` in "key number" lines; 0 when it is not there. Shared with the readers
 * of /proc files of the same form. */
uint64_t thaw_keyed_number(const char *text, const char *key);

#endif
