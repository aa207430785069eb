/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Execution environments of many functions and accounts: which one handles an invocation, when new
 * ones are started, and when they go.
 *
 *	starting -> busy -> idle -> busy -> ... -> closing
 *	starting -> idle (kept ready: provisioned)
 *
 * Each environment has a thread of its own, which alone uses it from start to close (a thaw-vmm
 *dies with the thread that started it). An environment handles one job at a time, and only jobs of
 * the target it was started for. What an environment is, the pool does not know: see
 * thaw_pool_ops.
 *
 * A job gets an idle environment of its target (the one used last: it is the warmest); else a new
 * one, if all of these allow it; else it is refused with a reason:
 *
 *	the function's reserved concurrency, or else what is left of the account's
 *	how many environments a function may start in ten seconds
 *	the host's memory: idle environments make room, the longest idle first; while only busy ones
 *	are in the way the job waits in line, up to its patience
 *	how many environments may be starting at a time: beyond, it waits in the same line, and may
 *	get one that has become idle. A host that starts too many at once finishes none
 *
 * In line accounts take turns, so that one with many jobs keeps none of another's waiting.
 *
 * A target that has environments gets no more of them while the host says that it can do no more
 * (thaw_pool_ops, overloaded); its jobs wait in line for those that it has.
 *
 * All functions may be called from any thread, but not from within the ops.
 */
#ifndef THAW_HOST_POOL_H
#define THAW_HOST_POOL_H

#include <stdbool.h>
#include <stdint.h>

struct thaw_error;
struct thaw_pool;

/* Why a job was refused: the reasons of Lambda's TooManyRequestsException, and ours. */
enum thaw_pool_refusal {
	THAW_POOL_ACCEPTED,
	THAW_POOL_RESERVED,   /* ReservedFunctionConcurrentInvocationLimitExceeded */
	THAW_POOL_CONCURRENT, /* ConcurrentInvocationLimitExceeded: the account's */
	THAW_POOL_RATE,       /* FunctionInvocationRateLimitExceeded: new environments too fast */
	THAW_POOL_MEMORY,     /* the host is full */
	THAW_POOL_STOPPING,
	THAW_POOL_FAILED, /* no memory or no thread for the pool itself */
};

enum thaw_pool_state {
	THAW_POOL_STARTING,
	THAW_POOL_IDLE,
	THAW_POOL_BUSY,
	THAW_POOL_CLOSING,
	THAW_POOL_STATES,
};

/* What an environment is started for. `key` names all that makes environments interchangeable
 * (account, function, version, revision). Strings are copied. */
struct thaw_pool_target {
	const char *account;
	const char *function; /* unique within the account */
	const char *key;
	uint32_t memory_mib; /* what an environment takes of the host */
	int64_t reserved;    /* the function's reserved concurrency; -1: none */
	uint32_t unreserved; /* what the account has for all functions without any */
	void *data;          /* for the ops; held as long as the pool knows the target */
};

/* One invocation, the caller's until `done`. */
struct thaw_pool_job {
	uint32_t patience_ms; /* how long it may wait for room */
	void *data;           /* for the ops */
	/* Set by submit, where the target has environments kept ready: one of them is for this job;
	 * or other jobs have them all. */
	bool provisioned, spilled;
	/* Called once, in some thread, unless submit refused it: after the invocation, or with
	 * `refusal` when it was given up in line. The job may be freed in it. */
	void (*done)(struct thaw_pool_job *job, enum thaw_pool_refusal refusal);
	/* The pool's, while the job is in line. */
	struct thaw_pool_job *next;
	void *target;
	uint64_t turn;
	uint64_t give_up_ns;
};

/* Environments, from the pool's side. All but hold and release run in the environment's thread. */
struct thaw_pool_ops {
	void (*hold)(void *target);
	void (*release)(void *target);
	/* Starts an environment: NULL when it cannot be. `job` may be NULL (kept ready); otherwise
	 * it is the first job, so that its event can travel with the start. The reason of a failure
	 * goes into the job. */
	void *(*start)(void *context, void *target, struct thaw_pool_job *job);
	/* Handles a job, whose result goes into it. False: the environment is of no use any more.
	 */
	bool (*handle)(void *environment, struct thaw_pool_job *job);
	/* Between jobs it must not run: false as for handle. */
	bool (*freeze)(void *environment);
	bool (*thaw)(void *environment);
	void (*close)(void *environment);
	/* Whether the host has more to do than it can: then a target that has environments gets no
	 * more of them. May be NULL. Must be quick: the pool is locked. */
	bool (*overloaded)(void *context);
	/* Every change of a state, and how long the one before it lasted. May be NULL. Must be
	 * quick: the pool is locked. */
	void (*moved)(void *context, void *target, enum thaw_pool_state from,
		      enum thaw_pool_state to, uint64_t ns);
};

struct thaw_pool_limits {
	uint32_t scale_up;   /* new environments of a function in ten seconds: 1000 */
	uint32_t starting;   /* environments that start at the same time; 0: any number */
	uint64_t memory_mib; /* of the host, for environments */
	uint32_t idle_ms;    /* an environment that is idle for so long goes */
};

struct thaw_pool_counts {
	uint32_t environments[THAW_POOL_STATES];
	uint32_t waiting; /* jobs in line for room */
	uint64_t memory_mib;
	uint64_t started, reused, failed, refused, evicted, expired;
};

/* `ops` must outlive the pool. NULL: no memory or no thread. */
struct thaw_pool *thaw_pool_new(const struct thaw_pool_ops *ops, void *context,
				const struct thaw_pool_limits *limits, struct thaw_error *err);

/* Refuses new jobs and those in line from now on, and waits until no job is under way, for at most
 * `grace_ms`: whether that was enough. */
bool thaw_pool_drain(struct thaw_pool *pool, uint32_t grace_ms);

/* Drains, closes all environments, waits for the last, and frees the pool. Whoever cannot wait for
 * a job makes its handle return. */
void thaw_pool_free(struct thaw_pool *pool);

/* Hands the job over. Not THAW_POOL_ACCEPTED: it was not taken, and `done` is not called. */
enum thaw_pool_refusal thaw_pool_submit(struct thaw_pool *pool,
					const struct thaw_pool_target *target,
					struct thaw_pool_job *job);

/* Keeps `count` environments of the target alive, idle or busy (0: no more). They take of the
 * concurrency whether busy or not, and neither expire nor make room. They are started meanwhile:
 * thaw_pool_count_target tells how many there are. */
enum thaw_pool_refusal thaw_pool_provision(struct thaw_pool *pool,
					   const struct thaw_pool_target *target, uint32_t count);

/* The target is no more (deleted, updated): its idle environments close now, the busy ones after
 * their job, and none is kept ready. */
void thaw_pool_retire(struct thaw_pool *pool, const char *key);

void thaw_pool_count(struct thaw_pool *pool, struct thaw_pool_counts *counts);

/* What is under way, for whoever watches. Jobs in line count too. Called with the pool locked: be
 * quick, and call nothing of it. Strings are valid in the call; `data` is the target's. */
struct thaw_pool_watch {
	void (*target)(void *context, void *data, uint32_t provisioned,
		       const uint32_t environments[THAW_POOL_STATES]);
	void (*function)(void *context, const char *account, const char *function, uint32_t jobs);
	/* Of its functions that have no concurrency of their own. */
	void (*account)(void *context, const char *account, uint32_t jobs);
};

/* Everything that the pool knows now: what has neither jobs nor environments may be missing. */
void thaw_pool_watch(struct thaw_pool *pool, const struct thaw_pool_watch *watch, void *context);

/* Environments of one target by state. */
void thaw_pool_count_target(struct thaw_pool *pool, const char *key,
			    uint32_t environments[THAW_POOL_STATES]);

#endif
