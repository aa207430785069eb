/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boot phases, told to the host by one byte written to an I/O port (docs/protocol.md): it costs
 * one exit and needs no driver. Where there is no /dev/port nothing happens. And the way back: the
 * host's clock, at eight ports.
 */
#ifndef THAW_AGENT_MARK_H
#define THAW_AGENT_MARK_H

#include <stdint.h>

enum thaw_mark {
	THAW_MARK_MAIN = 0x01,   /* the agent entered main */
	THAW_MARK_LISTEN = 0x02, /* the host may connect to vsock port 1024 */
	THAW_MARK_POWER = 0xff,  /* the machine is about to go off */
};

/* Called once, when /dev is mounted. */
void thaw_mark_open(void);
void thaw_mark(enum thaw_mark mark);

/* The host's wall clock in nanoseconds, read from it at this moment; 0 where it cannot be. */
uint64_t thaw_host_clock(void);

#endif
