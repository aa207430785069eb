/* SPDX-License-Identifier: Apache-2.0 */
#include "host/store/aliases.h"

#include <errno.h>
#include <string.h>

#include "host/daemon/targets.h"
#include "host/operations/common.h"
#include "host/operations/operations.h"

#define cleanup_alias __attribute__((cleanup(thaw_alias_clear)))

/* What a client says of an alias; NULL, or false, where it says nothing. */
struct alias_input {
	const char *name;
	const char *version;
	const char *description;
	const char *revision;
	bool routed;        /* RoutingConfig is given, and replaces what was */
	const char *second; /* NULL: to one version only */
	double weight;
	size_t seconds; /* how many there are: one too many is told of its own */
};

static json_t *alias_json(const struct thaw_request *request, const struct thaw_alias *alias)
{
	const struct thaw_function_record *function = &request->item.function;
	char arn[THAW_ARN_TEXT], version[24];

	thaw_arn_function(request->service, function->account, function->name, alias->name, arn);
	thaw_version_text(alias->version, version);
	json_t *body = json_pack("{s:s, s:s, s:s, s:s, s:s}", "AliasArn", arn, "Name", alias->name,
				 "FunctionVersion", version, "Description", alias->description,
				 "RevisionId", alias->revision_id);
	if (body && alias->second_version != THAW_STORE_UNSET) {
		thaw_version_text(alias->second_version, version);
		json_object_set_new(body, "RoutingConfig",
				    json_pack("{s:{s:f}}", "AdditionalVersionWeights", version,
					      alias->second_weight));
	}
	return body;
}

static struct thaw_http_response *alias_not_found(const struct thaw_request *request,
						  const char *name)
{
	char arn[THAW_ARN_TEXT];

	thaw_arn_function(request->service, request->account, request->function.name, name, arn);
	return thaw_api_error_response("ResourceNotFoundException", "Cannot find alias arn: %s",
				       arn);
}

/* One member of AdditionalVersionWeights. */
static void alias_weight(struct thaw_request *request, const char *key, const json_t *value,
			 struct alias_input *input)
{
	static const char member[] = "routingConfig.additionalVersionWeights";
	double weight = json_number_value(value);
	char text[64];

	if (!json_is_number(value)) {
		thaw_validation_serialization(&request->validation,
					      "A value of AdditionalVersionWeights can not be "
					      "converted to a Double");
		return;
	}
	thaw_shape_check(THAW_SHAPE_VERSION, key, member, &request->validation);
	snprintf(text, sizeof(text), "{%.20s=%.4g}", key, weight);
	if (weight < 0 || weight > 1)
		thaw_validation_add(&request->validation, text, member,
				    "Map value must satisfy constraint: [Member must have value "
				    "less than or equal to 1.0, Member must have value greater "
				    "than or equal to 0.0, Member must not be null]");
	input->second = key;
	input->weight = weight;
	input->seconds++;
}

static void alias_routing(struct thaw_request *request, struct alias_input *input)
{
	struct thaw_object routing, weights;
	const char *key;
	json_t *value;

	if (thaw_object_object(&request->body, "RoutingConfig", THAW_OPTIONAL, &routing) <= 0)
		return;
	input->routed = true;
	if (thaw_object_object(&routing, "AdditionalVersionWeights", THAW_OPTIONAL, &weights) <= 0)
		return;
	json_object_foreach((json_t *)weights.json, key, value)
	{
		alias_weight(request, key, value, input);
	}
}

static void alias_read(struct thaw_request *request, enum thaw_presence presence,
		       struct alias_input *input)
{
	struct thaw_validation *validation = &request->validation;

	if (thaw_object_string(&request->body, "FunctionVersion", presence, &input->version) > 0)
		thaw_shape_check(THAW_SHAPE_VERSION, input->version, "functionVersion", validation);
	if (thaw_object_string(&request->body, "Description", THAW_OPTIONAL, &input->description) >
	    0)
		thaw_shape_check(THAW_SHAPE_DESCRIPTION, input->description, "description",
				 validation);
	alias_routing(request, input);
}

static void alias_read_name(struct thaw_request *request, struct alias_input *input)
{
	input->name = thaw_call_path(request->call, "Name");
	thaw_shape_check(THAW_SHAPE_ALIAS, input->name, "name", &request->validation);
}

/* The version named must be there. NULL to go on. */
static struct thaw_http_response *alias_version(struct thaw_request *request, const char *text,
						int64_t *version)
{
	struct thaw_error err = {0};
	int rc = -ENOENT;

	if (thaw_version_parse(text, version))
		rc = thaw_versions_get(request->service->store, request->item.function.id, *version,
				       NULL, &err);
	if (rc == -ENOENT)
		return thaw_respond_no_function(request->service, request->account,
						request->function.name, text);
	return rc < 0 ? thaw_respond_error(rc, &err, NULL) : NULL;
}

/* Puts what the client says over what the alias is. */
static struct thaw_http_response *
alias_apply(struct thaw_request *request, const struct alias_input *input, struct thaw_alias *alias)
{
	struct thaw_http_response *refusal = NULL;
	char version[24];

	if (input->seconds > 1)
		return thaw_api_error_response("InvalidParameterValueException",
					       "Number of items in AdditionalVersionWeights cannot "
					       "be greater than 1. Number of items: %zu",
					       input->seconds);
	if (input->version)
		refusal = alias_version(request, input->version, &alias->version);
	if (!refusal && input->second)
		refusal = alias_version(request, input->second, &alias->second_version);
	if (refusal)
		return refusal;
	if (input->routed && !input->second)
		alias->second_version = THAW_STORE_UNSET;
	if (input->routed)
		alias->second_weight = input->second ? input->weight : 0;
	if (input->description)
		alias->description = (char *)input->description;
	if (alias->second_version == THAW_STORE_UNSET)
		return NULL;
	if (alias->version == THAW_VERSION_LATEST || alias->second_version == THAW_VERSION_LATEST)
		return thaw_api_error_response("InvalidParameterValueException",
					       "$LATEST is not supported for an alias pointing to "
					       "more than 1 version");
	thaw_version_text(alias->version, version);
	if (alias->version == alias->second_version)
		return thaw_api_error_response("InvalidParameterValueException",
					       "Invalid function version %s. Function version %s "
					       "is already included in routing configuration.",
					       version, version);
	return NULL;
}

struct thaw_http_response *thaw_operation_create_alias(struct thaw_service *service,
						       struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	cleanup_alias struct thaw_alias made = {0};
	struct thaw_alias alias = {.description = (char *)"", .second_version = THAW_STORE_UNSET};
	struct alias_input input = {0};
	struct thaw_error err = {0};
	char arn[THAW_ARN_TEXT];

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, false);
	thaw_request_body(&request);
	if (thaw_object_string(&request.body, "Name", THAW_REQUIRED, &input.name) > 0)
		thaw_shape_check(THAW_SHAPE_ALIAS, input.name, "name", &request.validation);
	alias_read(&request, THAW_REQUIRED, &input);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (!refusal)
		refusal = thaw_request_unqualified(&request);
	if (!refusal)
		refusal = alias_apply(&request, &input, &alias);
	if (refusal)
		return refusal;
	alias.function_id = request.item.function.id;
	alias.name = (char *)input.name;
	int rc = thaw_aliases_create(service->store, &alias, &made, &err);
	thaw_arn_function(service, request.account, request.function.name, input.name, arn);
	if (rc == -EEXIST)
		return thaw_api_error_response("ResourceConflictException",
					       "Alias already exists: %s", arn);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	thaw_targets_changed(service->targets, alias.function_id);
	return thaw_respond_json(201, alias_json(&request, &made));
}

struct thaw_http_response *thaw_operation_get_alias(struct thaw_service *service,
						    struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	cleanup_alias struct thaw_alias alias = {0};
	struct alias_input input = {0};
	struct thaw_error err = {0};

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, false);
	alias_read_name(&request, &input);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (!refusal)
		refusal = thaw_request_unqualified(&request);
	if (refusal)
		return refusal;
	int rc = thaw_aliases_get(service->store, request.item.function.id, input.name, &alias,
				  &err);
	if (rc == -ENOENT)
		return alias_not_found(&request, input.name);
	return rc < 0 ? thaw_respond_error(rc, &err, NULL)
		      : thaw_respond_json(200, alias_json(&request, &alias));
}

/* In one scope, so that what is not given stays as it is then. */
static struct thaw_http_response *
alias_update(struct thaw_request *request, const struct alias_input *input, struct thaw_alias *made)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	cleanup_alias struct thaw_alias now = {0};
	struct thaw_error err = {0};

	int rc = thaw_store_begin(&scope, request->service->store, &err);
	if (rc == 0)
		rc = thaw_aliases_get(scope.store, request->item.function.id, input->name, &now,
				      &err);
	if (rc == -ENOENT)
		return alias_not_found(request, input->name);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	struct thaw_alias next = now;
	struct thaw_http_response *refusal = alias_apply(request, input, &next);
	if (refusal)
		return refusal;
	rc = thaw_aliases_update(scope.store, &next, input->revision, made, &err);
	if (rc == 0)
		rc = thaw_store_commit(&scope, &err);
	return rc < 0 ? thaw_respond_error(rc, &err, NULL) : NULL;
}

struct thaw_http_response *thaw_operation_update_alias(struct thaw_service *service,
						       struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	cleanup_alias struct thaw_alias made = {0};
	struct alias_input input = {0};

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, false);
	alias_read_name(&request, &input);
	thaw_request_body(&request);
	alias_read(&request, THAW_OPTIONAL, &input);
	thaw_object_string(&request.body, "RevisionId", THAW_OPTIONAL, &input.revision);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (!refusal)
		refusal = thaw_request_unqualified(&request);
	if (!refusal)
		refusal = alias_update(&request, &input, &made);
	if (refusal)
		return refusal;
	thaw_targets_changed(service->targets, made.function_id);
	return thaw_respond_json(200, alias_json(&request, &made));
}

struct thaw_http_response *thaw_operation_delete_alias(struct thaw_service *service,
						       struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	struct alias_input input = {0};
	struct thaw_error err = {0};

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, false);
	alias_read_name(&request, &input);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (!refusal)
		refusal = thaw_request_unqualified(&request);
	if (refusal)
		return refusal;
	int rc = thaw_aliases_delete(service->store, request.item.function.id, input.name, &err);
	if (rc < 0 && rc != -ENOENT)
		return thaw_respond_error(rc, &err, NULL);
	if (rc == 0)
		thaw_targets_changed(service->targets, request.item.function.id);
	/* AWS says the same whether there was one. */
	return thaw_respond_empty(204);
}

static json_t *aliases_json(const struct thaw_request *request, const struct thaw_alias *list,
			    size_t count, bool more)
{
	json_t *body = json_object(), *aliases = json_array();

	json_object_set_new(body, "Aliases", aliases);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(aliases, alias_json(request, &list[i]));
	if (more)
		thaw_request_next_marker(body, list[count - 1].name);
	return body;
}

struct thaw_http_response *thaw_operation_list_aliases(struct thaw_service *service,
						       struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	const char *text = thaw_call_query(call, "FunctionVersion");
	int64_t version = THAW_STORE_UNSET;
	struct thaw_error err = {0};
	struct thaw_alias *list;
	size_t count;

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, false);
	thaw_request_page(&request, THAW_PAGE_ITEMS);
	if (text)
		thaw_shape_check(THAW_SHAPE_VERSION, text, "functionVersion", &request.validation);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (!refusal)
		refusal = thaw_request_unqualified(&request);
	if (refusal)
		return refusal;
	/* No alias can point to what cannot be a version. */
	if (text && !thaw_version_parse(text, &version))
		return thaw_respond_json(200, json_pack("{s:[]}", "Aliases"));
	int rc = thaw_aliases_list(service->store, request.item.function.id, version,
				   request.marker, request.page, &list, &count, &err);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	json_t *body = aliases_json(&request, list, count, rc);
	thaw_aliases_free(list, count);
	return thaw_respond_json(200, body);
}
