/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O thread's event loop: epoll over eventfds (queue kicks, io_uring completions), sockets
 * and the control socket. Level-triggered. Handlers of devices run with the machine's device lock
 * held (`lock`), the others without.
 *
 * Timers are the loop's own, in the time that epoll_wait gives: devices need no descriptor and no
 * system call for them, but get whole milliseconds only.
 */
#ifndef THAW_VMM_LOOP_H
#define THAW_VMM_LOOP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct thaw_error;

/* One watched descriptor; lives inside its owner, which must remove it before it goes away: a
 * locked one with the device lock held, from any thread; the others from the loop's own. A handler
 * may remove any source, its own too. Events of a removed source that epoll had already returned
 * are dropped; but those between epoll's return and the loop's taking note of them are not, so the
 * memory of a locked source that another thread removes must stay until the next batch. */
struct thaw_source {
	int fd;
	uint32_t events; /* EPOLLIN ..., as last set */
	void (*handle)(void *opaque, uint32_t events);
	void *opaque;
	bool locked; /* call with the device lock held */
	bool added;
};

/* Something to be done later, once; lives inside its owner, which must cancel it before it goes
 * away. It is set, cancelled and called with the device lock held, from any thread. */
struct thaw_timer {
	void (*handle)(void *opaque);
	void *opaque;
	uint64_t due_ns; /* CLOCK_MONOTONIC */
	bool set;
	struct thaw_timer *next;
};

struct thaw_loop {
	int epoll_fd;
	struct thaw_source wake;    /* ends a wait, when a timer was set meanwhile */
	struct thaw_timer *timers;  /* those that are set, in no order */
	uint64_t due_ns;            /* the earliest's, or UINT64_MAX; read without the lock */
	pthread_mutex_t lock;       /* the device lock: vCPU threads take it around bus accesses */
	struct thaw_source **ready; /* the batch being handled, so that removal can clear it */
	int ready_count;
	bool stop;
};

int thaw_loop_create(struct thaw_loop *loop, struct thaw_error *err);
void thaw_loop_destroy(struct thaw_loop *loop);

/* Begins to watch `source`, whose fields but `added` the caller has set. events may be 0. */
int thaw_loop_add(struct thaw_loop *loop, struct thaw_source *source, struct thaw_error *err);
/* Changes what is watched for. Cheap when nothing changes. */
void thaw_loop_modify(struct thaw_loop *loop, struct thaw_source *source, uint32_t events);
/* Stops watching; does not close the descriptor. Harmless when not added. */
void thaw_loop_remove(struct thaw_loop *loop, struct thaw_source *source);

/* Has `timer`, whose handler its owner has set, called at `due_ns` or up to a millisecond later; a
 * timer that is set already takes the new time. */
void thaw_loop_set_timer(struct thaw_loop *loop, struct thaw_timer *timer, uint64_t due_ns);
/* Harmless when it is not set. */
void thaw_loop_cancel_timer(struct thaw_loop *loop, struct thaw_timer *timer);

/* Waits for events, at most timeout_ms (-1: for ever) or until a timer is due, and handles those
 * that there are. Their count, timers among them, or a negative errno. */
int thaw_loop_turn(struct thaw_loop *loop, int timeout_ms);
/* Handles events until a handler sets loop->stop. */
int thaw_loop_run(struct thaw_loop *loop, struct thaw_error *err);

#endif
