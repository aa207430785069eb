/* SPDX-License-Identifier: Apache-2.0 */
#include "host/store/layers.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "host/operations/common.h"
#include "host/operations/layers.h"
#include "host/operations/operations.h"

#define cleanup_layer __attribute__((cleanup(thaw_layer_version_clear)))

void thaw_layer_request_name(struct thaw_request *request, struct thaw_layer_name *name)
{
	thaw_layer_name_parse(thaw_call_path(request->call, "LayerName"), "layerName", name,
			      &request->validation);
}

bool thaw_layer_is_here(const struct thaw_request *request, const struct thaw_layer_name *name)
{
	return (!*name->account || strcmp(name->account, request->account) == 0) &&
	       (!*name->region || strcmp(name->region, request->service->config->region) == 0);
}

static struct thaw_http_response *layer_not_found(void)
{
	return thaw_respond_error(-ENOENT, NULL, NULL);
}

/* {VersionNumber} is a long; whether there is one below 1 needs no look. */
static void layer_number(struct thaw_request *request, int64_t *number)
{
	const char *text = thaw_call_path(request->call, "VersionNumber");
	size_t sign = *text == '-', digits = strspn(text + sign, "0123456789");

	*number = 0;
	if (!digits || digits > 18 || text[sign + digits])
		thaw_validation_serialization(&request->validation,
					      "STRING_VALUE can not be converted to a Long");
	else
		*number = strtoll(text, NULL, 10);
}

static struct thaw_http_response *layer_number_check(int64_t number)
{
	if (number >= 1)
		return NULL;
	return thaw_api_error_response("InvalidParameterValueException",
				       "Layer Version Cannot be less than 1.");
}

static struct thaw_http_response *layer_get(struct thaw_request *request,
					    const struct thaw_layer_name *name, int64_t number)
{
	cleanup_layer struct thaw_layer_version layer = {0};
	struct thaw_error err = {0};
	int rc = -ENOENT;

	if (thaw_layer_is_here(request, name))
		rc = thaw_layers_get(request->service->store, request->account, name->name, number,
				     &layer, &err);
	return rc < 0 ? thaw_respond_error(rc, &err, NULL)
		      : thaw_respond_json(200, thaw_layer_json(request, &layer, true));
}

struct thaw_http_response *thaw_operation_get_layer_version(struct thaw_service *service,
							    struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	struct thaw_layer_name name;
	int64_t number;

	thaw_request_init(&request, service, call);
	thaw_layer_request_name(&request, &name);
	layer_number(&request, &number);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (!refusal)
		refusal = layer_number_check(number);
	return refusal ? refusal : layer_get(&request, &name, number);
}

struct thaw_http_response *thaw_operation_get_layer_version_by_arn(struct thaw_service *service,
								   struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	const char *arn = thaw_call_query(call, "Arn");
	struct thaw_layer_name name = {0};

	thaw_request_init(&request, service, call);
	if (!arn)
		thaw_validation_add(&request.validation, NULL, "arn", "Member must not be null");
	else
		thaw_layer_version_parse(arn, "arn", &name, &request.validation);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	return refusal ? refusal : layer_get(&request, &name, (int64_t)name.version);
}

struct thaw_http_response *thaw_operation_delete_layer_version(struct thaw_service *service,
							       struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	struct thaw_layer_name name;
	struct thaw_error err = {0};
	int64_t number;
	int rc = -ENOENT;

	thaw_request_init(&request, service, call);
	thaw_layer_request_name(&request, &name);
	layer_number(&request, &number);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (!refusal)
		refusal = layer_number_check(number);
	if (!refusal && !thaw_layer_is_here(&request, &name))
		refusal = layer_not_found();
	if (refusal)
		return refusal;
	/* AWS says the same whether there was one. Functions that have it go on. */
	rc = thaw_layers_delete(service->store, request.account, name.name, number, &err);
	return rc < 0 && rc != -ENOENT ? thaw_respond_error(rc, &err, NULL)
				       : thaw_respond_empty(204);
}

static void layers_filter(struct thaw_request *request, struct thaw_layers_filter *filter)
{
	filter->runtime = thaw_request_query_enum(request, "CompatibleRuntime", "compatibleRuntime",
						  thaw_runtimes);
	filter->architecture = thaw_request_query_enum(
		request, "CompatibleArchitecture", "compatibleArchitecture", thaw_architectures);
}

struct thaw_http_response *thaw_operation_list_layers(struct thaw_service *service,
						      struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	struct thaw_layers_filter filter;
	struct thaw_layer_version *list;
	struct thaw_error err = {0};
	char arn[THAW_ARN_TEXT];
	size_t count;

	thaw_request_init(&request, service, call);
	thaw_request_page(&request, THAW_PAGE_ITEMS);
	layers_filter(&request, &filter);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (refusal)
		return refusal;
	int rc = thaw_layers_list(service->store, request.account, &filter, request.marker,
				  request.page, &list, &count, &err);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	json_t *body = json_object(), *layers = json_array();
	json_object_set_new(body, "Layers", layers);
	for (size_t i = 0; i < count; i++) {
		thaw_layer_arn(&request, list[i].name, 0, arn);
		json_array_append_new(layers,
				      json_pack("{s:s, s:s, s:o}", "LayerName", list[i].name,
						"LayerArn", arn, "LatestMatchingVersion",
						thaw_layer_json(&request, &list[i], false)));
	}
	if (rc > 0)
		thaw_request_next_marker(body, list[count - 1].name);
	thaw_layer_versions_free(list, count);
	return thaw_respond_json(200, body);
}

/* The marker is the number of the last one. 0: it is none of ours. */
static int64_t layers_marker(const char *marker)
{
	int64_t number;

	if (!*marker)
		return THAW_STORE_UNSET;
	return thaw_version_parse(marker, &number) ? number : 0;
}

struct thaw_http_response *thaw_operation_list_layer_versions(struct thaw_service *service,
							      struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	struct thaw_layers_filter filter;
	struct thaw_layer_name name;
	struct thaw_layer_version *list;
	struct thaw_error err = {0};
	char marker[24];
	size_t count;

	thaw_request_init(&request, service, call);
	thaw_layer_request_name(&request, &name);
	thaw_request_page(&request, THAW_PAGE_ITEMS);
	layers_filter(&request, &filter);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	int64_t before = layers_marker(request.marker);
	if (!refusal && !before)
		refusal =
			thaw_api_error_response("InvalidParameterValueException", "Invalid marker");
	if (!refusal && !thaw_layer_is_here(&request, &name))
		refusal = layer_not_found();
	if (refusal)
		return refusal;
	int rc = thaw_layers_list_versions(service->store, request.account, name.name, &filter,
					   before, request.page, &list, &count, &err);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	json_t *body = json_object(), *layers = json_array();
	json_object_set_new(body, "LayerVersions", layers);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(layers, thaw_layer_json(&request, &list[i], false));
	if (rc > 0) {
		thaw_version_text(list[count - 1].number, marker);
		thaw_request_next_marker(body, marker);
	}
	thaw_layer_versions_free(list, count);
	return thaw_respond_json(200, body);
}
