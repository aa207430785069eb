/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event-invoke configurations: how asynchronous invocations of a function and qualifier are
 * retried and where their results go. They go with the version or alias they hang on.
 */
#ifndef THAW_HOST_STORE_EVENT_CONFIG_H
#define THAW_HOST_STORE_EVENT_CONFIG_H

#include "host/store/store.h"

struct thaw_event_config {
	int64_t function_id;
	char *qualifier;
	int64_t maximum_retries; /* or THAW_STORE_UNSET */
	int64_t maximum_age_s;   /* or THAW_STORE_UNSET */
	char *destinations;      /* JSON, or NULL */
	int64_t last_modified_ms;
};

void thaw_event_config_clear(struct thaw_event_config *config);
void thaw_event_configs_free(struct thaw_event_config *list, size_t count);

/* Sets it, or replaces it. -ENOENT: no such function or qualifier. */
int thaw_event_configs_put(struct thaw_store *store, const struct thaw_event_config *config,
			   struct thaw_error *err);
int thaw_event_configs_get(struct thaw_store *store, int64_t function_id, const char *qualifier,
			   struct thaw_event_config *config, struct thaw_error *err);
/* A function's, by qualifier; `after` is NULL for the beginning. */
int thaw_event_configs_list(struct thaw_store *store, int64_t function_id, const char *after,
			    size_t limit, struct thaw_event_config **list, size_t *count,
			    struct thaw_error *err);
int thaw_event_configs_delete(struct thaw_store *store, int64_t function_id, const char *qualifier,
			      struct thaw_error *err);

#endif
