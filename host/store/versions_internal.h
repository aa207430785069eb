/* SPDX-License-Identifier: Apache-2.0 */
/* The columns of a version, which a function's item has behind its own. */
#ifndef THAW_HOST_STORE_VERSIONS_INTERNAL_H
#define THAW_HOST_STORE_VERSIONS_INTERNAL_H

#include "host/store/query.h"
#include "host/store/versions.h"

#define THAW_VERSION_COLUMNS                                                                       \
	"function_id, version, config, description, code_digest, code_sha256, code_size, "         \
	"layer_digests, revision_id, state, state_reason, state_reason_code, "                     \
	"last_update_status, last_update_reason, last_update_reason_code, last_modified_ms, "      \
	"snapshot"

#define THAW_VERSION_FIELD(base, kind, member)                                                     \
	{                                                                                          \
		(kind), (base) + offsetof(struct thaw_version_record, member)                      \
	}

#define THAW_VERSION_FIELDS(base)                                                                  \
	THAW_VERSION_FIELD(base, THAW_FIELD_INT, function_id),                                     \
		THAW_VERSION_FIELD(base, THAW_FIELD_INT, version),                                 \
		THAW_VERSION_FIELD(base, THAW_FIELD_JSON, config),                                 \
		THAW_VERSION_FIELD(base, THAW_FIELD_TEXT, description),                            \
		THAW_VERSION_FIELD(base, THAW_FIELD_TEXT, code_digest),                            \
		THAW_VERSION_FIELD(base, THAW_FIELD_TEXT, code_sha256),                            \
		THAW_VERSION_FIELD(base, THAW_FIELD_INT, code_size),                               \
		THAW_VERSION_FIELD(base, THAW_FIELD_JSON_LIST, layer_digests),                     \
		THAW_VERSION_FIELD(base, THAW_FIELD_TEXT, revision_id),                            \
		THAW_VERSION_FIELD(base, THAW_FIELD_TEXT, state),                                  \
		THAW_VERSION_FIELD(base, THAW_FIELD_TEXT_OR_NULL, state_reason),                   \
		THAW_VERSION_FIELD(base, THAW_FIELD_TEXT_OR_NULL, state_reason_code),              \
		THAW_VERSION_FIELD(base, THAW_FIELD_TEXT, last_update_status),                     \
		THAW_VERSION_FIELD(base, THAW_FIELD_TEXT_OR_NULL, last_update_reason),             \
		THAW_VERSION_FIELD(base, THAW_FIELD_TEXT_OR_NULL, last_update_reason_code),        \
		THAW_VERSION_FIELD(base, THAW_FIELD_INT, last_modified_ms),                        \
		THAW_VERSION_FIELD(base, THAW_FIELD_TEXT_OR_NULL, snapshot)

/* Writes a new row, with a revision id of its own. */
int thaw_version_insert(struct thaw_store *store, int64_t function_id, int64_t number,
			const struct thaw_version_record *version, struct thaw_error *err);

#endif
