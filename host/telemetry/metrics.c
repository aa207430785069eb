/* SPDX-License-Identifier: Apache-2.0 */
#include "host/telemetry/metrics.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "host/telemetry/metrics_internal.h"
#include "lib/error.h"

struct account {
	char *name;
	uint32_t series;
};

struct thaw_metrics *thaw_metrics_new(const struct thaw_metrics_limits *limits,
				      struct thaw_error *err)
{
	struct thaw_metrics *metrics = calloc(1, sizeof(*metrics));

	if (!metrics) {
		thaw_error_errno(err, ENOMEM, "making the metrics");
		return NULL;
	}
	metrics->limits.account_series =
		limits && limits->account_series ? limits->account_series : 512;
	metrics->limits.series = limits && limits->series ? limits->series : 4096;
	pthread_rwlock_init(&metrics->lock, NULL);
	pthread_mutex_init(&metrics->steps_lock, NULL);
	return metrics;
}

static void account_free(void *entry)
{
	struct account *account = entry;

	free(account->name);
	free(account);
}

void thaw_metrics_free(struct thaw_metrics *metrics)
{
	if (!metrics)
		return;
	tdestroy(metrics->tree, free);
	tdestroy(metrics->accounts, account_free);
	pthread_rwlock_destroy(&metrics->lock);
	pthread_mutex_destroy(&metrics->steps_lock);
	free(metrics);
}

/* --- series -------------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
	const struct thaw_metrics_series *left = a, *right = b;

	int order = strcmp(left->account, right->account);
	if (order == 0)
		order = strcmp(left->function, right->function);
	return order ? order : strcmp(left->version, right->version);
}

static int by_account(const void *a, const void *b)
{
	const struct account *left = a, *right = b;

	return strcmp(left->name, right->name);
}

static struct thaw_metrics_series *series_find(struct thaw_metrics *metrics,
					       const struct thaw_metrics_series *key)
{
	void **found = tfind(key, &metrics->tree, by_key);

	return found ? *found : NULL;
}

static struct account *account_get(struct thaw_metrics *metrics, const char *name)
{
	struct account key = {.name = (char *)name};
	void **found = tfind(&key, &metrics->accounts, by_account);

	if (found)
		return *found;
	struct account *account = calloc(1, sizeof(*account));
	if (!account)
		return NULL;
	account->name = strdup(name);
	if (!account->name || !tsearch(account, &metrics->accounts, by_account)) {
		account_free(account);
		return NULL;
	}
	return account;
}

static void account_drop(struct thaw_metrics *metrics, struct account *account)
{
	if (account && account->series == 0) {
		tdelete(account, &metrics->accounts, by_account);
		account_free(account);
	}
}

static char *name_copy(char **to, const char *name)
{
	char *copy = *to;
	size_t size = strnlen(name, THAW_METRICS_NAME_MAX);

	memcpy(copy, name, size);
	copy[size] = 0;
	*to += size + 1;
	return copy;
}

static struct thaw_metrics_series *series_make(const struct thaw_metrics_series *key)
{
	size_t names = strnlen(key->account, THAW_METRICS_NAME_MAX) +
		       strnlen(key->function, THAW_METRICS_NAME_MAX) +
		       strnlen(key->version, THAW_METRICS_NAME_MAX) + 3;
	struct thaw_metrics_series *series = calloc(1, sizeof(*series) + names);

	if (!series)
		return NULL;
	char *to = (char *)(series + 1);
	series->account = name_copy(&to, key->account);
	series->function = name_copy(&to, key->function);
	series->version = name_copy(&to, key->version);
	return series;
}

static struct thaw_metrics_series *series_add(struct thaw_metrics *metrics, struct account *account,
					      const struct thaw_metrics_series *key)
{
	struct thaw_metrics_series *series = series_find(metrics, key);

	if (series)
		return series;
	series = series_make(key);
	if (!series)
		return NULL;
	/* A name that was cut may be there already. */
	void **found = tsearch(series, &metrics->tree, by_key);
	if (!found || *found != series) {
		free(series);
		return found ? *found : NULL;
	}
	metrics->count++;
	account->series++;
	return series;
}

/* Under the write lock: the series, or the one for what is beyond the limits. */
static struct thaw_metrics_series *series_make_room(struct thaw_metrics *metrics,
						    const struct thaw_metrics_series *key)
{
	const char *version = *key->version ? THAW_METRICS_OTHER : "";
	const struct thaw_metrics_series account_other = {
		.account = key->account,
		.function = THAW_METRICS_OTHER,
		.version = version,
	};
	const struct thaw_metrics_series other = {
		.account = THAW_METRICS_OTHER,
		.function = THAW_METRICS_OTHER,
		.version = version,
	};
	bool room = metrics->count < metrics->limits.series;
	struct thaw_metrics_series *series = series_find(metrics, key);

	/* Made since the read lock was given back. */
	if (series)
		return series;
	struct account *account = room ? account_get(metrics, key->account) : NULL;
	if (account && account->series < metrics->limits.account_series)
		series = series_add(metrics, account, key);
	else if (account)
		series = series_add(metrics, account, &account_other);
	else
		series = series_find(metrics, &account_other);
	account_drop(metrics, account);
	if (!series) {
		account = account_get(metrics, THAW_METRICS_OTHER);
		series = account ? series_add(metrics, account, &other) : NULL;
		account_drop(metrics, account);
	}
	return series;
}

/* The series, with the lock held for reading; NULL (not held): no memory. */
static struct thaw_metrics_series *series_get(struct thaw_metrics *metrics, const char *account,
					      const char *function, const char *version)
{
	const struct thaw_metrics_series key = {
		.account = account,
		.function = function,
		.version = version,
	};

	pthread_rwlock_rdlock(&metrics->lock);
	struct thaw_metrics_series *series = series_find(metrics, &key);
	if (series)
		return series;
	pthread_rwlock_unlock(&metrics->lock);
	/* Nobody may remove it before it is counted in: for once under the write lock. */
	pthread_rwlock_wrlock(&metrics->lock);
	series = series_make_room(metrics, &key);
	if (!series)
		pthread_rwlock_unlock(&metrics->lock);
	return series;
}

static void series_put(struct thaw_metrics *metrics)
{
	pthread_rwlock_unlock(&metrics->lock);
}

/* --- updates ------------------------------------------------------------------------------- */

static void count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

void thaw_metrics_invocation(struct thaw_metrics *metrics,
			     const struct thaw_metrics_invocation *invocation)
{
	struct thaw_metrics_series *series =
		series_get(metrics, invocation->account, invocation->function, invocation->version);

	if (!series)
		return;
	count(&series->starts[invocation->start]);
	if (invocation->error)
		count(&series->errors);
	if (invocation->spilled)
		count(&series->spilled);
	thaw_histogram_add(&series->duration, invocation->duration_us);
	if (invocation->has_init)
		thaw_histogram_add(&series->init, invocation->init_us);
	if (invocation->has_restore)
		thaw_histogram_add(&series->restore, invocation->restore_us);
	series_put(metrics);
}

void thaw_metrics_throttle(struct thaw_metrics *metrics, const char *account, const char *function,
			   const char *version, enum thaw_pool_refusal reason)
{
	struct thaw_metrics_series *series = series_get(metrics, account, function, version);

	if (!series)
		return;
	count(&series->throttles[reason]);
	series_put(metrics);
}

void thaw_metrics_async_received(struct thaw_metrics *metrics, const char *account,
				 const char *function)
{
	struct thaw_metrics_series *series = series_get(metrics, account, function, "");

	if (!series)
		return;
	count(&series->received);
	series_put(metrics);
}

void thaw_metrics_async_age(struct thaw_metrics *metrics, const char *account, const char *function,
			    uint64_t us)
{
	struct thaw_metrics_series *series = series_get(metrics, account, function, "");

	if (!series)
		return;
	thaw_histogram_add(&series->age, us);
	series_put(metrics);
}

void thaw_metrics_async_dropped(struct thaw_metrics *metrics, const char *account,
				const char *function, enum thaw_async_drop reason)
{
	struct thaw_metrics_series *series = series_get(metrics, account, function, "");

	if (!series)
		return;
	count(&series->drops[reason]);
	series_put(metrics);
}

void thaw_metrics_dead_letter_error(struct thaw_metrics *metrics, const char *account,
				    const char *function)
{
	struct thaw_metrics_series *series = series_get(metrics, account, function, "");

	if (!series)
		return;
	count(&series->dead_letter);
	series_put(metrics);
}

void thaw_metrics_destination_failure(struct thaw_metrics *metrics, const char *account,
				      const char *function)
{
	struct thaw_metrics_series *series = series_get(metrics, account, function, "");

	if (!series)
		return;
	count(&series->destination);
	series_put(metrics);
}

/* The step of that name; the last one takes what is beyond all. */
static struct thaw_metrics_step *step_get(struct thaw_metrics *metrics, const char *name)
{
	size_t known = atomic_load_explicit(&metrics->step_count, memory_order_acquire);

	for (size_t i = 0; i < known; i++) {
		if (strcmp(metrics->steps[i].name, name) == 0)
			return &metrics->steps[i];
	}
	if (known == THAW_METRICS_STEPS)
		return &metrics->steps[known - 1];
	pthread_mutex_lock(&metrics->steps_lock);
	size_t i = 0, there = atomic_load_explicit(&metrics->step_count, memory_order_relaxed);
	while (i < there && strcmp(metrics->steps[i].name, name) != 0)
		i++;
	if (i == there && there < THAW_METRICS_STEPS) {
		strncpy(metrics->steps[i].name,
			i + 1 < THAW_METRICS_STEPS ? name : THAW_METRICS_OTHER,
			THAW_PHASE_NAME_MAX - 1);
		/* The name is there before the count says so. */
		atomic_store_explicit(&metrics->step_count, i + 1, memory_order_release);
	}
	if (i == THAW_METRICS_STEPS)
		i--;
	pthread_mutex_unlock(&metrics->steps_lock);
	return &metrics->steps[i];
}

void thaw_metrics_restore_steps(struct thaw_metrics *metrics, const struct thaw_phases *phases)
{
	for (size_t i = 0; i < phases->count; i++)
		thaw_histogram_add(&step_get(metrics, phases->item[i].name)->histogram,
				   phases->item[i].ns / 1000);
}

void thaw_metrics_transition(struct thaw_metrics *metrics, enum thaw_pool_state from,
			     enum thaw_pool_state to, uint64_t ns)
{
	thaw_histogram_add(&metrics->transitions[from][to], ns / 1000);
}

/* --- lists --------------------------------------------------------------------------------- */

struct walk {
	const char *account, *function; /* NULL: any */
	struct thaw_metrics_series **list;
	size_t count;
};

static void walk_series(const void *node, VISIT visit, void *opaque)
{
	struct walk *walk = opaque;
	struct thaw_metrics_series *series = *(struct thaw_metrics_series *const *)node;

	/* In order: between the two sides of a node. */
	if (visit != postorder && visit != leaf)
		return;
	if (walk->account && strcmp(walk->account, series->account) != 0)
		return;
	if (walk->function && strcmp(walk->function, series->function) != 0)
		return;
	walk->list[walk->count++] = series;
}

static int walk_all(struct thaw_metrics *metrics, struct walk *walk)
{
	walk->list = calloc((size_t)metrics->count + 1, sizeof(struct thaw_metrics_series *));
	if (!walk->list)
		return -ENOMEM;
	twalk_r(metrics->tree, walk_series, walk);
	return 0;
}

int thaw_metrics_list(struct thaw_metrics *metrics, const char *account,
		      struct thaw_metrics_series ***list, size_t *size)
{
	struct walk walk = {.account = account};

	int rc = walk_all(metrics, &walk);
	*list = walk.list;
	*size = walk.count;
	return rc;
}

void thaw_metrics_remove_function(struct thaw_metrics *metrics, const char *account,
				  const char *function)
{
	struct walk walk = {.account = account, .function = function};

	pthread_rwlock_wrlock(&metrics->lock);
	/* Without memory they stay: they are bounded. */
	if (walk_all(metrics, &walk) == 0) {
		struct account key = {.name = (char *)account};
		void **found = tfind(&key, &metrics->accounts, by_account);
		struct account *entry = found ? *found : NULL;
		for (size_t i = 0; i < walk.count; i++) {
			tdelete(walk.list[i], &metrics->tree, by_key);
			free(walk.list[i]);
		}
		metrics->count -= (uint32_t)walk.count;
		if (entry)
			entry->series -= (uint32_t)walk.count;
		account_drop(metrics, entry);
		free(walk.list);
	}
	pthread_rwlock_unlock(&metrics->lock);
}
