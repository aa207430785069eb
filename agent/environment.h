/* SPDX-License-Identifier: Apache-2.0 */
/* The environment variables of a runtime, as Lambda sets them. */
#ifndef THAW_AGENT_ENVIRONMENT_H
#define THAW_AGENT_ENVIRONMENT_H

#include "proto/agent.pb-c.h"

struct thaw_place;

/* NULL-terminated, in one piece of memory that the caller frees; NULL when there is none. The
 * function's own variables may set PATH, LANG, TZ and the like, never a reserved one. */
char **thaw_environment_make(const Thaw__Agent__Function *function, const struct thaw_place *place,
			     const char *log_stream);

#endif
