/* SPDX-License-Identifier: Apache-2.0 */
/* The Node.js runtime behind a whole agent: what a user's handler sees, and what the host is told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/runtime_api.h"
#include "tests/unit/agent_nodejs.h"

static void echo_comes_back_and_state_stays(void **state)
{
	static const char *const handlers[] = {"app.echo", "app.plain.nested.echo"};
	static const char event[] = "{\"a\":[1,2.5,\"\xc3\xa4\"],\"n\":null}";
	struct agent_harness h;
	struct agent_result result;

	(void)state;
	for (int which = 0; which < 2; which++) {
		agent_nodejs_start(&h, handlers[which]);
		for (int i = 0; i < 20; i++) {
			agent_nodejs_invoke(&h, event, &result);
			assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
			assert_string_equal(agent_result_text(&result), event);
			assert_string_equal(result.done->content_type, "application/json");
			assert_int_equal(result.done->init_duration_us, 0);
			agent_result_clear(&result);
		}
		agent_harness_stop(&h);
	}
}

static void each_way_to_answer_is_understood(void **state)
{
	static const struct {
		const char *event, *answer;
	} ways[] = {
		{"{\"way\":\"callback\"}", "\"called\""},
		{"{\"way\":\"callback-later\"}", "\"called later\""},
		{"{\"way\":\"callback-twice\"}", "\"first\""},
		{"{\"way\":\"done\"}", "\"done\""},
		{"{\"way\":\"succeed\"}", "\"succeeded\""},
		{"{\"way\":\"promise\"}", "\"promised\""},
		{"{\"way\":\"none\"}", "null"},
		{"{\"way\":\"none\",\"timer\":30}", "null"},
	};
	static const struct {
		const char *event, *type, *message;
	} errors[] = {
		{"{\"way\":\"callback-error\"}", "TypeError", "called with an error"},
		{"{\"way\":\"callback-string\"}", "string", "a string"},
		{"{\"way\":\"fail\"}", "Error", "failed"},
		{"{\"way\":\"throw\"}", "RangeError", "thrown"},
		{"{\"way\":\"then-reject\"}", "undefined", "undefined"},
		{"{\"way\":\"never\"}", "Runtime.NodeJsExit",
		 "The event loop is empty and the promise of the handler is still pending: nothing "
		 "can settle it"},
	};
	struct agent_harness h;

	(void)state;
	agent_nodejs_start(&h, "app.ways");
	/* Twice: what one way leaves behind must not touch the next. */
	for (int i = 0; i < 2; i++) {
		for (size_t k = 0; k < sizeof(ways) / sizeof(ways[0]); k++)
			agent_harness_expect(&h, ways[k].event, ways[k].answer);
		for (size_t k = 0; k < sizeof(errors) / sizeof(errors[0]); k++)
			agent_nodejs_expect_error(&h, errors[k].event, errors[k].type,
						  errors[k].message);
	}
	agent_harness_stop(&h);
}

static void a_callback_waits_for_the_event_loop_if_it_is_to(void **state)
{
	struct agent_harness h;
	struct agent_result result;

	(void)state;
	agent_nodejs_start(&h, "app.ways");
	agent_nodejs_invoke(&h, "{\"way\":\"callback\",\"timer\":300}", &result);
	assert_string_equal(agent_result_text(&result), "\"called\"");
	assert_true(result.done->duration_us >= 299000);
	assert_non_null(strstr(agent_harness_log(&h, 0), "INFO\ttimer\n"));
	agent_result_clear(&result);
	/* Answers of these kinds do not wait: the timer would outlast the invocation. */
	agent_harness_forget_logs(&h);
	agent_harness_expect(&h, "{\"way\":\"callback\",\"timer\":60000,\"waits\":false}",
			     "\"called\"");
	agent_harness_expect(&h, "{\"way\":\"succeed\",\"timer\":60000}", "\"succeeded\"");
	agent_harness_expect(&h, "{\"way\":\"promise\",\"timer\":60000}", "\"promised\"");
	assert_null(strstr(agent_harness_log(&h, 0), "timer"));
	agent_harness_stop(&h);
}

static void context_and_environment_are_lambdas(void **state)
{
	struct agent_harness h;

	(void)state;
	agent_nodejs_start(&h, "app.whoami");
	json_t *value = agent_nodejs_invoke_for(&h, "{}", THAW__AGENT__OUTCOME__OUTCOME_OK);
	const json_t *context = json_object_get(value, "context");
	agent_nodejs_field(context, "awsRequestId", AGENT_REQUEST_ID);
	agent_nodejs_field(context, "functionName", "web");
	agent_nodejs_field(context, "functionVersion", "$LATEST");
	agent_nodejs_field(context, "invokedFunctionArn",
			   "arn:aws:lambda:eu-west-1:123456789012:function:web");
	agent_nodejs_field(context, "memoryLimitInMB", "128");
	agent_nodejs_field(context, "logGroupName", "/aws/lambda/web");
	agent_nodejs_field(context, "logStreamName", "2026/01/31/[$LATEST]0123");
	assert_true(json_is_true(json_object_get(context, "callbackWaitsForEmptyEventLoop")));
	json_int_t remaining = json_integer_value(json_object_get(value, "remaining"));
	assert_true(remaining > 8000 && remaining <= 10000);
	agent_nodejs_field(value, "cwd", h.dir);
	const json_t *env = json_object_get(value, "env");
	agent_nodejs_field(env, "_HANDLER", "app.whoami");
	agent_nodejs_field(env, "TZ", ":UTC");
	agent_nodejs_field(env, "COLOUR", "deep blue=1");
	agent_nodejs_field(env, "NODE_PATH",
			   "/opt/nodejs/node18/node_modules:/opt/nodejs/node_modules");
	agent_nodejs_field(env, "_X_AMZN_TRACE_ID",
			   "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1");
	assert_null(json_object_get(env, "_THAW_RUNTIME_FD"));
	assert_int_equal(json_integer_value(json_object_get(value, "offset")), 0);
	/* 0 to 2: the agent's socket is not for children. */
	const json_t *descriptors = json_object_get(value, "descriptors");
	size_t sockets = 0;
	for (size_t i = 0; i < json_array_size(descriptors); i++)
		sockets += strstr(json_string_value(json_array_get(descriptors, i)), "socket:") !=
			   NULL;
	assert_int_equal(sockets, 3);
	/* V8 adds its young generation to what it is given (99 MiB). */
	json_int_t heap = json_integer_value(json_object_get(value, "heap"));
	assert_true(heap >= 99 && heap < 160);
	assert_true(json_is_false(json_object_get(value, "avx")));
	json_decref(value);
	agent_harness_stop(&h);
}

/* What the agent passes on under software KVM, where wide registers must not be used. */
static void narrow_registers_are_passed_on(void **state)
{
	struct agent_harness h;

	(void)state;
	setenv("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX,-AVX2", 1);
	agent_nodejs_start(&h, "app.whoami");
	unsetenv("GLIBC_TUNABLES");
	json_t *value = agent_nodejs_invoke_for(&h, "{}", THAW__AGENT__OUTCOME__OUTCOME_OK);
	assert_true(json_is_true(json_object_get(value, "avx")));
	agent_nodejs_field(value, "simdutf", "westmere");
	const char *base64 = json_string_value(json_object_get(value, "base64"));
	assert_int_equal(strlen(base64), 480);
	for (int i = 0; i < 20; i++)
		assert_int_equal(strncmp(base64 + i * 24, "YW55IGNhcm5hbCBwbGVhc3Vy", 24), 0);
	json_decref(value);
	agent_harness_stop(&h);
}

static void nothing_leaks_into_the_next_invocation(void **state)
{
	struct agent_harness h;

	(void)state;
	agent_nodejs_start(&h, "app.leak");
	for (int i = 0; i < 3; i++)
		agent_harness_expect(&h, "{}", "\"nothing\"");
	agent_harness_stop(&h);
}

static void records_are_lambdas(void **state)
{
	static const char *const records[] = {
		"Z\t" AGENT_REQUEST_ID "\tINFO\tto whom { it: [ 'may' ] }\n",
		"Z\t" AGENT_REQUEST_ID "\tERROR\ttwo\rlines\n",
		"\tDEBUG\ta\n",
		"\tWARN\tb\n",
		"\tINFO\tc\n",
		"\tINFO\t{ d: 1 }\n",
		"\nraw\n",
	};
	struct agent_harness h;

	(void)state;
	agent_nodejs_start(&h, "app.log");
	agent_harness_expect(&h, "{}", "null");
	const char *at = agent_harness_log(&h, 0);
	assert_int_equal(strncmp(at, "20", 2), 0);
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		at = strstr(at, records[i]);
		assert_non_null(at);
		/* The end of a line may begin the next one's. */
		at += strlen(records[i]) - 1;
	}
	agent_harness_stop(&h);
}

static void a_megabyte_of_output_arrives_whole_and_first(void **state)
{
	struct agent_harness h;

	(void)state;
	agent_nodejs_start(&h, "app.talk");
	for (int i = 0; i < 2; i++) {
		agent_harness_forget_logs(&h);
		agent_harness_expect(&h, "1000000", "null");
		assert_true(thaw_buffer_size(&h.logs[0]) > 1000000);
		assert_non_null(strstr(agent_harness_log(&h, 0), "\tINFO\trecord\n"));
		assert_string_equal(agent_harness_log(&h, 1), "an error line\n");
		assert_int_equal(h.dropped, 0);
	}
	agent_harness_stop(&h);
}

static void exceptions_are_told_with_their_stack(void **state)
{
	struct agent_harness h;
	struct agent_result result;

	(void)state;
	agent_nodejs_start(&h, "app.fail");
	for (int i = 0; i < 2; i++) {
		json_t *value =
			agent_nodejs_invoke_for(&h, "{}", THAW__AGENT__OUTCOME__OUTCOME_ERROR);
		agent_nodejs_field(value, "errorType", "TeapotError");
		agent_nodejs_field(value, "errorMessage", "short and \"stout\"");
		const json_t *trace = json_object_get(value, "trace");
		assert_non_null(strstr(json_string_value(json_array_get(trace, 0)),
				       "Error: short and \"stout\""));
		assert_non_null(strstr(json_string_value(json_array_get(trace, 1)), "at inner ("));
		assert_non_null(strstr(json_string_value(json_array_get(trace, 2)), "app.js:"));
		json_decref(value);
	}
	assert_non_null(strstr(agent_harness_log(&h, 0),
			       "\t" AGENT_REQUEST_ID "\tERROR\tInvoke Error \t"
			       "{\"errorType\":\"TeapotError\",\"errorMessage\":\"short and "
			       "\\\"stout\\\"\","));
	agent_nodejs_invoke(&h, "{}", &result);
	assert_string_equal(result.done->error_type, "Function.TeapotError");
	agent_result_clear(&result);
	agent_harness_stop(&h);
}

static void whatever_is_thrown_is_told(void **state)
{
	struct agent_harness h;
	struct agent_result result;

	(void)state;
	agent_nodejs_start(&h, "app.throwing");
	agent_nodejs_expect_error(&h, "\"null\"", "null", "null");
	agent_nodejs_expect_error(&h, "\"string\"", "string", "a string");
	agent_nodejs_expect_error(&h, "\"object\"", "object", "[object Object]");
	agent_nodejs_expect_error(&h, "\"getter\"", "handled",
				  "the error could not be read: its name, message or stack throws");
	agent_nodejs_expect_error(&h, "\"name\"", "Runtime.A\r\nEvil: 1", "x");
	/* More than the agent takes: shortened. */
	agent_nodejs_invoke(&h, "\"huge\"", &result);
	assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_ERROR);
	assert_non_null(strstr(agent_result_text(&result), "\"errorMessage\":\"hhhh"));
	agent_result_clear(&result);
	agent_harness_stop(&h);

	agent_nodejs_start(&h, "app.unserialisable");
	agent_harness_expect(&h, "\"function\"", "null");
	agent_nodejs_expect_error(
		&h, "\"big\"", "Runtime.MarshalError",
		"Unable to stringify response body: Do not know how to serialize a BigInt");
	json_t *value =
		agent_nodejs_invoke_for(&h, "\"circle\"", THAW__AGENT__OUTCOME__OUTCOME_ERROR);
	agent_nodejs_field(value, "errorType", "Runtime.MarshalError");
	json_decref(value);
	value = agent_nodejs_invoke_for(&h, "not json", THAW__AGENT__OUTCOME__OUTCOME_ERROR);
	agent_nodejs_field(value, "errorType", "Runtime.UnmarshalError");
	json_decref(value);
	agent_harness_stop(&h);
}

static void what_nobody_catches_ends_the_runtime(void **state)
{
	struct agent_harness h;

	(void)state;
	agent_nodejs_start(&h, "app.uncaught");
	for (int i = 0; i < 2; i++)
		agent_nodejs_expect_error(&h, "{}", "TeapotError", "short and \"stout\"");
	assert_non_null(strstr(agent_harness_log(&h, 0), "\tERROR\tUncaught Exception \t{"));
	agent_harness_stop(&h);

	agent_nodejs_start(&h, "app.unhandled");
	for (int i = 0; i < 2; i++) {
		json_t *value =
			agent_nodejs_invoke_for(&h, "{}", THAW__AGENT__OUTCOME__OUTCOME_ERROR);
		agent_nodejs_field(value, "errorType", "Runtime.UnhandledPromiseRejection");
		agent_nodejs_field(value, "errorMessage", "TeapotError: nobody looked");
		const json_t *trace = json_object_get(value, "trace");
		assert_true(json_array_size(trace) > 2);
		json_decref(value);
	}
	assert_non_null(strstr(agent_harness_log(&h, 0), "\tERROR\tUnhandled Promise Rejection "));
	agent_harness_stop(&h);
}

static void a_death_is_told_and_the_next_event_is_served(void **state)
{
	struct agent_harness h;
	struct agent_result result;

	(void)state;
	agent_nodejs_start(&h, "app.leave");
	json_t *value = agent_nodejs_invoke_for(&h, "7", THAW__AGENT__OUTCOME__OUTCOME_EXIT);
	agent_nodejs_field(value, "errorType", "Runtime.ExitError");
	json_decref(value);
	agent_nodejs_invoke(&h, "0", &result);
	assert_non_null(strstr(agent_result_text(&result), "exited without providing a reason"));
	assert_true(result.done->init_duration_us > 0);
	agent_result_clear(&result);
	agent_harness_stop(&h);
}

static void an_overrun_is_killed(void **state)
{
	static const char *const handlers[] = {"app.sleep", "app.spin"};
	struct agent_harness h;
	struct agent_result result;

	(void)state;
	for (int i = 0; i < 2; i++) {
		agent_nodejs_start(&h, handlers[i]);
		agent_harness_invoke(&h, AGENT_REQUEST_ID, "60", 2, 300, &result);
		assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_TIMEOUT);
		assert_true(result.done->duration_us >= 300000);
		assert_true(result.done->duration_us < 2000000);
		agent_result_clear(&result);
		if (i == 0)
			agent_harness_expect(&h, "0", "\"slept\"");
		agent_harness_stop(&h);
	}
}

static void payloads_up_to_the_limit_and_not_beyond(void **state)
{
	struct agent_harness h;
	struct agent_result result;
	const size_t size = 6291556;
	char *event = malloc(size);

	(void)state;
	agent_nodejs_start(&h, "app.large");
	agent_nodejs_invoke(&h, "6291556", &result);
	assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
	assert_int_equal(thaw_buffer_size(&result.payload), THAW_RESPONSE_MAX);
	agent_result_clear(&result);
	json_t *value =
		agent_nodejs_invoke_for(&h, "6291557", THAW__AGENT__OUTCOME__OUTCOME_TOO_LARGE);
	agent_nodejs_field(value, "errorType", "Function.ResponseSizeTooLarge");
	json_decref(value);
	agent_harness_expect(&h, "10", "\"yyyyyyyy\"");
	assert_non_null(strstr(agent_harness_log(&h, 1), "Http response code: 413."));
	agent_harness_stop(&h);

	assert_non_null(event);
	memset(event, 'z', size);
	event[0] = event[size - 1] = '"';
	agent_nodejs_start(&h, "app.echo");
	agent_harness_invoke(&h, AGENT_REQUEST_ID, event, size, 20000, &result);
	assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
	assert_int_equal(thaw_buffer_size(&result.payload), size);
	assert_memory_equal(thaw_buffer_bytes(&result.payload), event, size);
	agent_result_clear(&result);
	agent_harness_stop(&h);
	free(event);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(echo_comes_back_and_state_stays),
		cmocka_unit_test(each_way_to_answer_is_understood),
		cmocka_unit_test(a_callback_waits_for_the_event_loop_if_it_is_to),
		cmocka_unit_test(context_and_environment_are_lambdas),
		cmocka_unit_test(narrow_registers_are_passed_on),
		cmocka_unit_test(nothing_leaks_into_the_next_invocation),
		cmocka_unit_test(records_are_lambdas),
		cmocka_unit_test(a_megabyte_of_output_arrives_whole_and_first),
		cmocka_unit_test(exceptions_are_told_with_their_stack),
		cmocka_unit_test(whatever_is_thrown_is_told),
		cmocka_unit_test(what_nobody_catches_ends_the_runtime),
		cmocka_unit_test(a_death_is_told_and_the_next_event_is_served),
		cmocka_unit_test(an_overrun_is_killed),
		cmocka_unit_test(payloads_up_to_the_limit_and_not_beyond),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
