/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions as those see them who run them: one target is one version of one function, with all
 * that its environments are made of. Names are resolved here, and what was resolved is remembered
 * until something changes, so that an invocation reads no database.
 *
 * A target never changes, but for its limits of concurrency: a change of its version makes a new
 * one, under another key, and the old one's environments go. Targets are counted, and may outlive
 * the function.
 */
#ifndef THAW_HOST_DAEMON_TARGETS_H
#define THAW_HOST_DAEMON_TARGETS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/api/names.h"
#include "host/digest.h"
#include "host/function.h"
#include "host/network/networks.h"
#include "host/pool.h"
#include "host/snapshot_store.h"
#include "host/store/store.h"
#include "host/telemetry/platform_log.h"

struct thaw_error;
struct thaw_service;
struct thaw_targets;

struct thaw_target {
	/* Set when it is made. */
	struct thaw_service *service;
	int64_t function_id;
	int64_t version;
	char key[160]; /* the pool's */
	struct thaw_function function;
	char code_digest[THAW_DIGEST_TEXT];
	char layers_digest[THAW_DIGEST_TEXT];      /* "": none */
	char snapshot[THAW_FUNCTION_NAME_MAX + 1]; /* "": none; its name */
	char network[THAW_SUBNET_NAME_MAX + 1];    /* "": none */
	char state[16];                            /* of the version */
	bool log_json;
	enum thaw_platform_level log_level; /* of the platform's records, in JSON */
	bool traced;                        /* TracingConfig: Active */
	int64_t reserved;                   /* this and the next under the lock of all targets */
	uint32_t unreserved;

	/* Opened when the first environment needs it, under the lock. */
	pthread_mutex_t lock;
	struct thaw_snapshot files;
	bool files_open;
	int root;
	atomic_uint restores_failed; /* in a row */
	atomic_bool damaged;         /* its snapshot is not to be used (restores.h) */

	struct thaw_target *next; /* of those remembered */
	unsigned int references;  /* under the lock of all targets */
};

/* A name that was resolved. */
struct thaw_resolved {
	struct thaw_target *target; /* a reference; thaw_target_release */
	char executed_version[24];
	char arn[512]; /* as the function sees it: with the qualifier that was used */
};

struct thaw_targets *thaw_targets_new(struct thaw_service *service, struct thaw_error *err);
void thaw_targets_free(struct thaw_targets *targets);

/* The version that an invocation of account/name:qualifier runs now ("" is $LATEST; an alias
 * chooses by its weights). -ENOENT: no such function or qualifier. */
int thaw_targets_resolve(struct thaw_targets *targets, const char *account, const char *name,
			 const char *qualifier, struct thaw_resolved *resolved,
			 struct thaw_error *err);

/* The one of a version. */
int thaw_targets_get(struct thaw_targets *targets, int64_t function_id, int64_t version,
		     struct thaw_target **target, struct thaw_error *err);

/* Something of the function, or of its account's limits, has changed, or it is gone: what is
 * remembered is asked for again, environments of what is no more are retired, and provisioned
 * ones are brought to what is wanted. Called after every change that matters to who runs it. */
void thaw_targets_changed(struct thaw_targets *targets, int64_t function_id);

/* Brings all provisioned concurrency of the host to what is asked for: at the start. */
int thaw_targets_provision_all(struct thaw_targets *targets, struct thaw_error *err);

struct thaw_target *thaw_target_hold(struct thaw_target *target);
void thaw_target_release(struct thaw_target *target);

/* Its drives, the caller's; *layers is -1 where there are none. Drives that are gone from the cache
 * (host/code.h) are made again of the archives. */
int thaw_target_open_code(const struct thaw_target *target, int *drive, int *layers,
			  struct thaw_error *err);

/* As the pool wants it. */
void thaw_target_for_pool(struct thaw_target *target, struct thaw_pool_target *out);

#endif
