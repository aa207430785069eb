/* SPDX-License-Identifier: Apache-2.0 */
/* The platform's own log lines around an invocation, in Lambda's format. */
#ifndef THAW_HOST_REPORT_H
#define THAW_HOST_REPORT_H

#include <stdio.h>

#include "host/environment.h"

/* START RequestId: ... */
void thaw_report_start(FILE *out, const struct thaw_environment *environment,
		       const struct thaw_invocation *invocation);

/* INIT_REPORT or RESTORE_REPORT when the start did not come to a good end; nothing otherwise. */
void thaw_report_failed_start(FILE *out, const struct thaw_environment *environment);

/* END and REPORT. `first`: this is the environment's first invocation, which reports its init or
 * restore. */
void thaw_report_end(FILE *out, const struct thaw_environment *environment,
		     const struct thaw_invocation *invocation, const struct thaw_result *result,
		     bool first);

#endif
