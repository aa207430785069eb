/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/clock.h"

/* Reads once. False when there is nothing more for now. */
static bool pipe_read(struct thaw_log_pipe *pipe, bool drop)
{
	static uint8_t bytes[THAW_LOGS_READ_MAX];
	struct thaw_logs *logs = pipe->logs;
	ssize_t n;

	do {
		n = read(pipe->watch.fd, bytes, sizeof(bytes));
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		int fd = pipe->watch.fd;
		thaw_loop_remove(logs->loop, &pipe->watch);
		close(fd);
		return false;
	}
	if (drop) {
		pipe->dropped += (uint64_t)n;
		return true;
	}
	uint64_t dropped = pipe->dropped;
	pipe->dropped = 0;
	logs->take(logs, (enum thaw_log_source)(pipe - logs->pipes), bytes, (size_t)n, dropped);
	return true;
}

static void watch_pipes(struct thaw_logs *logs)
{
	for (int i = 0; i < THAW_LOG_SOURCES; i++) {
		struct thaw_log_pipe *pipe = &logs->pipes[i];
		bool wanted = logs->held ? logs->dropping : !pipe->resting;
		thaw_loop_change(logs->loop, &pipe->watch, wanted ? EPOLLIN : 0);
	}
}

/* Whether a pipe that has just been read gets so much that it had better gather. */
static bool pipe_tires(struct thaw_log_pipe *pipe)
{
	uint64_t now = thaw_monotonic_ns();

	if (now - pipe->read_ns > 4 * THAW_LOGS_REST_MS * UINT64_C(1000000))
		pipe->streak = 0;
	pipe->read_ns = now;
	return ++pipe->streak >= THAW_LOGS_STREAK;
}

static void pipe_ready(struct thaw_watch *watch, uint32_t events)
{
	struct thaw_log_pipe *pipe =
		(struct thaw_log_pipe *)((char *)watch - offsetof(struct thaw_log_pipe, watch));
	struct thaw_logs *logs = pipe->logs;

	(void)events;
	if (!pipe_read(pipe, logs->held && logs->dropping) || logs->held || !pipe_tires(pipe))
		return;
	pipe->resting = true;
	watch_pipes(logs);
	if (!logs->rest.at_ns)
		thaw_timer_start(logs->loop, &logs->rest, THAW_LOGS_REST_MS);
}

/* The streak is kept: one read of what has gathered, and the next rest begins. */
static void rest_over(struct thaw_timer *timer)
{
	struct thaw_logs *logs =
		(struct thaw_logs *)((char *)timer - offsetof(struct thaw_logs, rest));

	for (int i = 0; i < THAW_LOG_SOURCES; i++)
		logs->pipes[i].resting = false;
	watch_pipes(logs);
}

static void patience_over(struct thaw_timer *timer)
{
	struct thaw_logs *logs =
		(struct thaw_logs *)((char *)timer - offsetof(struct thaw_logs, patience));

	logs->dropping = true;
	watch_pipes(logs);
}

void thaw_logs_init(struct thaw_logs *logs, struct thaw_loop *loop)
{
	logs->loop = loop;
	logs->patience.expired = patience_over;
	logs->rest.expired = rest_over;
	for (int i = 0; i < THAW_LOG_SOURCES; i++) {
		logs->pipes[i].logs = logs;
		logs->pipes[i].watch =
			(struct thaw_watch){.fd = -1, .early = true, .ready = pipe_ready};
	}
}

void thaw_logs_forget(struct thaw_logs *logs)
{
	thaw_timer_forget(logs->loop, &logs->patience);
	thaw_timer_forget(logs->loop, &logs->rest);
}

int thaw_logs_open(struct thaw_logs *logs, int writers[THAW_LOG_SOURCES])
{
	int rc = 0;

	thaw_logs_close(logs);
	for (int i = 0; i < THAW_LOG_SOURCES; i++)
		writers[i] = -1;
	for (int i = 0; i < THAW_LOG_SOURCES && rc == 0; i++) {
		int ends[2];
		if (pipe2(ends, O_CLOEXEC) < 0) {
			rc = -errno;
			break;
		}
		writers[i] = ends[1];
		/* Only our end: a program that finds its stdout non-blocking loses output. */
		rc = fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0
			     ? -errno
			     : thaw_loop_add(logs->loop, &logs->pipes[i].watch, ends[0], EPOLLIN);
		if (rc < 0)
			close(ends[0]);
	}
	if (rc == 0) {
		watch_pipes(logs);
		return 0;
	}
	thaw_logs_close(logs);
	for (int i = 0; i < THAW_LOG_SOURCES; i++) {
		if (writers[i] >= 0)
			close(writers[i]);
	}
	return rc;
}

static void pipe_drain(struct thaw_log_pipe *pipe)
{
	const struct thaw_logs *logs = pipe->logs;

	/* A bound, for a writer that lives on could go on for ever. */
	for (int reads = 0; pipe->watch.fd >= 0 && reads < 16; reads++) {
		if (!pipe_read(pipe, logs->held && logs->dropping))
			break;
	}
}

void thaw_logs_drain(struct thaw_logs *logs)
{
	for (int i = 0; i < THAW_LOG_SOURCES; i++)
		pipe_drain(&logs->pipes[i]);
}

void thaw_logs_settle(struct thaw_logs *logs)
{
	for (int i = 0; i < THAW_LOG_SOURCES; i++) {
		if (logs->pipes[i].watch.fd >= 0 && !(logs->pipes[i].watch.events & EPOLLIN))
			pipe_drain(&logs->pipes[i]);
	}
}

void thaw_logs_close(struct thaw_logs *logs)
{
	for (int i = 0; i < THAW_LOG_SOURCES; i++) {
		int fd = logs->pipes[i].watch.fd;
		if (fd < 0)
			continue;
		thaw_loop_remove(logs->loop, &logs->pipes[i].watch);
		close(fd);
	}
}

void thaw_logs_hold(struct thaw_logs *logs, bool held)
{
	if (logs->held == held)
		return;
	logs->held = held;
	logs->dropping = false;
	if (held)
		thaw_timer_start(logs->loop, &logs->patience, THAW_LOGS_PATIENCE_MS);
	else
		thaw_timer_stop(&logs->patience);
	watch_pipes(logs);
}
