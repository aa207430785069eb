/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a runtime writes to stdout and stderr: two pipes, read as bytes come and handed on. The
 * reader never blocks the agent, and loses nothing while whoever takes the bytes can: when it
 * cannot for the moment, the pipes fill and the writers wait; when it cannot for longer than
 * THAW_LOGS_PATIENCE_MS, bytes are read, dropped and counted, so that a host which does not
 * read cannot hang a handler.
 *
 * A handler that prints line after line would wake the agent for each: after THAW_LOGS_STREAK
 * reads in quick succession a pipe is left alone for THAW_LOGS_REST_MS, and what has come together
 * is read at once. Nobody waits for it who would not have waited anyway, and thaw_logs_settle
 * brings it before an answer.
 */
#ifndef THAW_AGENT_LOGS_H
#define THAW_AGENT_LOGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/loop.h"

#define THAW_LOGS_READ_MAX    65536u /* what a pipe holds: one read empties it */
#define THAW_LOGS_PATIENCE_MS 1000u
#define THAW_LOGS_STREAK      4u
#define THAW_LOGS_REST_MS     5u

enum thaw_log_source { THAW_LOG_STDOUT, THAW_LOG_STDERR, THAW_LOG_SOURCES };

struct thaw_logs;

struct thaw_log_pipe {
	struct thaw_watch watch;
	struct thaw_logs *logs;
	uint64_t dropped; /* since the last bytes handed on */
	uint64_t read_ns; /* when it was read last */
	unsigned int streak;
	bool resting;
};

struct thaw_logs {
	struct thaw_loop *loop;
	struct thaw_log_pipe pipes[THAW_LOG_SOURCES];
	struct thaw_timer patience;
	struct thaw_timer rest;
	bool held;     /* nobody takes bytes for now */
	bool dropping; /* and has not for long */

	/* Hands bytes on, with the number lost before them. */
	void (*take)(struct thaw_logs *logs, enum thaw_log_source source, const uint8_t *data,
		     size_t size, uint64_t dropped);
};

void thaw_logs_init(struct thaw_logs *logs, struct thaw_loop *loop);
/* Its timers leave the loop; the pipes must be closed. */
void thaw_logs_forget(struct thaw_logs *logs);

/* Makes fresh pipes and returns their write ends, which the caller closes. 0 or a negative
 * errno. */
int thaw_logs_open(struct thaw_logs *logs, int writers[THAW_LOG_SOURCES]);
/* Hands on what is in pipes that are not watched at the moment: all that was written before now
 * has then been handed on, if this is called for something the loop delivered. */
void thaw_logs_settle(struct thaw_logs *logs);
/* Hands on all that is in the pipes, whatever `held` says. */
void thaw_logs_drain(struct thaw_logs *logs);
void thaw_logs_close(struct thaw_logs *logs);

/* Says whether bytes can be taken now. */
void thaw_logs_hold(struct thaw_logs *logs, bool held);

#endif
