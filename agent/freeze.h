/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standing still and going on: Freeze, PrepareSnapshot and Resume. What must be true before any
 * code of a handler runs in a restored machine is established in thaw_resume_begin, in its order.
 */
#ifndef THAW_AGENT_FREEZE_H
#define THAW_AGENT_FREEZE_H

#include "agent/session.h"

#define THAW_ENTROPY_MIN 32u /* bytes */
#define THAW_ENTROPY_MAX 4096u

/* Lets a frozen runtime go on; costs nothing if it is not frozen. */
void thaw_unfreeze(struct thaw_session *session);

/* Freeze and PrepareSnapshot. */
void thaw_freeze_begin(struct thaw_session *session);
void thaw_freeze_advance(struct thaw_session *session);
void thaw_freeze_expired(struct thaw_session *session);

void thaw_resume_begin(struct thaw_session *session);
void thaw_resume_advance(struct thaw_session *session);
void thaw_resume_expired(struct thaw_session *session);
void thaw_resume_failed(struct thaw_session *session, const struct thaw_reported_error *error);
void thaw_resume_died(struct thaw_session *session, int status);

/* New randomness for the kernel, and the wall clock (nanoseconds since 1970; 0 leaves it). */
int thaw_entropy_add(const uint8_t *data, size_t size, struct thaw_error *err);
int thaw_wall_clock_set(uint64_t sent_ns, struct thaw_error *err);

#endif
