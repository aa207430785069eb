/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Versions of layers. They never change, and their numbers are never used again, not even after
 * a deletion. Functions do not refer to these rows but to the drives (layer_digests of
 * versions.h), so a function goes on when a layer that it uses is deleted.
 */
#ifndef THAW_HOST_STORE_LAYERS_H
#define THAW_HOST_STORE_LAYERS_H

#include "host/store/store.h"

struct thaw_layer_version {
	char *account;
	char *name;
	int64_t number;
	char *description;
	char *license;
	char *runtimes;      /* JSON list of the compatible ones */
	char *architectures; /* JSON list */
	char *code_digest;   /* the drive's */
	char *code_sha256;   /* of the archive, base64 */
	int64_t code_size;   /* of the archive, bytes */
	int64_t created_ms;
};

void thaw_layer_version_clear(struct thaw_layer_version *layer);
void thaw_layer_versions_free(struct thaw_layer_version *list, size_t count);

/* All but `number`, which *number then says. -ENOENT: no such account. */
int thaw_layers_publish(struct thaw_store *store, const struct thaw_layer_version *layer,
			int64_t *number, struct thaw_error *err);
int thaw_layers_get(struct thaw_store *store, const char *account, const char *name, int64_t number,
		    struct thaw_layer_version *layer, struct thaw_error *err);

/* Only layers compatible with both; NULL: with any. */
struct thaw_layers_filter {
	const char *runtime;
	const char *architecture;
};

/* The latest version, of those that pass, of each layer of an account, by name. */
int thaw_layers_list(struct thaw_store *store, const char *account,
		     const struct thaw_layers_filter *filter, const char *after, size_t limit,
		     struct thaw_layer_version **list, size_t *count, struct thaw_error *err);

/* The versions of a layer, the newest first: those below `before` (THAW_STORE_UNSET: all). */
int thaw_layers_list_versions(struct thaw_store *store, const char *account, const char *name,
			      const struct thaw_layers_filter *filter, int64_t before, size_t limit,
			      struct thaw_layer_version **list, size_t *count,
			      struct thaw_error *err);

int thaw_layers_delete(struct thaw_store *store, const char *account, const char *name,
		       int64_t number, struct thaw_error *err);

#endif
