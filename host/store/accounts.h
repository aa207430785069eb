/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts, which are tenants, and their access keys. Secrets are here only as the blob that the
 * host's key has sealed (host/keyring.h): the store cannot read them.
 */
#ifndef THAW_HOST_STORE_ACCOUNTS_H
#define THAW_HOST_STORE_ACCOUNTS_H

#include "host/store/blob.h"
#include "host/store/store.h"

struct thaw_account {
	char *id;   /* 12 digits */
	char *name; /* unique */
	int64_t created_ms;
};

void thaw_account_clear(struct thaw_account *account);
void thaw_accounts_free(struct thaw_account *list, size_t count);

/* -EEXIST: the id or the name is taken; -EINVAL: the id is not 12 digits, the name is empty. */
int thaw_accounts_create(struct thaw_store *store, const struct thaw_account *account,
			 struct thaw_error *err);
int thaw_accounts_find(struct thaw_store *store, const char *id, struct thaw_account *account,
		       struct thaw_error *err);
int thaw_accounts_find_name(struct thaw_store *store, const char *name,
			    struct thaw_account *account, struct thaw_error *err);
/* By name. */
int thaw_accounts_list(struct thaw_store *store, const char *after, size_t limit,
		       struct thaw_account **list, size_t *count, struct thaw_error *err);

struct thaw_access_key {
	char *id;
	char *account; /* its id */
	struct thaw_blob sealed;
	int64_t created_ms;
	bool disabled;
};

void thaw_access_key_clear(struct thaw_access_key *key);
void thaw_access_keys_free(struct thaw_access_key *list, size_t count);

/* -EEXIST, -ENOENT: no such account. */
int thaw_access_keys_create(struct thaw_store *store, const struct thaw_access_key *key,
			    struct thaw_error *err);
/* Disabled ones are found too: the caller looks. */
int thaw_access_keys_find(struct thaw_store *store, const char *id, struct thaw_access_key *key,
			  struct thaw_error *err);
/* Of an account, by id. */
int thaw_access_keys_list(struct thaw_store *store, const char *account, const char *after,
			  size_t limit, struct thaw_access_key **list, size_t *count,
			  struct thaw_error *err);
int thaw_access_keys_set_disabled(struct thaw_store *store, const char *id, bool disabled,
				  struct thaw_error *err);

#endif
