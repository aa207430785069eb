/* SPDX-License-Identifier: Apache-2.0 */
#include "host/store/query.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/json_check.h"
#include "host/json_memory.h"
#include "host/store/blob.h"
#include "host/store/store_internal.h"
#include "lib/error.h"

int thaw_query_begin(struct thaw_query *query, struct thaw_store *store, const char *sql,
		     struct thaw_error *err)
{
	sqlite3_stmt *statement = NULL;

	pthread_mutex_lock(&store->mutex);
	int rc = 0;
	/* Outside the lost transaction a statement would be kept alone. */
	if (store->doomed)
		rc = thaw_error_set(err, store->doomed, "\"%s\": the transaction has failed",
				    store->path);
	if (rc == 0)
		rc = thaw_store_statement(store, sql, &statement, err);
	if (rc == 0 && sqlite3_stmt_busy(statement))
		rc = thaw_error_set(err, EDEADLK, "\"%s\": a statement is used within itself",
				    store->path);
	if (rc < 0) {
		pthread_mutex_unlock(&store->mutex);
		return rc;
	}
	*query = (struct thaw_query){.store = store, .statement = statement};
	return 0;
}

int thaw_query_begin_at(struct thaw_query *query, struct thaw_store *store, const char *sql,
			int64_t function_id, const char *qualifier, struct thaw_error *err)
{
	int rc = thaw_query_begin(query, store, sql, err);

	if (rc < 0)
		return rc;
	thaw_query_int(query, function_id);
	thaw_query_text(query, qualifier);
	return 0;
}

void thaw_query_end(struct thaw_query *query)
{
	struct thaw_store *store = query->store;

	if (!store)
		return;
	sqlite3_reset(query->statement);
	sqlite3_clear_bindings(query->statement);
	query->store = NULL;
	pthread_mutex_unlock(&store->mutex);
}

static void query_bound(struct thaw_query *query, int code)
{
	if (query->code == SQLITE_OK)
		query->code = code;
}

void thaw_query_text(struct thaw_query *query, const char *text)
{
	int number = ++query->parameter;

	query_bound(query,
		    text ? sqlite3_bind_text(query->statement, number, text, -1, SQLITE_STATIC)
			 : sqlite3_bind_null(query->statement, number));
}

/* What is not JSON would fail queries that look into it later, those of others too. */
void thaw_query_json(struct thaw_query *query, const char *text)
{
	if (text && thaw_json_check((const uint8_t *)text, strlen(text), NULL) < 0)
		query->not_json = true;
	thaw_query_text(query, text);
}

static void query_json_list(struct thaw_query *query, const char *text)
{
	if (text && text[strspn(text, " \t\r\n")] != '[')
		query->not_json = true;
	thaw_query_json(query, text);
}

void thaw_query_int(struct thaw_query *query, int64_t value)
{
	query_bound(query, sqlite3_bind_int64(query->statement, ++query->parameter, value));
}

void thaw_query_int_or_null(struct thaw_query *query, int64_t value)
{
	if (value < 0)
		thaw_query_text(query, NULL);
	else
		thaw_query_int(query, value);
}

void thaw_query_real(struct thaw_query *query, double value)
{
	query_bound(query, sqlite3_bind_double(query->statement, ++query->parameter, value));
}

void thaw_query_blob(struct thaw_query *query, const void *data, size_t size)
{
	/* An empty blob is not null. */
	query_bound(query, sqlite3_bind_blob64(query->statement, ++query->parameter,
					       size ? data : "", size, SQLITE_STATIC));
}

int thaw_query_step(struct thaw_query *query, struct thaw_error *err)
{
	struct thaw_store *store = query->store;

	if (query->code != SQLITE_OK)
		return thaw_store_error(store, query->code, err);
	if (query->not_json)
		return thaw_error_set(err, EINVAL, "a value is not the JSON it must be");
	/* The values may lack members that there was no memory for. */
	if (thaw_json_memory_lost() && !sqlite3_stmt_readonly(query->statement))
		return thaw_error_errno(err, ENOMEM, "\"%s\": writing what was asked for",
					store->path);
	int code = sqlite3_step(query->statement);
	if (code == SQLITE_ROW)
		return 1;
	if (code == SQLITE_DONE)
		return 0;
	int rc = thaw_store_error(store, code, err);
	if (store->depth && sqlite3_get_autocommit(store->db))
		store->doomed = -rc;
	return rc;
}

int thaw_query_run(struct thaw_query *query, struct thaw_error *err)
{
	int rc = thaw_query_step(query, err);

	return rc < 0 ? rc : sqlite3_changes(query->store->db);
}

int thaw_query_run_one(struct thaw_query *query, struct thaw_error *err, const char *format, ...)
{
	char text[THAW_ERROR_MAX];
	va_list args;

	int rc = thaw_query_run(query, err);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return thaw_error_set(err, ENOENT, "%s", text);
}

int64_t thaw_query_number(const struct thaw_query *query, int column)
{
	return sqlite3_column_int64(query->statement, column);
}

void thaw_record_bind(const struct thaw_record *record, int first, struct thaw_query *query,
		      const void *item)
{
	for (int i = first; i < record->count; i++) {
		const char *at = (const char *)item + record->fields[i].offset;
		switch (record->fields[i].kind) {
		case THAW_FIELD_TEXT:
		case THAW_FIELD_TEXT_OR_NULL:
			thaw_query_text(query, *(char *const *)at);
			break;
		case THAW_FIELD_JSON:
		case THAW_FIELD_JSON_OR_NULL:
			thaw_query_json(query, *(char *const *)at);
			break;
		case THAW_FIELD_JSON_LIST:
			query_json_list(query, *(char *const *)at);
			break;
		case THAW_FIELD_INT:
			thaw_query_int(query, *(const int64_t *)at);
			break;
		case THAW_FIELD_INT_OR_NULL:
			thaw_query_int_or_null(query, *(const int64_t *)at);
			break;
		case THAW_FIELD_REAL:
			thaw_query_real(query, *(const double *)at);
			break;
		case THAW_FIELD_BOOL:
			thaw_query_int(query, *(const bool *)at);
			break;
		case THAW_FIELD_BLOB: {
			const struct thaw_blob *blob = (const void *)at;
			thaw_query_blob(query, blob->data, blob->size);
			break;
		}
		}
	}
}

void thaw_record_clear(const struct thaw_record *record, void *item)
{
	for (int i = 0; i < record->count; i++) {
		char *at = (char *)item + record->fields[i].offset;
		switch (record->fields[i].kind) {
		case THAW_FIELD_TEXT:
		case THAW_FIELD_TEXT_OR_NULL:
		case THAW_FIELD_JSON:
		case THAW_FIELD_JSON_OR_NULL:
		case THAW_FIELD_JSON_LIST:
			free(*(char **)at);
			break;
		case THAW_FIELD_BLOB:
			free(((struct thaw_blob *)(void *)at)->data);
			break;
		default:
			break;
		}
	}
	memset(item, 0, record->size);
}

void thaw_record_free(const struct thaw_record *record, void *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		thaw_record_clear(record, (char *)list + i * record->size);
	free(list);
}

static int column_text(sqlite3_stmt *statement, int column, bool or_null, char **to)
{
	/* The type first: asking for text would convert, and hide a damaged column. */
	if (or_null && sqlite3_column_type(statement, column) == SQLITE_NULL)
		return 0;
	if (sqlite3_column_type(statement, column) != SQLITE_TEXT)
		return -EIO;
	const unsigned char *text = sqlite3_column_text(statement, column);
	*to = text ? strdup((const char *)text) : NULL;
	return *to ? 0 : -ENOMEM;
}

static int column_int(sqlite3_stmt *statement, int column, bool or_null, int64_t *to)
{
	*to = THAW_STORE_UNSET;
	if (or_null && sqlite3_column_type(statement, column) == SQLITE_NULL)
		return 0;
	if (sqlite3_column_type(statement, column) != SQLITE_INTEGER)
		return -EIO;
	*to = sqlite3_column_int64(statement, column);
	return 0;
}

static int column_blob(sqlite3_stmt *statement, int column, struct thaw_blob *to)
{
	if (sqlite3_column_type(statement, column) != SQLITE_BLOB)
		return -EIO;
	const void *data = sqlite3_column_blob(statement, column);
	size_t size = (size_t)sqlite3_column_bytes(statement, column);
	if (size && !data)
		return -ENOMEM;
	uint8_t *copy = malloc(size + 1);
	if (!copy)
		return -ENOMEM;
	if (size)
		memcpy(copy, data, size);
	copy[size] = 0;
	*to = (struct thaw_blob){.data = copy, .size = size};
	return 0;
}

static int column_read(enum thaw_field_kind kind, sqlite3_stmt *statement, int column, void *at)
{
	int64_t number;
	int rc;

	switch (kind) {
	case THAW_FIELD_TEXT:
	case THAW_FIELD_JSON:
	case THAW_FIELD_JSON_LIST:
		return column_text(statement, column, false, at);
	case THAW_FIELD_TEXT_OR_NULL:
	case THAW_FIELD_JSON_OR_NULL:
		return column_text(statement, column, true, at);
	case THAW_FIELD_INT:
	case THAW_FIELD_INT_OR_NULL:
		return column_int(statement, column, kind == THAW_FIELD_INT_OR_NULL, at);
	case THAW_FIELD_REAL:
		*(double *)at = sqlite3_column_double(statement, column);
		return 0;
	case THAW_FIELD_BOOL:
		rc = column_int(statement, column, false, &number);
		*(bool *)at = number != 0;
		return rc;
	case THAW_FIELD_BLOB:
		return column_blob(statement, column, at);
	}
	return -EIO;
}

int thaw_record_read(const struct thaw_record *record, struct thaw_query *query, void *item,
		     struct thaw_error *err)
{
	int rc = 0;

	memset(item, 0, record->size);
	for (int i = 0; rc == 0 && i < record->count; i++)
		rc = column_read(record->fields[i].kind, query->statement, i,
				 (char *)item + record->fields[i].offset);
	if (rc < 0) {
		thaw_record_clear(record, item);
		return thaw_error_errno(err, -rc, "reading a row of \"%s\"", query->store->path);
	}
	return 0;
}

int thaw_record_get(const struct thaw_record *record, struct thaw_query *query, void *item,
		    struct thaw_error *err, const char *format, ...)
{
	char text[THAW_ERROR_MAX];
	va_list args;

	int rc = thaw_query_step(query, err);
	if (rc < 0)
		return rc;
	if (rc == 1)
		return item ? thaw_record_read(record, query, item, err) : 0;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return thaw_error_set(err, ENOENT, "%s", text);
}

int thaw_query_limit(struct thaw_query *query, size_t limit, struct thaw_error *err)
{
	if (limit < 1 || limit > THAW_STORE_PAGE_MAX)
		return thaw_error_set(err, EINVAL, "a page has 1 to %d items", THAW_STORE_PAGE_MAX);
	thaw_query_int(query, (int64_t)limit + 1);
	return 0;
}

int thaw_record_list(const struct thaw_record *record, struct thaw_query *query, size_t limit,
		     void **list, size_t *count, struct thaw_error *err)
{
	char *items = NULL;
	size_t used = 0, space = 0;

	int rc = thaw_query_step(query, err);
	while (rc == 1 && used < limit) {
		if (used == space) {
			space = space ? 2 * space : 8;
			char *more = realloc(items, space * record->size);
			if (!more) {
				rc = thaw_error_errno(err, ENOMEM, "reading a list");
				break;
			}
			items = more;
		}
		rc = thaw_record_read(record, query, items + used * record->size, err);
		if (rc == 0) {
			used++;
			rc = thaw_query_step(query, err);
		}
	}
	if (rc < 0) {
		thaw_record_free(record, items, used);
		return rc;
	}
	*list = items;
	*count = used;
	return rc;
}
