/* SPDX-License-Identifier: Apache-2.0 */
#include "host/store/policies.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/store/query.h"
#include "lib/error.h"

/* The schema does not bound their number: the caller does, by the policy's size. */
#define POLICY_STATEMENTS_MAX THAW_STORE_PAGE_MAX

static const struct thaw_field statement_fields[] = {
	{THAW_FIELD_TEXT, offsetof(struct thaw_policy_statement, id)},
	{THAW_FIELD_JSON, offsetof(struct thaw_policy_statement, statement)},
};

static const struct thaw_record statement_record =
	THAW_RECORD(struct thaw_policy_statement, statement_fields);

struct policy_head {
	char *revision_id;
};

static const struct thaw_field head_fields[] = {
	{THAW_FIELD_TEXT, offsetof(struct policy_head, revision_id)},
};

static const struct thaw_record head_record = THAW_RECORD(struct policy_head, head_fields);

void thaw_policy_clear(struct thaw_policy *policy)
{
	thaw_record_free(&statement_record, policy->statements, policy->count);
	*policy = (struct thaw_policy){0};
}

/* -ENOENT: there is no policy. */
static int policy_revision(struct thaw_store *store, int64_t function_id, const char *qualifier,
			   char revision[THAW_UUID_TEXT], struct thaw_error *err)
{
	static const char sql[] = "SELECT revision_id FROM policies\n"
				  "WHERE function_id = ?1 AND qualifier = ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;
	struct policy_head head = {0};

	int rc = thaw_query_begin_at(&query, store, sql, function_id, qualifier, err);
	if (rc < 0)
		return rc;
	rc = thaw_record_get(&head_record, &query, &head, err, "there is no policy");
	if (rc == 0)
		snprintf(revision, THAW_UUID_TEXT, "%s", head.revision_id);
	thaw_record_clear(&head_record, &head);
	return rc;
}

static int policy_expect(struct thaw_store *store, int64_t function_id, const char *qualifier,
			 const char *expected, struct thaw_error *err)
{
	char revision[THAW_UUID_TEXT] = "none";

	if (!expected)
		return 0;
	int rc = policy_revision(store, function_id, qualifier, revision, err);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (strcmp(revision, expected) != 0)
		return thaw_error_set(err, ESTALE, "the policy is at revision %s, not %s", revision,
				      expected);
	return 0;
}

/* The policy's row, made when it is the first statement's, with a new revision. */
static int policy_touch(struct thaw_store *store, int64_t function_id, const char *qualifier,
			struct thaw_error *err)
{
	static const char sql[] = "INSERT INTO policies (function_id, qualifier, revision_id)\n"
				  "VALUES (?1, ?2, ?3)\n"
				  "ON CONFLICT DO UPDATE SET revision_id = excluded.revision_id";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;
	char revision[THAW_UUID_TEXT];

	int rc = thaw_uuid_make(revision, err);
	if (rc == 0)
		rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, function_id);
	thaw_query_text(&query, qualifier);
	thaw_query_text(&query, revision);
	rc = thaw_query_run(&query, err);
	return rc < 0 ? rc : 0;
}

static int statement_insert(struct thaw_store *store, int64_t function_id, const char *qualifier,
			    const struct thaw_policy_statement *statement, struct thaw_error *err)
{
	static const char sql[] =
		"INSERT INTO policy_statements (function_id, qualifier, statement_id, statement)\n"
		"VALUES (?1, ?2, ?3, ?4)";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin_at(&query, store, sql, function_id, qualifier, err);
	if (rc < 0)
		return rc;
	thaw_record_bind(&statement_record, 0, &query, statement);
	rc = thaw_query_run(&query, err);
	if (rc == -EEXIST)
		return thaw_error_set(err, EEXIST, "statement \"%s\" exists already",
				      statement->id);
	return rc < 0 ? thaw_error_wrap(err, "statement \"%s\"", statement->id) : 0;
}

int thaw_policies_add(struct thaw_store *store, int64_t function_id, const char *qualifier,
		      const struct thaw_policy_statement *statement, const char *expected_revision,
		      struct thaw_error *err)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = thaw_qualifier_check(store, function_id, qualifier, err);
	if (rc == 0)
		rc = policy_expect(store, function_id, qualifier, expected_revision, err);
	if (rc == 0)
		rc = policy_touch(store, function_id, qualifier, err);
	if (rc == 0)
		rc = statement_insert(store, function_id, qualifier, statement, err);
	if (rc == 0)
		rc = thaw_store_commit(&scope, err);
	return rc;
}

static int statement_remove(struct thaw_store *store, int64_t function_id, const char *qualifier,
			    const char *id, struct thaw_error *err)
{
	static const char sql[] = "DELETE FROM policy_statements\n"
				  "WHERE function_id = ?1 AND qualifier = ?2 AND statement_id = ?3";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin_at(&query, store, sql, function_id, qualifier, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, id);
	return thaw_query_run_one(&query, err, "no statement \"%s\"", id);
}

static int policy_drop_empty(struct thaw_store *store, int64_t function_id, const char *qualifier,
			     struct thaw_error *err)
{
	static const char sql[] = "DELETE FROM policies WHERE function_id = ?1 AND qualifier = ?2\n"
				  "AND NOT EXISTS (SELECT 1 FROM policy_statements\n"
				  "WHERE function_id = ?1 AND qualifier = ?2)";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin_at(&query, store, sql, function_id, qualifier, err);
	if (rc < 0)
		return rc;
	rc = thaw_query_run(&query, err);
	return rc < 0 ? rc : 0;
}

int thaw_policies_remove(struct thaw_store *store, int64_t function_id, const char *qualifier,
			 const char *statement_id, const char *expected_revision,
			 struct thaw_error *err)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = policy_expect(store, function_id, qualifier, expected_revision, err);
	if (rc == 0)
		rc = statement_remove(store, function_id, qualifier, statement_id, err);
	if (rc == 0)
		rc = policy_touch(store, function_id, qualifier, err);
	if (rc == 0)
		rc = policy_drop_empty(store, function_id, qualifier, err);
	if (rc == 0)
		rc = thaw_store_commit(&scope, err);
	return rc;
}

static int policy_statements(struct thaw_store *store, int64_t function_id, const char *qualifier,
			     struct thaw_policy *policy, struct thaw_error *err)
{
	static const char sql[] = "SELECT statement_id, statement FROM policy_statements\n"
				  "WHERE function_id = ?1 AND qualifier = ?2 ORDER BY sequence";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin_at(&query, store, sql, function_id, qualifier, err);
	if (rc < 0)
		return rc;
	rc = thaw_record_list(&statement_record, &query, POLICY_STATEMENTS_MAX,
			      (void **)&policy->statements, &policy->count, err);
	return rc < 0 ? rc : 0;
}

int thaw_policies_get(struct thaw_store *store, int64_t function_id, const char *qualifier,
		      struct thaw_policy *policy, struct thaw_error *err)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	struct thaw_policy found = {0};

	/* One scope: the revision must be that of the statements. */
	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = policy_revision(store, function_id, qualifier, found.revision_id, err);
	if (rc == 0)
		rc = policy_statements(store, function_id, qualifier, &found, err);
	if (rc == 0)
		*policy = found;
	return rc;
}
