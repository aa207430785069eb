/* SPDX-License-Identifier: Apache-2.0 */
#include "host/vmm_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "host/timeouts.h"
#include "lib/error.h"
#include "lib/fd.h"

/* How long a thaw-vmm that closed its socket may take to end by itself. */
#define VMM_LAST_BREATH_MS 1000

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

/* The next packet, if there is one. 1: taken; 0: there is none. */
static int vmm_next(struct thaw_vmm *vmm, struct thaw_error *err)
{
	int fds[THAW_FDS_MAX];
	size_t count;

	ssize_t n = thaw_recv_fds(vmm->socket, vmm->packet, THAW_VMM_PACKET_MAX, fds, &count);
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
	return rc < 0 ? rc : 1;
}

static int vmm_stopped(const struct thaw_vmm *vmm, struct thaw_error *err)
{
	return vmm->stopped ? thaw_error_set(err, ECANCELED, "the microVM stopped: %s",
					     vmm->stop_message)
			    : 0;
}

int thaw_vmm_pump(struct thaw_vmm *vmm, struct thaw_error *err)
{
	int rc;

	do
		rc = vmm_next(vmm, err);
	while (rc > 0);
	return rc < 0 ? rc : vmm_stopped(vmm, err);
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
	/* What was asked just now is not answered yet: it is waited for first. */
	while (!vmm->pending[slot].reply && rc == 0) {
		rc = vmm_stopped(vmm, err);
		if (rc == 0)
			rc = vmm_poll(vmm, POLLIN, deadline, err);
		if (rc == 0)
			rc = vmm_next(vmm, err);
		rc = rc < 0 ? rc : 0;
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
