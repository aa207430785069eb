/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/agent_nodejs.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUNCTIONS THAW_SOURCE_DIR "/tests/unit/functions/nodejs/"

static void copy_function(struct agent_harness *harness, const char *path, const char *name)
{
	FILE *file = fopen(path, "r");
	char *text = calloc(1, 65536);

	assert_non_null(file);
	assert_non_null(text);
	assert_true(fread(text, 1, 65535, file) > 0);
	fclose(file);
	agent_harness_write(harness, name, text, 0644);
	free(text);
}

void agent_nodejs_open(struct agent_harness *harness)
{
	struct agent_options options = {.runtime_dir = THAW_BINARY_DIR "/tests/runtimes/nodejs"};

	agent_harness_start(harness, &options);
}

void agent_nodejs_start(struct agent_harness *harness, const char *handler)
{
	agent_nodejs_open(harness);
	copy_function(harness, FUNCTIONS "app.js", "app.js");
	copy_function(harness, FUNCTIONS "stream.mjs", "stream.mjs");
	agent_harness_configure(harness, handler, "on-demand");
	agent_harness_init_ok(harness, false);
}

void agent_nodejs_start_copied(struct agent_harness *harness, const char *text, bool awaits_restore)
{
	agent_nodejs_open(harness);
	agent_harness_write(harness, "app.js", text, 0644);
	agent_harness_configure(harness, "app.handler", "snap-start");
	agent_harness_init_ok(harness, awaits_restore);
}

void agent_nodejs_invoke(struct agent_harness *harness, const char *event,
			 struct agent_result *result)
{
	agent_harness_invoke(harness, AGENT_REQUEST_ID, event, strlen(event), 10000, result);
}

json_t *agent_nodejs_invoke_for(struct agent_harness *harness, const char *event,
				Thaw__Agent__Outcome outcome)
{
	struct agent_result result;
	json_error_t error;

	agent_nodejs_invoke(harness, event, &result);
	if (result.done->outcome != outcome)
		print_error("%s\n", agent_result_text(&result));
	assert_int_equal(result.done->outcome, outcome);
	json_t *value = json_loads(agent_result_text(&result), JSON_DECODE_ANY, &error);
	assert_non_null(value);
	agent_result_clear(&result);
	return value;
}

void agent_nodejs_expect_error(struct agent_harness *harness, const char *event, const char *type,
			       const char *message)
{
	json_t *value =
		agent_nodejs_invoke_for(harness, event, THAW__AGENT__OUTCOME__OUTCOME_ERROR);

	agent_nodejs_field(value, "errorType", type);
	agent_nodejs_field(value, "errorMessage", message);
	json_decref(value);
}

void agent_nodejs_field(const json_t *object, const char *name, const char *value)
{
	const char *found = json_string_value(json_object_get(object, name));

	assert_non_null(found);
	assert_string_equal(found, value);
}
