/* SPDX-License-Identifier: Apache-2.0 */
/* Functions, their versions, tags, reservations, and what is in use. */
#include <errno.h>

#include "service_store_harness.h"
#include "host/store/usage.h"

static void test_create(void **state)
{
	struct store_fixture *f = *state;
	struct thaw_function_item item = store_item(ACCOUNT, "web");
	struct thaw_function_item made, again;

	assert_ok(thaw_functions_create(f->store, &item, &made, ERR));
	assert_int_equal(made.function.next_version, 1);
	assert_int_equal(made.function.reserved, THAW_STORE_UNSET);
	assert_int_equal(made.version.version, 0);
	assert_int_equal(made.version.function_id, made.function.id);
	assert_int_equal(strlen(made.version.revision_id), 36);
	assert_string_equal(made.version.state_reason_code, "Creating");
	assert_null(made.version.snapshot);
	assert_int_equal(thaw_functions_create(f->store, &item, NULL, ERR), -EEXIST);
	assert_non_null(strstr(store_error.message, "\"web\" exists"));
	store_reopen(f);
	assert_ok(thaw_functions_get(f->store, ACCOUNT, "web", 0, &again, ERR));
	assert_string_equal(again.version.revision_id, made.version.revision_id);
	assert_string_equal(again.version.config, "{\"MemorySize\":128}");
	thaw_function_item_clear(&again);
	thaw_function_item_clear(&made);

	/* The same name in another account is another function. */
	assert_int_equal(thaw_functions_get(f->store, OTHER, "web", 0, NULL, ERR), -ENOENT);
	store_function(f->store, OTHER, "web");
	assert_int_equal(thaw_functions_get(f->store, ACCOUNT, "web", 1, NULL, ERR), -ENOENT);
	assert_int_equal(thaw_functions_get(f->store, ACCOUNT, "WEB", 0, NULL, ERR), -ENOENT);
}

static void test_refused(void **state)
{
	struct store_fixture *f = *state;
	struct thaw_function_item item = store_item("999999999999", "web");

	assert_int_equal(thaw_functions_create(f->store, &item, NULL, ERR), -ENOENT);
	item = store_item(ACCOUNT, "");
	assert_int_equal(thaw_functions_create(f->store, &item, NULL, ERR), -EINVAL);
	item = store_item(ACCOUNT, "web");
	item.version.config = (char *)"{\"MemorySize\":";
	assert_int_equal(thaw_functions_create(f->store, &item, NULL, ERR), -EINVAL);
	item = store_item(ACCOUNT, "web");
	item.version.layer_digests = (char *)"{}";
	assert_int_equal(thaw_functions_create(f->store, &item, NULL, ERR), -EINVAL);
	item = store_item(ACCOUNT, "web");
	item.version.state = (char *)"Sleeping";
	assert_int_equal(thaw_functions_create(f->store, &item, NULL, ERR), -EINVAL);
	item = store_item(ACCOUNT, "web");
	item.version.code_digest = NULL;
	assert_int_equal(thaw_functions_create(f->store, &item, NULL, ERR), -EINVAL);
	item = store_item(ACCOUNT, "web");
	item.function.tags = (char *)"x";
	assert_int_equal(thaw_functions_create(f->store, &item, NULL, ERR), -EINVAL);
	/* A value at the limit and one past it; nothing of a refused one stays. */
	char *big = malloc(THAW_STORE_VALUE_MAX + 2);
	assert_non_null(big);
	memset(big, 'x', THAW_STORE_VALUE_MAX + 1);
	big[THAW_STORE_VALUE_MAX + 1] = 0;
	item = store_item(ACCOUNT, "web");
	item.version.description = big;
	assert_int_equal(thaw_functions_create(f->store, &item, NULL, ERR), -EMSGSIZE);
	assert_int_equal(thaw_functions_get(f->store, ACCOUNT, "web", 0, NULL, ERR), -ENOENT);
	free(big);
	store_function(f->store, ACCOUNT, "web");
	assert_ok(thaw_store_check(f->store, ERR));
}

static void test_update(void **state)
{
	struct store_fixture *f = *state;
	int64_t id = store_function(f->store, ACCOUNT, "web");
	struct thaw_version_record before, next, made;

	assert_ok(thaw_versions_get(f->store, id, 0, &before, ERR));
	next = before;
	next.description = (char *)"new";
	assert_ok(thaw_versions_update(f->store, id, &next, before.revision_id, &made, ERR));
	assert_string_equal(made.description, "new");
	assert_string_not_equal(made.revision_id, before.revision_id);
	next.description = (char *)"newer";
	assert_int_equal(thaw_versions_update(f->store, id, &next, before.revision_id, NULL, ERR),
			 -ESTALE);
	assert_non_null(strstr(store_error.message, made.revision_id));
	assert_int_equal(thaw_versions_update(f->store, id, &next, "", NULL, ERR), -ESTALE);
	assert_ok(thaw_versions_update(f->store, id, &next, made.revision_id, NULL, ERR));
	assert_int_equal(thaw_versions_update(f->store, id + 9, &next, NULL, NULL, ERR), -ENOENT);
	thaw_version_clear(&made);
	thaw_version_clear(&before);
}

static void test_publish(void **state)
{
	struct store_fixture *f = *state;
	int64_t id = store_function(f->store, ACCOUNT, "web");
	struct thaw_version_publish publish = {.state = "Pending", .now_ms = 3000};
	struct thaw_version_record made, latest;

	assert_int_equal(thaw_versions_publish(f->store, id, &publish, &made, ERR), 1);
	assert_int_equal(made.version, 1);
	assert_string_equal(made.state, "Pending");
	assert_string_equal(made.last_update_status, "Successful");
	assert_int_equal(made.last_modified_ms, 3000);
	thaw_version_clear(&made);
	/* Unchanged: the same, though $LATEST's state is another now. */
	struct thaw_version_expected any = {0};
	struct thaw_version_record next = store_item("", "").version;
	next.state = (char *)"Active";
	assert_ok(thaw_versions_set_state(f->store, id, 0, &any, &next, NULL, ERR));
	assert_int_equal(thaw_versions_publish(f->store, id, &publish, &made, ERR), 0);
	assert_int_equal(made.version, 1);
	thaw_version_clear(&made);
	/* Another description is a change, and so are code, layers, and configuration. */
	publish.description = "first";
	assert_int_equal(thaw_versions_publish(f->store, id, &publish, &made, ERR), 1);
	assert_int_equal(made.version, 2);
	assert_string_equal(made.description, "first");
	thaw_version_clear(&made);
	assert_int_equal(thaw_versions_publish(f->store, id, &publish, NULL, ERR), 0);
	publish.description = NULL;
	next.layer_digests = (char *)"[\"l\"]";
	assert_ok(thaw_versions_update(f->store, id, &next, NULL, NULL, ERR));
	assert_int_equal(thaw_versions_publish(f->store, id, &publish, NULL, ERR), 1);
	next.config = (char *)"{\"MemorySize\":256}";
	assert_ok(thaw_versions_update(f->store, id, &next, NULL, NULL, ERR));
	assert_int_equal(thaw_versions_publish(f->store, id, &publish, NULL, ERR), 1);
	assert_int_equal(thaw_versions_publish(f->store, id, &publish, NULL, ERR), 0);

	/* What is expected of $LATEST. */
	assert_ok(thaw_versions_get(f->store, id, 0, &latest, ERR));
	store_change(f->store, id, "five");
	publish.expected_revision = latest.revision_id;
	assert_int_equal(thaw_versions_publish(f->store, id, &publish, NULL, ERR), -ESTALE);
	publish.expected_revision = NULL;
	publish.expected_sha256 = "other";
	assert_int_equal(thaw_versions_publish(f->store, id, &publish, NULL, ERR), -EINVAL);
	publish.expected_sha256 = "sha";
	assert_int_equal(thaw_versions_publish(f->store, id, &publish, &made, ERR), 1);
	assert_int_equal(made.version, 5);
	thaw_version_clear(&made);
	thaw_version_clear(&latest);
	assert_int_equal(thaw_versions_publish(f->store, id + 9, &publish, NULL, ERR), -ENOENT);
	publish.state = "Sleeping";
	store_change(f->store, id, "six");
	assert_int_equal(thaw_versions_publish(f->store, id, &publish, NULL, ERR), -EINVAL);
	/* The failure has not used up a number. */
	assert_int_equal(store_publish(f->store, id, "seven"), 6);
	/* A number is used once, and what was deleted is not found again as the last one. */
	assert_ok(thaw_versions_delete(f->store, id, 6, ERR));
	publish = (struct thaw_version_publish){.state = "Active"};
	assert_int_equal(thaw_versions_publish(f->store, id, &publish, &made, ERR), 1);
	assert_int_equal(made.version, 7);
	thaw_version_clear(&made);
}

static void test_numbers_after_deletion(void **state)
{
	struct store_fixture *f = *state;
	int64_t id = store_function(f->store, ACCOUNT, "web");

	assert_int_equal(store_publish(f->store, id, "a"), 1);
	assert_int_equal(store_publish(f->store, id, "b"), 2);
	assert_ok(thaw_functions_delete(f->store, id, ERR));
	assert_int_equal(thaw_functions_delete(f->store, id, ERR), -ENOENT);
	assert_int_equal(thaw_functions_get(f->store, ACCOUNT, "web", 0, NULL, ERR), -ENOENT);
	int64_t again = store_function(f->store, ACCOUNT, "web");
	assert_true(again > id);
	assert_int_equal(store_publish(f->store, again, "a"), 3);
	assert_ok(thaw_functions_delete(f->store, again, ERR));
	assert_int_equal(store_publish(f->store, store_function(f->store, ACCOUNT, "web"), "a"), 4);
	assert_int_equal(store_publish(f->store, store_function(f->store, OTHER, "web"), "a"), 1);
	assert_ok(thaw_store_check(f->store, ERR));
}

static void test_versions(void **state)
{
	struct store_fixture *f = *state;
	int64_t id = store_function(f->store, ACCOUNT, "web");
	struct thaw_version_record *list;
	size_t count;

	store_publish(f->store, id, "a");
	store_publish(f->store, id, "b");
	store_publish(f->store, id, "c");
	assert_int_equal(thaw_versions_list(f->store, id, -1, 4, &list, &count, ERR), 0);
	assert_int_equal(count, 4);
	assert_int_equal(list[0].version, 0);
	assert_string_equal(list[2].code_digest, "b");
	thaw_versions_free(list, count);
	assert_int_equal(thaw_versions_list(f->store, id, 1, 1, &list, &count, ERR), 1);
	assert_int_equal(list[0].version, 2);
	thaw_versions_free(list, count);
	assert_int_equal(thaw_versions_delete(f->store, id, 0, ERR), -EINVAL);
	assert_int_equal(thaw_versions_delete(f->store, id, -1, ERR), -EINVAL);
	assert_int_equal(thaw_versions_delete(f->store, id, 4, ERR), -ENOENT);
	assert_ok(thaw_versions_delete(f->store, id, 2, ERR));
	assert_int_equal(thaw_versions_get(f->store, id, 2, NULL, ERR), -ENOENT);
	assert_int_equal(thaw_versions_list(f->store, id, 0, 9, &list, &count, ERR), 0);
	assert_int_equal(count, 2);
	assert_int_equal(list[1].version, 3);
	thaw_versions_free(list, count);
}

static void test_list(void **state)
{
	struct store_fixture *f = *state;
	struct thaw_function_item *list;
	size_t count;
	char name[8];

	for (int i = 9; i >= 0; i--) {
		snprintf(name, sizeof(name), "f%d", i);
		int64_t id = store_function(f->store, ACCOUNT, name);
		if (i % 2)
			store_publish(f->store, id, "x");
	}
	store_function(f->store, OTHER, "f");
	assert_int_equal(
		thaw_functions_list(f->store, ACCOUNT, false, NULL, 0, 10, &list, &count, ERR), 0);
	assert_int_equal(count, 10);
	assert_string_equal(list[3].function.name, "f3");
	assert_int_equal(list[3].version.version, 0);
	thaw_function_items_free(list, count);
	assert_int_equal(
		thaw_functions_list(f->store, ACCOUNT, false, "f3", 0, 5, &list, &count, ERR), 1);
	assert_string_equal(list[0].function.name, "f4");
	thaw_function_items_free(list, count);
	/* All versions, one at a time: 15 items, in order. */
	char after[8] = "";
	int64_t after_version = -1;
	for (int i = 0; i < 15; i++) {
		int rc = thaw_functions_list(f->store, ACCOUNT, true, after, after_version, 1,
					     &list, &count, ERR);
		assert_int_equal(rc, i < 14 ? 1 : 0);
		assert_int_equal(count, 1);
		snprintf(name, sizeof(name), "f%d", i / 3 * 2 + (i % 3 > 0));
		assert_string_equal(list[0].function.name, name);
		assert_int_equal(list[0].version.version, i % 3 == 2);
		snprintf(after, sizeof(after), "%s", list[0].function.name);
		after_version = list[0].version.version;
		thaw_function_items_free(list, count);
	}
	assert_int_equal(thaw_functions_list(f->store, ACCOUNT, true, after, after_version, 1,
					     &list, &count, ERR),
			 0);
	assert_int_equal(count, 0);
	thaw_function_items_free(list, count);
}

static void test_states(void **state)
{
	struct store_fixture *f = *state;
	int64_t id = store_function(f->store, ACCOUNT, "web");
	struct thaw_version_record next = {.state = (char *)"Active",
					   .last_update_status = (char *)"Successful",
					   .snapshot = (char *)"web-1"};
	struct thaw_version_expected expected = {.state = "Pending"};
	struct thaw_version_record made, *list;
	size_t count;

	assert_int_equal(thaw_versions_unfinished(f->store, 0, -1, 9, &list, &count, ERR), 0);
	assert_int_equal(count, 1);
	assert_int_equal(list[0].function_id, id);
	thaw_versions_free(list, count);
	assert_ok(thaw_versions_set_state(f->store, id, 0, &expected, &next, &made, ERR));
	assert_string_equal(made.state, "Active");
	assert_null(made.state_reason);
	assert_string_equal(made.snapshot, "web-1");
	assert_string_equal(made.config, "{\"MemorySize\":128}");
	assert_int_equal(thaw_versions_set_state(f->store, id, 0, &expected, &next, NULL, ERR),
			 -ESTALE);
	assert_non_null(strstr(store_error.message, "Active"));
	expected = (struct thaw_version_expected){.last_update_status = "InProgress"};
	assert_int_equal(thaw_versions_set_state(f->store, id, 0, &expected, &next, NULL, ERR),
			 -ESTALE);
	expected = (struct thaw_version_expected){.revision_id = made.revision_id};
	next.last_update_status = (char *)"InProgress";
	assert_ok(thaw_versions_set_state(f->store, id, 0, &expected, &next, NULL, ERR));
	assert_int_equal(thaw_versions_set_state(f->store, id, 0, &expected, &next, NULL, ERR),
			 -ESTALE);
	assert_int_equal(thaw_versions_unfinished(f->store, 0, -1, 9, &list, &count, ERR), 0);
	assert_int_equal(count, 1);
	thaw_versions_free(list, count);
	assert_int_equal(thaw_versions_unfinished(f->store, id, 0, 9, &list, &count, ERR), 0);
	assert_int_equal(count, 0);
	thaw_versions_free(list, count);
	assert_int_equal(thaw_versions_set_state(f->store, id, 1, &expected, &next, NULL, ERR),
			 -ENOENT);
	assert_int_equal(thaw_usage_snapshot(f->store, "web-1", ERR), 1);
	assert_int_equal(thaw_usage_snapshot(f->store, "web-2", ERR), 0);
	thaw_version_clear(&made);
}

static void test_reserved_and_tags(void **state)
{
	struct store_fixture *f = *state;
	int64_t a = store_function(f->store, ACCOUNT, "a");
	int64_t b = store_function(f->store, ACCOUNT, "b");
	struct thaw_function_item item;
	int64_t sum;

	assert_ok(thaw_functions_set_reserved(f->store, a, 0, ERR));
	assert_ok(thaw_functions_set_reserved(f->store, b, 7, ERR));
	assert_ok(thaw_functions_set_reserved(f->store, store_function(f->store, OTHER, "c"), 99,
					      ERR));
	assert_ok(thaw_functions_reserved_sum(f->store, ACCOUNT, 0, &sum, ERR));
	assert_int_equal(sum, 7);
	assert_ok(thaw_functions_reserved_sum(f->store, ACCOUNT, b, &sum, ERR));
	assert_int_equal(sum, 0);
	assert_ok(thaw_functions_get_by_id(f->store, a, 0, &item, ERR));
	assert_int_equal(item.function.reserved, 0);
	thaw_function_item_clear(&item);
	assert_ok(thaw_functions_set_reserved(f->store, b, THAW_STORE_UNSET, ERR));
	assert_ok(thaw_functions_set_tags(f->store, b, "{\"k\":\"\\u00e9\"}", ERR));
	assert_int_equal(thaw_functions_set_tags(f->store, b, "{", ERR), -EINVAL);
	assert_int_equal(thaw_functions_set_tags(f->store, b, NULL, ERR), -EINVAL);
	assert_int_equal(thaw_functions_set_tags(f->store, b + 9, "{}", ERR), -ENOENT);
	assert_ok(thaw_functions_get_by_id(f->store, b, 0, &item, ERR));
	assert_int_equal(item.function.reserved, THAW_STORE_UNSET);
	assert_string_equal(item.function.tags, "{\"k\":\"\\u00e9\"}");
	thaw_function_item_clear(&item);
}

static void test_usage(void **state)
{
	struct store_fixture *f = *state;
	int64_t id = store_function(f->store, ACCOUNT, "web");
	struct thaw_version_record next = store_item("", "").version;
	struct thaw_usage usage;
	char **list;
	size_t count;

	store_publish(f->store, id, "b");
	next.code_digest = (char *)"a";
	next.layer_digests = (char *)"[\"d\", \"b\", \"c\"]";
	assert_ok(thaw_versions_update(f->store, id, &next, NULL, NULL, ERR));
	assert_int_equal(thaw_usage_digests(f->store, NULL, 4, &list, &count, ERR), 0);
	assert_int_equal(count, 4);
	assert_string_equal(list[0], "a");
	assert_string_equal(list[1], "b");
	assert_string_equal(list[3], "d");
	thaw_usage_digests_free(list, count);
	assert_int_equal(thaw_usage_digests(f->store, "b", 1, &list, &count, ERR), 1);
	assert_string_equal(list[0], "c");
	thaw_usage_digests_free(list, count);
	assert_int_equal(thaw_usage_digest(f->store, "d", ERR), 1);
	assert_int_equal(thaw_usage_digest(f->store, "digest", ERR), 0);
	assert_ok(thaw_usage_account(f->store, ACCOUNT, &usage, ERR));
	assert_int_equal(usage.functions, 1);
	assert_int_equal(usage.code_bytes, 200);
	assert_ok(thaw_usage_account(f->store, OTHER, &usage, ERR));
	assert_int_equal(usage.functions, 0);
	assert_int_equal(usage.code_bytes, 0);
	assert_ok(thaw_functions_delete(f->store, id, ERR));
	assert_int_equal(thaw_usage_digests(f->store, NULL, 4, &list, &count, ERR), 0);
	assert_int_equal(count, 0);
	thaw_usage_digests_free(list, count);
}

#define with_store(test) cmocka_unit_test_setup_teardown(test, store_setup, store_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_store(test_create),
		with_store(test_refused),
		with_store(test_update),
		with_store(test_publish),
		with_store(test_numbers_after_deletion),
		with_store(test_versions),
		with_store(test_list),
		with_store(test_states),
		with_store(test_reserved_and_tags),
		with_store(test_usage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
