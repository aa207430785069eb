/* SPDX-License-Identifier: Apache-2.0 */
/* The Node.js runtime's special cases: how handlers are found, streams, and life around a snapshot.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/runtime_api.h"
#include "tests/unit/agent_nodejs.h"

#define LOG_STREAM "2027/01/01/[1]fedc"

/* --- how handlers are found ---------------------------------------------------------------------
 */

/* A task root with this file: the handler answers 1. */
static void finds(const char *folder, const char *name, const char *text, const char *handler)
{
	struct agent_harness h;
	char path[128];

	agent_nodejs_open(&h);
	if (folder) {
		snprintf(path, sizeof(path), "%s/%s", h.dir, folder);
		assert_int_equal(mkdir(path, 0755), 0);
	}
	/* Of no concern to the others. */
	agent_harness_write(
		&h, "package.json",
		strstr(name, ".js") && strstr(text, "export ") ? "{\"type\": \"module\"}" : "{}",
		0644);
	agent_harness_write(&h, name, text, 0644);
	agent_harness_configure(&h, handler, "on-demand");
	agent_harness_init_ok(&h, false);
	agent_harness_expect(&h, "{}", "1");
	agent_harness_stop(&h);
}

static void handlers_are_found_wherever_lambda_finds_them(void **state)
{
	static const char common[] = "exports.handler = async () => 1;";
	static const char module[] =
		"const one = await 1;\nexport const handler = async () => one;";

	(void)state;
	finds(NULL, "app.js", common, "app.handler");
	finds(NULL, "app.cjs", common, "app.handler");
	finds(NULL, "app.mjs", module, "app.handler");
	finds(NULL, "app.js", module, "app.handler");
	finds("dir", "dir/app.js", "exports.a = {b: {handler: async () => 1}};",
	      "dir/app.a.b.handler");
	finds("lib.d", "lib.d/app.mjs", module, "lib.d/app.handler");
	finds("app", "app/index.js", common, "app.handler");
	finds(NULL, "app.js", "exports.handler = () => ({then: (done) => done(1)});",
	      "app.handler");
}

/* Init with a handler that cannot be had: the error, and again from the invocation. */
static void refuses(const char *handler, const char *file, const char *text, const char *type,
		    const char *name, const char *message)
{
	struct agent_harness h;

	agent_nodejs_open(&h);
	if (file)
		agent_harness_write(&h, file, text, 0644);
	agent_harness_configure(&h, handler, "on-demand");
	Thaw__Agent__GuestMessage *answer = agent_harness_init(&h, 10000);
	assert_int_equal(answer->init_done->outcome, THAW__AGENT__OUTCOME__OUTCOME_ERROR);
	assert_string_equal(answer->init_done->error_type, type);
	thaw__agent__guest_message__free_unpacked(answer, NULL);
	json_t *value = agent_nodejs_invoke_for(&h, "{}", THAW__AGENT__OUTCOME__OUTCOME_ERROR);
	agent_nodejs_field(value, "errorType", name);
	const char *found = json_string_value(json_object_get(value, "errorMessage"));
	if (!strstr(found, message))
		fail_msg("%s", found);
	json_decref(value);
	assert_non_null(strstr(agent_harness_log(&h, 0), "\tundefined\tERROR\t"));
	agent_harness_stop(&h);
}

static void refuses_as(const char *handler, const char *file, const char *text, const char *type,
		       const char *message)
{
	refuses(handler, file, text, type, type, message);
}

static void init_errors_are_lambdas(void **state)
{
	(void)state;
	refuses_as("app.handler", NULL, NULL, "Runtime.ImportModuleError",
		   "Error: Cannot find module 'app'");
	refuses_as("app.handler", "app.js", "require('./nowhere');", "Runtime.ImportModuleError",
		   "Error: Cannot find module './nowhere'");
	refuses_as("app.handler", "app.mjs", "import './nowhere.mjs';", "Runtime.ImportModuleError",
		   "Cannot find module '");
	refuses_as("app.handler", "app.js", "x = 1;", "Runtime.HandlerNotFound",
		   "app.handler is undefined or not exported");
	refuses_as("app.a.b", "app.mjs", "export const a = null;", "Runtime.HandlerNotFound",
		   "app.a.b is undefined or not exported");
	refuses_as("app.handler", "app.js", "exports.handler = 5;", "Runtime.HandlerNotFound",
		   "app.handler is not a function");
	refuses_as("app.handler", "app.js", "let let;", "Runtime.UserCodeSyntaxError",
		   "SyntaxError: ");
	refuses_as("app.handler", "app.mjs", "export {", "Runtime.UserCodeSyntaxError",
		   "SyntaxError: ");
	refuses_as("app", "app.js", "", "Runtime.MalformedHandlerName", "Bad handler");
	refuses_as("../app.handler", "app.js", "", "Runtime.MalformedHandlerName",
		   "'../app.handler' is not a valid handler name");
	refuses("app.handler", "app.js", "throw new RangeError('odd');", "Function.RangeError",
		"RangeError", "odd");
	refuses_as("app.handler", "app.mjs",
		   "await Promise.all([Promise.reject(5), new Promise("
		   "() => setTimeout(() => {}, 1000))]).catch(() => 0);\n"
		   "Promise.reject(new Error('late'));\n"
		   "await new Promise(() => setTimeout(() => {}, 1000));",
		   "Runtime.UnhandledPromiseRejection", "Error: late");
}

/* --- streams ------------------------------------------------------------------------------------
 */

static void expect_stream(struct agent_harness *h, const char *event, const char *type,
			  const void *bytes, size_t size)
{
	struct agent_result result;

	agent_nodejs_invoke(h, event, &result);
	if (result.done->outcome != THAW__AGENT__OUTCOME__OUTCOME_OK)
		print_error("%s: %s\n", event, agent_result_text(&result));
	assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
	assert_int_equal(thaw_buffer_size(&result.payload), size);
	assert_memory_equal(thaw_buffer_bytes(&result.payload), bytes, size);
	assert_string_equal(result.done->content_type, type);
	agent_result_clear(&result);
}

static void streams_arrive(void **state)
{
	static const char http[] = "{\"statusCode\":201}\0\0\0\0\0\0\0\0body";
	struct agent_harness h;
	struct agent_result result;

	(void)state;
	agent_nodejs_start(&h, "stream.handler");
	for (int i = 0; i < 2; i++) {
		expect_stream(&h, "{\"what\":\"parts\"}", "text/plain", "web parts", 9);
		expect_stream(&h, "{\"what\":\"http\"}",
			      "application/vnd.awslambda.http-integration-response", http,
			      sizeof(http) - 1);
		expect_stream(&h, "{\"what\":\"pipeline\"}", "application/octet-stream", "abc", 3);
		expect_stream(&h, "{\"what\":\"empty\"}", "application/octet-stream", "", 0);
		expect_stream(&h, "{\"what\":\"forgets\"}", "application/octet-stream", "unended",
			      7);
	}
	agent_nodejs_invoke(&h, "{\"what\":\"large\",\"bytes\":6291556}", &result);
	assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
	assert_int_equal(thaw_buffer_size(&result.payload), 6291556);
	for (size_t i = 0; i < 6291556; i++) {
		if (thaw_buffer_bytes(&result.payload)[i] != 'z')
			fail_msg("byte %zu", i);
	}
	agent_result_clear(&result);
	agent_harness_stop(&h);
}

static void errors_of_streams_are_told(void **state)
{
	struct agent_harness h;

	(void)state;
	agent_nodejs_start(&h, "stream.handler");
	for (int i = 0; i < 2; i++) {
		agent_nodejs_expect_error(&h, "{\"what\":\"early\"}", "RangeError", "before");
		agent_nodejs_expect_error(&h, "{\"what\":\"middle\"}", "RangeError",
					  "in the middle");
		agent_nodejs_expect_error(&h, "{\"what\":\"uncaught\"}", "RangeError", "uncaught");
		json_t *value = agent_nodejs_invoke_for(&h, "{\"what\":\"never\"}",
							THAW__AGENT__OUTCOME__OUTCOME_ERROR);
		agent_nodejs_field(value, "errorType", "Runtime.NodeJsExit");
		json_decref(value);
		expect_stream(&h, "{\"what\":\"http\"}",
			      "application/vnd.awslambda.http-integration-response",
			      "{\"statusCode\":201}\0\0\0\0\0\0\0\0body", 30);
	}
	agent_harness_stop(&h);
}

/* --- around a snapshot --------------------------------------------------------------------------
 */

static Thaw__Agent__GuestMessage *resume(struct agent_harness *h)
{
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__Resume resume = THAW__AGENT__RESUME__INIT;
	uint8_t entropy[32] = {1, 2, 3};

	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_RESUME;
	message.resume = &resume;
	resume.entropy.data = entropy;
	resume.entropy.len = sizeof(entropy);
	resume.log_stream = LOG_STREAM;
	Thaw__Agent__GuestMessage *answer =
		agent_harness_wait(h, agent_harness_send(h, &message), NULL);
	assert_int_equal(answer->body_case, THAW__AGENT__GUEST_MESSAGE__BODY_RESUMED);
	return answer;
}

static void resume_ok(struct agent_harness *h)
{
	Thaw__Agent__GuestMessage *answer = resume(h);

	assert_int_equal(answer->resumed->outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
	thaw__agent__guest_message__free_unpacked(answer, NULL);
}

static void hooks_run_around_a_snapshot(void **state)
{
	static const char hooked[] =
		"const order = [];\n"
		"thaw.beforeSnapshot(async () => { await 0; order.push('a'); });\n"
		"thaw.beforeSnapshot((x) => order.push(x), 'b');\n"
		"thaw.afterRestore(async (x, y) => { await 0; order.push(x + y); }, 'c', 'd');\n"
		"thaw.afterRestore(() => order.push(process.env.AWS_LAMBDA_LOG_STREAM_NAME));\n"
		"exports.handler = async (event, context) => [order, context.logStreamName];\n";
	struct agent_harness h;

	(void)state;
	agent_nodejs_start_copied(&h, hooked, true);
	resume_ok(&h);
	agent_harness_expect(&h, "{}",
			     "[[\"b\",\"a\",\"cd\",\"" LOG_STREAM "\"],\"" LOG_STREAM "\"]");
	agent_harness_stop(&h);
}

/* What was drawn ahead before the snapshot is not used after it. That copies do differ only a guest
 * can show (tests/integration): here, that generators are new and whole. */
static void the_first_event_tells_a_copy_what_it_is(void **state)
{
	static const char drawing[] =
		"const crypto = require('crypto');\n"
		"const { randomInt } = crypto;\n"
		"const { random } = Math;\n"
		"random(); randomInt(5); crypto.randomUUID();\n"
		"const native = require(`${process.env.LAMBDA_RUNTIME_DIR}/native.node`);\n"
		"const { reseed } = native;\n"
		"let seeds = 0;\n"
		"native.reseed = () => { seeds++; return reseed(); };\n"
		"exports.handler = async (event, context) => {\n"
		"  const drawn = Array.from({ length: 2000 }, random);\n"
		"  const mean = drawn.reduce((a, b) => a + b) / 2000;\n"
		"  return [seeds, context.logStreamName, new Set(drawn).size,\n"
		"    mean > 0.45 && mean < 0.55 && drawn.every((x) => x >= 0 && x < 1),\n"
		"    /native|code/.test(random), Math.random.name, randomInt.name,\n"
		"    randomInt(3, 4), new Promise((r) => randomInt(7, 8, (e, n) => r(n)))\n"
		"      instanceof Promise];\n"
		"};\n";
	static const char *const answers[] = {
		"[1,\"2026/01/31/[$LATEST]0123\",2000,true,false,\"random\",\"randomInt\",3,true]",
		"[2,\"" LOG_STREAM "\",2000,true,false,\"random\",\"randomInt\",3,true]",
	};
	struct agent_harness h;

	(void)state;
	for (int restored = 0; restored < 2; restored++) {
		agent_nodejs_start_copied(&h, drawing, false);
		if (restored)
			resume_ok(&h);
		agent_harness_expect(&h, "{}", answers[restored]);
		agent_harness_expect(&h, "{}", answers[restored]);
		agent_harness_stop(&h);
	}
}

static void hook_errors_are_told(void **state)
{
	struct agent_harness h;

	(void)state;
	agent_nodejs_open(&h);
	agent_harness_write(&h, "app.js",
			    "thaw.beforeSnapshot(async () => { throw new Error('not now'); });\n"
			    "exports.handler = async () => 1;\n",
			    0644);
	agent_harness_configure(&h, "app.handler", "snap-start");
	Thaw__Agent__GuestMessage *answer = agent_harness_init(&h, 10000);
	assert_int_equal(answer->init_done->outcome, THAW__AGENT__OUTCOME__OUTCOME_ERROR);
	assert_string_equal(answer->init_done->error_type, "Runtime.BeforeSnapshotError");
	thaw__agent__guest_message__free_unpacked(answer, NULL);

	agent_harness_write(&h, "app.js",
			    "thaw.afterRestore(() => { throw new Error('not here'); });\n"
			    "exports.handler = async () => 1;\n",
			    0644);
	agent_harness_init_ok(&h, true);
	answer = resume(&h);
	assert_int_equal(answer->resumed->outcome, THAW__AGENT__OUTCOME__OUTCOME_ERROR);
	assert_string_equal(answer->resumed->error_type, "Runtime.AfterRestoreError");
	thaw__agent__guest_message__free_unpacked(answer, NULL);
	agent_harness_stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handlers_are_found_wherever_lambda_finds_them),
		cmocka_unit_test(init_errors_are_lambdas),
		cmocka_unit_test(streams_arrive),
		cmocka_unit_test(errors_of_streams_are_told),
		cmocka_unit_test(hooks_run_around_a_snapshot),
		cmocka_unit_test(the_first_event_tells_a_copy_what_it_is),
		cmocka_unit_test(hook_errors_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
