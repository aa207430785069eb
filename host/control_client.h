/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a running thawd, over the socket in its data directory (host/daemon/control.h). */
#ifndef THAW_HOST_CONTROL_CLIENT_H
#define THAW_HOST_CONTROL_CLIENT_H

#include <jansson.h>
#include <stddef.h>

struct thaw_error;
struct sockaddr_un;

#define THAW_CONTROL_SOCKET   "control"
#define THAW_CONTROL_LINE_MAX (8u << 20)
#define THAW_CONTROL_WAIT_S   30

/* The answer, the caller's. NULL with an error: ENOENT when no daemon listens there. */
json_t *thaw_control_ask(const char *data, const json_t *request, struct thaw_error *err);

/* One line of JSON from or to a socket, with its own time limits. NULL, or negative: an error. */
json_t *thaw_control_receive(int fd, struct thaw_error *err);
int thaw_control_send(int fd, const json_t *value, struct thaw_error *err);

/* A Unix socket's address may be longer than sockaddr_un: DATA/control by way of the directory's
 * descriptor, which the caller closes when it has bound or connected. */
int thaw_control_address(const char *data, struct sockaddr_un *address, int *dir,
			 struct thaw_error *err);

#endif
