/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/loop.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/error.h"

#define LOOP_BATCH 16

/* What epoll keeps of a source: its address, and in the lowest bit whether its handler wants the
 * device lock. A locked source may be removed, and its memory given back, by a vCPU thread that
 * holds the lock: until we hold it too, nothing of the source may be read. */
#define SOURCE_LOCKED 1ull

static uint64_t source_key(const struct thaw_source *source)
{
	return (uintptr_t)source | (source->locked ? SOURCE_LOCKED : 0);
}

/* The wait has ended: that was all. */
static void loop_woken(void *opaque, uint32_t events)
{
	(void)opaque;
	(void)events;
}

int thaw_loop_create(struct thaw_loop *loop, struct thaw_error *err)
{
	*loop = (struct thaw_loop){
		.epoll_fd = epoll_create1(EPOLL_CLOEXEC),
		.due_ns = UINT64_MAX,
		/* Edge-triggered: it need not be read off. */
		.wake = {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
			 .events = EPOLLIN | EPOLLET,
			 .handle = loop_woken},
	};
	pthread_mutex_init(&loop->lock, NULL);
	int rc = loop->epoll_fd < 0 || loop->wake.fd < 0
			 ? thaw_error_errno(err, errno, "making an event loop")
			 : thaw_loop_add(loop, &loop->wake, err);
	if (rc < 0)
		thaw_loop_destroy(loop);
	return rc;
}

void thaw_loop_destroy(struct thaw_loop *loop)
{
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	if (loop->wake.fd >= 0)
		close(loop->wake.fd);
	loop->epoll_fd = loop->wake.fd = -1;
	pthread_mutex_destroy(&loop->lock);
}

int thaw_loop_add(struct thaw_loop *loop, struct thaw_source *source, struct thaw_error *err)
{
	struct epoll_event event = {.events = source->events, .data.u64 = source_key(source)};

	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) < 0)
		return thaw_error_errno(err, errno, "watching a descriptor");
	source->added = true;
	return 0;
}

void thaw_loop_modify(struct thaw_loop *loop, struct thaw_source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.u64 = source_key(source)};

	if (!source->added || source->events == events)
		return;
	/* Cannot fail for a descriptor that was added: it needs no memory. */
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event);
	source->events = events;
}

void thaw_loop_remove(struct thaw_loop *loop, struct thaw_source *source)
{
	if (!source->added)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	source->added = false;
	for (int i = 0; i < loop->ready_count; i++) {
		if (loop->ready[i] == source)
			loop->ready[i] = NULL;
	}
}

/* --- timers --- */

static void timers_note_earliest(struct thaw_loop *loop)
{
	uint64_t due = UINT64_MAX;

	for (const struct thaw_timer *timer = loop->timers; timer; timer = timer->next) {
		if (timer->due_ns < due)
			due = timer->due_ns;
	}
	__atomic_store_n(&loop->due_ns, due, __ATOMIC_SEQ_CST);
}

void thaw_loop_cancel_timer(struct thaw_loop *loop, struct thaw_timer *timer)
{
	struct thaw_timer **at = &loop->timers;

	if (!timer->set)
		return;
	while (*at != timer)
		at = &(*at)->next;
	*at = timer->next;
	timer->set = false;
	timers_note_earliest(loop);
}

void thaw_loop_set_timer(struct thaw_loop *loop, struct thaw_timer *timer, uint64_t due_ns)
{
	uint64_t before = loop->due_ns;

	if (!timer->set) {
		timer->next = loop->timers;
		loop->timers = timer;
		timer->set = true;
	}
	timer->due_ns = due_ns;
	timers_note_earliest(loop);
	/* The loop may be waiting, for longer than this. */
	if (loop->due_ns < before)
		eventfd_write(loop->wake.fd, 1);
}

/* Calls those that are due; their count. One that sets itself again has its turn another time. */
static int timers_run(struct thaw_loop *loop)
{
	uint64_t now;
	int count = 0;

	if (__atomic_load_n(&loop->due_ns, __ATOMIC_SEQ_CST) == UINT64_MAX)
		return 0;
	now = thaw_monotonic_ns();
	pthread_mutex_lock(&loop->lock);
	while (loop->due_ns <= now && count < LOOP_BATCH) {
		struct thaw_timer *timer = loop->timers;
		while (timer->due_ns != loop->due_ns)
			timer = timer->next;
		thaw_loop_cancel_timer(loop, timer);
		timer->handle(timer->opaque);
		count++;
	}
	pthread_mutex_unlock(&loop->lock);
	return count;
}

/* Milliseconds until the first timer, rounded up, if that is before timeout_ms. */
static int timers_timeout(const struct thaw_loop *loop, int timeout_ms)
{
	uint64_t due = __atomic_load_n(&loop->due_ns, __ATOMIC_SEQ_CST), now;

	if (due == UINT64_MAX)
		return timeout_ms;
	now = thaw_monotonic_ns();
	uint64_t left = due <= now ? 0 : (due - now - 1) / 1000000 + 1;
	return timeout_ms >= 0 && left > (uint64_t)timeout_ms ? timeout_ms
	       : left > INT_MAX                               ? INT_MAX
							      : (int)left;
}

/* --- events --- */

int thaw_loop_turn(struct thaw_loop *loop, int timeout_ms)
{
	struct epoll_event events[LOOP_BATCH];
	struct thaw_source *ready[LOOP_BATCH];
	int n = epoll_wait(loop->epoll_fd, events, LOOP_BATCH, timers_timeout(loop, timeout_ms));

	if (n < 0 && errno != EINTR)
		return -errno;
	if (n <= 0)
		return timers_run(loop);
	pthread_mutex_lock(&loop->lock);
	for (int i = 0; i < n; i++)
		ready[i] = (struct thaw_source *)(uintptr_t)(events[i].data.u64 & ~SOURCE_LOCKED);
	loop->ready = ready;
	loop->ready_count = n;
	pthread_mutex_unlock(&loop->lock);
	for (int i = 0; i < n && !loop->stop; i++) {
		bool locked = events[i].data.u64 & SOURCE_LOCKED;
		if (locked)
			pthread_mutex_lock(&loop->lock);
		if (ready[i])
			ready[i]->handle(ready[i]->opaque, events[i].events);
		if (locked)
			pthread_mutex_unlock(&loop->lock);
	}
	pthread_mutex_lock(&loop->lock);
	loop->ready_count = 0;
	pthread_mutex_unlock(&loop->lock);
	return loop->stop ? n : n + timers_run(loop);
}

int thaw_loop_run(struct thaw_loop *loop, struct thaw_error *err)
{
	while (!loop->stop) {
		int rc = thaw_loop_turn(loop, -1);
		if (rc < 0)
			return thaw_error_errno(err, -rc, "waiting for events");
	}
	return 0;
}
