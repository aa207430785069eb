/* SPDX-License-Identifier: Apache-2.0 */
/* Standing still and going on: Freeze, PrepareSnapshot, Resume, and the hooks around them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/buffer.h"
#include "tests/unit/agent_harness.h"

#define ID AGENT_REQUEST_ID

static const char python_dir[] = THAW_SOURCE_DIR "/guest/runtimes/python";

static void send_simple(struct agent_harness *h, Thaw__Agent__HostMessage__BodyCase kind,
			uint32_t *seq)
{
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__Freeze freeze = THAW__AGENT__FREEZE__INIT;
	Thaw__Agent__PrepareSnapshot prepare = THAW__AGENT__PREPARE_SNAPSHOT__INIT;
	Thaw__Agent__Resume resume = THAW__AGENT__RESUME__INIT;
	uint8_t entropy[32] = {1, 2, 3};

	message.body_case = kind;
	if (kind == THAW__AGENT__HOST_MESSAGE__BODY_FREEZE) {
		message.freeze = &freeze;
	} else if (kind == THAW__AGENT__HOST_MESSAGE__BODY_PREPARE_SNAPSHOT) {
		message.prepare_snapshot = &prepare;
	} else {
		resume.entropy.data = entropy;
		resume.entropy.len = sizeof(entropy);
		resume.log_stream = "2027/01/01/[1]fedc";
		message.resume = &resume;
	}
	*seq = agent_harness_send(h, &message);
}

static void expect_simple(struct agent_harness *h, Thaw__Agent__HostMessage__BodyCase kind,
			  Thaw__Agent__GuestMessage__BodyCase answer_kind)
{
	uint32_t seq;

	send_simple(h, kind, &seq);
	Thaw__Agent__GuestMessage *answer = agent_harness_wait(h, seq, NULL);
	if (answer->body_case == THAW__AGENT__GUEST_MESSAGE__BODY_FAILURE)
		print_error("%s\n", answer->failure->message);
	if (answer->body_case == THAW__AGENT__GUEST_MESSAGE__BODY_RESUMED)
		assert_int_equal(answer->resumed->outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
	assert_int_equal(answer->body_case, answer_kind);
	thaw__agent__guest_message__free_unpacked(answer, NULL);
}

static const char ticking[] = "import threading, time\n"
			      "ticks = 0\n"
			      "def tick():\n"
			      "    global ticks\n"
			      "    while True:\n"
			      "        ticks += 1\n"
			      "        time.sleep(0.005)\n"
			      "threading.Thread(target=tick, daemon=True).start()\n"
			      "def handler(event, context):\n"
			      "    return ticks\n";

static long invoke_number(struct agent_harness *h)
{
	struct agent_result result;

	agent_harness_invoke(h, ID, "{}", 2, 5000, &result);
	assert_int_equal(result.done->outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
	long number = strtol(agent_result_text(&result), NULL, 10);
	agent_result_clear(&result);
	return number;
}

static void frozen_means_standing_still(void **state)
{
	struct agent_options options = {.runtime_dir = python_dir, .cgroup = true};
	struct agent_harness h;

	(void)state;
	if (!agent_harness_has_cgroup())
		skip();
	agent_harness_start(&h, &options);
	agent_harness_write(&h, "app.py", ticking, 0644);
	agent_harness_configure(&h, "app.handler", "on-demand");
	agent_harness_init_ok(&h, false);
	/* It ticks between invocations... */
	long first = invoke_number(&h);
	long second = first;
	for (int i = 0; i < 200 && second < first + 40; i++) {
		usleep(20000);
		second = invoke_number(&h);
	}
	assert_true(second >= first + 40);
	/* ... and does not when it is frozen. */
	expect_simple(&h, THAW__AGENT__HOST_MESSAGE__BODY_FREEZE,
		      THAW__AGENT__GUEST_MESSAGE__BODY_FROZEN);
	usleep(500000);
	long third = invoke_number(&h);
	assert_true(third < second + 40);
	agent_harness_stop(&h);
}

static const char hooked[] =
	"import random, uuid\n"
	"from snapshot_restore_py import register_before_snapshot, register_after_restore\n"
	"random.seed(7)\n"
	"order = []\n"
	"@register_before_snapshot\n"
	"def a(): order.append('a')\n"
	"register_before_snapshot(order.append, 'b')\n"
	"register_after_restore(lambda x, y: order.append(x + y), 'c', y='d')\n"
	"@register_after_restore\n"
	"def e(): order.append(random.random() != random.Random(7).random())\n"
	"def handler(event, context):\n"
	"    return [order, context.log_stream_name]\n";

static void hooks_run_around_a_snapshot(void **state)
{
	struct agent_options options = {.runtime_dir = python_dir,
					.cgroup = agent_harness_has_cgroup()};
	struct agent_harness h;
	uint32_t seq;

	(void)state;
	agent_harness_start(&h, &options);
	agent_harness_write(&h, "app.py", hooked, 0644);
	agent_harness_configure(&h, "app.handler", "snap-start");
	agent_harness_init_ok(&h, true);
	expect_simple(&h, THAW__AGENT__HOST_MESSAGE__BODY_PREPARE_SNAPSHOT,
		      THAW__AGENT__GUEST_MESSAGE__BODY_SNAPSHOT_READY);
	/* The snapshot is taken, the connection gone; a new one, and Resume first. */
	agent_harness_reconnect(&h);
	send_simple(&h, THAW__AGENT__HOST_MESSAGE__BODY_RESUME, &seq);
	Thaw__Agent__GuestMessage *answer = agent_harness_wait(&h, seq, NULL);
	assert_int_equal(answer->body_case, THAW__AGENT__GUEST_MESSAGE__BODY_RESUMED);
	assert_int_equal(answer->resumed->outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
	thaw__agent__guest_message__free_unpacked(answer, NULL);
	agent_harness_expect(&h, "{}", "[[\"b\", \"a\", \"cd\", true], \"2027/01/01/[1]fedc\"]");
	agent_harness_stop(&h);
}

static const char hookless[] = "import random, time\n"
			       "random.seed(7)\n"
			       "n = 0\n"
			       "def handler(event, context):\n"
			       "    global n\n"
			       "    n += 1\n"
			       "    known = random.Random(7).random()\n"
			       "    if n > 1:\n"
			       "        known = None\n"
			       "    return [random.random() == known, context.log_stream_name]\n";

static void the_first_event_tells_a_copy_what_it_is(void **state)
{
	struct agent_options options = {.runtime_dir = python_dir,
					.cgroup = agent_harness_has_cgroup()};
	struct agent_harness h;

	(void)state;
	for (int restored = 0; restored < 2; restored++) {
		agent_harness_start(&h, &options);
		agent_harness_write(&h, "app.py", hookless, 0644);
		agent_harness_configure(&h, "app.handler", "snap-start");
		agent_harness_init_ok(&h, false);
		if (restored) {
			expect_simple(&h, THAW__AGENT__HOST_MESSAGE__BODY_PREPARE_SNAPSHOT,
				      THAW__AGENT__GUEST_MESSAGE__BODY_SNAPSHOT_READY);
			agent_harness_reconnect(&h);
			expect_simple(&h, THAW__AGENT__HOST_MESSAGE__BODY_RESUME,
				      THAW__AGENT__GUEST_MESSAGE__BODY_RESUMED);
		}
		agent_harness_expect(&h, "{}",
				     restored ? "[false, \"2027/01/01/[1]fedc\"]"
					      : "[true, \"2026/01/31/[$LATEST]0123\"]");
		agent_harness_stop(&h);
	}
}

static void a_runtime_without_hooks_resumes_too(void **state)
{
	struct agent_options options = {.runtime_dir = python_dir,
					.cgroup = agent_harness_has_cgroup()};
	struct agent_harness h;

	(void)state;
	agent_harness_start(&h, &options);
	agent_harness_write(&h, "app.py", "def handler(e, c):\n    return e\n", 0644);
	agent_harness_configure(&h, "app.handler", "on-demand");
	agent_harness_init_ok(&h, false);
	for (int i = 0; i < 3; i++) {
		agent_harness_expect(&h, "[1]", "[1]");
		expect_simple(&h, THAW__AGENT__HOST_MESSAGE__BODY_PREPARE_SNAPSHOT,
			      THAW__AGENT__GUEST_MESSAGE__BODY_SNAPSHOT_READY);
		agent_harness_reconnect(&h);
		expect_simple(&h, THAW__AGENT__HOST_MESSAGE__BODY_RESUME,
			      THAW__AGENT__GUEST_MESSAGE__BODY_RESUMED);
	}
	/* Nothing initialised at all: a snapshot of the machine alone. */
	agent_harness_stop(&h);
	agent_harness_start(&h, &options);
	expect_simple(&h, THAW__AGENT__HOST_MESSAGE__BODY_PREPARE_SNAPSHOT,
		      THAW__AGENT__GUEST_MESSAGE__BODY_SNAPSHOT_READY);
	agent_harness_reconnect(&h);
	expect_simple(&h, THAW__AGENT__HOST_MESSAGE__BODY_RESUME,
		      THAW__AGENT__GUEST_MESSAGE__BODY_RESUMED);
	agent_harness_stop(&h);
}

static void hook_errors_are_told(void **state)
{
	struct agent_options options = {.runtime_dir = python_dir};
	struct agent_harness h;
	uint32_t seq;

	(void)state;
	agent_harness_start(&h, &options);
	agent_harness_write(&h, "app.py",
			    "import snapshot_restore_py as s\n"
			    "s.register_before_snapshot(lambda: 1 / 0)\n"
			    "def handler(e, c): pass\n",
			    0644);
	agent_harness_configure(&h, "app.handler", "snap-start");
	Thaw__Agent__GuestMessage *answer = agent_harness_init(&h, 5000);
	assert_int_equal(answer->init_done->outcome, THAW__AGENT__OUTCOME__OUTCOME_ERROR);
	assert_string_equal(answer->init_done->error_type, "Runtime.BeforeSnapshotError");
	thaw__agent__guest_message__free_unpacked(answer, NULL);

	agent_harness_write(&h, "app.py",
			    "import snapshot_restore_py as s\n"
			    "s.register_after_restore(lambda: 1 / 0)\n"
			    "def handler(e, c): pass\n",
			    0644);
	agent_harness_init_ok(&h, true);
	send_simple(&h, THAW__AGENT__HOST_MESSAGE__BODY_RESUME, &seq);
	answer = agent_harness_wait(&h, seq, NULL);
	assert_int_equal(answer->body_case, THAW__AGENT__GUEST_MESSAGE__BODY_RESUMED);
	assert_int_equal(answer->resumed->outcome, THAW__AGENT__OUTCOME__OUTCOME_ERROR);
	assert_string_equal(answer->resumed->error_type, "Runtime.AfterRestoreError");
	thaw__agent__guest_message__free_unpacked(answer, NULL);
	agent_harness_stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frozen_means_standing_still),
		cmocka_unit_test(hooks_run_around_a_snapshot),
		cmocka_unit_test(the_first_event_tells_a_copy_what_it_is),
		cmocka_unit_test(a_runtime_without_hooks_resumes_too),
		cmocka_unit_test(hook_errors_are_told),
	};

	if (access("/usr/bin/python3.11", X_OK) != 0)
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
