/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions. A function always has version 0, which is $LATEST; published versions are in
 * versions.h. Deleting a function takes along all that hangs on it: versions, aliases, policies,
 * configurations, queued events. Its row id is never used again, and a function of the same name
 * goes on with its version numbers.
 */
#ifndef THAW_HOST_STORE_FUNCTIONS_H
#define THAW_HOST_STORE_FUNCTIONS_H

#include "host/store/versions.h"

struct thaw_function_record {
	int64_t id; /* the store's */
	char *account;
	char *name; /* unique in the account */
	int64_t next_version;
	int64_t reserved; /* concurrency, or THAW_STORE_UNSET */
	char *tags;       /* a JSON map */
	int64_t created_ms;
};

/* A function and one version of it. */
struct thaw_function_item {
	struct thaw_function_record function;
	struct thaw_version_record version;
};

void thaw_function_item_clear(struct thaw_function_item *item);
void thaw_function_items_free(struct thaw_function_item *list, size_t count);

/* From item->function: account, name, reserved, tags, created_ms; item->version is $LATEST, all
 * but the ids. *made may be NULL. -EEXIST, -ENOENT: no such account. */
int thaw_functions_create(struct thaw_store *store, const struct thaw_function_item *item,
			  struct thaw_function_item *made, struct thaw_error *err);

/* -ENOENT: no function, or no such version of it. `item` may be NULL. */
int thaw_functions_get(struct thaw_store *store, const char *account, const char *name,
		       int64_t version, struct thaw_function_item *item, struct thaw_error *err);
int thaw_functions_get_by_id(struct thaw_store *store, int64_t id, int64_t version,
			     struct thaw_function_item *item, struct thaw_error *err);

/* An account's, by name and version, each with $LATEST or, with `all`, with every version.
 * `after` and `after_version` are of the last item of the page before. */
int thaw_functions_list(struct thaw_store *store, const char *account, bool all, const char *after,
			int64_t after_version, size_t limit, struct thaw_function_item **list,
			size_t *count, struct thaw_error *err);

int thaw_functions_delete(struct thaw_store *store, int64_t id, struct thaw_error *err);

/* THAW_STORE_UNSET takes the reservation away. */
int thaw_functions_set_reserved(struct thaw_store *store, int64_t id, int64_t reserved,
				struct thaw_error *err);
/* What all functions of the account but `except` (0: none) have reserved together. */
int thaw_functions_reserved_sum(struct thaw_store *store, const char *account, int64_t except,
				int64_t *sum, struct thaw_error *err);

/* Replaces the JSON map; who changes one tag reads and writes in one scope. */
int thaw_functions_set_tags(struct thaw_store *store, int64_t id, const char *tags,
			    struct thaw_error *err);

#endif
