/* SPDX-License-Identifier: Apache-2.0 */
/* Layers and their versions. */
#include <errno.h>

#include "service_store_harness.h"
#include "host/store/layers.h"
#include "host/store/usage.h"

static struct thaw_layer_version layer_of(const char *name, const char *runtimes)
{
	return (struct thaw_layer_version){.account = (char *)ACCOUNT,
					   .name = (char *)name,
					   .description = (char *)"d",
					   .license = (char *)"MIT",
					   .runtimes = (char *)runtimes,
					   .architectures = (char *)"[\"x86_64\"]",
					   .code_digest = (char *)name,
					   .code_sha256 = (char *)"sha",
					   .code_size = 10,
					   .created_ms = 9};
}

static int64_t publish(struct thaw_store *store, const char *name, const char *runtimes)
{
	struct thaw_layer_version layer = layer_of(name, runtimes);
	int64_t number;

	assert_ok(thaw_layers_publish(store, &layer, &number, ERR));
	return number;
}

static void test_numbers(void **state)
{
	struct store_fixture *f = *state;
	struct thaw_layer_version layer;
	int64_t number = 77;

	assert_int_equal(publish(f->store, "l", "[]"), 1);
	assert_int_equal(publish(f->store, "l", "[]"), 2);
	assert_int_equal(publish(f->store, "m", "[]"), 1);
	assert_ok(thaw_layers_delete(f->store, ACCOUNT, "l", 2, ERR));
	assert_int_equal(thaw_layers_delete(f->store, ACCOUNT, "l", 2, ERR), -ENOENT);
	assert_int_equal(publish(f->store, "l", "[]"), 3);
	assert_ok(thaw_layers_delete(f->store, ACCOUNT, "l", 1, ERR));
	assert_ok(thaw_layers_delete(f->store, ACCOUNT, "l", 3, ERR));
	store_reopen(f);
	assert_int_equal(publish(f->store, "l", "[\"python3.11\"]"), 4);
	assert_ok(thaw_layers_get(f->store, ACCOUNT, "l", 4, &layer, ERR));
	assert_string_equal(layer.runtimes, "[\"python3.11\"]");
	assert_string_equal(layer.license, "MIT");
	assert_int_equal(layer.number, 4);
	thaw_layer_version_clear(&layer);
	assert_int_equal(thaw_layers_get(f->store, OTHER, "l", 4, &layer, ERR), -ENOENT);
	assert_int_equal(thaw_layers_get(f->store, ACCOUNT, "l", 3, &layer, ERR), -ENOENT);

	/* What is refused uses up no number. */
	layer = layer_of("l", "{}");
	assert_int_equal(thaw_layers_publish(f->store, &layer, &number, ERR), -EINVAL);
	layer = layer_of("l", "[");
	assert_int_equal(thaw_layers_publish(f->store, &layer, &number, ERR), -EINVAL);
	layer = layer_of("", "[]");
	assert_int_equal(thaw_layers_publish(f->store, &layer, &number, ERR), -EINVAL);
	layer = layer_of("l", "[]");
	layer.account = (char *)"999999999999";
	assert_int_equal(thaw_layers_publish(f->store, &layer, &number, ERR), -ENOENT);
	assert_int_equal(number, 77);
	assert_int_equal(publish(f->store, "l", "[]"), 5);
}

static void test_lists(void **state)
{
	struct store_fixture *f = *state;
	const struct thaw_layers_filter python = {.runtime = "python3.11"};
	const struct thaw_layers_filter arm = {.architecture = "arm64"};
	struct thaw_layer_version *list;
	size_t count;

	publish(f->store, "b", "[\"python3.11\",\"nodejs18.x\"]");
	publish(f->store, "b", "[\"nodejs18.x\"]");
	publish(f->store, "a", "[]");
	publish(f->store, "c", "[\"python3.11\"]");
	assert_int_equal(thaw_layers_list(f->store, ACCOUNT, NULL, NULL, 2, &list, &count, ERR), 1);
	assert_string_equal(list[0].name, "a");
	assert_string_equal(list[1].name, "b");
	assert_int_equal(list[1].number, 2);
	thaw_layer_versions_free(list, count);
	assert_int_equal(thaw_layers_list(f->store, ACCOUNT, NULL, "b", 2, &list, &count, ERR), 0);
	assert_int_equal(count, 1);
	thaw_layer_versions_free(list, count);
	/* The latest of those that fit. */
	assert_int_equal(thaw_layers_list(f->store, ACCOUNT, &python, NULL, 2, &list, &count, ERR),
			 0);
	assert_int_equal(count, 2);
	assert_string_equal(list[0].name, "b");
	assert_int_equal(list[0].number, 1);
	thaw_layer_versions_free(list, count);
	assert_int_equal(thaw_layers_list(f->store, ACCOUNT, &arm, NULL, 2, &list, &count, ERR), 0);
	assert_int_equal(count, 0);
	thaw_layer_versions_free(list, count);
	assert_int_equal(thaw_layers_list(f->store, OTHER, NULL, NULL, 2, &list, &count, ERR), 0);
	assert_int_equal(count, 0);
	thaw_layer_versions_free(list, count);

	assert_int_equal(thaw_layers_list_versions(f->store, ACCOUNT, "b", NULL, THAW_STORE_UNSET,
						   1, &list, &count, ERR),
			 1);
	assert_int_equal(list[0].number, 2);
	thaw_layer_versions_free(list, count);
	assert_int_equal(
		thaw_layers_list_versions(f->store, ACCOUNT, "b", NULL, 2, 1, &list, &count, ERR),
		0);
	assert_int_equal(list[0].number, 1);
	thaw_layer_versions_free(list, count);
	assert_int_equal(thaw_layers_list_versions(f->store, ACCOUNT, "b", &python,
						   THAW_STORE_UNSET, 5, &list, &count, ERR),
			 0);
	assert_int_equal(count, 1);
	thaw_layer_versions_free(list, count);
}

/* A function's layer outlives its deletion as a drive. */
static void test_used(void **state)
{
	struct store_fixture *f = *state;
	struct thaw_function_item item = store_item(ACCOUNT, "web");
	struct thaw_usage usage;

	publish(f->store, "tools", "[]");
	publish(f->store, "other", "[]");
	item.version.layer_digests = (char *)"[\"tools\"]";
	assert_ok(thaw_functions_create(f->store, &item, NULL, ERR));
	assert_ok(thaw_usage_account(f->store, ACCOUNT, &usage, ERR));
	assert_int_equal(usage.code_bytes, 120);
	assert_ok(thaw_layers_delete(f->store, ACCOUNT, "tools", 1, ERR));
	assert_ok(thaw_layers_delete(f->store, ACCOUNT, "other", 1, ERR));
	assert_int_equal(thaw_usage_digest(f->store, "tools", ERR), 1);
	assert_int_equal(thaw_usage_digest(f->store, "other", ERR), 0);
}

#define with_store(test) cmocka_unit_test_setup_teardown(test, store_setup, store_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_store(test_numbers),
		with_store(test_lists),
		with_store(test_used),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
