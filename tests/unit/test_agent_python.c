/* SPDX-License-Identifier: Apache-2.0 */
/* The Python runtime behind a whole agent: what a user's handler sees, and what the host is told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/runtime_api.h"
#include "tests/unit/agent_harness.h"

#define ID "8476a536-e9f4-11e8-9739-2dfe598c3fcd"

static const char python_dir[] = THAW_SOURCE_DIR "/guest/runtimes/python";

static char *read_text(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = calloc(1, 65536);

	assert_non_null(file);
	assert_non_null(text);
	assert_true(fread(text, 1, 65535, file) > 0);
	fclose(file);
	return text;
}

/* An agent with `handler` of functions/python/app.py configured, not initialised. */
static void start_with(struct agent_harness *h, const struct agent_options *options,
		       const char *handler, const char *kind)
{
	agent_harness_start(h, options);
	char *text = read_text(THAW_SOURCE_DIR "/tests/unit/functions/python/app.py");
	agent_harness_write(h, "app.py", text, 0644);
	free(text);
	agent_harness_configure(h, handler, kind);
}

static void start(struct agent_harness *h, const char *handler)
{
	struct agent_options options = {.runtime_dir = python_dir};

	start_with(h, &options, handler, "on-demand");
}

static void init_ok(struct agent_harness *h)
{
	Thaw__Agent__GuestMessage *answer = agent_harness_init(h, 10000);

	if (answer->init_done->outcome != THAW__AGENT__OUTCOME__OUTCOME_OK)
		print_error("init: %.*s\n%s", (int)answer->init_done->error_json.len,
			    (char *)answer->init_done->error_json.data, agent_harness_log(h, 1));
	assert_int_equal(answer->init_done->outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
	assert_true(answer->init_done->duration_us > 0);
	thaw__agent__guest_message__free_unpacked(answer, NULL);
}

static void invoke(struct agent_harness *h, const char *event, struct agent_result *result)
{
	agent_harness_invoke(h, ID, event, strlen(event), 10000, result);
}

/* One invocation with this outcome; the payload as JSON. */
static json_t *invoke_for(struct agent_harness *h, const char *event, Thaw__Agent__Outcome outcome)
{
	struct agent_result result;
	json_error_t error;

	invoke(h, event, &result);
	if (result.done->outcome != outcome)
		print_error("%s\n", agent_result_text(&result));
	assert_int_equal(result.done->outcome, outcome);
	json_t *value = json_loads(agent_result_text(&result), JSON_DECODE_ANY, &error);
	assert_non_null(value);
	agent_result_clear(&result);
	return value;
}

static void assert_field(const json_t *object, const char *name, const char *value)
{
	const char *found = json_string_value(json_object_get(object, name));

	assert_non_null(found);
	assert_string_equal(found, value);
}

static void echo_comes_back_and_state_stays(void **state)
{
	struct agent_harness h;
	struct agent_result result;

	(void)state;
	start(&h, "app.echo");
	init_ok(&h);
	for (int i = 0; i < 20; i++) {
		invoke(&h, "{\"a\": [1, 2.5, \"\xc3\xa4\"], \"n\": null}", &result);
		assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
		assert_string_equal(agent_result_text(&result),
				    "{\"a\": [1, 2.5, \"\xc3\xa4\"], \"n\": null}");
		assert_string_equal(result.done->content_type, "application/json");
		assert_int_equal(result.done->init_duration_us, 0);
		agent_result_clear(&result);
	}
	agent_harness_stop(&h);
}

static void context_and_environment_are_lambdas(void **state)
{
	struct agent_harness h;
	char path[128];

	(void)state;
	start(&h, "app.whoami");
	init_ok(&h);
	json_t *value = invoke_for(&h, "{}", THAW__AGENT__OUTCOME__OUTCOME_OK);
	assert_field(value, "request_id", ID);
	assert_field(value, "name", "web");
	assert_field(value, "version", "$LATEST");
	assert_field(value, "arn", "arn:aws:lambda:eu-west-1:123456789012:function:web");
	assert_field(value, "memory", "128");
	assert_field(value, "group", "/aws/lambda/web");
	assert_field(value, "stream", "2026/01/31/[$LATEST]0123");
	json_int_t remaining = json_integer_value(json_object_get(value, "remaining"));
	assert_true(remaining > 8000 && remaining <= 10000);
	assert_field(value, "cwd", h.dir);
	assert_field(&*json_object_get(value, "env"), "LAMBDA_TASK_ROOT", h.dir);
	const json_t *env = json_object_get(value, "env");
	assert_field(env, "_HANDLER", "app.whoami");
	assert_field(env, "AWS_EXECUTION_ENV", "AWS_Lambda_python3.11");
	assert_field(env, "AWS_REGION", "eu-west-1");
	assert_field(env, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128");
	assert_field(env, "AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand");
	assert_field(env, "TZ", ":UTC");
	assert_field(env, "COLOUR", "deep blue=1");
	assert_field(env, "_X_AMZN_TRACE_ID", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1");
	assert_null(json_object_get(env, "_THAW_RUNTIME_FD"));
	const json_t *paths = json_object_get(value, "path");
	snprintf(path, sizeof(path), "%s", h.dir);
	assert_string_equal(json_string_value(json_array_get(paths, 0)), path);
	assert_string_equal(json_string_value(json_array_get(paths, 2)), "/opt/python");
	json_decref(value);
	agent_harness_stop(&h);
}

static void exceptions_are_told_with_their_stack(void **state)
{
	struct agent_harness h;
	struct agent_result result;

	(void)state;
	start(&h, "app.fail");
	init_ok(&h);
	for (int i = 0; i < 2; i++) {
		json_t *value = invoke_for(&h, "{}", THAW__AGENT__OUTCOME__OUTCOME_ERROR);
		assert_field(value, "errorType", "TeapotError");
		assert_field(value, "errorMessage", "short and \"stout\"");
		assert_field(value, "requestId", ID);
		const json_t *trace = json_object_get(value, "stackTrace");
		assert_int_equal(json_array_size(trace), 2);
		assert_non_null(strstr(json_string_value(json_array_get(trace, 0)), "in fail\n"));
		assert_non_null(strstr(json_string_value(json_array_get(trace, 1)), "in inner\n"));
		json_decref(value);
	}
	assert_non_null(strstr(agent_harness_log(&h, 0),
			       "[ERROR] TeapotError: short and \"stout\"\n"
			       "Traceback (most recent call last):\n"));
	invoke(&h, "{}", &result);
	assert_string_equal(result.done->error_type, "Function.TeapotError");
	agent_result_clear(&result);
	agent_harness_stop(&h);
}

static void what_json_cannot_say_is_a_marshal_error(void **state)
{
	struct agent_harness h;

	(void)state;
	start(&h, "app.unserialisable");
	init_ok(&h);
	json_t *value = invoke_for(&h, "{}", THAW__AGENT__OUTCOME__OUTCOME_ERROR);
	assert_field(value, "errorType", "Runtime.MarshalError");
	assert_field(value, "errorMessage",
		     "Unable to marshal response: Object of type bytes is not JSON serializable");
	json_decref(value);
	value = invoke_for(&h, "not json", THAW__AGENT__OUTCOME__OUTCOME_ERROR);
	assert_field(value, "errorType", "Runtime.UnmarshalError");
	json_decref(value);
	agent_harness_stop(&h);
}

/* Init with a handler that cannot be had: the error, and again from the invocation. */
static void refuses(const char *handler, const char *file, const char *text, const char *type,
		    const char *message)
{
	struct agent_options options = {.runtime_dir = python_dir};
	struct agent_harness h;
	struct agent_result result;
	json_error_t error;

	agent_harness_start(&h, &options);
	if (file)
		agent_harness_write(&h, file, text, 0644);
	agent_harness_configure(&h, handler, "on-demand");
	Thaw__Agent__GuestMessage *answer = agent_harness_init(&h, 10000);
	assert_int_equal(answer->init_done->outcome, THAW__AGENT__OUTCOME__OUTCOME_ERROR);
	assert_string_equal(answer->init_done->error_type, type);
	thaw__agent__guest_message__free_unpacked(answer, NULL);
	invoke(&h, "{}", &result);
	assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_ERROR);
	json_t *value = json_loads(agent_result_text(&result), 0, &error);
	/* A type of the user's own making is passed on in the document only. */
	if (strcmp(type, "Runtime.Unknown") != 0)
		assert_field(value, "errorType", type);
	assert_non_null(strstr(json_string_value(json_object_get(value, "errorMessage")), message));
	json_decref(value);
	agent_result_clear(&result);
	agent_harness_stop(&h);
}

static void init_errors_are_lambdas(void **state)
{
	(void)state;
	refuses("app.handler", NULL, NULL, "Runtime.ImportModuleError",
		"Unable to import module 'app': No module named 'app'");
	refuses("app.handler", "app.py", "x = 1\n", "Runtime.HandlerNotFound",
		"Handler 'handler' missing on module 'app'");
	refuses("app.handler", "app.py", "def f(:\n", "Runtime.UserCodeSyntaxError",
		"Syntax error in module 'app': ");
	refuses("app", "app.py", "", "Runtime.MalformedHandlerName", "Bad handler 'app': ");
	refuses("app.handler", "app.py",
		"class Fault(Exception):\n    pass\nFault.__name__ = 'Runtime.Odd'\nraise "
		"Fault('x')\n",
		"Runtime.Unknown", "x");
}

static void a_death_is_told_and_the_next_event_is_served(void **state)
{
	struct agent_harness h;
	struct agent_result result;

	(void)state;
	start(&h, "app.leave");
	init_ok(&h);
	json_t *value = invoke_for(&h, "7", THAW__AGENT__OUTCOME__OUTCOME_EXIT);
	assert_field(value, "errorType", "Runtime.ExitError");
	assert_field(value, "errorMessage",
		     "RequestId: " ID " Error: Runtime exited with error: exit status 7");
	json_decref(value);
	invoke(&h, "0", &result);
	assert_non_null(strstr(agent_result_text(&result),
			       "RequestId: " ID
			       " Error: Runtime exited without providing a reason"));
	assert_true(result.done->init_duration_us > 0);
	agent_result_clear(&result);
	agent_harness_stop(&h);

	start(&h, "app.die");
	init_ok(&h);
	value = invoke_for(&h, "9", THAW__AGENT__OUTCOME__OUTCOME_EXIT);
	assert_field(value, "errorMessage",
		     "RequestId: " ID " Error: Runtime exited with error: signal: killed");
	json_decref(value);
	value = invoke_for(&h, "11", THAW__AGENT__OUTCOME__OUTCOME_EXIT);
	assert_field(value, "errorMessage",
		     "RequestId: " ID
		     " Error: Runtime exited with error: signal: segmentation fault");
	json_decref(value);
	agent_harness_stop(&h);
}

static void an_overrun_is_killed(void **state)
{
	struct agent_harness h;
	struct agent_result result;

	(void)state;
	start(&h, "app.sleep");
	init_ok(&h);
	agent_harness_invoke(&h, ID, "60", 2, 300, &result);
	assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_TIMEOUT);
	assert_string_equal(agent_result_text(&result),
			    "{\"errorMessage\":\"RequestId: " ID
			    " Error: Task timed out after 0.30 seconds\","
			    "\"errorType\":\"Sandbox.Timedout\"}");
	assert_true(result.done->duration_us >= 300000 && result.done->duration_us < 2000000);
	assert_non_null(strstr(agent_harness_log(&h, 0), "going to sleep\n"));
	agent_result_clear(&result);
	agent_harness_invoke(&h, ID, "0", 1, 5000, &result);
	assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
	assert_string_equal(agent_result_text(&result), "\"slept\"");
	assert_true(result.done->init_duration_us > 0);
	agent_result_clear(&result);
	agent_harness_stop(&h);
}

static void a_megabyte_of_output_arrives_whole_and_first(void **state)
{
	struct agent_harness h;
	struct agent_result result;

	(void)state;
	start(&h, "app.talk");
	init_ok(&h);
	for (int i = 0; i < 3; i++) {
		agent_harness_forget_logs(&h);
		invoke(&h, "1000000", &result);
		assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
		/* All of it had come when the answer came. */
		assert_int_equal(thaw_buffer_size(&h.logs[0]), 1000000 + 14);
		assert_string_equal(agent_harness_log(&h, 1), "an error line\n");
		assert_int_equal(h.dropped, 0);
		agent_result_clear(&result);
	}
	agent_harness_stop(&h);
}

static void responses_up_to_the_limit_and_not_beyond(void **state)
{
	struct agent_harness h;
	struct agent_result result;
	char event[32];

	(void)state;
	start(&h, "app.large");
	init_ok(&h);
	static const unsigned int sizes[] = {2, 1000, 65536, 300000, 6291456, THAW_RESPONSE_MAX};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		snprintf(event, sizeof(event), "%u", sizes[i]);
		invoke(&h, event, &result);
		assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
		assert_int_equal(thaw_buffer_size(&result.payload), sizes[i]);
		const uint8_t *bytes = thaw_buffer_bytes(&result.payload);
		assert_int_equal(bytes[0], '"');
		assert_int_equal(bytes[sizes[i] - 1], '"');
		for (unsigned int k = 1; k < sizes[i] - 1; k++) {
			if (bytes[k] != 'y')
				fail_msg("byte %u is %#x", k, bytes[k]);
		}
		agent_result_clear(&result);
	}
	snprintf(event, sizeof(event), "%u", THAW_RESPONSE_MAX + 1);
	json_t *value = invoke_for(&h, event, THAW__AGENT__OUTCOME__OUTCOME_TOO_LARGE);
	assert_field(value, "errorType", "Function.ResponseSizeTooLarge");
	assert_field(value, "errorMessage",
		     "Response payload size (6291557 bytes) exceeded maximum allowed payload size "
		     "(6291556 bytes).");
	json_decref(value);
	invoke(&h, "10", &result);
	assert_string_equal(agent_result_text(&result), "\"yyyyyyyy\"");
	agent_result_clear(&result);
	assert_non_null(strstr(agent_harness_log(&h, 1), "Http response code: 413."));
	agent_harness_stop(&h);
}

static void an_event_of_six_megabytes_arrives(void **state)
{
	struct agent_harness h;
	struct agent_result result;
	const size_t size = 6291556;
	char *event = malloc(size);

	(void)state;
	assert_non_null(event);
	memset(event, 'z', size);
	event[0] = event[size - 1] = '"';
	start(&h, "app.echo");
	init_ok(&h);
	for (int i = 0; i < 2; i++) {
		agent_harness_invoke(&h, ID, event, size, 20000, &result);
		assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
		assert_int_equal(thaw_buffer_size(&result.payload), size);
		assert_memory_equal(thaw_buffer_bytes(&result.payload), event, size);
		agent_result_clear(&result);
	}
	free(event);
	agent_harness_stop(&h);
}

static void logging_has_lambdas_form(void **state)
{
	struct agent_harness h;
	struct agent_result result;

	(void)state;
	start(&h, "app.log");
	init_ok(&h);
	invoke(&h, "{}", &result);
	assert_string_equal(agent_result_text(&result), "null");
	const char *log = agent_harness_log(&h, 0);
	assert_non_null(strstr(log, "Z\t" ID "\tto whom it may concern\nraw\n"));
	assert_int_equal(strncmp(log, "[WARNING]\t20", 12), 0);
	agent_result_clear(&result);
	agent_harness_stop(&h);
}

static void descendants_die_with_the_runtime(void **state)
{
	struct agent_options options = {.runtime_dir = python_dir, .cgroup = true};
	struct agent_harness h;
	struct agent_result result;
	char path[64];

	(void)state;
	if (!agent_harness_has_cgroup())
		skip();
	start_with(&h, &options, "app.spawn_and_leave", "on-demand");
	init_ok(&h);
	invoke(&h, "{}", &result);
	assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_EXIT);
	agent_result_clear(&result);
	int pid = atoi(agent_harness_log(&h, 0));
	assert_true(pid > 1);
	snprintf(path, sizeof(path), "/proc/%d", pid);
	for (int i = 0; i < 200 && access(path, F_OK) == 0; i++)
		usleep(10000);
	assert_int_not_equal(access(path, F_OK), 0);
	agent_harness_stop(&h);
}

static void a_handler_has_no_rights(void **state)
{
	struct agent_options options = {.runtime_dir = python_dir, .confined = true};
	struct agent_harness h;

	(void)state;
	/* The runtime's folder has to be reachable for another user. */
	if (geteuid() != 0 || access(THAW_SOURCE_DIR, R_OK) != 0)
		skip();
	start_with(&h, &options, "app.forbidden", "on-demand");
	init_ok(&h);
	json_t *value = invoke_for(&h, "{}", THAW__AGENT__OUTCOME__OUTCOME_OK);
	assert_field(value, "CapEff", "0000000000000000");
	assert_field(value, "CapPrm", "0000000000000000");
	assert_field(value, "NoNewPrivs", "1");
	assert_field(value, "Seccomp", "2");
	assert_field(value, "Uid", "993");
	assert_field(value, "Gid", "990");
	assert_int_equal(json_integer_value(json_object_get(value, "vsock")), 97);
	assert_int_equal(json_integer_value(json_object_get(value, "bpf")), 1);
	assert_int_equal(json_integer_value(json_object_get(value, "keyctl")), 38);
	json_decref(value);
	agent_harness_stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(echo_comes_back_and_state_stays),
		cmocka_unit_test(context_and_environment_are_lambdas),
		cmocka_unit_test(exceptions_are_told_with_their_stack),
		cmocka_unit_test(what_json_cannot_say_is_a_marshal_error),
		cmocka_unit_test(init_errors_are_lambdas),
		cmocka_unit_test(a_death_is_told_and_the_next_event_is_served),
		cmocka_unit_test(an_overrun_is_killed),
		cmocka_unit_test(a_megabyte_of_output_arrives_whole_and_first),
		cmocka_unit_test(responses_up_to_the_limit_and_not_beyond),
		cmocka_unit_test(an_event_of_six_megabytes_arrives),
		cmocka_unit_test(logging_has_lambdas_form),
		cmocka_unit_test(descendants_die_with_the_runtime),
		cmocka_unit_test(a_handler_has_no_rights),
	};

	if (access("/usr/bin/python3.11", X_OK) != 0)
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
