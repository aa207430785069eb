/* SPDX-License-Identifier: Apache-2.0 */
/* Reserved and provisioned concurrency, and the account's limits, through the API. */
#include <time.h>

#include "service_operations_harness.h"
#include "host/store/aliases.h"
#include "host/store/provisioned.h"

#define RESERVE(name)      "/2017-10-31/functions/" name "/concurrency"
#define RESERVED(name)     "/2019-09-30/functions/" name "/concurrency"
#define PROVIDED(name)     "/2019-09-30/functions/" name "/provisioned-concurrency"
#define RESERVATION(count) "{\"ReservedConcurrentExecutions\":" count "}"
#define PROVISION(count)   "{\"ProvisionedConcurrentExecutions\":" count "}"
#define SETTINGS           "/2016-08-19/account-settings"
#define INVALID            "InvalidParameterValueException"

static void alias(struct operations_fixture *f, int64_t id, const char *name, int64_t version)
{
	struct thaw_alias alias = {.function_id = id,
				   .name = (char *)name,
				   .version = version,
				   .description = (char *)"",
				   .second_version = THAW_STORE_UNSET};

	assert_ok(thaw_aliases_create(f->service.store, &alias, NULL, ERR));
}

static void test_reserved(void **state)
{
	struct operations_fixture *f = *state;
	int64_t id = store_function(f->service.store, ACCOUNT, "web");

	store_function(f->service.store, ACCOUNT, "other");
	store_function(f->service.store, OTHER, "theirs");
	assert_answer(f, 200, "GET", RESERVED("web"), NULL);
	assert_string_equal(ask(f, "GET", RESERVED("web"), NULL)->raw, "{}");
	assert_error(f, INVALID, "below its minimum value of [100].", "PUT", RESERVE("web"),
		     RESERVATION("901"));
	assert_int_equal(f->changed, 0);
	assert_answer(f, 200, "PUT", RESERVE("web"), RESERVATION("900"));
	assert_int_equal(said_number("ReservedConcurrentExecutions"), 900);
	assert_int_equal(f->changed_id, id);
	assert_answer(f, 200, "GET", RESERVED("web"), NULL);
	assert_int_equal(said_number("ReservedConcurrentExecutions"), 900);
	assert_error(f, INVALID, "[100]", "PUT", RESERVE("other"), RESERVATION("1"));
	/* Nothing for itself is always to be had. */
	assert_answer(f, 200, "PUT", RESERVE("other"), RESERVATION("0"));
	/* Its own does not count against it. */
	assert_answer(f, 200, "PUT", RESERVE("web"), RESERVATION("899"));
	assert_answer(f, 200, "PUT", RESERVE("other"), RESERVATION("1"));
	/* Another account's is its own. */
	ask_as(f, OTHER);
	assert_answer(f, 200, "PUT", RESERVE("theirs"), RESERVATION("900"));
	assert_answer(f, 404, "PUT", RESERVE("web"), RESERVATION("0"));
	ask_as(f, ACCOUNT);

	assert_answer(f, 200, "GET", SETTINGS, NULL);
	assert_int_equal(said_number("AccountLimit.ConcurrentExecutions"), 1000);
	assert_int_equal(said_number("AccountLimit.UnreservedConcurrentExecutions"), 100);
	assert_int_equal(said_number("AccountLimit.CodeSizeUnzipped"), 262144000);
	assert_int_equal(said_number("AccountLimit.CodeSizeZipped"), 52428800);
	assert_true(said_number("AccountLimit.TotalCodeSize") == 80530636800.0);
	assert_int_equal(said_number("AccountUsage.FunctionCount"), 2);
	assert_int_equal(said_number("AccountUsage.TotalCodeSize"), 200);

	assert_answer(f, 204, "DELETE", RESERVE("web"), NULL);
	assert_answer(f, 204, "DELETE", RESERVE("web"), NULL);
	assert_string_equal(ask(f, "GET", RESERVED("web"), NULL)->raw, "{}");
	assert_error(f, "ValidationException", "greater than or equal to 0", "PUT", RESERVE("web"),
		     RESERVATION("-1"));
	assert_error(f, "ValidationException", "must not be null", "PUT", RESERVE("web"), "{}");
	assert_error(f, INVALID, "permitted on Lambda functions only", "PUT", RESERVE("web:live"),
		     RESERVATION("1"));
}

/* A small account keeps a tenth, not a hundred. */
static void test_reserved_small(void **state)
{
	struct operations_fixture *f = *state;

	store_function(f->service.store, ACCOUNT, "web");
	f->config.concurrency = 50;
	assert_error(f, INVALID, "[5]", "PUT", RESERVE("web"), RESERVATION("46"));
	assert_answer(f, 200, "PUT", RESERVE("web"), RESERVATION("45"));
	/* Lowered afterwards: nothing is left, not less. */
	f->config.concurrency = 40;
	assert_answer(f, 200, "GET", SETTINGS, NULL);
	assert_int_equal(said_number("AccountLimit.UnreservedConcurrentExecutions"), 0);
}

static void test_provisioned(void **state)
{
	struct operations_fixture *f = *state;
	int64_t id = store_function(f->service.store, ACCOUNT, "web");

	store_publish(f->service.store, id, "a");
	store_publish(f->service.store, id, "b");
	alias(f, id, "live", 1);
	alias(f, id, "next", 1);
	assert_error(f, "ValidationException", "Value null at 'qualifier'", "PUT", PROVIDED("web"),
		     PROVISION("1"));
	assert_error(f, INVALID, "unpublished function versions", "PUT",
		     PROVIDED("web") "?Qualifier=$LATEST", PROVISION("1"));
	assert_error(f, "ResourceNotFoundException", "function:web:7", "PUT",
		     PROVIDED("web") "?Qualifier=7", PROVISION("1"));
	assert_error(f, "ValidationException", "greater than or equal to 1", "PUT",
		     PROVIDED("web") "?Qualifier=1", PROVISION("0"));
	assert_error(f, "ProvisionedConcurrencyConfigNotFoundException",
		     "No Provisioned Concurrency Config found", "GET",
		     PROVIDED("web") "?Qualifier=live", NULL);
	assert_int_equal(f->changed, 0);

	assert_answer(f, 202, "PUT", PROVIDED("web") "?Qualifier=live", PROVISION("3"));
	assert_string_equal(said("Status"), "IN_PROGRESS");
	assert_int_equal(said_number("RequestedProvisionedConcurrentExecutions"), 3);
	assert_int_equal(said_number("AllocatedProvisionedConcurrentExecutions"), 0);
	assert_int_equal(said_number("AvailableProvisionedConcurrentExecutions"), 0);
	assert_int_equal(strlen(said("LastModified")), strlen("2026-01-31T12:00:00+0000"));
	assert_int_equal(f->changed_id, id);
	assert_error(f, INVALID, "Version is pointed by a Provisioned Concurrency alias", "PUT",
		     PROVIDED("web") "?Qualifier=1", PROVISION("1"));
	assert_error(f, INVALID, "on an already Provisioned version", "PUT",
		     PROVIDED("web") "?Qualifier=next", PROVISION("1"));
	assert_answer(f, 202, "PUT", PROVIDED("web") "?Qualifier=2", PROVISION("2"));
	/* Again, with another number. */
	assert_answer(f, 202, "PUT", PROVIDED("web") "?Qualifier=live", PROVISION("4"));

	assert_ok(thaw_provisioned_set_status(f->service.store, id, "live", 4, "FAILED", "no room",
					      ERR));
	assert_answer(f, 200, "GET", PROVIDED("web") "?Qualifier=live", NULL);
	assert_string_equal(said("Status"), "FAILED");
	assert_string_equal(said("StatusReason"), "no room");

	assert_answer(f, 200, "GET", PROVIDED("web") "?List=ALL&MaxItems=1", NULL);
	assert_int_equal(said_count("ProvisionedConcurrencyConfigs"), 1);
	assert_string_equal(said("ProvisionedConcurrencyConfigs.0.FunctionArn"),
			    "arn:aws:lambda:us-east-1:" ACCOUNT ":function:web:2");
	assert_string_equal(said("NextMarker"), "Mg==");
	assert_answer(f, 200, "GET", PROVIDED("web") "?List=ALL&Marker=Mg%3D%3D", NULL);
	assert_int_equal(said_count("ProvisionedConcurrencyConfigs"), 1);
	assert_int_equal(said_number("ProvisionedConcurrencyConfigs.0."
				     "RequestedProvisionedConcurrentExecutions"),
			 4);
	assert_null(said_json("NextMarker"));

	unsigned int changed = f->changed;
	assert_answer(f, 204, "DELETE", PROVIDED("web") "?Qualifier=live", NULL);
	assert_int_equal(f->changed, changed + 1);
	assert_answer(f, 204, "DELETE", PROVIDED("web") "?Qualifier=live", NULL);
	assert_int_equal(f->changed, changed + 1);
	assert_answer(f, 404, "GET", PROVIDED("web") "?Qualifier=live", NULL);
}

static void test_provisioned_limits(void **state)
{
	struct operations_fixture *f = *state;
	int64_t id = store_function(f->service.store, ACCOUNT, "web");
	int64_t other = store_function(f->service.store, ACCOUNT, "other");

	store_publish(f->service.store, id, "a");
	store_publish(f->service.store, id, "b");
	store_publish(f->service.store, other, "c");
	assert_error(f, INVALID, "unreserved concurrency [1000].", "PUT",
		     PROVIDED("web") "?Qualifier=1", PROVISION("1001"));
	assert_error(f, INVALID, "below its minimum value of [100].", "PUT",
		     PROVIDED("web") "?Qualifier=1", PROVISION("901"));
	assert_answer(f, 202, "PUT", PROVIDED("web") "?Qualifier=1", PROVISION("900"));
	/* In place of what it has, not beside it. */
	assert_answer(f, 202, "PUT", PROVIDED("web") "?Qualifier=1", PROVISION("800"));
	assert_error(f, INVALID, "[100]", "PUT", PROVIDED("web") "?Qualifier=2", PROVISION("101"));
	assert_error(f, INVALID, "[100]", "PUT", PROVIDED("other") "?Qualifier=1",
		     PROVISION("101"));
	assert_error(f, INVALID, "[100]", "PUT", RESERVE("other"), RESERVATION("101"));
	assert_answer(f, 202, "PUT", PROVIDED("other") "?Qualifier=1", PROVISION("60"));
	assert_answer(f, 202, "PUT", PROVIDED("web") "?Qualifier=2", PROVISION("40"));

	/* A reservation takes what is provisioned with it. */
	assert_error(f, INVALID,
		     "ReservedConcurrentExecutions  839 should not be lower than function's total "
		     "provisioned concurrency [840].",
		     "PUT", RESERVE("web"), RESERVATION("839"));
	assert_answer(f, 200, "PUT", RESERVE("web"), RESERVATION("840"));
	assert_error(f, INVALID, "greater than the reservedConcurrentExecution", "PUT",
		     PROVIDED("web") "?Qualifier=2", PROVISION("41"));
	assert_answer(f, 202, "PUT", PROVIDED("web") "?Qualifier=1", PROVISION("700"));
	assert_answer(f, 202, "PUT", PROVIDED("web") "?Qualifier=2", PROVISION("140"));
	assert_error(f, INVALID, "[100]", "PUT", PROVIDED("other") "?Qualifier=1", PROVISION("61"));
}

/* Of the environments there are, as many as were asked for. */
static void test_provisioned_ready(void **state)
{
	struct operations_fixture *f = *state;
	int64_t id = store_function(f->service.store, ACCOUNT, "web");
	uint32_t counts[THAW_POOL_STATES] = {0};
	char key[32];

	store_publish(f->service.store, id, "a");
	alias(f, id, "live", 1);
	snprintf(key, sizeof(key), "%lld:1", (long long)id);
	struct thaw_pool_target target = {.account = ACCOUNT,
					  .function = "web",
					  .key = key,
					  .memory_mib = 1,
					  .reserved = -1,
					  .unreserved = 1000};
	assert_int_equal(thaw_pool_provision(f->service.pool, &target, 3), THAW_POOL_ACCEPTED);
	for (int i = 0; counts[THAW_POOL_IDLE] < 3 && i < 5000; i++) {
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		thaw_pool_count_target(f->service.pool, key, counts);
	}
	assert_answer(f, 202, "PUT", PROVIDED("web") "?Qualifier=live", PROVISION("5"));
	assert_int_equal(said_number("AvailableProvisionedConcurrentExecutions"), 3);
	assert_answer(f, 202, "PUT", PROVIDED("web") "?Qualifier=live", PROVISION("2"));
	assert_int_equal(said_number("AvailableProvisionedConcurrentExecutions"), 2);
	assert_int_equal(said_number("AllocatedProvisionedConcurrentExecutions"), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, operations_setup, operations_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_reserved),           TEST(test_reserved_small),    TEST(test_provisioned),
		TEST(test_provisioned_limits), TEST(test_provisioned_ready),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
