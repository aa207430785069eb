/* SPDX-License-Identifier: Apache-2.0 */
#include "host/operations/policy.h"

#include <string.h>

#include "host/api/names.h"
#include "host/daemon/service.h"
#include "host/operations/operation.h"
#include "host/store/policies.h"

/* "123456789012", "arn:aws:iam::123456789012:root", ":user/x", ":role/x". */
static bool principal_is(const char *principal, const char *account)
{
	static const char iam[] = ":iam::";
	size_t size = strlen(account);

	if (strcmp(principal, account) == 0)
		return true;
	if (strncmp(principal, "arn:aws", 7) != 0)
		return false;
	principal += 7 + strspn(principal + 7, "-abcdefghijklmnopqrstuvwxyz");
	if (strncmp(principal, iam, sizeof(iam) - 1) != 0)
		return false;
	principal += sizeof(iam) - 1;
	if (strncmp(principal, account, size) != 0)
		return false;
	principal += size;
	return strcmp(principal, ":root") == 0 || strncmp(principal, ":role/", 6) == 0 ||
	       strncmp(principal, ":user/", 6) == 0;
}

static bool principal_allows(const json_t *principal, const char *account)
{
	const json_t *aws = json_object_get(principal, "AWS");
	const char *text = json_string_value(json_is_string(principal) ? principal : aws);

	return text && (strcmp(text, "*") == 0 || principal_is(text, account));
}

static bool action_allows(const char *allowed, const char *action)
{
	return allowed && (strcmp(allowed, "*") == 0 || strcmp(allowed, "lambda:*") == 0 ||
			   strcmp(allowed, action) == 0);
}

/* None, or StringEquals with AWS:SourceAccount and nothing else. */
static bool condition_allows(const json_t *condition, const char *account)
{
	if (!condition)
		return true;
	const json_t *equals = json_object_get(condition, "StringEquals");
	const char *source = json_string_value(json_object_get(equals, "AWS:SourceAccount"));

	return json_object_size(condition) == 1 && json_object_size(equals) == 1 && source &&
	       strcmp(source, account) == 0;
}

static bool statement_allows(const char *text, const char *account, const char *action)
{
	json_t *statement = thaw_json_stored(text);
	const char *effect = json_string_value(json_object_get(statement, "Effect"));

	bool allows =
		effect && strcmp(effect, "Allow") == 0 &&
		principal_allows(json_object_get(statement, "Principal"), account) &&
		action_allows(json_string_value(json_object_get(statement, "Action")), action) &&
		condition_allows(json_object_get(statement, "Condition"), account);
	json_decref(statement);
	return allows;
}

bool thaw_policy_allows(struct thaw_service *service, int64_t function_id, const char *qualifier,
			const char *account, const char *action)
{
	struct thaw_policy policy;
	bool allows = false;

	if (strcmp(qualifier, "$LATEST") == 0)
		qualifier = "";
	if (thaw_policies_get(service->store, function_id, qualifier, &policy, NULL) < 0)
		return false;
	for (size_t i = 0; i < policy.count && !allows; i++)
		allows = statement_allows(policy.statements[i].statement, account, action);
	thaw_policy_clear(&policy);
	return allows;
}
