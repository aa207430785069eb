/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the host waits. Every wait has a bound, and all bounds are multiplied by the
 * environment's THAW_TIMEOUT_SCALE (a number from 0.01 to 1000; when absent 1, or 10 in the
 * emulated host of tests/host), for hosts that are slower, and tests that cannot wait as long, as
 * the ones these were chosen for.
 */
#ifndef THAW_HOST_TIMEOUTS_H
#define THAW_HOST_TIMEOUTS_H

#include <stdint.h>

#define THAW_TIMEOUT_REQUEST 15000  /* a request to thaw-vmm that moves no memory */
#define THAW_TIMEOUT_MEMORY  180000 /* one that writes or reads guest memory */
#define THAW_TIMEOUT_BOOT    180000 /* kernel entry until the agent listens */
#define THAW_TIMEOUT_AGENT   30000  /* an answer of the agent that waits for no handler */
#define THAW_TIMEOUT_INIT    10000  /* Lambda's: a function's init */
#define THAW_TIMEOUT_RESTORE 10000  /* Lambda's: restore with its hooks */
#define THAW_TIMEOUT_GRACE   10000  /* the agent's own handling around a deadline it keeps */
#define THAW_TIMEOUT_PREPARE 60000  /* freeze, sync, drop caches */

/* `milliseconds` scaled, at least 1. */
uint32_t thaw_timeout_ms(uint32_t milliseconds);

/* The time (CLOCK_MONOTONIC, ns) at which a wait that begins now, so long, scaled, is over. */
uint64_t thaw_deadline(uint32_t milliseconds);

/* Milliseconds from now until `deadline` for poll(2): rounded up, 0 when it has passed. */
int thaw_deadline_left(uint64_t deadline);

#endif
