/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

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

int thaw_loop_create(struct thaw_loop *loop, struct thaw_error *err)
{
	*loop = (struct thaw_loop){.epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
	if (loop->epoll_fd < 0)
		return thaw_error_errno(err, errno, "making an event loop");
	pthread_mutex_init(&loop->lock, NULL);
	return 0;
}

void thaw_loop_destroy(struct thaw_loop *loop)
{
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	loop->epoll_fd = -1;
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

int thaw_loop_turn(struct thaw_loop *loop, int timeout_ms)
{
	struct epoll_event events[LOOP_BATCH];
	struct thaw_source *ready[LOOP_BATCH];
	int n = epoll_wait(loop->epoll_fd, events, LOOP_BATCH, timeout_ms);

	if (n <= 0)
		return n == 0 || errno == EINTR ? 0 : -errno;
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
	return n;
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
