/* SPDX-License-Identifier: Apache-2.0 */
#include "host/store/provisioned.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>

#include "host/store/query.h"
#include "lib/error.h"

#define PROVISIONED_COLUMNS                                                                        \
	"function_id, qualifier, requested, status, status_reason, last_modified_ms"

static const struct thaw_field provisioned_fields[] = {
	{THAW_FIELD_INT, offsetof(struct thaw_provisioned, function_id)},
	{THAW_FIELD_TEXT, offsetof(struct thaw_provisioned, qualifier)},
	{THAW_FIELD_INT, offsetof(struct thaw_provisioned, requested)},
	{THAW_FIELD_TEXT, offsetof(struct thaw_provisioned, status)},
	{THAW_FIELD_TEXT_OR_NULL, offsetof(struct thaw_provisioned, status_reason)},
	{THAW_FIELD_INT, offsetof(struct thaw_provisioned, last_modified_ms)},
};

static const struct thaw_record provisioned_record =
	THAW_RECORD(struct thaw_provisioned, provisioned_fields);

void thaw_provisioned_clear(struct thaw_provisioned *provisioned)
{
	thaw_record_clear(&provisioned_record, provisioned);
}

void thaw_provisioned_free(struct thaw_provisioned *list, size_t count)
{
	thaw_record_free(&provisioned_record, list, count);
}

int thaw_provisioned_put(struct thaw_store *store, const struct thaw_provisioned *provisioned,
			 struct thaw_error *err)
{
	static const char sql[] = "INSERT OR REPLACE INTO provisioned (" PROVISIONED_COLUMNS ")\n"
				  "VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

	return thaw_qualifier_put(store, sql, &provisioned_record, provisioned,
				  provisioned->function_id, provisioned->qualifier, err);
}

int thaw_provisioned_get(struct thaw_store *store, int64_t function_id, const char *qualifier,
			 struct thaw_provisioned *provisioned, struct thaw_error *err)
{
	static const char sql[] = "SELECT " PROVISIONED_COLUMNS " FROM provisioned\n"
				  "WHERE function_id = ?1 AND qualifier = ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin_at(&query, store, sql, function_id, qualifier, err);
	if (rc < 0)
		return rc;
	return thaw_record_get(&provisioned_record, &query, provisioned, err,
			       "no provisioned concurrency for \"%s\"", qualifier);
}

int thaw_provisioned_list(struct thaw_store *store, int64_t function_id, const char *after,
			  size_t limit, struct thaw_provisioned **list, size_t *count,
			  struct thaw_error *err)
{
	static const char sql[] = "SELECT " PROVISIONED_COLUMNS " FROM provisioned\n"
				  "WHERE function_id = ?1 AND (?2 IS NULL OR qualifier > ?2)\n"
				  "ORDER BY qualifier LIMIT ?3";

	return thaw_qualifier_list(store, sql, &provisioned_record, function_id, after, limit,
				   (void **)list, count, err);
}

int thaw_provisioned_list_all(struct thaw_store *store, int64_t after_function, const char *after,
			      size_t limit, struct thaw_provisioned **list, size_t *count,
			      struct thaw_error *err)
{
	static const char sql[] = "SELECT " PROVISIONED_COLUMNS " FROM provisioned\n"
				  "WHERE (function_id, qualifier) > (?1, ?2)\n"
				  "ORDER BY function_id, qualifier LIMIT ?3";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, after_function);
	thaw_query_text(&query, after ? after : "");
	rc = thaw_query_limit(&query, limit, err);
	if (rc < 0)
		return rc;
	return thaw_record_list(&provisioned_record, &query, limit, (void **)list, count, err);
}

int thaw_provisioned_sum(struct thaw_store *store, int64_t function_id, const char *except,
			 int64_t *sum, struct thaw_error *err)
{
	static const char sql[] = "SELECT coalesce(sum(requested), 0) FROM provisioned\n"
				  "WHERE function_id = ?1 AND qualifier IS NOT ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, function_id);
	thaw_query_text(&query, except);
	rc = thaw_query_step(&query, err);
	if (rc < 0)
		return rc;
	*sum = thaw_query_number(&query, 0);
	return 0;
}

int thaw_provisioned_unreserved_sum(struct thaw_store *store, const char *account, int64_t except,
				    int64_t *sum, struct thaw_error *err)
{
	static const char sql[] = "SELECT coalesce(sum(requested), 0)\n"
				  "FROM functions JOIN provisioned ON function_id = id\n"
				  "WHERE account = ?1 AND id <> ?2 AND reserved IS NULL";
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

int thaw_provisioned_set_status(struct thaw_store *store, int64_t function_id,
				const char *qualifier, int64_t requested, const char *status,
				const char *reason, struct thaw_error *err)
{
	static const char sql[] = "UPDATE provisioned SET status = ?4, status_reason = ?5\n"
				  "WHERE function_id = ?1 AND qualifier = ?2 AND requested = ?3";
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = thaw_provisioned_get(store, function_id, qualifier, NULL, err);
	if (rc == 0)
		rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, function_id);
	thaw_query_text(&query, qualifier);
	thaw_query_int(&query, requested);
	thaw_query_text(&query, status);
	thaw_query_text(&query, reason);
	rc = thaw_query_run(&query, err);
	thaw_query_end(&query);
	if (rc == 0)
		return thaw_error_set(err, ESTALE, "%" PRId64 " is not what is asked for any more",
				      requested);
	return rc < 0 ? rc : thaw_store_commit(&scope, err);
}

int thaw_provisioned_delete(struct thaw_store *store, int64_t function_id, const char *qualifier,
			    struct thaw_error *err)
{
	static const char sql[] =
		"DELETE FROM provisioned WHERE function_id = ?1 AND qualifier = ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin_at(&query, store, sql, function_id, qualifier, err);
	if (rc < 0)
		return rc;
	return thaw_query_run_one(&query, err, "no provisioned concurrency for \"%s\"", qualifier);
}
