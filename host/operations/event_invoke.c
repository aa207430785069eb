/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How asynchronous invocations of a function are retried, and where their results go. A destination
 * is a function of the same account, or (what AWS has not) an http or https URL.
 *
 * Without a qualifier it is $LATEST's: the store has both as "", clients see "$LATEST".
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "host/operations/common.h"
#include "host/operations/operations.h"
#include "host/store/event_config.h"

#define DESTINATION_MAX 350 /* characters, as the model has it */

#define cleanup_config __attribute__((cleanup(thaw_event_config_clear)))

static const char *const destination_names[] = {"OnSuccess", "OnFailure"};

/* What a client says; NULL or THAW_STORE_UNSET where it says nothing. */
struct config_input {
	int64_t retries, age_s;
	bool destined;              /* DestinationConfig is given, and replaces what was */
	const char *destination[2]; /* "" is none */
};

static void config_read(struct thaw_request *request, struct config_input *input)
{
	struct thaw_object destinations, one;

	*input = (struct config_input){.retries = THAW_STORE_UNSET, .age_s = THAW_STORE_UNSET};
	thaw_object_integer(&request->body, "MaximumRetryAttempts", THAW_OPTIONAL, 0, 2,
			    &input->retries);
	thaw_object_integer(&request->body, "MaximumEventAgeInSeconds", THAW_OPTIONAL, 60, 21600,
			    &input->age_s);
	if (thaw_object_object(&request->body, "DestinationConfig", THAW_OPTIONAL, &destinations) <=
	    0)
		return;
	input->destined = true;
	for (int i = 0; i < 2; i++) {
		const char **to = &input->destination[i];
		char member[THAW_BODY_PATH_MAX];
		if (thaw_object_object(&destinations, destination_names[i], THAW_OPTIONAL, &one) <=
			    0 ||
		    thaw_object_string(&one, "Destination", THAW_OPTIONAL, to) <= 0)
			continue;
		thaw_object_member(&one, "Destination", member);
		if (thaw_utf8_length(*to) > DESTINATION_MAX)
			thaw_validation_add(&request->validation, *to, member,
					    "Member must have length less than or equal to %d",
					    DESTINATION_MAX);
	}
}

/* "https://host[:port][/path]": no user or password in it, nothing that a request line has not. */
static bool is_url(const char *text)
{
	size_t scheme = strncmp(text, "https://", 8) == 0  ? 8
			: strncmp(text, "http://", 7) == 0 ? 7
							   : 0;
	size_t host = strcspn(text + scheme, "/?#");

	if (!scheme || !host || text[scheme] == ':' || memchr(text + scheme, '@', host))
		return false;
	for (const char *c = text; *c; c++) {
		if (*c <= ' ' || *c > '~' || strchr("\"<>\\^`{|}#", *c))
			return false;
	}
	return true;
}

/* 1: it may be; 0: it may not; or a negative errno. */
static int destination_valid(struct thaw_request *request, const char *text, bool *itself,
			     struct thaw_error *err)
{
	struct thaw_validation ignored;
	struct thaw_function_name name;

	if (is_url(text))
		return 1;
	thaw_validation_init(&ignored);
	if (strncmp(text, "arn:", 4) != 0 ||
	    thaw_function_name_parse(text, true, "destination", &name, &ignored) < 0 ||
	    strcmp(name.account, request->account) != 0 ||
	    strcmp(name.region, request->service->config->region) != 0)
		return 0;
	int rc = thaw_functions_get(request->service->store, name.account, name.name,
				    THAW_VERSION_LATEST, NULL, err);
	/* It would invoke itself for ever. */
	*itself = rc == 0 && strcmp(name.name, request->item.function.name) == 0;
	return rc == -ENOENT ? 0 : rc < 0 ? rc : 1;
}

static struct thaw_http_response *destination_refuse(const struct config_input *input)
{
	const char *success = input->destination[0], *failure = input->destination[1];

	return thaw_api_error_response(
		"InvalidParameterValueException",
		"The provided destination config DestinationConfig(onSuccess=%s%s%s, "
		"onFailure=%s%s%s) is invalid.",
		success ? "OnSuccess(destination=" : "", success ? success : "null",
		success ? ")" : "", failure ? "OnFailure(destination=" : "",
		failure ? failure : "null", failure ? ")" : "");
}

static struct thaw_http_response *destinations_check(struct thaw_request *request,
						     const struct config_input *input)
{
	struct thaw_error err = {0};

	for (int i = 0; i < 2; i++) {
		bool itself = false;
		if (!input->destination[i] || !*input->destination[i])
			continue;
		int rc = destination_valid(request, input->destination[i], &itself, &err);
		if (rc < 0)
			return thaw_respond_error(rc, &err, NULL);
		if (rc == 0)
			return destination_refuse(input);
		if (itself)
			return thaw_api_error_response("InvalidParameterValueException",
						       "You can't specify the function as a "
						       "destination for itself.");
	}
	return NULL;
}

/* As it is stored: the members that say something, NULL when none does. */
static json_t *destinations_json(const struct config_input *input)
{
	json_t *all = json_object();

	for (int i = 0; i < 2; i++) {
		if (input->destination[i] && *input->destination[i])
			json_object_set_new(
				all, destination_names[i],
				json_pack("{s:s}", "Destination", input->destination[i]));
	}
	if (json_object_size(all))
		return all;
	json_decref(all);
	return NULL;
}

static const char *shown(const char *qualifier)
{
	return *qualifier ? qualifier : "$LATEST";
}

static json_t *config_json(const struct thaw_request *request,
			   const struct thaw_event_config *config)
{
	json_t *body = json_object();
	json_t *destinations =
		config->destinations ? thaw_json_stored(config->destinations) : json_object();
	char arn[THAW_ARN_TEXT];

	thaw_arn_function(request->service, request->account, request->item.function.name,
			  shown(config->qualifier), arn);
	/* Seconds since 1970, as numbers: rest-json's timestamps. */
	json_object_set_new(body, "LastModified",
			    json_real((double)config->last_modified_ms / 1000));
	json_object_set_new(body, "FunctionArn", json_string(arn));
	if (config->maximum_retries != THAW_STORE_UNSET)
		json_object_set_new(body, "MaximumRetryAttempts",
				    json_integer(config->maximum_retries));
	if (config->maximum_age_s != THAW_STORE_UNSET)
		json_object_set_new(body, "MaximumEventAgeInSeconds",
				    json_integer(config->maximum_age_s));
	for (int i = 0; i < 2; i++) {
		if (!json_object_get(destinations, destination_names[i]))
			json_object_set_new(destinations, destination_names[i], json_object());
	}
	json_object_set_new(body, "DestinationConfig", destinations);
	return body;
}

/* Name and qualifier, and that they are there; the qualifier is never "$LATEST" then. NULL to go
 * on. */
static struct thaw_http_response *config_request(struct thaw_request *request)
{
	struct thaw_http_response *refusal = thaw_request_refused(request);

	if (refusal)
		return refusal;
	if (strcmp(request->function.qualifier, "$LATEST") == 0)
		*request->function.qualifier = 0;
	return thaw_request_version(request);
}

static struct thaw_http_response *config_not_found(const struct thaw_request *request)
{
	char arn[THAW_ARN_TEXT];

	thaw_arn_function(request->service, request->account, request->item.function.name,
			  shown(request->function.qualifier), arn);
	return thaw_api_error_response("ResourceNotFoundException",
				       "The function %s doesn't have an EventInvokeConfig", arn);
}

/* Replaces it, or with `update` only what is given: in one scope. NULL to go on, with *config what
 * it is now (its strings the caller's). */
static struct thaw_http_response *config_set(struct thaw_request *request,
					     const struct config_input *input, bool update,
					     struct thaw_event_config *config)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	cleanup_config struct thaw_event_config now = {.maximum_retries = THAW_STORE_UNSET,
						       .maximum_age_s = THAW_STORE_UNSET};
	json_t *destinations = destinations_json(input);
	cleanup_free char *text = destinations ? json_dumps(destinations, JSON_COMPACT) : NULL;
	struct thaw_store *store = request->service->store;
	int64_t id = request->item.function.id;
	struct thaw_error err = {0};

	int rc = destinations && !text ? -ENOMEM : thaw_store_begin(&scope, store, &err);
	json_decref(destinations);
	if (rc == 0 && update)
		rc = thaw_event_configs_get(store, id, request->function.qualifier, &now, &err);
	if (rc == -ENOENT)
		return config_not_found(request);
	struct thaw_event_config next = {
		.function_id = id,
		.qualifier = request->function.qualifier,
		.maximum_retries =
			input->retries == THAW_STORE_UNSET ? now.maximum_retries : input->retries,
		.maximum_age_s =
			input->age_s == THAW_STORE_UNSET ? now.maximum_age_s : input->age_s,
		.destinations = input->destined ? text : now.destinations,
		.last_modified_ms = thaw_now_ms(),
	};
	if (rc == 0)
		rc = thaw_event_configs_put(store, &next, &err);
	if (rc == 0)
		rc = thaw_event_configs_get(store, id, next.qualifier, config, &err);
	if (rc == 0)
		rc = thaw_store_commit(&scope, &err);
	return rc < 0 ? thaw_respond_error(rc, &err, NULL) : NULL;
}

static struct thaw_http_response *config_write(struct thaw_service *service, struct thaw_call *call,
					       bool update)
{
	cleanup_request struct thaw_request request;
	cleanup_config struct thaw_event_config config = {0};
	struct config_input input;

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, true);
	thaw_request_body(&request);
	config_read(&request, &input);
	struct thaw_http_response *refusal = config_request(&request);
	if (!refusal && input.retries == THAW_STORE_UNSET && input.age_s == THAW_STORE_UNSET &&
	    !input.destined)
		refusal = thaw_api_error_response("InvalidParameterValueException",
						  "You must specify at least one of error handling "
						  "or destination setting.");
	if (!refusal)
		refusal = destinations_check(&request, &input);
	if (!refusal)
		refusal = config_set(&request, &input, update, &config);
	return refusal ? refusal : thaw_respond_json(200, config_json(&request, &config));
}

struct thaw_http_response *
thaw_operation_put_function_event_invoke_config(struct thaw_service *service,
						struct thaw_call *call)
{
	return config_write(service, call, false);
}

struct thaw_http_response *
thaw_operation_update_function_event_invoke_config(struct thaw_service *service,
						   struct thaw_call *call)
{
	return config_write(service, call, true);
}

struct thaw_http_response *
thaw_operation_get_function_event_invoke_config(struct thaw_service *service,
						struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	cleanup_config struct thaw_event_config config = {0};
	struct thaw_error err = {0};

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, true);
	struct thaw_http_response *refusal = config_request(&request);
	if (refusal)
		return refusal;
	int rc = thaw_event_configs_get(service->store, request.item.function.id,
					request.function.qualifier, &config, &err);
	if (rc == -ENOENT)
		return config_not_found(&request);
	return rc < 0 ? thaw_respond_error(rc, &err, NULL)
		      : thaw_respond_json(200, config_json(&request, &config));
}

struct thaw_http_response *
thaw_operation_delete_function_event_invoke_config(struct thaw_service *service,
						   struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	struct thaw_error err = {0};

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, true);
	struct thaw_http_response *refusal = config_request(&request);
	if (refusal)
		return refusal;
	int rc = thaw_event_configs_delete(service->store, request.item.function.id,
					   request.function.qualifier, &err);
	if (rc == -ENOENT)
		return config_not_found(&request);
	return rc < 0 ? thaw_respond_error(rc, &err, NULL) : thaw_respond_empty(204);
}

struct thaw_http_response *
thaw_operation_list_function_event_invoke_configs(struct thaw_service *service,
						  struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	struct thaw_event_config *list;
	struct thaw_error err = {0};
	size_t count;

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, false);
	thaw_request_page(&request, THAW_PAGE_ITEMS);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (!refusal)
		refusal = thaw_request_unqualified(&request);
	if (refusal)
		return refusal;
	const char *after = *request.marker ? request.marker : NULL;
	if (after && strcmp(after, "$LATEST") == 0)
		after = "";
	int rc = thaw_event_configs_list(service->store, request.item.function.id, after,
					 request.page, &list, &count, &err);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	json_t *body = json_object(), *configs = json_array();
	json_object_set_new(body, "FunctionEventInvokeConfigs", configs);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(configs, config_json(&request, &list[i]));
	if (rc > 0)
		thaw_request_next_marker(body, shown(list[count - 1].qualifier));
	thaw_event_configs_free(list, count);
	return thaw_respond_json(200, body);
}
