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

int thaw_event_configs_put(struct thaw_store *store, const struct thaw_event_config *config,
			   struct thaw_error *err)
{
	static const char sql[] = "INSERT OR REPLACE INTO event_configs (" CONFIG_COLUMNS ")\n"
				  "VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

	return thaw_qualifier_put(store, sql, &config_record, config, config->function_id,
				  config->qualifier, err);
}

int thaw_event_configs_get(struct thaw_store *store, int64_t function_id, const char *qualifier,
			   struct thaw_event_config *config, struct thaw_error *err)
{
	static const char sql[] = "SELECT " CONFIG_COLUMNS " FROM event_configs\n"
				  "WHERE function_id = ?1 AND qualifier = ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin_at(&query, store, sql, function_id, qualifier, err);
	if (rc < 0)
		return rc;
	return thaw_record_get(&config_record, &query, config, err,
			       "no configuration of events for \"%s\"", qualifier);
}

int thaw_event_configs_list(struct thaw_store *store, int64_t function_id, const char *after,
			    size_t limit, struct thaw_event_config **list, size_t *count,
			    struct thaw_error *err)
{
	static const char sql[] = "SELECT " CONFIG_COLUMNS " FROM event_configs\n"
				  "WHERE function_id = ?1 AND (?2 IS NULL OR qualifier > ?2)\n"
				  "ORDER BY qualifier LIMIT ?3";

	return thaw_qualifier_list(store, sql, &config_record, function_id, after, limit,
				   (void **)list, count, err);
}

int thaw_event_configs_delete(struct thaw_store *store, int64_t function_id, const char *qualifier,
			      struct thaw_error *err)
{
	static const char sql[] =
		"DELETE FROM event_configs WHERE function_id = ?1 AND qualifier = ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin_at(&query, store, sql, function_id, qualifier, err);
	if (rc < 0)
		return rc;
	return thaw_query_run_one(&query, err, "no configuration of events for \"%s\"", qualifier);
}
