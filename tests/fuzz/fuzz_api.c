/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients of the API write: paths and queries, names, JSON bodies. The first byte chooses the
 * reader.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/api/api_error.h"
#include "host/api/body.h"
#include "host/api/http.h"
#include "host/api/names.h"
#include "host/api/route.h"
#include "host/api/validation.h"

#define INPUT_MAX (1u << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct thaw_route routes[] = {
	{"GET", "/2015-03-31/functions", "ListFunctions", 0, NULL, NULL},
	{"GET", "/2015-03-31/functions/{FunctionName}", "GetFunction", 0, NULL, NULL},
	{"GET", "/2015-03-31/functions/{FunctionName}/aliases/{Name}", "GetAlias", 0, NULL, NULL},
	{"GET", "/2018-10-31/layers?find=LayerVersion", "GetLayerVersionByArn", 0, NULL, NULL},
	{"GET", "/2018-10-31/layers", "ListLayers", 0, NULL, NULL},
	{"GET", "/2017-03-31/tags/{Resource}", "UntagResource", 0, "tagKeys", NULL},
};

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void try_uri(char *text)
{
	const struct thaw_router router = {.routes = routes,
					   .count = sizeof(routes) / sizeof(routes[0])};
	char *mark = strchr(text, '?');
	const char *reason;
	struct thaw_call *call;

	if (mark)
		*mark = 0;
	if (thaw_router_match(&router, "GET", text, mark ? mark + 1 : "", &call, &reason) < 0)
		return;
	for (size_t i = 0; i < call->path_count; i++)
		must(call->path[i].value[0] && thaw_utf8_valid(call->path[i].value) &&
		     strlen(call->path[i].name) < 20);
	for (size_t i = 0; i < call->query_count; i++)
		must(thaw_utf8_valid(call->query[i].value) &&
		     thaw_call_query(call, call->query[i].name));
	thaw_call_free(call);
}

static void check_response(const struct thaw_validation *validation)
{
	struct thaw_http_response *response = thaw_api_validation_response(validation);
	size_t size;

	const void *body = thaw_http_response_body(response, &size);
	json_t *json = json_loadb(body, size, 0, NULL);
	must(json_is_string(json_object_get(json, "message")));
	json_decref(json);
	thaw_http_response_free(response);
}

static void try_names(const char *text)
{
	struct thaw_validation validation;
	struct thaw_function_name function;
	struct thaw_layer_name layer;

	thaw_validation_init(&validation);
	for (int namespaced = 0; namespaced < 2; namespaced++) {
		if (thaw_function_name_parse(text, namespaced, "functionName", &function,
					     &validation) == 0)
			must(function.name[0] && strlen(text) <= 256);
	}
	thaw_function_qualify(&function, text, &validation);
	thaw_layer_name_parse(text, "layerName", &layer, &validation);
	if (thaw_layer_version_parse(text, "layers", &layer, &validation) == 0)
		must(layer.name[0] && layer.version);
	for (int i = 0; i < THAW_SHAPES; i++)
		thaw_shape_check((enum thaw_shape)i, text, "value", &validation);
	if (thaw_validation_failed(&validation))
		check_response(&validation);
}

static void read_object(const struct thaw_object *object, int depth)
{
	static const char *const kinds[] = {"Zip", "Image", NULL};
	const char *text;
	struct thaw_object child;
	const json_t *json;
	unsigned int index;
	uint8_t *blob;
	int64_t number;
	size_t size;
	double real;
	bool truth;

	thaw_object_string(object, "FunctionName", THAW_REQUIRED, &text);
	thaw_object_integer(object, "MemorySize", THAW_OPTIONAL, 128, 10240, &number);
	thaw_object_real(object, "Weight", THAW_OPTIONAL, 0, 1, &real);
	thaw_object_boolean(object, "Publish", THAW_OPTIONAL, &truth);
	thaw_object_enum(object, "PackageType", THAW_OPTIONAL, kinds, &index);
	thaw_object_strings(object, "Layers", THAW_OPTIONAL, 1, 5, &json);
	thaw_object_map(object, "Tags", THAW_OPTIONAL, 50, &json);
	if (thaw_object_blob(object, "ZipFile", THAW_OPTIONAL, 100, &blob, &size) > 0) {
		must(size <= 100);
		free(blob);
	}
	if (depth < 40 && thaw_object_object(object, "Code", THAW_OPTIONAL, &child) > 0)
		read_object(&child, depth + 1);
}

static void try_body(const uint8_t *data, size_t size)
{
	struct thaw_validation validation;
	struct thaw_object object;
	json_t *tree;

	thaw_validation_init(&validation);
	if (thaw_body_parse(data, size, &validation, &tree, &object) == 0)
		read_object(&object, 0);
	json_decref(tree);
	if (thaw_validation_failed(&validation))
		check_response(&validation);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > INPUT_MAX)
		return 0;
	char *text = malloc(size);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = 0;
	if (data[0] % 3 == 0)
		try_uri(text);
	else if (data[0] % 3 == 1)
		try_names(text);
	else
		try_body((const uint8_t *)text, size - 1);
	free(text);
	return 0;
}
