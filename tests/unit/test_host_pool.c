/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of environments, with environments that are nothing but counters: who gets which,
 * limits, memory, idle time, failures, and the end. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/pool.h"
#include "lib/clock.h"

/* What a target's environments do, and what became of them. */
struct fake_target {
	_Atomic int held, started, closed, frozen, running, at_once, at_once_max;
	_Atomic int fail_starts, fail_handles, fail_thaws; /* so many of the next */
	_Atomic int block;                                 /* handle waits while this is set */
	_Atomic int block_start;                           /* and so does start */
	_Atomic int place;                                 /* in the order of starts, the last */
};

static _Atomic int starts;
static _Atomic bool overloaded;

struct fake_environment {
	struct fake_target *target;
	bool frozen, busy;
	int handled;
};

struct fake_job {
	struct thaw_pool_job job;
	_Atomic int done;
	enum thaw_pool_refusal refusal;
	struct fake_environment *by;
	int nth; /* job of its environment, from 1; 0: not handled */
	bool failed;
};

static bool take(_Atomic int *count)
{
	int left = atomic_load(count);

	while (left > 0) {
		if (atomic_compare_exchange_weak(count, &left, left - 1))
			return true;
	}
	return false;
}

static void fake_hold(void *opaque)
{
	((struct fake_target *)opaque)->held++;
}

static void fake_release(void *opaque)
{
	((struct fake_target *)opaque)->held--;
}

static void *fake_start(void *context, void *opaque, struct thaw_pool_job *job)
{
	struct fake_target *target = opaque;
	struct fake_environment *e;

	(void)context;
	while (target->block_start)
		usleep(200);
	if (take(&target->fail_starts)) {
		if (job)
			((struct fake_job *)job)->failed = true;
		return NULL;
	}
	e = calloc(1, sizeof(*e));
	e->target = target;
	target->place = ++starts;
	target->started++;
	return e;
}

static bool fake_handle(void *opaque, struct thaw_pool_job *job)
{
	struct fake_environment *e = opaque;
	struct fake_job *fake = (struct fake_job *)job;

	assert_false(e->busy);
	assert_false(e->frozen);
	e->busy = true;
	int now = ++e->target->at_once;
	int max = e->target->at_once_max;
	while (now > max && !atomic_compare_exchange_weak(&e->target->at_once_max, &max, now))
		;
	while (e->target->block)
		usleep(200);
	fake->by = e;
	fake->nth = ++e->handled;
	e->target->at_once--;
	e->busy = false;
	if (!take(&e->target->fail_handles))
		return true;
	fake->failed = true;
	return false;
}

static bool fake_freeze(void *opaque)
{
	struct fake_environment *e = opaque;

	assert_false(e->frozen);
	e->frozen = true;
	e->target->frozen++;
	return true;
}

static bool fake_thaw(void *opaque)
{
	struct fake_environment *e = opaque;

	assert_true(e->frozen);
	e->frozen = false;
	return !take(&e->target->fail_thaws);
}

static void fake_close(void *opaque)
{
	struct fake_environment *e = opaque;

	e->target->closed++;
	free(e);
}

static bool fake_overloaded(void *context)
{
	(void)context;
	return overloaded;
}

static const struct thaw_pool_ops ops = {
	.hold = fake_hold,
	.release = fake_release,
	.start = fake_start,
	.handle = fake_handle,
	.freeze = fake_freeze,
	.thaw = fake_thaw,
	.close = fake_close,
	.overloaded = fake_overloaded,
};

static void job_done(struct thaw_pool_job *job, enum thaw_pool_refusal refusal)
{
	struct fake_job *fake = (struct fake_job *)job;

	fake->refusal = refusal;
	assert_int_equal(fake->done++, 0);
}

#define JOB(PATIENCE)                                                                              \
	{                                                                                          \
		.job = {.patience_ms = (PATIENCE), .done = job_done }                              \
	}

/* Waits for what must come; a machine may be slow, but not for so long. */
#define EVENTUALLY(CONDITION)                                                                      \
	do {                                                                                       \
		uint64_t end_ = thaw_monotonic_ns() + UINT64_C(20000000000);                       \
		while (!(CONDITION) && thaw_monotonic_ns() < end_)                                 \
			usleep(200);                                                               \
		assert_true(CONDITION);                                                            \
	} while (0)

static struct thaw_pool *pool_make(uint64_t memory_mib, uint32_t idle_ms, uint32_t scale_up)
{
	const struct thaw_pool_limits limits = {
		.scale_up = scale_up, .memory_mib = memory_mib, .idle_ms = idle_ms};

	struct thaw_pool *pool = thaw_pool_new(&ops, NULL, &limits, NULL);
	assert_non_null(pool);
	return pool;
}

static struct thaw_pool_target target_of(const char *function, struct fake_target *fake)
{
	return (struct thaw_pool_target){.account = "111122223333",
					 .function = function,
					 .key = function,
					 .memory_mib = 100,
					 .reserved = -1,
					 .unreserved = 1000,
					 .data = fake};
}

static uint32_t idle_of(struct thaw_pool *pool, const char *key)
{
	uint32_t count[THAW_POOL_STATES];

	thaw_pool_count_target(pool, key, count);
	return count[THAW_POOL_IDLE];
}

static void test_reuse(void **state)
{
	struct fake_target fake = {0};
	struct thaw_pool *pool = pool_make(1000, 60000, 1000);
	struct thaw_pool_target target = target_of("f", &fake);
	struct fake_environment *first = NULL;

	(void)state;
	for (int i = 1; i <= 20; i++) {
		struct fake_job job = JOB(0);
		assert_int_equal(thaw_pool_submit(pool, &target, &job.job), THAW_POOL_ACCEPTED);
		EVENTUALLY(job.done);
		/* Who has an answer may ask again at once, and meets no environment that is busy.
		 */
		assert_int_equal(job.nth, i);
		first = first ? first : job.by;
		assert_ptr_equal(job.by, first);
	}
	assert_int_equal(fake.started, 1);
	EVENTUALLY(fake.frozen > 0);
	thaw_pool_free(pool);
	assert_int_equal(fake.closed, 1);
	assert_int_equal(fake.held, 0);
}

static void test_one_job_at_a_time(void **state)
{
	enum { JOBS = 200 };
	static struct fake_job jobs[JOBS];
	struct fake_target fake = {.block = 1};
	struct thaw_pool *pool = pool_make(UINT64_C(100) * JOBS, 60000, 1000);
	struct thaw_pool_target target = target_of("f", &fake);
	struct thaw_pool_counts counts;

	(void)state;
	for (int i = 0; i < JOBS; i++) {
		jobs[i] = (struct fake_job)JOB(0);
		assert_int_equal(thaw_pool_submit(pool, &target, &jobs[i].job), THAW_POOL_ACCEPTED);
	}
	EVENTUALLY(fake.at_once == JOBS);
	fake.block = 0;
	for (int i = 0; i < JOBS; i++)
		EVENTUALLY(jobs[i].done);
	thaw_pool_count(pool, &counts);
	assert_int_equal(counts.started, JOBS);
	assert_int_equal(counts.memory_mib, 100 * JOBS);
	thaw_pool_free(pool);
	assert_int_equal(fake.closed, JOBS);
	assert_int_equal(fake.held, 0);
}

static void test_concurrency(void **state)
{
	struct fake_target fakes[3] = {{.block = 1}, {.block = 1}, {.block = 1}};
	struct thaw_pool *pool = pool_make(100000, 60000, 1000);
	struct thaw_pool_target a = target_of("a", &fakes[0]), b = target_of("b", &fakes[1]),
				c = target_of("c", &fakes[2]), d = target_of("d", &fakes[2]);
	struct fake_job jobs[16];
	int n = 0;

	(void)state;
	for (int i = 0; i < 16; i++)
		jobs[i] = (struct fake_job)JOB(0);
#define SUBMIT(TARGET) thaw_pool_submit(pool, &(TARGET), &jobs[n++].job)
	a.reserved = 2;
	b.unreserved = c.unreserved = 3;
	assert_int_equal(SUBMIT(a), THAW_POOL_ACCEPTED);
	assert_int_equal(SUBMIT(a), THAW_POOL_ACCEPTED);
	assert_int_equal(SUBMIT(a), THAW_POOL_RESERVED);
	/* The reserved ones took nothing of the others'. */
	assert_int_equal(SUBMIT(b), THAW_POOL_ACCEPTED);
	assert_int_equal(SUBMIT(c), THAW_POOL_ACCEPTED);
	assert_int_equal(SUBMIT(c), THAW_POOL_ACCEPTED);
	assert_int_equal(SUBMIT(b), THAW_POOL_CONCURRENT);
	assert_int_equal(SUBMIT(c), THAW_POOL_CONCURRENT);
	/* Another account has its own. */
	d.account = "444455556666";
	assert_int_equal(SUBMIT(d), THAW_POOL_ACCEPTED);
	/* None at all. */
	b.reserved = 0;
	assert_int_equal(SUBMIT(b), THAW_POOL_RESERVED);
	/* What b had counts as its own now. */
	assert_int_equal(SUBMIT(c), THAW_POOL_ACCEPTED);
	assert_int_equal(SUBMIT(c), THAW_POOL_CONCURRENT);
	for (int i = 0; i < 3; i++)
		fakes[i].block = 0;
	assert_true(thaw_pool_drain(pool, 20000));
	thaw_pool_free(pool);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(fakes[i].held, 0);
		assert_int_equal(fakes[i].closed, fakes[i].started);
	}
}

static void test_scale_up(void **state)
{
	struct fake_target fake = {.block = 1};
	struct thaw_pool *pool = pool_make(100000, 60000, 3);
	struct thaw_pool_target target = target_of("f", &fake);
	struct fake_job jobs[5] = {JOB(0), JOB(0), JOB(0), JOB(0), JOB(0)};

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(thaw_pool_submit(pool, &target, &jobs[i].job), THAW_POOL_ACCEPTED);
	assert_int_equal(thaw_pool_submit(pool, &target, &jobs[3].job), THAW_POOL_RATE);
	fake.block = 0;
	for (int i = 0; i < 3; i++)
		EVENTUALLY(jobs[i].done);
	/* Those that are there may still be used. */
	assert_int_equal(thaw_pool_submit(pool, &target, &jobs[4].job), THAW_POOL_ACCEPTED);
	EVENTUALLY(jobs[4].done);
	thaw_pool_free(pool);
}

/* Idle environments make room, busy ones are waited for, and patience ends. */
static void test_memory(void **state)
{
	struct fake_target old = {0}, young = {0}, large = {.block = 1}, more = {0};
	struct thaw_pool *pool = pool_make(300, 60000, 1000);
	struct thaw_pool_target o = target_of("old", &old), y = target_of("young", &young),
				l = target_of("large", &large), m = target_of("more", &more);
	struct fake_job first = JOB(0), second = JOB(0), third = JOB(20000), fourth = JOB(30),
			fifth = JOB(20000), sixth = JOB(20000);
	struct thaw_pool_counts counts;

	(void)state;
	l.memory_mib = 200;
	assert_int_equal(thaw_pool_submit(pool, &o, &first.job), THAW_POOL_ACCEPTED);
	EVENTUALLY(first.done && idle_of(pool, "old") == 1);
	assert_int_equal(thaw_pool_submit(pool, &y, &second.job), THAW_POOL_ACCEPTED);
	EVENTUALLY(second.done && idle_of(pool, "young") == 1);
	/* 200 are taken and 100 free: the one that has been idle for longer goes. */
	assert_int_equal(thaw_pool_submit(pool, &l, &third.job), THAW_POOL_ACCEPTED);
	EVENTUALLY(large.at_once == 1);
	assert_int_equal(old.closed, 1);
	assert_int_equal(young.closed, 0);
	/* 300 are taken, 200 of them by who is busy: too much to wait for, then enough. */
	l.key = "large too";
	assert_int_equal(thaw_pool_submit(pool, &l, &fourth.job), THAW_POOL_ACCEPTED);
	EVENTUALLY(fourth.done);
	assert_int_equal(fourth.refusal, THAW_POOL_MEMORY);
	assert_int_equal(fourth.nth, 0);
	assert_int_equal(thaw_pool_submit(pool, &l, &fifth.job), THAW_POOL_ACCEPTED);
	assert_int_equal(thaw_pool_submit(pool, &m, &sixth.job), THAW_POOL_ACCEPTED);
	thaw_pool_count(pool, &counts);
	assert_int_equal(counts.waiting, 2);
	large.block = 0;
	EVENTUALLY(third.done && fifth.done && sixth.done);
	assert_int_equal(fifth.nth, 1);
	assert_int_equal(sixth.nth, 1);
	/* What never fits is refused at once. */
	l.memory_mib = 301;
	l.key = "too large";
	struct fake_job never = JOB(20000);
	assert_int_equal(thaw_pool_submit(pool, &l, &never.job), THAW_POOL_MEMORY);
	thaw_pool_free(pool);
	assert_int_equal(old.held + young.held + large.held + more.held, 0);
}

/* Few start at a time; who waits gets what becomes idle, and accounts take turns. */
static void test_starting(void **state)
{
	const struct thaw_pool_limits limits = {
		.scale_up = 1000, .starting = 1, .memory_mib = 100000, .idle_ms = 60000};
	struct thaw_pool *pool = thaw_pool_new(&ops, NULL, &limits, NULL);
	struct fake_target many = {.block_start = 1}, other = {0};
	struct thaw_pool_target m = target_of("many", &many), o = target_of("other", &other);
	struct fake_job jobs[5], stranger = JOB(20000);
	struct thaw_pool_counts counts;
	int before = starts;

	(void)state;
	assert_non_null(pool);
	o.account = "444455556666";
	for (size_t i = 0; i < 5; i++) {
		jobs[i] = (struct fake_job)JOB(20000);
		assert_int_equal(thaw_pool_submit(pool, &m, &jobs[i].job), THAW_POOL_ACCEPTED);
	}
	many.block = 1;
	assert_int_equal(thaw_pool_submit(pool, &o, &stranger.job), THAW_POOL_ACCEPTED);
	thaw_pool_count(pool, &counts);
	assert_int_equal(counts.environments[THAW_POOL_STARTING], 1);
	assert_int_equal(counts.waiting, 5);
	/* The first has not waited, the second came first: then it is the stranger's turn. */
	many.block_start = 0;
	EVENTUALLY(stranger.done);
	assert_int_equal(other.place - before, 3);
	many.block = 0;
	for (size_t i = 0; i < 5; i++) {
		EVENTUALLY(jobs[i].done);
		assert_int_equal(jobs[i].refusal, THAW_POOL_ACCEPTED);
	}
	thaw_pool_free(pool);
	assert_int_equal(many.held + other.held, 0);
}

/* A host that can do no more starts a target's first environment only. */
static void test_overload(void **state)
{
	struct thaw_pool *pool = pool_make(100000, 60000, 1000);
	struct fake_target fake = {.block = 1};
	struct thaw_pool_target target = target_of("f", &fake);
	struct fake_job first = JOB(20000), second = JOB(20000), third = JOB(20000);

	(void)state;
	overloaded = true;
	assert_int_equal(thaw_pool_submit(pool, &target, &first.job), THAW_POOL_ACCEPTED);
	EVENTUALLY(fake.at_once == 1);
	assert_int_equal(thaw_pool_submit(pool, &target, &second.job), THAW_POOL_ACCEPTED);
	assert_int_equal(thaw_pool_submit(pool, &target, &third.job), THAW_POOL_ACCEPTED);
	fake.block = 0;
	EVENTUALLY(first.done && second.done && third.done);
	assert_int_equal(fake.started, 1);
	assert_int_equal(third.nth, 3);
	/* When it is over nobody tells: whoever waits gets an environment soon. */
	fake.block = 1;
	struct fake_job fourth = JOB(20000), fifth = JOB(20000);
	assert_int_equal(thaw_pool_submit(pool, &target, &fourth.job), THAW_POOL_ACCEPTED);
	EVENTUALLY(fake.at_once == 1);
	assert_int_equal(thaw_pool_submit(pool, &target, &fifth.job), THAW_POOL_ACCEPTED);
	overloaded = false;
	EVENTUALLY(fake.at_once == 2);
	fake.block = 0;
	EVENTUALLY(fourth.done && fifth.done);
	assert_int_equal(fake.started, 2);
	thaw_pool_free(pool);
}

static void test_expiry(void **state)
{
	struct fake_target fake = {0};
	struct thaw_pool *pool = pool_make(1000, 20, 1000);
	struct thaw_pool_target target = target_of("f", &fake);
	struct fake_job job = JOB(0);
	struct thaw_pool_counts counts;

	(void)state;
	assert_int_equal(thaw_pool_submit(pool, &target, &job.job), THAW_POOL_ACCEPTED);
	EVENTUALLY(fake.closed == 1 && fake.held == 0);
	thaw_pool_count(pool, &counts);
	assert_int_equal(counts.expired, 1);
	assert_int_equal(counts.memory_mib, 0);
	thaw_pool_free(pool);
}

static void test_failures(void **state)
{
	struct fake_target fake = {.fail_starts = 1};
	struct thaw_pool *pool = pool_make(1000, 60000, 1000);
	struct thaw_pool_target target = target_of("f", &fake);
	struct fake_job jobs[5] = {JOB(0), JOB(0), JOB(0), JOB(1000), JOB(0)};

	(void)state;
	/* It does not start: the job says so. */
	assert_int_equal(thaw_pool_submit(pool, &target, &jobs[0].job), THAW_POOL_ACCEPTED);
	EVENTUALLY(jobs[0].done);
	assert_true(jobs[0].failed);
	assert_int_equal(jobs[0].nth, 0);
	/* It breaks at a job: the next job has another. */
	fake.fail_handles = 1;
	assert_int_equal(thaw_pool_submit(pool, &target, &jobs[1].job), THAW_POOL_ACCEPTED);
	EVENTUALLY(jobs[1].done);
	assert_true(jobs[1].failed);
	assert_int_equal(thaw_pool_submit(pool, &target, &jobs[2].job), THAW_POOL_ACCEPTED);
	EVENTUALLY(jobs[2].done);
	assert_int_equal(jobs[2].nth, 1);
	EVENTUALLY(fake.closed == 1 && fake.frozen == 1);
	/* It breaks before a job: another environment handles the job, and nobody notices. */
	fake.fail_thaws = 1;
	assert_int_equal(thaw_pool_submit(pool, &target, &jobs[3].job), THAW_POOL_ACCEPTED);
	EVENTUALLY(jobs[3].done);
	assert_false(jobs[3].failed);
	assert_int_equal(jobs[3].refusal, THAW_POOL_ACCEPTED);
	assert_int_equal(jobs[3].nth, 1);
	thaw_pool_free(pool);
	assert_int_equal(fake.started, fake.closed);
	assert_int_equal(fake.held, 0);
}

static void test_provisioned(void **state)
{
	struct fake_target fake = {0};
	struct thaw_pool *pool = pool_make(1000, 20, 1000);
	struct thaw_pool_target target = target_of("f", &fake);
	struct fake_job jobs[4] = {JOB(0), JOB(0), JOB(0), JOB(0)};

	(void)state;
	target.unreserved = 3;
	assert_int_equal(thaw_pool_provision(pool, &target, 4), THAW_POOL_CONCURRENT);
	assert_int_equal(thaw_pool_provision(pool, &target, 3), THAW_POOL_ACCEPTED);
	EVENTUALLY(idle_of(pool, "f") == 3);
	usleep(100000); /* five times as long as idle environments live */
	assert_int_equal(idle_of(pool, "f"), 3);
	assert_int_equal(fake.closed, 0);
	/* They use what they were given, and no more. */
	fake.block = 1;
	for (int i = 0; i < 3; i++)
		assert_int_equal(thaw_pool_submit(pool, &target, &jobs[i].job), THAW_POOL_ACCEPTED);
	assert_int_equal(thaw_pool_submit(pool, &target, &jobs[3].job), THAW_POOL_CONCURRENT);
	fake.block = 0;
	for (int i = 0; i < 3; i++)
		EVENTUALLY(jobs[i].done);
	assert_int_equal(fake.started, 3);
	/* One that breaks is replaced. */
	fake.fail_handles = 1;
	struct fake_job broken = JOB(0);
	assert_int_equal(thaw_pool_submit(pool, &target, &broken.job), THAW_POOL_ACCEPTED);
	EVENTUALLY(broken.done && fake.closed == 1 && idle_of(pool, "f") == 3);
	assert_int_equal(thaw_pool_provision(pool, &target, 1), THAW_POOL_ACCEPTED);
	EVENTUALLY(idle_of(pool, "f") == 1 && fake.closed == 3);
	assert_int_equal(thaw_pool_provision(pool, &target, 0), THAW_POOL_ACCEPTED);
	EVENTUALLY(fake.held == 0);
	thaw_pool_free(pool);
	assert_int_equal(fake.started, fake.closed);
}

/* What was seen of one target, its function and its account. */
struct seen {
	const void *data;
	uint32_t provisioned, busy, function_jobs, account_jobs, functions;
};

static void see_target(void *context, void *data, uint32_t provisioned,
		       const uint32_t environments[THAW_POOL_STATES])
{
	struct seen *seen = context;

	seen->data = data;
	seen->provisioned = provisioned;
	seen->busy = environments[THAW_POOL_BUSY];
}

static void see_function(void *context, const char *account, const char *function, uint32_t jobs)
{
	struct seen *seen = context;

	assert_string_equal(account, "111122223333");
	assert_string_equal(function, "f");
	seen->function_jobs = jobs;
	seen->functions++;
}

static void see_account(void *context, const char *account, uint32_t jobs)
{
	assert_string_equal(account, "111122223333");
	((struct seen *)context)->account_jobs = jobs;
}

static struct seen see(struct thaw_pool *pool)
{
	static const struct thaw_pool_watch watch = {see_target, see_function, see_account};
	struct seen seen = {0};

	thaw_pool_watch(pool, &watch, &seen);
	return seen;
}

static void test_watch(void **state)
{
	struct fake_target fake = {0};
	struct thaw_pool *pool = pool_make(1000, 20, 1000);
	struct thaw_pool_target target = target_of("f", &fake);
	struct fake_job jobs[3] = {JOB(0), JOB(0), JOB(0)};

	(void)state;
	assert_int_equal(see(pool).functions, 0);
	assert_int_equal(thaw_pool_provision(pool, &target, 1), THAW_POOL_ACCEPTED);
	EVENTUALLY(idle_of(pool, "f") == 1);
	fake.block = 1;
	for (int i = 0; i < 2; i++)
		assert_int_equal(thaw_pool_submit(pool, &target, &jobs[i].job), THAW_POOL_ACCEPTED);
	EVENTUALLY(see(pool).busy == 2);
	assert_ptr_equal(see(pool).data, &fake);
	assert_int_equal(see(pool).provisioned, 1);
	assert_int_equal(see(pool).function_jobs, 2);
	assert_int_equal(see(pool).account_jobs, 2);
	assert_true(jobs[0].job.provisioned && !jobs[0].job.spilled);
	assert_true(jobs[1].job.spilled && !jobs[1].job.provisioned);
	/* With concurrency of its own it has nothing of its account's. */
	target.reserved = 5;
	assert_int_equal(thaw_pool_submit(pool, &target, &jobs[2].job), THAW_POOL_ACCEPTED);
	assert_int_equal(see(pool).function_jobs, 3);
	assert_int_equal(see(pool).account_jobs, 0);
	fake.block = 0;
	for (int i = 0; i < 3; i++)
		EVENTUALLY(jobs[i].done);
	assert_int_equal(see(pool).function_jobs, 0);
	thaw_pool_free(pool);
}

static void test_retire(void **state)
{
	struct fake_target before = {0}, after = {0};
	struct thaw_pool *pool = pool_make(1000, 60000, 1000);
	struct thaw_pool_target target = target_of("f", &before);
	struct fake_job idle = JOB(0), busy = JOB(0), fresh = JOB(0);

	(void)state;
	before.block = 1;
	assert_int_equal(thaw_pool_submit(pool, &target, &idle.job), THAW_POOL_ACCEPTED);
	assert_int_equal(thaw_pool_submit(pool, &target, &busy.job), THAW_POOL_ACCEPTED);
	EVENTUALLY(before.at_once == 2);
	thaw_pool_retire(pool, "f");
	thaw_pool_retire(pool, "f");
	/* The same name is another target from now on. */
	target.data = &after;
	assert_int_equal(thaw_pool_submit(pool, &target, &fresh.job), THAW_POOL_ACCEPTED);
	EVENTUALLY(fresh.done);
	assert_int_equal(before.closed, 0);
	before.block = 0;
	EVENTUALLY(idle.done && busy.done && before.closed == 2 && before.held == 0);
	assert_int_equal(after.closed, 0);
	thaw_pool_free(pool);
	assert_int_equal(after.closed, 1);
}

static void test_stop(void **state)
{
	struct fake_target fake = {.block = 1};
	struct thaw_pool *pool = pool_make(100, 60000, 1000);
	struct thaw_pool_target target = target_of("f", &fake);
	struct fake_job busy = JOB(0), waiting = JOB(20000), late = JOB(0);

	(void)state;
	assert_int_equal(thaw_pool_submit(pool, &target, &busy.job), THAW_POOL_ACCEPTED);
	EVENTUALLY(fake.at_once == 1);
	assert_int_equal(thaw_pool_submit(pool, &target, &waiting.job), THAW_POOL_ACCEPTED);
	assert_false(thaw_pool_drain(pool, 20));
	EVENTUALLY(waiting.done);
	assert_int_equal(waiting.refusal, THAW_POOL_STOPPING);
	assert_int_equal(thaw_pool_submit(pool, &target, &late.job), THAW_POOL_STOPPING);
	fake.block = 0;
	assert_true(thaw_pool_drain(pool, 20000));
	thaw_pool_free(pool);
	assert_int_equal(busy.done, 1);
	assert_int_equal(late.done, 0);
	assert_int_equal(fake.held, 0);
}

/* Many threads, little memory, everything failing now and then: each job is answered once. */
struct storm {
	struct thaw_pool *pool;
	struct fake_target *fakes;
	unsigned int seed;
	int answered, refused;
};

static void *storm_thread(void *opaque)
{
	static const char *const names[] = {"a", "b", "c", "d", "e"};
	struct storm *storm = opaque;

	for (int i = 0; i < 400; i++) {
		int which = rand_r(&storm->seed) % 5;
		struct fake_job job = JOB((uint32_t)(rand_r(&storm->seed) % 20));
		struct thaw_pool_target target = target_of(names[which], &storm->fakes[which]);
		if (rand_r(&storm->seed) % 50 == 0)
			thaw_pool_retire(storm->pool, names[which]);
		if (rand_r(&storm->seed) % 20 == 0)
			storm->fakes[which].fail_starts = 1;
		if (rand_r(&storm->seed) % 20 == 0)
			storm->fakes[which].fail_thaws = 1;
		if (rand_r(&storm->seed) % 50 == 0)
			thaw_pool_provision(storm->pool, &target,
					    (uint32_t)rand_r(&storm->seed) % 3);
		if (thaw_pool_submit(storm->pool, &target, &job.job) != THAW_POOL_ACCEPTED) {
			storm->refused++;
			continue;
		}
		EVENTUALLY(job.done);
		storm->answered++;
		assert_true(job.failed || job.nth > 0 || job.refusal != THAW_POOL_ACCEPTED);
	}
	return NULL;
}

static void test_storm(void **state)
{
	enum { THREADS = 8 };
	struct fake_target fakes[5] = {0};
	struct storm storms[THREADS];
	pthread_t threads[THREADS];
	struct thaw_pool_counts counts;

	(void)state;
	struct thaw_pool *pool = pool_make(400, 2, 1000000);
	for (unsigned int i = 0; i < THREADS; i++) {
		storms[i] = (struct storm){.pool = pool, .fakes = fakes, .seed = i + 1};
		assert_int_equal(pthread_create(&threads[i], NULL, storm_thread, &storms[i]), 0);
	}
	int answered = 0;
	for (unsigned int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		answered += storms[i].answered;
	}
	assert_true(answered > 100);
	thaw_pool_count(pool, &counts);
	assert_true(counts.memory_mib <= 400);
	assert_int_equal(counts.waiting, 0);
	thaw_pool_free(pool);
	for (unsigned int i = 0; i < 5; i++) {
		assert_int_equal(fakes[i].held, 0);
		assert_int_equal(fakes[i].started, fakes[i].closed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reuse),       cmocka_unit_test(test_one_job_at_a_time),
		cmocka_unit_test(test_concurrency), cmocka_unit_test(test_scale_up),
		cmocka_unit_test(test_memory),      cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_starting),    cmocka_unit_test(test_overload),
		cmocka_unit_test(test_failures),    cmocka_unit_test(test_provisioned),
		cmocka_unit_test(test_watch),       cmocka_unit_test(test_retire),
		cmocka_unit_test(test_stop),        cmocka_unit_test(test_storm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
