/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cgroup.h"
#include "host/code.h"
#include "host/cold.h"
#include "host/daemon/descriptors.h"
#include "host/daemon/network.h"
#include "host/daemon/restores.h"
#include "host/daemon/service.h"
#include "host/daemon/snapshots.h"
#include "host/daemon/targets.h"
#include "host/telemetry/logs.h"
#include "host/telemetry/logs_tail.h"
#include "host/telemetry/metrics.h"
#include "host/telemetry/platform_log.h"
#include "host/tmp_drive.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"

struct worker {
	struct thaw_service *service;
	struct thaw_target *target; /* a reference */
	struct thaw_environment environment;
	struct thaw_log_stream *log;
	struct thaw_worker_job *job; /* the one under way; NULL between two */
	int tmp;
	bool limited; /* it has the CPU time of its memory, or there is no limit for it */
	struct thaw_attachment attachment; /* its network */
	bool provisioned;
	bool used;   /* it has had an invocation */
	bool worked; /* its runtime was ready once */
	bool gone;   /* it is there no more: the next invocation starts it anew */
	bool log_failed;
};

/* --- what is printed --- */

static void worker_open_log(struct worker *worker)
{
	struct thaw_error err = {0};

	/* The log's name comes with the start, and the first output soon after it. */
	if (worker->log || worker->log_failed || !*worker->environment.log_stream)
		return;
	worker->log = thaw_log_stream_open(worker->service->logs, worker->target->function.account,
					   worker->target->function.name,
					   worker->environment.log_stream, &err);
	worker->log_failed = !worker->log;
	if (!worker->log)
		thaw_log(THAW_LOG_WARN, "logs of \"%s\": %s", worker->target->function.name,
			 err.message);
}

static void worker_print(struct worker *worker, enum thaw_log_kind kind, const uint8_t *data,
			 size_t size)
{
	const char *id = worker->job ? worker->job->invocation.request_id : NULL;

	worker_open_log(worker);
	thaw_log_stream_write(worker->log, kind, id, data, size);
	if (worker->job && worker->job->tail)
		thaw_log_tail_push(worker->job->tail, data, size);
}

/* thaw_agent_log_fn. Whatever source the guest names, it is the function's word: the platform's
 * lines are ours, and are not counted against the rate. */
static void worker_log(void *context, Thaw__Agent__Log__Source source, const uint8_t *data,
		       size_t size, uint64_t dropped)
{
	struct worker *worker = context;
	char text[96];

	(void)source;
	if (dropped) {
		int n = snprintf(text, sizeof(text),
				 "\n%llu bytes were printed too fast and are lost\n",
				 (unsigned long long)dropped);
		worker_print(worker, THAW_LOG_KIND_FUNCTION, (const uint8_t *)text, (size_t)n);
	}
	if (size)
		worker_print(worker, THAW_LOG_KIND_FUNCTION, data, size);
}

static void worker_platform(struct worker *worker, const struct thaw_platform_event *event)
{
	char line[THAW_PLATFORM_LINE_MAX + 1];

	if (worker->target->log_json && thaw_platform_level(event) < worker->target->log_level)
		return;
	size_t size =
		worker->target->log_json
			? thaw_platform_json(line, (int64_t)(thaw_realtime_ns() / 1000000), event)
			: thaw_platform_text(line, event);

	line[size] = '\n';
	worker_print(worker, THAW_LOG_KIND_PLATFORM, (const uint8_t *)line, size + 1);
}

static enum thaw_platform_status platform_status(Thaw__Agent__Outcome outcome)
{
	switch (outcome) {
	case THAW__AGENT__OUTCOME__OUTCOME_OK:
		return THAW_PLATFORM_SUCCESS;
	case THAW__AGENT__OUTCOME__OUTCOME_TIMEOUT:
		return THAW_PLATFORM_TIMEOUT;
	default:
		return THAW_PLATFORM_ERROR;
	}
}

static uint64_t restore_us(const struct thaw_environment *environment)
{
	return (environment->restore_ready_ns - environment->restore_asked_ns) / 1000;
}

static const char *initialization_type(const struct worker *worker)
{
	return worker->provisioned            ? "provisioned-concurrency"
	       : worker->environment.restored ? "snap-start"
					      : "on-demand";
}

/* INIT_REPORT or RESTORE_REPORT, of a start that came to no good end. */
static void worker_report_start(struct worker *worker)
{
	const struct thaw_environment *environment = &worker->environment;
	struct thaw_platform_event event = {
		.kind = environment->restored ? THAW_PLATFORM_RESTORE_REPORT
					      : THAW_PLATFORM_INIT_REPORT,
		.status = platform_status(environment->start_outcome),
		.duration_us = environment->restored ? restore_us(environment)
						     : environment->start_duration_us,
		.initialization_type = initialization_type(worker),
	};

	if (environment->start_outcome != THAW__AGENT__OUTCOME__OUTCOME_OK)
		worker_platform(worker, &event);
}

static void worker_report_end(struct worker *worker, const struct thaw_worker_job *job)
{
	const struct thaw_environment *environment = &worker->environment;
	const struct thaw_result *result = &job->result;
	struct thaw_platform_event event = {
		.kind = THAW_PLATFORM_END,
		.status = platform_status(result->outcome),
		.request_id = job->invocation.request_id,
		.error_type = result->error_type,
		.duration_us = result->duration_us,
		.billed_ms = thaw_platform_billed_ms(result->duration_us),
		.memory_mib = worker->target->function.memory_mib,
		.max_memory_kib = result->max_memory_kib,
	};

	worker_platform(worker, &event);
	event.kind = THAW_PLATFORM_REPORT;
	if (!worker->used && environment->restored) {
		event.first = THAW_PLATFORM_RESTORE;
		event.first_us = restore_us(environment);
		event.first_billed_ms = thaw_platform_billed_ms(environment->start_duration_us);
	} else if (!worker->used &&
		   environment->start_outcome == THAW__AGENT__OUTCOME__OUTCOME_OK) {
		event.first = THAW_PLATFORM_INIT;
		event.first_us = environment->start_duration_us;
	}
	worker_platform(worker, &event);
}

/* --- starting --- */

static int worker_restore(struct worker *worker, struct thaw_worker_job *job,
			  struct thaw_error *err)
{
	const struct thaw_restore_options options = {
		.mode = THAW__VMM__RESTORE_MODE__RESTORE_MODE_MAP};
	struct thaw_target *target = worker->target;
	struct thaw_machine machine = THAW_MACHINE_NONE;

	int rc = thaw_target_open_files(target, err);
	if (rc == 0)
		rc = thaw_snapshot_check_network(&target->files,
						 thaw_attachment_network(&worker->attachment), err);
	if (rc == 0)
		rc = thaw_tmp_drive_copy(&worker->service->host.state, target->files.tmp,
					 &worker->tmp, err);
	if (rc < 0)
		return rc;
	machine.root = target->root;
	machine.code = target->files.code;
	machine.layers = target->files.layers;
	machine.tmp = worker->tmp;
	machine.tmp_limit = thaw_network_tmp_limit(worker->service);
	machine.network = thaw_attachment_network(&worker->attachment);
	machine.cpu_template = target->files.manifest.cpu_template;
	return thaw_environment_restore(&worker->environment, &machine, &target->files.files,
					&options, job ? &job->invocation : NULL, err);
}

static int worker_boot(struct worker *worker, struct thaw_error *err)
{
	const struct thaw_target *target = worker->target;
	const struct thaw_host *host = &worker->service->host;
	cleanup_close int drive = -1, layers = -1;
	struct thaw_cold cold = THAW_COLD_NONE;

	int rc = thaw_target_open_code(target, &drive, &layers, err);
	struct thaw_cold_code code = {.drive = drive, .layers = layers};
	if (rc == 0)
		rc = thaw_cold_open(&cold, host, &target->function, &code, NULL, err);
	cold.machine.provisioned = worker->provisioned;
	cold.machine.tmp_limit = thaw_network_tmp_limit(worker->service);
	cold.machine.network = thaw_attachment_network(&worker->attachment);
	if (rc == 0)
		rc = thaw_environment_boot(&worker->environment, &cold.machine, err);
	worker->tmp = thaw_fd_take(&cold.machine.tmp);
	thaw_cold_close(&cold);
	return rc;
}

static void worker_free(struct worker *worker)
{
	thaw_environment_close(&worker->environment);
	thaw_attachment_drop(worker->service, &worker->attachment);
	thaw_cleanup_close(&worker->tmp);
	thaw_log_stream_close(worker->log);
	thaw_target_release(worker->target);
	free(worker);
}

/* Before each start: a second follows a failed first. */
static int worker_begin(struct worker *worker, struct thaw_error *err)
{
	thaw_environment_init(&worker->environment, &worker->service->host,
			      &worker->target->function);
	worker->environment.shells = worker->service->shells;
	worker->environment.stop = &worker->service->stop;
	worker->environment.log = worker_log;
	worker->environment.log_context = worker;
	return thaw_attachment_make(worker->service, worker->target->network, &worker->attachment,
				    err);
}

static int worker_start_any(struct worker *worker, struct thaw_worker_job *job,
			    struct thaw_error *err)
{
	struct thaw_target *target = worker->target;

	int rc = worker_begin(worker, err);
	if (rc == 0)
		rc = thaw_descriptors_check(worker->service, err);
	if (rc < 0)
		return rc;
	if (*target->snapshot && !atomic_load(&target->damaged)) {
		rc = worker_restore(worker, job, err);
		/* A snapshot that does not fit this host any more is made again; who comes
		 * meanwhile is served all the same. */
		bool stale = rc == -ESTALE || rc == -ENOENT || rc == -EBADMSG || rc == -ENOTSUP ||
			     rc == -EKEYREJECTED || worker->environment.snapshot_refused;
		if (rc == 0 || !stale) {
			thaw_target_restored(target, rc);
			return rc;
		}
		thaw_log(THAW_LOG_WARN, "function \"%s\", version %s: %s", target->function.name,
			 target->function.version, err->message);
		thaw_snapshots_again(worker->service->snapshots, target->function_id,
				     target->version);
		thaw_environment_close(&worker->environment);
		thaw_attachment_drop(worker->service, &worker->attachment);
		thaw_cleanup_close(&worker->tmp);
		worker->tmp = -1;
		rc = worker_begin(worker, err);
	}
	return rc < 0 ? rc : worker_boot(worker, err);
}

/* Where the time of a start went: for those who look into it. */
static void worker_log_start(const struct worker *worker)
{
	const struct thaw_phases *phases = &worker->environment.phases;
	char text[512] = "";
	size_t used = 0;

	for (size_t i = 0; i < phases->count && used < sizeof(text); i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, " %s %.2f",
					 phases->item[i].name, (double)phases->item[i].ns / 1e6);
	thaw_log(THAW_LOG_DEBUG, "function \"%s\" of %s: started from %s, ms:%s",
		 worker->target->function.name, worker->target->function.account,
		 worker->environment.from_shell ? "a shell" : "nothing", text);
}

/* A thaw-vmm dies with the thread that started it: this is the environment's own. */
static void *worker_start(void *context, void *data, struct thaw_pool_job *pool_job)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	struct thaw_worker_job *job = pool_job ? pool_job->data : NULL;
	struct thaw_error err = {0};

	if (!worker) {
		if (job)
			snprintf(job->failure, sizeof(job->failure), "no memory left");
		return NULL;
	}
	worker->service = context;
	worker->target = thaw_target_hold(data);
	worker->tmp = -1;
	worker->attachment = (struct thaw_attachment)THAW_ATTACHMENT_NONE;
	worker->provisioned = !job;
	worker->job = job;
	if (job)
		job->times.start_ns = thaw_monotonic_ns();
	int rc = worker_start_any(worker, job, &err);
	if (job)
		job->times.started_ns = thaw_monotonic_ns();
	if (rc < 0) {
		thaw_log(THAW_LOG_ERROR, "function \"%s\" of %s: starting an environment: %s",
			 worker->target->function.name, worker->target->function.account,
			 err.message);
		if (job)
			snprintf(job->failure, sizeof(job->failure), "%.511s", err.message);
		worker_free(worker);
		return NULL;
	}
	if (worker->environment.restored)
		thaw_metrics_restore_steps(worker->service->metrics,
					   &worker->environment.restore_steps);
	worker_log_start(worker);
	worker->worked = worker->environment.start_outcome == THAW__AGENT__OUTCOME__OUTCOME_OK;
	worker->gone = !worker->worked;
	worker->job = NULL;
	return worker;
}

/* --- limits --- */

/* Once it has started an environment has the CPU time that its memory buys. Starts have what there
 * is: as on Lambda a start is not to be slow for being small. Memory, threads and the disk are
 * limited from before thaw-vmm's first instruction on (environment_machine.c).
 *
 * Where KVM is software a guest's CPU time is mostly the emulation's, and not limited. */
static void worker_limit(struct worker *worker)
{
	const struct thaw_function *function = &worker->target->function;
	const struct thaw_cgroup *cgroup = &worker->environment.vmm.cgroup;
	const struct thaw_cgroup_limits limits = {
		.cpu_us = thaw_cgroup_cpu_us(function->memory_mib),
	};
	struct thaw_error err = {0};

	if (worker->limited)
		return;
	worker->limited = true;
	if (!worker->service->config->cpu_limit || worker->environment.software_kvm ||
	    !cgroup->cgroups)
		return;
	if (thaw_cgroup_limit(cgroup, &limits, &err) < 0)
		thaw_log(THAW_LOG_WARN, "function \"%s\" runs without a limit of CPU time: %s",
			 function->name, err.message);
}

/* --- invocations --- */

static enum thaw_start_type start_type(const struct worker *worker,
				       const struct thaw_worker_job *job)
{
	/* Was it there before the job? */
	if (worker->used || worker->provisioned)
		return job->job.provisioned ? THAW_START_PROVISIONED : THAW_START_WARM;
	return worker->environment.restored ? THAW_START_RESTORE : THAW_START_COLD;
}

static void worker_note_start(const struct worker *worker, struct thaw_worker_job *job)
{
	job->start = start_type(worker, job);
	job->first = !worker->used;
	if (worker->used || worker->provisioned)
		return;
	if (worker->environment.restored)
		job->restore_us = restore_us(&worker->environment);
	else
		job->init_us = worker->environment.start_duration_us;
}

/* A function whose restore failed is not given the event: its error is the answer. */
static bool worker_start_failed(struct worker *worker, struct thaw_worker_job *job)
{
	struct thaw_environment *environment = &worker->environment;

	if (worker->used || !environment->restored ||
	    environment->start_outcome == THAW__AGENT__OUTCOME__OUTCOME_OK)
		return false;
	job->error_document = strdup(environment->start_error ?: "{}");
	job->ran = job->error_document != NULL;
	job->result.outcome = environment->start_outcome;
	job->result.response = (const uint8_t *)job->error_document;
	job->result.response_size = job->error_document ? strlen(job->error_document) : 0;
	return true;
}

/* The runtime is started anew within the next invocation's time (agent.proto, Invoke). When that
 * could not be done, or takes most of it, every later invocation would fail as this one: another
 * environment has its start beside that time, and a /tmp and memory that nobody has filled. */
static bool worker_is_lost(struct worker *worker, const struct thaw_result *result)
{
	uint64_t half_us = worker->target->function.timeout_s * UINT64_C(1000000) / 2;
	Thaw__Agent__Outcome outcome = result->outcome;
	bool restarted = worker->gone, started = result->init_duration_us != 0;

	worker->gone = outcome == THAW__AGENT__OUTCOME__OUTCOME_TIMEOUT ||
		       outcome == THAW__AGENT__OUTCOME__OUTCOME_EXIT ||
		       outcome == THAW__AGENT__OUTCOME__OUTCOME_OUT_OF_MEMORY ||
		       /* It reported an error of its init. */
		       (restarted && !started && outcome != THAW__AGENT__OUTCOME__OUTCOME_OK);
	bool lost = restarted && worker->gone &&
		    (started ? result->init_duration_us > half_us
			     /* An init that has never worked is no better elsewhere, but dearer. */
			     : worker->worked || outcome == THAW__AGENT__OUTCOME__OUTCOME_TIMEOUT);
	worker->worked |= !worker->gone;
	return lost;
}

static bool worker_handle(void *opaque, struct thaw_pool_job *pool_job)
{
	struct thaw_worker_job *job = pool_job->data;
	struct worker *worker = opaque;
	struct thaw_error err = {0};

	job->times.handled_ns = thaw_monotonic_ns();
	worker_limit(worker);
	worker->job = job;
	worker_note_start(worker, job);
	if (!worker->used)
		worker_report_start(worker);
	bool good = !worker_start_failed(worker, job);
	if (good) {
		const struct thaw_platform_event start = {
			.kind = THAW_PLATFORM_START,
			.request_id = job->invocation.request_id,
			.version = worker->target->function.version,
		};
		worker_platform(worker, &start);
		worker->environment.agent.part = job->part;
		worker->environment.agent.part_context = job->part_context;
		job->times.invoke_ns = thaw_monotonic_ns();
		int rc = thaw_environment_invoke(&worker->environment, &job->invocation,
						 &job->result, &err);
		job->times.invoked_ns = thaw_monotonic_ns();
		worker->environment.agent.part = NULL;
		job->ran = rc == 0;
		good = rc == 0;
		if (rc < 0) {
			snprintf(job->failure, sizeof(job->failure), "%.511s", err.message);
			thaw_log(THAW_LOG_ERROR, "function \"%s\" of %s: %s",
				 worker->target->function.name, worker->target->function.account,
				 err.message);
		} else {
			worker_report_end(worker, job);
			good = !worker_is_lost(worker, &job->result);
		}
	}
	thaw_log_stream_flush(worker->log);
	worker->used = true;
	worker->job = NULL;
	return good;
}

static bool worker_freeze(void *opaque)
{
	struct worker *worker = opaque;

	worker_limit(worker);
	return thaw_environment_pause(&worker->environment, NULL) == 0;
}

static bool worker_thaw(void *opaque)
{
	struct worker *worker = opaque;

	return thaw_environment_unpause(&worker->environment, NULL) == 0;
}

static void worker_close(void *opaque)
{
	worker_free(opaque);
}

static void worker_hold(void *target)
{
	thaw_target_hold(target);
}

static void worker_release(void *target)
{
	thaw_target_release(target);
}

static void worker_moved(void *context, void *data, enum thaw_pool_state from,
			 enum thaw_pool_state to, uint64_t ns)
{
	struct thaw_service *service = context;

	(void)data;
	thaw_metrics_transition(service->metrics, from, to, ns);
}

/* More threads that want a CPU than this for each: another environment would slow all down, and
 * answer later than one that is there already. */
#define RUNNABLE_PER_CPU 4
#define LOOK_NS          50000000u

static bool worker_overloaded(void *context)
{
	struct thaw_service *service = context;
	uint64_t now = thaw_monotonic_ns();
	unsigned int runnable;
	char text[128];

	/* The pool is locked: one at a time. */
	if (now < service->load_seen_ns + LOOK_NS)
		return service->overloaded;
	service->load_seen_ns = now;
	ssize_t n = pread(service->loadavg, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = 0;
	/* "0.10 0.20 0.30 3/120 4711": the fourth is what wants to run now (proc(5)). */
	service->overloaded = sscanf(text, "%*s %*s %*s %u/", &runnable) == 1 &&
			      runnable > service->cpus * RUNNABLE_PER_CPU;
	return service->overloaded;
}

const struct thaw_pool_ops thaw_worker_ops = {
	.hold = worker_hold,
	.release = worker_release,
	.start = worker_start,
	.handle = worker_handle,
	.freeze = worker_freeze,
	.thaw = worker_thaw,
	.close = worker_close,
	.overloaded = worker_overloaded,
	.moved = worker_moved,
};
