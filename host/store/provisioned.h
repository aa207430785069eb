/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Provisioned concurrency by function and qualifier: what was asked for, and how it went. How many
 * environments there are just now is not remembered: after a start there are none. It goes with
 * the version or alias it hangs on.
 */
#ifndef THAW_HOST_STORE_PROVISIONED_H
#define THAW_HOST_STORE_PROVISIONED_H

#include "host/store/store.h"

struct thaw_provisioned {
	int64_t function_id;
	char *qualifier;
	int64_t requested;   /* environments, at least 1 */
	char *status;        /* IN_PROGRESS, READY, FAILED */
	char *status_reason; /* or NULL */
	int64_t last_modified_ms;
};

void thaw_provisioned_clear(struct thaw_provisioned *provisioned);
void thaw_provisioned_free(struct thaw_provisioned *list, size_t count);

/* Sets it, or replaces it. -ENOENT: no such function or qualifier. */
int thaw_provisioned_put(struct thaw_store *store, const struct thaw_provisioned *provisioned,
			 struct thaw_error *err);
int thaw_provisioned_get(struct thaw_store *store, int64_t function_id, const char *qualifier,
			 struct thaw_provisioned *provisioned, struct thaw_error *err);
/* A function's, by qualifier. */
int thaw_provisioned_list(struct thaw_store *store, int64_t function_id, const char *after,
			  size_t limit, struct thaw_provisioned **list, size_t *count,
			  struct thaw_error *err);
/* All there are, by function id and qualifier: what a daemon builds at its start. */
int thaw_provisioned_list_all(struct thaw_store *store, int64_t after_function, const char *after,
			      size_t limit, struct thaw_provisioned **list, size_t *count,
			      struct thaw_error *err);
/* What all qualifiers of the function but `except` (NULL: none) have asked for together. */
int thaw_provisioned_sum(struct thaw_store *store, int64_t function_id, const char *except,
			 int64_t *sum, struct thaw_error *err);
/* What all functions of the account without reserved concurrency, but `except` (0: none), have
 * asked for together. */
int thaw_provisioned_unreserved_sum(struct thaw_store *store, const char *account, int64_t except,
				    int64_t *sum, struct thaw_error *err);
/* -ESTALE: `requested` is not what is asked for any more. */
int thaw_provisioned_set_status(struct thaw_store *store, int64_t function_id,
				const char *qualifier, int64_t requested, const char *status,
				const char *reason, struct thaw_error *err);
int thaw_provisioned_delete(struct thaw_store *store, int64_t function_id, const char *qualifier,
			    struct thaw_error *err);

#endif
