/* SPDX-License-Identifier: Apache-2.0 */
/* What store.c and query.c share: the connection, its mutex, the statements kept. */
#ifndef THAW_HOST_STORE_STORE_INTERNAL_H
#define THAW_HOST_STORE_STORE_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>

#include "host/store/store.h"

#define THAW_STORE_STATEMENTS 256 /* a power of two, well above what the program has */

struct thaw_store_statement {
	const char *sql; /* its address is the key */
	sqlite3_stmt *statement;
};

struct thaw_store {
	sqlite3 *db;
	pthread_mutex_t mutex; /* recursive */
	int dir, lock;
	char path[PATH_MAX]; /* of the database */
	int64_t epoch;
	unsigned int depth; /* scopes open */
	int doomed; /* an errno: SQLite undid the transaction of the open scopes by itself */
	struct thaw_store_statement statements[THAW_STORE_STATEMENTS];
};

/* The error that SQLite's `code` means, with what SQLite says. */
int thaw_store_error(struct thaw_store *store, int code, struct thaw_error *err);

/* The kept statement for `sql`. */
int thaw_store_statement(struct thaw_store *store, const char *sql, sqlite3_stmt **statement,
			 struct thaw_error *err);

#endif
