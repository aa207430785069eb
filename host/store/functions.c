/* SPDX-License-Identifier: Apache-2.0 */
#include "host/store/functions.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>

#include "host/store/store_internal.h"
#include "host/store/versions_internal.h"
#include "lib/error.h"

/* No name is both a function's column and a version's. */
#define ITEM_COLUMNS                                                                               \
	"id, account, name, next_version, reserved, tags, created_ms, " THAW_VERSION_COLUMNS
#define ITEM_TABLES "functions JOIN versions ON function_id = id"

static const struct thaw_field item_fields[] = {
	{THAW_FIELD_INT, offsetof(struct thaw_function_item, function.id)},
	{THAW_FIELD_TEXT, offsetof(struct thaw_function_item, function.account)},
	{THAW_FIELD_TEXT, offsetof(struct thaw_function_item, function.name)},
	{THAW_FIELD_INT, offsetof(struct thaw_function_item, function.next_version)},
	{THAW_FIELD_INT_OR_NULL, offsetof(struct thaw_function_item, function.reserved)},
	{THAW_FIELD_JSON, offsetof(struct thaw_function_item, function.tags)},
	{THAW_FIELD_INT, offsetof(struct thaw_function_item, function.created_ms)},
	THAW_VERSION_FIELDS(offsetof(struct thaw_function_item, version)),
};

static const struct thaw_record item_record = THAW_RECORD(struct thaw_function_item, item_fields);

void thaw_function_item_clear(struct thaw_function_item *item)
{
	thaw_record_clear(&item_record, item);
}

void thaw_function_items_free(struct thaw_function_item *list, size_t count)
{
	thaw_record_free(&item_record, list, count);
}

static int function_insert(struct thaw_store *store, const struct thaw_function_record *function,
			   int64_t *id, struct thaw_error *err)
{
	static const char sql[] =
		"INSERT INTO functions (account, name, next_version, reserved, tags, created_ms)\n"
		"VALUES (?1, ?2, coalesce((SELECT next_version FROM retired_functions\n"
		"WHERE account = ?1 AND name = ?2), 1), ?3, ?4, ?5)";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, function->account);
	thaw_query_text(&query, function->name);
	thaw_query_int_or_null(&query, function->reserved);
	thaw_query_json(&query, function->tags);
	thaw_query_int(&query, function->created_ms);
	rc = thaw_query_run(&query, err);
	if (rc == -EEXIST)
		return thaw_error_set(err, EEXIST, "function \"%s\" exists already",
				      function->name);
	if (rc == -ENOENT)
		return thaw_error_set(err, ENOENT, "no account \"%s\"", function->account);
	*id = sqlite3_last_insert_rowid(store->db);
	return rc < 0 ? rc : 0;
}

int thaw_functions_create(struct thaw_store *store, const struct thaw_function_item *item,
			  struct thaw_function_item *made, struct thaw_error *err)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	struct thaw_function_item after = {0};
	int64_t id = 0;

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = function_insert(store, &item->function, &id, err);
	if (rc == 0)
		rc = thaw_version_insert(store, id, THAW_VERSION_LATEST, &item->version, err);
	if (rc == 0 && made)
		rc = thaw_functions_get_by_id(store, id, THAW_VERSION_LATEST, &after, err);
	if (rc == 0)
		rc = thaw_store_commit(&scope, err);
	if (rc == 0 && made)
		*made = after;
	else
		thaw_function_item_clear(&after);
	return rc;
}

int thaw_functions_get(struct thaw_store *store, const char *account, const char *name,
		       int64_t version, struct thaw_function_item *item, struct thaw_error *err)
{
	static const char sql[] = "SELECT " ITEM_COLUMNS " FROM " ITEM_TABLES "\n"
				  "WHERE account = ?1 AND name = ?2 AND version = ?3";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, account);
	thaw_query_text(&query, name);
	thaw_query_int(&query, version);
	return thaw_record_get(&item_record, &query, item, err,
			       "no version %" PRId64 " of a function \"%s\"", version, name);
}

int thaw_functions_get_by_id(struct thaw_store *store, int64_t id, int64_t version,
			     struct thaw_function_item *item, struct thaw_error *err)
{
	static const char sql[] = "SELECT " ITEM_COLUMNS " FROM " ITEM_TABLES "\n"
				  "WHERE id = ?1 AND version = ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, id);
	thaw_query_int(&query, version);
	return thaw_record_get(&item_record, &query, item, err,
			       "no version %" PRId64 " of such a function", version);
}

int thaw_functions_list(struct thaw_store *store, const char *account, bool all, const char *after,
			int64_t after_version, size_t limit, struct thaw_function_item **list,
			size_t *count, struct thaw_error *err)
{
	static const char every[] = "SELECT " ITEM_COLUMNS " FROM " ITEM_TABLES "\n"
				    "WHERE account = ?1 AND name >= ?2\n"
				    "AND (name > ?2 OR version > ?3)\n"
				    "ORDER BY name, version LIMIT ?4";
	static const char latest[] = "SELECT " ITEM_COLUMNS " FROM " ITEM_TABLES "\n"
				     "WHERE account = ?1 AND name > ?2 AND version = 0\n"
				     "AND ?3 IS NOT NULL ORDER BY name LIMIT ?4";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, all ? every : latest, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, account);
	thaw_query_text(&query, after ? after : "");
	thaw_query_int(&query, after_version);
	rc = thaw_query_limit(&query, limit, err);
	if (rc < 0)
		return rc;
	return thaw_record_list(&item_record, &query, limit, (void **)list, count, err);
}

/* Keeps the numbers of a function that goes away. */
static int function_retire(struct thaw_store *store, int64_t id, struct thaw_error *err)
{
	static const char sql[] = "INSERT INTO retired_functions (account, name, next_version)\n"
				  "SELECT account, name, next_version FROM functions\n"
				  "WHERE id = ?1 AND next_version > 1\n"
				  "ON CONFLICT DO UPDATE SET next_version = excluded.next_version";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, id);
	rc = thaw_query_run(&query, err);
	return rc < 0 ? rc : 0;
}

static int function_remove(struct thaw_store *store, int64_t id, struct thaw_error *err)
{
	static const char sql[] = "DELETE FROM functions WHERE id = ?1";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, id);
	return thaw_query_run_one(&query, err, "no such function");
}

int thaw_functions_delete(struct thaw_store *store, int64_t id, struct thaw_error *err)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = function_retire(store, id, err);
	if (rc == 0)
		rc = function_remove(store, id, err);
	if (rc == 0)
		rc = thaw_store_commit(&scope, err);
	return rc;
}

int thaw_functions_set_reserved(struct thaw_store *store, int64_t id, int64_t reserved,
				struct thaw_error *err)
{
	static const char sql[] = "UPDATE functions SET reserved = ?1 WHERE id = ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int_or_null(&query, reserved);
	thaw_query_int(&query, id);
	return thaw_query_run_one(&query, err, "no such function");
}

int thaw_functions_reserved_sum(struct thaw_store *store, const char *account, int64_t except,
				int64_t *sum, struct thaw_error *err)
{
	static const char sql[] = "SELECT coalesce(sum(reserved), 0) FROM functions\n"
				  "WHERE account = ?1 AND id <> ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, account);
	thaw_query_int(&query, except);
	rc = thaw_query_step(&query, err);
	if (rc < 0)
		return rc;
	*sum = thaw_query_number(&query, 0);
	return 0;
}

int thaw_functions_set_tags(struct thaw_store *store, int64_t id, const char *tags,
			    struct thaw_error *err)
{
	static const char sql[] = "UPDATE functions SET tags = ?1 WHERE id = ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_json(&query, tags);
	thaw_query_int(&query, id);
	return thaw_query_run_one(&query, err, "no such function");
}
