/* SPDX-License-Identifier: Apache-2.0 */
/* What the tables by function and qualifier have in common. */
#include <errno.h>
#include <string.h>

#include "host/store/query.h"
#include "lib/error.h"

int thaw_qualifier_check(struct thaw_store *store, int64_t function_id, const char *qualifier,
			 struct thaw_error *err)
{
	static const char version[] =
		"SELECT 1 FROM versions WHERE function_id = ?1 AND CAST(version AS TEXT) = ?2";
	static const char alias[] = "SELECT 1 FROM aliases WHERE function_id = ?1 AND name = ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	bool latest = !*qualifier || strcmp(qualifier, "$LATEST") == 0;
	/* Version 0 is called $LATEST and nothing else. */
	bool number = latest ||
		      (strspn(qualifier, "0123456789") == strlen(qualifier) && *qualifier != '0');
	int rc = thaw_query_begin(&query, store, number ? version : alias, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, function_id);
	thaw_query_text(&query, latest ? "0" : qualifier);
	rc = thaw_query_step(&query, err);
	if (rc == 0)
		return thaw_error_set(err, ENOENT, "no version or alias \"%s\"", qualifier);
	return rc < 0 ? rc : 0;
}

static int qualifier_write(struct thaw_store *store, const char *sql,
			   const struct thaw_record *record, const void *item,
			   struct thaw_error *err)
{
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_record_bind(record, 0, &query, item);
	rc = thaw_query_run(&query, err);
	return rc < 0 ? rc : 0;
}

int thaw_qualifier_put(struct thaw_store *store, const char *sql, const struct thaw_record *record,
		       const void *item, int64_t function_id, const char *qualifier,
		       struct thaw_error *err)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = thaw_qualifier_check(store, function_id, qualifier, err);
	if (rc == 0)
		rc = qualifier_write(store, sql, record, item, err);
	if (rc == 0)
		rc = thaw_store_commit(&scope, err);
	return rc;
}

int thaw_qualifier_list(struct thaw_store *store, const char *sql, const struct thaw_record *record,
			int64_t function_id, const char *after, size_t limit, void **list,
			size_t *count, struct thaw_error *err)
{
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin_at(&query, store, sql, function_id, after, err);
	if (rc == 0)
		rc = thaw_query_limit(&query, limit, err);
	return rc < 0 ? rc : thaw_record_list(record, &query, limit, list, count, err);
}

int thaw_qualifier_drop(struct thaw_store *store, int64_t function_id, const char *qualifier,
			struct thaw_error *err)
{
	/* An alias made later under the same name must not have the policy of this one. */
	static const char *const tables[] = {
		"DELETE FROM policies WHERE function_id = ?1 AND qualifier = ?2",
		"DELETE FROM event_configs WHERE function_id = ?1 AND qualifier = ?2",
		"DELETE FROM provisioned WHERE function_id = ?1 AND qualifier = ?2",
	};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		cleanup_query struct thaw_query query = THAW_QUERY_NONE;
		int rc = thaw_query_begin_at(&query, store, tables[i], function_id, qualifier, err);
		if (rc < 0)
			return rc;
		rc = thaw_query_run(&query, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}
