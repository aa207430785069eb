/* SPDX-License-Identifier: Apache-2.0 */
#include "host/store/usage.h"

#include <stddef.h>

#include "host/store/query.h"
#include "lib/error.h"

#define USAGE_DIGESTS                                                                              \
	"(SELECT code_digest AS digest FROM versions\n"                                            \
	"UNION SELECT code_digest FROM layer_versions\n"                                           \
	"UNION SELECT CAST(value AS TEXT) FROM versions, json_each(versions.layer_digests))"

static const struct thaw_field digest_fields[] = {{THAW_FIELD_TEXT, 0}};
static const struct thaw_record digest_record = THAW_RECORD(char *, digest_fields);

int thaw_usage_digests(struct thaw_store *store, const char *after, size_t limit, char ***list,
		       size_t *count, struct thaw_error *err)
{
	static const char sql[] = "SELECT digest FROM " USAGE_DIGESTS "\n"
				  "WHERE digest > ?1 ORDER BY digest LIMIT ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, after ? after : "");
	rc = thaw_query_limit(&query, limit, err);
	if (rc < 0)
		return rc;
	return thaw_record_list(&digest_record, &query, limit, (void **)list, count, err);
}

void thaw_usage_digests_free(char **list, size_t count)
{
	thaw_record_free(&digest_record, list, count);
}

static int usage_any(struct thaw_store *store, const char *sql, const char *name,
		     struct thaw_error *err)
{
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, name);
	return thaw_query_step(&query, err);
}

int thaw_usage_digest(struct thaw_store *store, const char *digest, struct thaw_error *err)
{
	static const char sql[] = "SELECT 1 FROM " USAGE_DIGESTS " WHERE digest = ?1";

	return usage_any(store, sql, digest, err);
}

int thaw_usage_sha256(struct thaw_store *store, const char *sha256, struct thaw_error *err)
{
	static const char sql[] = "SELECT 1 FROM versions WHERE code_sha256 = ?1\n"
				  "UNION ALL SELECT 1 FROM layer_versions WHERE code_sha256 = ?1";

	return usage_any(store, sql, sha256, err);
}

int thaw_usage_snapshot(struct thaw_store *store, const char *name, struct thaw_error *err)
{
	static const char sql[] = "SELECT 1 FROM versions WHERE snapshot = ?1";

	return usage_any(store, sql, name, err);
}

int thaw_usage_account(struct thaw_store *store, const char *account, struct thaw_usage *usage,
		       struct thaw_error *err)
{
	static const char sql[] =
		"SELECT (SELECT count(*) FROM functions WHERE account = ?1),\n"
		"(SELECT coalesce(sum(code_size), 0) FROM functions JOIN versions\n"
		"ON function_id = id WHERE account = ?1) +\n"
		"(SELECT coalesce(sum(code_size), 0) FROM layer_versions WHERE account = ?1)";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, account);
	rc = thaw_query_step(&query, err);
	if (rc < 0)
		return rc;
	usage->functions = thaw_query_number(&query, 0);
	usage->code_bytes = thaw_query_number(&query, 1);
	return 0;
}
