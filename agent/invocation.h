/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Init and Invoke: a runtime is started if there is none, gets the event, and answers, fails, ends
 * or overruns; each of these is told to the host in Lambda's words.
 */
#ifndef THAW_AGENT_INVOCATION_H
#define THAW_AGENT_INVOCATION_H

#include "agent/session.h"

extern const struct thaw_runtime_api_ops thaw_invocation_api_ops;

/* Begin the operation that session->op describes. */
void thaw_init_begin(struct thaw_session *session);
void thaw_invoke_begin(struct thaw_session *session);

/* Moves it on as far as it goes now. */
void thaw_init_advance(struct thaw_session *session);
void thaw_invoke_advance(struct thaw_session *session);

/* A further part of the event's payload. */
int thaw_invoke_chunk(struct thaw_session *session, const Thaw__Agent__Chunk *chunk,
		      struct thaw_error *err);
/* Whether the next Chunk can be taken. */
bool thaw_invoke_wants_chunk(const struct thaw_session *session);

/* Its time is over. */
void thaw_invocation_expired(struct thaw_session *session);
/* The runtime has ended. */
void thaw_invocation_died(struct thaw_session *session, int status, bool oom);

#endif
