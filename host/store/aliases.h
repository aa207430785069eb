/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Aliases: names for versions of a function, with at most one second version that gets a part of
 * the invocations. While an alias points to a version, the version cannot be deleted.
 */
#ifndef THAW_HOST_STORE_ALIASES_H
#define THAW_HOST_STORE_ALIASES_H

#include "host/store/store.h"

struct thaw_alias {
	int64_t function_id;
	char *name; /* not all digits */
	int64_t version;
	char *description;
	int64_t second_version; /* or THAW_STORE_UNSET */
	double second_weight;   /* 0..1: the second version's part */
	char *revision_id;      /* made anew at each change; not read from what goes in */
};

void thaw_alias_clear(struct thaw_alias *alias);
void thaw_aliases_free(struct thaw_alias *list, size_t count);

/* -EEXIST, -ENOENT: no such function or version, -EINVAL: the name, the weight, or both versions
 * the same. `made` may be NULL. */
int thaw_aliases_create(struct thaw_store *store, const struct thaw_alias *alias,
			struct thaw_alias *made, struct thaw_error *err);
int thaw_aliases_get(struct thaw_store *store, int64_t function_id, const char *name,
		     struct thaw_alias *alias, struct thaw_error *err);
/* By name; with `version` (else THAW_STORE_UNSET) those that point to it, first or second. */
int thaw_aliases_list(struct thaw_store *store, int64_t function_id, int64_t version,
		      const char *after, size_t limit, struct thaw_alias **list, size_t *count,
		      struct thaw_error *err);
/* Replaces all but function and name. -ESTALE: not at the revision expected (NULL: any). */
int thaw_aliases_update(struct thaw_store *store, const struct thaw_alias *alias,
			const char *expected_revision, struct thaw_alias *made,
			struct thaw_error *err);
/* With its policies and configurations. */
int thaw_aliases_delete(struct thaw_store *store, int64_t function_id, const char *name,
			struct thaw_error *err);

#endif
