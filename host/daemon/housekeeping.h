/* SPDX-License-Identifier: Apache-2.0 */
/* What happens by the clock, every ten minutes: logs that are too old or too large go
 * (host/telemetry/logs.h), and what is half-made and nobody's (host/state.h). */
#ifndef THAW_HOST_DAEMON_HOUSEKEEPING_H
#define THAW_HOST_DAEMON_HOUSEKEEPING_H

struct thaw_error;
struct thaw_housekeeping;
struct thaw_service;

struct thaw_housekeeping *thaw_housekeeping_start(struct thaw_service *service,
						  struct thaw_error *err);
void thaw_housekeeping_stop(struct thaw_housekeeping *housekeeping);

#endif
