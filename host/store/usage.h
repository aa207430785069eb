/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in use: which drives of code and which snapshots the store refers to, so that the rest
 * can be removed, and how much of its limits an account has used.
 *
 * A drive is made before the row that refers to it. Who removes drives must leave alone those that
 * somebody is about to refer to, and ask again, in the scope in which the name goes away.
 */
#ifndef THAW_HOST_STORE_USAGE_H
#define THAW_HOST_STORE_USAGE_H

#include "host/store/store.h"

/* The digests of code and layer drives that versions of functions, of layers, refer to: sorted,
 * each once. */
int thaw_usage_digests(struct thaw_store *store, const char *after, size_t limit, char ***list,
		       size_t *count, struct thaw_error *err);
void thaw_usage_digests_free(char **list, size_t count);

/* 1 when something refers to it, 0 when nothing does: a drive by its digest, an archive by its
 * checksum in base64, a snapshot by its name. The first two read all versions. */
int thaw_usage_digest(struct thaw_store *store, const char *digest, struct thaw_error *err);
int thaw_usage_sha256(struct thaw_store *store, const char *sha256, struct thaw_error *err);
int thaw_usage_snapshot(struct thaw_store *store, const char *name, struct thaw_error *err);

struct thaw_usage {
	int64_t functions;
	int64_t code_bytes; /* archives of all versions of functions and layers */
};

/* Of an account; one that is not there has used nothing. */
int thaw_usage_account(struct thaw_store *store, const char *account, struct thaw_usage *usage,
		       struct thaw_error *err);

#endif
