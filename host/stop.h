/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving up environments from another thread than theirs: whoever waits for one of them, in its
 * start, an invocation or a snapshot, has an error at once, and closes it as after any other.
 *
 * A stop must outlive the environments that are in it. All functions may be called from any thread.
 */
#ifndef THAW_HOST_STOP_H
#define THAW_HOST_STOP_H

#include <pthread.h>
#include <stdbool.h>

struct thaw_error;
struct thaw_stop;

/* One environment's place, in a list. */
struct thaw_stop_entry {
	struct thaw_stop *stop; /* NULL: it is in none */
	struct thaw_stop_entry *next, **link;
	int socket;
};

struct thaw_stop {
	pthread_mutex_t lock;
	bool asked;
	struct thaw_stop_entry *entries;
};

#define THAW_STOP_NONE                                                                             \
	{                                                                                          \
		.lock = PTHREAD_MUTEX_INITIALIZER                                                  \
	}

/* Ends all that are in it, and all that come. */
void thaw_stop_ask(struct thaw_stop *stop);
/* -ECANCELED when that has happened. NULL is allowed. */
int thaw_stop_check(struct thaw_stop *stop, struct thaw_error *err);

/* From now on `socket`, connected to a thaw-vmm, is shut down when that is asked; until it leaves,
 * which must be before the socket is closed. -ECANCELED: it was asked before. `stop` may be NULL.
 */
int thaw_stop_enter(struct thaw_stop *stop, struct thaw_stop_entry *entry, int socket,
		    struct thaw_error *err);
/* Safe on an entry of zeros. */
void thaw_stop_leave(struct thaw_stop_entry *entry);

#endif
