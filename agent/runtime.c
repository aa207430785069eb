/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/openat2.h>

#include "agent/environment.h"
#include "agent/guard.h"
#include "lib/error.h"
#include "lib/fd.h"

#define BOOTSTRAPS 3

/* What the child needs, prepared by the parent: after vfork it allocates nothing. */
struct launch {
	const char *path;
	const char *root;
	const char *cwd;
	char **env;
	int fds[4]; /* stdin, stdout, stderr, Runtime API */
	int procs;  /* cgroup.procs, -1 without one */
	bool confined;
	int error;        /* the errno the child ended on */
	const char *step; /* and what it was doing */
};

static int fail(struct launch *launch, const char *step, int code)
{
	launch->error = code;
	launch->step = step;
	return 127;
}

/* Everything a handler must not be: root, a debugger of others, a user of our descriptors. Plain
 * system calls, for the C library's wrappers may touch state that is the parent's here. */
static int child_confine(struct launch *launch)
{
	static const struct rlimit files = {1024, 1024};
	static const struct rlimit core = {0, 0};

	/* Being root's child made it unkillable for the OOM killer. */
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t n = write(fd, "0", 1);
		close(fd);
		if (n != 1)
			return fail(launch, "setting oom_score_adj", EIO);
	}
	if (launch->procs >= 0 && write(launch->procs, "0", 1) != 1)
		return fail(launch, "joining the cgroup", errno);
	if (strcmp(launch->root, "/") != 0 && (chroot(launch->root) < 0 || chdir("/") < 0))
		return fail(launch, "entering the root file system", errno);
	if (prlimit(0, RLIMIT_NOFILE, &files, NULL) < 0 || prlimit(0, RLIMIT_CORE, &core, NULL) < 0)
		return fail(launch, "setting limits", errno);
	/* Without a capability and with no_new_privs the bounding set has nothing to bound. */
	if (syscall(SYS_setgroups, 0, NULL) < 0 ||
	    syscall(SYS_setresgid, THAW_RUNTIME_GID, THAW_RUNTIME_GID, THAW_RUNTIME_GID) < 0 ||
	    syscall(SYS_setresuid, THAW_RUNTIME_UID, THAW_RUNTIME_UID, THAW_RUNTIME_UID) < 0)
		return fail(launch, "changing user", errno);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail(launch, "setting no_new_privs", errno);
	int rc = thaw_guard_install();
	return rc < 0 ? fail(launch, "installing the system call filter", -rc) : 0;
}

static int child(void *arg)
{
	struct launch *launch = arg;
	char *argv[] = {(char *)launch->path, NULL};
	sigset_t none;

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	umask(022);
	/* The sources lie above 3 (the agent holds 0 to 2 and its epoll set), except perhaps under
	 * a test; a descriptor that is in place already would keep its close-on-exec. */
	for (int i = 0; i < 4; i++) {
		if (dup2(launch->fds[i], i) < 0)
			return fail(launch, "passing descriptors", errno);
	}
	if (launch->confined) {
		int rc = child_confine(launch);
		if (rc)
			return rc;
	} else if (launch->procs >= 0 && write(launch->procs, "0", 1) != 1) {
		return fail(launch, "joining the cgroup", errno);
	}
	if (chdir(launch->cwd) < 0)
		return fail(launch, "entering the task root", errno);
	execve(launch->path, argv, launch->env);
	return fail(launch, "exec", errno);
}

/* Moves a descriptor above those that the child puts in place. */
static int above_three(int *fd)
{
	if (*fd > 3 || *fd < 0)
		return *fd < 0 ? -EBADF : 0;
	int moved = fcntl(*fd, F_DUPFD_CLOEXEC, 4);
	if (moved < 0)
		return -errno;
	close(*fd);
	*fd = moved;
	return 0;
}

/* A regular executable file at `path` inside the root, whatever links lead there. */
static bool is_executable(const char *root, const char *path)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
	cleanup_close int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (dir < 0)
		return false;
	cleanup_close int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111);
}

/* Lambda's order: the function's own, a layer's, the image's. */
static int find_bootstrap(const struct thaw_place *place, char path[PATH_MAX],
			  struct thaw_error *err)
{
	const char *dirs[BOOTSTRAPS] = {place->task, place->opt, place->runtime_dir};

	for (int i = 0; i < BOOTSTRAPS; i++) {
		if (snprintf(path, PATH_MAX, "%s/bootstrap", dirs[i]) < PATH_MAX &&
		    is_executable(place->root, path))
			return 0;
	}
	/* The image's own is not named: it is ours to have, not the user's to give. */
	return thaw_error_set(err, ENOENT,
			      "Couldn't find valid bootstrap(s): [%s/bootstrap %s/bootstrap]",
			      place->task, place->opt);
}

/* The child shares our memory and we sleep until its exec: nothing is copied, and its errors come
 * back through `launch`. */
static int spawn(struct thaw_runtime *runtime, struct launch *launch, struct thaw_error *err)
{
	static _Alignas(16) uint8_t stack[32768];

	runtime->oom_kills = thaw_cgroup_oom_kills(runtime->cgroup);
	pid_t pid = clone(child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, launch);
	if (pid < 0)
		return thaw_error_errno(err, errno, "fork/exec %s", launch->path);
	if (launch->error) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		if (strcmp(launch->step, "exec") != 0)
			return thaw_error_errno(err, launch->error, "fork/exec %s: %s",
						launch->path, launch->step);
		/* Go's words, for these are the ones Lambda shows. */
		return thaw_error_set(err, launch->error, "fork/exec %s: %s", launch->path,
				      launch->error == ENOEXEC  ? "exec format error"
				      : launch->error == EACCES ? "permission denied"
				      : launch->error == ENOENT ? "no such file or directory"
								: strerror(launch->error));
	}
	runtime->pid = pid;
	return 0;
}

int thaw_runtime_start(struct thaw_runtime *runtime, const Thaw__Agent__Function *function,
		       const char *log_stream, int *api_fd, struct thaw_error *err)
{
	const struct thaw_place *place = runtime->place;
	char path[PATH_MAX];
	int ends[2];
	int writers[THAW_LOG_SOURCES];

	int rc = find_bootstrap(place, path, err);
	if (rc < 0)
		return rc;
	cleanup_free char **env = thaw_environment_make(function, place, log_stream);
	if (!env)
		return thaw_error_errno(err, ENOMEM, "making the environment");
	cleanup_close int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null_fd < 0)
		return thaw_error_errno(err, errno, "opening /dev/null");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return thaw_error_errno(err, errno, "making a socket for the runtime");
	cleanup_close int ours = ends[0];
	cleanup_close int theirs = ends[1];
	if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
		return thaw_error_errno(err, errno, "setting up a socket");
	rc = thaw_logs_open(runtime->logs, writers);
	if (rc < 0)
		return thaw_error_errno(err, -rc, "making pipes for the runtime's output");
	cleanup_close int out = writers[THAW_LOG_STDOUT];
	cleanup_close int errors = writers[THAW_LOG_STDERR];
	int *passed[] = {&null_fd, &out, &errors, &theirs};
	for (int i = 0; i < 4; i++) {
		rc = above_three(passed[i]);
		if (rc < 0)
			return thaw_error_errno(err, -rc, "moving a descriptor");
	}
	struct launch launch = {
		.path = path,
		.root = place->root,
		.cwd = place->task,
		.env = env,
		.fds = {null_fd, out, errors, theirs},
		.procs = runtime->cgroup->procs,
		.confined = place->confined,
	};
	rc = spawn(runtime, &launch, err);
	if (rc < 0) {
		thaw_logs_close(runtime->logs);
		return rc;
	}
	*api_fd = thaw_fd_take(&ours);
	return 0;
}

void thaw_runtime_signal(struct thaw_runtime *runtime, int number)
{
	/* It leads a session and a process group of its own. */
	if (runtime->pid)
		kill(-runtime->pid, number);
}

void thaw_runtime_kill(struct thaw_runtime *runtime)
{
	if (thaw_cgroup_kill(runtime->cgroup) < 0)
		thaw_runtime_signal(runtime, SIGKILL);
}

void thaw_runtime_reap(struct thaw_runtime *runtime)
{
	bool ended = false;
	int ending = 0;

	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);
		if (pid < 0 && errno == EINTR)
			continue;
		if (pid <= 0)
			break;
		if (pid == runtime->pid) {
			ended = true;
			ending = status;
		}
	}
	if (!ended)
		return;
	/* Its children go with it, also those that left its process group. */
	if (thaw_cgroup_kill(runtime->cgroup) < 0)
		kill(-runtime->pid, SIGKILL);
	runtime->pid = 0;
	runtime->dying(runtime);
	thaw_logs_drain(runtime->logs);
	thaw_logs_close(runtime->logs);
	bool oom = thaw_cgroup_oom_kills(runtime->cgroup) > runtime->oom_kills;
	runtime->died(runtime, ending, oom);
}
