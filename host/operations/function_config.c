/* SPDX-License-Identifier: Apache-2.0 */
#include "host/operations/function_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/operations/operation.h"
#include "host/operations/vpc.h"
#include "lib/error.h"
#include "lib/log.h"

/* The reader of a member gave a fault, which the request has; or there is no memory, which the
 * request's end tells. */
static bool text_member(struct thaw_request *request, const struct thaw_object *object,
			const char *name, enum thaw_presence presence, const char **text)
{
	int rc = thaw_object_string(object, name, presence, text);

	if (rc == -ENOMEM && !request->refusal)
		request->refusal = thaw_respond_error(rc, NULL, NULL);
	return rc == 1;
}

static void refuse(struct thaw_request *request, const char *format, const char *what)
{
	if (!request->refusal)
		request->refusal =
			thaw_api_error_response("InvalidParameterValueException", format, what);
}

static void merge_text(struct thaw_request *request, json_t *config, const char *name,
		       const char *member, enum thaw_shape shape, enum thaw_presence presence)
{
	const char *text;

	if (text_member(request, &request->body, name, presence, &text) &&
	    thaw_shape_check(shape, text, member, &request->validation) == 0)
		json_object_set_new(config, name, json_string(text));
}

static void merge_number(struct thaw_request *request, json_t *config, const char *name,
			 int64_t min, int64_t max)
{
	int64_t value;

	if (thaw_object_integer(&request->body, name, THAW_OPTIONAL, min, max, &value) == 1)
		json_object_set_new(config, name, json_integer(value));
}

/* {"name": one of values}, kept as such an object. */
static void merge_choice(struct thaw_request *request, json_t *config, const char *member,
			 const char *name, const char *const *values)
{
	struct thaw_object object;
	unsigned int index;

	if (thaw_object_object(&request->body, member, THAW_OPTIONAL, &object) == 1 &&
	    thaw_object_enum(&object, name, THAW_OPTIONAL, values, &index) == 1)
		json_object_set_new(config, member, json_pack("{s:s}", name, values[index]));
}

static void merge_runtime(struct thaw_request *request, json_t *config, bool create)
{
	struct thaw_error err = {0};
	const char *text;

	if (!text_member(request, &request->body, "Runtime", THAW_OPTIONAL, &text)) {
		if (create)
			refuse(request, "%s",
			       "Runtime and Handler are mandatory parameters for functions created "
			       "with deployment packages.");
		return;
	}
	int rc = thaw_paths_check_runtime(&request->service->host.paths, text, &err);
	if (rc < 0 && rc != -EINVAL) {
		thaw_log(THAW_LOG_ERROR, "%s", err.message);
		request->validation.host_failed = true;
	}
	if (rc < 0) {
		char *known = strstr(err.message, "known: ");
		if (known && known[strlen(known) - 1] == ')')
			known[strlen(known) - 1] = 0;
		thaw_validation_add(&request->validation, text, "runtime",
				    "Member must satisfy enum value set: [%s]",
				    known ? known + 7 : "");
		return;
	}
	json_object_set_new(config, "Runtime", json_string(text));
}

static void merge_variables(struct thaw_request *request, json_t *config)
{
	struct thaw_object object;
	struct thaw_function function;
	struct thaw_error err = {0};
	const json_t *map;
	const char *name;
	json_t *value;

	if (thaw_object_object(&request->body, "Environment", THAW_OPTIONAL, &object) != 1)
		return;
	json_t *copy = json_object();
	thaw_function_init(&function);
	if (thaw_object_map(&object, "Variables", THAW_OPTIONAL, THAW_ENVIRONMENT_MAX, &map) == 1) {
		json_object_foreach((json_t *)map, name, value)
		{
			if (thaw_shape_check(THAW_SHAPE_VARIABLE_NAME, name,
					     "environment.variables", &request->validation) < 0)
				continue;
			if (thaw_function_set_variable(&function, name, json_string_value(value),
						       &err) < 0) {
				refuse(request,
				       "Lambda was unable to configure your environment variables: "
				       "%s",
				       err.message);
				break;
			}
			json_object_set(copy, name, value);
		}
	}
	thaw_function_clear(&function);
	json_object_set_new(config, "Environment", json_pack("{s:o}", "Variables", copy));
}

/* Names of layer versions, as the client wrote them: code.c looks them up. */
static void merge_layers(struct thaw_request *request, json_t *config)
{
	struct thaw_layer_name name;
	const json_t *list;
	size_t i;
	json_t *item;

	if (thaw_object_strings(&request->body, "Layers", THAW_OPTIONAL, 0, 100, &list) != 1)
		return;
	if (json_array_size(list) > THAW_LAYERS_MAX) {
		refuse(request, "%s", "Cannot reference more than 5 layers.");
		return;
	}
	json_array_foreach(list, i, item) thaw_layer_version_parse(
		json_string_value(item), "layers", &name, &request->validation);
	json_object_set_new(config, "Layers", json_deep_copy(list));
}

static void merge_dead_letter(struct thaw_request *request, json_t *config)
{
	struct thaw_object object;
	const char *target;

	if (thaw_object_object(&request->body, "DeadLetterConfig", THAW_OPTIONAL, &object) != 1 ||
	    !text_member(request, &object, "TargetArn", THAW_OPTIONAL, &target))
		return;
	if (!*target) {
		json_object_del(config, "DeadLetterConfig");
		return;
	}
	if (strncmp(target, "arn:aws:lambda:", 15) != 0 && strncmp(target, "http://", 7) != 0 &&
	    strncmp(target, "https://", 8) != 0)
		refuse(request,
		       "The dead letter target %s is neither a function of this host nor a URL.",
		       target);
	json_object_set_new(config, "DeadLetterConfig", json_pack("{s:s}", "TargetArn", target));
}

static void merge_logging(struct thaw_request *request, json_t *config)
{
	static const char *const formats[] = {"JSON", "Text", NULL};
	static const char *const levels[] = {"TRACE", "DEBUG", "INFO", "WARN",
					     "ERROR", "FATAL", NULL};
	static const char *const system_levels[] = {"DEBUG", "INFO", "WARN", NULL};
	struct thaw_object object;
	unsigned int index;
	const char *group;

	if (thaw_object_object(&request->body, "LoggingConfig", THAW_OPTIONAL, &object) != 1)
		return;
	json_t *logging = json_object();
	if (thaw_object_enum(&object, "LogFormat", THAW_OPTIONAL, formats, &index) == 1)
		json_object_set_new(logging, "LogFormat", json_string(formats[index]));
	if (thaw_object_enum(&object, "ApplicationLogLevel", THAW_OPTIONAL, levels, &index) == 1)
		json_object_set_new(logging, "ApplicationLogLevel", json_string(levels[index]));
	if (thaw_object_enum(&object, "SystemLogLevel", THAW_OPTIONAL, system_levels, &index) == 1)
		json_object_set_new(logging, "SystemLogLevel", json_string(system_levels[index]));
	if (text_member(request, &object, "LogGroup", THAW_OPTIONAL, &group) &&
	    thaw_shape_check(THAW_SHAPE_LOG_GROUP, group, "loggingConfig.logGroup",
			     &request->validation) == 0)
		json_object_set_new(logging, "LogGroup", json_string(group));
	json_object_set_new(config, "LoggingConfig", logging);
}

/* Members that are there, and say more than "none", ask for what this host has not. */
static void refuse_unsupported(struct thaw_request *request)
{
	static const char *const members[] = {
		"ImageConfig",          "FileSystemConfigs",      "KMSKeyArn",
		"CodeSigningConfigArn", "CapacityProviderConfig", "DurableConfig",
		"TenancyConfig",
	};
	static const char *const packages[] = {"Zip", "Image", NULL};
	const json_t *list;
	unsigned int index;

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		const json_t *value = json_object_get(request->body.json, members[i]);
		bool none = !value || json_is_null(value) ||
			    ((json_is_object(value) || json_is_array(value)) &&
			     json_object_size(value) + json_array_size(value) == 0) ||
			    (json_is_string(value) && json_string_length(value) == 0);
		if (!none)
			refuse(request, "%s is not supported by this host.", members[i]);
	}
	if (thaw_object_enum(&request->body, "PackageType", THAW_OPTIONAL, packages, &index) == 1 &&
	    index)
		refuse(request, "%s", "PackageType Image is not supported by this host.");
	if (thaw_object_strings(&request->body, "Architectures", THAW_OPTIONAL, 1, 1, &list) == 1 &&
	    strcmp(json_string_value(json_array_get(list, 0)), "x86_64") != 0)
		refuse(request, "%s", "This host runs functions for x86_64 only.");
}

static void config_defaults(json_t *config)
{
	json_t *defaults =
		json_pack("{s:i, s:i, s:{s:i}, s:{s:s}, s:{s:s}, s:[], s:{s:s}}", "Timeout", 3,
			  "MemorySize", THAW_MEMORY_MIN, "EphemeralStorage", "Size",
			  THAW_EPHEMERAL_MIN, "TracingConfig", "Mode", "PassThrough", "SnapStart",
			  "ApplyOn", "None", "Layers", "LoggingConfig", "LogFormat", "Text");

	json_object_update_missing(config, defaults);
	json_decref(defaults);
}

void thaw_config_merge(struct thaw_request *request, json_t *config, bool create)
{
	static const char *const tracing[] = {"Active", "PassThrough", NULL};
	static const char *const apply[] = {"PublishedVersions", "None", NULL};
	enum thaw_presence needed = create ? THAW_REQUIRED : THAW_OPTIONAL;
	struct thaw_object object;
	int64_t size;

	if (create)
		config_defaults(config);
	merge_text(request, config, "Role", "role", THAW_SHAPE_ROLE, needed);
	merge_text(request, config, "Handler", "handler", THAW_SHAPE_HANDLER, THAW_OPTIONAL);
	if (create && !json_object_get(config, "Handler") &&
	    !thaw_validation_failed(&request->validation))
		refuse(request, "%s",
		       "Runtime and Handler are mandatory parameters for functions created with "
		       "deployment packages.");
	merge_runtime(request, config, create);
	merge_number(request, config, "Timeout", 1, THAW_TIMEOUT_MAX_S);
	merge_number(request, config, "MemorySize", THAW_MEMORY_MIN, THAW_MEMORY_MAX);
	if (thaw_object_object(&request->body, "EphemeralStorage", THAW_OPTIONAL, &object) == 1 &&
	    thaw_object_integer(&object, "Size", THAW_REQUIRED, THAW_EPHEMERAL_MIN,
				THAW_EPHEMERAL_MAX, &size) == 1)
		json_object_set_new(config, "EphemeralStorage",
				    json_pack("{s:I}", "Size", (json_int_t)size));
	merge_choice(request, config, "TracingConfig", "Mode", tracing);
	merge_choice(request, config, "SnapStart", "ApplyOn", apply);
	merge_variables(request, config);
	merge_layers(request, config);
	merge_dead_letter(request, config);
	merge_logging(request, config);
	thaw_vpc_merge(request, config);
	refuse_unsupported(request);
}

bool thaw_config_snap_start(const json_t *config)
{
	const char *apply = thaw_config_text(json_object_get(config, "SnapStart"), "ApplyOn");

	return apply && strcmp(apply, "PublishedVersions") == 0;
}

const char *thaw_config_text(const json_t *config, const char *name)
{
	return json_string_value(json_object_get(config, name));
}

int thaw_config_function(const json_t *config, struct thaw_function *function,
			 struct thaw_error *err)
{
	const json_t *variables =
		json_object_get(json_object_get(config, "Environment"), "Variables");
	const char *name;
	json_t *value;

	int rc =
		thaw_function_set_runtime(function, thaw_config_text(config, "Runtime") ?: "", err);
	if (rc == 0)
		rc = thaw_function_set_handler(function, thaw_config_text(config, "Handler") ?: "",
					       err);
	if (rc == 0)
		rc = thaw_function_set_memory(
			function, json_integer_value(json_object_get(config, "MemorySize")), err);
	if (rc == 0)
		rc = thaw_function_set_timeout(
			function, json_integer_value(json_object_get(config, "Timeout")), err);
	if (rc == 0)
		rc = thaw_function_set_ephemeral(
			function,
			json_integer_value(json_object_get(
				json_object_get(config, "EphemeralStorage"), "Size")),
			err);
	json_object_foreach((json_t *)variables, name, value)
	{
		if (rc == 0)
			rc = thaw_function_set_variable(function, name,
							json_string_value(value) ?: "", err);
	}
	return rc;
}

void thaw_config_render(const json_t *config, json_t *out)
{
	static const char *const members[] = {
		"Runtime",       "Role",        "Handler",          "Timeout",
		"MemorySize",    "Environment", "DeadLetterConfig", "EphemeralStorage",
		"TracingConfig",
	};
	const json_t *logging = json_object_get(config, "LoggingConfig");
	json_t *value;

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		value = json_object_get(config, members[i]);
		if (value)
			json_object_set_new(out, members[i], json_deep_copy(value));
	}
	thaw_vpc_render(config, out);
	bool snap_start = thaw_config_snap_start(config);
	json_object_set_new(out, "SnapStart",
			    json_pack("{s:s, s:s}", "ApplyOn",
				      snap_start ? "PublishedVersions" : "None",
				      "OptimizationStatus", "Off"));
	value = json_object_get(config, "LayerVersions");
	if (json_array_size(value))
		json_object_set_new(out, "Layers", json_deep_copy(value));
	value = json_deep_copy(logging);
	if (value && !json_object_get(value, "LogGroup"))
		json_object_set_new(
			value, "LogGroup",
			json_sprintf("/aws/lambda/%s",
				     json_string_value(json_object_get(out, "FunctionName"))
					     ?: ""));
	json_object_set_new(out, "LoggingConfig", value);
	json_object_set_new(out, "PackageType", json_string("Zip"));
	json_object_set_new(out, "Architectures", json_pack("[s]", "x86_64"));
}
