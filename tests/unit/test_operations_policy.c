/* SPDX-License-Identifier: Apache-2.0 */
/* Resource policies through the API, and what they allow. */
#include "service_operations_harness.h"
#include "host/operations/policy.h"
#include "host/store/aliases.h"

#define POLICY  "/2015-03-31/functions/web/policy"
#define ARN     "arn:aws:lambda:us-east-1:" ACCOUNT ":function:web"
#define INVOKE  "lambda:InvokeFunction"
#define THIRD   "333333333333"
#define INVALID "InvalidParameterValueException"

static int64_t web(struct operations_fixture *f)
{
	int64_t id = store_function(f->service.store, ACCOUNT, "web");
	struct thaw_alias alias = {.function_id = id,
				   .name = (char *)"live",
				   .version = 1,
				   .description = (char *)"",
				   .second_version = THAW_STORE_UNSET};

	store_publish(f->service.store, id, "a");
	assert_ok(thaw_aliases_create(f->service.store, &alias, NULL, ERR));
	return id;
}

/* Adds statement `id`; `more` is further members, with a comma in front. */
static const char *body_of(const char *id, const char *action, const char *principal,
			   const char *more)
{
	static char body[4096];

	snprintf(body, sizeof(body),
		 "{\"StatementId\":\"%s\",\"Action\":\"%s\",\"Principal\":\"%s\"%s}", id, action,
		 principal, more);
	return body;
}

static void add(struct operations_fixture *f, const char *id, const char *action,
		const char *principal, const char *more)
{
	assert_answer(f, 201, "POST", POLICY, body_of(id, action, principal, more));
}

static void statement_is(const char *expected)
{
	json_t *said_as = json_loads(said("Statement"), 0, NULL);
	json_t *wanted = json_loads(expected, 0, NULL);

	assert_non_null(wanted);
	if (!json_equal(said_as, wanted))
		fail_msg("%s", said("Statement"));
	json_decref(said_as);
	json_decref(wanted);
}

static void test_add(void **state)
{
	struct operations_fixture *f = *state;

	web(f);
	assert_error(f, "ResourceNotFoundException", "The resource you requested does not exist.",
		     "GET", POLICY, NULL);
	assert_error(f, "ResourceNotFoundException", "No policy is associated", "DELETE",
		     POLICY "/a", NULL);
	add(f, "a", INVOKE, OTHER, "");
	statement_is(
		"{\"Sid\":\"a\",\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::" OTHER
		":root\"},\"Action\":\"" INVOKE "\",\"Resource\":\"" ARN "\"}");
	add(f, "s3", INVOKE, "s3.amazonaws.com",
	    ",\"SourceArn\":\"arn:aws:s3:::bucket\",\"SourceAccount\":\"" ACCOUNT "\"");
	statement_is("{\"Sid\":\"s3\",\"Effect\":\"Allow\",\"Principal\":{\"Service\":"
		     "\"s3.amazonaws.com\"},\"Action\":\"" INVOKE "\",\"Resource\":\"" ARN
		     "\",\"Condition\":{\"StringEquals\":{\"AWS:SourceAccount\":\"" ACCOUNT
		     "\"},\"ArnLike\":{\"AWS:SourceArn\":\"arn:aws:s3:::bucket\"}}}");
	add(f, "all", "lambda:InvokeFunctionUrl", "*",
	    ",\"FunctionUrlAuthType\":\"NONE\",\"PrincipalOrgID\":\"o-1234567890\","
	    "\"EventSourceToken\":\"t.1\",\"InvokedViaFunctionUrl\":true");
	assert_answer(f, 200, "GET", POLICY, NULL);
	json_t *policy = json_loads(said("Policy"), 0, NULL);
	assert_string_equal(json_string_value(json_object_get(policy, "Version")), "2012-10-17");
	assert_string_equal(json_string_value(json_object_get(policy, "Id")), "default");
	assert_int_equal(json_array_size(json_object_get(policy, "Statement")), 3);
	json_decref(policy);

	assert_error(f, "ResourceConflictException", "The statement id (a) provided already exists",
		     "POST", POLICY, body_of("a", INVOKE, OTHER, ""));
	assert_error(f, INVALID, "The provided principal was invalid", "POST", POLICY,
		     body_of("b", INVOKE, "nobody", ""));
	assert_error(f, "ValidationException", "'action'", "POST", POLICY,
		     body_of("b", "s3:Get", OTHER, ""));
	assert_error(f, "ValidationException", "'sourceAccount'", "POST", POLICY,
		     body_of("b", INVOKE, OTHER, ",\"SourceAccount\":\"1\""));
	assert_error(f, "ValidationException", "'principalOrgID'", "POST", POLICY,
		     body_of("b", INVOKE, OTHER, ",\"PrincipalOrgID\":\"o-123456789\""));
	assert_error(f, "ValidationException", "3 validation errors", "POST", POLICY, "{}");
	assert_error(f, INVALID, "adding policies for $LATEST", "POST", POLICY "?Qualifier=$LATEST",
		     body_of("b", INVOKE, OTHER, ""));
	assert_error(f, "ResourceNotFoundException", ARN ":9", "POST", POLICY "?Qualifier=9",
		     body_of("b", INVOKE, OTHER, ""));
}

static void test_revisions(void **state)
{
	struct operations_fixture *f = *state;
	char more[128], target[256], old[64];

	web(f);
	add(f, "a", INVOKE, OTHER, "");
	assert_answer(f, 200, "GET", POLICY, NULL);
	snprintf(old, sizeof(old), "%s", said("RevisionId"));
	snprintf(more, sizeof(more), ",\"RevisionId\":\"%s\"", old);
	add(f, "b", INVOKE, OTHER, more);
	assert_error(f, "PreconditionFailedException", "RevisionId", "POST", POLICY,
		     body_of("c", INVOKE, OTHER, more));
	snprintf(target, sizeof(target), POLICY "/b?RevisionId=%s", old);
	assert_error(f, "PreconditionFailedException", "RevisionId", "DELETE", target, NULL);
	assert_answer(f, 200, "GET", POLICY, NULL);
	snprintf(target, sizeof(target), POLICY "/b?RevisionId=%s", said("RevisionId"));
	assert_answer(f, 204, "DELETE", target, NULL);
	assert_error(f, "ResourceNotFoundException", "Statement b is not found", "DELETE",
		     POLICY "/b", NULL);
	assert_answer(f, 204, "DELETE", POLICY "/a", NULL);
	assert_answer(f, 404, "GET", POLICY, NULL);
}

/* 20480 bytes, and not one more. */
static void test_size(void **state)
{
	struct operations_fixture *f = *state;
	char id[16], more[2048], arn[1100];
	size_t size = 0;

	web(f);
	memset(arn, 'x', sizeof(arn));
	for (int i = 0; i < 17; i++) {
		snprintf(id, sizeof(id), "s%02d", i);
		snprintf(more, sizeof(more), ",\"SourceArn\":\"arn:aws:s3:::%.900s\"", arn);
		add(f, id, INVOKE, OTHER, more);
	}
	assert_answer(f, 200, "GET", POLICY, NULL);
	size = strlen(said("Policy"));
	assert_true(size < 20480 - 900 && size > 20480 - 2 * 1100);
	/* The last one is larger than the others by what fills it up, and one. */
	size_t one =
		(size - strlen("{\"Version\":\"2012-10-17\",\"Id\":\"default\",\"Statement\":[]}") +
		 1) /
		17;
	while (20480 - size >= 2 * one) {
		snprintf(id, sizeof(id), "t%02zu", size % 100);
		snprintf(more, sizeof(more), ",\"SourceArn\":\"arn:aws:s3:::%.900s\"", arn);
		add(f, id, INVOKE, OTHER, more);
		size += one;
	}
	int fill = (int)(900 + 20480 - size - one);
	assert_true(fill >= 0 && fill < (int)sizeof(arn) * 2);
	char longer[2400];
	memset(longer, 'x', sizeof(longer));
	snprintf(more, sizeof(more), ",\"SourceArn\":\"arn:aws:s3:::%.*s\"", fill + 1, longer);
	assert_error(f, "PolicyLengthExceededException",
		     "The final policy size (20481) is bigger than the limit (20480).", "POST",
		     POLICY, body_of("end", INVOKE, OTHER, more));
	snprintf(more, sizeof(more), ",\"SourceArn\":\"arn:aws:s3:::%.*s\"", fill, longer);
	add(f, "end", INVOKE, OTHER, more);
	assert_answer(f, 200, "GET", POLICY, NULL);
	assert_int_equal(strlen(said("Policy")), 20480);
}

static void test_allows(void **state)
{
	struct operations_fixture *f = *state;
	struct thaw_service *s = &f->service;
	int64_t id = web(f);

	assert_false(thaw_policy_allows(s, id, "", OTHER, INVOKE));
	add(f, "a", INVOKE, OTHER, "");
	assert_true(thaw_policy_allows(s, id, "", OTHER, INVOKE));
	assert_true(thaw_policy_allows(s, id, "$LATEST", OTHER, INVOKE));
	assert_false(thaw_policy_allows(s, id, "", THIRD, INVOKE));
	assert_false(thaw_policy_allows(s, id, "", OTHER, "lambda:GetFunction"));
	/* Each qualifier has its own. */
	assert_false(thaw_policy_allows(s, id, "live", OTHER, INVOKE));
	assert_false(thaw_policy_allows(s, id, "1", OTHER, INVOKE));
	assert_answer(f, 201, "POST", POLICY "?Qualifier=live",
		      body_of("a", "lambda:*", "arn:aws:iam::" THIRD ":role/x", ""));
	statement_is("{\"Sid\":\"a\",\"Effect\":\"Allow\",\"Principal\":{\"AWS\":"
		     "\"arn:aws:iam::" THIRD ":role/x\"},\"Action\":\"lambda:*\","
		     "\"Resource\":\"" ARN ":live\"}");
	assert_true(thaw_policy_allows(s, id, "live", THIRD, "lambda:GetFunction"));
	assert_false(thaw_policy_allows(s, id, "live", OTHER, INVOKE));
	assert_false(thaw_policy_allows(s, id, "", THIRD, INVOKE));
	/* Of a service, of somebody who begins like it, under conditions. */
	assert_answer(f, 204, "DELETE", POLICY "/a", NULL);
	add(f, "b", "*", "s3.amazonaws.com", "");
	add(f, "c", "*", "arn:aws:iam::" OTHER ":rootless", "");
	add(f, "d", "*", "arn:aws:sts::" OTHER ":root", "");
	add(f, "e", "*", "*", ",\"SourceAccount\":\"" THIRD "\"");
	add(f, "f", "*", "*", ",\"SourceArn\":\"arn:aws:s3:::bucket\"");
	add(f, "g", "*", "*",
	    ",\"SourceAccount\":\"" OTHER "\",\"PrincipalOrgID\":\"o-1234567890\"");
	add(f, "h", "*", "*",
	    ",\"SourceAccount\":\"" OTHER "\",\"SourceArn\":\"arn:aws:s3:::bucket\"");
	assert_false(thaw_policy_allows(s, id, "", OTHER, INVOKE));
	assert_true(thaw_policy_allows(s, id, "", THIRD, INVOKE));
	add(f, "i", INVOKE, "*", "");
	assert_true(thaw_policy_allows(s, id, "", OTHER, INVOKE));
	assert_false(thaw_policy_allows(s, id + 1, "", OTHER, INVOKE));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, operations_setup, operations_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_add),
		TEST(test_revisions),
		TEST(test_size),
		TEST(test_allows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
