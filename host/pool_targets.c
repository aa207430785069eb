/* SPDX-License-Identifier: Apache-2.0 */
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/pool_internal.h"
#include "lib/clock.h"

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Finds the entry of `size` bytes whose first member is `name`, or makes it, zeroed. */
static void *tree_get(void **tree, const char *name, size_t size, bool *made)
{
	void **found = tfind(&name, tree, by_name);

	*made = false;
	if (found)
		return *found;
	char **entry = calloc(1, size);
	if (!entry)
		return NULL;
	*entry = strdup(name);
	if (!*entry || !tsearch(entry, tree, by_name)) {
		free(*entry);
		free(entry);
		return NULL;
	}
	*made = true;
	return entry;
}

static void tree_drop(void **tree, void *entry)
{
	tdelete(entry, tree, by_name);
	free(*(char **)entry);
	free(entry);
}

static void function_drop(struct thaw_pool *pool, struct pool_function *function)
{
	struct pool_account *account = function->account;

	if (function->targets)
		return;
	tree_drop(&pool->functions, function);
	if (--account->functions == 0)
		tree_drop(&pool->accounts, account);
}

static struct pool_function *function_get(struct thaw_pool *pool,
					  const struct thaw_pool_target *wanted)
{
	char *name = NULL;
	bool made;

	if (asprintf(&name, "%s\n%s", wanted->account, wanted->function) < 0)
		return NULL;
	struct pool_function *function = tree_get(&pool->functions, name, sizeof(*function), &made);
	free(name);
	if (!function || !made)
		return function;
	function->account =
		tree_get(&pool->accounts, wanted->account, sizeof(*function->account), &made);
	if (!function->account) {
		tree_drop(&pool->functions, function);
		return NULL;
	}
	function->account->functions++;
	function->reserved = -1;
	function->starts_left = pool->limits.scale_up;
	function->starts_at_ns = thaw_monotonic_ns();
	return function;
}

/* A function's share of the account's concurrency goes when it gets concurrency of its own. */
static void function_reserve(struct pool_function *function, int64_t reserved)
{
	if ((function->reserved < 0) != (reserved < 0)) {
		function->account->use += reserved < 0 ? function->use : -function->use;
		function->account->jobs += reserved < 0 ? function->jobs : -function->jobs;
	}
	function->reserved = reserved;
}

void pool_target_drop(struct thaw_pool *pool, struct pool_target *target)
{
	struct pool_function *function = target->function;

	if (target->environments || target->jobs || target->provisioned)
		return;
	*target->link = target->next;
	if (target->next)
		target->next->link = target->link;
	pool->ops->release(target->data);
	/* A retired target has left the tree: another may have its key. */
	if (!target->retired)
		tdelete(target, &pool->keys, by_name);
	free(target->key);
	free(target);
	function->targets--;
	function_drop(pool, function);
}

struct pool_target *pool_target_get(struct thaw_pool *pool, const struct thaw_pool_target *wanted)
{
	bool made;

	struct pool_function *function = function_get(pool, wanted);
	if (!function)
		return NULL;
	struct pool_target *target = tree_get(&pool->keys, wanted->key, sizeof(*target), &made);
	if (!target) {
		function_drop(pool, function);
		return NULL;
	}
	if (made) {
		target->function = function;
		target->memory_mib = wanted->memory_mib;
		target->data = wanted->data;
		pool->ops->hold(target->data);
		target->next = pool->targets;
		target->link = &pool->targets;
		if (target->next)
			target->next->link = &target->next;
		pool->targets = target;
		function->targets++;
	}
	function_reserve(target->function, wanted->reserved);
	return target;
}

struct pool_target *pool_target_find(struct thaw_pool *pool, const char *key)
{
	struct pool_target **found = tfind(&key, &pool->keys, by_name);

	return found ? *found : NULL;
}

/* What the target uses of the concurrency if it has so many jobs and environments kept ready. */
static uint32_t target_use(uint32_t jobs, uint32_t provisioned)
{
	return jobs > provisioned ? jobs : provisioned;
}

void pool_target_set_use(struct pool_target *target, uint32_t jobs, uint32_t provisioned)
{
	uint32_t use = target_use(jobs, provisioned);

	target->function->use += use - target->use;
	target->function->jobs += jobs - target->jobs;
	if (target->function->reserved < 0) {
		target->function->account->use += use - target->use;
		target->function->account->jobs += jobs - target->jobs;
	}
	target->jobs = jobs;
	target->provisioned = provisioned;
	target->use = use;
}

enum thaw_pool_refusal pool_target_may_use(const struct pool_target *target, uint32_t jobs,
					   uint32_t provisioned, uint32_t unreserved)
{
	const struct pool_function *function = target->function;
	uint32_t use = target_use(jobs, provisioned);

	if (use <= target->use && function->reserved != 0)
		return THAW_POOL_ACCEPTED;
	uint64_t more = use - target->use;
	if (function->reserved >= 0)
		return function->use + more <= (uint64_t)function->reserved ? THAW_POOL_ACCEPTED
									    : THAW_POOL_RESERVED;
	return function->account->use + more <= unreserved ? THAW_POOL_ACCEPTED
							   : THAW_POOL_CONCURRENT;
}

uint32_t pool_target_alive(const struct pool_target *target)
{
	return target->count[THAW_POOL_STARTING] + target->count[THAW_POOL_IDLE] +
	       target->count[THAW_POOL_BUSY];
}

void pool_target_unkey(struct thaw_pool *pool, struct pool_target *target)
{
	tdelete(target, &pool->keys, by_name);
	target->retired = true;
}

struct watching {
	const struct thaw_pool_watch *watch;
	void *context;
};

static void watch_function(const void *node, VISIT order, void *opaque)
{
	const struct pool_function *function = *(void *const *)node;
	const struct watching *watching = opaque;

	if (order == postorder || order == leaf)
		watching->watch->function(watching->context, function->account->name,
					  strchr(function->name, '\n') + 1, function->jobs);
}

static void watch_account(const void *node, VISIT order, void *opaque)
{
	const struct pool_account *account = *(void *const *)node;
	const struct watching *watching = opaque;

	if (order == postorder || order == leaf)
		watching->watch->account(watching->context, account->name, account->jobs);
}

void thaw_pool_watch(struct thaw_pool *pool, const struct thaw_pool_watch *watch, void *context)
{
	struct watching watching = {watch, context};

	pthread_mutex_lock(&pool->lock);
	for (const struct pool_target *t = pool->targets; t; t = t->next) {
		if (!t->retired)
			watch->target(context, t->data, t->provisioned, t->count);
	}
	twalk_r(pool->functions, watch_function, &watching);
	twalk_r(pool->accounts, watch_account, &watching);
	pthread_mutex_unlock(&pool->lock);
}
