/* SPDX-License-Identifier: Apache-2.0 */
#include "host/shells.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"

#define STACK      (256u << 10)
#define SHAPES_MAX 8
/* After a failure: whatever it lacks may come back, but not at once. */
#define PAUSE_S 1

struct shape {
	struct thaw_shell_shape shape;
	unsigned int waiting, wanted;
	uint64_t asked_ns; /* last; 0: not in use */
};

struct thaw_shells {
	const struct thaw_host *host;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool ending;
	struct shape shapes[SHAPES_MAX];
	struct thaw_shells_counts counts;
	unsigned int most;
	struct thaw_shell shells[]; /* those that wait: counts.waiting of them */
};

static bool shape_same(const struct thaw_shell_shape *a, const struct thaw_shell_shape *b)
{
	return a->vcpus == b->vcpus && a->memory_mib == b->memory_mib &&
	       a->pmem_mib == b->pmem_mib && a->cpu_template == b->cpu_template;
}

/* The shape's entry, or the one not asked for the longest, made it. */
static struct shape *shape_get(struct thaw_shells *shells, const struct thaw_shell_shape *wanted)
{
	struct shape *oldest = &shells->shapes[0];

	for (size_t i = 0; i < SHAPES_MAX; i++) {
		struct shape *shape = &shells->shapes[i];
		if (shape->asked_ns && shape_same(&shape->shape, wanted))
			return shape;
		if (shape->asked_ns < oldest->asked_ns)
			oldest = shape;
	}
	/* Its shells, if it has any, are nobody's: they go when room is wanted. */
	*oldest = (struct shape){.shape = *wanted};
	return oldest;
}

static void shells_remove(struct thaw_shells *shells, unsigned int at)
{
	shells->shells[at] = shells->shells[--shells->counts.waiting];
}

/* A process that waits may be killed as any other. */
static bool shell_lives(const struct thaw_shell *shell)
{
	struct pollfd ended = {.fd = shell->vmm.pidfd, .events = POLLIN};

	return poll(&ended, 1, 0) == 0;
}

bool thaw_shells_take(struct thaw_shells *shells, const struct thaw_shell_shape *wanted,
		      struct thaw_shell *shell)
{
	bool found = false;

	if (!shells)
		return false;
	pthread_mutex_lock(&shells->lock);
	struct shape *shape = shape_get(shells, wanted);
	shape->asked_ns = thaw_monotonic_ns();
	for (unsigned int i = 0; i < shells->counts.waiting && !found; i++) {
		if (!shape_same(&shells->shells[i].shape, wanted))
			continue;
		*shell = shells->shells[i];
		shells_remove(shells, i--);
		shape->waiting--;
		found = shell_lives(shell);
		if (!found)
			thaw_vmm_close(&shell->vmm);
	}
	shells->counts.taken += found;
	shells->counts.missed += !found;
	/* One for the one that was taken; or, where there was none, one more than there were. */
	if (!found && shape->wanted < shells->most)
		shape->wanted++;
	pthread_cond_signal(&shells->wake);
	pthread_mutex_unlock(&shells->lock);
	return found;
}

/* The shape that lacks shells and was asked for last. */
static struct shape *shells_lack(struct thaw_shells *shells)
{
	struct shape *best = NULL;

	for (size_t i = 0; i < SHAPES_MAX; i++) {
		struct shape *shape = &shells->shapes[i];
		if (shape->asked_ns && shape->waiting < shape->wanted &&
		    (!best || shape->asked_ns > best->asked_ns))
			best = shape;
	}
	return best;
}

/* With the lock held, which is given up meanwhile: makes room by ending one of a shape that nobody
 * has asked for as lately as this one. False: all are as much wanted. */
static bool shells_make_room(struct thaw_shells *shells, const struct shape *for_shape)
{
	uint64_t oldest = for_shape->asked_ns;
	unsigned int victim = shells->most;
	struct shape *of = NULL;

	if (shells->counts.waiting < shells->most)
		return true;
	for (unsigned int i = 0; i < shells->counts.waiting; i++) {
		struct shape *shape = NULL;
		for (size_t k = 0; k < SHAPES_MAX; k++) {
			if (shells->shapes[k].asked_ns &&
			    shape_same(&shells->shapes[k].shape, &shells->shells[i].shape))
				shape = &shells->shapes[k];
		}
		uint64_t asked = shape ? shape->asked_ns : 0;
		if (asked < oldest) {
			oldest = asked;
			victim = i;
			of = shape;
		}
	}
	if (victim == shells->most)
		return false;
	struct thaw_shell shell = shells->shells[victim];
	shells_remove(shells, victim);
	if (of) {
		of->waiting--;
		of->wanted = of->waiting;
	}
	pthread_mutex_unlock(&shells->lock);
	thaw_vmm_close(&shell.vmm);
	pthread_mutex_lock(&shells->lock);
	return true;
}

static void shells_pause(struct thaw_shells *shells)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += PAUSE_S;
	if (!shells->ending)
		pthread_cond_timedwait(&shells->wake, &shells->lock, &until);
}

static void *shells_thread(void *opaque)
{
	struct thaw_shells *shells = opaque;
	struct thaw_error err = {0};
	struct thaw_shell shell;

	pthread_mutex_lock(&shells->lock);
	while (!shells->ending) {
		struct shape *lack = shells_lack(shells);
		if (!lack || !shells_make_room(shells, lack)) {
			pthread_cond_wait(&shells->wake, &shells->lock);
			continue;
		}
		struct thaw_shell_shape wanted = lack->shape;
		pthread_mutex_unlock(&shells->lock);
		int rc = thaw_shell_make(shells->host, &wanted, &shell, &err);
		pthread_mutex_lock(&shells->lock);
		if (rc < 0) {
			shells->counts.failed++;
			thaw_log(THAW_LOG_WARN, "%s", err.message);
			shells_pause(shells);
			continue;
		}
		shells->counts.made++;
		shells->shells[shells->counts.waiting++] = shell;
		for (size_t i = 0; i < SHAPES_MAX; i++) {
			if (shells->shapes[i].asked_ns &&
			    shape_same(&shells->shapes[i].shape, &wanted))
				shells->shapes[i].waiting++;
		}
	}
	while (shells->counts.waiting)
		thaw_vmm_close(&shells->shells[--shells->counts.waiting].vmm);
	pthread_mutex_unlock(&shells->lock);
	return NULL;
}

struct thaw_shells *thaw_shells_new(const struct thaw_host *host, unsigned int count,
				    struct thaw_error *err)
{
	struct thaw_shells *shells = calloc(1, sizeof(*shells) + count * sizeof(struct thaw_shell));
	pthread_condattr_t monotonic;
	pthread_attr_t attr;

	if (!shells) {
		thaw_error_errno(err, ENOMEM, "microVMs in waiting");
		return NULL;
	}
	shells->host = host;
	shells->most = count;
	pthread_mutex_init(&shells->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&shells->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	int rc = pthread_create(&shells->thread, &attr, shells_thread, shells);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		return shells;
	free(shells);
	thaw_error_errno(err, rc, "starting a thread");
	return NULL;
}

void thaw_shells_free(struct thaw_shells *shells)
{
	if (!shells)
		return;
	pthread_mutex_lock(&shells->lock);
	shells->ending = true;
	pthread_cond_signal(&shells->wake);
	pthread_mutex_unlock(&shells->lock);
	pthread_join(shells->thread, NULL);
	pthread_cond_destroy(&shells->wake);
	pthread_mutex_destroy(&shells->lock);
	free(shells);
}

void thaw_shells_count(struct thaw_shells *shells, struct thaw_shells_counts *counts)
{
	pthread_mutex_lock(&shells->lock);
	*counts = shells->counts;
	pthread_mutex_unlock(&shells->lock);
}
