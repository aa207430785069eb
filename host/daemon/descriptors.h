/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's descriptors, shared out so that one use of them cannot take another's: a client is
 * always accepted as long as it may be, and what is under way has what it opens for a moment.
 *
 *	half of the limit (RLIMIT_NOFILE), less some that are kept: connections of clients
 *	the other half: environments, with their logs, and snapshots' files
 */
#ifndef THAW_HOST_DAEMON_DESCRIPTORS_H
#define THAW_HOST_DAEMON_DESCRIPTORS_H

struct thaw_config;
struct thaw_error;
struct thaw_service;

/* How many connections there may be: those of the configuration, or fewer; at least one for each of
 * the server's threads. */
unsigned int thaw_descriptors_connections(const struct thaw_config *config);

/* Whether another environment may be started. -EMFILE. */
int thaw_descriptors_check(struct thaw_service *service, struct thaw_error *err);

#endif
