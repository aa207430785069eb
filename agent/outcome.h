/* SPDX-License-Identifier: Apache-2.0 */
/* Lambda's words for how an invocation can end badly. */
#ifndef THAW_AGENT_OUTCOME_H
#define THAW_AGENT_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/agent.pb-c.h"

/* An error document and its type. `json` is owned. */
struct thaw_outcome {
	Thaw__Agent__Outcome outcome;
	const char *type;
	char *json;
	size_t size;
};

void thaw_outcome_clear(struct thaw_outcome *outcome);

/* In all of them `request_id` may be NULL: then the message has no "RequestId: X " in front. */
void thaw_outcome_timeout(struct thaw_outcome *outcome, const char *request_id,
			  uint32_t timeout_ms);
/* By wait status. */
void thaw_outcome_exit(struct thaw_outcome *outcome, const char *request_id, int status, bool oom);
void thaw_outcome_too_large(struct thaw_outcome *outcome, uint64_t size);
/* A runtime that could not be started. */
void thaw_outcome_entrypoint(struct thaw_outcome *outcome, const char *request_id,
			     const char *message);
/* An error reported without a document. */
void thaw_outcome_unexplained(struct thaw_outcome *outcome, const char *type);

#endif
