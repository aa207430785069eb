/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest tells of an invocation, and how much of it is believed. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/environment.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"

#define MEMORY_MIB 128

struct guest {
	struct thaw_function function;
	struct thaw_environment environment;
	int socket;
	Thaw__Agent__InvokeDone done; /* what it is going to answer */
	pthread_t thread;
};

static void *guest_run(void *context)
{
	struct guest *guest = context;
	Thaw__Agent__GuestMessage message = THAW__AGENT__GUEST_MESSAGE__INIT;
	uint8_t frame[4096];
	char line[16];

	assert_int_equal(read(guest->socket, line, 13), 13);
	assert_int_equal(thaw_write_full(guest->socket, "OK 7\n", 5), 0);
	/* Not before there is a question. */
	assert_true(read(guest->socket, frame, sizeof(frame)) > 0);
	message.seq = 1;
	message.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_INVOKE_DONE;
	message.invoke_done = &guest->done;
	size_t size = thaw__agent__guest_message__get_packed_size(&message);
	assert_true(THAW_FRAME_HEADER + size <= sizeof(frame));
	thaw_frame_header(frame, (uint32_t)size);
	thaw__agent__guest_message__pack(&message, frame + THAW_FRAME_HEADER);
	assert_int_equal(thaw_write_full(guest->socket, frame, THAW_FRAME_HEADER + size), 0);
	return NULL;
}

static int setup(void **state)
{
	static struct guest guest;
	int pair[2];

	memset(&guest, 0, sizeof(guest));
	guest.function.memory_mib = MEMORY_MIB;
	guest.function.timeout_s = 20;
	thaw__agent__invoke_done__init(&guest.done);
	thaw_environment_init(&guest.environment, NULL, &guest.function);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(thaw_agent_open(&guest.environment.agent, pair[0], 1024, NULL), 0);
	guest.socket = pair[1];
	*state = &guest;
	return 0;
}

static int teardown(void **state)
{
	struct guest *guest = *state;

	thaw_environment_close(&guest->environment);
	close(guest->socket);
	return 0;
}

/* The result, and the microseconds it took. */
static uint64_t invoke(struct guest *guest, struct thaw_result *result)
{
	static const struct thaw_invocation invocation = {
		.request_id = "r",
		.event = (const uint8_t *)"{}",
		.event_size = 2,
	};

	uint64_t began = thaw_monotonic_ns();
	assert_int_equal(pthread_create(&guest->thread, NULL, guest_run, guest), 0);
	assert_int_equal(thaw_environment_invoke(&guest->environment, &invocation, result, NULL),
			 0);
	pthread_join(guest->thread, NULL);
	return (thaw_monotonic_ns() - began) / 1000;
}

static void numbers_are_bounded(void **state)
{
	struct guest *guest = *state;
	struct thaw_result result = {0};

	guest->done.duration_us = UINT64_MAX;
	guest->done.init_duration_us = UINT64_MAX - 1;
	guest->done.max_memory_kib = UINT64_MAX;
	uint64_t most = invoke(guest, &result);
	assert_true(result.duration_us <= most);
	assert_true(result.init_duration_us <= most);
	assert_int_equal(result.max_memory_kib, (uint64_t)thaw_function_guest_mib(&guest->function)
							<< 10);
}

static void what_can_be_is_believed(void **state)
{
	struct guest *guest = *state;
	struct thaw_result result = {0};

	guest->done.duration_us = 1;
	guest->done.max_memory_kib = 12345;
	invoke(guest, &result);
	assert_int_equal(result.outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
	assert_int_equal(result.duration_us, 1);
	assert_int_equal(result.init_duration_us, 0);
	assert_int_equal(result.max_memory_kib, 12345);
}

static void types_of_errors_are_words(void **state)
{
	struct guest *guest = *state;
	struct thaw_result result = {0};
	char type[400] = "E\r\nX-Header: y\tStatus: success\x1b[2J\x7f\xff\xc3\xa9";

	memset(type + strlen(type), 'x', 300);
	guest->done.outcome = (Thaw__Agent__Outcome)99;
	guest->done.error_type = type;
	invoke(guest, &result);
	assert_true(result.outcome != THAW__AGENT__OUTCOME__OUTCOME_OK);
	assert_int_equal(strlen(result.error_type), sizeof(result.error_type) - 1);
	for (const char *c = result.error_type; *c; c++)
		assert_true(*c > ' ' && *c < 0x7f);
	assert_memory_equal(result.error_type, "E??X-Header:?y?Status:?success?[2J", 34);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(numbers_are_bounded),
		T(what_can_be_is_believed),
		T(types_of_errors_are_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
