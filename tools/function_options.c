/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/function_options.h"

#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "lib/fd.h"

void function_options_init(struct function_options *options)
{
	memset(options, 0, sizeof(*options));
	thaw_function_init(&options->function);
}

void function_options_clear(struct function_options *options)
{
	thaw_function_clear(&options->function);
}

static int take_variable(struct thaw_function *function, const char *value, struct thaw_error *err)
{
	const char *equals = strchr(value, '=');

	if (!equals) {
		tool_usage("--env wants NAME=VALUE, not \"%s\"", value);
		return -2;
	}
	cleanup_free char *name = strndup(value, (size_t)(equals - value));
	return name ? thaw_function_set_variable(function, name, equals + 1, err) : -1;
}

static int take_layer(struct function_options *options, const char *value)
{
	if (!*value) {
		tool_usage("--layer wants DIR|ZIP");
		return -2;
	}
	if (options->layer_count == FUNCTION_LAYERS_MAX) {
		tool_usage("--layer is given more than %d times", FUNCTION_LAYERS_MAX);
		return -2;
	}
	options->layers[options->layer_count++] = value;
	return 0;
}

struct thaw_cold_code function_options_code(const struct function_options *options)
{
	return (struct thaw_cold_code){.path = options->code,
				       .layer_paths = options->layers,
				       .layer_count = options->layer_count,
				       .drive = -1,
				       .layers = -1};
}

static int take_template(struct function_options *options, const char *value)
{
	if (strcmp(value, "auto") == 0)
		options->cpu_template = THAW__VMM__CPU_TEMPLATE__CPU_TEMPLATE_AUTO;
	else if (strcmp(value, "host") == 0)
		options->cpu_template = THAW__VMM__CPU_TEMPLATE__CPU_TEMPLATE_HOST;
	else if (strcmp(value, "software-kvm") == 0)
		options->cpu_template = THAW__VMM__CPU_TEMPLATE__CPU_TEMPLATE_SOFTWARE_KVM;
	else {
		tool_usage("--cpu-template is auto, host or software-kvm, not \"%s\"", value);
		return -2;
	}
	return 0;
}

static int take_number(struct thaw_function *function, int option, const char *value,
		       struct thaw_error *err)
{
	static const char *const names[] = {
		[FUNCTION_MEMORY - FUNCTION_MEMORY] = "--memory",
		[FUNCTION_TIMEOUT - FUNCTION_MEMORY] = "--timeout",
		[FUNCTION_EPHEMERAL - FUNCTION_MEMORY] = "--ephemeral",
		[FUNCTION_VCPUS - FUNCTION_MEMORY] = "--vcpus",
	};
	int64_t number;

	/* The limits are the function's to tell. */
	if (!tool_number(names[option - FUNCTION_MEMORY], value, INT32_MIN, INT32_MAX, &number))
		return -2;
	switch (option) {
	case FUNCTION_MEMORY:
		return thaw_function_set_memory(function, number, err);
	case FUNCTION_TIMEOUT:
		return thaw_function_set_timeout(function, number, err);
	case FUNCTION_EPHEMERAL:
		return thaw_function_set_ephemeral(function, number, err);
	default:
		return thaw_function_set_vcpus(function, number, err);
	}
}

int function_options_take(struct function_options *options, int option, const char *value)
{
	struct thaw_function *function = &options->function;
	struct thaw_error err = {0};
	int rc = 0;

	switch (option) {
	case FUNCTION_RUNTIME:
		rc = thaw_function_set_runtime(function, value, &err);
		break;
	case FUNCTION_HANDLER:
		rc = thaw_function_set_handler(function, value, &err);
		break;
	case FUNCTION_NAME:
		rc = thaw_function_set_name(function, value, &err);
		break;
	case FUNCTION_MEMORY:
	case FUNCTION_TIMEOUT:
	case FUNCTION_EPHEMERAL:
	case FUNCTION_VCPUS:
		rc = take_number(function, option, value, &err);
		break;
	case FUNCTION_ENV:
		rc = take_variable(function, value, &err);
		break;
	case FUNCTION_CPU_TEMPLATE:
		rc = take_template(options, value);
		break;
	case FUNCTION_CODE:
		options->code = value;
		break;
	case FUNCTION_LAYER:
		rc = take_layer(options, value);
		break;
	case FUNCTION_EVENT:
		options->event = value;
		break;
	case FUNCTION_KERNEL:
		options->kernel = value;
		break;
	case FUNCTION_NETWORK:
		options->tap = value;
		break;
	case FUNCTION_CONSOLE:
		options->console = true;
		break;
	default:
		return 1;
	}
	if (rc < 0 && err.code)
		tool_usage("%s", err.message);
	return rc;
}

int function_options_check(const struct function_options *options, const char *command)
{
	const char *missing = NULL;

	if (!*options->function.runtime)
		missing = "--runtime NAME";
	else if (!options->code || !*options->code)
		missing = "--code DIR|ZIP";
	else if (!*options->function.handler)
		missing = "--handler NAME";
	if (!missing)
		return 0;
	tool_usage("%s: %s is missing (see thaw %s --help)", command, missing, command);
	return -1;
}
