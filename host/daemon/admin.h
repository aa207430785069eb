/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host's own administrator does: accounts and their keys. A running thawd does it for
 * whoever may open its control socket; without one, the command does it on the store itself.
 *
 * Requests and answers are JSON objects: {"do": "account-create", "name": ...}, and back what was
 * asked for, or {"error": ...}.
 */
#ifndef THAW_HOST_DAEMON_ADMIN_H
#define THAW_HOST_DAEMON_ADMIN_H

#include <jansson.h>
#include <stdbool.h>

struct thaw_keyring;
struct thaw_store;

struct thaw_admin {
	struct thaw_store *store;
	struct thaw_keyring *keyring;
};

/* Never NULL but without memory; the caller's. *changed: access keys are not as they were. */
json_t *thaw_admin_perform(const struct thaw_admin *admin, const json_t *request, bool *changed);

/* thawd account ...: argv[0] is "account". The exit code. */
int thaw_admin_command(const char *data, const char *region, const char *endpoint, int argc,
		       char *argv[]);

#endif
