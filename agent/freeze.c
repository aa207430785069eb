/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <linux/random.h>

#include "agent/identity.h"
#include "agent/mark.h"
#include "agent/outcome.h"
#include "lib/clock.h"
#include "lib/fd.h"

#define FREEZE_TIMEOUT_MS 2000u
#define RESUME_TIMEOUT_MS 10000u
#define CLOCK_TRIES_MAX   20
#define CLOCK_LATE_MAX_NS 10000000u

void thaw_unfreeze(struct thaw_session *session)
{
	if (!session->frozen)
		return;
	session->frozen = false;
	thaw_cgroup_set_frozen(&session->cgroup, false);
}

/* Between invocations: the runtime waits, and has nothing of an invocation left to do. */
static bool is_quiet(const struct thaw_session *session)
{
	return !thaw_runtime_is_alive(&session->runtime) || session->api.state == THAW_API_READY ||
	       session->api.state == THAW_API_RESTORE_READY;
}

static void freezer_ready(struct thaw_watch *watch, uint32_t events)
{
	/* The pump asks whether it is done. Reading clears the event. */
	(void)watch;
	(void)events;
}

void thaw_freeze_begin(struct thaw_session *session)
{
	/* Work left over from the latest invocation has the rest of that one's time. */
	thaw_timer_start_at(session->loop, &session->timer,
			    is_quiet(session)
				    ? thaw_monotonic_ns() + FREEZE_TIMEOUT_MS * UINT64_C(1000000)
				    : session->deadline_ns);
}

static void freeze_fail(struct thaw_session *session, const char *reason)
{
	struct thaw_error err;

	thaw_loop_remove(session->loop, &session->frozen_watch);
	thaw_unfreeze(session);
	thaw_error_set(&err, EBUSY, "%s", reason);
	thaw_session_fail(session, &err);
}

static void drop_caches(void)
{
	cleanup_close int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	/* A snapshot with the caches in it is larger, not wrong. */
	if (fd >= 0 && write(fd, "3", 1) != 1)
		return;
}

static void freeze_done(struct thaw_session *session)
{
	Thaw__Agent__GuestMessage answer = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__Frozen frozen = THAW__AGENT__FROZEN__INIT;
	Thaw__Agent__SnapshotReady ready = THAW__AGENT__SNAPSHOT_READY__INIT;

	thaw_loop_remove(session->loop, &session->frozen_watch);
	/* What it wrote last belongs before the answer: the host may leave after that. */
	thaw_logs_drain(&session->logs);
	if (session->op.kind == THAW_OP_PREPARE) {
		if (session->config.machine) {
			sync();
			if (session->op.message->prepare_snapshot->drop_caches)
				drop_caches();
		}
		ready.memory_kib = thaw_cgroup_memory_kib(&session->cgroup);
		answer.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_SNAPSHOT_READY;
		answer.snapshot_ready = &ready;
	} else {
		answer.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_FROZEN;
		answer.frozen = &frozen;
	}
	thaw_session_answer(session, &answer);
	thaw_session_finish(session);
}

static void freeze_start(struct thaw_session *session)
{
	session->op.stopping = true;
	session->frozen = true;
	thaw_timer_start(session->loop, &session->timer, FREEZE_TIMEOUT_MS);
	int rc = thaw_cgroup_set_frozen(&session->cgroup, true);
	if (rc == 0) {
		session->frozen_watch.ready = freezer_ready;
		rc = thaw_loop_add(session->loop, &session->frozen_watch, session->cgroup.events,
				   EPOLLPRI);
	}
	if (rc < 0)
		freeze_fail(session, "the runtime's cgroup cannot be frozen");
}

void thaw_freeze_advance(struct thaw_session *session)
{
	bool alive = thaw_runtime_is_alive(&session->runtime);

	if (!session->op.stopping) {
		/* Not to be used again, so there is nothing to keep. */
		if (alive && session->condemned)
			thaw_runtime_kill(&session->runtime);
		if (!is_quiet(session) || (alive && session->condemned))
			return;
		if (!alive || session->frozen || !thaw_cgroup_exists(&session->cgroup)) {
			freeze_done(session);
			return;
		}
		freeze_start(session);
		if (session->op.kind == THAW_OP_NONE)
			return;
	}
	if (!alive || thaw_cgroup_is_frozen(&session->cgroup))
		freeze_done(session);
}

void thaw_freeze_expired(struct thaw_session *session)
{
	if (session->op.stopping) {
		freeze_fail(session, "the runtime does not freeze");
	} else if (session->op.kind == THAW_OP_PREPARE) {
		/* A snapshot in the middle of something would be restored into it for ever. */
		freeze_fail(session, "the runtime does not wait for an event");
	} else {
		freeze_start(session);
	}
}

static int entropy_give(struct rand_pool_info *pool, struct thaw_error *err)
{
	/* Kept open: in a restored guest every call counts, and this one is always needed. */
	static int fd = -1;
	if (fd < 0)
		fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return thaw_error_errno(err, errno, "opening /dev/urandom");
	/* The second makes the generator take the new bytes up now, not within its five minutes:
	 * until then all clones of a snapshot would draw the same. */
	if (ioctl(fd, RNDADDENTROPY, pool) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		return thaw_error_errno(err, errno, "adding entropy");
	return 0;
}

int thaw_entropy_add(const uint8_t *data, size_t size, struct thaw_error *err)
{
	if (size < THAW_ENTROPY_MIN || size > THAW_ENTROPY_MAX)
		return thaw_error_set(err, EINVAL, "%zu bytes of entropy where %u to %u are due",
				      size, THAW_ENTROPY_MIN, THAW_ENTROPY_MAX);
	cleanup_free struct rand_pool_info *pool = malloc(sizeof(*pool) + size);
	if (!pool)
		return thaw_error_errno(err, ENOMEM, "adding entropy");
	pool->entropy_count = (int)size * 8;
	pool->buf_size = (int)size;
	memcpy(pool->buf, data, size);
	int rc = entropy_give(pool, err);
	explicit_bzero(pool->buf, size);
	return rc;
}

static int clock_set(uint64_t ns, struct thaw_error *err)
{
	struct timespec now = {
		.tv_sec = (time_t)(ns / 1000000000),
		.tv_nsec = (long)(ns % 1000000000),
	};

	if (ns && clock_settime(CLOCK_REALTIME, &now) < 0)
		return thaw_error_errno(err, errno, "setting the clock");
	return 0;
}

int thaw_wall_clock_set(uint64_t sent_ns, struct thaw_error *err)
{
	int rc = 0;

	/* A vCPU that has to wait for its processor between the reading and the setting is late by
	 * that: it sees it by its own clock, and does it again. */
	for (int i = 0; i < CLOCK_TRIES_MAX && rc == 0; i++) {
		uint64_t begun = thaw_monotonic_ns(), ns = thaw_host_clock();
		/* What came with the message is later still, but better than nothing. */
		if (ns == 0)
			return clock_set(sent_ns, err);
		rc = clock_set(ns, err);
		if (thaw_monotonic_ns() - begun < CLOCK_LATE_MAX_NS)
			break;
	}
	return rc;
}

/* Ends Resume. NULL: well. */
static void resume_done(struct thaw_session *session, const struct thaw_outcome *outcome)
{
	Thaw__Agent__GuestMessage answer = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__Resumed resumed = THAW__AGENT__RESUMED__INIT;

	resumed.duration_us = thaw_session_elapsed_us(session);
	if (outcome) {
		resumed.outcome = outcome->outcome;
		resumed.error_json.data = (uint8_t *)outcome->json;
		resumed.error_json.len = outcome->size;
		resumed.error_type = (char *)outcome->type;
	}
	answer.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_RESUMED;
	answer.resumed = &resumed;
	thaw_session_answer(session, &answer);
	thaw_session_finish(session);
}

/* The order matters: nothing of the handler runs before its randomness and its clock are new. */
void thaw_resume_begin(struct thaw_session *session)
{
	const Thaw__Agent__Resume *resume = session->op.message->resume;
	struct thaw_error err = {0};
	int rc = 0;

	if (session->config.machine) {
		rc = thaw_entropy_add(resume->entropy.data, resume->entropy.len, &err);
		if (rc == 0)
			explicit_bzero(resume->entropy.data, resume->entropy.len);
		if (rc == 0)
			rc = thaw_wall_clock_set(resume->wall_clock_ns, &err);
		if (rc == 0)
			rc = thaw_identity_renew(&err);
	} else if (resume->entropy.len < THAW_ENTROPY_MIN) {
		rc = thaw_error_set(&err, EINVAL, "%zu bytes of entropy", resume->entropy.len);
	}
	if (rc < 0) {
		thaw_session_fail(session, &err);
		return;
	}
	if (resume->log_stream[0])
		snprintf(session->log_stream, sizeof(session->log_stream), "%s",
			 resume->log_stream);
	thaw_timer_start(session->loop, &session->timer,
			 resume->timeout_ms ? resume->timeout_ms : RESUME_TIMEOUT_MS);
	/* A runtime that waits for an event has asked for no restore: its first event tells it. */
	session->restored =
		thaw_runtime_is_alive(&session->runtime) && session->api.state == THAW_API_READY;
	/* Answered while it is still frozen: when it thaws, it finds the answer there. */
	thaw_runtime_api_restore(&session->api, resume->log_stream);
	thaw_unfreeze(session);
}

void thaw_resume_advance(struct thaw_session *session)
{
	if (session->op.overdue || session->condemned)
		return;
	if (!thaw_runtime_is_alive(&session->runtime) || session->api.state != THAW_API_RESTORING)
		resume_done(session, NULL);
}

void thaw_resume_failed(struct thaw_session *session, const struct thaw_reported_error *error)
{
	struct thaw_outcome outcome = {0};
	struct thaw_outcome passed = {
		.outcome = THAW__AGENT__OUTCOME__OUTCOME_ERROR,
		.type = error->type,
		.json = (char *)error->body,
		.size = error->size,
	};

	if (error->size) {
		resume_done(session, &passed);
		return;
	}
	thaw_outcome_unexplained(&outcome, error->type);
	resume_done(session, &outcome);
	thaw_outcome_clear(&outcome);
}

void thaw_resume_expired(struct thaw_session *session)
{
	/* The answer follows its death. */
	session->op.overdue = true;
	thaw_runtime_kill(&session->runtime);
}

void thaw_resume_died(struct thaw_session *session, int status)
{
	struct thaw_outcome outcome = {0};

	if (session->op.overdue)
		thaw_outcome_timeout(&outcome, NULL, session->op.message->resume->timeout_ms);
	else
		thaw_outcome_exit(&outcome, NULL, status, false);
	resume_done(session, &outcome);
	thaw_outcome_clear(&outcome);
}
