/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/invoke.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/daemon/invoke_trace.h"
#include "host/daemon/service.h"
#include "host/daemon/targets.h"
#include "host/daemon/worker.h"
#include "host/telemetry/logs_tail.h"
#include "host/telemetry/metrics.h"
#include "lib/clock.h"
#include "lib/error.h"

/* How long an invocation may wait for an environment. */
#define PATIENCE_MS              10000
#define ASYNCHRONOUS_PATIENCE_MS 30000

/* One under way, in one piece of memory with the texts it was given. */
struct invoke {
	struct thaw_worker_job job;
	struct thaw_service *service;
	struct thaw_resolved resolved;
	struct thaw_log_tail tail;
	struct thaw_invoke_trace trace;
	void (*done)(void *opaque, const struct thaw_invoke_answer *answer);
	void (*part)(void *opaque, const char *executed_version, const uint8_t *data, size_t size);
	void *opaque;
	char texts[];
};

static const struct refusal {
	const char *code, *reason, *message;
	unsigned int status;
} refusals[] = {
	[THAW_POOL_RESERVED] = {"TooManyRequestsException",
				"ReservedFunctionConcurrentInvocationLimitExceeded",
				"Rate Exceeded.", 429},
	[THAW_POOL_CONCURRENT] = {"TooManyRequestsException", "ConcurrentInvocationLimitExceeded",
				  "Rate Exceeded.", 429},
	[THAW_POOL_RATE] = {"TooManyRequestsException", "FunctionInvocationRateLimitExceeded",
			    "Rate Exceeded.", 429},
	/* Lambda has no such case: its hosts are never full. Clients try again after a 429. */
	[THAW_POOL_MEMORY] = {"TooManyRequestsException", "ConcurrentInvocationLimitExceeded",
			      "The host has no room for another environment now.", 429},
	[THAW_POOL_STOPPING] = {"ServiceException", NULL, "The host is shutting down.", 500},
	[THAW_POOL_FAILED] = {"ServiceException", NULL, "Internal failure. Please retry.", 500},
};

static void answer_refuse(struct thaw_invoke_answer *answer, enum thaw_pool_refusal refusal)
{
	const struct refusal *row = &refusals[refusal];

	answer->refused = true;
	answer->refusal_code = row->code;
	answer->refusal_reason = row->reason;
	answer->status = row->status;
	snprintf(answer->message, sizeof(answer->message), "%s", row->message);
}

static void invoke_free(struct invoke *invoke)
{
	thaw_target_release(invoke->resolved.target);
	free(invoke->job.error_document);
	free(invoke);
}

static void invoke_measure(const struct invoke *invoke, enum thaw_pool_refusal refusal)
{
	const struct thaw_function *function = &invoke->resolved.target->function;
	const struct thaw_worker_job *job = &invoke->job;
	const struct thaw_metrics_invocation sample = {
		.account = function->account,
		.function = function->name,
		.version = function->version,
		.start = job->start,
		.spilled = job->job.spilled,
		.error = job->result.outcome != THAW__AGENT__OUTCOME__OUTCOME_OK,
		.has_init = job->init_us != 0,
		.has_restore = job->restore_us != 0,
		.duration_us = job->result.duration_us,
		.init_us = job->init_us,
		.restore_us = job->restore_us,
	};

	/* What this host failed to run is no invocation of the function's, and no error of it. */
	if (refusal == THAW_POOL_ACCEPTED && job->ran)
		thaw_metrics_invocation(invoke->service->metrics, &sample);
	else if (refusal != THAW_POOL_ACCEPTED && refusals[refusal].reason)
		thaw_metrics_throttle(invoke->service->metrics, sample.account, sample.function,
				      sample.version, refusal);
}

static void answer_take_result(struct thaw_invoke_answer *answer, const struct thaw_result *result)
{
	answer->status = 200;
	answer->payload = result->response;
	answer->payload_size = result->response_size;
	if (result->outcome != THAW__AGENT__OUTCOME__OUTCOME_OK)
		answer->function_error = "Unhandled";
}

static void answer_take_tail(struct thaw_invoke_answer *answer, const struct thaw_log_tail *tail)
{
	char text[THAW_LOG_TAIL_MAX];
	size_t size = thaw_log_tail_read(tail, text);

	_Static_assert((THAW_LOG_TAIL_MAX + 2) / 3 * 4 < sizeof(answer->log_tail), "");
	EVP_EncodeBlock((unsigned char *)answer->log_tail, (const unsigned char *)text, (int)size);
}

/* The pool is through with a job. */
static void invoke_done(struct thaw_pool_job *pool_job, enum thaw_pool_refusal refusal)
{
	struct invoke *invoke = (struct invoke *)pool_job->data;
	struct thaw_invoke_answer answer = {0};

	memcpy(answer.executed_version, invoke->resolved.executed_version,
	       sizeof(answer.executed_version));
	strcpy(answer.request_id, invoke->job.invocation.request_id);
	if (refusal != THAW_POOL_ACCEPTED) {
		answer_refuse(&answer, refusal);
	} else if (!invoke->job.ran) {
		answer_refuse(&answer, THAW_POOL_FAILED);
	} else {
		answer_take_result(&answer, &invoke->job.result);
	}
	if (invoke->job.tail)
		answer_take_tail(&answer, invoke->job.tail);
	invoke_measure(invoke, refusal);
	thaw_invoke_trace_end(&invoke->trace, invoke->service, &invoke->job, &answer);
	invoke->done(invoke->opaque, &answer);
	invoke_free(invoke);
}

static int refuse_not_found(struct thaw_invoke_answer *refusal, const struct thaw_service *service,
			    const struct thaw_invoke_plan *plan)
{
	refusal->refused = true;
	refusal->refusal_code = "ResourceNotFoundException";
	refusal->status = 404;
	snprintf(refusal->message, sizeof(refusal->message),
		 "Function not found: arn:aws:lambda:%s:%s:function:%s%s%s",
		 service->config->region, plan->account, plan->name, *plan->qualifier ? ":" : "",
		 plan->qualifier);
	return -ENOENT;
}

/* A version that cannot be invoked now, or ever. */
static int refuse_state(struct thaw_invoke_answer *refusal, const struct thaw_target *target)
{
	bool pending = strcmp(target->state, "Pending") == 0;

	refusal->refused = true;
	refusal->refusal_code = pending ? "ResourceConflictException" : "ResourceNotReadyException";
	refusal->status = pending ? 409 : 502;
	snprintf(refusal->message, sizeof(refusal->message),
		 "The operation cannot be performed at this time. The function is currently in the "
		 "following state: %s",
		 target->state);
	return -EBUSY;
}

/* thaw_agent_part_fn */
static void invoke_part(void *context, const uint8_t *data, size_t size)
{
	struct invoke *invoke = context;

	invoke->part(invoke->opaque, invoke->resolved.executed_version, data, size);
}

static const char *keep(char **at, const char *text)
{
	size_t size = text ? strlen(text) + 1 : 0;
	char *place = *at;

	if (!text)
		return NULL;
	memcpy(place, text, size);
	*at += size;
	return place;
}

static struct invoke *invoke_new(struct thaw_service *service, const struct thaw_invoke_plan *plan,
				 const struct thaw_resolved *resolved)
{
	size_t texts = plan->client_context ? strlen(plan->client_context) + 1 : 0;
	struct invoke *invoke = calloc(1, sizeof(*invoke) + texts);

	if (!invoke)
		return NULL;
	char *at = invoke->texts;
	invoke->service = service;
	invoke->resolved = *resolved;
	invoke->done = plan->done;
	invoke->part = plan->part;
	invoke->opaque = plan->opaque;
	struct thaw_worker_job *job = &invoke->job;
	job->asked_ns = thaw_monotonic_ns();
	job->target = resolved->target;
	job->tail = plan->tail ? &invoke->tail : NULL;
	job->part = plan->part ? invoke_part : NULL;
	job->part_context = invoke;
	job->invocation.event = plan->payload;
	job->invocation.event_size = plan->payload_size;
	job->invocation.function_arn = invoke->resolved.arn;
	job->invocation.trace_id =
		thaw_invoke_trace_begin(&invoke->trace, service, resolved->target, plan->trace_id);
	job->invocation.client_context = keep(&at, plan->client_context);
	if (plan->request_id)
		snprintf(job->invocation.request_id, sizeof(job->invocation.request_id), "%s",
			 plan->request_id);
	else
		thaw_request_id_make(job->invocation.request_id);
	job->job = (struct thaw_pool_job){
		.patience_ms = plan->asynchronous ? ASYNCHRONOUS_PATIENCE_MS : PATIENCE_MS,
		.data = invoke, /* the job is its first member */
		.done = invoke_done,
	};
	thaw_log_tail_clear(&invoke->tail);
	return invoke;
}

int thaw_invoke_submit(struct thaw_service *service, const struct thaw_invoke_plan *plan,
		       struct thaw_invoke_answer *refusal, struct thaw_error *err)
{
	struct thaw_pool_target target;
	struct thaw_resolved resolved;

	*refusal = (struct thaw_invoke_answer){0};
	int rc = thaw_targets_resolve(service->targets, plan->account, plan->name, plan->qualifier,
				      &resolved, err);
	if (rc == -ENOENT)
		return refuse_not_found(refusal, service, plan);
	if (rc < 0) {
		answer_refuse(refusal, THAW_POOL_FAILED);
		return rc;
	}
	memcpy(refusal->executed_version, resolved.executed_version,
	       sizeof(refusal->executed_version));
	if (strcmp(resolved.target->state, "Active") != 0) {
		rc = refuse_state(refusal, resolved.target);
		thaw_target_release(resolved.target);
		return rc;
	}
	struct invoke *invoke = invoke_new(service, plan, &resolved);
	if (!invoke) {
		thaw_target_release(resolved.target);
		answer_refuse(refusal, THAW_POOL_FAILED);
		return -ENOMEM;
	}
	thaw_target_for_pool(resolved.target, &target);
	enum thaw_pool_refusal refused = thaw_pool_submit(service->pool, &target, &invoke->job.job);
	if (refused == THAW_POOL_ACCEPTED)
		return 0;
	answer_refuse(refusal, refused);
	invoke_measure(invoke, refused);
	thaw_invoke_trace_end(&invoke->trace, service, &invoke->job, refusal);
	invoke_free(invoke);
	return refusal->refusal_reason ? -EAGAIN : -EIO;
}
