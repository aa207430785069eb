/* SPDX-License-Identifier: Apache-2.0 */
#include "host/store/event_config.h"

#include <stddef.h>

#include "host/store/query.h"
#include "lib/error.h"

#define CONFIG_COLUMNS                                                                             \
	"function_id, qualifier, maximum_retries, maximum_age_s, destinations, last_modified_ms"

static const struct thaw_field config_fields[] = {
	{THAW_FIELD_INT, offsetof(struct thaw_event_config, function_id)},
	{THAW_FIELD_TEXT, offsetof(struct thaw_event_config, qualifier)},
	{THAW_FIELD_INT_OR_NULL, offsetof(struct thaw_event_config, maximum_retries)},
	{THAW_FIELD_INT_OR_NULL, offsetof(struct thaw_event_config, maximum_age_s)},
	{THAW_FIELD_JSON_OR_NULL, offsetof(struct thaw_event_config, destinations)},
	{THAW_FIELD_INT, offsetof(struct thaw_event_config, last_modified_ms)},
};

static const struct thaw_record config_record =
	THAW_RECORD(struct thaw_event_config, config_fields);

void thaw_event_config_clear(struct thaw_event_config *config)
{
	thaw_record_clear(&config_record, config);
}

void thaw_event_configs_free(struct thaw_event_config *list, size_t count)
{
	thaw_record_free(&config_record, list, count);
}

static int config_write(struct thaw_store *store, const struct thaw_event_config *config,
			struct thaw_error *err)
{
	static const char sql[] = "INSERT OR REPLACE INTO event_configs (" CONFIG_COLUMNS ")\n"
				  "VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_record_bind(&config_record, 0, &query, config);
	rc = thaw_query_run(&query, err);
	return rc < 0 ? rc : 0;
}

int thaw_event_configs_put(struct thaw_store *store, const struct thaw_event_config *config,
			   struct thaw_error *err)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = thaw_qualifier_check(store, config->function_id, config->qualifier, err);
	if (rc == 0)
		rc = config_write(store, config, err);
	if (rc == 0)
		rc = thaw_store_commit(&scope, err);
	return rc;
}

int thaw_event_configs_get(struct thaw_store *store, int64_t function_id, const char *qualifier,
			   struct thaw_event_config *config, struct thaw_error *err)
{
	static const char sql[] = "SELECT " CONFIG_COLUMNS " FROM event_configs\n"
				  "WHERE function_id = ?1 AND qualifier = ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, function_id);
	thaw_query_text(&query, qualifier);
	return thaw_record_get(&config_record, &query, config, err,
			       "no configuration of events for \"%s\"", qualifier);
}

int thaw_event_configs_list(struct thaw_store *store, int64_t function_id, const char *after,
			    size_t limit, struct thaw_event_config **list, size_t *count,
			    struct thaw_error *err)
{
	/* The empty qualifier comes first, so no text can be the one before it. */
	static const char sql[] = "SELECT " CONFIG_COLUMNS " FROM event_configs\n"
				  "WHERE function_id = ?1 AND (?2 IS NULL OR qualifier > ?2)\n"
				  "ORDER BY qualifier LIMIT ?3";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, function_id);
	thaw_query_text(&query, after);
	rc = thaw_query_limit(&query, limit, err);
	if (rc < 0)
		return rc;
	return thaw_record_list(&config_record, &query, limit, (void **)list, count, err);
}

int thaw_event_configs_delete(struct thaw_store *store, int64_t function_id, const char *qualifier,
			      struct thaw_error *err)
{
	static const char sql[] =
		"DELETE FROM event_configs WHERE function_id = ?1 AND qualifier = ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, function_id);
	thaw_query_text(&query, qualifier);
	return thaw_query_run_one(&query, err, "no configuration of events for \"%s\"", qualifier);
}
