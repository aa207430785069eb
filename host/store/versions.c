/* SPDX-License-Identifier: Apache-2.0 */
#include "host/store/versions.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "host/store/versions_internal.h"
#include "lib/error.h"

static const struct thaw_field version_fields[] = {THAW_VERSION_FIELDS(0)};

static const struct thaw_record version_record =
	THAW_RECORD(struct thaw_version_record, version_fields);

#define cleanup_version __attribute__((cleanup(thaw_version_clear)))

void thaw_version_clear(struct thaw_version_record *version)
{
	thaw_record_clear(&version_record, version);
}

void thaw_versions_free(struct thaw_version_record *list, size_t count)
{
	thaw_record_free(&version_record, list, count);
}

/* Both statements take the columns of a version in their order. */
static int version_write(struct thaw_store *store, const char *sql, int64_t function_id,
			 int64_t number, const struct thaw_version_record *version,
			 struct thaw_error *err)
{
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;
	struct thaw_version_record row = *version;
	char revision[THAW_UUID_TEXT];

	int rc = thaw_uuid_make(revision, err);
	if (rc == 0)
		rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	row.function_id = function_id;
	row.version = number;
	row.revision_id = revision;
	thaw_record_bind(&version_record, 0, &query, &row);
	return thaw_query_run_one(&query, err, "no version %" PRId64, number);
}

int thaw_version_insert(struct thaw_store *store, int64_t function_id, int64_t number,
			const struct thaw_version_record *version, struct thaw_error *err)
{
	static const char sql[] =
		"INSERT INTO versions (" THAW_VERSION_COLUMNS ")\n"
		"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, "
		"?17)";

	return version_write(store, sql, function_id, number, version, err);
}

static int version_replace(struct thaw_store *store, int64_t function_id, int64_t number,
			   const struct thaw_version_record *version, struct thaw_error *err)
{
	static const char sql[] =
		"UPDATE versions SET config = ?3, description = ?4, code_digest = ?5, "
		"code_sha256 = ?6, code_size = ?7, layer_digests = ?8, revision_id = ?9, "
		"state = ?10, state_reason = ?11, state_reason_code = ?12, "
		"last_update_status = ?13, last_update_reason = ?14, "
		"last_update_reason_code = ?15, last_modified_ms = ?16, snapshot = ?17\n"
		"WHERE function_id = ?1 AND version = ?2";

	return version_write(store, sql, function_id, number, version, err);
}

int thaw_versions_get(struct thaw_store *store, int64_t function_id, int64_t number,
		      struct thaw_version_record *version, struct thaw_error *err)
{
	static const char sql[] = "SELECT " THAW_VERSION_COLUMNS " FROM versions\n"
				  "WHERE function_id = ?1 AND version = ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, function_id);
	thaw_query_int(&query, number);
	return thaw_record_get(&version_record, &query, version, err, "no version %" PRId64,
			       number);
}

int thaw_versions_list(struct thaw_store *store, int64_t function_id, int64_t after, size_t limit,
		       struct thaw_version_record **list, size_t *count, struct thaw_error *err)
{
	static const char sql[] = "SELECT " THAW_VERSION_COLUMNS " FROM versions\n"
				  "WHERE function_id = ?1 AND version > ?2\n"
				  "ORDER BY version LIMIT ?3";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, function_id);
	thaw_query_int(&query, after);
	rc = thaw_query_limit(&query, limit, err);
	if (rc < 0)
		return rc;
	return thaw_record_list(&version_record, &query, limit, (void **)list, count, err);
}

static int version_expect(const struct thaw_version_record *version, const char *revision,
			  struct thaw_error *err)
{
	if (!revision || strcmp(revision, version->revision_id) == 0)
		return 0;
	return thaw_error_set(err, ESTALE, "it is at revision %s, not %s", version->revision_id,
			      revision);
}

int thaw_versions_update(struct thaw_store *store, int64_t function_id,
			 const struct thaw_version_record *next, const char *expected_revision,
			 struct thaw_version_record *made, struct thaw_error *err)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	cleanup_version struct thaw_version_record now = {0};
	cleanup_version struct thaw_version_record after = {0};

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = thaw_versions_get(store, function_id, THAW_VERSION_LATEST, &now, err);
	if (rc == 0)
		rc = version_expect(&now, expected_revision, err);
	if (rc == 0)
		rc = version_replace(store, function_id, THAW_VERSION_LATEST, next, err);
	if (rc == 0)
		rc = thaw_versions_get(store, function_id, THAW_VERSION_LATEST, &after, err);
	if (rc == 0)
		rc = thaw_store_commit(&scope, err);
	if (rc == 0 && made) {
		*made = after;
		after = (struct thaw_version_record){0};
	}
	return rc;
}

static bool version_same(const struct thaw_version_record *a, const struct thaw_version_record *b)
{
	return strcmp(a->config, b->config) == 0 && strcmp(a->description, b->description) == 0 &&
	       strcmp(a->code_digest, b->code_digest) == 0 &&
	       strcmp(a->code_sha256, b->code_sha256) == 0 &&
	       strcmp(a->layer_digests, b->layer_digests) == 0;
}

/* The next number, which is used from now on. */
static int version_number(struct thaw_store *store, int64_t function_id, int64_t *number, bool take,
			  struct thaw_error *err)
{
	static const char ask[] = "SELECT next_version FROM functions WHERE id = ?1";
	static const char add[] =
		"UPDATE functions SET next_version = next_version + 1 WHERE id = ?1";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, take ? add : ask, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, function_id);
	if (take)
		return thaw_query_run_one(&query, err, "no such function");
	rc = thaw_record_get(&version_record, &query, NULL, err, "no such function");
	if (rc == 0)
		*number = thaw_query_number(&query, 0);
	return rc;
}

/* Copies what `latest` says to the next number, unless the number before says the same: then 0,
 * else 1; `made` is the version that has it now. */
static int version_publish(struct thaw_store *store, int64_t function_id,
			   const struct thaw_version_record *latest,
			   struct thaw_version_record *made, struct thaw_error *err)
{
	int64_t number = 0;

	int rc = version_number(store, function_id, &number, false, err);
	if (rc < 0)
		return rc;
	rc = number > 1 ? thaw_versions_get(store, function_id, number - 1, made, err) : -ENOENT;
	if (rc == 0 && version_same(made, latest))
		return 0;
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (rc == 0)
		thaw_version_clear(made);
	rc = version_number(store, function_id, NULL, true, err);
	if (rc == 0)
		rc = thaw_version_insert(store, function_id, number, latest, err);
	if (rc == 0)
		rc = thaw_versions_get(store, function_id, number, made, err);
	return rc < 0 ? rc : 1;
}

int thaw_versions_publish(struct thaw_store *store, int64_t function_id,
			  const struct thaw_version_publish *publish,
			  struct thaw_version_record *made, struct thaw_error *err)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	cleanup_version struct thaw_version_record latest = {0};
	cleanup_version struct thaw_version_record after = {0};

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = thaw_versions_get(store, function_id, THAW_VERSION_LATEST, &latest, err);
	if (rc == 0)
		rc = version_expect(&latest, publish->expected_revision, err);
	if (rc == 0 && publish->expected_sha256 &&
	    strcmp(publish->expected_sha256, latest.code_sha256) != 0)
		rc = thaw_error_set(err, EINVAL, "its code has the SHA-256 %s, not %s",
				    latest.code_sha256, publish->expected_sha256);
	if (rc < 0)
		return rc;
	struct thaw_version_record next = latest;
	if (publish->description)
		next.description = (char *)publish->description;
	next.state = (char *)publish->state;
	next.state_reason = (char *)publish->state_reason;
	next.state_reason_code = (char *)publish->state_reason_code;
	next.last_update_status = (char *)"Successful";
	next.last_update_reason = next.last_update_reason_code = next.snapshot = NULL;
	next.last_modified_ms = publish->now_ms;
	int published = version_publish(store, function_id, &next, &after, err);
	rc = published < 0 ? published : thaw_store_commit(&scope, err);
	if (rc == 0 && made) {
		*made = after;
		after = (struct thaw_version_record){0};
	}
	return rc < 0 ? rc : published;
}

static int version_pointed_at(struct thaw_store *store, int64_t function_id, int64_t number,
			      struct thaw_error *err)
{
	static const char sql[] =
		"SELECT 1 FROM aliases\n"
		"WHERE function_id = ?1 AND (version = ?2 OR second_version = ?2)";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, function_id);
	thaw_query_int(&query, number);
	rc = thaw_query_step(&query, err);
	if (rc == 1)
		return thaw_error_set(err, EBUSY, "an alias points to version %" PRId64, number);
	return rc;
}

static int version_remove(struct thaw_store *store, int64_t function_id, int64_t number,
			  struct thaw_error *err)
{
	static const char sql[] = "DELETE FROM versions WHERE function_id = ?1 AND version = ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, function_id);
	thaw_query_int(&query, number);
	return thaw_query_run_one(&query, err, "no version %" PRId64, number);
}

int thaw_versions_delete(struct thaw_store *store, int64_t function_id, int64_t number,
			 struct thaw_error *err)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	char qualifier[24];

	if (number < 1)
		return thaw_error_set(err, EINVAL, "$LATEST goes only with its function");
	snprintf(qualifier, sizeof(qualifier), "%" PRId64, number);
	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = version_pointed_at(store, function_id, number, err);
	if (rc == 0)
		rc = version_remove(store, function_id, number, err);
	if (rc == 0)
		rc = thaw_qualifier_drop(store, function_id, qualifier, err);
	if (rc == 0)
		rc = thaw_store_commit(&scope, err);
	return rc;
}

static int version_is(const char *what, const char *value, const char *expected,
		      struct thaw_error *err)
{
	if (!expected || strcmp(value, expected) == 0)
		return 0;
	return thaw_error_set(err, ESTALE, "its %s is %s, not %s", what, value, expected);
}

int thaw_versions_set_state(struct thaw_store *store, int64_t function_id, int64_t number,
			    const struct thaw_version_expected *expected,
			    const struct thaw_version_record *next,
			    struct thaw_version_record *made, struct thaw_error *err)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	cleanup_version struct thaw_version_record now = {0};
	cleanup_version struct thaw_version_record after = {0};

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = thaw_versions_get(store, function_id, number, &now, err);
	if (rc == 0)
		rc = version_expect(&now, expected->revision_id, err);
	if (rc == 0)
		rc = version_is("state", now.state, expected->state, err);
	if (rc == 0)
		rc = version_is("last update status", now.last_update_status,
				expected->last_update_status, err);
	if (rc < 0)
		return rc;
	struct thaw_version_record row = now;
	row.state = next->state;
	row.state_reason = next->state_reason;
	row.state_reason_code = next->state_reason_code;
	row.last_update_status = next->last_update_status;
	row.last_update_reason = next->last_update_reason;
	row.last_update_reason_code = next->last_update_reason_code;
	row.snapshot = next->snapshot;
	rc = version_replace(store, function_id, number, &row, err);
	if (rc == 0)
		rc = thaw_versions_get(store, function_id, number, &after, err);
	if (rc == 0)
		rc = thaw_store_commit(&scope, err);
	if (rc == 0 && made) {
		*made = after;
		after = (struct thaw_version_record){0};
	}
	return rc;
}

int thaw_versions_unfinished(struct thaw_store *store, int64_t after_function, int64_t after_number,
			     size_t limit, struct thaw_version_record **list, size_t *count,
			     struct thaw_error *err)
{
	static const char sql[] =
		"SELECT " THAW_VERSION_COLUMNS " FROM versions\n"
		"WHERE (state = 'Pending' OR last_update_status = 'InProgress')\n"
		"AND (function_id, version) > (?1, ?2) ORDER BY function_id, version LIMIT ?3";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, after_function);
	thaw_query_int(&query, after_number);
	rc = thaw_query_limit(&query, limit, err);
	if (rc < 0)
		return rc;
	return thaw_record_list(&version_record, &query, limit, (void **)list, count, err);
}
