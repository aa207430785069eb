/* SPDX-License-Identifier: Apache-2.0 */
/* A store in a directory of its own, with what tests put into it. */
#ifndef THAW_TESTS_SERVICE_STORE_HARNESS_H
#define THAW_TESTS_SERVICE_STORE_HARNESS_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#include "host/store/functions.h"
#include "host/store/store.h"
#include "lib/error.h"

#define ACCOUNT "123456789012"
#define OTHER   "210987654321"

struct store_fixture {
	char dir[256];
	struct thaw_store *store;
};

/* For cmocka: *state is a fixture with an open store that has both accounts. */
int store_setup(void **state);
int store_teardown(void **state);

/* Only the directory, which is empty. */
int store_setup_dir(void **state);

void store_reopen(struct store_fixture *f);

/* "<the fixture's directory>/<name>", in one static buffer. */
const char *store_path(const struct store_fixture *f, const char *name);

/* What a new function is made of, with constants for strings. */
struct thaw_function_item store_item(const char *account, const char *name);

/* Makes it and gives its id. */
int64_t store_function(struct thaw_store *store, const char *account, const char *name);

/* Changes its code, so that a version can be published. */
void store_change(struct thaw_store *store, int64_t function_id, const char *digest);

/* Changes and publishes; gives the number. */
int64_t store_publish(struct thaw_store *store, int64_t function_id, const char *digest);

/* Where assert_ok finds what went wrong. */
extern _Thread_local struct thaw_error store_error;
#define ERR (&store_error)

#define assert_ok(call)                                                                            \
	do {                                                                                       \
		int rc_ = (call);                                                                  \
		if (rc_ != 0)                                                                      \
			fail_msg("%d: %s", rc_, store_error.message);                              \
	} while (0)

#endif
