/* SPDX-License-Identifier: Apache-2.0 */
/* Aliases, and what hangs on a function and a qualifier: policies, configurations. */
#include <errno.h>

#include "service_store_harness.h"
#include "host/store/aliases.h"
#include "host/store/event_config.h"
#include "host/store/policies.h"
#include "host/store/provisioned.h"

static struct thaw_alias alias_of(int64_t function, const char *name, int64_t version)
{
	return (struct thaw_alias){.function_id = function,
				   .name = (char *)name,
				   .version = version,
				   .description = (char *)"",
				   .second_version = THAW_STORE_UNSET};
}

static void alias_make(struct thaw_store *store, int64_t function, const char *name,
		       int64_t version)
{
	struct thaw_alias alias = alias_of(function, name, version);

	assert_ok(thaw_aliases_create(store, &alias, NULL, ERR));
}

/* A function with versions 1 to 3. */
static int64_t function_make(struct thaw_store *store, const char *name)
{
	int64_t id = store_function(store, ACCOUNT, name);

	store_publish(store, id, "a");
	store_publish(store, id, "b");
	store_publish(store, id, "c");
	return id;
}

static void test_aliases(void **state)
{
	struct store_fixture *f = *state;
	int64_t id = function_make(f->store, "web");
	struct thaw_alias alias = alias_of(id, "live", 1);
	struct thaw_alias made, changed;

	assert_ok(thaw_aliases_create(f->store, &alias, &made, ERR));
	assert_int_equal(made.second_version, THAW_STORE_UNSET);
	assert_int_equal(thaw_aliases_create(f->store, &alias, NULL, ERR), -EEXIST);
	alias.name = (char *)"x";
	alias.version = 4;
	assert_int_equal(thaw_aliases_create(f->store, &alias, NULL, ERR), -ENOENT);
	alias.version = 1;
	alias.second_version = 4;
	assert_int_equal(thaw_aliases_create(f->store, &alias, NULL, ERR), -ENOENT);
	alias.second_version = 1;
	assert_int_equal(thaw_aliases_create(f->store, &alias, NULL, ERR), -EINVAL);
	alias.second_version = 2;
	alias.second_weight = 1.001;
	assert_int_equal(thaw_aliases_create(f->store, &alias, NULL, ERR), -EINVAL);
	alias.second_weight = -0.001;
	assert_int_equal(thaw_aliases_create(f->store, &alias, NULL, ERR), -EINVAL);
	alias.second_weight = 1.0;
	alias.name = (char *)"123";
	assert_int_equal(thaw_aliases_create(f->store, &alias, NULL, ERR), -EINVAL);
	alias.name = (char *)"";
	assert_int_equal(thaw_aliases_create(f->store, &alias, NULL, ERR), -EINVAL);
	alias.name = (char *)"x";
	alias.function_id = id + 9;
	assert_int_equal(thaw_aliases_create(f->store, &alias, NULL, ERR), -ENOENT);

	/* Updates under a revision. */
	alias = alias_of(id, "live", 2);
	alias.second_version = 3;
	alias.second_weight = 0.25;
	assert_ok(thaw_aliases_update(f->store, &alias, made.revision_id, &changed, ERR));
	assert_string_not_equal(changed.revision_id, made.revision_id);
	assert_true(changed.second_weight == 0.25);
	assert_int_equal(thaw_aliases_update(f->store, &alias, made.revision_id, NULL, ERR),
			 -ESTALE);
	alias.version = 9;
	assert_int_equal(thaw_aliases_update(f->store, &alias, NULL, NULL, ERR), -ENOENT);
	thaw_alias_clear(&made);
	assert_ok(thaw_aliases_get(f->store, id, "live", &made, ERR));
	assert_int_equal(made.version, 2);
	assert_int_equal(made.second_version, 3);
	assert_string_equal(made.revision_id, changed.revision_id);
	thaw_alias_clear(&made);
	thaw_alias_clear(&changed);
	alias.name = (char *)"gone";
	assert_int_equal(thaw_aliases_update(f->store, &alias, NULL, NULL, ERR), -ENOENT);
	assert_int_equal(thaw_aliases_get(f->store, id, "LIVE", &made, ERR), -ENOENT);

	/* Both versions are held. */
	assert_int_equal(thaw_versions_delete(f->store, id, 2, ERR), -EBUSY);
	assert_int_equal(thaw_versions_delete(f->store, id, 3, ERR), -EBUSY);
	assert_ok(thaw_versions_delete(f->store, id, 1, ERR));
	assert_ok(thaw_aliases_delete(f->store, id, "live", ERR));
	assert_int_equal(thaw_aliases_delete(f->store, id, "live", ERR), -ENOENT);
	assert_ok(thaw_versions_delete(f->store, id, 2, ERR));
}

static void test_list(void **state)
{
	struct store_fixture *f = *state;
	int64_t id = function_make(f->store, "web");
	int64_t other = function_make(f->store, "other");
	struct thaw_alias second = alias_of(id, "d", 3);
	struct thaw_alias *list;
	size_t count;

	alias_make(f->store, id, "c", 1);
	alias_make(f->store, id, "a", 2);
	alias_make(f->store, id, "b", 1);
	alias_make(f->store, other, "aa", 1);
	second.second_version = 1;
	second.second_weight = 0.5;
	assert_ok(thaw_aliases_create(f->store, &second, NULL, ERR));
	assert_int_equal(thaw_aliases_list(f->store, id, -1, NULL, 3, &list, &count, ERR), 1);
	assert_string_equal(list[2].name, "c");
	thaw_aliases_free(list, count);
	assert_int_equal(thaw_aliases_list(f->store, id, -1, "c", 3, &list, &count, ERR), 0);
	assert_int_equal(count, 1);
	thaw_aliases_free(list, count);
	assert_int_equal(thaw_aliases_list(f->store, id, 1, NULL, 3, &list, &count, ERR), 0);
	assert_int_equal(count, 3);
	assert_string_equal(list[0].name, "b");
	assert_string_equal(list[2].name, "d");
	thaw_aliases_free(list, count);
	assert_int_equal(thaw_aliases_list(f->store, id, 9, NULL, 3, &list, &count, ERR), 0);
	assert_int_equal(count, 0);
	thaw_aliases_free(list, count);
}

static int allow(struct thaw_store *store, int64_t id, const char *qualifier, const char *sid,
		 const char *revision)
{
	struct thaw_policy_statement statement = {.id = (char *)sid,
						  .statement = (char *)"{\"Effect\":\"Allow\"}"};

	return thaw_policies_add(store, id, qualifier, &statement, revision, ERR);
}

static void test_policies(void **state)
{
	struct store_fixture *f = *state;
	int64_t id = function_make(f->store, "web");
	struct thaw_policy_statement bad = {.id = (char *)"bad", .statement = (char *)"{"};
	struct thaw_policy policy, later;

	alias_make(f->store, id, "live", 1);
	assert_int_equal(thaw_policies_get(f->store, id, "", &policy, ERR), -ENOENT);
	assert_int_equal(allow(f->store, id, "", "s", "no-revision"), -ESTALE);
	assert_ok(allow(f->store, id, "", "z", NULL));
	assert_int_equal(allow(f->store, id, "", "z", NULL), -EEXIST);
	assert_ok(allow(f->store, id, "", "a", NULL));
	assert_int_equal(thaw_policies_add(f->store, id, "", &bad, NULL, ERR), -EINVAL);
	assert_int_equal(allow(f->store, id, "", "", NULL), -EINVAL);
	assert_ok(thaw_policies_get(f->store, id, "", &policy, ERR));
	assert_int_equal(policy.count, 2);
	assert_string_equal(policy.statements[0].id, "z");
	assert_string_equal(policy.statements[1].statement, "{\"Effect\":\"Allow\"}");
	/* Each qualifier has its own; only those that exist. */
	assert_ok(allow(f->store, id, "live", "z", NULL));
	assert_ok(allow(f->store, id, "2", "z", NULL));
	assert_ok(allow(f->store, id, "$LATEST", "z", NULL));
	assert_int_equal(allow(f->store, id, "4", "z", NULL), -ENOENT);
	assert_int_equal(allow(f->store, id, "0", "z", NULL), -ENOENT);
	assert_int_equal(allow(f->store, id, "02", "z", NULL), -ENOENT);
	assert_int_equal(allow(f->store, id, "dead", "z", NULL), -ENOENT);
	assert_int_equal(allow(f->store, id + 9, "", "z", NULL), -ENOENT);

	assert_int_equal(thaw_policies_remove(f->store, id, "", "q", NULL, ERR), -ENOENT);
	assert_int_equal(thaw_policies_remove(f->store, id, "", "z", "other", ERR), -ESTALE);
	assert_ok(thaw_policies_remove(f->store, id, "", "z", policy.revision_id, ERR));
	assert_ok(thaw_policies_get(f->store, id, "", &later, ERR));
	assert_int_equal(later.count, 1);
	assert_string_not_equal(later.revision_id, policy.revision_id);
	assert_int_equal(allow(f->store, id, "", "n", policy.revision_id), -ESTALE);
	assert_ok(allow(f->store, id, "", "n", later.revision_id));
	assert_ok(thaw_policies_remove(f->store, id, "", "a", NULL, ERR));
	assert_ok(thaw_policies_remove(f->store, id, "", "n", NULL, ERR));
	thaw_policy_clear(&policy);
	thaw_policy_clear(&later);
	assert_int_equal(thaw_policies_get(f->store, id, "", &policy, ERR), -ENOENT);
	assert_int_equal(thaw_policies_remove(f->store, id, "", "a", NULL, ERR), -ENOENT);

	/* An alias or version that comes again begins with none. */
	assert_ok(thaw_aliases_delete(f->store, id, "live", ERR));
	alias_make(f->store, id, "live", 1);
	assert_int_equal(thaw_policies_get(f->store, id, "live", &policy, ERR), -ENOENT);
	assert_ok(thaw_versions_delete(f->store, id, 2, ERR));
	assert_int_equal(thaw_policies_get(f->store, id, "2", &policy, ERR), -ENOENT);
	assert_ok(thaw_store_check(f->store, ERR));
}

static void test_event_configs(void **state)
{
	struct store_fixture *f = *state;
	int64_t id = function_make(f->store, "web");
	struct thaw_event_config config = {.function_id = id,
					   .qualifier = (char *)"",
					   .maximum_retries = 0,
					   .maximum_age_s = THAW_STORE_UNSET,
					   .last_modified_ms = 5};
	struct thaw_event_config found, *list;
	size_t count;

	assert_ok(thaw_event_configs_put(f->store, &config, ERR));
	config.qualifier = (char *)"1";
	config.destinations = (char *)"{\"OnFailure\":{}}";
	assert_ok(thaw_event_configs_put(f->store, &config, ERR));
	config.destinations = (char *)"nothing";
	assert_int_equal(thaw_event_configs_put(f->store, &config, ERR), -EINVAL);
	config.destinations = NULL;
	config.qualifier = (char *)"dead";
	assert_int_equal(thaw_event_configs_put(f->store, &config, ERR), -ENOENT);
	assert_ok(thaw_event_configs_get(f->store, id, "1", &found, ERR));
	assert_int_equal(found.maximum_retries, 0);
	assert_int_equal(found.maximum_age_s, THAW_STORE_UNSET);
	assert_string_equal(found.destinations, "{\"OnFailure\":{}}");
	thaw_event_config_clear(&found);
	config.qualifier = (char *)"1";
	config.maximum_retries = THAW_STORE_UNSET;
	config.maximum_age_s = 60;
	assert_ok(thaw_event_configs_put(f->store, &config, ERR));
	assert_int_equal(thaw_event_configs_list(f->store, id, NULL, 1, &list, &count, ERR), 1);
	assert_string_equal(list[0].qualifier, "");
	thaw_event_configs_free(list, count);
	assert_int_equal(thaw_event_configs_list(f->store, id, "", 1, &list, &count, ERR), 0);
	assert_string_equal(list[0].qualifier, "1");
	assert_int_equal(list[0].maximum_age_s, 60);
	assert_null(list[0].destinations);
	thaw_event_configs_free(list, count);
	assert_ok(thaw_event_configs_delete(f->store, id, "", ERR));
	assert_int_equal(thaw_event_configs_delete(f->store, id, "", ERR), -ENOENT);
	assert_ok(thaw_versions_delete(f->store, id, 1, ERR));
	assert_int_equal(thaw_event_configs_get(f->store, id, "1", &found, ERR), -ENOENT);
}

static void test_provisioned(void **state)
{
	struct store_fixture *f = *state;
	int64_t id = function_make(f->store, "web");
	struct thaw_provisioned wanted = {.function_id = id,
					  .qualifier = (char *)"live",
					  .requested = 5,
					  .status = (char *)"IN_PROGRESS",
					  .last_modified_ms = 5};
	struct thaw_provisioned found, *list;
	int64_t sum;
	size_t count;

	assert_int_equal(thaw_provisioned_put(f->store, &wanted, ERR), -ENOENT);
	alias_make(f->store, id, "live", 1);
	assert_ok(thaw_provisioned_put(f->store, &wanted, ERR));
	wanted.requested = 0;
	assert_int_equal(thaw_provisioned_put(f->store, &wanted, ERR), -EINVAL);
	wanted.requested = 7;
	wanted.status = (char *)"READY?";
	assert_int_equal(thaw_provisioned_put(f->store, &wanted, ERR), -EINVAL);
	wanted.status = (char *)"IN_PROGRESS";
	wanted.qualifier = (char *)"2";
	assert_ok(thaw_provisioned_put(f->store, &wanted, ERR));
	assert_ok(thaw_provisioned_sum(f->store, id, NULL, &sum, ERR));
	assert_int_equal(sum, 12);
	assert_ok(thaw_provisioned_sum(f->store, id, "live", &sum, ERR));
	assert_int_equal(sum, 7);
	assert_ok(thaw_provisioned_set_status(f->store, id, "2", 7, "FAILED", "why", ERR));
	assert_int_equal(thaw_provisioned_set_status(f->store, id, "2", 6, "READY", NULL, ERR),
			 -ESTALE);
	assert_int_equal(thaw_provisioned_set_status(f->store, id, "3", 6, "READY", NULL, ERR),
			 -ENOENT);
	assert_ok(thaw_provisioned_get(f->store, id, "2", &found, ERR));
	assert_string_equal(found.status, "FAILED");
	assert_string_equal(found.status_reason, "why");
	thaw_provisioned_clear(&found);
	assert_int_equal(thaw_provisioned_list(f->store, id, "2", 9, &list, &count, ERR), 0);
	assert_int_equal(count, 1);
	assert_string_equal(list[0].qualifier, "live");
	thaw_provisioned_free(list, count);
	assert_int_equal(thaw_provisioned_list_all(f->store, 0, NULL, 1, &list, &count, ERR), 1);
	assert_string_equal(list[0].qualifier, "2");
	thaw_provisioned_free(list, count);
	assert_int_equal(thaw_provisioned_list_all(f->store, id, "2", 1, &list, &count, ERR), 0);
	assert_int_equal(count, 1);
	thaw_provisioned_free(list, count);
	assert_ok(thaw_provisioned_delete(f->store, id, "2", ERR));
	assert_int_equal(thaw_provisioned_delete(f->store, id, "2", ERR), -ENOENT);
	assert_ok(thaw_aliases_delete(f->store, id, "live", ERR));
	assert_int_equal(thaw_provisioned_get(f->store, id, "live", &found, ERR), -ENOENT);
}

/* Deleting a function leaves nothing of it, and the next of that name starts with nothing. */
static void test_function_goes(void **state)
{
	struct store_fixture *f = *state;
	int64_t id = function_make(f->store, "web");
	struct thaw_event_config config = {.function_id = id, .qualifier = (char *)"live"};
	struct thaw_provisioned wanted = {.function_id = id,
					  .qualifier = (char *)"live",
					  .requested = 1,
					  .status = (char *)"READY"};
	struct thaw_policy policy;

	alias_make(f->store, id, "live", 1);
	assert_ok(allow(f->store, id, "live", "s", NULL));
	assert_ok(allow(f->store, id, "", "s", NULL));
	assert_ok(thaw_event_configs_put(f->store, &config, ERR));
	assert_ok(thaw_provisioned_put(f->store, &wanted, ERR));
	assert_ok(thaw_functions_delete(f->store, id, ERR));
	assert_int_equal(thaw_aliases_get(f->store, id, "live", NULL, ERR), -ENOENT);
	assert_int_equal(thaw_versions_get(f->store, id, 1, NULL, ERR), -ENOENT);
	assert_int_equal(thaw_policies_get(f->store, id, "", &policy, ERR), -ENOENT);
	assert_int_equal(thaw_event_configs_get(f->store, id, "live", NULL, ERR), -ENOENT);
	assert_int_equal(thaw_provisioned_get(f->store, id, "live", NULL, ERR), -ENOENT);
	assert_int_equal(allow(f->store, id, "", "s", NULL), -ENOENT);
	int64_t again = store_function(f->store, ACCOUNT, "web");
	assert_int_equal(thaw_policies_get(f->store, again, "", &policy, ERR), -ENOENT);
	assert_ok(thaw_store_check(f->store, ERR));
}

#define with_store(test) cmocka_unit_test_setup_teardown(test, store_setup, store_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_store(test_aliases),     with_store(test_list),
		with_store(test_policies),    with_store(test_event_configs),
		with_store(test_provisioned), with_store(test_function_goes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
