/* SPDX-License-Identifier: Apache-2.0 */
#include "host/vmm_client.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "host/timeouts.h"
#include "lib/error.h"
#include "lib/fd.h"

/* How long a thaw-vmm that closed its socket may take to end by itself. */
#define VMM_LAST_BREATH_MS 1000

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

/* The child of vfork: it shares our memory until execve, so it only makes system calls and writes
 * nothing but *failure. */
static void vmm_child(const char *path, int socket, int null, pid_t parent, bool jailed,
		      const sigset_t *mask, volatile int *failure)
{
	static char *const environment[] = {NULL};
	char *const argv[] = {(char *)"thaw-vmm", jailed ? (char *)"--jail" : NULL, NULL};

	/* The parent may have died before the request took hold. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		goto fail;
	if (dup2(null, 0) < 0 || dup2(null, 1) < 0)
		goto fail;
	/* dup2 onto itself would leave close-on-exec set. */
	if (socket == 3 ? fcntl(3, F_SETFD, 0) < 0 : dup2(socket, 3) < 0)
		goto fail;
	if (syscall(SYS_close_range, 4, ~0U, 0) < 0)
		goto fail;
	sigprocmask(SIG_SETMASK, mask, NULL);
	execve(path, argv, environment);
fail:
	*failure = errno ? errno : EPIPE;
	_exit(127);
}

int thaw_vmm_spawn(struct thaw_vmm *vmm, const char *path, struct thaw_error *err)
{
	volatile int failure = 0;
	sigset_t all, before;
	int pair[2];

	*vmm = (struct thaw_vmm)THAW_VMM_NONE;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return thaw_error_errno(err, errno, "starting thaw-vmm: making its socket");
	cleanup_close int ours = pair[0];
	cleanup_close int theirs = pair[1];
	cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return thaw_error_errno(err, errno, "starting thaw-vmm: opening /dev/null");
	/* The child puts descriptors on 0, 1 and 3: the sources must not lie there. */
	if (null < 4) {
		int moved = fcntl(null, F_DUPFD_CLOEXEC, 4);
		if (moved < 0)
			return thaw_error_errno(err, errno, "starting thaw-vmm");
		close(null);
		null = moved;
	}
	if (theirs < 4) {
		int moved = fcntl(theirs, F_DUPFD_CLOEXEC, 4);
		if (moved < 0)
			return thaw_error_errno(err, errno, "starting thaw-vmm");
		close(theirs);
		theirs = moved;
	}

	const volatile bool jailed = thaw_vmm_jails();
	pid_t parent = getpid();
	/* A signal handler of ours must not run in the child, on our stack. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid_t pid = vfork();
	if (pid == 0)
		vmm_child(path, theirs, null, parent, jailed, &before, &failure);
	int code = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return thaw_error_errno(err, code, "starting thaw-vmm");
	if (failure) {
		waitpid(pid, NULL, 0);
		return thaw_error_errno(err, failure, "starting \"%s\"", path);
	}
	return thaw_vmm_adopt(vmm, thaw_fd_take(&ours), pid, err);
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
	thaw_cleanup_close(&vmm->pidfd);
	for (size_t i = 0; i < THAW_VMM_PENDING_MAX; i++) {
		if (vmm->pending[i].reply)
			thaw__vmm__reply__free_unpacked(vmm->pending[i].reply, NULL);
	}
	free(vmm->packet);
	*vmm = (struct thaw_vmm)THAW_VMM_NONE;
}

/* Says why the process is gone. */
static int vmm_gone(struct thaw_vmm *vmm, struct thaw_error *err)
{
	struct pollfd watch = {.fd = vmm->pidfd, .events = POLLIN};
	siginfo_t info = {0};

	if (vmm->stopped)
		return thaw_error_set(err, EPIPE, "the microVM stopped: %s", vmm->stop_message);
	if (vmm->pid <= 0)
		return thaw_error_set(err, EPIPE, "thaw-vmm has closed its socket");
	if (poll(&watch, 1, VMM_LAST_BREATH_MS) <= 0 ||
	    waitid(P_PIDFD, (id_t)vmm->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
	    info.si_pid == 0)
		return thaw_error_set(err, EPIPE, "thaw-vmm has closed its socket but still runs");
	if (info.si_code == CLD_EXITED)
		return thaw_error_set(err, EPIPE,
				      "the microVM died: thaw-vmm exited with status %d",
				      info.si_status);
	return thaw_error_set(err, EPIPE, "the microVM died: signal %d (%s)", info.si_status,
			      strsignal(info.si_status));
}

static void vmm_note_stop(struct thaw_vmm *vmm, const Thaw__Vmm__Stopped *stopped)
{
	const char *message = stopped->message;

	if (!message || !*message)
		message = stopped->reason == THAW__VMM__STOPPED__REASON__RESET
				  ? "reset by the guest"
				  : "no reason given";
	vmm->stopped = true;
	snprintf(vmm->stop_message, sizeof(vmm->stop_message), "%s", message);
	thaw_text_printable(vmm->stop_message);
}

/* One packet, already checked for its size. */
static int vmm_take(struct thaw_vmm *vmm, size_t size, struct thaw_error *err)
{
	Thaw__Vmm__Reply *reply = thaw__vmm__reply__unpack(NULL, size, vmm->packet);

	if (!reply)
		return thaw_error_set(err, EPROTO, "thaw-vmm sent a malformed message");
	if (reply->id) {
		for (size_t i = 0; i < THAW_VMM_PENDING_MAX; i++) {
			if (vmm->pending[i].id == reply->id && !vmm->pending[i].reply) {
				vmm->pending[i].reply = reply;
				return 0;
			}
		}
		thaw__vmm__reply__free_unpacked(reply, NULL);
		return thaw_error_set(err, EPROTO, "thaw-vmm answered what it was not asked");
	}
	if (reply->body_case == THAW__VMM__REPLY__BODY_MARK && reply->mark->value < 256) {
		vmm->marked[reply->mark->value] = true;
		vmm->mark_ns[reply->mark->value] = reply->mark->ns;
	} else if (reply->body_case == THAW__VMM__REPLY__BODY_STOPPED) {
		vmm_note_stop(vmm, reply->stopped);
	}
	thaw__vmm__reply__free_unpacked(reply, NULL);
	return 0;
}

/* Takes in all that has arrived. */
static int vmm_take_all(struct thaw_vmm *vmm, struct thaw_error *err)
{
	for (;;) {
		int fds[THAW_FDS_MAX];
		size_t count;

		ssize_t n =
			thaw_recv_fds(vmm->socket, vmm->packet, THAW_VMM_PACKET_MAX, fds, &count);
		/* It has nothing to give us. */
		for (size_t i = 0; n >= 0 && i < count; i++)
			close(fds[i]);
		if (n == -EAGAIN)
			return 0;
		if (n == -EMSGSIZE)
			return thaw_error_set(err, EPROTO, "thaw-vmm sent an oversized message");
		if (n == 0 || n == -ECONNRESET || n == -EPIPE)
			return vmm_gone(vmm, err);
		if (n < 0)
			return thaw_error_errno(err, (int)-n, "receiving from thaw-vmm");
		int rc = vmm_take(vmm, (size_t)n, err);
		if (rc < 0)
			return rc;
	}
}

int thaw_vmm_pump(struct thaw_vmm *vmm, struct thaw_error *err)
{
	if (vmm->broken)
		return thaw_error_set(err, EPROTO, "thaw-vmm has sent nonsense");
	int rc = vmm_take_all(vmm, err);
	/* Whoever waits for what came before it takes that, and does not look at this error. */
	vmm->broken = rc == -EPROTO;
	if (rc == 0 && vmm->stopped)
		return thaw_error_set(err, ECANCELED, "the microVM stopped: %s", vmm->stop_message);
	return rc;
}

/* Waits for the socket; -ETIMEDOUT at the deadline. */
static int vmm_poll(struct thaw_vmm *vmm, short events, uint64_t deadline, struct thaw_error *err)
{
	struct pollfd watch = {.fd = vmm->socket, .events = events};

	int n = poll(&watch, 1, thaw_deadline_left(deadline));
	if (n < 0 && errno != EINTR)
		return thaw_error_errno(err, errno, "waiting for thaw-vmm");
	if (n == 0)
		return thaw_error_set(err, ETIMEDOUT, "thaw-vmm did not answer in time");
	return 0;
}

int thaw_vmm_send(struct thaw_vmm *vmm, Thaw__Vmm__Request *request, const int *fds, size_t count,
		  uint32_t *id, struct thaw_error *err)
{
	size_t slot = 0;

	while (slot < THAW_VMM_PENDING_MAX && vmm->pending[slot].id)
		slot++;
	if (slot == THAW_VMM_PENDING_MAX)
		return thaw_error_set(err, EBUSY, "too many requests to thaw-vmm are under way");
	request->id = ++vmm->next_id;
	size_t size = thaw__vmm__request__get_packed_size(request);
	if (size > THAW_VMM_PACKET_MAX)
		return thaw_error_set(err, EMSGSIZE, "a request to thaw-vmm is too long");
	cleanup_free uint8_t *packet = malloc(size);
	if (!packet)
		return thaw_error_errno(err, ENOMEM, "a request to thaw-vmm");
	thaw__vmm__request__pack(request, packet);

	uint64_t deadline = thaw_deadline(THAW_TIMEOUT_REQUEST);
	for (;;) {
		int rc = thaw_send_fds(vmm->socket, packet, size, fds, count);
		if (rc == 0)
			break;
		if (rc == -EPIPE || rc == -ECONNRESET)
			return vmm_gone(vmm, err);
		if (rc != -EAGAIN)
			return thaw_error_errno(err, -rc, "sending to thaw-vmm");
		rc = vmm_poll(vmm, POLLOUT, deadline, err);
		if (rc < 0)
			return rc;
	}
	vmm->pending[slot].id = request->id;
	*id = request->id;
	return 0;
}

static int vmm_failure(const Thaw__Vmm__Failure *failure, struct thaw_error *err)
{
	int code = failure->code > 0 && failure->code < 4096 ? failure->code : EIO;

	/* Codes that say that the process is gone would mislead: it has just answered. */
	if (code == EPIPE || code == ETIMEDOUT || code == ECANCELED)
		code = EIO;
	return thaw_error_set(err, code, "%s",
			      failure->message && *failure->message ? failure->message
								    : strerror(code));
}

int thaw_vmm_receive(struct thaw_vmm *vmm, uint32_t id, Thaw__Vmm__Reply__BodyCase want,
		     uint64_t deadline, Thaw__Vmm__Reply **reply, struct thaw_error *err)
{
	size_t slot = 0;
	int rc = 0;

	while (slot < THAW_VMM_PENDING_MAX && vmm->pending[slot].id != id)
		slot++;
	if (slot == THAW_VMM_PENDING_MAX)
		return thaw_error_set(err, EINVAL, "thaw-vmm was not asked that");
	for (;;) {
		rc = thaw_vmm_pump(vmm, err);
		if (vmm->pending[slot].reply || rc < 0)
			break;
		rc = vmm_poll(vmm, POLLIN, deadline, err);
		if (rc < 0)
			break;
	}
	Thaw__Vmm__Reply *got = vmm->pending[slot].reply;
	vmm->pending[slot].reply = NULL;
	/* Unanswered, it stays pending: a late answer must not meet a new request's id. */
	if (!got)
		return rc < 0 ? rc : thaw_error_set(err, EIO, "no answer of thaw-vmm");
	vmm->pending[slot].id = 0;

	rc = 0;
	if (got->body_case == THAW__VMM__REPLY__BODY_FAILURE)
		rc = vmm_failure(got->failure, err);
	else if (got->body_case != want)
		rc = thaw_error_set(err, EPROTO, "thaw-vmm gave an answer of the wrong kind");
	if (rc == 0 && reply)
		*reply = got;
	else
		thaw__vmm__reply__free_unpacked(got, NULL);
	return rc;
}

int thaw_vmm_call(struct thaw_vmm *vmm, Thaw__Vmm__Request *request, const int *fds, size_t count,
		  Thaw__Vmm__Reply__BodyCase want, uint32_t timeout_ms, Thaw__Vmm__Reply **reply,
		  struct thaw_error *err)
{
	uint64_t deadline = thaw_deadline(timeout_ms);
	uint32_t id;

	int rc = thaw_vmm_send(vmm, request, fds, count, &id, err);
	if (rc < 0)
		return rc;
	return thaw_vmm_receive(vmm, id, want, deadline, reply, err);
}

int thaw_vmm_wait_mark(struct thaw_vmm *vmm, uint8_t mark, uint64_t deadline, uint64_t *at_ns,
		       struct thaw_error *err)
{
	for (;;) {
		int rc = thaw_vmm_pump(vmm, err);
		if (rc < 0)
			return rc;
		if (vmm->marked[mark])
			break;
		struct pollfd watch = {.fd = vmm->socket, .events = POLLIN};
		int n = poll(&watch, 1, thaw_deadline_left(deadline));
		if (n < 0 && errno != EINTR)
			return thaw_error_errno(err, errno, "waiting for the guest");
		if (n == 0)
			return thaw_error_set(err, ETIMEDOUT, "the guest did not start in time");
	}
	if (at_ns)
		*at_ns = vmm->mark_ns[mark];
	return 0;
}
