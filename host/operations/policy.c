/* SPDX-License-Identifier: Apache-2.0 */
#include "host/operations/policy.h"

#include <errno.h>
#include <string.h>

#include "host/operations/common.h"
#include "host/operations/operations.h"
#include "host/store/policies.h"

#define NOT_LATEST                                                                                 \
	"The RevisionId provided does not match the latest RevisionId. Call the GetPolicy API to " \
	"retrieve the latest RevisionId"

#define cleanup_policy __attribute__((cleanup(thaw_policy_clear)))

/* What AddPermission takes; NULL where it is not given. */
struct permission {
	const char *id, *action, *principal;
	const char *source_arn, *source_account, *token, *organization, *url_auth, *revision;
	int url_invoked; /* -1: not given */
};

static void permission_text(struct thaw_request *request, const char *name,
			    enum thaw_presence presence, enum thaw_shape shape, const char **value)
{
	char member[THAW_BODY_PATH_MAX];

	if (thaw_object_string(&request->body, name, presence, value) <= 0)
		return;
	thaw_object_member(&request->body, name, member);
	thaw_shape_check(shape, *value, member, &request->validation);
}

static void permission_organization(struct thaw_request *request, const char **value)
{
	if (thaw_object_string(&request->body, "PrincipalOrgID", THAW_OPTIONAL, value) <= 0)
		return;
	size_t size = strlen(*value);
	if (size < 12 || size > 34 || strncmp(*value, "o-", 2) != 0 ||
	    strspn(*value + 2, "abcdefghijklmnopqrstuvwxyz0123456789") != size - 2)
		thaw_validation_add(&request->validation, *value, "principalOrgID",
				    "Member must satisfy regular expression pattern: "
				    "o-[a-z0-9]{10,32}");
}

static void permission_read(struct thaw_request *request, struct permission *p)
{
	static const char *const auth[] = {"NONE", "AWS_IAM", NULL};
	bool invoked = false;
	unsigned int index;

	*p = (struct permission){.url_invoked = -1};
	permission_text(request, "StatementId", THAW_REQUIRED, THAW_SHAPE_STATEMENT_ID, &p->id);
	permission_text(request, "Action", THAW_REQUIRED, THAW_SHAPE_ACTION, &p->action);
	permission_text(request, "Principal", THAW_REQUIRED, THAW_SHAPE_PRINCIPAL, &p->principal);
	permission_text(request, "SourceArn", THAW_OPTIONAL, THAW_SHAPE_SOURCE_ARN, &p->source_arn);
	permission_text(request, "SourceAccount", THAW_OPTIONAL, THAW_SHAPE_SOURCE_ACCOUNT,
			&p->source_account);
	permission_text(request, "EventSourceToken", THAW_OPTIONAL, THAW_SHAPE_EVENT_SOURCE_TOKEN,
			&p->token);
	permission_organization(request, &p->organization);
	if (thaw_object_enum(&request->body, "FunctionUrlAuthType", THAW_OPTIONAL, auth, &index) >
	    0)
		p->url_auth = auth[index];
	if (thaw_object_boolean(&request->body, "InvokedViaFunctionUrl", THAW_OPTIONAL, &invoked) >
	    0)
		p->url_invoked = invoked;
	thaw_object_string(&request->body, "RevisionId", THAW_OPTIONAL, &p->revision);
}

/* An account, an ARN of one, a service, or everybody; NULL for what is none of them. */
static json_t *permission_principal(const char *text)
{
	size_t size = strlen(text);
	char arn[64];

	if (strcmp(text, "*") == 0)
		return json_string(text);
	if (size == 12 && strspn(text, "0123456789") == 12) {
		snprintf(arn, sizeof(arn), "arn:aws:iam::%s:root", text);
		return json_pack("{s:s}", "AWS", arn);
	}
	if (strncmp(text, "arn:aws", 7) == 0)
		return json_pack("{s:s}", "AWS", text);
	if (size > 14 && strcmp(text + size - 14, ".amazonaws.com") == 0)
		return json_pack("{s:s}", "Service", text);
	return NULL;
}

static void condition_add(json_t *conditions, const char *operator, const char * key,
			  const char *value)
{
	json_t *equals = json_object_get(conditions, operator);

	if (!value)
		return;
	if (!equals) {
		equals = json_object();
		json_object_set_new(conditions, operator, equals);
	}
	json_object_set_new(equals, key, json_string(value));
}

/* NULL when the principal is none. */
static json_t *permission_statement(const struct thaw_request *request, const struct permission *p)
{
	json_t *principal = permission_principal(p->principal), *conditions = json_object();
	char arn[THAW_ARN_TEXT];

	if (!principal) {
		json_decref(conditions);
		return NULL;
	}
	thaw_arn_function(request->service, request->account, request->item.function.name,
			  request->function.qualifier, arn);
	condition_add(conditions, "StringEquals", "AWS:SourceAccount", p->source_account);
	condition_add(conditions, "StringEquals", "lambda:EventSourceToken", p->token);
	condition_add(conditions, "StringEquals", "aws:PrincipalOrgID", p->organization);
	condition_add(conditions, "StringEquals", "lambda:FunctionUrlAuthType", p->url_auth);
	if (p->url_invoked >= 0)
		condition_add(conditions, "Bool", "lambda:InvokedViaFunctionUrl",
			      p->url_invoked ? "true" : "false");
	condition_add(conditions, "ArnLike", "AWS:SourceArn", p->source_arn);
	json_t *statement = json_pack("{s:s, s:s, s:o, s:s, s:s}", "Sid", p->id, "Effect", "Allow",
				      "Principal", principal, "Action", p->action, "Resource", arn);
	if (json_object_size(conditions))
		json_object_set_new(statement, "Condition", conditions);
	else
		json_decref(conditions);
	return statement;
}

/* The policy as clients see it, a JSON text; with `more` (may be NULL, borrowed) as it would be.
 * The caller frees it. */
static char *policy_text(const struct thaw_policy *policy, json_t *more)
{
	json_t *statements = json_array();
	json_t *whole = json_pack("{s:s, s:s, s:o}", "Version", "2012-10-17", "Id", "default",
				  "Statement", statements);

	for (size_t i = 0; i < policy->count; i++)
		json_array_append_new(statements,
				      thaw_json_stored(policy->statements[i].statement));
	if (more)
		json_array_append(statements, more);
	char *text = json_dumps(whole, JSON_COMPACT);
	json_decref(whole);
	return text;
}

/* Name and qualifier, and that they are there. NULL to go on. */
static struct thaw_http_response *policy_request(struct thaw_request *request)
{
	struct thaw_http_response *refusal = thaw_request_refused(request);

	if (refusal)
		return refusal;
	if (strcmp(request->function.qualifier, "$LATEST") == 0)
		return thaw_api_error_response("InvalidParameterValueException",
					       "We currently do not support adding policies for "
					       "$LATEST.");
	return thaw_request_version(request);
}

static struct thaw_http_response *permission_exists(const char *id)
{
	return thaw_api_error_response("ResourceConflictException",
				       "The statement id (%s) provided already exists. Please "
				       "provide a new statement id, or remove the existing "
				       "statement.",
				       id);
}

/* In one scope with the policy whose size it changes. */
static struct thaw_http_response *permission_add(struct thaw_request *request,
						 const struct permission *p, json_t *statement)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	cleanup_policy struct thaw_policy policy = {0};
	cleanup_free char *text = json_dumps(statement, JSON_COMPACT);
	struct thaw_policy_statement added = {.id = (char *)p->id, .statement = text};
	int64_t id = request->item.function.id;
	struct thaw_error err = {0};

	int rc = text ? thaw_store_begin(&scope, request->service->store, &err) : -ENOMEM;
	if (rc == 0)
		rc = thaw_policies_get(scope.store, id, request->function.qualifier, &policy, &err);
	if (rc < 0 && rc != -ENOENT)
		return thaw_respond_error(rc, &err, NULL);
	cleanup_free char *whole = policy_text(&policy, statement);
	size_t size = whole ? strlen(whole) : 0;
	if (size > THAW_POLICY_MAX)
		return thaw_api_error_response("PolicyLengthExceededException",
					       "The final policy size (%zu) is bigger than the "
					       "limit (%d).",
					       size, THAW_POLICY_MAX);
	rc = thaw_policies_add(scope.store, id, request->function.qualifier, &added, p->revision,
			       &err);
	if (rc == 0)
		rc = thaw_store_commit(&scope, &err);
	if (rc == -EEXIST)
		return permission_exists(p->id);
	if (rc < 0)
		return thaw_respond_error(rc, &err, rc == -ESTALE ? NOT_LATEST : NULL);
	return thaw_respond_json(201, json_pack("{s:s}", "Statement", text));
}

struct thaw_http_response *thaw_operation_add_permission(struct thaw_service *service,
							 struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	struct permission permission;

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, true);
	thaw_request_body(&request);
	permission_read(&request, &permission);
	struct thaw_http_response *refusal = policy_request(&request);
	if (refusal)
		return refusal;
	json_t *statement = permission_statement(&request, &permission);
	if (!statement)
		return thaw_api_error_response("InvalidParameterValueException",
					       "The provided principal was invalid. Please check "
					       "the principal and try again.");
	struct thaw_http_response *response = permission_add(&request, &permission, statement);
	json_decref(statement);
	return response;
}

struct thaw_http_response *thaw_operation_remove_permission(struct thaw_service *service,
							    struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	cleanup_policy struct thaw_policy policy = {0};
	const char *id = thaw_call_path(call, "StatementId");
	struct thaw_error err = {0};

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, true);
	/* Here the model lets a '.' pass too; no statement has one. */
	if (thaw_utf8_length(id) > 100)
		thaw_validation_add(&request.validation, id, "statementId",
				    "Member must have length less than or equal to 100");
	struct thaw_http_response *refusal = policy_request(&request);
	if (refusal)
		return refusal;
	const char *qualifier = request.function.qualifier;
	int64_t function = request.item.function.id;
	int rc = thaw_policies_get(service->store, function, qualifier, &policy, &err);
	if (rc == -ENOENT)
		return thaw_api_error_response("ResourceNotFoundException",
					       "No policy is associated with the given resource.");
	if (rc == 0)
		rc = thaw_policies_remove(service->store, function, qualifier, id,
					  thaw_call_query(call, "RevisionId"), &err);
	if (rc == -ENOENT)
		return thaw_api_error_response("ResourceNotFoundException",
					       "Statement %s is not found in resource policy.", id);
	return rc < 0 ? thaw_respond_error(rc, &err, rc == -ESTALE ? NOT_LATEST : NULL)
		      : thaw_respond_empty(204);
}

struct thaw_http_response *thaw_operation_get_policy(struct thaw_service *service,
						     struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	cleanup_policy struct thaw_policy policy = {0};
	struct thaw_error err = {0};

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, true);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (!refusal)
		refusal = thaw_request_version(&request);
	if (refusal)
		return refusal;
	/* $LATEST has none, and -ENOENT says so in AWS' words. */
	int rc = thaw_policies_get(service->store, request.item.function.id,
				   request.function.qualifier, &policy, &err);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	cleanup_free char *text = policy_text(&policy, NULL);
	return thaw_respond_json(200, json_pack("{s:s, s:s}", "Policy", text ? text : "",
						"RevisionId", policy.revision_id));
}
