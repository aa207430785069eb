/* SPDX-License-Identifier: Apache-2.0 */
#include "host/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/pool_internal.h"
#include "lib/clock.h"
#include "lib/error.h"

#define STACK_SIZE      (512u * 1024)
#define SCALE_UP_NS     UINT64_C(10000000000)
#define START_RETRY_NS  UINT64_C(1000000000) /* kept ready, but it would not start */
#define START_RETRY_MAX UINT64_C(60000000000)
#define NEVER           UINT64_MAX
#define NS_PER_MS       UINT64_C(1000000)
#define LOOK_AGAIN_NS   (100 * NS_PER_MS)
#define LINGER_NS       (2 * NS_PER_MS)
#define NS_PER_S        1000000000

/* --- environments
 * ---------------------------------------------------------------------------------- */

static void environment_move(struct pool_environment *e, enum thaw_pool_state to)
{
	struct thaw_pool *pool = e->pool;
	struct pool_target *target = e->target;
	uint64_t now = thaw_monotonic_ns();

	target->count[e->state]--;
	target->count[to]++;
	pool->counts.environments[e->state]--;
	pool->counts.environments[to]++;
	if (to == THAW_POOL_CLOSING)
		pool->leaving_mib += target->memory_mib;
	if (pool->ops->moved)
		pool->ops->moved(pool->context, target->data, e->state, to, now - e->since_ns);
	e->state = to;
	e->since_ns = now;
}

static void environment_link(struct pool_environment *e)
{
	struct pool_target *target = e->target;

	e->next = target->environments;
	e->link = &target->environments;
	if (e->next)
		e->next->link = &e->next;
	target->environments = e;
}

static void environment_unlink(struct pool_environment *e)
{
	*e->link = e->next;
	if (e->next)
		e->next->link = e->link;
}

static void environment_give(struct pool_environment *e, struct thaw_pool_job *job)
{
	environment_move(e, THAW_POOL_BUSY);
	environment_unlink(e);
	environment_link(e);
	e->pool->counts.reused++;
	e->job = job;
	sem_post(&e->wake);
}

/* An idle one ends. */
static void environment_dismiss(struct pool_environment *e)
{
	e->leave = true;
	environment_move(e, THAW_POOL_CLOSING);
	sem_post(&e->wake);
}

static struct pool_environment *target_idle(const struct pool_target *target)
{
	struct pool_environment *e = target->environments;

	while (e && e->state != THAW_POOL_IDLE)
		e = e->next;
	return e;
}

static void *environment_main(void *opaque);

/* Memory has been found. `job` may be NULL. */
static bool environment_start(struct thaw_pool *pool, struct pool_target *target,
			      struct thaw_pool_job *job)
{
	struct pool_environment *e = calloc(1, sizeof(*e));
	pthread_t thread;

	if (!e)
		return false;
	*e = (struct pool_environment){.pool = pool,
				       .target = target,
				       .job = job,
				       .state = THAW_POOL_STARTING,
				       .since_ns = thaw_monotonic_ns()};
	sem_init(&e->wake, 0, 0);
	/* It waits for the lock, which we hold. */
	if (pthread_create(&thread, &pool->thread_attributes, environment_main, e) != 0) {
		sem_destroy(&e->wake);
		free(e);
		return false;
	}
	environment_link(e);
	target->count[THAW_POOL_STARTING]++;
	pool->counts.environments[THAW_POOL_STARTING]++;
	pool->counts.started++;
	pool->environments++;
	pool->memory_mib += target->memory_mib;
	return true;
}

/* --- room for another, and the line for it
 * ------------------------------------------------------------------- */

/* The longest idle of all that are not kept ready. */
static struct pool_environment *pool_oldest_idle(struct thaw_pool *pool)
{
	struct pool_environment *oldest = NULL;

	for (struct pool_target *t = pool->targets; t; t = t->next) {
		if (pool_target_alive(t) <= t->provisioned)
			continue;
		for (struct pool_environment *e = t->environments; e; e = e->next) {
			if (e->state == THAW_POOL_IDLE &&
			    (!oldest || e->since_ns < oldest->since_ns))
				oldest = e;
		}
	}
	return oldest;
}

/* True: there is room now, and few enough start at the moment. Otherwise idle environments have
 * been told to go, as far as there are any, and room may come. */
static bool pool_make_room(struct thaw_pool *pool, uint32_t mib)
{
	struct pool_environment *e;

	if (pool->limits.starting &&
	    pool->counts.environments[THAW_POOL_STARTING] >= pool->limits.starting)
		return false;

	while (pool->memory_mib - pool->leaving_mib + mib > pool->limits.memory_mib &&
	       (e = pool_oldest_idle(pool))) {
		pool->counts.evicted++;
		environment_dismiss(e);
	}
	return pool->memory_mib + mib <= pool->limits.memory_mib;
}

/* Room, and the host's own opinion. */
static bool target_may_start(struct thaw_pool *pool, struct pool_target *target)
{
	if (pool_target_alive(target) && pool->ops->overloaded &&
	    pool->ops->overloaded(pool->context))
		return false;
	return pool_make_room(pool, target->memory_mib);
}

static bool function_may_start(struct thaw_pool *pool, struct pool_function *function)
{
	uint64_t now = thaw_monotonic_ns();
	double full = pool->limits.scale_up;

	function->starts_left += full * (double)(now - function->starts_at_ns) / SCALE_UP_NS;
	if (function->starts_left > full)
		function->starts_left = full;
	function->starts_at_ns = now;
	if (function->starts_left < 1)
		return false;
	function->starts_left -= 1;
	return true;
}

static void job_ends(struct thaw_pool *pool, struct pool_target *target)
{
	pool_target_set_use(target, target->jobs - 1, target->provisioned);
	pool->jobs--;
	pthread_cond_broadcast(&pool->changed);
}

/* Takes the job at *place out of the line. */
static struct thaw_pool_job *line_take(struct thaw_pool *pool, struct thaw_pool_job **place)
{
	struct thaw_pool_job *job = *place;

	*place = job->next;
	job->next = NULL;
	if (job->turn > pool->turn)
		pool->turn = job->turn;
	pool->counts.waiting--;
	return job;
}

/* Accounts take turns (start-time fair queueing, with every job of one weight): a job's turn is the
 * one after its account's last, or the one that is served now if that is over. */
static void line_put(struct thaw_pool *pool, struct pool_target *target, struct thaw_pool_job *job,
		     bool first)
{
	struct pool_account *account = target->function->account;
	struct thaw_pool_job **place = &pool->line;

	if (account->next_turn < pool->turn)
		account->next_turn = pool->turn;
	job->turn = first ? pool->turn : account->next_turn++;
	while (!first && *place && (*place)->turn <= job->turn)
		place = &(*place)->next;
	job->target = target;
	job->give_up_ns = thaw_monotonic_ns() + job->patience_ms * NS_PER_MS;
	job->next = *place;
	*place = job;
	pool->counts.waiting++;
	pthread_cond_signal(&pool->keeper_wake);
}

/* Gives those in line what there is. The first waits for its memory before those behind it may have
 * any, or large functions would never get theirs; but an idle environment of its own target costs
 * none. */
static void pool_serve_line(struct thaw_pool *pool)
{
	struct thaw_pool_job **place = &pool->line;
	bool blocked = false;

	while (*place) {
		struct pool_target *target = (*place)->target;
		struct pool_environment *idle = target_idle(target);
		if (idle) {
			environment_give(idle, line_take(pool, place));
		} else if (!blocked && target_may_start(pool, target) &&
			   environment_start(pool, target, *place)) {
			line_take(pool, place);
		} else {
			blocked = true;
			place = &(*place)->next;
		}
	}
}

/* --- an environment's thread
 * ----------------------------------------------------------------------- */

static void environment_end(struct pool_environment *e)
{
	struct thaw_pool *pool = e->pool;
	struct pool_target *target = e->target;

	environment_unlink(e);
	target->count[THAW_POOL_CLOSING]--;
	pool->counts.environments[THAW_POOL_CLOSING]--;
	pool->memory_mib -= target->memory_mib;
	pool->leaving_mib -= target->memory_mib;
	pool->environments--;
	sem_destroy(&e->wake);
	free(e);
	pool_target_drop(pool, target);
	pool_serve_line(pool);
	pthread_cond_signal(&pool->keeper_wake);
	pthread_cond_broadcast(&pool->changed);
}

/* One job, from its hand-over to its answer. The environment is free for the next before the answer
 * is out: whoever got it may ask again at once. With the lock held. False: it is of no use. */
static bool environment_handle(struct pool_environment *e, void *environment)
{
	struct thaw_pool *pool = e->pool;
	struct thaw_pool_job *job = e->job;

	e->job = NULL;
	pthread_mutex_unlock(&pool->lock);
	bool good = pool->ops->handle(environment, job);
	pthread_mutex_lock(&pool->lock);
	job_ends(pool, e->target);
	if (!good || e->target->retired || pool->quit) {
		environment_move(e, THAW_POOL_CLOSING);
	} else {
		environment_move(e, THAW_POOL_IDLE);
		pool_serve_line(pool);
		/* It expires later than those that are idle already, if there are any. */
		if (pool->keeper_ns > e->since_ns + pool->limits.idle_ms * NS_PER_MS)
			pthread_cond_signal(&pool->keeper_wake);
	}
	pthread_mutex_unlock(&pool->lock);
	job->done(job, THAW_POOL_ACCEPTED);
	pthread_mutex_lock(&pool->lock);
	return good;
}

/* Waits for a job or the end until `end_ns`. A semaphore is waited for without the lock, which
 * whoever gives the job still has: a condition would be woken only to wait again. */
static void environment_wait(struct pool_environment *e, uint64_t end_ns)
{
	struct timespec until = {.tv_sec = (time_t)(end_ns / NS_PER_S),
				 .tv_nsec = (long)(end_ns % NS_PER_S)};
	int rc = 0;

	while (!e->job && !e->leave && (rc == 0 || errno == EINTR)) {
		pthread_mutex_unlock(&e->pool->lock);
		rc = end_ns == NEVER ? sem_wait(&e->wake)
				     : sem_clockwait(&e->wake, CLOCK_MONOTONIC, &until);
		pthread_mutex_lock(&e->pool->lock);
	}
}

/* Idle, and with nothing to do for a moment, it stands still. The moment is for those whose next
 * job comes at once: standing still and getting up again costs as much as a job does. */
static bool environment_rest(struct pool_environment *e, void *environment)
{
	const struct thaw_pool_ops *ops = e->pool->ops;

	environment_wait(e, thaw_monotonic_ns() + LINGER_NS);
	if (e->job || e->leave)
		return true;
	pthread_mutex_unlock(&e->pool->lock);
	bool good = ops->freeze(environment);
	pthread_mutex_lock(&e->pool->lock);
	if (good)
		environment_wait(e, NEVER);
	if (!good || e->leave)
		return good;
	pthread_mutex_unlock(&e->pool->lock);
	good = ops->thaw(environment);
	pthread_mutex_lock(&e->pool->lock);
	return good;
}

/* It is of no use. Its job, if it has one, either says why it could not be started, or was never
 * begun: then another environment gets it. */
static void environment_fails(struct pool_environment *e, bool started)
{
	struct thaw_pool *pool = e->pool;
	struct thaw_pool_job *job = e->job;

	pool->counts.failed++;
	if (e->state != THAW_POOL_CLOSING)
		environment_move(e, THAW_POOL_CLOSING);
	e->job = NULL;
	if (!job)
		return;
	if (started) {
		line_put(pool, e->target, job, true);
		pool_serve_line(pool);
		return;
	}
	job_ends(pool, e->target);
	pthread_mutex_unlock(&pool->lock);
	job->done(job, THAW_POOL_ACCEPTED);
	pthread_mutex_lock(&pool->lock);
}

static void target_note_start(struct pool_target *target, bool good)
{
	if (good) {
		target->retry_after_ns = 0;
		return;
	}
	target->retry_after_ns =
		target->retry_after_ns ? target->retry_after_ns * 2 : START_RETRY_NS;
	if (target->retry_after_ns > START_RETRY_MAX)
		target->retry_after_ns = START_RETRY_MAX;
	target->retry_ns = thaw_monotonic_ns() + target->retry_after_ns;
}

static void *environment_main(void *opaque)
{
	struct pool_environment *e = opaque;
	struct thaw_pool *pool = e->pool;

	pthread_mutex_lock(&pool->lock);
	pthread_mutex_unlock(&pool->lock);
	void *environment = pool->ops->start(pool->context, e->target->data, e->job);
	pthread_mutex_lock(&pool->lock);
	target_note_start(e->target, environment != NULL);
	bool good = environment != NULL;
	if (good) {
		bool stale = e->target->retired || pool->quit;
		environment_move(e, e->job  ? THAW_POOL_BUSY
				    : stale ? THAW_POOL_CLOSING
					    : THAW_POOL_IDLE);
		e->leave = e->state == THAW_POOL_CLOSING;
		/* It may be idle, and others may start now. */
		pool_serve_line(pool);
		pthread_cond_signal(&pool->keeper_wake);
	}
	while (good && !e->leave) {
		if (e->job)
			good = environment_handle(e, environment);
		else
			good = environment_rest(e, environment);
		e->leave |= e->state == THAW_POOL_CLOSING;
	}
	if (!good)
		environment_fails(e, environment != NULL);
	pthread_mutex_unlock(&pool->lock);
	if (environment)
		pool->ops->close(environment);
	pthread_mutex_lock(&pool->lock);
	environment_end(e);
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* --- the keeper: what happens by time
 * -------------------------------------------------------------- */

/* Gives up what has waited too long, or everything. Returns when it is to look again. */
static uint64_t keeper_line(struct thaw_pool *pool)
{
	struct thaw_pool_job **place = &pool->line;
	uint64_t next = NEVER;
	bool given_up = false;

	while (*place) {
		struct thaw_pool_job *job = *place;
		if (!pool->stopping && job->give_up_ns > thaw_monotonic_ns()) {
			if (job->give_up_ns < next)
				next = job->give_up_ns;
			place = &job->next;
			continue;
		}
		struct pool_target *target = job->target;
		line_take(pool, place);
		job_ends(pool, target);
		pool->counts.refused++;
		pool_target_drop(pool, target);
		enum thaw_pool_refusal refusal =
			pool->stopping ? THAW_POOL_STOPPING : THAW_POOL_MEMORY;
		pthread_mutex_unlock(&pool->lock);
		job->done(job, refusal);
		pthread_mutex_lock(&pool->lock);
		place = &pool->line; /* it may be another line by now */
		next = NEVER;
		given_up = true;
	}
	/* Those behind may want less; and nobody tells when a load is over. */
	if (given_up || (pool->line && pool->ops->overloaded))
		pool_serve_line(pool);
	if (pool->line && pool->ops->overloaded) {
		uint64_t again = thaw_monotonic_ns() + LOOK_AGAIN_NS;
		next = again < next ? again : next;
	}
	return next;
}

static uint64_t keeper_expire(struct thaw_pool *pool)
{
	uint64_t now = thaw_monotonic_ns(), next = NEVER;

	for (struct pool_target *t = pool->targets; t; t = t->next) {
		for (struct pool_environment *e = t->environments; e; e = e->next) {
			if (e->state != THAW_POOL_IDLE ||
			    (!pool->quit && pool_target_alive(t) <= t->provisioned))
				continue;
			uint64_t end = e->since_ns + pool->limits.idle_ms * NS_PER_MS;
			if (pool->quit || end <= now) {
				pool->counts.expired++;
				environment_dismiss(e);
			} else if (end < next) {
				next = end;
			}
		}
	}
	return next;
}

static uint64_t keeper_provision(struct thaw_pool *pool)
{
	uint64_t next = NEVER;

	for (struct pool_target *t = pool->targets; t && !pool->stopping; t = t->next) {
		while (pool_target_alive(t) < t->provisioned && !t->retired) {
			uint64_t now = thaw_monotonic_ns();
			if (t->retry_after_ns && t->retry_ns > now) {
				next = t->retry_ns < next ? t->retry_ns : next;
				break;
			}
			/* Whoever frees memory wakes us. */
			if (!pool_make_room(pool, t->memory_mib))
				break;
			if (!environment_start(pool, t, NULL)) {
				target_note_start(t, false);
				continue;
			}
			/* While one is being tried, no others: it may fail again. */
			if (t->retry_after_ns)
				break;
		}
	}
	return next;
}

static void *keeper_main(void *opaque)
{
	struct thaw_pool *pool = opaque;

	pthread_mutex_lock(&pool->lock);
	while (!pool->quit || pool->environments) {
		uint64_t line = keeper_line(pool);
		uint64_t idle = keeper_expire(pool);
		uint64_t ready = keeper_provision(pool);
		uint64_t next = line < idle ? line : idle;
		next = ready < next ? ready : next;
		if (pool->quit && !pool->environments)
			break;
		pool->keeper_ns = next;
		if (next == NEVER) {
			pthread_cond_wait(&pool->keeper_wake, &pool->lock);
			continue;
		}
		struct timespec until = {.tv_sec = (time_t)(next / NS_PER_S),
					 .tv_nsec = (long)(next % NS_PER_S)};
		pthread_cond_timedwait(&pool->keeper_wake, &pool->lock, &until);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* --- the pool
 * -------------------------------------------------------------------------------------- */

struct thaw_pool *thaw_pool_new(const struct thaw_pool_ops *ops, void *context,
				const struct thaw_pool_limits *limits, struct thaw_error *err)
{
	struct thaw_pool *pool = calloc(1, sizeof(*pool));

	if (!pool) {
		thaw_error_errno(err, ENOMEM, "making the pool of environments");
		return NULL;
	}
	pool->ops = ops;
	pool->context = context;
	pool->limits = *limits;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_condattr_init(&pool->monotonic);
	pthread_condattr_setclock(&pool->monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&pool->changed, &pool->monotonic);
	pthread_cond_init(&pool->keeper_wake, &pool->monotonic);
	pthread_attr_init(&pool->thread_attributes);
	pthread_attr_setstacksize(&pool->thread_attributes, STACK_SIZE);
	pthread_attr_setdetachstate(&pool->thread_attributes, PTHREAD_CREATE_DETACHED);
	int rc = pthread_create(&pool->keeper, NULL, keeper_main, pool);
	if (rc == 0)
		return pool;
	thaw_error_errno(err, rc, "starting the pool of environments");
	pthread_attr_destroy(&pool->thread_attributes);
	pthread_condattr_destroy(&pool->monotonic);
	pthread_cond_destroy(&pool->keeper_wake);
	pthread_cond_destroy(&pool->changed);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
	return NULL;
}

bool thaw_pool_drain(struct thaw_pool *pool, uint32_t grace_ms)
{
	uint64_t end = thaw_monotonic_ns() + grace_ms * NS_PER_MS;
	struct timespec until = {.tv_sec = (time_t)(end / NS_PER_S),
				 .tv_nsec = (long)(end % NS_PER_S)};
	int rc = 0;

	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pthread_cond_signal(&pool->keeper_wake);
	while (pool->jobs && rc == 0)
		rc = pthread_cond_timedwait(&pool->changed, &pool->lock, &until);
	bool done = pool->jobs == 0;
	pthread_mutex_unlock(&pool->lock);
	return done;
}

void thaw_pool_free(struct thaw_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->stopping = pool->quit = true;
	pthread_cond_signal(&pool->keeper_wake);
	pthread_mutex_unlock(&pool->lock);
	pthread_join(pool->keeper, NULL);
	pthread_mutex_lock(&pool->lock);
	while (pool->targets) {
		pool_target_set_use(pool->targets, 0, 0);
		pool_target_drop(pool, pool->targets);
	}
	pthread_mutex_unlock(&pool->lock);
	pthread_attr_destroy(&pool->thread_attributes);
	pthread_condattr_destroy(&pool->monotonic);
	pthread_cond_destroy(&pool->keeper_wake);
	pthread_cond_destroy(&pool->changed);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/* A job that may run: in an idle environment, a new one, or in line for one. */
static enum thaw_pool_refusal pool_place(struct thaw_pool *pool, struct pool_target *target,
					 struct thaw_pool_job *job)
{
	struct pool_environment *idle = target_idle(target);

	if (idle) {
		environment_give(idle, job);
		return THAW_POOL_ACCEPTED;
	}
	if (!function_may_start(pool, target->function))
		return THAW_POOL_RATE;
	/* Those in line come first. */
	if (!pool->line && target_may_start(pool, target))
		return environment_start(pool, target, job) ? THAW_POOL_ACCEPTED : THAW_POOL_FAILED;
	if (target->memory_mib > pool->limits.memory_mib || !job->patience_ms)
		return THAW_POOL_MEMORY;
	line_put(pool, target, job, false);
	return THAW_POOL_ACCEPTED;
}

enum thaw_pool_refusal thaw_pool_submit(struct thaw_pool *pool,
					const struct thaw_pool_target *wanted,
					struct thaw_pool_job *job)
{
	enum thaw_pool_refusal refusal = THAW_POOL_STOPPING;

	pthread_mutex_lock(&pool->lock);
	struct pool_target *target = pool->stopping ? NULL : pool_target_get(pool, wanted);
	if (target) {
		refusal = pool_target_may_use(target, target->jobs + 1, target->provisioned,
					      wanted->unreserved);
		if (refusal == THAW_POOL_ACCEPTED) {
			pool_target_set_use(target, target->jobs + 1, target->provisioned);
			job->provisioned = target->jobs <= target->provisioned;
			job->spilled = target->provisioned && !job->provisioned;
			pool->jobs++;
			refusal = pool_place(pool, target, job);
			if (refusal != THAW_POOL_ACCEPTED)
				job_ends(pool, target);
		}
		pool_target_drop(pool, target);
	} else if (!pool->stopping) {
		refusal = THAW_POOL_FAILED;
	}
	if (refusal != THAW_POOL_ACCEPTED)
		pool->counts.refused++;
	pthread_mutex_unlock(&pool->lock);
	return refusal;
}

enum thaw_pool_refusal thaw_pool_provision(struct thaw_pool *pool,
					   const struct thaw_pool_target *wanted, uint32_t count)
{
	enum thaw_pool_refusal refusal = THAW_POOL_STOPPING;

	pthread_mutex_lock(&pool->lock);
	struct pool_target *target = pool->stopping ? NULL : pool_target_get(pool, wanted);
	if (target) {
		refusal = count > target->provisioned
				  ? pool_target_may_use(target, target->jobs, count,
							wanted->unreserved)
				  : THAW_POOL_ACCEPTED;
		if (refusal == THAW_POOL_ACCEPTED) {
			pool_target_set_use(target, target->jobs, count);
			target->retry_after_ns = 0;
			pthread_cond_signal(&pool->keeper_wake);
		}
		pool_target_drop(pool, target);
	} else if (!pool->stopping) {
		refusal = THAW_POOL_FAILED;
	}
	pthread_mutex_unlock(&pool->lock);
	return refusal;
}

void thaw_pool_retire(struct thaw_pool *pool, const char *key)
{
	struct pool_environment *next;

	pthread_mutex_lock(&pool->lock);
	struct pool_target *target = pool_target_find(pool, key);
	if (target) {
		pool_target_unkey(pool, target);
		pool_target_set_use(target, target->jobs, 0);
		for (struct pool_environment *e = target->environments; e; e = next) {
			next = e->next;
			if (e->state == THAW_POOL_IDLE)
				environment_dismiss(e);
		}
		pool_target_drop(pool, target);
	}
	pthread_mutex_unlock(&pool->lock);
}

void thaw_pool_count(struct thaw_pool *pool, struct thaw_pool_counts *counts)
{
	pthread_mutex_lock(&pool->lock);
	*counts = pool->counts;
	counts->memory_mib = pool->memory_mib;
	pthread_mutex_unlock(&pool->lock);
}

void thaw_pool_count_target(struct thaw_pool *pool, const char *key,
			    uint32_t environments[THAW_POOL_STATES])
{
	pthread_mutex_lock(&pool->lock);
	struct pool_target *target = pool_target_find(pool, key);
	for (unsigned int i = 0; i < THAW_POOL_STATES; i++)
		environments[i] = target ? target->count[i] : 0;
	pthread_mutex_unlock(&pool->lock);
}
