/* SPDX-License-Identifier: Apache-2.0 */
/* Operations called as the router calls them, on a real store, with nobody who runs functions. */
#ifndef THAW_TESTS_SERVICE_OPERATIONS_HARNESS_H
#define THAW_TESTS_SERVICE_OPERATIONS_HARNESS_H

#include "service_store_harness.h"

#include <jansson.h>

#include "host/daemon/config.h"
#include "host/daemon/service.h"
#include "host/operations/operations.h"

struct operations_fixture {
	struct store_fixture *files;
	struct thaw_config config;
	struct thaw_service service;
	int data;             /* the store's directory, which is the state's too */
	unsigned int changed; /* calls of thaw_targets_changed */
	int64_t changed_id;   /* the last of them */
};

/* For cmocka. The service is of ACCOUNT, region us-east-1, with 1000 of concurrency. */
int operations_setup(void **state);
int operations_teardown(void **state);

struct answer {
	unsigned int status; /* 0: no operation has that path */
	char error[64];      /* x-amzn-ErrorType, or "" */
	json_t *body;        /* NULL: none, or no JSON */
	char *raw;
	size_t size;
};

/* One request; the answer is good until the next. */
const struct answer *ask(struct operations_fixture *f, const char *method, const char *target,
			 const char *body);
/* From another account, until it is changed back. */
void ask_as(struct operations_fixture *f, const char *account);

/* In the last answer, at "Name" or "Name.Other": its text, or its number. */
const char *said(const char *path);
double said_number(const char *path);
size_t said_count(const char *path);
json_t *said_json(const char *path);

#define assert_answer(f, status_, method, target, body)                                            \
	do {                                                                                       \
		const struct answer *a_ = ask(f, method, target, body);                            \
		if (a_->status != (status_))                                                       \
			fail_msg("%u: %s", a_->status, a_->raw ? a_->raw : "");                    \
	} while (0)

/* An error with its code, and with `text` somewhere in its message. */
#define assert_error(f, code, text, method, target, body)                                          \
	do {                                                                                       \
		const struct answer *a_ = ask(f, method, target, body);                            \
		const char *m_ = a_->raw ? a_->raw : "";                                           \
		if (strcmp(a_->error, code) != 0 || !strstr(m_, text))                             \
			fail_msg("%u %s: %s", a_->status, a_->error, m_);                          \
	} while (0)

#endif
