/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/housekeeping.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "host/daemon/service.h"
#include "host/daemon/wall.h"
#include "host/private_copies.h"
#include "host/telemetry/logs.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"

#define EVERY_S 600
/* A clock that was set forth is believed only after so long: logs cannot be taken back. */
#define DOUBT_MS (24 * 3600 * 1000)

struct thaw_housekeeping {
	struct thaw_service *service;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool ending;
	struct thaw_wall wall;
	int64_t ahead_ms, doubt_until_ms; /* the clock may be so far ahead; CLOCK_MONOTONIC */
};

/* The time by which logs are old. */
static time_t housekeeping_now(struct thaw_housekeeping *h)
{
	int64_t now = (int64_t)(thaw_realtime_ns() / 1000000);
	int64_t monotonic = (int64_t)(thaw_monotonic_ns() / 1000000);
	int64_t jump = thaw_wall_look(&h->wall, now, monotonic);

	if (jump > 0) {
		thaw_log(THAW_LOG_WARN,
			 "the clock was set forth by %lld s: no log is too old for that for a day",
			 (long long)(jump / 1000));
		h->ahead_ms += jump;
		h->doubt_until_ms = monotonic + DOUBT_MS;
	} else {
		h->ahead_ms += h->ahead_ms + jump > 0 ? jump : -h->ahead_ms;
	}
	if (monotonic >= h->doubt_until_ms)
		h->ahead_ms = 0;
	return (time_t)((now - h->ahead_ms) / 1000);
}

static void sweep(struct thaw_housekeeping *h)
{
	struct thaw_service *service = h->service;
	struct thaw_logs_swept swept;
	struct thaw_error err = {0};

	/* What could not be removed when it failed: the disk, or descriptors, may be back. */
	thaw_state_sweep(&service->host.state);
	if (thaw_logs_sweep(service->logs, housekeeping_now(h), &swept, &err) < 0)
		thaw_log(THAW_LOG_WARN, "old logs: %s", err.message);
	if (service->host.copies)
		thaw_private_copies_expire(service->host.copies, thaw_monotonic_ns());
}

static void *housekeeping_thread(void *opaque)
{
	struct thaw_housekeeping *h = opaque;
	struct timespec next;

	pthread_mutex_lock(&h->lock);
	while (!h->ending) {
		pthread_mutex_unlock(&h->lock);
		sweep(h);
		pthread_mutex_lock(&h->lock);
		clock_gettime(CLOCK_MONOTONIC, &next);
		next.tv_sec += EVERY_S;
		while (!h->ending && pthread_cond_timedwait(&h->wake, &h->lock, &next) != ETIMEDOUT)
			;
	}
	pthread_mutex_unlock(&h->lock);
	return NULL;
}

struct thaw_housekeeping *thaw_housekeeping_start(struct thaw_service *service,
						  struct thaw_error *err)
{
	struct thaw_housekeeping *h = calloc(1, sizeof(*h));
	pthread_condattr_t attr;
	int rc = ENOMEM;

	if (h) {
		h->service = service;
		pthread_mutex_init(&h->lock, NULL);
		pthread_condattr_init(&attr);
		pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
		pthread_cond_init(&h->wake, &attr);
		pthread_condattr_destroy(&attr);
		rc = pthread_create(&h->thread, NULL, housekeeping_thread, h);
	}
	if (rc == 0)
		return h;
	free(h);
	thaw_error_errno(err, rc, "starting a thread");
	return NULL;
}

void thaw_housekeeping_stop(struct thaw_housekeeping *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&h->lock);
	h->ending = true;
	pthread_cond_signal(&h->wake);
	pthread_mutex_unlock(&h->lock);
	pthread_join(h->thread, NULL);
	pthread_cond_destroy(&h->wake);
	pthread_mutex_destroy(&h->lock);
	free(h);
}
