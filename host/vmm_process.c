/* SPDX-License-Identifier: Apache-2.0 */
/* The process: its birth, its jail's user, its control group, its end. What is said to it is
 * vmm_client.c's. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "host/spawn.h"
#include "host/vmm_client.h"
#include "lib/error.h"
#include "lib/fd.h"

/* --- how all of them are jailed --- */

static struct thaw_jail jail;

static struct {
	pthread_mutex_t lock;
	uint8_t taken[THAW_JAIL_USERS / 8];
} users = {.lock = PTHREAD_MUTEX_INITIALIZER};

void thaw_vmm_jail(const struct thaw_jail *how)
{
	jail = *how;
}

/* The lowest that no living thaw-vmm of ours has; 0 where it chooses by itself. */
static int user_take(uint32_t *user, struct thaw_error *err)
{
	uint32_t i = 0;

	*user = 0;
	if (!jail.first_user)
		return 0;
	pthread_mutex_lock(&users.lock);
	while (i < THAW_JAIL_USERS && users.taken[i / 8] & 1u << i % 8)
		i++;
	if (i < THAW_JAIL_USERS)
		users.taken[i / 8] |= (uint8_t)(1u << i % 8);
	pthread_mutex_unlock(&users.lock);
	if (i == THAW_JAIL_USERS)
		return thaw_error_set(err, EAGAIN, "all %u users for microVMs are taken",
				      THAW_JAIL_USERS);
	*user = jail.first_user + i;
	return 0;
}

/* Its process must be gone. */
static void user_give_back(uint32_t user)
{
	uint32_t i = user - jail.first_user;

	if (!user || i >= THAW_JAIL_USERS)
		return;
	pthread_mutex_lock(&users.lock);
	users.taken[i / 8] &= (uint8_t) ~(1u << i % 8);
	pthread_mutex_unlock(&users.lock);
}

/* --- the process --- */

int thaw_vmm_adopt(struct thaw_vmm *vmm, int socket, pid_t pid, struct thaw_error *err)
{
	*vmm = (struct thaw_vmm)THAW_VMM_NONE;
	vmm->socket = socket;
	vmm->pid = pid;
	vmm->packet = malloc(THAW_VMM_PACKET_MAX);
	if (!vmm->packet) {
		thaw_vmm_close(vmm);
		return thaw_error_errno(err, ENOMEM, "starting thaw-vmm");
	}
	if (pid)
		vmm->pidfd = pidfd_open(pid, 0);
	if ((pid && vmm->pidfd < 0) || fcntl(socket, F_SETFL, O_NONBLOCK) < 0) {
		int code = errno;
		thaw_vmm_close(vmm);
		return thaw_error_errno(err, code, "starting thaw-vmm");
	}
	return 0;
}

bool thaw_vmm_jails(void)
{
	/* The last, as it is another user then whom we end. */
	const uint32_t wanted =
		1u << CAP_SYS_ADMIN | 1u << CAP_SETUID | 1u << CAP_SETGID | 1u << CAP_KILL;
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	return syscall(SYS_capget, &header, data) == 0 && (data[0].effective & wanted) == wanted;
}

/* What the child needs; `failure` it writes. */
struct vmm_birth {
	const char *path;
	int socket, null;
	pid_t parent;
	bool jailed;
	char user[16]; /* "": it takes one by its process id */
	sigset_t mask;
	volatile int failure;
};

/* It shares our memory until execve: it makes system calls only. */
__attribute__((no_sanitize("address"))) static void vmm_child(void *opaque)
{
	static char *const environment[] = {NULL};
	struct vmm_birth *birth = opaque;
	char *argv[] = {(char *)"thaw-vmm", NULL, NULL, NULL};

	if (birth->jailed)
		argv[1] = (char *)(*birth->user ? "--jail-user" : "--jail");
	if (birth->jailed && *birth->user)
		argv[2] = birth->user;
	/* The parent may have died before the request took hold. It is not to be seen from a
	 * namespace of one's own: there the socket tells that it has. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || (!birth->jailed && getppid() != birth->parent))
		goto fail;
	if (dup2(birth->null, 0) < 0 || dup2(birth->null, 1) < 0)
		goto fail;
	/* dup2 onto itself would leave close-on-exec set. */
	if (birth->socket == 3 ? fcntl(3, F_SETFD, 0) < 0 : dup2(birth->socket, 3) < 0)
		goto fail;
	if (syscall(SYS_close_range, 4, ~0U, 0) < 0)
		goto fail;
	sigprocmask(SIG_SETMASK, &birth->mask, NULL);
	execve(birth->path, argv, environment);
fail:
	birth->failure = errno ? errno : EPIPE;
	_exit(127);
}

/* Not where the child puts descriptors: 0, 1 and 3. */
static int vmm_move(int *fd, struct thaw_error *err)
{
	int moved = *fd < 4 ? fcntl(*fd, F_DUPFD_CLOEXEC, 4) : *fd;

	if (moved < 0)
		return thaw_error_errno(err, errno, "starting thaw-vmm");
	if (moved != *fd)
		close(*fd);
	*fd = moved;
	return 0;
}

/* The process; its id, or a negative errno. */
static pid_t vmm_birth(struct vmm_birth *birth, const struct thaw_cgroup *cgroup,
		       struct thaw_error *err)
{
	struct thaw_spawn spawn = {.pid_namespace = birth->jailed, .cgroup = -1};
	cleanup_close int group = -1;
	sigset_t all;
	int rc = thaw_cgroup_birth_begin(cgroup, &group, err);

	if (rc < 0)
		return rc;
	spawn.cgroup = group;
	/* A signal handler of ours must not run in the child, on our memory. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &birth->mask);
	pid_t pid = thaw_spawn(&spawn, vmm_child, birth);
	pthread_sigmask(SIG_SETMASK, &birth->mask, NULL);
	thaw_cgroup_birth_end(cgroup);
	if (pid < 0)
		return thaw_error_errno(err, -pid, "starting thaw-vmm");
	if (birth->failure) {
		waitpid(pid, NULL, 0);
		return thaw_error_errno(err, birth->failure, "starting \"%s\"", birth->path);
	}
	rc = spawn.placed ? 0 : thaw_cgroup_join(cgroup, pid, err);
	if (rc < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return rc;
	}
	return pid;
}

/* The jail's user and the group: what is to be given back when the process is gone. */
static int vmm_confine(struct thaw_vmm *vmm, bool jailed, struct thaw_cgroups *cgroups,
		       const struct thaw_cgroup_limits *limits, struct thaw_error *err)
{
	char id[THAW_CGROUP_NAME_MAX];
	unsigned long long random[2];

	int rc = jailed ? user_take(&vmm->user, err) : 0;
	if (rc < 0 || !cgroups)
		return rc;
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return thaw_error_errno(err, errno, "naming a control group");
	snprintf(id, sizeof(id), "%016llx%016llx", random[0], random[1]);
	return thaw_cgroup_make(cgroups, id, limits, &vmm->cgroup, err);
}

static int vmm_start(struct thaw_vmm *vmm, struct vmm_birth *birth, int ours,
		     struct thaw_error *err)
{
	struct thaw_cgroup cgroup = vmm->cgroup;
	uint32_t user = vmm->user;
	cleanup_close int socket = ours;

	if (user)
		snprintf(birth->user, sizeof(birth->user), "%u", user);
	pid_t pid = vmm_birth(birth, &cgroup, err);
	if (pid < 0)
		return pid;
	int rc = thaw_vmm_adopt(vmm, thaw_fd_take(&socket), pid, err);
	vmm->cgroup = cgroup;
	vmm->user = user;
	return rc;
}

int thaw_vmm_spawn_in(struct thaw_vmm *vmm, const char *path, struct thaw_cgroups *cgroups,
		      const struct thaw_cgroup_limits *limits, struct thaw_error *err)
{
	struct vmm_birth birth = {.path = path, .parent = getpid()};
	int pair[2];

	*vmm = (struct thaw_vmm)THAW_VMM_NONE;
	birth.jailed = jail.when != THAW_JAIL_NEVER && thaw_vmm_jails();
	if (jail.when == THAW_JAIL_ALWAYS && !birth.jailed)
		return thaw_error_set(err, EPERM,
				      "thaw-vmm cannot be jailed: CAP_SYS_ADMIN, CAP_SETUID, "
				      "CAP_SETGID and CAP_KILL are wanted");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return thaw_error_errno(err, errno, "starting thaw-vmm: making its socket");
	cleanup_close int ours = pair[0];
	cleanup_close int theirs = pair[1];
	cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return thaw_error_errno(err, errno, "starting thaw-vmm: opening /dev/null");
	int rc = vmm_move(&null, err);
	if (rc == 0)
		rc = vmm_move(&theirs, err);
	if (rc == 0)
		rc = vmm_confine(vmm, birth.jailed, cgroups, limits, err);
	birth.socket = theirs;
	birth.null = null;
	if (rc == 0)
		rc = vmm_start(vmm, &birth, thaw_fd_take(&ours), err);
	if (rc < 0)
		thaw_vmm_close(vmm);
	return rc;
}

int thaw_vmm_spawn(struct thaw_vmm *vmm, const char *path, struct thaw_error *err)
{
	return thaw_vmm_spawn_in(vmm, path, NULL, NULL, err);
}

void thaw_vmm_close(struct thaw_vmm *vmm)
{
	/* It ends with its socket, too: should we have lost the right to kill it. */
	thaw_cleanup_close(&vmm->socket);
	if (vmm->pid > 0) {
		/* Nothing in it is worth saving; our child, so the pid cannot be another's. */
		kill(vmm->pid, SIGKILL);
		while (waitpid(vmm->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	user_give_back(vmm->user);
	thaw_cgroup_remove(&vmm->cgroup, NULL);
	thaw_cleanup_close(&vmm->pidfd);
	for (size_t i = 0; i < THAW_VMM_PENDING_MAX; i++) {
		if (vmm->pending[i].reply)
			thaw__vmm__reply__free_unpacked(vmm->pending[i].reply, NULL);
	}
	free(vmm->packet);
	*vmm = (struct thaw_vmm)THAW_VMM_NONE;
}
