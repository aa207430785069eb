/* SPDX-License-Identifier: Apache-2.0 */
/* One event into an environment, and everything that is printed of it. */
#ifndef THAW_TOOLS_INVOCATION_H
#define THAW_TOOLS_INVOCATION_H

#include "host/environment.h"
#include "tools/tool.h"

struct thaw_snapshot;

enum {
	INVOCATION_FIRST = 1, /* the environment's first: reports its init or restore */
	INVOCATION_LINE = 2,  /* the response has a line of its own */
};

/* Prints the response (or, with --json, a document about everything) on standard output, the
 * platform's lines on standard error. `ahead` (may be NULL): the invocation that was sent with the
 * restore. The exit code. */
int invocation_run(struct tool *tool, struct thaw_environment *environment, const uint8_t *event,
		   size_t size, int flags, const struct thaw_invocation *ahead);

/* The event at `path`; else the snapshot's own (may be NULL); else {}. As tool_read_event. */
int tool_event(const char *path, const struct thaw_snapshot *snapshot, uint8_t **event,
	       size_t *size);

#endif
