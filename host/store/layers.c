/* SPDX-License-Identifier: Apache-2.0 */
#include "host/store/layers.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>

#include "host/store/query.h"
#include "lib/error.h"

#define LAYER_COLUMNS                                                                              \
	"account, name, number, description, license, runtimes, architectures, code_digest, "      \
	"code_sha256, code_size, created_ms"

/* Of the row `l`, for the parameters ?1 and ?2. */
#define LAYER_COMPATIBLE                                                                           \
	"(?1 IS NULL OR EXISTS (SELECT 1 FROM json_each(l.runtimes) WHERE value = ?1))\n"          \
	"AND (?2 IS NULL OR EXISTS (SELECT 1 FROM json_each(l.architectures) WHERE value = ?2))"

static const struct thaw_field layer_fields[] = {
	{THAW_FIELD_TEXT, offsetof(struct thaw_layer_version, account)},
	{THAW_FIELD_TEXT, offsetof(struct thaw_layer_version, name)},
	{THAW_FIELD_INT, offsetof(struct thaw_layer_version, number)},
	{THAW_FIELD_TEXT, offsetof(struct thaw_layer_version, description)},
	{THAW_FIELD_TEXT, offsetof(struct thaw_layer_version, license)},
	{THAW_FIELD_JSON_LIST, offsetof(struct thaw_layer_version, runtimes)},
	{THAW_FIELD_JSON_LIST, offsetof(struct thaw_layer_version, architectures)},
	{THAW_FIELD_TEXT, offsetof(struct thaw_layer_version, code_digest)},
	{THAW_FIELD_TEXT, offsetof(struct thaw_layer_version, code_sha256)},
	{THAW_FIELD_INT, offsetof(struct thaw_layer_version, code_size)},
	{THAW_FIELD_INT, offsetof(struct thaw_layer_version, created_ms)},
};

static const struct thaw_record layer_record = THAW_RECORD(struct thaw_layer_version, layer_fields);

void thaw_layer_version_clear(struct thaw_layer_version *layer)
{
	thaw_record_clear(&layer_record, layer);
}

void thaw_layer_versions_free(struct thaw_layer_version *list, size_t count)
{
	thaw_record_free(&layer_record, list, count);
}

static int layer_count_up(struct thaw_store *store, const struct thaw_layer_version *layer,
			  struct thaw_error *err)
{
	static const char sql[] = "INSERT INTO layers (account, name, next_number)\n"
				  "VALUES (?1, ?2, 2)\n"
				  "ON CONFLICT DO UPDATE SET next_number = next_number + 1";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, layer->account);
	thaw_query_text(&query, layer->name);
	rc = thaw_query_run(&query, err);
	if (rc == -ENOENT)
		return thaw_error_set(err, ENOENT, "no account \"%s\"", layer->account);
	return rc < 0 ? rc : 0;
}

static int layer_number(struct thaw_store *store, const struct thaw_layer_version *layer,
			int64_t *number, struct thaw_error *err)
{
	static const char sql[] =
		"SELECT next_number - 1 FROM layers WHERE account = ?1 AND name = ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, layer->account);
	thaw_query_text(&query, layer->name);
	rc = thaw_record_get(&layer_record, &query, NULL, err, "no layer \"%s\"", layer->name);
	if (rc == 0)
		*number = thaw_query_number(&query, 0);
	return rc;
}

static int layer_insert(struct thaw_store *store, const struct thaw_layer_version *layer,
			int64_t number, struct thaw_error *err)
{
	static const char sql[] = "INSERT INTO layer_versions (" LAYER_COLUMNS ")\n"
				  "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;
	struct thaw_layer_version row = *layer;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	row.number = number;
	thaw_record_bind(&layer_record, 0, &query, &row);
	rc = thaw_query_run(&query, err);
	return rc < 0 ? thaw_error_wrap(err, "layer \"%s\"", layer->name) : 0;
}

int thaw_layers_publish(struct thaw_store *store, const struct thaw_layer_version *layer,
			int64_t *number, struct thaw_error *err)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	int64_t next = 0;

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = layer_count_up(store, layer, err);
	if (rc == 0)
		rc = layer_number(store, layer, &next, err);
	if (rc == 0)
		rc = layer_insert(store, layer, next, err);
	if (rc == 0)
		rc = thaw_store_commit(&scope, err);
	if (rc == 0)
		*number = next;
	return rc;
}

int thaw_layers_get(struct thaw_store *store, const char *account, const char *name, int64_t number,
		    struct thaw_layer_version *layer, struct thaw_error *err)
{
	static const char sql[] = "SELECT " LAYER_COLUMNS " FROM layer_versions\n"
				  "WHERE account = ?1 AND name = ?2 AND number = ?3";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, account);
	thaw_query_text(&query, name);
	thaw_query_int(&query, number);
	return thaw_record_get(&layer_record, &query, layer, err,
			       "no version %" PRId64 " of a layer \"%s\"", number, name);
}

int thaw_layers_list(struct thaw_store *store, const char *account,
		     const struct thaw_layers_filter *filter, const char *after, size_t limit,
		     struct thaw_layer_version **list, size_t *count, struct thaw_error *err)
{
	static const char sql[] =
		"SELECT " LAYER_COLUMNS " FROM layer_versions AS outermost\n"
		"WHERE account = ?3 AND name > ?4 AND number = (SELECT max(l.number)\n"
		"FROM layer_versions AS l WHERE l.account = outermost.account\n"
		"AND l.name = outermost.name AND " LAYER_COMPATIBLE ")\n"
		"ORDER BY name LIMIT ?5";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, filter ? filter->runtime : NULL);
	thaw_query_text(&query, filter ? filter->architecture : NULL);
	thaw_query_text(&query, account);
	thaw_query_text(&query, after ? after : "");
	rc = thaw_query_limit(&query, limit, err);
	if (rc < 0)
		return rc;
	return thaw_record_list(&layer_record, &query, limit, (void **)list, count, err);
}

int thaw_layers_list_versions(struct thaw_store *store, const char *account, const char *name,
			      const struct thaw_layers_filter *filter, int64_t before, size_t limit,
			      struct thaw_layer_version **list, size_t *count,
			      struct thaw_error *err)
{
	static const char sql[] = "SELECT " LAYER_COLUMNS " FROM layer_versions AS l\n"
				  "WHERE account = ?3 AND name = ?4 AND number < ?5\n"
				  "AND " LAYER_COMPATIBLE "\n"
				  "ORDER BY number DESC LIMIT ?6";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, filter ? filter->runtime : NULL);
	thaw_query_text(&query, filter ? filter->architecture : NULL);
	thaw_query_text(&query, account);
	thaw_query_text(&query, name);
	thaw_query_int(&query, before < 0 ? INT64_MAX : before);
	rc = thaw_query_limit(&query, limit, err);
	if (rc < 0)
		return rc;
	return thaw_record_list(&layer_record, &query, limit, (void **)list, count, err);
}

int thaw_layers_delete(struct thaw_store *store, const char *account, const char *name,
		       int64_t number, struct thaw_error *err)
{
	static const char sql[] = "DELETE FROM layer_versions\n"
				  "WHERE account = ?1 AND name = ?2 AND number = ?3";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, account);
	thaw_query_text(&query, name);
	thaw_query_int(&query, number);
	return thaw_query_run_one(&query, err, "no version %" PRId64 " of a layer \"%s\"", number,
				  name);
}
