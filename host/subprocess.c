/* SPDX-License-Identifier: Apache-2.0 */
#include "host/subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "lib/error.h"
#include "lib/fd.h"

int thaw_subprocess_find(const char *program, char *path, size_t size)
{
	const char *search = getenv("PATH");
	char dirs[4096];

	snprintf(dirs, sizeof(dirs), "%s:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin",
		 search ? search : "");
	char *save;
	for (char *dir = strtok_r(dirs, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
		int n = snprintf(path, size, "%s/%s", dir, program);
		if (n > 0 && (size_t)n < size && access(path, X_OK) == 0)
			return 0;
	}
	return -ENOENT;
}

static void subprocess_child(char *const argv[], const char *path, int in, int out, pid_t parent)
{
	static const int reset[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
	int null = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || null < 0)
		_exit(127);
	for (size_t i = 0; i < sizeof(reset) / sizeof(reset[0]); i++)
		signal(reset[i], SIG_DFL);
	if (dup2(in >= 0 ? in : null, 0) < 0 || dup2(null, 1) < 0 || dup2(out, 2) < 0)
		_exit(127);
	execv(path, argv);
	_exit(127);
}

/* The last line that is not empty, in place. */
static char *last_line(char *text)
{
	size_t end = strlen(text);

	while (end && (text[end - 1] == '\n' || text[end - 1] == '\r' || text[end - 1] == ' '))
		text[--end] = 0;
	char *line = strrchr(text, '\n');
	return line ? line + 1 : text;
}

int thaw_subprocess_run(char *const argv[], const char *package, const void *input, size_t size,
			struct thaw_error *err)
{
	char path[PATH_MAX];
	char text[2048];
	int status;

	if (thaw_subprocess_find(argv[0], path, sizeof(path)) < 0)
		return thaw_error_set(err, ENOENT,
				      "the program \"%s\" is missing (Debian package %s)", argv[0],
				      package);
	/* Files in memory, not pipes: nobody can block on the other. */
	cleanup_close int in = input ? memfd_create("input", MFD_CLOEXEC) : -1;
	cleanup_close int out = memfd_create("output", MFD_CLOEXEC);
	if (out < 0 || (input && in < 0))
		return thaw_error_errno(err, errno, "running \"%s\"", argv[0]);
	if (input) {
		int rc = thaw_write_full(in, input, size);
		if (rc < 0 || lseek(in, 0, SEEK_SET) < 0)
			return thaw_error_errno(err, rc ? -rc : errno, "running \"%s\"", argv[0]);
	}
	pid_t parent = getpid();
	pid_t pid = fork();
	if (pid < 0)
		return thaw_error_errno(err, errno, "running \"%s\"", argv[0]);
	if (pid == 0)
		subprocess_child(argv, path, in, out, parent);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return thaw_error_errno(err, errno, "waiting for \"%s\"", argv[0]);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	ssize_t n = pread(out, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = 0;
	if (WIFSIGNALED(status))
		return thaw_error_set(err, EIO, "%s was killed by signal %d", argv[0],
				      WTERMSIG(status));
	return thaw_error_set(err, EIO, "%s failed with status %d: %s", argv[0],
			      WEXITSTATUS(status), last_line(text));
}
