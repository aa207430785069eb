/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resource policies: statements by function and qualifier ("" for the function itself, "$LATEST",
 * a version's number, an alias' name). A policy is there while it has statements, and its
 * revision id is made anew at each change. What a statement says, and how many there may be, is
 * the caller's business. They go with what they hang on: a later alias of the same name begins
 * with none.
 */
#ifndef THAW_HOST_STORE_POLICIES_H
#define THAW_HOST_STORE_POLICIES_H

#include "host/store/store.h"

struct thaw_policy_statement {
	char *id;        /* Sid */
	char *statement; /* JSON */
};

struct thaw_policy {
	char revision_id[THAW_UUID_TEXT];
	struct thaw_policy_statement *statements; /* in the order they came */
	size_t count;
};

void thaw_policy_clear(struct thaw_policy *policy);

/* -EEXIST: the policy has a statement of that id; -ENOENT: no such function or qualifier;
 * -ESTALE: not at the revision expected (NULL: any), or there is no policy yet. */
int thaw_policies_add(struct thaw_store *store, int64_t function_id, const char *qualifier,
		      const struct thaw_policy_statement *statement, const char *expected_revision,
		      struct thaw_error *err);
/* -ENOENT: no such statement. */
int thaw_policies_remove(struct thaw_store *store, int64_t function_id, const char *qualifier,
			 const char *statement_id, const char *expected_revision,
			 struct thaw_error *err);
/* -ENOENT: there is none. */
int thaw_policies_get(struct thaw_store *store, int64_t function_id, const char *qualifier,
		      struct thaw_policy *policy, struct thaw_error *err);

#endif
