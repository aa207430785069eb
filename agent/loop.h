/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread, one epoll set, and timers that cost no system call: the nearest one is the timeout
 * of the wait that happens anyway.
 *
 * Callbacks may add, change and remove any watch or timer, their own included, and free what
 * holds it: a watch removed while its event lies undelivered in the current batch is skipped.
 */
#ifndef THAW_AGENT_LOOP_H
#define THAW_AGENT_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

struct thaw_error;

#define THAW_LOOP_BATCH 16

/* A descriptor waited on. The fd stays the owner's: remove the watch first, then close. */
struct thaw_watch {
	int fd;          /* -1: not in a loop */
	uint32_t events; /* EPOLLIN, ...; level-triggered */
	/* Delivered before the other events of a batch. What a process wrote to its output before
	 * it spoke HTTP is thereby read first, without a system call to look. */
	bool early;
	void (*ready)(struct thaw_watch *watch, uint32_t events);
};

/* Monotonic time, nanoseconds; fires once. 0: not armed. Zero it before first use. */
struct thaw_timer {
	uint64_t at_ns;
	void (*expired)(struct thaw_timer *timer);
	struct thaw_timer *next; /* the loop's */
	bool listed;             /* the loop's */
};

struct thaw_loop {
	int epoll;
	struct thaw_timer *timers;
	struct epoll_event batch[THAW_LOOP_BATCH];
	int batched;
	bool stopped;
};

int thaw_loop_open(struct thaw_loop *loop, struct thaw_error *err);
void thaw_loop_close(struct thaw_loop *loop);

/* 0 or a negative errno. `watch->ready` (and `early`) are set by the caller before. */
int thaw_loop_add(struct thaw_loop *loop, struct thaw_watch *watch, int fd, uint32_t events);
/* No system call when `events` are what is waited for already. */
void thaw_loop_change(struct thaw_loop *loop, struct thaw_watch *watch, uint32_t events);
/* Harmless on a watch that is not in the loop. */
void thaw_loop_remove(struct thaw_loop *loop, struct thaw_watch *watch);

/* Arms (again) for a point in time, or `ms` from now; thaw_timer_stop disarms. */
void thaw_timer_start_at(struct thaw_loop *loop, struct thaw_timer *timer, uint64_t at_ns);
void thaw_timer_start(struct thaw_loop *loop, struct thaw_timer *timer, uint64_t ms);
void thaw_timer_stop(struct thaw_timer *timer);
/* Disarms and takes it out of the loop's list: needed before its memory goes away. */
void thaw_timer_forget(struct thaw_loop *loop, struct thaw_timer *timer);

/* Waits once, at most `max_ms` (-1: for ever), and delivers what came. */
int thaw_loop_step(struct thaw_loop *loop, int max_ms);
/* Steps until something sets `stopped`. */
int thaw_loop_run(struct thaw_loop *loop);

#endif
