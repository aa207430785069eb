/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole requests to the operations on functions' resources: "METHOD target\n" and the body, on a
 * store with one function, whose changes are undone after each. Whatever comes, the fault is never
 * ours (5xx), and the answer is JSON or nothing.
 */
#include <stdint.h>

#include "tests/unit/service_operations_harness.h"

#define INPUT_MAX (1u << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *fixture;

static void end(void)
{
	operations_teardown(&fixture);
}

static struct operations_fixture *begin(void)
{
	struct operations_fixture *f = fixture;

	if (f)
		return f;
	if (operations_setup(&fixture) < 0)
		abort();
	atexit(end);
	f = fixture;
	int64_t id = store_function(f->service.store, ACCOUNT, "web");
	store_publish(f->service.store, id, "a");
	store_publish(f->service.store, id, "b");
	return f;
}

static void try_request(struct operations_fixture *f, char *text)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	char *target = strchr(text, ' '), *body = strchr(text, '\n');

	if (!target || !body || target > body)
		return;
	*target++ = 0;
	*body++ = 0;
	if (thaw_store_begin(&scope, f->service.store, NULL) < 0)
		abort();
	const struct answer *answer = ask(f, text, target, body);
	if (!answer->status)
		return;
	if (answer->status >= 500 || (answer->status >= 400) != (*answer->error != 0) ||
	    (answer->raw && !answer->body))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct operations_fixture *f = begin();
	char *text = malloc(size + 1);

	if (!text || size > INPUT_MAX) {
		free(text);
		return 0;
	}
	memcpy(text, data, size);
	text[size] = 0;
	try_request(f, text);
	free(text);
	return 0;
}
