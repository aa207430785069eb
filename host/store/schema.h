/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema as the ordered list of what made it: migration number N brings a database of version
 * N to N + 1 (PRAGMA user_version). A migration that was released is never edited.
 */
#ifndef THAW_HOST_STORE_SCHEMA_H
#define THAW_HOST_STORE_SCHEMA_H

#include <stddef.h>

#define THAW_STORE_APPLICATION_ID 0x54686177 /* "Thaw" */

struct thaw_error;
struct thaw_store;

struct thaw_schema {
	const char *const *migrations;
	int count;
	const char *start; /* run at every start, in a transaction; may be NULL */
};

extern const struct thaw_schema thaw_schema;

/* As thaw_store_open with another schema: for tests of migrations. */
int thaw_store_open_schema(struct thaw_store **store, const char *path,
			   const struct thaw_schema *schema, struct thaw_error *err);

#endif
