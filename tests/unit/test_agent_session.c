/* SPDX-License-Identifier: Apache-2.0 */
/* The conversation with the host, and custom runtimes: shell and C bootstraps of a function. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/buffer.h"
#include "tests/unit/agent_harness.h"

#define ID AGENT_REQUEST_ID

static const char shell_bootstrap[] = THAW_SOURCE_DIR "/guest/runtimes/examples/shell/bootstrap";
static const char python_dir[] = THAW_SOURCE_DIR "/guest/runtimes/python";

static void copy_into(struct agent_harness *h, const char *path, const char *name,
		      unsigned int mode)
{
	char text[16384];
	FILE *file = fopen(path, "r");

	assert_non_null(file);
	size_t n = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[n] = 0;
	agent_harness_write(h, name, text, mode);
}

static Thaw__Agent__GuestMessage *ask(struct agent_harness *h, Thaw__Agent__HostMessage *message)
{
	return agent_harness_wait(h, agent_harness_send(h, message), NULL);
}

static void expect_failure(struct agent_harness *h, Thaw__Agent__HostMessage *message,
			   const char *text)
{
	Thaw__Agent__GuestMessage *answer = ask(h, message);

	assert_int_equal(answer->body_case, THAW__AGENT__GUEST_MESSAGE__BODY_FAILURE);
	if (!strstr(answer->failure->message, text))
		fail_msg("\"%s\" has no \"%s\"", answer->failure->message, text);
	thaw__agent__guest_message__free_unpacked(answer, NULL);
}

static void ping(struct agent_harness *h)
{
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__Ping body = THAW__AGENT__PING__INIT;

	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_PING;
	message.ping = &body;
	Thaw__Agent__GuestMessage *answer = ask(h, &message);
	assert_int_equal(answer->body_case, THAW__AGENT__GUEST_MESSAGE__BODY_PONG);
	assert_true(answer->pong->version[0] >= '0' && answer->pong->version[0] <= '9');
	assert_true(answer->pong->uptime_us > 0);
	thaw__agent__guest_message__free_unpacked(answer, NULL);
}

static void requests_out_of_turn_fail_and_the_session_goes_on(void **state)
{
	struct agent_options options = {0};
	struct agent_harness h;
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__Init init = THAW__AGENT__INIT__INIT;
	Thaw__Agent__Invoke invoke = THAW__AGENT__INVOKE__INIT;
	Thaw__Agent__Chunk chunk = THAW__AGENT__CHUNK__INIT;
	Thaw__Agent__Configure configure = THAW__AGENT__CONFIGURE__INIT;
	Thaw__Agent__Function function = THAW__AGENT__FUNCTION__INIT;
	Thaw__Agent__Network network = THAW__AGENT__NETWORK__INIT;
	Thaw__Agent__Resume resume = THAW__AGENT__RESUME__INIT;

	(void)state;
	agent_harness_start(&h, &options);
	ping(&h);
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_INIT;
	message.init = &init;
	expect_failure(&h, &message, "not configured");
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_INVOKE;
	message.invoke = &invoke;
	expect_failure(&h, &message, "not configured");
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_CHUNK;
	message.chunk = &chunk;
	expect_failure(&h, &message, "does not know");
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY__NOT_SET;
	expect_failure(&h, &message, "does not know");
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_CONFIGURE;
	message.configure = &configure;
	expect_failure(&h, &message, "no function");
	function.memory_mib = 128;
	configure.function = &function;
	configure.network = &network;
	expect_failure(&h, &message, "network: the address");
	configure.function = NULL;
	configure.network = NULL;
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_RESUME;
	message.resume = &resume;
	expect_failure(&h, &message, "entropy");

	agent_harness_configure(&h, "function.handler", "on-demand");
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_CONFIGURE;
	message.configure = &configure;
	expect_failure(&h, &message, "already");
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_INVOKE;
	message.invoke = &invoke;
	invoke.request_id = "";
	expect_failure(&h, &message, "request id");
	invoke.request_id = "a\r\nb";
	expect_failure(&h, &message, "control byte");
	invoke.request_id = ID;
	invoke.payload_size = 6291557;
	expect_failure(&h, &message, "6291557");
	invoke.payload_size = 1;
	invoke.payload.len = 2;
	invoke.payload.data = (uint8_t *)"{}";
	expect_failure(&h, &message, "first part");
	ping(&h);
	agent_harness_stop(&h);
}

static void a_missing_bootstrap_is_said_in_lambdas_words(void **state)
{
	struct agent_options options = {0};
	struct agent_harness h;
	char text[512];

	(void)state;
	agent_harness_start(&h, &options);
	agent_harness_configure(&h, "function.handler", "on-demand");
	Thaw__Agent__GuestMessage *answer = agent_harness_init(&h, 5000);
	assert_int_equal(answer->init_done->outcome, THAW__AGENT__OUTCOME__OUTCOME_EXIT);
	assert_string_equal(answer->init_done->error_type, "Runtime.InvalidEntrypoint");
	thaw__agent__guest_message__free_unpacked(answer, NULL);
	snprintf(text, sizeof(text),
		 "{\"errorMessage\":\"RequestId: " ID " Error: Couldn't find valid bootstrap(s): "
		 "[%s/bootstrap /nonexistent/opt/bootstrap]\""
		 ",\"errorType\":\"Runtime.InvalidEntrypoint\"}",
		 h.dir);
	agent_harness_expect(&h, "{}", text);
	/* There, but not executable; then not a program. */
	agent_harness_write(&h, "bootstrap", "#!/bin/sh\n", 0644);
	agent_harness_expect(&h, "{}", text);
	agent_harness_write(&h, "bootstrap", "no program\n", 0755);
	snprintf(text, sizeof(text),
		 "{\"errorMessage\":\"RequestId: " ID
		 " Error: fork/exec %s/bootstrap: exec format error\""
		 ",\"errorType\":\"Runtime.InvalidEntrypoint\"}",
		 h.dir);
	agent_harness_expect(&h, "{}", text);
	agent_harness_stop(&h);
}

/* The function's own, a layer's, the image's: each ends with a status of its own. */
static void bootstraps_are_taken_in_lambdas_order(void **state)
{
	static const struct {
		const char *name, *text, *ending;
	} places[] = {
		{"runtime/bootstrap", "#!/bin/sh\nexit 13\n", "exit status 13"},
		{"opt/bootstrap", "#!/bin/sh\nexit 12\n", "exit status 12"},
		{"bootstrap", "#!/bin/sh\nexit 11\n", "exit status 11"},
	};
	char base[] = "/tmp/thaw-places-XXXXXX";
	char opt[64], runtime[64];
	struct agent_options options = {.opt = opt, .runtime_dir = runtime};
	struct agent_harness h;
	struct agent_result result;

	(void)state;
	/* Links lead to where the task root will be. */
	assert_non_null(mkdtemp(base));
	snprintf(opt, sizeof(opt), "%s/root/opt", base);
	snprintf(runtime, sizeof(runtime), "%s/root/runtime", base);
	agent_harness_start(&h, &options);
	char link[64], path[80];
	snprintf(link, sizeof(link), "%s/root", base);
	assert_int_equal(symlink(h.dir, link), 0);
	snprintf(path, sizeof(path), "%s/opt", h.dir);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/runtime", h.dir);
	assert_int_equal(mkdir(path, 0755), 0);
	agent_harness_configure(&h, "none", "on-demand");
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		/* There, but not executable: passed over. */
		if (i + 1 < sizeof(places) / sizeof(places[0]))
			agent_harness_write(&h, places[i + 1].name, places[i + 1].text, 0644);
		agent_harness_write(&h, places[i].name, places[i].text, 0755);
		agent_harness_invoke(&h, ID, "{}", 2, 5000, &result);
		assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_EXIT);
		assert_non_null(strstr(agent_result_text(&result), places[i].ending));
		agent_result_clear(&result);
	}
	agent_harness_stop(&h);
	unlink(link);
	rmdir(base);
}

static void a_shell_bootstrap_serves(void **state)
{
	struct agent_options options = {0};
	struct agent_harness h;
	struct agent_result result;
	char *large = malloc(3000000);

	(void)state;
	agent_harness_start(&h, &options);
	copy_into(&h, shell_bootstrap, "bootstrap", 0755);
	copy_into(&h, THAW_SOURCE_DIR "/guest/runtimes/examples/shell/function.sh", "function.sh",
		  0644);
	agent_harness_configure(&h, "function.handler", "on-demand");
	agent_harness_init_ok(&h, false);
	agent_harness_expect(&h, "{\"a\":1}", "{\"bytes\":7}");
	agent_harness_expect(&h, "", "{\"bytes\":0}");
	assert_non_null(strstr(agent_harness_log(&h, 1), "an event of 7 bytes\n"));
	agent_harness_stop(&h);

	/* curl asks before it sends so much (Expect: 100-continue). */
	agent_harness_start(&h, &options);
	copy_into(&h, shell_bootstrap, "bootstrap", 0755);
	copy_into(&h, THAW_SOURCE_DIR "/guest/runtimes/examples/shell/function.sh", "function.sh",
		  0644);
	agent_harness_configure(&h, "function.echo_back", "on-demand");
	agent_harness_init_ok(&h, false);
	assert_non_null(large);
	for (size_t i = 0; i < 3000000; i++)
		large[i] = (char)(i * 31);
	agent_harness_invoke(&h, ID, large, 3000000, 20000, &result);
	assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
	assert_int_equal(thaw_buffer_size(&result.payload), 3000000);
	assert_memory_equal(thaw_buffer_bytes(&result.payload), large, 3000000);
	agent_result_clear(&result);
	agent_harness_stop(&h);
	free(large);
}

static void a_shell_handler_that_fails_is_an_error(void **state)
{
	struct agent_options options = {0};
	struct agent_harness h;
	struct agent_result result;

	(void)state;
	agent_harness_start(&h, &options);
	copy_into(&h, shell_bootstrap, "bootstrap", 0755);
	agent_harness_configure(&h, "function.fail", "on-demand");
	Thaw__Agent__GuestMessage *answer = agent_harness_init(&h, 5000);
	assert_int_equal(answer->init_done->outcome, THAW__AGENT__OUTCOME__OUTCOME_ERROR);
	assert_string_equal(answer->init_done->error_type, "Runtime.NoSuchHandler");
	thaw__agent__guest_message__free_unpacked(answer, NULL);
	copy_into(&h, THAW_SOURCE_DIR "/guest/runtimes/examples/shell/function.sh", "function.sh",
		  0644);
	agent_harness_invoke(&h, ID, "{}", 2, 10000, &result);
	assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_ERROR);
	assert_string_equal(agent_result_text(&result),
			    "{\"errorMessage\":\"fail failed\",\"errorType\":\"Function.Failed\"}");
	assert_string_equal(result.done->error_type, "Function.Failed");
	agent_result_clear(&result);
	agent_harness_stop(&h);
}

static void an_init_that_ends_or_hangs_is_told(void **state)
{
	struct agent_options options = {0};
	struct agent_harness h;

	(void)state;
	agent_harness_start(&h, &options);
	agent_harness_write(&h, "bootstrap", "#!/bin/sh\necho bye\nexit 5\n", 0755);
	agent_harness_configure(&h, "x", "on-demand");
	Thaw__Agent__GuestMessage *answer = agent_harness_init(&h, 5000);
	assert_int_equal(answer->init_done->outcome, THAW__AGENT__OUTCOME__OUTCOME_EXIT);
	assert_string_equal(answer->init_done->error_type, "Runtime.ExitError");
	assert_string_equal(agent_harness_log(&h, 0), "bye\n");
	thaw__agent__guest_message__free_unpacked(answer, NULL);
	agent_harness_write(&h, "bootstrap", "#!/bin/sh\nexec sleep 100\n", 0755);
	answer = agent_harness_init(&h, 200);
	assert_int_equal(answer->init_done->outcome, THAW__AGENT__OUTCOME__OUTCOME_TIMEOUT);
	assert_string_equal(answer->init_done->error_type, "Sandbox.Timedout");
	assert_true(answer->init_done->duration_us >= 200000);
	thaw__agent__guest_message__free_unpacked(answer, NULL);
	/* Init counts against the time of the invocation that needs it. */
	struct agent_result result;
	agent_harness_invoke(&h, ID, "{}", 2, 1050, &result);
	assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_TIMEOUT);
	assert_non_null(strstr(agent_result_text(&result), "timed out after 1.05 seconds"));
	agent_result_clear(&result);
	agent_harness_stop(&h);
}

static void a_host_that_leaves_finds_an_agent_that_serves(void **state)
{
	struct agent_options options = {.runtime_dir = python_dir};
	struct agent_harness h;
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__Invoke invoke = THAW__AGENT__INVOKE__INIT;

	(void)state;
	agent_harness_start(&h, &options);
	agent_harness_write(&h, "app.py",
			    "import time\nn = 0\ndef handler(e, c):\n    global n\n    n += 1\n"
			    "    time.sleep(e)\n    return n\n",
			    0644);
	agent_harness_configure(&h, "app.handler", "on-demand");
	agent_harness_init_ok(&h, false);
	agent_harness_expect(&h, "0", "1");
	agent_harness_expect(&h, "0", "2");
	/* At rest: nothing is lost. */
	agent_harness_reconnect(&h);
	agent_harness_expect(&h, "0", "3");
	/* In the middle of an invocation: the runtime is started anew. */
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_INVOKE;
	message.invoke = &invoke;
	invoke.request_id = ID;
	invoke.timeout_ms = 60000;
	invoke.payload_size = 2;
	invoke.payload.data = (uint8_t *)"50";
	invoke.payload.len = 2;
	agent_harness_send(&h, &message);
	usleep(100000);
	agent_harness_reconnect(&h);
	agent_harness_expect(&h, "0", "1");
	/* In the middle of an event's payload. */
	invoke.payload_size = 1000;
	agent_harness_send(&h, &message);
	usleep(100000);
	agent_harness_reconnect(&h);
	agent_harness_expect(&h, "0", "1");
	/* Garbage ends a connection, not the agent. */
	assert_int_equal(write(h.socket, "\xff\xff\xff\xff", 4), 4);
	assert_null(agent_harness_next(&h));
	agent_harness_reconnect(&h);
	agent_harness_expect(&h, "0", "2");
	agent_harness_stop(&h);
}

static void requests_may_be_sent_ahead(void **state)
{
	struct agent_options options = {.runtime_dir = python_dir};
	struct agent_harness h;
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__Invoke invoke = THAW__AGENT__INVOKE__INIT;
	Thaw__Agent__GetStatistics statistics = THAW__AGENT__GET_STATISTICS__INIT;
	Thaw__Agent__Resume resume = THAW__AGENT__RESUME__INIT;
	uint8_t entropy[32] = {1};
	uint32_t first;

	(void)state;
	agent_harness_start(&h, &options);
	agent_harness_write(&h, "app.py", "def handler(e, c):\n    return e\n", 0644);
	agent_harness_configure(&h, "app.handler", "on-demand");
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_RESUME;
	message.resume = &resume;
	resume.entropy.data = entropy;
	resume.entropy.len = sizeof(entropy);
	first = agent_harness_send(&h, &message);
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_INVOKE;
	message.invoke = &invoke;
	invoke.request_id = ID;
	invoke.timeout_ms = 10000;
	invoke.payload_size = invoke.payload.len = 2;
	invoke.payload.data = (uint8_t *)"42";
	agent_harness_send(&h, &message);
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_GET_STATISTICS;
	message.get_statistics = &statistics;
	agent_harness_send(&h, &message);
	static const Thaw__Agent__GuestMessage__BodyCase kinds[] = {
		THAW__AGENT__GUEST_MESSAGE__BODY_RESUMED,
		THAW__AGENT__GUEST_MESSAGE__BODY_INVOKE_DONE,
		THAW__AGENT__GUEST_MESSAGE__BODY_STATISTICS,
	};
	for (uint32_t i = 0; i < 3; i++) {
		Thaw__Agent__GuestMessage *answer = agent_harness_wait(&h, first + i, NULL);
		assert_int_equal(answer->body_case, kinds[i]);
		thaw__agent__guest_message__free_unpacked(answer, NULL);
	}
	agent_harness_stop(&h);
}

static void a_host_that_does_not_read_hangs_no_handler(void **state)
{
	struct agent_options options = {.runtime_dir = python_dir};
	struct agent_harness h;
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__Invoke invoke = THAW__AGENT__INVOKE__INIT;

	(void)state;
	agent_harness_start(&h, &options);
	agent_harness_write(&h, "app.py",
			    "import os\ndef handler(e, c):\n"
			    "    for i in range(e): print('l' * 999)\n"
			    "    open(os.environ['LAMBDA_TASK_ROOT'] + '/done', 'w').close()\n",
			    0644);
	agent_harness_configure(&h, "app.handler", "on-demand");
	agent_harness_init_ok(&h, false);
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_INVOKE;
	message.invoke = &invoke;
	invoke.request_id = ID;
	invoke.timeout_ms = 20000;
	invoke.payload_size = invoke.payload.len = 4;
	invoke.payload.data = (uint8_t *)"8000";
	uint32_t seq = agent_harness_send(&h, &message);
	char path[128];
	snprintf(path, sizeof(path), "%s/done", h.dir);
	for (int i = 0; i < 1000 && access(path, F_OK) != 0; i++)
		usleep(10000);
	assert_int_equal(access(path, F_OK), 0);
	/* Now it reads again: what was lost has been counted to the byte. */
	Thaw__Agent__GuestMessage *answer = agent_harness_wait(&h, seq, NULL);
	assert_int_equal(answer->invoke_done->outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
	thaw__agent__guest_message__free_unpacked(answer, NULL);
	struct agent_result result;
	agent_harness_invoke(&h, ID, "1", 1, 20000, &result);
	agent_result_clear(&result);
	assert_true(h.dropped > 1000000);
	assert_int_equal(h.dropped + thaw_buffer_size(&h.logs[0]), 8001 * 1000);
	agent_harness_stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_out_of_turn_fail_and_the_session_goes_on),
		cmocka_unit_test(a_missing_bootstrap_is_said_in_lambdas_words),
		cmocka_unit_test(bootstraps_are_taken_in_lambdas_order),
		cmocka_unit_test(a_shell_bootstrap_serves),
		cmocka_unit_test(a_shell_handler_that_fails_is_an_error),
		cmocka_unit_test(an_init_that_ends_or_hangs_is_told),
		cmocka_unit_test(a_host_that_leaves_finds_an_agent_that_serves),
		cmocka_unit_test(requests_may_be_sent_ahead),
		cmocka_unit_test(a_host_that_does_not_read_hangs_no_handler),
	};

	if (access("/usr/bin/python3.11", X_OK) != 0 || access("/usr/bin/curl", X_OK) != 0)
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
