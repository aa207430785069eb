/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The door: the HTTP server, and what it answers beside the API.
 *
 *	GET /metrics            unsigned, from this machine: all metrics; signed: the account's own
 *	GET /health             "ok"
 *	GET /archives/DIGEST    an archive of code, for those who were given its location
 */
#ifndef THAW_HOST_DAEMON_FRONT_H
#define THAW_HOST_DAEMON_FRONT_H

struct thaw_call;
struct thaw_error;
struct thaw_http_response;
struct thaw_service;

/* Sets service->server. */
int thaw_front_start(struct thaw_service *service, struct thaw_error *err);

/* An operation: the caller's metrics. */
struct thaw_http_response *thaw_operation_metrics(struct thaw_service *service,
						  struct thaw_call *call);

#endif
