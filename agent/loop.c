/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/loop.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/error.h"

int thaw_loop_open(struct thaw_loop *loop, struct thaw_error *err)
{
	*loop = (struct thaw_loop){.epoll = epoll_create1(EPOLL_CLOEXEC)};
	if (loop->epoll < 0)
		return thaw_error_errno(err, errno, "making an epoll set");
	return 0;
}

void thaw_loop_close(struct thaw_loop *loop)
{
	if (loop->epoll >= 0)
		close(loop->epoll);
	loop->epoll = -1;
}

int thaw_loop_add(struct thaw_loop *loop, struct thaw_watch *watch, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	watch->fd = fd;
	watch->events = events;
	return 0;
}

void thaw_loop_change(struct thaw_loop *loop, struct thaw_watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	if (watch->fd < 0 || watch->events == events)
		return;
	if (epoll_ctl(loop->epoll, EPOLL_CTL_MOD, watch->fd, &event) == 0)
		watch->events = events;
}

void thaw_loop_remove(struct thaw_loop *loop, struct thaw_watch *watch)
{
	if (watch->fd < 0)
		return;
	epoll_ctl(loop->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->fd = -1;
	watch->events = 0;
	for (int i = 0; i < loop->batched; i++) {
		if (loop->batch[i].data.ptr == watch)
			loop->batch[i].data.ptr = NULL;
	}
}

void thaw_timer_start_at(struct thaw_loop *loop, struct thaw_timer *timer, uint64_t at_ns)
{
	timer->at_ns = at_ns ? at_ns : 1;
	if (timer->listed)
		return;
	timer->listed = true;
	timer->next = loop->timers;
	loop->timers = timer;
}

void thaw_timer_start(struct thaw_loop *loop, struct thaw_timer *timer, uint64_t ms)
{
	thaw_timer_start_at(loop, timer, thaw_monotonic_ns() + ms * 1000000u);
}

/* It stays listed: an agent has a handful of timers, and they are armed again and again. */
void thaw_timer_stop(struct thaw_timer *timer)
{
	timer->at_ns = 0;
}

void thaw_timer_forget(struct thaw_loop *loop, struct thaw_timer *timer)
{
	for (struct thaw_timer **link = &loop->timers; *link; link = &(*link)->next) {
		if (*link == timer) {
			*link = timer->next;
			break;
		}
	}
	*timer = (struct thaw_timer){.expired = timer->expired};
}

/* Milliseconds for epoll_wait, rounded up: waking early would only make us wait again. */
static int wait_ms(const struct thaw_loop *loop, int max_ms)
{
	uint64_t nearest = 0;

	for (const struct thaw_timer *t = loop->timers; t; t = t->next) {
		if (t->at_ns && (!nearest || t->at_ns < nearest))
			nearest = t->at_ns;
	}
	if (!nearest)
		return max_ms;
	uint64_t now = thaw_monotonic_ns();
	if (nearest <= now)
		return 0;
	uint64_t ms = (nearest - now + 999999) / 1000000;
	if (ms > INT_MAX)
		ms = INT_MAX;
	return max_ms >= 0 && (uint64_t)max_ms < ms ? max_ms : (int)ms;
}

static void fire_timers(struct thaw_loop *loop)
{
	struct thaw_timer *due;

	/* From the start each time: a callback may change the list. */
	do {
		uint64_t now = 0;
		due = NULL;
		for (struct thaw_timer *t = loop->timers; t; t = t->next) {
			if (!t->at_ns)
				continue;
			if (!now)
				now = thaw_monotonic_ns();
			if (t->at_ns <= now && (!due || t->at_ns < due->at_ns))
				due = t;
		}
		if (due) {
			due->at_ns = 0;
			due->expired(due);
		}
	} while (due);
}

static void deliver(struct thaw_loop *loop, bool early)
{
	for (int i = 0; i < loop->batched; i++) {
		struct thaw_watch *watch = loop->batch[i].data.ptr;
		if (!watch || watch->early != early)
			continue;
		loop->batch[i].data.ptr = NULL;
		watch->ready(watch, loop->batch[i].events);
	}
}

int thaw_loop_step(struct thaw_loop *loop, int max_ms)
{
	int n = epoll_wait(loop->epoll, loop->batch, THAW_LOOP_BATCH, wait_ms(loop, max_ms));

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	loop->batched = n;
	deliver(loop, true);
	deliver(loop, false);
	loop->batched = 0;
	fire_timers(loop);
	return 0;
}

int thaw_loop_run(struct thaw_loop *loop)
{
	int rc = 0;

	while (!loop->stopped && rc == 0)
		rc = thaw_loop_step(loop, -1);
	return rc;
}
