/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who sent this request? The access keys of all accounts, in memory with their secrets sealed as
 * they are on the disk; the hooks of the router that check signatures with them.
 *
 * A request is refused on its head already (an unknown key, a wrong time, another region), so that
 * nobody without a key can send a body; its signature is checked when the body is there.
 */
#ifndef THAW_HOST_DAEMON_KEYS_H
#define THAW_HOST_DAEMON_KEYS_H

struct thaw_call;
struct thaw_error;
struct thaw_http_response;
struct thaw_keys;
struct thaw_service;

#define THAW_ROOT_ACCOUNT "000000000000" /* what --no-auth is, unless told otherwise */

/* Reads all keys from the service's store. */
struct thaw_keys *thaw_keys_new(struct thaw_service *service, struct thaw_error *err);
void thaw_keys_free(struct thaw_keys *keys);

/* Reads them again, after a change. */
int thaw_keys_reload(struct thaw_keys *keys, struct thaw_error *err);

/* struct thaw_router's hooks, with the service as their opaque. */
struct thaw_http_response *thaw_keys_admit(void *service, struct thaw_call *call);
struct thaw_http_response *thaw_keys_authorize(void *service, struct thaw_call *call);

/* The account that a call comes from, 12 digits, once it is authorized. */
const char *thaw_call_account(const struct thaw_call *call);

#endif
