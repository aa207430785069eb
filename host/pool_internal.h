/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the pool share. pool.c has environments and the line before them;
 * pool_targets.c has the book of who they are for: accounts, functions, targets, and what each uses
 * of its concurrency. All of it is under the pool's lock.
 */
#ifndef THAW_HOST_POOL_INTERNAL_H
#define THAW_HOST_POOL_INTERNAL_H

#include <pthread.h>
#include <semaphore.h>

#include "host/pool.h"

struct pool_account {
	char *name;
	uint32_t use;  /* of the concurrency, by functions that have none reserved */
	uint32_t jobs; /* of these functions */
	uint32_t functions;
	uint64_t next_turn; /* in the line */
};

struct pool_function {
	char *name; /* with the account's in front */
	struct pool_account *account;
	int64_t reserved;
	uint32_t use;
	uint32_t jobs;
	uint32_t targets;
	/* New environments: a bucket that fills in SCALE_UP_NS. */
	double starts_left;
	uint64_t starts_at_ns;
};

struct pool_target {
	char *key;
	struct pool_function *function;
	uint32_t memory_mib;
	void *data;
	struct pool_environment *environments; /* the one used last comes first */
	uint32_t count[THAW_POOL_STATES];
	uint32_t jobs; /* under way or in line */
	uint32_t provisioned;
	uint32_t use; /* of the concurrency: the larger of these two */
	bool retired;
	uint64_t retry_ns, retry_after_ns; /* when to try again to keep one ready */
	struct pool_target *next, **link;
};

struct pool_environment {
	struct thaw_pool *pool;
	struct pool_target *target;
	enum thaw_pool_state state;
	uint64_t since_ns;
	struct thaw_pool_job *job; /* handed over, and not taken yet */
	bool leave;
	sem_t wake; /* its thread; told of too often rather than not at all */
	struct pool_environment *next, **link;
};

struct thaw_pool {
	const struct thaw_pool_ops *ops;
	void *context;
	struct thaw_pool_limits limits;
	pthread_mutex_t lock;
	pthread_cond_t changed;     /* fewer jobs or environments: for whoever drains */
	pthread_cond_t keeper_wake; /* something to start, or a nearer deadline */
	pthread_t keeper;
	pthread_attr_t thread_attributes;
	pthread_condattr_t monotonic;
	void *accounts, *functions,
		*keys; /* tsearch(3): by name and key; all begin with the name */
	struct pool_target *targets;
	struct thaw_pool_job *line;       /* for room, by turn */
	uint64_t turn;                    /* of the last that was served */
	uint64_t memory_mib, leaving_mib; /* the latter of the former */
	uint32_t environments, jobs;
	bool stopping, quit;
	uint64_t keeper_ns; /* when the keeper looks next */
	struct thaw_pool_counts counts;
};

/* The target of that key, known from now on until pool_target_drop finds it of no use to anybody.
 * Its function's reservation is the one given. NULL: no memory. */
struct pool_target *pool_target_get(struct thaw_pool *pool, const struct thaw_pool_target *wanted);
/* NULL: it is not known. */
struct pool_target *pool_target_find(struct thaw_pool *pool, const char *key);
/* Forgets it if it has no environments, no jobs, and none is to be kept ready. */
void pool_target_drop(struct thaw_pool *pool, struct pool_target *target);
/* It is retired: another may have its key from now on. */
void pool_target_unkey(struct thaw_pool *pool, struct pool_target *target);

/* It has so many jobs, and so many environments are to be kept ready. */
void pool_target_set_use(struct pool_target *target, uint32_t jobs, uint32_t provisioned);
/* Whether it may have. */
enum thaw_pool_refusal pool_target_may_use(const struct pool_target *target, uint32_t jobs,
					   uint32_t provisioned, uint32_t unreserved);
/* Environments that have not begun to close. */
uint32_t pool_target_alive(const struct pool_target *target);

#endif
