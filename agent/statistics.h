/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of the runtime's cgroup and of the guest, read when asked for. */
#ifndef THAW_AGENT_STATISTICS_H
#define THAW_AGENT_STATISTICS_H

#include "agent/cgroup.h"
#include "proto/agent.pb-c.h"

/* Fills all but the phases. What cannot be read stays 0. */
void thaw_statistics_read(struct thaw_cgroup *cgroup, Thaw__Agent__Statistics *statistics);

#endif
