/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Versions of functions: $LATEST, which is number 0 and changes, and published ones, whose code
 * and configuration never do. Each change of a version, its state included, makes its revision id
 * anew, as Lambda does; an expected revision of NULL is any.
 */
#ifndef THAW_HOST_STORE_VERSIONS_H
#define THAW_HOST_STORE_VERSIONS_H

#include "host/store/store.h"

#define THAW_VERSION_LATEST 0

struct thaw_version_record {
	int64_t function_id;
	int64_t version;
	char *config; /* JSON: what the user has set, but for what is here */
	char *description;
	char *code_digest;   /* the code drive's */
	char *code_sha256;   /* of the archive, base64 */
	int64_t code_size;   /* of the archive, bytes */
	char *layer_digests; /* JSON list: drives with its layers, which the layers may outlive */
	char *revision_id;
	char *state;        /* Pending, Active, Inactive, Failed */
	char *state_reason; /* this and all that follow: or NULL */
	char *state_reason_code;
	char *last_update_status; /* Successful, Failed, InProgress: never NULL */
	char *last_update_reason;
	char *last_update_reason_code;
	int64_t last_modified_ms;
	char *snapshot; /* its name */
};

void thaw_version_clear(struct thaw_version_record *version);
void thaw_versions_free(struct thaw_version_record *list, size_t count);

/* Any version. -ENOENT. `version` may be NULL. */
int thaw_versions_get(struct thaw_store *store, int64_t function_id, int64_t number,
		      struct thaw_version_record *version, struct thaw_error *err);

/* By number, from those after `after`: -1 begins with $LATEST, 0 with the first published. */
int thaw_versions_list(struct thaw_store *store, int64_t function_id, int64_t after, size_t limit,
		       struct thaw_version_record **list, size_t *count, struct thaw_error *err);

/* Replaces $LATEST by `next` (all but ids). Who changes a part of what it read before gives the
 * revision that it read. -ESTALE: it is at another revision. `made` may be NULL. */
int thaw_versions_update(struct thaw_store *store, int64_t function_id,
			 const struct thaw_version_record *next, const char *expected_revision,
			 struct thaw_version_record *made, struct thaw_error *err);

struct thaw_version_publish {
	const char *description;       /* NULL: $LATEST's */
	const char *expected_revision; /* of $LATEST; NULL: any */
	const char *expected_sha256;   /* of $LATEST's archive; NULL: any */
	const char *state;             /* the new version's: Pending while a snapshot is made */
	const char *state_reason, *state_reason_code; /* may be NULL */
	int64_t now_ms;
};

/* Copies $LATEST to the next number and returns 1, or 0 when the last published version has the
 * same code, layers, configuration and description: then *made is that one. -ESTALE: another
 * revision; -EINVAL: another archive. */
int thaw_versions_publish(struct thaw_store *store, int64_t function_id,
			  const struct thaw_version_publish *publish,
			  struct thaw_version_record *made, struct thaw_error *err);

/* With its policies and configurations. -EBUSY: an alias points to it; -EINVAL: $LATEST goes
 * only with the function. */
int thaw_versions_delete(struct thaw_store *store, int64_t function_id, int64_t number,
			 struct thaw_error *err);

/* What a version must be like for a change of its state; NULL: no matter. */
struct thaw_version_expected {
	const char *state;
	const char *last_update_status;
	const char *revision_id;
};

/* Replaces, by those of `next`, state, last_update_* and snapshot. -ESTALE: it is not as
 * expected. `made` may be NULL. */
int thaw_versions_set_state(struct thaw_store *store, int64_t function_id, int64_t number,
			    const struct thaw_version_expected *expected,
			    const struct thaw_version_record *next,
			    struct thaw_version_record *made, struct thaw_error *err);

/* Those Pending or with an update in progress, of all accounts, by function id and number: what
 * a daemon takes up again after a crash. */
int thaw_versions_unfinished(struct thaw_store *store, int64_t after_function, int64_t after_number,
			     size_t limit, struct thaw_version_record **list, size_t *count,
			     struct thaw_error *err);

#endif
