/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DATA/control: the Unix socket for the host's own administrator. A connection is one request and
 * one answer, each a line of JSON. Only root and the daemon's own user get an answer.
 *
 * Requests (host/control_client.h sends them): those of admin.h; {"do": "top"}: what `thaw top`
 * shows.
 */
#ifndef THAW_HOST_DAEMON_CONTROL_H
#define THAW_HOST_DAEMON_CONTROL_H

struct thaw_control;
struct thaw_error;
struct thaw_service;

struct thaw_control *thaw_control_start(struct thaw_service *service, struct thaw_error *err);
void thaw_control_stop(struct thaw_control *control);

#endif
