/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/snapshots.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/api/validation.h"
#include "host/code.h"
#include "host/daemon/archives.h"
#include "host/daemon/network.h"
#include "host/daemon/service.h"
#include "host/daemon/targets.h"
#include "host/snapshot_create.h"
#include "host/store/functions.h"
#include "host/store/usage.h"
#include "host/telemetry/logs.h"
#include "host/timeouts.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"

#define STACK (1u << 20)
#define PAGE  100
/* Between tries of the host to make one that is missing; then twice that, and so on. */
#define REMAKE_MS      60000
#define REMAKE_DOUBLED 6     /* 64 minutes at most */
#define LOOK_AGAIN_MS  30000 /* after a state that could not be written */
/* Of ours in the state directory, where a person may keep others. */
#define PREFIX "thawd-"

/* A version whose snapshot is to be made again. */
struct again {
	struct again *next;
	int64_t function_id, version;
	uint64_t due_ns; /* not before */
	unsigned int tries;
};

struct thaw_snapshots {
	struct thaw_service *service;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct again *again;
	bool look;    /* for versions that are Pending */
	bool collect; /* what is superfluous */
	bool ending;
	uint64_t look_ns; /* when to look again, as a state could not be written; 0: not at all */
	struct thaw_stop stop;
};

/* --- making one --- */

/* A reason is told in JSON: what is not UTF-8, or was cut within a character, keeps its ASCII. */
static void reason_clean(char *text)
{
	if (thaw_utf8_valid(text))
		return;
	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		if (*c >= 0x80)
			*c = '?';
	}
}

/* What its init prints goes to the function's log. */
struct making {
	struct thaw_service *service;
	struct thaw_target *target;
	struct thaw_log_stream *log;
	struct thaw_stop *stop;
};

static void making_log(void *context, Thaw__Agent__Log__Source source, const uint8_t *data,
		       size_t size, uint64_t dropped)
{
	struct making *making = context;

	(void)source;
	(void)dropped;
	thaw_log_stream_write(making->log, THAW_LOG_KIND_FUNCTION, NULL, data, size);
}

static int making_open_log(struct making *making, struct thaw_error *err)
{
	const struct thaw_function *function = &making->target->function;
	char name[96], id[THAW_REQUEST_ID_TEXT], digits[33];
	time_t now = time(NULL);
	size_t count = 0;
	struct tm utc;

	thaw_request_id_make(id);
	for (const char *at = id; *at; at++) {
		if (*at != '-')
			digits[count++] = *at;
	}
	digits[count] = 0;
	gmtime_r(&now, &utc);
	size_t used = strftime(name, sizeof(name), "%Y/%m/%d/", &utc);
	snprintf(name + used, sizeof(name) - used, "[%s]%s", function->version, digits);
	making->log = thaw_log_stream_open(making->service->logs, function->account, function->name,
					   name, err);
	return making->log ? 0 : -EIO;
}

static int making_run(struct making *making, const char *name, bool *function_failed,
		      struct thaw_error *err)
{
	const struct thaw_target *target = making->target;
	const struct thaw_host *host = &making->service->host;
	cleanup_close int drive = -1, layers = -1;
	struct thaw_attachment attachment;
	struct thaw_manifest manifest;
	struct thaw_snapshot_plan plan = {
		.name = name,
		.function = &target->function,
		.serial = -1,
		.stop = making->stop,
		.log = making_log,
		.log_context = making,
	};

	int rc = thaw_target_open_code(target, &drive, &layers, err);
	if (rc == 0)
		rc = thaw_attachment_make(making->service, target->network, &attachment, err);
	if (rc < 0)
		return rc;
	plan.network = thaw_attachment_network(&attachment);
	plan.code = (struct thaw_cold_code){
		.drive = drive,
		.digest = target->code_digest,
		.layers = layers,
		.layers_digest = target->layers_digest,
	};
	rc = thaw_snapshot_create(host, &plan, &manifest, function_failed, err);
	if (rc == 0)
		thaw_manifest_clear(&manifest);
	thaw_attachment_drop(making->service, &attachment);
	return rc;
}

static int version_finish(struct thaw_snapshots *snapshots, const struct thaw_target *target,
			  int made, bool function_failed, const char *name,
			  const struct thaw_error *why, struct thaw_error *err)
{
	struct thaw_version_record old = {0}, next;
	struct thaw_store *store = snapshots->service->store;
	const struct thaw_version_expected expected = {.revision_id =
							       strrchr(target->key, ':') + 1};

	int rc = thaw_versions_get(store, target->function_id, target->version, &old, err);
	if (rc < 0)
		return rc;
	next = old; /* borrows */
	bool first = strcmp(old.state, "Active") != 0;
	next.state_reason = next.state_reason_code = NULL;
	if (made == 0) {
		next.state = (char *)"Active";
		next.snapshot = (char *)name;
	} else if (first) {
		next.state = (char *)"Failed";
		next.state_reason = (char *)why->message;
		next.state_reason_code =
			(char *)(function_failed ? "FunctionError" : "InternalError");
	} else {
		next.snapshot = NULL; /* what cannot be made again starts cold */
	}
	rc = thaw_versions_set_state(store, target->function_id, target->version, &expected, &next,
				     NULL, err);
	thaw_version_clear(&old);
	return rc;
}

/* False: the host failed to make one for a version that had one, and it is to be tried again. */
static bool snapshots_make(struct thaw_snapshots *snapshots, int64_t function_id, int64_t version)
{
	struct making making = {.service = snapshots->service, .stop = &snapshots->stop};
	struct thaw_error why = {0}, err = {0};
	bool function_failed = false;
	char name[THAW_FUNCTION_NAME_MAX + 1], id[THAW_REQUEST_ID_TEXT];

	int rc = thaw_targets_get(snapshots->service->targets, function_id, version, &making.target,
				  &err);
	if (rc == -ENOENT)
		return true; /* deleted meanwhile */
	if (rc < 0) {
		thaw_log(THAW_LOG_ERROR, "making a snapshot: %s", err.message);
		snapshots->look_ns = thaw_deadline(LOOK_AGAIN_MS);
		return false;
	}
	uint64_t began = thaw_monotonic_ns();
	thaw_request_id_make(id);
	/* A name of its own for each: an old one may be in use until its last environment goes. */
	snprintf(name, sizeof(name), PREFIX "%" PRId64 "-%" PRId64 "-%.8s", function_id, version,
		 id);
	making_open_log(&making, &err);
	int made = making_run(&making, name, &function_failed, &why);
	reason_clean(why.message);
	thaw_log_stream_close(making.log);
	const struct thaw_function *function = &making.target->function;
	if (made == 0)
		thaw_log(THAW_LOG_INFO,
			 "function \"%s\" of %s, version %s: snapshot made in %.1f s",
			 function->name, function->account, function->version,
			 (double)(thaw_monotonic_ns() - began) / 1e9);
	else
		thaw_log(THAW_LOG_WARN, "function \"%s\" of %s, version %s: %s", function->name,
			 function->account, function->version, why.message);
	/* One that is given up stays as it is, for the next start. */
	rc = made < 0 && thaw_stop_check(&snapshots->stop, NULL) < 0
		     ? 0
		     : version_finish(snapshots, making.target, made, function_failed, name, &why,
				      &err);
	if (rc < 0 && made == 0)
		thaw_snapshot_remove(&snapshots->service->host.state, name, NULL);
	/* Of a version that is gone, or another by now, there is nothing to be written. */
	if (rc < 0 && rc != -ENOENT && rc != -ESTALE) {
		thaw_log(THAW_LOG_ERROR, "function \"%s\" of %s, version %s: %s", function->name,
			 function->account, function->version, err.message);
		snapshots->look_ns = thaw_deadline(LOOK_AGAIN_MS);
	}
	thaw_target_release(making.target);
	thaw_targets_changed(snapshots->service->targets, function_id);
	return made == 0 || function_failed;
}

/* --- what is to be made --- */

static bool snapshots_ending(struct thaw_snapshots *snapshots)
{
	pthread_mutex_lock(&snapshots->lock);
	bool ending = snapshots->ending;
	pthread_mutex_unlock(&snapshots->lock);
	return ending;
}

static void snapshots_look(struct thaw_snapshots *snapshots)
{
	struct thaw_version_record *list;
	struct thaw_error err = {0};
	int64_t function_id = -1, version = -1;
	size_t count;
	int more;

	do {
		more = thaw_versions_unfinished(snapshots->service->store, function_id, version,
						PAGE, &list, &count, &err);
		if (more < 0) {
			thaw_log(THAW_LOG_ERROR, "looking for snapshots to make: %s", err.message);
			snapshots->look_ns = thaw_deadline(LOOK_AGAIN_MS);
			return;
		}
		for (size_t i = 0; i < count; i++) {
			function_id = list[i].function_id;
			version = list[i].version;
			if (!snapshots_ending(snapshots))
				snapshots_make(snapshots, function_id, version);
		}
		thaw_versions_free(list, count);
	} while (more && !snapshots_ending(snapshots));
}

/* Which version a snapshot of ours is of, by its name. */
static bool snapshot_version(const char *name, int64_t *function_id, int64_t *version)
{
	return sscanf(name, PREFIX "%" SCNd64 "-%" SCNd64 "-", function_id, version) == 2;
}

/* At the start: what was made of another kernel, agent or image, or is not this host's at all, is
 * made again. Meanwhile it serves
 * as long as it restores. */
static void snapshots_check(struct thaw_snapshots *snapshots)
{
	const struct thaw_host *host = &snapshots->service->host;
	struct thaw_error err = {0};
	int64_t function_id, version;
	char **names;
	size_t count;

	if (thaw_snapshot_list(&host->state, &names, &count, &err) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		struct thaw_snapshot snapshot;
		if (!snapshots_ending(snapshots) &&
		    snapshot_version(names[i], &function_id, &version) &&
		    thaw_usage_snapshot(snapshots->service->store, names[i], &err) == 1) {
			int rc = thaw_snapshot_open(&host->state, names[i], &snapshot, &err);
			if (rc == 0) {
				rc = thaw_snapshot_check_current(&snapshot, host, &err);
				thaw_snapshot_close(&snapshot);
			}
			if (rc == -ESTALE || rc == -ENOTSUP || rc == -EBADMSG ||
			    rc == -EKEYREJECTED) {
				thaw_log(THAW_LOG_INFO, "snapshot %s is made again: %s", names[i],
					 err.message);
				thaw_snapshots_again(snapshots, function_id, version);
			}
		}
		free(names[i]);
	}
	free(names);
}

/* --- what is superfluous --- */

static void collect_snapshots(struct thaw_service *service)
{
	struct thaw_error err = {0};
	char **names;
	size_t count;

	if (thaw_snapshot_list(&service->host.state, &names, &count, &err) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		if (strncmp(names[i], PREFIX, strlen(PREFIX)) == 0 &&
		    thaw_usage_snapshot(service->store, names[i], &err) == 0 &&
		    thaw_snapshot_remove(&service->host.state, names[i], &err) == 0)
			thaw_log(THAW_LOG_DEBUG, "snapshot %s removed", names[i]);
		free(names[i]);
	}
	free(names);
}

/* One that nobody refers to, nor is about to: whoever makes a drive or keeps an archive holds the
 * lock until its row is written. */
static void collect_drive(struct thaw_service *service, const char *digest)
{
	struct thaw_error err = {0};

	pthread_rwlock_wrlock(&service->code_lock);
	if (thaw_usage_digest(service->store, digest, &err) == 0)
		thaw_code_remove(&service->host.state, digest, &err);
	pthread_rwlock_unlock(&service->code_lock);
}

static void collect_drives(struct thaw_service *service)
{
	char(*digests)[THAW_DIGEST_TEXT];
	struct thaw_error err = {0};
	size_t count;

	if (thaw_code_list(&service->host.state, &digests, &count, &err) < 0)
		return;
	for (size_t i = 0; i < count; i++)
		collect_drive(service, digests[i]);
	free(digests);
}

static int collect_archive(void *opaque, const char *digest, uint64_t size, int64_t kept_ms)
{
	struct thaw_service *service = opaque;
	char sha256[THAW_DIGEST_BASE64];
	struct thaw_error err = {0};

	(void)size;
	(void)kept_ms;
	pthread_rwlock_wrlock(&service->code_lock);
	if (thaw_archives_sha256(digest, sha256) == 0 &&
	    thaw_usage_sha256(service->store, sha256, &err) == 0)
		thaw_archives_remove(service, digest, INT64_MAX, &err);
	pthread_rwlock_unlock(&service->code_lock);
	return 0;
}

static void collect_all(struct thaw_service *service)
{
	struct thaw_error err = {0};

	collect_snapshots(service);
	collect_drives(service);
	thaw_archives_each(service, collect_archive, service, &err);
}

/* With the lock held: one that is due, taken out. */
static struct again *again_take(struct thaw_snapshots *snapshots)
{
	struct again **place = &snapshots->again;
	uint64_t now = thaw_monotonic_ns();

	while (*place && (*place)->due_ns > now)
		place = &(*place)->next;
	struct again *again = *place;
	if (again)
		*place = again->next;
	return again;
}

/* The host failed: later it may not. Meanwhile the version starts cold. */
static void again_later(struct thaw_snapshots *snapshots, struct again *again)
{
	unsigned int doubled = again->tries < REMAKE_DOUBLED ? again->tries : REMAKE_DOUBLED;

	again->tries++;
	again->due_ns = thaw_deadline(REMAKE_MS << doubled);
	pthread_mutex_lock(&snapshots->lock);
	again->next = snapshots->again;
	snapshots->again = again;
	pthread_mutex_unlock(&snapshots->lock);
}

/* With the lock held. */
static void snapshots_wait(struct thaw_snapshots *snapshots)
{
	uint64_t until_ns = snapshots->look_ns;

	for (const struct again *again = snapshots->again; again; again = again->next) {
		if (!until_ns || again->due_ns < until_ns)
			until_ns = again->due_ns;
	}
	if (!until_ns) {
		pthread_cond_wait(&snapshots->wake, &snapshots->lock);
		return;
	}
	const struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000),
				       .tv_nsec = (long)(until_ns % 1000000000)};
	pthread_cond_timedwait(&snapshots->wake, &snapshots->lock, &until);
	if (snapshots->look_ns && snapshots->look_ns <= thaw_monotonic_ns()) {
		snapshots->look_ns = 0;
		snapshots->look = true;
	}
}

static void *snapshots_thread(void *opaque)
{
	struct thaw_snapshots *snapshots = opaque;

	snapshots_check(snapshots);
	pthread_mutex_lock(&snapshots->lock);
	while (!snapshots->ending) {
		bool look = snapshots->look, collect = snapshots->collect;
		struct again *again = again_take(snapshots);
		if (!look && !collect && !again) {
			snapshots_wait(snapshots);
			continue;
		}
		snapshots->look = snapshots->collect = false;
		pthread_mutex_unlock(&snapshots->lock);
		if (look)
			snapshots_look(snapshots);
		bool made = again && snapshots_make(snapshots, again->function_id, again->version);
		if (collect || look || again)
			collect_all(snapshots->service);
		if (again && !made)
			again_later(snapshots, again);
		else
			free(again);
		pthread_mutex_lock(&snapshots->lock);
	}
	pthread_mutex_unlock(&snapshots->lock);
	return NULL;
}

struct thaw_snapshots *thaw_snapshots_new(struct thaw_service *service, struct thaw_error *err)
{
	struct thaw_snapshots *snapshots = calloc(1, sizeof(*snapshots));
	pthread_condattr_t monotonic;
	pthread_attr_t attr;

	if (!snapshots) {
		thaw_error_errno(err, ENOMEM, "snapshots");
		return NULL;
	}
	snapshots->service = service;
	snapshots->look = snapshots->collect = true;
	pthread_mutex_init(&snapshots->lock, NULL);
	pthread_mutex_init(&snapshots->stop.lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&snapshots->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	int rc = pthread_create(&snapshots->thread, &attr, snapshots_thread, snapshots);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		return snapshots;
	free(snapshots);
	thaw_error_errno(err, rc, "starting a thread");
	return NULL;
}

void thaw_snapshots_free(struct thaw_snapshots *snapshots)
{
	if (!snapshots)
		return;
	pthread_mutex_lock(&snapshots->lock);
	snapshots->ending = true;
	pthread_cond_signal(&snapshots->wake);
	pthread_mutex_unlock(&snapshots->lock);
	thaw_stop_ask(&snapshots->stop);
	pthread_join(snapshots->thread, NULL);
	while (snapshots->again) {
		struct again *again = snapshots->again;
		snapshots->again = again->next;
		free(again);
	}
	pthread_cond_destroy(&snapshots->wake);
	pthread_mutex_destroy(&snapshots->lock);
	pthread_mutex_destroy(&snapshots->stop.lock);
	free(snapshots);
}

static void snapshots_set(struct thaw_snapshots *snapshots, bool *what)
{
	pthread_mutex_lock(&snapshots->lock);
	*what = true;
	pthread_cond_signal(&snapshots->wake);
	pthread_mutex_unlock(&snapshots->lock);
}

void thaw_snapshots_wanted(struct thaw_snapshots *snapshots)
{
	snapshots_set(snapshots, &snapshots->look);
}

void thaw_snapshots_collect(struct thaw_snapshots *snapshots)
{
	snapshots_set(snapshots, &snapshots->collect);
}

void thaw_snapshots_again(struct thaw_snapshots *snapshots, int64_t function_id, int64_t version)
{
	struct again *again = malloc(sizeof(*again));

	if (!again)
		return;
	*again = (struct again){.function_id = function_id, .version = version};
	pthread_mutex_lock(&snapshots->lock);
	for (struct again *at = snapshots->again; at; at = at->next) {
		if (at->function_id == function_id && at->version == version) {
			free(again);
			again = NULL;
			break;
		}
	}
	if (again) {
		again->next = snapshots->again;
		snapshots->again = again;
	}
	pthread_cond_signal(&snapshots->wake);
	pthread_mutex_unlock(&snapshots->lock);
}
