/* SPDX-License-Identifier: Apache-2.0 */
#include "host/operations/tags.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "host/operations/common.h"
#include "host/operations/operations.h"

/* Far over what a function may have, so that too many are told as such. */
#define TAGS_GIVEN_MAX 1000

int thaw_tags_read(struct thaw_request *request, enum thaw_presence presence, const json_t **tags)
{
	struct thaw_validation *validation = &request->validation;
	const char *key;
	json_t *value;

	int rc = thaw_object_map(&request->body, "Tags", presence, TAGS_GIVEN_MAX, tags);
	if (rc <= 0)
		return rc;
	json_object_foreach((json_t *)*tags, key, value)
	{
		if (thaw_shape_check(THAW_SHAPE_TAG_KEY, key, "tags", validation) < 0 ||
		    thaw_shape_check(THAW_SHAPE_TAG_VALUE, json_string_value(value), "tags",
				     validation) < 0)
			rc = -EINVAL;
	}
	return rc;
}

struct thaw_http_response *thaw_tags_check(const json_t *tags)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)tags, key, value)
	{
		if (strncasecmp(key, "aws:", 4) == 0)
			return thaw_api_error_response("InvalidParameterValueException",
						       "Tag keys must not begin with aws:, which "
						       "is reserved: %s",
						       key);
	}
	if (json_object_size(tags) > THAW_TAGS_MAX)
		return thaw_api_error_response("InvalidParameterValueException",
					       "Number of tags exceeds resource tag limit.");
	return NULL;
}

/* {Resource} is a function's ARN, all of it, without a qualifier. */
static void tags_resource(struct thaw_request *request)
{
	const char *resource = thaw_call_path(request->call, "Resource");

	if (thaw_function_name_parse(resource, false, "resource", &request->function,
				     &request->validation) == 0 &&
	    strncmp(resource, "arn:", 4) != 0)
		thaw_validation_add(&request->validation, resource, "resource",
				    "Member must satisfy regular expression pattern: "
				    "arn:(aws[a-zA-Z-]*):lambda:[a-z0-9-]+:\\d{12}:function:"
				    "[a-zA-Z0-9-_]+");
}

/* What was wrong up to now, and whether the function is there. NULL to go on. */
static struct thaw_http_response *tags_function(struct thaw_request *request)
{
	struct thaw_http_response *refusal = thaw_request_refused(request);

	if (refusal)
		return refusal;
	if (*request->function.qualifier)
		return thaw_api_error_response("InvalidParameterValueException",
					       "Tags on function aliases and versions are not "
					       "supported. Please specify a function ARN.");
	return thaw_request_function(request, THAW_VERSION_LATEST);
}

struct thaw_http_response *thaw_operation_list_tags(struct thaw_service *service,
						    struct thaw_call *call)
{
	cleanup_request struct thaw_request request;

	thaw_request_init(&request, service, call);
	tags_resource(&request);
	struct thaw_http_response *refusal = tags_function(&request);
	if (refusal)
		return refusal;
	return thaw_respond_json(
		200, json_pack("{s:o}", "Tags", thaw_json_stored(request.item.function.tags)));
}

/* Changes the function's tags to what they are with `add`, without the query's tagKeys. In one
 * scope, so that no other change is lost. */
static struct thaw_http_response *tags_change(struct thaw_request *request, const json_t *add)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	const struct thaw_call *call = request->call;
	struct thaw_http_response *refusal = NULL;
	struct thaw_error err = {0};

	int rc = thaw_store_begin(&scope, request->service->store, &err);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	refusal = tags_function(request);
	if (refusal)
		return refusal;
	json_t *tags = thaw_json_stored(request->item.function.tags);
	if (add)
		json_object_update(tags, (json_t *)add);
	for (size_t i = 0; !add && i < call->query_count; i++) {
		if (strcmp(call->query[i].name, "tagKeys") == 0)
			json_object_del(tags, call->query[i].value);
	}
	refusal = add ? thaw_tags_check(tags) : NULL;
	cleanup_free char *text = json_dumps(tags, JSON_COMPACT);
	json_decref(tags);
	if (refusal)
		return refusal;
	rc = text ? thaw_functions_set_tags(scope.store, request->item.function.id, text, &err)
		  : -ENOMEM;
	if (rc == 0)
		rc = thaw_store_commit(&scope, &err);
	return rc < 0 ? thaw_respond_error(rc, &err, NULL) : thaw_respond_empty(204);
}

struct thaw_http_response *thaw_operation_tag_resource(struct thaw_service *service,
						       struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	const json_t *tags = NULL;

	thaw_request_init(&request, service, call);
	tags_resource(&request);
	thaw_request_body(&request);
	thaw_tags_read(&request, THAW_REQUIRED, &tags);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	return refusal ? refusal : tags_change(&request, tags);
}

struct thaw_http_response *thaw_operation_untag_resource(struct thaw_service *service,
							 struct thaw_call *call)
{
	cleanup_request struct thaw_request request;

	thaw_request_init(&request, service, call);
	tags_resource(&request);
	if (!thaw_call_query(call, "tagKeys"))
		thaw_validation_add(&request.validation, NULL, "tagKeys",
				    "Member must not be null");
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	return refusal ? refusal : tags_change(&request, NULL);
}
