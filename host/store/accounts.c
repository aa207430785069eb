/* SPDX-License-Identifier: Apache-2.0 */
#include "host/store/accounts.h"

#include <errno.h>
#include <stddef.h>

#include "host/store/query.h"
#include "lib/error.h"

#define ACCOUNT_COLUMNS "id, name, created_ms"
#define KEY_COLUMNS     "id, account, sealed, created_ms, disabled"

static const struct thaw_field account_fields[] = {
	{THAW_FIELD_TEXT, offsetof(struct thaw_account, id)},
	{THAW_FIELD_TEXT, offsetof(struct thaw_account, name)},
	{THAW_FIELD_INT, offsetof(struct thaw_account, created_ms)},
};

static const struct thaw_record account_record = THAW_RECORD(struct thaw_account, account_fields);

static const struct thaw_field key_fields[] = {
	{THAW_FIELD_TEXT, offsetof(struct thaw_access_key, id)},
	{THAW_FIELD_TEXT, offsetof(struct thaw_access_key, account)},
	{THAW_FIELD_BLOB, offsetof(struct thaw_access_key, sealed)},
	{THAW_FIELD_INT, offsetof(struct thaw_access_key, created_ms)},
	{THAW_FIELD_BOOL, offsetof(struct thaw_access_key, disabled)},
};

static const struct thaw_record key_record = THAW_RECORD(struct thaw_access_key, key_fields);

void thaw_account_clear(struct thaw_account *account)
{
	thaw_record_clear(&account_record, account);
}

void thaw_accounts_free(struct thaw_account *list, size_t count)
{
	thaw_record_free(&account_record, list, count);
}

void thaw_access_key_clear(struct thaw_access_key *key)
{
	thaw_record_clear(&key_record, key);
}

void thaw_access_keys_free(struct thaw_access_key *list, size_t count)
{
	thaw_record_free(&key_record, list, count);
}

int thaw_accounts_create(struct thaw_store *store, const struct thaw_account *account,
			 struct thaw_error *err)
{
	static const char sql[] = "INSERT INTO accounts (" ACCOUNT_COLUMNS ") VALUES (?1, ?2, ?3)";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_record_bind(&account_record, 0, &query, account);
	rc = thaw_query_run(&query, err);
	if (rc == -EEXIST)
		return thaw_error_set(err, EEXIST, "account \"%s\" (%s) exists already",
				      account->name, account->id);
	return rc < 0 ? thaw_error_wrap(err, "making account \"%s\"", account->name) : 0;
}

int thaw_accounts_find(struct thaw_store *store, const char *id, struct thaw_account *account,
		       struct thaw_error *err)
{
	static const char sql[] = "SELECT " ACCOUNT_COLUMNS " FROM accounts WHERE id = ?1";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, id);
	return thaw_record_get(&account_record, &query, account, err, "no account \"%s\"", id);
}

int thaw_accounts_find_name(struct thaw_store *store, const char *name,
			    struct thaw_account *account, struct thaw_error *err)
{
	static const char sql[] = "SELECT " ACCOUNT_COLUMNS " FROM accounts WHERE name = ?1";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, name);
	return thaw_record_get(&account_record, &query, account, err, "no account named \"%s\"",
			       name);
}

int thaw_accounts_list(struct thaw_store *store, const char *after, size_t limit,
		       struct thaw_account **list, size_t *count, struct thaw_error *err)
{
	static const char sql[] = "SELECT " ACCOUNT_COLUMNS " FROM accounts\n"
				  "WHERE name > ?1 ORDER BY name LIMIT ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, after ? after : "");
	rc = thaw_query_limit(&query, limit, err);
	if (rc < 0)
		return rc;
	return thaw_record_list(&account_record, &query, limit, (void **)list, count, err);
}

int thaw_access_keys_create(struct thaw_store *store, const struct thaw_access_key *key,
			    struct thaw_error *err)
{
	static const char sql[] =
		"INSERT INTO access_keys (" KEY_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5)";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_record_bind(&key_record, 0, &query, key);
	rc = thaw_query_run(&query, err);
	if (rc == -EEXIST)
		return thaw_error_set(err, EEXIST, "access key \"%s\" exists already", key->id);
	if (rc == -ENOENT)
		return thaw_error_set(err, ENOENT, "no account \"%s\"", key->account);
	return rc < 0 ? thaw_error_wrap(err, "making access key \"%s\"", key->id) : 0;
}

int thaw_access_keys_find(struct thaw_store *store, const char *id, struct thaw_access_key *key,
			  struct thaw_error *err)
{
	static const char sql[] = "SELECT " KEY_COLUMNS " FROM access_keys WHERE id = ?1";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, id);
	return thaw_record_get(&key_record, &query, key, err, "no access key \"%s\"", id);
}

int thaw_access_keys_list(struct thaw_store *store, const char *account, const char *after,
			  size_t limit, struct thaw_access_key **list, size_t *count,
			  struct thaw_error *err)
{
	static const char sql[] = "SELECT " KEY_COLUMNS " FROM access_keys\n"
				  "WHERE account = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, account);
	thaw_query_text(&query, after ? after : "");
	rc = thaw_query_limit(&query, limit, err);
	if (rc < 0)
		return rc;
	return thaw_record_list(&key_record, &query, limit, (void **)list, count, err);
}

int thaw_access_keys_set_disabled(struct thaw_store *store, const char *id, bool disabled,
				  struct thaw_error *err)
{
	static const char sql[] = "UPDATE access_keys SET disabled = ?1 WHERE id = ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, disabled);
	thaw_query_text(&query, id);
	return thaw_query_run_one(&query, err, "no access key \"%s\"", id);
}
