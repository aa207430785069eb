/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thaw-agent, PID 1 of a guest: boot -> serve. It ends with the machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/loop.h"
#include "agent/mark.h"
#include "agent/mounts.h"
#include "agent/session.h"
#include "agent/vsock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"

#define RUNTIME_API_PORT 9001

static struct thaw_loop loop;
static struct thaw_session session;
static struct thaw_watch host_watch = {.fd = -1};

/* The kernel gives PID 1 no descriptors when the initramfs has no /dev/console. With a console on
 * the command line our own words go there, else nowhere. */
static int open_standard(struct thaw_error *err)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd < 2);
	if (fd < 0)
		return thaw_error_errno(err, errno, "opening /dev/null");
	if (fd > 2)
		close(fd);
	int console = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (console >= 0) {
		dup2(console, 2);
		close(console);
	}
	return 0;
}

/* The kernel gives a loopback interface its address when it comes up. */
static int raise_loopback(struct thaw_error *err)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return thaw_error_errno(err, errno, "raising the loopback interface");
	return 0;
}

static void write_setting(const char *path, const char *value)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, value, strlen(value)) < 0)
		thaw_log(THAW_LOG_WARN, "writing %s: %s", path, strerror(errno));
}

static int boot(struct thaw_error *err)
{
	/* Memory that was used once is kept: giving it back and faulting it in anew would cost
	 * every invocation what only the first must pay. */
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	signal(SIGPIPE, SIG_IGN);
	umask(0);
	/* Ctrl-Alt-Del has no keyboard here, but a reset through it would be without a word. */
	reboot(RB_DISABLE_CAD);
	int rc = thaw_mounts_boot(err);
	if (rc == 0)
		rc = raise_loopback(err);
	if (rc < 0)
		return rc;
	if (sethostname("localhost", 9) < 0)
		return thaw_error_errno(err, errno, "setting the host name");
	write_setting("/proc/self/oom_score_adj", "-1000");
	/* A user namespace would hand a handler all capabilities over a large part of the kernel.
	 */
	write_setting("/proc/sys/user/max_user_namespaces", "0");
	return 0;
}

static void host_connects(struct thaw_watch *watch, uint32_t events)
{
	int fd = thaw_vsock_accept(watch->fd);

	(void)events;
	if (fd >= 0)
		thaw_session_attach(&session, fd);
}

static int listen_to_host(struct thaw_error *err)
{
	cleanup_close int fd = thaw_vsock_listen(THAW_VSOCK_PORT, err);

	if (fd < 0)
		return fd;
	host_watch.ready = host_connects;
	int rc = thaw_loop_add(&loop, &host_watch, fd, EPOLLIN);
	if (rc < 0)
		return thaw_error_errno(err, -rc, "watching for the host");
	thaw_fd_take(&fd);
	return 0;
}

static int serve(struct thaw_error *err)
{
	static const struct thaw_session_config config = {
		.place =
			{
				.root = THAW_NEWROOT,
				.task = "/var/task",
				.opt = "/opt",
				.runtime_dir = "/var/runtime",
				.confined = true,
			},
		.cgroup_dir = THAW_CGROUP,
		.api_port = RUNTIME_API_PORT,
		.machine = true,
	};

	int rc = thaw_loop_open(&loop, err);
	if (rc == 0)
		rc = thaw_session_open(&session, &loop, &config, err);
	if (rc == 0)
		rc = listen_to_host(err);
	if (rc < 0)
		return rc;
	thaw_session_phase(&session, "listening");
	thaw_mark(THAW_MARK_LISTEN);
	while (!loop.stopped) {
		rc = thaw_loop_step(&loop, -1);
		if (rc < 0)
			return thaw_error_errno(err, -rc, "waiting");
		thaw_session_pump(&session);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct thaw_error err = {0};

	if (argc > 1 && strcmp(argv[1], "--version") == 0) {
		puts("thaw-agent " THAW_VERSION);
		return EXIT_SUCCESS;
	}
	if (getpid() != 1) {
		fputs("thaw-agent: this is the first process of a guest; it is of no use "
		      "elsewhere\n",
		      stderr);
		return EXIT_FAILURE;
	}
	int rc = thaw_mounts_dev(&err);
	thaw_mark_open();
	thaw_mark(THAW_MARK_MAIN);
	if (rc == 0)
		rc = open_standard(&err);
	thaw_log_setup("thaw-agent", THAW_LOG_INFO, false, 2);
	if (rc == 0)
		rc = boot(&err);
	if (rc == 0)
		rc = serve(&err);
	if (rc < 0)
		thaw_log(THAW_LOG_ERROR, "%s", err.message);
	/* The end of PID 1 is the end of the machine; a reset ends it without a panic's delay. */
	sync();
	reboot(RB_AUTOBOOT);
	return EXIT_FAILURE;
}
