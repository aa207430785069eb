/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thawd as a whole: its parts, and the order in which they start and stop.
 *
 *	store, keyring     what is remembered, and the key to its secrets
 *	keys               access keys in memory: who sent this request?
 *	targets            functions as the pool knows them, resolved from names
 *	shells, slots      microVMs in waiting, and networks for them
 *	pool               execution environments (worker.h says what one is)
 *	snapshots          makes the snapshots of published versions
 *	queue              asynchronous events
 *	logs, metrics      what functions print, what all of it came to
 *	traces             spans of invocations, for a collector
 *	works              threads for what takes long: unpacking archives, waiting for disks
 *	housekeeping       what happens by the clock: old logs go
 *	server, control    the public API, and the socket for the host's own administrator
 *
 * Parts know the service, and each other through it. All of it is set before the first thread
 * starts, and stays until the last has ended.
 */
#ifndef THAW_HOST_DAEMON_SERVICE_H
#define THAW_HOST_DAEMON_SERVICE_H

#include <pthread.h>

#include "host/api/http.h"
#include "host/api/route.h"
#include "host/daemon/config.h"
#include "host/host.h"
#include "host/pool.h"
#include "host/stop.h"

struct thaw_cgroups;
struct thaw_control;
struct thaw_housekeeping;
struct thaw_keyring;
struct thaw_keys;
struct thaw_logs;
struct thaw_metrics;
struct thaw_queue;
struct thaw_shells;
struct thaw_slots;
struct thaw_snapshots;
struct thaw_store;
struct thaw_targets;
struct thaw_traces;
struct thaw_works;

struct thaw_service {
	const struct thaw_config *config;
	struct thaw_host host;
	struct thaw_store *store;
	struct thaw_keyring *keyring;
	struct thaw_keys *keys;
	struct thaw_logs *logs;
	struct thaw_metrics *metrics;
	struct thaw_traces *traces; /* NULL: nobody wants them */
	struct thaw_targets *targets;
	struct thaw_cgroups *cgroups; /* NULL: without limits of CPU time */
	struct thaw_shells *shells;
	struct thaw_networks networks; /* as configured, with our id */
	struct thaw_slots *slots;      /* NULL: no networks */
	struct thaw_pool *pool;
	struct thaw_stop stop; /* of the pool's environments */
	struct thaw_snapshots *snapshots;
	/* Read: by whoever makes drives and archives that no row refers to yet; write: to remove
	 * what no row refers to. */
	pthread_rwlock_t code_lock;
	struct thaw_queue *queue;
	struct thaw_works *works;
	struct thaw_router router;
	struct thaw_http_server *server;
	struct thaw_control *control;
	struct thaw_housekeeping *housekeeping;
	uint64_t memory_mib; /* of the host, for environments */
	unsigned int cpus;
	/* Whether more wants to run than can: /proc/loadavg, looked at now and then under the
	 * pool's lock. */
	int loadavg;
	bool overloaded;
	uint64_t load_seen_ns;
	uint64_t began_ns;        /* CLOCK_MONOTONIC */
	char no_auth_account[13]; /* with --no-auth: whose requests all are */
};

/* Everything, in order; on failure everything that was started is stopped again. */
int thaw_service_start(struct thaw_service *service, const struct thaw_config *config,
		       struct thaw_error *err);

/* Takes no more requests, lets what is under way end within the configuration's time, and ends the
 * rest. Whether all has ended; if not, the process has to end as it is: all that it leaves behind
 * is what a crash leaves, which the next start knows how to take up. */
bool thaw_service_stop(struct thaw_service *service);

#endif
