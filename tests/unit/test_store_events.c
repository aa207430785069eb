/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of asynchronous invocations. */
#include <errno.h>

#include "service_store_harness.h"
#include "host/store/events.h"

static struct thaw_event event_of(int64_t function, const char *id, int64_t due_ms)
{
	return (struct thaw_event){.id = (char *)id,
				   .account = (char *)ACCOUNT,
				   .function_id = function,
				   .qualifier = (char *)"$LATEST",
				   .context = (char *)"{\"trace\":\"Root=1\"}",
				   .received_ms = 100,
				   .due_ms = due_ms,
				   .deadline_ms = 10000,
				   .payload = {.data = (uint8_t *)"\"x\"", .size = 3}};
}

static void enqueue(struct thaw_store *store, int64_t function, const char *id, int64_t due_ms)
{
	struct thaw_event event = event_of(function, id, due_ms);

	assert_ok(thaw_events_enqueue(store, &event, ERR));
}

/* Takes the next event, which must be the one of that id; NULL: there must be none. */
static void take(struct thaw_store *store, int64_t function, int64_t now_ms, const char *id)
{
	struct thaw_event event;

	int rc = thaw_events_take(store, function, now_ms, &event, ERR);
	assert_int_equal(rc, id ? 1 : 0);
	if (id) {
		assert_string_equal(event.id, id);
		thaw_event_clear(&event);
	}
}

/* The wall clock is set: what is by it goes along. */
static void test_clock(void **state)
{
	struct store_fixture *f = *state;
	int64_t id = store_function(f->store, ACCOUNT, "web"), due;
	struct thaw_event event;

	enqueue(f->store, id, "a", 200); /* they came at 100 */
	enqueue(f->store, id, "b", 300);
	assert_int_equal(thaw_events_shift(f->store, 0, 100, 5000, ERR), 0);
	assert_int_equal(thaw_events_shift(f->store, 100, 101, 5000, ERR), 2);
	assert_int_equal(thaw_events_next_due(f->store, &due, ERR), 1);
	assert_int_equal(due, 5200);
	assert_int_equal(thaw_events_not_later(f->store, 5100, ERR), 0);
	assert_int_equal(thaw_events_not_later(f->store, 1000, ERR), 2);
	assert_int_equal(thaw_events_take(f->store, 0, 1100, &event, ERR), 1);
	assert_string_equal(event.id, "a");
	assert_int_equal(event.received_ms, 1000);
	assert_int_equal(event.deadline_ms, 10900);
	thaw_event_clear(&event);
	take(f->store, 0, 1199, NULL);
	take(f->store, 0, 1200, "b");
	/* Not before 1970. */
	assert_int_equal(thaw_events_shift(f->store, 0, INT64_MAX, -100000, ERR), 2);
}

static void test_round(void **state)
{
	struct store_fixture *f = *state;
	int64_t id = store_function(f->store, ACCOUNT, "web");
	struct thaw_event event;
	int64_t due;

	take(f->store, 0, 1000, NULL);
	assert_int_equal(thaw_events_next_due(f->store, &due, ERR), 0);
	enqueue(f->store, id, "b", 200);
	enqueue(f->store, id, "a", 200);
	enqueue(f->store, id, "c", 150);
	assert_int_equal(thaw_events_next_due(f->store, &due, ERR), 1);
	assert_int_equal(due, 150);
	take(f->store, 0, 149, NULL);
	take(f->store, 0, 150, "c");
	take(f->store, 0, 199, NULL);
	/* Of the same time: in the order they came. */
	assert_int_equal(thaw_events_take(f->store, 0, 200, &event, ERR), 1);
	assert_string_equal(event.id, "b");
	assert_string_equal(event.account, ACCOUNT);
	assert_int_equal(event.function_id, id);
	assert_string_equal(event.qualifier, "$LATEST");
	assert_string_equal(event.context, "{\"trace\":\"Root=1\"}");
	assert_int_equal(event.payload.size, 3);
	assert_string_equal((char *)event.payload.data, "\"x\"");
	assert_int_equal(event.deadline_ms, 10000);
	assert_int_equal(event.attempt, 0);
	assert_int_equal(event.handouts, 1);
	assert_int_equal(event.taken_epoch, thaw_store_epoch(f->store));
	thaw_event_clear(&event);
	take(f->store, 0, 200, "a");
	take(f->store, 0, 9999, NULL);
	assert_int_equal(thaw_events_next_due(f->store, &due, ERR), 0);

	assert_ok(thaw_events_finish(f->store, "b", ERR));
	assert_int_equal(thaw_events_finish(f->store, "b", ERR), -ENOENT);
	assert_ok(thaw_events_retry(f->store, "a", 500, 1, ERR));
	assert_int_equal(thaw_events_retry(f->store, "a", 500, 1, ERR), -ESTALE);
	assert_int_equal(thaw_events_finish(f->store, "a", ERR), -ESTALE);
	assert_int_equal(thaw_events_retry(f->store, "b", 500, 1, ERR), -ENOENT);
	take(f->store, 0, 499, NULL);
	assert_int_equal(thaw_events_take(f->store, 0, 500, &event, ERR), 1);
	assert_int_equal(event.attempt, 1);
	assert_int_equal(event.handouts, 2);
	thaw_event_clear(&event);
	assert_ok(thaw_events_drop(f->store, "a", ERR));
	assert_ok(thaw_events_drop(f->store, "c", ERR));
	assert_int_equal(thaw_events_drop(f->store, "c", ERR), -ENOENT);
}

static void test_refused(void **state)
{
	struct store_fixture *f = *state;
	int64_t id = store_function(f->store, ACCOUNT, "web");
	struct thaw_event event = event_of(id, "a", 1);
	struct thaw_events_count count;

	assert_ok(thaw_events_enqueue(f->store, &event, ERR));
	assert_int_equal(thaw_events_enqueue(f->store, &event, ERR), -EEXIST);
	event = event_of(id + 9, "b", 1);
	assert_int_equal(thaw_events_enqueue(f->store, &event, ERR), -ENOENT);
	event = event_of(id, "b", 1);
	event.account = (char *)"999999999999";
	assert_int_equal(thaw_events_enqueue(f->store, &event, ERR), -ENOENT);
	event = event_of(id, "b", 1);
	event.context = (char *)"{,}";
	assert_int_equal(thaw_events_enqueue(f->store, &event, ERR), -EINVAL);
	event = event_of(id, "", 1);
	assert_int_equal(thaw_events_enqueue(f->store, &event, ERR), -EINVAL);
	event = event_of(id, "b", 1);
	event.payload.size = THAW_STORE_VALUE_MAX + 1;
	event.payload.data = calloc(1, event.payload.size);
	assert_non_null(event.payload.data);
	assert_int_equal(thaw_events_enqueue(f->store, &event, ERR), -EMSGSIZE);
	/* The refused one has left no half of it. */
	assert_ok(thaw_events_count(f->store, 0, &count, ERR));
	assert_int_equal(count.waiting, 1);
	event.payload.size = 1 << 20;
	assert_ok(thaw_events_enqueue(f->store, &event, ERR));
	free(event.payload.data);
	event = event_of(id, "empty", 2);
	event.payload.size = 0;
	event.context = NULL;
	assert_ok(thaw_events_enqueue(f->store, &event, ERR));
	take(f->store, 0, 5, "a");
	take(f->store, 0, 5, "b");
	struct thaw_event taken;
	assert_int_equal(thaw_events_take(f->store, 0, 5, &taken, ERR), 1);
	assert_int_equal(taken.payload.size, 0);
	assert_null(taken.context);
	thaw_event_clear(&taken);
	assert_ok(thaw_store_check(f->store, ERR));
}

/* One function's events do not keep another's waiting. */
static void test_functions(void **state)
{
	struct store_fixture *f = *state;
	int64_t a = store_function(f->store, ACCOUNT, "a");
	int64_t b = store_function(f->store, ACCOUNT, "b");
	int64_t c = store_function(f->store, ACCOUNT, "c");
	struct thaw_events_count totals;
	int64_t *list;
	size_t count;

	enqueue(f->store, a, "a1", 100);
	enqueue(f->store, a, "a2", 100);
	enqueue(f->store, b, "b1", 200);
	enqueue(f->store, c, "c1", 300);
	assert_int_equal(thaw_events_functions(f->store, 250, 0, 9, &list, &count, ERR), 0);
	assert_int_equal(count, 2);
	assert_int_equal(list[0], a);
	assert_int_equal(list[1], b);
	free(list);
	assert_int_equal(thaw_events_functions(f->store, 300, a, 1, &list, &count, ERR), 1);
	assert_int_equal(list[0], b);
	free(list);
	take(f->store, b, 300, "b1");
	take(f->store, b, 300, NULL);
	assert_int_equal(thaw_events_functions(f->store, 250, 0, 9, &list, &count, ERR), 0);
	assert_int_equal(count, 1);
	free(list);
	assert_ok(thaw_events_count(f->store, 0, &totals, ERR));
	assert_int_equal(totals.waiting, 3);
	assert_int_equal(totals.taken, 1);
	assert_int_equal(totals.oldest_ms, 100);
	assert_ok(thaw_events_count(f->store, b, &totals, ERR));
	assert_int_equal(totals.waiting, 0);
	assert_int_equal(totals.taken, 1);
	/* A function takes its events along, taken or not. */
	assert_ok(thaw_functions_delete(f->store, b, ERR));
	assert_int_equal(thaw_events_finish(f->store, "b1", ERR), -ENOENT);
	assert_ok(thaw_functions_delete(f->store, a, ERR));
	take(f->store, 0, 999, "c1");
	take(f->store, 0, 999, NULL);
	assert_ok(thaw_events_finish(f->store, "c1", ERR));
	assert_ok(thaw_events_count(f->store, 0, &totals, ERR));
	assert_int_equal(totals.oldest_ms, THAW_STORE_UNSET);
	assert_ok(thaw_store_check(f->store, ERR));
}

static void test_restart(void **state)
{
	struct store_fixture *f = *state;
	int64_t id = store_function(f->store, ACCOUNT, "web");
	struct thaw_event event;

	enqueue(f->store, id, "taken", 1);
	enqueue(f->store, id, "done", 2);
	enqueue(f->store, id, "waits", 3);
	take(f->store, 0, 2, "taken");
	take(f->store, 0, 2, "done");
	assert_ok(thaw_events_finish(f->store, "done", ERR));
	store_reopen(f);
	assert_int_equal(thaw_events_finish(f->store, "taken", ERR), -ESTALE);
	assert_int_equal(thaw_events_take(f->store, 0, 3, &event, ERR), 1);
	assert_string_equal(event.id, "taken");
	assert_int_equal(event.handouts, 2);
	assert_int_equal(event.attempt, 0);
	thaw_event_clear(&event);
	take(f->store, 0, 3, "waits");
	take(f->store, 0, 3, NULL);
}

/* Finishing one event and queueing what follows from it are one step. */
static void test_in_scope(void **state)
{
	struct store_fixture *f = *state;
	int64_t id = store_function(f->store, ACCOUNT, "web");
	struct thaw_event next = event_of(id, "next", 5);

	enqueue(f->store, id, "first", 1);
	take(f->store, 0, 1, "first");
	{
		cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
		assert_ok(thaw_store_begin(&scope, f->store, ERR));
		assert_ok(thaw_events_finish(f->store, "first", ERR));
		assert_ok(thaw_events_enqueue(f->store, &next, ERR));
	}
	take(f->store, 0, 9, NULL);
	{
		cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
		assert_ok(thaw_store_begin(&scope, f->store, ERR));
		assert_ok(thaw_events_finish(f->store, "first", ERR));
		assert_ok(thaw_events_enqueue(f->store, &next, ERR));
		assert_ok(thaw_store_commit(&scope, ERR));
	}
	take(f->store, 0, 9, "next");
	take(f->store, 0, 9, NULL);
}

#define with_store(test) cmocka_unit_test_setup_teardown(test, store_setup, store_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_store(test_clock),     with_store(test_round),   with_store(test_refused),
		with_store(test_functions), with_store(test_restart), with_store(test_in_scope),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
