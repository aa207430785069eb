/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the store: statements, and records made of their columns.
 *
 * A query is a prepared statement that the store keeps, found by the address of its text: so the
 * text is a constant of the program, and whatever comes from outside is bound, never written
 * into it. From thaw_query_begin to the end of its scope a query holds the store's mutex. Bind
 * calls remember the first failure, and the next step tells it.
 */
#ifndef THAW_HOST_STORE_QUERY_H
#define THAW_HOST_STORE_QUERY_H

#include <sqlite3.h>

#include "host/store/store.h"

struct thaw_query {
	struct thaw_store *store; /* NULL: none */
	sqlite3_stmt *statement;
	int parameter; /* bound so far */
	int code;      /* the first failure of a bind: SQLite's */
	bool not_json; /* a bind was refused */
};

#define THAW_QUERY_NONE                                                                            \
	{                                                                                          \
		.store = NULL                                                                      \
	}

int thaw_query_begin(struct thaw_query *query, struct thaw_store *store, const char *sql,
		     struct thaw_error *err);
/* As begin, with the key that most tables have bound to ?1 and ?2. */
int thaw_query_begin_at(struct thaw_query *query, struct thaw_store *store, const char *sql,
			int64_t function_id, const char *qualifier, struct thaw_error *err);
void thaw_query_end(struct thaw_query *query);

#define cleanup_query __attribute__((cleanup(thaw_query_end)))

/* Each binds the next parameter. Text and blobs must live until the query ends. */
void thaw_query_text(struct thaw_query *query, const char *text); /* NULL: null */
void thaw_query_json(struct thaw_query *query, const char *text); /* NULL: null */
void thaw_query_int(struct thaw_query *query, int64_t value);
void thaw_query_int_or_null(struct thaw_query *query, int64_t value); /* negative: null */
void thaw_query_real(struct thaw_query *query, double value);
void thaw_query_blob(struct thaw_query *query, const void *data, size_t size);

/* 1: there is a row; 0: there are no more; or a negative errno. */
int thaw_query_step(struct thaw_query *query, struct thaw_error *err);

/* Runs a statement that gives no rows. How many rows it changed, or a negative errno. */
int thaw_query_run(struct thaw_query *query, struct thaw_error *err);

/* Runs it; changing no row is -ENOENT with the message given. */
int thaw_query_run_one(struct thaw_query *query, struct thaw_error *err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

int64_t thaw_query_number(const struct thaw_query *query, int column);

/* Which member of a struct is which column, in the order of both. */
enum thaw_field_kind {
	THAW_FIELD_TEXT,         /* char *, owned */
	THAW_FIELD_TEXT_OR_NULL, /* char *, owned, may be NULL */
	THAW_FIELD_JSON,         /* char *, owned: one JSON value */
	THAW_FIELD_JSON_OR_NULL, /* char *, owned, may be NULL */
	THAW_FIELD_JSON_LIST,    /* char *, owned: a JSON list */
	THAW_FIELD_INT,          /* int64_t */
	THAW_FIELD_INT_OR_NULL,  /* int64_t, THAW_STORE_UNSET for null */
	THAW_FIELD_REAL,         /* double */
	THAW_FIELD_BOOL,         /* bool */
	THAW_FIELD_BLOB,         /* struct thaw_blob, owned */
};

struct thaw_field {
	enum thaw_field_kind kind;
	size_t offset;
};

struct thaw_record {
	const struct thaw_field *fields;
	int count;
	size_t size; /* of the struct */
};

#define THAW_RECORD(type, list)                                                                    \
	{                                                                                          \
		.fields = (list), .count = sizeof(list) / sizeof((list)[0]), .size = sizeof(type)  \
	}

/* Binds the members of a struct from number `first` on. */
void thaw_record_bind(const struct thaw_record *record, int first, struct thaw_query *query,
		      const void *item);

/* Frees what the struct owns and makes it empty. */
void thaw_record_clear(const struct thaw_record *record, void *item);
void thaw_record_free(const struct thaw_record *record, void *list, size_t count);

/* The row at hand. -EIO when a column is not what it must be. */
int thaw_record_read(const struct thaw_record *record, struct thaw_query *query, void *item,
		     struct thaw_error *err);

/* The one row of a query; none is -ENOENT with the message given. `item` may be NULL. */
int thaw_record_get(const struct thaw_record *record, struct thaw_query *query, void *item,
		    struct thaw_error *err, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

/* The number of rows to ask for to know if there are more. -EINVAL for an improper limit. */
int thaw_query_limit(struct thaw_query *query, size_t limit, struct thaw_error *err);

/* All rows, as many as `limit`. 1 when there are more, 0 when not. */
int thaw_record_list(const struct thaw_record *record, struct thaw_query *query, size_t limit,
		     void **list, size_t *count, struct thaw_error *err);

/* The qualifier "" or "$LATEST", a version's number or an alias' name: 0, or -ENOENT when the
 * function has no such thing. */
int thaw_qualifier_check(struct thaw_store *store, int64_t function_id, const char *qualifier,
			 struct thaw_error *err);

/* Writes a record of a table by function and qualifier, when the function has that qualifier: `sql`
 * takes the record's columns. -ENOENT as above. */
int thaw_qualifier_put(struct thaw_store *store, const char *sql, const struct thaw_record *record,
		       const void *item, int64_t function_id, const char *qualifier,
		       struct thaw_error *err);

/* A page of such records of one function: `sql` takes the function, the qualifier before (NULL: the
 * empty one comes first, so no text can be before it) and the number of rows. */
int thaw_qualifier_list(struct thaw_store *store, const char *sql, const struct thaw_record *record,
			int64_t function_id, const char *after, size_t limit, void **list,
			size_t *count, struct thaw_error *err);

/* Removes what hangs on a version or an alias that goes away. */
int thaw_qualifier_drop(struct thaw_store *store, int64_t function_id, const char *qualifier,
			struct thaw_error *err);

#endif
