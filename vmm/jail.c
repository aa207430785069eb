/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/jail.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/error.h"

/* Any directory that is always there: the new root is mounted on it, and seen by nobody else. */
#define MOUNT_POINT "/proc"
/* vCPUs, the I/O thread, userfaultfd's, and those that io_uring makes in our name. */
#define THREADS_MAX 128
/* Two for each connection of vsock that is being made, drives, eventfds. */
#define DESCRIPTORS_MAX 4096
/* A memory image, the /tmp of a function; Lambda's limit of both is 10 GiB. */
#define FILE_MAX (16ull << 30)
/* Rings of io_uring count as locked on some kernels. */
#define LOCKED_MAX (1u << 20)

/* As everybody on the host knows it: getpid(2) would tell what a namespace around us makes of it.
 */
static pid_t jail_pid(void)
{
	char text[32];
	ssize_t n = readlink("/proc/self", text, sizeof(text) - 1);

	if (n <= 0)
		return getpid();
	text[n] = 0;
	return (pid_t)strtol(text, NULL, 10);
}

static int jail_limits(struct thaw_error *err)
{
	static const struct {
		int what;
		struct rlimit limit;
	} limits[] = {
		{RLIMIT_CORE, {0, 0}},
		{RLIMIT_NPROC, {THREADS_MAX, THREADS_MAX}},
		{RLIMIT_NOFILE, {DESCRIPTORS_MAX, DESCRIPTORS_MAX}},
		{RLIMIT_FSIZE, {FILE_MAX, FILE_MAX}},
		{RLIMIT_MEMLOCK, {LOCKED_MAX, LOCKED_MAX}},
		{RLIMIT_MSGQUEUE, {0, 0}},
		{RLIMIT_RTPRIO, {0, 0}},
		{RLIMIT_NICE, {0, 0}},
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		if (setrlimit(limits[i].what, &limits[i].limit) < 0)
			return thaw_error_errno(err, errno, "limits");
	}
	return 0;
}

static int jail_root(struct thaw_error *err)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

	/* What is mounted here must not be seen outside, nor the other way round. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return thaw_error_errno(err, errno, "a private view of the file systems");
	if (mount("jail", MOUNT_POINT, "tmpfs", flags, "size=4k,nr_inodes=1,mode=0555") < 0)
		return thaw_error_errno(err, errno, "an empty file system");
	if (chdir(MOUNT_POINT) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return thaw_error_errno(err, errno, "the empty root");
	/* The old root lies above the new one now. */
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return thaw_error_errno(err, errno, "leaving the old root");
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL) < 0)
		return thaw_error_errno(err, errno, "the empty root, read-only");
	return 0;
}

/* Who is gone has left us its death's signal, or the end of the socket: one of them comes. */
static int jail_orphan(int socket, struct thaw_error *err)
{
	struct pollfd peer = {.fd = socket};

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return thaw_error_errno(err, errno, "the parent's death");
	if (poll(&peer, 1, 0) > 0 && peer.revents & (POLLHUP | POLLERR))
		return thaw_error_set(err, ESRCH, "whoever started it is gone");
	return 0;
}

/* All threads that are made later have it too. Refused where a core has one thread, and by kernels
 * that have no core scheduling (before 5.14, or without CONFIG_SCHED_CORE): `thaw doctor` tells. */
static void jail_cores(void)
{
	prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, PR_SCHED_CORE_SCOPE_THREAD_GROUP, 0);
}

int thaw_jail_enter(unsigned int user, int socket, struct thaw_error *err)
{
	const unsigned int id = user ? user : THAW_JAIL_UID_BASE + (unsigned int)jail_pid();

	jail_cores();
	int rc = jail_limits(err);
	if (rc == 0 &&
	    unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) < 0)
		rc = thaw_error_errno(err, errno, "namespaces");
	if (rc == 0)
		rc = jail_root(err);
	if (rc == 0 &&
	    (setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0))
		rc = thaw_error_errno(err, errno, "a user of its own");
	if (rc == 0 &&
	    (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0))
		rc = thaw_error_errno(err, errno, "privileges");
	/* Another user is nobody whose parent's death is told to him: it is asked for again. */
	if (rc == 0)
		rc = jail_orphan(socket, err);
	return rc < 0 ? thaw_error_wrap(err, "building the jail") : 0;
}
