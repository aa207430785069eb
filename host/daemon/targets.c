/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/targets.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/code.h"
#include "host/daemon/network.h"
#include "host/daemon/service.h"
#include "host/operations/code.h"
#include "host/operations/function_config.h"
#include "host/operations/operation.h"
#include "host/operations/vpc.h"
#include "host/store/aliases.h"
#include "host/store/provisioned.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"

#define BUCKETS   4096
#define NAMES_MAX 65536 /* names remembered; then all are forgotten and learned again */
#define PAGE      100

/* What a name stands for: one version, or two with a weight. */
struct name {
	struct name *next;
	char *text; /* account/name:qualifier */
	int64_t function_id;
	struct thaw_target *first, *second;
	double second_weight;
};

struct thaw_targets {
	struct thaw_service *service;
	pthread_mutex_t lock;
	struct name *names[BUCKETS];
	size_t name_count;
	struct thaw_target *known; /* the newest of each version; a reference each */
	/* A change while a name was being read: what was read must not be kept. */
	uint64_t generation;
};

static unsigned int hash(const char *text)
{
	unsigned int h = 2166136261u;

	while (*text)
		h = (h ^ (unsigned char)*text++) * 16777619u;
	return h % BUCKETS;
}

/* --- one target --- */

struct thaw_target *thaw_target_hold(struct thaw_target *target)
{
	pthread_mutex_lock(&target->service->targets->lock);
	target->references++;
	pthread_mutex_unlock(&target->service->targets->lock);
	return target;
}

static void target_free(struct thaw_target *target)
{
	if (target->files_open)
		thaw_snapshot_close(&target->files);
	thaw_cleanup_close(&target->root);
	thaw_function_clear(&target->function);
	pthread_mutex_destroy(&target->lock);
	free(target);
}

static void target_release_locked(struct thaw_target *target)
{
	if (target && --target->references == 0)
		target_free(target);
}

void thaw_target_release(struct thaw_target *target)
{
	if (!target)
		return;
	pthread_mutex_t *lock = &target->service->targets->lock;
	pthread_mutex_lock(lock);
	bool last = --target->references == 0;
	pthread_mutex_unlock(lock);
	if (last)
		target_free(target);
}

void thaw_target_for_pool(struct thaw_target *target, struct thaw_pool_target *out)
{
	*out = (struct thaw_pool_target){
		.account = target->function.account,
		.function = target->function.name,
		.key = target->key,
		.memory_mib = thaw_function_guest_mib(&target->function),
		.data = target,
	};
	/* Limits are all that changes of a target: see targets_know. */
	pthread_mutex_lock(&target->service->targets->lock);
	out->reserved = target->reserved;
	out->unreserved = target->unreserved;
	pthread_mutex_unlock(&target->service->targets->lock);
}

static int target_try_code(const struct thaw_target *target, int *drive, int *layers,
			   struct thaw_error *err)
{
	const struct thaw_state *state = &target->service->host.state;

	*drive = *layers = -1;
	int rc = thaw_code_open(state, target->code_digest, drive, err);
	if (rc == 0 && *target->layers_digest) {
		rc = thaw_code_open(state, target->layers_digest, layers, err);
		if (rc < 0)
			thaw_cleanup_close(drive);
	}
	return rc;
}

int thaw_target_open_code(const struct thaw_target *target, int *drive, int *layers,
			  struct thaw_error *err)
{
	int rc = target_try_code(target, drive, layers, err);

	/* It is gone, or none that we have made. */
	if (rc == -ENOENT || rc == -EBADMSG)
		rc = thaw_code_again(target->service, target->function_id, target->version, err);
	else
		return rc;
	return rc < 0 ? rc : target_try_code(target, drive, layers, err);
}

/* The combined drive of the layers: the list has none or one. */
static void target_layers(struct thaw_target *target, const char *text)
{
	json_t *list = thaw_json_stored(text);
	const char *digest = json_string_value(json_array_get(list, 0));

	snprintf(target->layers_digest, sizeof(target->layers_digest), "%s", digest ?: "");
	json_decref(list);
}

static int target_limits(struct thaw_targets *targets, struct thaw_target *target, int64_t reserved,
			 struct thaw_error *err)
{
	uint32_t limit = targets->service->config->concurrency;
	int64_t sum;

	int rc = thaw_functions_reserved_sum(targets->service->store, target->function.account, 0,
					     &sum, err);
	if (rc < 0)
		return rc;
	target->reserved = reserved;
	target->unreserved = sum < limit ? (uint32_t)(limit - sum) : 0;
	return 0;
}

static enum thaw_platform_level log_level(const char *name)
{
	if (name && strcmp(name, "DEBUG") == 0)
		return THAW_PLATFORM_DEBUG;
	return name && strcmp(name, "WARN") == 0 ? THAW_PLATFORM_WARN : THAW_PLATFORM_INFO;
}

static int target_make(struct thaw_targets *targets, const struct thaw_function_item *item,
		       struct thaw_target **made, struct thaw_error *err)
{
	const struct thaw_version_record *version = &item->version;
	struct thaw_target *target = calloc(1, sizeof(*target));
	char number[24];

	if (!target)
		return thaw_error_errno(err, ENOMEM, "a function");
	pthread_mutex_init(&target->lock, NULL);
	target->service = targets->service;
	target->references = 1;
	target->root = -1;
	target->function_id = item->function.id;
	target->version = version->version;
	thaw_version_text(version->version, number);
	snprintf(target->key, sizeof(target->key), "%" PRId64 ":%s:%s", item->function.id, number,
		 version->revision_id);
	snprintf(target->code_digest, sizeof(target->code_digest), "%s", version->code_digest);
	snprintf(target->snapshot, sizeof(target->snapshot), "%s", version->snapshot ?: "");
	snprintf(target->state, sizeof(target->state), "%s", version->state);
	target_layers(target, version->layer_digests);
	json_t *config = thaw_json_stored(version->config);
	const json_t *logging = json_object_get(config, "LoggingConfig");
	const char *format = thaw_config_text(logging, "LogFormat");
	const char *tracing = thaw_config_text(json_object_get(config, "TracingConfig"), "Mode");
	snprintf(target->network, sizeof(target->network), "%s", thaw_vpc_network(config) ?: "");
	thaw_network_expect(targets->service, target->network);
	target->log_json = format && strcmp(format, "JSON") == 0;
	target->log_level = log_level(thaw_config_text(logging, "SystemLogLevel"));
	target->traced = tracing && strcmp(tracing, "Active") == 0;
	thaw_function_init(&target->function);
	int rc = thaw_config_function(config, &target->function, err);
	json_decref(config);
	if (rc == 0)
		rc = thaw_function_set_name(&target->function, item->function.name, err);
	if (rc == 0)
		rc = thaw_function_set_version(&target->function, number, err);
	if (rc == 0)
		rc = thaw_function_set_owner(&target->function, item->function.account,
					     targets->service->config->region, err);
	if (rc == 0)
		rc = target_limits(targets, target, item->function.reserved, err);
	if (rc < 0) {
		target_free(target);
		return thaw_error_wrap(err, "function \"%s\"", item->function.name);
	}
	*made = target;
	return 0;
}

/* Under the lock: the one that is known already under this key, or `target` from now on (whose
 * reference is taken). Only its limits may differ, which then are the newer. */
static struct thaw_target *targets_know(struct thaw_targets *targets, struct thaw_target *target)
{
	for (struct thaw_target *known = targets->known; known; known = known->next) {
		if (strcmp(known->key, target->key) != 0)
			continue;
		known->reserved = target->reserved;
		known->unreserved = target->unreserved;
		target_free(target);
		known->references++;
		return known;
	}
	target->next = targets->known;
	targets->known = target;
	target->references++;
	return target;
}

int thaw_targets_get(struct thaw_targets *targets, int64_t function_id, int64_t version,
		     struct thaw_target **target, struct thaw_error *err)
{
	struct thaw_function_item item = {0};
	struct thaw_target *made = NULL;

	int rc =
		thaw_functions_get_by_id(targets->service->store, function_id, version, &item, err);
	if (rc == 0)
		rc = target_make(targets, &item, &made, err);
	thaw_function_item_clear(&item);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&targets->lock);
	*target = targets_know(targets, made);
	pthread_mutex_unlock(&targets->lock);
	return 0;
}

/* --- names --- */

static void name_free_locked(struct name *name)
{
	target_release_locked(name->first);
	target_release_locked(name->second);
	free(name->text);
	free(name);
}

/* All of a function's; of all functions for 0. */
static void names_forget_locked(struct thaw_targets *targets, int64_t function_id)
{
	targets->generation++;
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct name **at = &targets->names[i]; *at;) {
			struct name *name = *at;
			if (function_id && name->function_id != function_id) {
				at = &name->next;
				continue;
			}
			*at = name->next;
			targets->name_count--;
			name_free_locked(name);
		}
	}
}

static struct name *names_find_locked(struct thaw_targets *targets, const char *text)
{
	for (struct name *name = targets->names[hash(text)]; name; name = name->next) {
		if (strcmp(name->text, text) == 0)
			return name;
	}
	return NULL;
}

/* What the qualifier stands for: versions, from the store. */
static int name_read(struct thaw_targets *targets, const char *account, const char *function,
		     const char *qualifier, struct name *name, struct thaw_error *err)
{
	struct thaw_store *store = targets->service->store;
	struct thaw_function_item item = {0};
	struct thaw_alias alias = {0};
	size_t digits = strspn(qualifier, "0123456789");
	int64_t version = THAW_VERSION_LATEST, second = THAW_STORE_UNSET;

	int rc = thaw_functions_get(store, account, function, THAW_VERSION_LATEST, &item, err);
	if (rc < 0)
		return rc;
	name->function_id = item.function.id;
	if (digits && digits < 19 && !qualifier[digits]) {
		version = strtoll(qualifier, NULL, 10) ?: -1;
	} else if (*qualifier && strcmp(qualifier, "$LATEST") != 0) {
		rc = thaw_aliases_get(store, name->function_id, qualifier, &alias, err);
		if (rc == 0) {
			version = alias.version;
			second = alias.second_version;
			name->second_weight = alias.second_weight;
		}
		thaw_alias_clear(&alias);
	}
	thaw_function_item_clear(&item);
	if (rc == 0 && version < 0)
		rc = thaw_error_set(err, ENOENT, "no such version");
	if (rc == 0)
		rc = thaw_targets_get(targets, name->function_id, version, &name->first, err);
	if (rc == 0 && second > 0)
		rc = thaw_targets_get(targets, name->function_id, second, &name->second, err);
	return rc;
}

static struct thaw_target *name_choose(const struct name *name)
{
	if (!name->second)
		return name->first;
	return drand48() < name->second_weight ? name->second : name->first;
}

/* Reads a name and remembers it, unless something changed while it was read. *chosen is a
 * reference. */
static int targets_learn(struct thaw_targets *targets, const char *text, const char *account,
			 const char *function, const char *qualifier, struct thaw_target **chosen,
			 struct thaw_error *err)
{
	struct name *name = calloc(1, sizeof(*name));

	if (name)
		name->text = strdup(text);
	if (!name || !name->text) {
		free(name);
		return thaw_error_errno(err, ENOMEM, "a name");
	}
	pthread_mutex_lock(&targets->lock);
	uint64_t generation = targets->generation;
	pthread_mutex_unlock(&targets->lock);
	int rc = name_read(targets, account, function, qualifier, name, err);
	pthread_mutex_lock(&targets->lock);
	if (rc == 0) {
		*chosen = name_choose(name);
		(*chosen)->references++;
	}
	if (rc == 0 && generation == targets->generation && !names_find_locked(targets, text)) {
		if (targets->name_count >= NAMES_MAX)
			names_forget_locked(targets, 0);
		unsigned int bucket = hash(text);
		name->next = targets->names[bucket];
		targets->names[bucket] = name;
		targets->name_count++;
	} else {
		name_free_locked(name);
	}
	pthread_mutex_unlock(&targets->lock);
	return rc;
}

int thaw_targets_resolve(struct thaw_targets *targets, const char *account, const char *name,
			 const char *qualifier, struct thaw_resolved *resolved,
			 struct thaw_error *err)
{
	struct thaw_target *chosen = NULL;
	char text[256];

	snprintf(text, sizeof(text), "%s/%s:%s", account, name, qualifier);
	pthread_mutex_lock(&targets->lock);
	const struct name *found = names_find_locked(targets, text);
	if (found) {
		chosen = name_choose(found);
		chosen->references++;
	}
	pthread_mutex_unlock(&targets->lock);
	int rc = found ? 0 : targets_learn(targets, text, account, name, qualifier, &chosen, err);
	if (rc < 0)
		return rc;
	resolved->target = chosen;
	thaw_version_text(chosen->version, resolved->executed_version);
	thaw_arn_function(targets->service, account, name, qualifier, resolved->arn);
	return 0;
}

/* --- changes --- */

/* The targets of a function that are not in the store as they are known: taken off the list, for
 * the caller to retire and release. */
static struct thaw_target *targets_take(struct thaw_targets *targets, int64_t function_id)
{
	struct thaw_target *taken = NULL;

	pthread_mutex_lock(&targets->lock);
	names_forget_locked(targets, 0);
	for (struct thaw_target **at = &targets->known; *at;) {
		struct thaw_target *target = *at;
		if (target->function_id != function_id) {
			at = &target->next;
			continue;
		}
		*at = target->next;
		target->next = taken;
		taken = target;
	}
	pthread_mutex_unlock(&targets->lock);
	return taken;
}

/* What has become of a target that is known. */
enum fate {
	GONE,    /* deleted, or another revision: nothing of it may be used again */
	CHANGED, /* the same code and configuration, but a snapshot or a state of its own */
	SAME,
};

static enum fate target_fate(struct thaw_targets *targets, const struct thaw_target *target)
{
	struct thaw_version_record version = {0};
	struct thaw_error err = {0};
	enum fate fate = GONE;

	int rc = thaw_versions_get(targets->service->store, target->function_id, target->version,
				   &version, &err);
	const char *revision = strrchr(target->key, ':') + 1;
	if (rc < 0 && rc != -ENOENT) {
		/* Not to be told now: what runs may run on. */
		fate = CHANGED;
	} else if (rc == 0 && strcmp(version.revision_id, revision) == 0) {
		bool same = strcmp(version.state, target->state) == 0 &&
			    strcmp(version.snapshot ?: "", target->snapshot) == 0;
		fate = same ? SAME : CHANGED;
	}
	thaw_version_clear(&version);
	return fate;
}

/* Known again, so that a later change finds its environments; unless somebody has read it anew
 * meanwhile. Takes the reference. */
static void targets_keep(struct thaw_targets *targets, struct thaw_target *target)
{
	pthread_mutex_lock(&targets->lock);
	struct thaw_target *known = targets->known;
	while (known && strcmp(known->key, target->key) != 0)
		known = known->next;
	if (!known) {
		target->next = targets->known;
		targets->known = target;
		target = NULL;
	}
	pthread_mutex_unlock(&targets->lock);
	thaw_target_release(target);
}

static int provision(struct thaw_targets *targets, const struct thaw_provisioned *wanted);

static void targets_provision(struct thaw_targets *targets, int64_t function_id)
{
	struct thaw_provisioned *list;
	struct thaw_error err = {0};
	size_t count;

	int more = thaw_provisioned_list(targets->service->store, function_id, NULL, PAGE, &list,
					 &count, &err);
	if (more < 0)
		return;
	for (size_t i = 0; i < count; i++)
		provision(targets, &list[i]);
	thaw_provisioned_free(list, count);
}

void thaw_targets_changed(struct thaw_targets *targets, int64_t function_id)
{
	struct thaw_target *taken = targets_take(targets, function_id);
	struct thaw_pool_target none;

	while (taken) {
		struct thaw_target *next = taken->next;
		taken->next = NULL;
		enum fate fate = target_fate(targets, taken);
		if (fate == GONE) {
			thaw_pool_retire(targets->service->pool, taken->key);
		} else {
			/* Whether it is still wanted as provisioned is said below. */
			thaw_target_for_pool(taken, &none);
			thaw_pool_provision(targets->service->pool, &none, 0);
		}
		/* One that has changed is read anew when somebody asks for it. */
		if (fate == SAME)
			targets_keep(targets, taken);
		else
			thaw_target_release(taken);
		taken = next;
	}
	targets_provision(targets, function_id);
}

static int provision(struct thaw_targets *targets, const struct thaw_provisioned *wanted)
{
	struct thaw_error err = {0};
	struct name name = {0};
	struct thaw_function_item item = {0};
	struct thaw_pool_target pool;

	int rc = thaw_functions_get_by_id(targets->service->store, wanted->function_id,
					  THAW_VERSION_LATEST, &item, &err);
	if (rc == 0)
		rc = name_read(targets, item.function.account, item.function.name,
			       wanted->qualifier, &name, &err);
	enum thaw_pool_refusal refusal = THAW_POOL_FAILED;
	if (rc == 0) {
		thaw_target_for_pool(name.first, &pool);
		refusal = thaw_pool_provision(targets->service->pool, &pool,
					      (uint32_t)wanted->requested);
	}
	bool good = rc == 0 && refusal == THAW_POOL_ACCEPTED;
	thaw_provisioned_set_status(targets->service->store, wanted->function_id, wanted->qualifier,
				    wanted->requested, good ? "READY" : "FAILED",
				    good ? NULL : "The environments could not be provisioned.",
				    NULL);
	thaw_function_item_clear(&item);
	thaw_target_release(name.first);
	thaw_target_release(name.second);
	return rc;
}

int thaw_targets_provision_all(struct thaw_targets *targets, struct thaw_error *err)
{
	cleanup_free char *qualifier = NULL;
	struct thaw_provisioned *list;
	int64_t after = -1;
	size_t count;
	int more;

	do {
		more = thaw_provisioned_list_all(targets->service->store, after, qualifier, PAGE,
						 &list, &count, err);
		if (more < 0)
			return more;
		for (size_t i = 0; i < count; i++)
			provision(targets, &list[i]);
		if (count) {
			after = list[count - 1].function_id;
			free(qualifier);
			qualifier = strdup(list[count - 1].qualifier);
		}
		thaw_provisioned_free(list, count);
	} while (more && qualifier);
	return 0;
}

struct thaw_targets *thaw_targets_new(struct thaw_service *service, struct thaw_error *err)
{
	struct thaw_targets *targets = calloc(1, sizeof(*targets));

	if (!targets) {
		thaw_error_errno(err, ENOMEM, "functions");
		return NULL;
	}
	srand48((long)thaw_monotonic_ns());
	targets->service = service;
	pthread_mutex_init(&targets->lock, NULL);
	return targets;
}

void thaw_targets_free(struct thaw_targets *targets)
{
	if (!targets)
		return;
	names_forget_locked(targets, 0);
	while (targets->known) {
		struct thaw_target *target = targets->known;
		targets->known = target->next;
		target_release_locked(target);
	}
	pthread_mutex_destroy(&targets->lock);
	free(targets);
}
