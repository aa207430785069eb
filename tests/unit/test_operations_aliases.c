/* SPDX-License-Identifier: Apache-2.0 */
/* Aliases through the API. */
#include "service_operations_harness.h"

#define ALIASES "/2015-03-31/functions/web/aliases"
#define ARN     "arn:aws:lambda:us-east-1:" ACCOUNT ":function:web"

/* A function with versions 1 to 3. */
static int64_t web(struct operations_fixture *f)
{
	int64_t id = store_function(f->service.store, ACCOUNT, "web");

	store_publish(f->service.store, id, "a");
	store_publish(f->service.store, id, "b");
	store_publish(f->service.store, id, "c");
	return id;
}

static void test_create(void **state)
{
	struct operations_fixture *f = *state;
	char name[129], body[512];
	int64_t id = web(f);

	assert_answer(f, 201, "POST", ALIASES,
		      "{\"Name\":\"live\",\"FunctionVersion\":\"1\",\"Description\":\"x\","
		      "\"RoutingConfig\":{\"AdditionalVersionWeights\":{\"2\":0.25}}}");
	assert_string_equal(said("AliasArn"), ARN ":live");
	assert_string_equal(said("Name"), "live");
	assert_string_equal(said("FunctionVersion"), "1");
	assert_string_equal(said("Description"), "x");
	assert_int_equal(strlen(said("RevisionId")), 36);
	assert_true(said_number("RoutingConfig.AdditionalVersionWeights.2") == 0.25);
	assert_int_equal(f->changed, 1);
	assert_int_equal(f->changed_id, id);
	assert_error(f, "ResourceConflictException", "Alias already exists: " ARN ":live", "POST",
		     ALIASES, "{\"Name\":\"live\",\"FunctionVersion\":\"1\"}");

	assert_answer(f, 201, "POST", ALIASES,
		      "{\"Name\":\"latest\",\"FunctionVersion\":\"$LATEST\"}");
	assert_string_equal(said("FunctionVersion"), "$LATEST");
	assert_null(said_json("RoutingConfig"));
	assert_int_equal(f->changed, 2);

	/* Names: 128 characters and not one more. */
	memset(name, 'n', sizeof(name));
	snprintf(body, sizeof(body), "{\"Name\":\"%.128s\",\"FunctionVersion\":\"1\"}", name);
	assert_answer(f, 201, "POST", ALIASES, body);
	snprintf(body, sizeof(body), "{\"Name\":\"%.129s\",\"FunctionVersion\":\"1\"}", name);
	assert_error(f, "ValidationException", "less than or equal to 128", "POST", ALIASES, body);
	assert_error(f, "ValidationException", "'name'", "POST", ALIASES,
		     "{\"Name\":\"12\",\"FunctionVersion\":\"1\"}");
	assert_error(f, "ValidationException",
		     "2 validation errors detected: Value null at 'name' failed to satisfy "
		     "constraint: Member must not be null; Value null at 'functionVersion'",
		     "POST", ALIASES, "{}");
	assert_error(f, "ResourceNotFoundException", "Function not found: " ARN ":4", "POST",
		     ALIASES, "{\"Name\":\"x\",\"FunctionVersion\":\"4\"}");
	assert_error(f, "ResourceNotFoundException", "Function not found: " ARN ":0", "POST",
		     ALIASES, "{\"Name\":\"x\",\"FunctionVersion\":\"0\"}");
	assert_error(f, "ResourceNotFoundException", "function:nobody", "POST",
		     "/2015-03-31/functions/nobody/aliases",
		     "{\"Name\":\"x\",\"FunctionVersion\":\"1\"}");
	assert_error(f, "InvalidParameterValueException", "permitted on Lambda functions only",
		     "POST", "/2015-03-31/functions/web:1/aliases",
		     "{\"Name\":\"x\",\"FunctionVersion\":\"1\"}");
	assert_int_equal(f->changed, 3);
}

static void routed(struct operations_fixture *f, const char *version, const char *weights,
		   const char *code, const char *text)
{
	char body[512];

	snprintf(body, sizeof(body),
		 "{\"Name\":\"r\",\"FunctionVersion\":\"%s\","
		 "\"RoutingConfig\":{\"AdditionalVersionWeights\":%s}}",
		 version, weights);
	assert_error(f, code, text, "POST", ALIASES, body);
}

static void test_routing(void **state)
{
	struct operations_fixture *f = *state;
	static const char invalid[] = "InvalidParameterValueException";

	web(f);
	routed(f, "1", "{\"2\":0.1,\"3\":0.1}", invalid, "Number of items: 2");
	routed(f, "1", "{\"1\":0.1}", invalid, "Function version 1 is already included");
	routed(f, "1", "{\"$LATEST\":0.1}", invalid, "$LATEST is not supported for an alias");
	routed(f, "$LATEST", "{\"1\":0.1}", invalid, "$LATEST is not supported for an alias");
	routed(f, "1", "{\"9\":0.1}", "ResourceNotFoundException", ARN ":9");
	routed(f, "1", "{\"2\":1.001}", "ValidationException", "{2=1.001}");
	routed(f, "1", "{\"2\":-0.001}", "ValidationException", "greater than or equal to 0.0");
	routed(f, "1", "{\"two\":0.5}", "ValidationException", "additionalVersionWeights");
	routed(f, "1", "{\"2\":\"0.5\"}", "SerializationException", "Double");
	routed(f, "1", "[]", "SerializationException", "");
	assert_int_equal(f->changed, 0);
	/* Both ends. */
	assert_answer(f, 201, "POST", ALIASES,
		      "{\"Name\":\"all\",\"FunctionVersion\":\"1\","
		      "\"RoutingConfig\":{\"AdditionalVersionWeights\":{\"2\":1}}}");
	assert_answer(f, 201, "POST", ALIASES,
		      "{\"Name\":\"none\",\"FunctionVersion\":\"1\","
		      "\"RoutingConfig\":{\"AdditionalVersionWeights\":{\"2\":0.0}}}");
}

static void test_update(void **state)
{
	struct operations_fixture *f = *state;
	char body[256], revision[64];

	web(f);
	assert_answer(f, 201, "POST", ALIASES,
		      "{\"Name\":\"live\",\"FunctionVersion\":\"1\",\"Description\":\"old\"}");
	snprintf(revision, sizeof(revision), "%s", said("RevisionId"));
	/* What is not given stays. */
	assert_answer(f, 200, "PUT", ALIASES "/live",
		      "{\"RoutingConfig\":{\"AdditionalVersionWeights\":{\"2\":0.5}}}");
	assert_string_equal(said("Description"), "old");
	assert_string_equal(said("FunctionVersion"), "1");
	assert_string_not_equal(said("RevisionId"), revision);
	assert_int_equal(f->changed, 2);

	snprintf(body, sizeof(body), "{\"Description\":\"new\",\"RevisionId\":\"%s\"}", revision);
	assert_error(f, "PreconditionFailedException", "does not match the latest Revision Id",
		     "PUT", ALIASES "/live", body);
	/* Its second version cannot become its first as well. */
	assert_error(f, "InvalidParameterValueException", "already included", "PUT",
		     ALIASES "/live", "{\"FunctionVersion\":\"2\"}");
	assert_error(f, "InvalidParameterValueException", "$LATEST is not supported", "PUT",
		     ALIASES "/live", "{\"FunctionVersion\":\"$LATEST\"}");
	assert_answer(f, 200, "GET", ALIASES "/live", NULL);
	assert_string_equal(said("Description"), "old");
	snprintf(body, sizeof(body),
		 "{\"FunctionVersion\":\"2\",\"RoutingConfig\":{},\"RevisionId\":\"%s\"}",
		 said("RevisionId"));
	assert_answer(f, 200, "PUT", ALIASES "/live", body);
	assert_string_equal(said("FunctionVersion"), "2");
	assert_null(said_json("RoutingConfig"));
	assert_int_equal(f->changed, 3);

	assert_error(f, "ResourceNotFoundException", "Cannot find alias arn: " ARN ":gone", "PUT",
		     ALIASES "/gone", "{}");
	assert_error(f, "ResourceNotFoundException", "Cannot find alias arn: " ARN ":gone", "GET",
		     ALIASES "/gone", NULL);
	assert_answer(f, 204, "DELETE", ALIASES "/gone", NULL);
	assert_int_equal(f->changed, 3);
	assert_answer(f, 204, "DELETE", ALIASES "/live", NULL);
	assert_int_equal(f->changed, 4);
	assert_answer(f, 404, "GET", ALIASES "/live", NULL);
	assert_answer(f, 404, "DELETE", "/2015-03-31/functions/nobody/aliases/live", NULL);
}

static void test_list(void **state)
{
	struct operations_fixture *f = *state;
	char target[512], body[128];

	web(f);
	assert_answer(f, 200, "GET", ALIASES, NULL);
	assert_int_equal(said_count("Aliases"), 0);
	for (char name = 'a'; name <= 'e'; name++) {
		snprintf(body, sizeof(body), "{\"Name\":\"%c\",\"FunctionVersion\":\"%d\"}", name,
			 name == 'c' ? 2 : 1);
		assert_answer(f, 201, "POST", ALIASES, body);
	}
	assert_answer(f, 200, "GET", ALIASES "?MaxItems=2", NULL);
	assert_int_equal(said_count("Aliases"), 2);
	snprintf(target, sizeof(target), ALIASES "?MaxItems=3&Marker=%s", said("NextMarker"));
	assert_answer(f, 200, "GET", target, NULL);
	assert_int_equal(said_count("Aliases"), 3);
	assert_string_equal(said("Aliases.0.Name"), "c");
	assert_string_equal(said("Aliases.0.FunctionVersion"), "2");
	assert_null(said_json("NextMarker"));
	assert_answer(f, 200, "GET", ALIASES "?FunctionVersion=2", NULL);
	assert_int_equal(said_count("Aliases"), 1);
	assert_answer(f, 200, "GET", ALIASES "?FunctionVersion=0", NULL);
	assert_int_equal(said_count("Aliases"), 0);
	assert_error(f, "ValidationException", "'functionVersion'", "GET",
		     ALIASES "?FunctionVersion=x", NULL);
	assert_error(f, "ValidationException", "'maxItems'", "GET", ALIASES "?MaxItems=0", NULL);
	/* Another account sees nothing of it. */
	ask_as(f, OTHER);
	assert_answer(f, 404, "GET", ALIASES, NULL);
	assert_answer(f, 404, "GET",
		      "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A" ACCOUNT
		      "%3Afunction%3Aweb/aliases",
		      NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_create, operations_setup, operations_teardown),
		cmocka_unit_test_setup_teardown(test_routing, operations_setup,
						operations_teardown),
		cmocka_unit_test_setup_teardown(test_update, operations_setup, operations_teardown),
		cmocka_unit_test_setup_teardown(test_list, operations_setup, operations_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
