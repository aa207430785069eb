/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/service.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/cgroup.h"
#include "host/daemon/control.h"
#include "host/daemon/front.h"
#include "host/daemon/housekeeping.h"
#include "host/daemon/keys.h"
#include "host/daemon/network.h"
#include "host/daemon/queue.h"
#include "host/daemon/snapshots.h"
#include "host/daemon/targets.h"
#include "host/daemon/worker.h"
#include "host/daemon/works.h"
#include "host/keyring.h"
#include "host/network/slots.h"
#include "host/operations/operation.h"
#include "host/parts.h"
#include "host/private_copies.h"
#include "host/shells.h"
#include "host/store/accounts.h"
#include "host/telemetry/logs.h"
#include "host/telemetry/metrics.h"
#include "host/telemetry/traces.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"

#define STOP_MS          10000 /* for what is ended to have ended */
#define WORK_THREADS     4
#define STARTING_PER_CPU 2
#define WORK_LINE        32 /* of an account */
#define MEMORY_PART(n)   ((n) / 4 * 3)

/* The key may be made only where it cannot orphan what an older one has sealed. */
static int start_keyring(struct thaw_service *service, struct thaw_error *err)
{
	struct thaw_account *accounts;
	size_t count;

	int rc = thaw_accounts_list(service->store, NULL, 1, &accounts, &count, err);
	if (rc < 0)
		return rc;
	thaw_accounts_free(accounts, count);
	rc = thaw_keyring_open(&service->keyring, service->host.state.root, count == 0, err);
	return rc < 0 ? rc : thaw_state_open_key(&service->host.state, false, err);
}

/* Better no daemon than one that can start nothing. */
static int start_check_parts(const struct thaw_host *host, struct thaw_error *err)
{
	cleanup_close int kernel = thaw_paths_open_kernel(&host->paths, NULL, err);
	cleanup_close int initramfs =
		kernel < 0 ? -1 : thaw_paths_open_initramfs(&host->paths, err);

	if (kernel < 0 || initramfs < 0)
		return -err->code;
	int rc = thaw_parts_check(host, THAW_PART_KERNEL, kernel, err);
	return rc < 0 ? rc : thaw_parts_check(host, THAW_PART_INITRAMFS, initramfs, err);
}

/* With --no-auth all requests are of one account, which must be there. */
static int start_no_auth(struct thaw_service *service, struct thaw_error *err)
{
	struct thaw_account account = {.id = (char *)THAW_ROOT_ACCOUNT,
				       .name = (char *)"local",
				       .created_ms = thaw_now_ms()};

	if (!service->config->no_auth)
		return 0;
	strcpy(service->no_auth_account, THAW_ROOT_ACCOUNT);
	int rc = thaw_accounts_create(service->store, &account, err);
	thaw_log(THAW_LOG_WARN, "--no-auth: whoever reaches %s:%u does everything as account %s",
		 service->config->address, service->config->port, service->no_auth_account);
	return rc == -EEXIST ? 0 : rc;
}

static void observe(void *opaque, const struct thaw_queue_note *note)
{
	struct thaw_metrics *metrics = opaque;

	switch (note->what) {
	case THAW_QUEUE_RECEIVED:
		thaw_metrics_async_received(metrics, note->account, note->name);
		break;
	case THAW_QUEUE_STARTED:
		thaw_metrics_async_age(metrics, note->account, note->name,
				       (uint64_t)note->age_ms * 1000);
		break;
	case THAW_QUEUE_DROPPED:
		thaw_metrics_async_dropped(metrics, note->account, note->name,
					   THAW_ASYNC_DROP_FAILED);
		break;
	case THAW_QUEUE_DESTINATION_FAILED:
		thaw_metrics_destination_failure(metrics, note->account, note->name);
		break;
	case THAW_QUEUE_DEAD_LETTER_FAILED:
		thaw_metrics_dead_letter_error(metrics, note->account, note->name);
		break;
	default:
		break;
	}
}

/* Groups are by data directory, so that several daemons do not sweep each other's. */
static void start_cgroups(struct thaw_service *service)
{
	struct thaw_error err = {0};
	struct stat st;
	char name[THAW_CGROUP_NAME_MAX + 1];

	if (fstat(service->host.state.root, &st) < 0)
		return;
	snprintf(name, sizeof(name), "%llx-%llx", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	if (thaw_cgroups_open(&service->cgroups, name, &err) < 0) {
		thaw_log(THAW_LOG_WARN, "no limits of CPU time, memory and disk: %s", err.message);
		return;
	}
	thaw_cgroups_sweep(service->cgroups, &err);
	service->host.cgroups = service->cgroups;
	service->host.disk_bytes = (uint64_t)service->config->disk_mib << 20;
	service->host.disk_operations = service->config->disk_operations;
	if ((service->config->disk_mib || service->config->disk_operations) &&
	    thaw_cgroups_disk(service->cgroups, service->host.state.root, &err) < 0)
		thaw_log(THAW_LOG_WARN, "no limits of the disk: %s", err.message);
}

/* Nothing runs here that is not jailed, unless it was said in so many words. */
static int start_jail(struct thaw_service *service, struct thaw_error *err)
{
	const struct thaw_jail jail = {
		.when = service->config->jail ? THAW_JAIL_ALWAYS : THAW_JAIL_WHERE_POSSIBLE,
		.first_user = service->config->uid_first,
	};

	thaw_vmm_jail(&jail);
	if (thaw_vmm_jails())
		return 0;
	if (service->config->jail)
		return thaw_error_set(err, EPERM,
				      "microVMs cannot be jailed: thawd wants root's "
				      "CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID and CAP_KILL "
				      "(--jail=no: do without)");
	thaw_log(THAW_LOG_WARN, "--jail=no: microVMs run as this user, in its namespaces, behind "
				"the filter of system calls alone");
	return 0;
}

static int start_pool(struct thaw_service *service, struct thaw_error *err)
{
	const struct thaw_config *config = service->config;
	uint64_t pages = (uint64_t)sysconf(_SC_PHYS_PAGES), size = (uint64_t)sysconf(_SC_PAGESIZE);
	struct thaw_pool_limits limits = {
		.scale_up = config->scale_up,
		.starting = config->starting ? config->starting : STARTING_PER_CPU * service->cpus,
		.memory_mib =
			config->memory_mib ? config->memory_mib : MEMORY_PART(pages * size >> 20),
		.idle_ms = config->idle_s * 1000,
	};

	service->memory_mib = limits.memory_mib;
	service->loadavg = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	service->pool = thaw_pool_new(&thaw_worker_ops, service, &limits, err);
	return service->pool ? 0 : -err->code;
}

/* What is remembered, and where. */
static int start_data(struct thaw_service *service, struct thaw_error *err)
{
	const struct thaw_config *config = service->config;
	const struct thaw_logs_config logs = {
		.file_max = config->log_file_bytes,
		.function_max = config->log_function_bytes,
		.retention_s = config->log_retention_s,
	};

	/* First the store: its lock tells that nobody else is here. */
	int rc = thaw_store_open(&service->store, config->data, err);
	if (rc == 0)
		rc = thaw_host_open(&service->host, config->data, err);
	if (rc == 0)
		rc = start_jail(service, err);
	if (rc == 0)
		rc = thaw_host_open_devices(&service->host, err);
	if (rc == 0)
		rc = start_keyring(service, err);
	if (rc == 0)
		rc = start_check_parts(&service->host, err);
	if (rc == 0)
		rc = start_no_auth(service, err);
	if (rc == 0 && !(service->logs = thaw_logs_open(service->host.state.root, &logs, err)))
		rc = -err->code;
	return rc;
}

#define START(member, call)                                                                        \
	do {                                                                                       \
		if (rc == 0 && !(service->member = (call)))                                        \
			rc = -err->code;                                                           \
	} while (0)

static int start_traces(struct thaw_service *service, struct thaw_error *err)
{
	const struct thaw_traces_config config = {
		.url = service->config->otlp,
		.region = service->config->region,
	};

	if (!*config.url)
		return 0;
	service->traces = thaw_traces_new(&config, err);
	return service->traces ? 0 : -err->code;
}

static int start_parts(struct thaw_service *service, struct thaw_error *err)
{
	int rc = 0;

	START(keys, thaw_keys_new(service, err));
	START(metrics, thaw_metrics_new(NULL, err));
	if (rc == 0)
		rc = start_traces(service, err);
	if (rc == 0)
		rc = thaw_network_start(service, err);
	START(targets, thaw_targets_new(service, err));
	if (rc == 0)
		start_cgroups(service);
	if (!service->config->share_drives)
		START(host.copies, thaw_private_copies_new(&service->host.state, err));
	if (service->config->shells)
		START(shells, thaw_shells_new(&service->host, service->config->shells, err));
	if (rc == 0)
		rc = start_pool(service, err);
	START(works, thaw_works_new(WORK_THREADS, WORK_LINE, err));
	START(snapshots, thaw_snapshots_new(service, err));
	START(queue, thaw_queue_new(service, err));
	if (rc == 0) {
		thaw_queue_observe(service->queue, observe, service->metrics);
		rc = thaw_targets_provision_all(service->targets, err);
	}
	START(housekeeping, thaw_housekeeping_start(service, err));
	if (rc == 0)
		rc = thaw_operations_router(service, &service->router, err);
	START(control, thaw_control_start(service, err));
	if (rc == 0)
		rc = thaw_front_start(service, err);
	return rc;
}

int thaw_service_start(struct thaw_service *service, const struct thaw_config *config,
		       struct thaw_error *err)
{
	*service = (struct thaw_service){
		.config = config,
		.host = THAW_HOST_NONE,
		.began_ns = thaw_monotonic_ns(),
		.cpus = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN),
		.loadavg = -1,
		.stop = THAW_STOP_NONE,
	};
	pthread_rwlock_init(&service->code_lock, NULL);
	int rc = start_data(service, err);
	if (rc == 0)
		rc = start_parts(service, err);
	if (rc < 0)
		thaw_service_stop(service);
	return rc;
}

bool thaw_service_stop(struct thaw_service *service)
{
	uint32_t grace_ms = service->config->drain_s * 1000;

	/* Who asks from outside, first; what they asked for is still done. */
	thaw_http_stop(service->server, grace_ms);
	service->server = NULL;
	thaw_control_stop(service->control);
	thaw_housekeeping_stop(service->housekeeping);
	thaw_queue_free(service->queue);
	if (service->pool && !thaw_pool_drain(service->pool, grace_ms)) {
		thaw_log(THAW_LOG_WARN, "not all invocations have ended in %u s: they are ended",
			 service->config->drain_s);
		thaw_stop_ask(&service->stop);
		if (!thaw_pool_drain(service->pool, STOP_MS))
			return false;
	}
	thaw_works_free(service->works);
	thaw_snapshots_free(service->snapshots);
	if (service->pool)
		thaw_pool_free(service->pool);
	thaw_shells_free(service->shells);
	thaw_private_copies_free(service->host.copies);
	thaw_slots_free(service->slots);
	thaw_cgroups_close(service->cgroups);
	thaw_targets_free(service->targets);
	thaw_operations_router_clear(&service->router);
	thaw_traces_free(service->traces);
	thaw_metrics_free(service->metrics);
	thaw_logs_close(service->logs);
	thaw_keys_free(service->keys);
	thaw_cleanup_close(&service->loadavg);
	thaw_keyring_close(service->keyring);
	thaw_host_close(&service->host);
	thaw_store_close(service->store);
	return true;
}
