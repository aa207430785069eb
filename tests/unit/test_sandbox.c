/* SPDX-License-Identifier: Apache-2.0 */
/* What thaw-vmm does inside its sandbox, and what the sandbox is for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/error.h"
#include "lib/log.h"
#include "vmm/sandbox.h"

/* The wait status of a process that calls `work` in the sandbox; what it logs goes to `log`. */
static int sandboxed(void (*work)(void), int log)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct thaw_error err;
		/* As thaw-vmm is started: nothing says which time zone it is. */
		clearenv();
		thaw_log_setup("test", THAW_LOG_WARN, false, log);
		if (thaw_sandbox_enter(&err) < 0)
			_exit(2);
		work();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void warn(void)
{
	thaw_log(THAW_LOG_WARN, "the guest broke %s", "a rule");
}

/* The first line of the log made the C library look for the time zone, which was the end: any guest
 * that broke a rule of virtio ended its thaw-vmm by a signal. */
static void test_log(void **state)
{
	char text[256] = "";
	int pipe_fds[2];

	(void)state;
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_int_equal(sandboxed(warn, pipe_fds[1]), 0);
	close(pipe_fds[1]);
	assert_true(read(pipe_fds[0], text, sizeof(text) - 1) > 0);
	close(pipe_fds[0]);
	assert_non_null(strstr(text, "Z warn test: the guest broke a rule\n"));
}

static void open_file(void)
{
	_exit(open("/dev/null", O_RDONLY) < 0);
}

static void test_no_files(void **state)
{
	(void)state;
	int status = sandboxed(open_file, STDERR_FILENO);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_no_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
