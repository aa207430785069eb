/* SPDX-License-Identifier: Apache-2.0 */
#include "host/store/aliases.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "host/store/query.h"
#include "lib/error.h"

#define ALIAS_COLUMNS                                                                              \
	"function_id, name, version, description, second_version, second_weight, revision_id"

static const struct thaw_field alias_fields[] = {
	{THAW_FIELD_INT, offsetof(struct thaw_alias, function_id)},
	{THAW_FIELD_TEXT, offsetof(struct thaw_alias, name)},
	{THAW_FIELD_INT, offsetof(struct thaw_alias, version)},
	{THAW_FIELD_TEXT, offsetof(struct thaw_alias, description)},
	{THAW_FIELD_INT_OR_NULL, offsetof(struct thaw_alias, second_version)},
	{THAW_FIELD_REAL, offsetof(struct thaw_alias, second_weight)},
	{THAW_FIELD_TEXT, offsetof(struct thaw_alias, revision_id)},
};

static const struct thaw_record alias_record = THAW_RECORD(struct thaw_alias, alias_fields);

#define cleanup_alias __attribute__((cleanup(thaw_alias_clear)))

void thaw_alias_clear(struct thaw_alias *alias)
{
	thaw_record_clear(&alias_record, alias);
}

void thaw_aliases_free(struct thaw_alias *list, size_t count)
{
	thaw_record_free(&alias_record, list, count);
}

/* Both statements take the columns of an alias in their order. */
static int alias_write(struct thaw_store *store, const char *sql, const struct thaw_alias *alias,
		       struct thaw_error *err)
{
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;
	struct thaw_alias row = *alias;
	char revision[THAW_UUID_TEXT];

	if (alias->second_version == alias->version)
		return thaw_error_set(err, EINVAL, "both versions of alias \"%s\" are the same",
				      alias->name);
	int rc = thaw_uuid_make(revision, err);
	if (rc == 0)
		rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	row.revision_id = revision;
	thaw_record_bind(&alias_record, 0, &query, &row);
	rc = thaw_query_run(&query, err);
	if (rc == -EEXIST)
		return thaw_error_set(err, EEXIST, "alias \"%s\" exists already", alias->name);
	if (rc == -ENOENT)
		return thaw_error_set(err, ENOENT, "alias \"%s\": no such version", alias->name);
	return rc < 0 ? thaw_error_wrap(err, "alias \"%s\"", alias->name) : 0;
}

static int alias_insert(struct thaw_store *store, const struct thaw_alias *alias,
			struct thaw_error *err)
{
	static const char sql[] = "INSERT INTO aliases (" ALIAS_COLUMNS ")\n"
				  "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

	return alias_write(store, sql, alias, err);
}

static int alias_replace(struct thaw_store *store, const struct thaw_alias *alias,
			 struct thaw_error *err)
{
	static const char sql[] = "UPDATE aliases SET version = ?3, description = ?4, "
				  "second_version = ?5, second_weight = ?6, revision_id = ?7\n"
				  "WHERE function_id = ?1 AND name = ?2";

	return alias_write(store, sql, alias, err);
}

/* Ends the scope with what is there now. */
static int alias_done(struct thaw_store_scope *scope, const struct thaw_alias *alias,
		      struct thaw_alias *made, struct thaw_error *err)
{
	struct thaw_alias after = {0};

	int rc = thaw_aliases_get(scope->store, alias->function_id, alias->name, &after, err);
	if (rc == 0)
		rc = thaw_store_commit(scope, err);
	if (rc == 0 && made)
		*made = after;
	else
		thaw_alias_clear(&after);
	return rc;
}

int thaw_aliases_create(struct thaw_store *store, const struct thaw_alias *alias,
			struct thaw_alias *made, struct thaw_error *err)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = alias_insert(store, alias, err);
	if (rc == 0)
		rc = alias_done(&scope, alias, made, err);
	return rc;
}

int thaw_aliases_get(struct thaw_store *store, int64_t function_id, const char *name,
		     struct thaw_alias *alias, struct thaw_error *err)
{
	static const char sql[] = "SELECT " ALIAS_COLUMNS " FROM aliases\n"
				  "WHERE function_id = ?1 AND name = ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, function_id);
	thaw_query_text(&query, name);
	return thaw_record_get(&alias_record, &query, alias, err, "no alias \"%s\"", name);
}

int thaw_aliases_list(struct thaw_store *store, int64_t function_id, int64_t version,
		      const char *after, size_t limit, struct thaw_alias **list, size_t *count,
		      struct thaw_error *err)
{
	static const char sql[] = "SELECT " ALIAS_COLUMNS " FROM aliases\n"
				  "WHERE function_id = ?1 AND name > ?2\n"
				  "AND (?3 IS NULL OR version = ?3 OR second_version = ?3)\n"
				  "ORDER BY name LIMIT ?4";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, function_id);
	thaw_query_text(&query, after ? after : "");
	thaw_query_int_or_null(&query, version);
	rc = thaw_query_limit(&query, limit, err);
	if (rc < 0)
		return rc;
	return thaw_record_list(&alias_record, &query, limit, (void **)list, count, err);
}

int thaw_aliases_update(struct thaw_store *store, const struct thaw_alias *alias,
			const char *expected_revision, struct thaw_alias *made,
			struct thaw_error *err)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	cleanup_alias struct thaw_alias now = {0};

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = thaw_aliases_get(store, alias->function_id, alias->name, &now, err);
	if (rc == 0 && expected_revision && strcmp(expected_revision, now.revision_id) != 0)
		rc = thaw_error_set(err, ESTALE, "alias \"%s\" is at revision %s, not %s",
				    alias->name, now.revision_id, expected_revision);
	if (rc == 0)
		rc = alias_replace(store, alias, err);
	if (rc == 0)
		rc = alias_done(&scope, alias, made, err);
	return rc;
}

static int alias_remove(struct thaw_store *store, int64_t function_id, const char *name,
			struct thaw_error *err)
{
	static const char sql[] = "DELETE FROM aliases WHERE function_id = ?1 AND name = ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, function_id);
	thaw_query_text(&query, name);
	return thaw_query_run_one(&query, err, "no alias \"%s\"", name);
}

int thaw_aliases_delete(struct thaw_store *store, int64_t function_id, const char *name,
			struct thaw_error *err)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = alias_remove(store, function_id, name, err);
	if (rc == 0)
		rc = thaw_qualifier_drop(store, function_id, name, err);
	if (rc == 0)
		rc = thaw_store_commit(&scope, err);
	return rc;
}
