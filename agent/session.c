/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent/freeze.h"
#include "agent/identity.h"
#include "agent/invocation.h"
#include "agent/mark.h"
#include "agent/mounts.h"
#include "agent/network.h"
#include "agent/request.h"
#include "agent/statistics.h"
#include "lib/clock.h"
#include "lib/fd.h"

#define PROCESSES_MAX 1024u

void thaw_session_phase(struct thaw_session *session, const char *name)
{
	if (session->phase_count == THAW_PHASES_MAX)
		return;
	session->phases[session->phase_count++] =
		(struct thaw_phase){name, thaw_clock_ns(CLOCK_BOOTTIME) / 1000};
}

uint64_t thaw_session_elapsed_us(const struct thaw_session *session)
{
	return (thaw_monotonic_ns() - session->op.started_ns) / 1000;
}

void thaw_session_answer(struct thaw_session *session, Thaw__Agent__GuestMessage *body)
{
	/* The end of an operation comes after all that was written meanwhile. */
	if (body->body_case != THAW__AGENT__GUEST_MESSAGE__BODY_CHUNK)
		thaw_logs_settle(&session->logs);
	body->seq = session->op.seq;
	thaw_link_send(&session->link, body);
	if (thaw_link_is_full(&session->link))
		thaw_logs_hold(&session->logs, true);
}

void thaw_session_finish(struct thaw_session *session)
{
	if (session->op.kind == THAW_OP_INVOKE)
		session->finished_seq = session->op.seq;
	thaw_timer_stop(&session->timer);
	thaw__agent__host_message__free_unpacked(session->op.message, NULL);
	session->op = (struct thaw_operation){0};
}

void thaw_session_fail(struct thaw_session *session, const struct thaw_error *err)
{
	Thaw__Agent__GuestMessage answer = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__Failure failure = THAW__AGENT__FAILURE__INIT;

	failure.message = (char *)err->message;
	answer.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_FAILURE;
	answer.failure = &failure;
	thaw_session_answer(session, &answer);
	thaw_session_finish(session);
}

/* Makes a guest of this machine: what can only be done once. */
static int configure_machine(struct thaw_session *session, const Thaw__Agent__Configure *c,
			     const struct thaw_network *network, struct thaw_error *err)
{
	int rc = 0;

	if (c->entropy.len)
		rc = thaw_entropy_add(c->entropy.data, c->entropy.len, err);
	/* The message is kept, and memory may become a snapshot. */
	if (c->entropy.len)
		explicit_bzero(c->entropy.data, c->entropy.len);
	if (rc == 0)
		rc = thaw_wall_clock_set(c->wall_clock_ns, err);
	if (rc == 0)
		rc = thaw_mounts_apply(session->config.place.root, c, err);
	if (rc == 0 && network)
		rc = thaw_network_apply(network, session->config.place.root, err);
	if (rc == 0)
		rc = thaw_identity_lay(session->config.place.root, err);
	if (rc < 0)
		return rc;
	return thaw_cgroup_limit(&session->cgroup, session->config.cgroup_dir,
				 c->function->memory_mib, PROCESSES_MAX, err);
}

static void do_configure(struct thaw_session *session)
{
	const Thaw__Agent__Configure *c = session->op.message->configure;
	struct thaw_network network;
	struct thaw_error err = {0};
	int rc = 0;

	if (session->configuration)
		rc = thaw_error_set(&err, EALREADY, "already configured");
	else if (!c->function)
		rc = thaw_error_set(&err, EINVAL, "no function");
	else
		rc = thaw_request_check_function(c->function, &err);
	if (rc == 0 && c->network)
		rc = thaw_network_check(c->network, &network, &err);
	if (rc == 0 && session->config.cgroup_dir)
		rc = thaw_cgroup_open(&session->cgroup, session->config.cgroup_dir, &err);
	if (rc == 0 && session->config.machine)
		rc = configure_machine(session, c, c->network ? &network : NULL, &err);
	if (rc < 0) {
		thaw_session_fail(session, &err);
		return;
	}
	Thaw__Agent__GuestMessage answer = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__Configured configured = THAW__AGENT__CONFIGURED__INIT;
	answer.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_CONFIGURED;
	answer.configured = &configured;
	snprintf(session->log_stream, sizeof(session->log_stream), "%s", c->function->log_stream);
	session->configuration = session->op.message;
	session->op.message = NULL;
	thaw_session_phase(session, "configured");
	thaw_session_answer(session, &answer);
	thaw_session_finish(session);
}

static void do_ping(struct thaw_session *session)
{
	Thaw__Agent__GuestMessage answer = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__Pong pong = THAW__AGENT__PONG__INIT;

	pong.version = THAW_VERSION;
	pong.uptime_us = thaw_clock_ns(CLOCK_BOOTTIME) / 1000;
	answer.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_PONG;
	answer.pong = &pong;
	thaw_session_answer(session, &answer);
	thaw_session_finish(session);
}

static void do_statistics(struct thaw_session *session)
{
	Thaw__Agent__GuestMessage answer = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__Statistics statistics = THAW__AGENT__STATISTICS__INIT;
	Thaw__Agent__Phase phases[THAW_PHASES_MAX];
	Thaw__Agent__Phase *list[THAW_PHASES_MAX];

	for (unsigned int i = 0; i < session->phase_count; i++) {
		thaw__agent__phase__init(&phases[i]);
		phases[i].name = (char *)session->phases[i].name;
		phases[i].at_us = session->phases[i].at_us;
		list[i] = &phases[i];
	}
	statistics.n_phases = session->phase_count;
	statistics.phases = list;
	thaw_statistics_read(&session->cgroup, &statistics);
	answer.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_STATISTICS;
	answer.statistics = &statistics;
	thaw_session_answer(session, &answer);
	thaw_session_finish(session);
}

static void power_off(struct thaw_session *session)
{
	if (!session->config.machine) {
		session->loop->stopped = true;
		return;
	}
	sync();
	thaw_mark(THAW_MARK_POWER);
	/* There is nothing to power down: a reset is the shortest way out of KVM_RUN. */
	reboot(RB_AUTOBOOT);
	session->loop->stopped = true;
}

static void do_shutdown(struct thaw_session *session)
{
	uint32_t timeout_ms = session->op.message->shutdown->timeout_ms;

	if (!thaw_runtime_is_alive(&session->runtime)) {
		power_off(session);
		return;
	}
	if (timeout_ms == 0) {
		thaw_runtime_kill(&session->runtime);
		return;
	}
	thaw_unfreeze(session);
	thaw_runtime_signal(&session->runtime, SIGTERM);
	thaw_timer_start(session->loop, &session->timer, timeout_ms);
}

/* What each request needs to have happened before. */
static int check_order(const struct thaw_session *session, struct thaw_error *err)
{
	if ((session->op.kind == THAW_OP_INIT || session->op.kind == THAW_OP_INVOKE) &&
	    !session->configuration)
		return thaw_error_set(err, EINVAL, "not configured yet");
	if (session->op.kind == THAW_OP_INVOKE)
		return thaw_request_check_invoke(session->op.message->invoke, err);
	return 0;
}

static void begin(struct thaw_session *session)
{
	struct thaw_error err;

	session->op.started_ns = thaw_monotonic_ns();
	if (check_order(session, &err) < 0) {
		thaw_session_fail(session, &err);
		return;
	}
	switch (session->op.kind) {
	case THAW_OP_INIT:
		thaw_init_begin(session);
		break;
	case THAW_OP_INVOKE:
		thaw_invoke_begin(session);
		break;
	case THAW_OP_FREEZE:
	case THAW_OP_PREPARE:
		thaw_freeze_begin(session);
		break;
	case THAW_OP_RESUME:
		thaw_resume_begin(session);
		break;
	case THAW_OP_SHUTDOWN:
		do_shutdown(session);
		break;
	case THAW_OP_NONE:
		break;
	}
}

/* Takes one request over; `message` is the operation's from now on. */
static void dispatch(struct thaw_session *session, Thaw__Agent__HostMessage *message)
{
	struct thaw_error err;

	session->op.message = message;
	session->op.seq = message->seq;
	switch (message->body_case) {
	case THAW__AGENT__HOST_MESSAGE__BODY_PING:
		do_ping(session);
		return;
	case THAW__AGENT__HOST_MESSAGE__BODY_CONFIGURE:
		do_configure(session);
		return;
	case THAW__AGENT__HOST_MESSAGE__BODY_GET_STATISTICS:
		do_statistics(session);
		return;
	case THAW__AGENT__HOST_MESSAGE__BODY_CHUNK:
		/* What was still under way when its Invoke ended. */
		if (message->seq == session->finished_seq) {
			thaw_session_finish(session);
			return;
		}
		break;
	case THAW__AGENT__HOST_MESSAGE__BODY_INIT:
		session->op.kind = THAW_OP_INIT;
		break;
	case THAW__AGENT__HOST_MESSAGE__BODY_INVOKE:
		session->op.kind = THAW_OP_INVOKE;
		break;
	case THAW__AGENT__HOST_MESSAGE__BODY_FREEZE:
		session->op.kind = THAW_OP_FREEZE;
		break;
	case THAW__AGENT__HOST_MESSAGE__BODY_PREPARE_SNAPSHOT:
		session->op.kind = THAW_OP_PREPARE;
		break;
	case THAW__AGENT__HOST_MESSAGE__BODY_RESUME:
		session->op.kind = THAW_OP_RESUME;
		break;
	case THAW__AGENT__HOST_MESSAGE__BODY_SHUTDOWN:
		session->op.kind = THAW_OP_SHUTDOWN;
		break;
	default:
		break;
	}
	if (session->op.kind == THAW_OP_NONE) {
		thaw_error_set(&err, EPROTO, "a request this agent does not know");
		thaw_session_fail(session, &err);
		return;
	}
	begin(session);
}

/* Chunks belong to the Invoke under way; nothing else may come before its last. */
static void take_chunks(struct thaw_session *session)
{
	while (session->op.kind == THAW_OP_INVOKE && thaw_invoke_wants_chunk(session)) {
		struct thaw_error err = {0};
		Thaw__Agent__HostMessage *message = thaw_link_next(&session->link);
		if (!message)
			return;
		int rc;
		if (message->body_case != THAW__AGENT__HOST_MESSAGE__BODY_CHUNK ||
		    message->seq != session->op.seq)
			rc = thaw_error_set(&err, EPROTO, "the rest of the event is awaited");
		else
			rc = thaw_invoke_chunk(session, message->chunk, &err);
		thaw__agent__host_message__free_unpacked(message, NULL);
		if (rc < 0) {
			/* The runtime waits for bytes that will never come. */
			session->condemned = true;
			thaw_runtime_kill(&session->runtime);
			thaw_session_fail(session, &err);
		}
	}
}

static void advance(struct thaw_session *session)
{
	switch (session->op.kind) {
	case THAW_OP_INIT:
		thaw_init_advance(session);
		break;
	case THAW_OP_INVOKE:
		thaw_invoke_advance(session);
		take_chunks(session);
		break;
	case THAW_OP_FREEZE:
	case THAW_OP_PREPARE:
		thaw_freeze_advance(session);
		break;
	case THAW_OP_RESUME:
		thaw_resume_advance(session);
		break;
	case THAW_OP_SHUTDOWN:
	case THAW_OP_NONE:
		break;
	}
}

void thaw_session_pump(struct thaw_session *session)
{
	for (;;) {
		advance(session);
		if (session->op.kind != THAW_OP_NONE)
			return;
		Thaw__Agent__HostMessage *message = thaw_link_next(&session->link);
		if (!message)
			return;
		dispatch(session, message);
	}
}

static void expired(struct thaw_timer *timer)
{
	struct thaw_session *session =
		(struct thaw_session *)((char *)timer - offsetof(struct thaw_session, timer));

	switch (session->op.kind) {
	case THAW_OP_INIT:
	case THAW_OP_INVOKE:
		thaw_invocation_expired(session);
		break;
	case THAW_OP_FREEZE:
	case THAW_OP_PREPARE:
		thaw_freeze_expired(session);
		break;
	case THAW_OP_RESUME:
		thaw_resume_expired(session);
		break;
	case THAW_OP_SHUTDOWN:
		thaw_runtime_kill(&session->runtime);
		break;
	case THAW_OP_NONE:
		break;
	}
}

static void runtime_dying(struct thaw_runtime *runtime)
{
	struct thaw_session *session =
		(struct thaw_session *)((char *)runtime - offsetof(struct thaw_session, runtime));

	thaw_http_server_drain(&session->api.server);
}

static void runtime_died(struct thaw_runtime *runtime, int status, bool oom)
{
	struct thaw_session *session =
		(struct thaw_session *)((char *)runtime - offsetof(struct thaw_session, runtime));

	thaw_runtime_api_reset(&session->api);
	session->condemned = session->restored = false;
	thaw_unfreeze(session);
	switch (session->op.kind) {
	case THAW_OP_INIT:
	case THAW_OP_INVOKE:
		thaw_invocation_died(session, status, oom);
		break;
	case THAW_OP_RESUME:
		thaw_resume_died(session, status);
		break;
	case THAW_OP_SHUTDOWN:
		power_off(session);
		break;
	default:
		break;
	}
}

static void child_ended(struct thaw_watch *watch, uint32_t events)
{
	struct thaw_session *session =
		(struct thaw_session *)((char *)watch - offsetof(struct thaw_session, child_watch));
	struct signalfd_siginfo info;

	(void)events;
	if (read(watch->fd, &info, sizeof(info)) > 0)
		thaw_runtime_reap(&session->runtime);
}

static int watch_children(struct thaw_session *session, struct thaw_error *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	cleanup_close int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return thaw_error_errno(err, errno, "making a signalfd");
	session->child_watch.ready = child_ended;
	int rc = thaw_loop_add(session->loop, &session->child_watch, fd, EPOLLIN);
	if (rc < 0)
		return thaw_error_errno(err, -rc, "watching for the end of children");
	thaw_fd_take(&fd);
	return 0;
}

static void link_received(struct thaw_link *link)
{
	/* The pump takes them. */
	(void)link;
}

static void link_drained(struct thaw_link *link)
{
	struct thaw_session *session =
		(struct thaw_session *)((char *)link - offsetof(struct thaw_session, link));

	thaw_logs_hold(&session->logs, false);
	thaw_runtime_api_pause(&session->api, false);
}

static void link_lost(struct thaw_link *link)
{
	struct thaw_session *session =
		(struct thaw_session *)((char *)link - offsetof(struct thaw_session, link));

	/* What it held back goes on; it goes nowhere, but holds nobody up. */
	link_drained(link);
	switch (session->op.kind) {
	case THAW_OP_INIT:
	case THAW_OP_INVOKE:
	case THAW_OP_RESUME:
		session->condemned = true;
		thaw_runtime_kill(&session->runtime);
		break;
	case THAW_OP_SHUTDOWN:
		/* A host may well say Shutdown and leave. */
		return;
	default:
		break;
	}
	thaw_loop_remove(session->loop, &session->frozen_watch);
	thaw_buffer_consume(&session->response, thaw_buffer_size(&session->response));
	thaw_session_finish(session);
	session->finished_seq = 0;
}

static void send_log(struct thaw_logs *logs, enum thaw_log_source source, const uint8_t *data,
		     size_t size, uint64_t dropped)
{
	struct thaw_session *session =
		(struct thaw_session *)((char *)logs - offsetof(struct thaw_session, logs));
	Thaw__Agent__GuestMessage message = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__Log log = THAW__AGENT__LOG__INIT;

	if (!thaw_link_is_open(&session->link)) {
		session->logs_lost += dropped + size;
		return;
	}
	log.source = source == THAW_LOG_STDERR ? THAW__AGENT__LOG__SOURCE__STDERR
					       : THAW__AGENT__LOG__SOURCE__STDOUT;
	log.data.data = (uint8_t *)data;
	log.data.len = size;
	log.dropped = dropped + session->logs_lost;
	session->logs_lost = 0;
	message.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_LOG;
	message.log = &log;
	thaw_link_send(&session->link, &message);
	if (thaw_link_is_full(&session->link))
		thaw_logs_hold(logs, true);
}

int thaw_session_open(struct thaw_session *session, struct thaw_loop *loop,
		      const struct thaw_session_config *config, struct thaw_error *err)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(config->api_port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	*session = (struct thaw_session){.config = *config, .loop = loop};
	session->link.watch.fd = -1;
	session->link.received = link_received;
	session->link.drained = link_drained;
	session->link.lost = link_lost;
	session->timer.expired = expired;
	session->frozen_watch.fd = -1;
	session->logs.take = send_log;
	thaw_logs_init(&session->logs, loop);
	thaw_cgroup_init(&session->cgroup);
	session->runtime = (struct thaw_runtime){
		.loop = loop,
		.place = &session->config.place,
		.cgroup = &session->cgroup,
		.logs = &session->logs,
		.died = runtime_died,
		.dying = runtime_dying,
	};
	session->child_watch.fd = -1;
	int rc = watch_children(session, err);
	if (rc == 0)
		rc = thaw_runtime_api_open(&session->api, loop, &thaw_invocation_api_ops, session,
					   &address, err);
	if (rc < 0)
		return rc;
	snprintf(session->api_address, sizeof(session->api_address), "127.0.0.1:%u",
		 ntohs(address.sin_port));
	session->config.place.api = session->api_address;
	return 0;
}

void thaw_session_close(struct thaw_session *session)
{
	thaw_runtime_kill(&session->runtime);
	thaw_link_close(&session->link);
	thaw_frame_reader_clear(&session->link.in);
	thaw_buffer_clear(&session->link.out);
	thaw_loop_remove(session->loop, &session->frozen_watch);
	int fd = session->child_watch.fd;
	thaw_loop_remove(session->loop, &session->child_watch);
	thaw_cleanup_close(&fd);
	thaw_session_finish(session);
	if (session->configuration)
		thaw__agent__host_message__free_unpacked(session->configuration, NULL);
	thaw_timer_forget(session->loop, &session->timer);
	thaw_logs_close(&session->logs);
	thaw_logs_forget(&session->logs);
	thaw_runtime_api_close(&session->api);
	thaw_buffer_clear(&session->response);
	thaw_cgroup_close(&session->cgroup);
}

void thaw_session_attach(struct thaw_session *session, int fd)
{
	if (thaw_link_is_open(&session->link)) {
		thaw_link_close(&session->link);
		link_lost(&session->link);
	}
	thaw_link_open(&session->link, session->loop, fd);
}
