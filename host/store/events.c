/* SPDX-License-Identifier: Apache-2.0 */
#include "host/store/events.h"

#include <errno.h>
#include <stddef.h>

#include "host/store/query.h"
#include "host/store/store_internal.h"
#include "lib/error.h"

/* Those that a new event has; the others are the store's. */
#define EVENT_NEW_COLUMNS                                                                          \
	"id, account, function_id, qualifier, context, received_ms, due_ms, deadline_ms, attempt"

static const struct thaw_field event_fields[] = {
	{THAW_FIELD_TEXT, offsetof(struct thaw_event, id)},
	{THAW_FIELD_TEXT, offsetof(struct thaw_event, account)},
	{THAW_FIELD_INT, offsetof(struct thaw_event, function_id)},
	{THAW_FIELD_TEXT, offsetof(struct thaw_event, qualifier)},
	{THAW_FIELD_JSON_OR_NULL, offsetof(struct thaw_event, context)},
	{THAW_FIELD_INT, offsetof(struct thaw_event, received_ms)},
	{THAW_FIELD_INT, offsetof(struct thaw_event, due_ms)},
	{THAW_FIELD_INT, offsetof(struct thaw_event, deadline_ms)},
	{THAW_FIELD_INT, offsetof(struct thaw_event, attempt)},
	{THAW_FIELD_INT, offsetof(struct thaw_event, handouts)},
	{THAW_FIELD_INT_OR_NULL, offsetof(struct thaw_event, taken_epoch)},
	{THAW_FIELD_BLOB, offsetof(struct thaw_event, payload)},
};

static const struct thaw_record event_record = THAW_RECORD(struct thaw_event, event_fields);

static const struct thaw_record event_new_record = {
	.fields = event_fields, .count = 9, .size = sizeof(struct thaw_event)};

static const struct thaw_field id_fields[] = {{THAW_FIELD_INT, 0}};
static const struct thaw_record id_record = THAW_RECORD(int64_t, id_fields);

void thaw_event_clear(struct thaw_event *event)
{
	thaw_record_clear(&event_record, event);
}

static int event_insert(struct thaw_store *store, const struct thaw_event *event,
			struct thaw_error *err)
{
	static const char sql[] = "INSERT INTO events (" EVENT_NEW_COLUMNS ", handouts)\n"
				  "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0)";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_record_bind(&event_new_record, 0, &query, event);
	rc = thaw_query_run(&query, err);
	if (rc == -EEXIST)
		return thaw_error_set(err, EEXIST, "event \"%s\" is queued already", event->id);
	if (rc == -ENOENT)
		return thaw_error_set(err, ENOENT, "event \"%s\": no such function or account",
				      event->id);
	return rc < 0 ? rc : 0;
}

static int event_insert_payload(struct thaw_store *store, const struct thaw_event *event,
				struct thaw_error *err)
{
	static const char sql[] =
		"INSERT INTO event_payloads (sequence, payload) VALUES (last_insert_rowid(), ?1)";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_blob(&query, event->payload.data, event->payload.size);
	rc = thaw_query_run(&query, err);
	return rc < 0 ? rc : 0;
}

int thaw_events_enqueue(struct thaw_store *store, const struct thaw_event *event,
			struct thaw_error *err)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = event_insert(store, event, err);
	if (rc == 0)
		rc = event_insert_payload(store, event, err);
	if (rc == 0)
		rc = thaw_store_commit(&scope, err);
	return rc < 0 ? thaw_error_wrap(err, "queueing an event") : 0;
}

/* The sequence number of the event longest due: 1, or 0 when there is none. */
static int event_due(struct thaw_store *store, int64_t function_id, int64_t now_ms,
		     int64_t *sequence, struct thaw_error *err)
{
	static const char any[] = "SELECT sequence FROM events\n"
				  "WHERE taken_epoch IS NULL AND due_ms <= ?1\n"
				  "ORDER BY due_ms, sequence LIMIT 1";
	static const char of_function[] = "SELECT sequence FROM events\n"
					  "WHERE taken_epoch IS NULL AND due_ms <= ?1\n"
					  "AND function_id = ?2\n"
					  "ORDER BY due_ms, sequence LIMIT 1";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, function_id ? of_function : any, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, now_ms);
	if (function_id)
		thaw_query_int(&query, function_id);
	rc = thaw_query_step(&query, err);
	if (rc == 1)
		*sequence = thaw_query_number(&query, 0);
	return rc;
}

static int event_mark(struct thaw_store *store, int64_t sequence, struct thaw_error *err)
{
	static const char sql[] =
		"UPDATE events SET taken_epoch = ?1, handouts = handouts + 1 WHERE sequence = ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, thaw_store_epoch(store));
	thaw_query_int(&query, sequence);
	return thaw_query_run_one(&query, err, "the event is gone");
}

static int event_read(struct thaw_store *store, int64_t sequence, struct thaw_event *event,
		      struct thaw_error *err)
{
	static const char sql[] =
		"SELECT " EVENT_NEW_COLUMNS ", handouts, taken_epoch, payload\n"
		"FROM events JOIN event_payloads USING (sequence) WHERE sequence = ?1";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, sequence);
	return thaw_record_get(&event_record, &query, event, err, "the event is gone");
}

int thaw_events_take(struct thaw_store *store, int64_t function_id, int64_t now_ms,
		     struct thaw_event *event, struct thaw_error *err)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	struct thaw_event taken = {0};
	int64_t sequence = 0;

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = event_due(store, function_id, now_ms, &sequence, err);
	if (rc <= 0)
		return rc;
	rc = event_mark(store, sequence, err);
	if (rc == 0)
		rc = event_read(store, sequence, &taken, err);
	if (rc == 0)
		rc = thaw_store_commit(&scope, err);
	if (rc < 0) {
		thaw_event_clear(&taken);
		return thaw_error_wrap(err, "taking an event");
	}
	*event = taken;
	return 1;
}

/* The sequence number of the event, which must be ours if `taken`. */
static int event_find(struct thaw_store *store, const char *id, bool taken, int64_t *sequence,
		      struct thaw_error *err)
{
	static const char sql[] =
		"SELECT sequence, coalesce(taken_epoch, 0) FROM events WHERE id = ?1";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_text(&query, id);
	rc = thaw_record_get(&event_record, &query, NULL, err, "no event \"%s\"", id);
	if (rc < 0)
		return rc;
	if (taken && thaw_query_number(&query, 1) != thaw_store_epoch(store))
		return thaw_error_set(err, ESTALE, "event \"%s\" is not taken", id);
	*sequence = thaw_query_number(&query, 0);
	return 0;
}

static int event_remove(struct thaw_store *store, const char *id, bool taken,
			struct thaw_error *err)
{
	static const char sql[] = "DELETE FROM events WHERE sequence = ?1";
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;
	int64_t sequence = 0;

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = event_find(store, id, taken, &sequence, err);
	if (rc == 0)
		rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, sequence);
	rc = thaw_query_run_one(&query, err, "no event \"%s\"", id);
	thaw_query_end(&query);
	return rc < 0 ? rc : thaw_store_commit(&scope, err);
}

int thaw_events_finish(struct thaw_store *store, const char *id, struct thaw_error *err)
{
	return event_remove(store, id, true, err);
}

int thaw_events_drop(struct thaw_store *store, const char *id, struct thaw_error *err)
{
	return event_remove(store, id, false, err);
}

int thaw_events_retry(struct thaw_store *store, const char *id, int64_t due_ms, int64_t attempt,
		      struct thaw_error *err)
{
	static const char sql[] =
		"UPDATE events SET due_ms = ?1, attempt = ?2, taken_epoch = NULL\n"
		"WHERE sequence = ?3";
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;
	int64_t sequence = 0;

	int rc = thaw_store_begin(&scope, store, err);
	if (rc == 0)
		rc = event_find(store, id, true, &sequence, err);
	if (rc == 0)
		rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, due_ms);
	thaw_query_int(&query, attempt);
	thaw_query_int(&query, sequence);
	rc = thaw_query_run_one(&query, err, "no event \"%s\"", id);
	thaw_query_end(&query);
	return rc < 0 ? rc : thaw_store_commit(&scope, err);
}

/* How many rows it changed. */
static int events_update(struct thaw_query *query, struct thaw_error *err)
{
	int rc = thaw_query_run(query, err);

	return rc < 0 ? rc : sqlite3_changes(query->store->db);
}

int thaw_events_not_later(struct thaw_store *store, int64_t now_ms, struct thaw_error *err)
{
	static const char sql[] = "UPDATE events SET received_ms = ?1,\n"
				  "\tdue_ms = max(0, due_ms - (received_ms - ?1)),\n"
				  "\tdeadline_ms = max(0, deadline_ms - (received_ms - ?1))\n"
				  "WHERE received_ms > ?1";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, now_ms);
	return events_update(&query, err);
}

int thaw_events_shift(struct thaw_store *store, int64_t from_ms, int64_t to_ms, int64_t ms,
		      struct thaw_error *err)
{
	static const char sql[] =
		"UPDATE events SET received_ms = max(0, received_ms + ?3),\n"
		"\tdue_ms = max(0, due_ms + ?3), deadline_ms = max(0, deadline_ms + ?3)\n"
		"WHERE received_ms >= ?1 AND received_ms < ?2";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, from_ms);
	thaw_query_int(&query, to_ms);
	thaw_query_int(&query, ms);
	return events_update(&query, err);
}

int thaw_events_next_due(struct thaw_store *store, int64_t *due_ms, struct thaw_error *err)
{
	static const char sql[] = "SELECT due_ms FROM events WHERE taken_epoch IS NULL\n"
				  "ORDER BY due_ms LIMIT 1";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	rc = thaw_query_step(&query, err);
	if (rc == 1)
		*due_ms = thaw_query_number(&query, 0);
	return rc;
}

int thaw_events_count(struct thaw_store *store, int64_t function_id,
		      struct thaw_events_count *count, struct thaw_error *err)
{
	static const char any[] = "SELECT count(*), count(taken_epoch),\n"
				  "coalesce(min(received_ms), -1) FROM events";
	static const char of_function[] = "SELECT count(*), count(taken_epoch),\n"
					  "coalesce(min(received_ms), -1) FROM events\n"
					  "WHERE function_id = ?1";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, function_id ? of_function : any, err);
	if (rc < 0)
		return rc;
	if (function_id)
		thaw_query_int(&query, function_id);
	rc = thaw_query_step(&query, err);
	if (rc < 0)
		return rc;
	count->taken = thaw_query_number(&query, 1);
	count->waiting = thaw_query_number(&query, 0) - count->taken;
	count->oldest_ms = thaw_query_number(&query, 2);
	return 0;
}

int thaw_events_functions(struct thaw_store *store, int64_t now_ms, int64_t after, size_t limit,
			  int64_t **list, size_t *count, struct thaw_error *err)
{
	/* A look into the index for each function, not one over all events. */
	static const char sql[] = "SELECT id FROM functions AS f WHERE id > ?1 AND EXISTS (\n"
				  "SELECT 1 FROM events WHERE function_id = f.id\n"
				  "AND due_ms <= ?2 AND taken_epoch IS NULL)\n"
				  "ORDER BY id LIMIT ?3";
	cleanup_query struct thaw_query query = THAW_QUERY_NONE;

	int rc = thaw_query_begin(&query, store, sql, err);
	if (rc < 0)
		return rc;
	thaw_query_int(&query, after);
	thaw_query_int(&query, now_ms);
	rc = thaw_query_limit(&query, limit, err);
	if (rc < 0)
		return rc;
	return thaw_record_list(&id_record, &query, limit, (void **)list, count, err);
}
