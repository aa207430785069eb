/* SPDX-License-Identifier: Apache-2.0 */
/* Invoke, InvokeAsync, InvokeWithResponseStream. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/daemon/invoke.h"
#include "host/daemon/queue.h"
#include "host/daemon/targets.h"
#include "host/json_check.h"
#include "host/operations/event_stream.h"
#include "host/operations/operations.h"
#include "host/operations/policy.h"
#include "host/store/functions.h"

#define CONTEXT_MAX 3583 /* X-Amz-Client-Context, base64 */
#define TRACE_MAX   256

/* What all invocations read from their head, before anything is looked up. */
struct head {
	struct thaw_request request;
	const char *account; /* whose function */
	const char *trace_id;
	char *client_context; /* owned: JSON */
	bool tail;
};

static bool token_is(const char *text, const char *const *values, size_t count, size_t *index)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(text, values[i]) == 0) {
			*index = i;
			return true;
		}
	}
	return false;
}

static void head_context(struct head *head)
{
	const char *context = thaw_http_header(head->request.call->request, "X-Amz-Client-Context");
	uint8_t *raw;
	size_t size;

	if (!context || !*context)
		return;
	if (strlen(context) > CONTEXT_MAX) {
		thaw_validation_add(&head->request.validation, context, "clientContext",
				    "Member must have length less than or equal to %d",
				    CONTEXT_MAX);
		return;
	}
	if (thaw_base64_decode(context, strlen(context), &raw, &size) < 0) {
		head->request.refusal = thaw_api_error_response(
			"InvalidRequestContentException", "Client context must be base64-encoded.");
		return;
	}
	/* The runtime gets the JSON itself, in a header: white space is all that control bytes can
	 * be there. */
	bool json = thaw_json_check(raw, size, NULL) == 0;
	for (size_t i = 0; i < size; i++)
		raw[i] = raw[i] < 0x20 ? ' ' : raw[i];
	head->client_context = json ? strndup((const char *)raw, size) : NULL;
	free(raw);
	if (!json)
		head->request.refusal =
			thaw_api_error_response("InvalidRequestContentException",
						"Client context must be a valid JSON-formatted "
						"string.");
}

static void head_read(struct head *head, struct thaw_service *service, struct thaw_call *call)
{
	static const char *const logs[] = {"None", "Tail"};
	const char *log = thaw_http_header(call->request, "X-Amz-Log-Type");
	const char *trace = thaw_http_header(call->request, "X-Amzn-Trace-Id");
	size_t index = 0;

	thaw_request_init(&head->request, service, call);
	thaw_request_name(&head->request, true);
	if (log && !token_is(log, logs, 2, &index))
		thaw_validation_add(&head->request.validation, log, "logType",
				    "Member must satisfy enum value set: [None, Tail]");
	head->tail = index == 1;
	if (trace && *trace && strlen(trace) <= TRACE_MAX)
		head->trace_id = trace;
	head_context(head);
	head->account = *head->request.function.account ? head->request.function.account
							: head->request.account;
}

static void head_clear(struct head *head)
{
	thaw_request_clear(&head->request);
	free(head->client_context);
}

/* Others may invoke what a policy lets them; of what they may not, they are not told whether it is
 * there. */
static struct thaw_http_response *head_permit(const struct head *head, struct thaw_service *service)
{
	const struct thaw_function_name *name = &head->request.function;
	struct thaw_function_item item = {0};

	bool here = !*name->region || strcmp(name->region, service->config->region) == 0;
	if (here && strcmp(head->account, head->request.account) == 0)
		return NULL;
	bool allowed = here &&
		       thaw_functions_get(service->store, head->account, name->name,
					  THAW_VERSION_LATEST, &item, NULL) == 0 &&
		       thaw_policy_allows(service, item.function.id, name->qualifier,
					  head->request.account, "lambda:InvokeFunction");
	thaw_function_item_clear(&item);
	if (allowed)
		return NULL;
	if (!here)
		return thaw_respond_no_function(service, head->account, name->name,
						name->qualifier);
	return thaw_api_error_response(
		"AccessDeniedException",
		"User: arn:aws:iam::%s:root is not authorized to perform: lambda:InvokeFunction on "
		"resource: arn:aws:lambda:%s:%s:function:%s because no resource-based policy "
		"allows "
		"the lambda:InvokeFunction action",
		head->request.account, service->config->region, head->account, name->name);
}

static struct thaw_http_response *check_size(const struct thaw_http_request *http, size_t max,
					     const char *type)
{
	if (http->body_size <= max)
		return NULL;
	return thaw_api_error_response("RequestTooLargeException",
				       "%zu byte payload is too large for the %s invocation type "
				       "(limit %zu bytes)",
				       http->body_size, type, max);
}

static struct thaw_http_response *check_payload(const struct thaw_http_request *http)
{
	struct thaw_error err = {0};

	struct thaw_http_response *refusal =
		check_size(http, THAW_INVOKE_PAYLOAD_MAX, "RequestResponse");
	if (refusal)
		return refusal;
	if (http->body_size && thaw_json_check(http->body, http->body_size, &err) < 0)
		return thaw_api_error_response("InvalidRequestContentException",
					       "Could not parse request body into json: %s",
					       err.message);
	return NULL;
}

/* All that is the same for every kind of invocation. NULL to go on. */
static struct thaw_http_response *head_check(struct head *head, struct thaw_service *service)
{
	struct thaw_http_response *refusal = thaw_request_refused(&head->request);

	if (!refusal)
		refusal = check_payload(head->request.call->request);
	return refusal ? refusal : head_permit(head, service);
}

/* No body is the event {}. */
static void plan_payload(struct thaw_invoke_plan *plan, const struct thaw_http_request *http)
{
	static const uint8_t none[] = "{}";

	plan->payload = http->body_size ? http->body : none;
	plan->payload_size = http->body_size ? http->body_size : 2;
}

static struct thaw_http_response *respond_refused(const struct thaw_invoke_answer *answer)
{
	if (answer->refusal_reason)
		return thaw_api_throttle_response(answer->refusal_reason, 1, answer->message);
	return thaw_api_error_response(answer->refusal_code, "%s", answer->message);
}

static void head_answer(struct thaw_http_response *response,
			const struct thaw_invoke_answer *answer)
{
	/* A response that lacks a header is not worth failing an invocation that ran. */
	thaw_http_response_header(response, "Content-Type", "application/json");
	thaw_http_response_header(response, "X-Amz-Executed-Version", answer->executed_version);
	if (answer->function_error)
		thaw_http_response_header(response, "X-Amz-Function-Error", answer->function_error);
	if (*answer->log_tail)
		thaw_http_response_header(response, "X-Amz-Log-Result", answer->log_tail);
}

/* The request is the opaque: it holds the payload until it is answered. */
static void invoked(void *opaque, const struct thaw_invoke_answer *answer)
{
	struct thaw_http_request *request = opaque;

	if (answer->refused) {
		thaw_http_respond(request, respond_refused(answer));
		return;
	}
	struct thaw_http_response *response = thaw_http_response_new(200);
	head_answer(response, answer);
	thaw_http_response_body_copy(response, answer->payload, answer->payload_size);
	thaw_http_respond(request, response);
}

/* The stream is the opaque. */
static void stream_part(void *opaque, const char *executed_version, const uint8_t *data,
			size_t size)
{
	thaw_event_stream_part(opaque, executed_version, data, size);
}

static void streamed(void *opaque, const struct thaw_invoke_answer *answer)
{
	struct thaw_event_stream *stream = opaque;

	if (answer->refused && !stream->begun)
		thaw_http_respond(stream->request, respond_refused(answer));
	else
		thaw_event_stream_end(stream, answer);
	free(stream);
}

/* Dry runs check all there is to check, and run nothing. */
static struct thaw_http_response *dry_run(const struct head *head, struct thaw_service *service)
{
	const struct thaw_function_name *name = &head->request.function;
	struct thaw_resolved resolved;
	struct thaw_error err = {0};

	int rc = thaw_targets_resolve(service->targets, head->account, name->name, name->qualifier,
				      &resolved, &err);
	if (rc == -ENOENT)
		return thaw_respond_no_function(service, head->account, name->name,
						name->qualifier);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	thaw_target_release(resolved.target);
	return thaw_respond_empty(204);
}

/* 202, when the event is on the disk. */
static struct thaw_http_response *enqueue(const struct head *head, struct thaw_service *service)
{
	const struct thaw_http_request *http = head->request.call->request;
	const struct thaw_function_name *name = &head->request.function;
	struct thaw_invoke_plan plan;
	struct thaw_resolved resolved;
	struct thaw_error err = {0};

	struct thaw_http_response *refusal = check_size(http, THAW_QUEUE_EVENT_MAX, "Event");
	if (refusal)
		return refusal;
	int rc = thaw_targets_resolve(service->targets, head->account, name->name, name->qualifier,
				      &resolved, &err);
	if (rc == -ENOENT)
		return thaw_respond_no_function(service, head->account, name->name,
						name->qualifier);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	plan_payload(&plan, http);
	const struct thaw_queue_event event = {
		.account = head->account,
		.function_id = resolved.target->function_id,
		.name = name->name,
		.qualifier = name->qualifier,
		.request_id = http->id,
		.trace_id = head->trace_id,
		.client_context = head->client_context,
		.payload = plan.payload,
		.payload_size = plan.payload_size,
	};
	thaw_target_release(resolved.target);
	rc = thaw_queue_put(service->queue, &event, &err);
	return rc < 0 ? thaw_respond_error(rc, &err, NULL) : thaw_respond_empty(202);
}

static void plan_init(struct thaw_invoke_plan *plan, const struct head *head)
{
	struct thaw_http_request *http = head->request.call->request;
	const struct thaw_function_name *name = &head->request.function;

	*plan = (struct thaw_invoke_plan){
		.account = head->account,
		.name = name->name,
		.qualifier = name->qualifier,
		.request_id = http->id,
		.trace_id = head->trace_id,
		.client_context = head->client_context,
		.tail = head->tail,
		.done = invoked,
		.opaque = http,
	};
	plan_payload(plan, http);
}

/* Answers the request later, or at once with what is returned. */
static struct thaw_http_response *submit(struct thaw_service *service,
					 const struct thaw_invoke_plan *plan)
{
	struct thaw_invoke_answer refusal;
	struct thaw_error err = {0};

	if (thaw_invoke_submit(service, plan, &refusal, &err) == 0)
		return NULL;
	if (refusal.status == 500)
		return thaw_respond_error(-EIO, &err, NULL);
	return respond_refused(&refusal);
}

static struct thaw_http_response *submit_stream(const struct head *head,
						struct thaw_service *service)
{
	struct thaw_event_stream *stream = calloc(1, sizeof(*stream));
	struct thaw_invoke_plan plan;

	if (!stream)
		return thaw_respond_error(-ENOMEM, NULL, NULL);
	stream->request = head->request.call->request;
	plan_init(&plan, head);
	plan.part = stream_part;
	plan.done = streamed;
	plan.opaque = stream;
	struct thaw_http_response *refusal = submit(service, &plan);
	if (refusal)
		free(stream);
	return refusal;
}

static void respond_unless_later(struct thaw_call *call, struct thaw_http_response *response)
{
	if (response)
		thaw_http_respond(call->request, response);
}

static struct thaw_http_response *invoke(struct thaw_service *service, struct thaw_call *call)
{
	static const char *const types[] = {"RequestResponse", "Event", "DryRun"};
	const char *type = thaw_http_header(call->request, "X-Amz-Invocation-Type");
	struct head head __attribute__((cleanup(head_clear))) = {0};
	struct thaw_invoke_plan plan;
	size_t index = 0;

	head_read(&head, service, call);
	if (type && !token_is(type, types, 3, &index))
		thaw_validation_add(
			&head.request.validation, type, "invocationType",
			"Member must satisfy enum value set: [Event, RequestResponse, DryRun]");
	struct thaw_http_response *refusal = head_check(&head, service);
	if (refusal)
		return refusal;
	switch (index) {
	case 1:
		return enqueue(&head, service);
	case 2:
		return dry_run(&head, service);
	default:
		plan_init(&plan, &head);
		return submit(service, &plan);
	}
}

void thaw_operation_invoke(void *service, struct thaw_call *call)
{
	respond_unless_later(call, invoke(service, call));
}

void thaw_operation_invoke_async(void *opaque, struct thaw_call *call)
{
	struct head head __attribute__((cleanup(head_clear))) = {0};
	struct thaw_service *service = opaque;

	head_read(&head, service, call);
	struct thaw_http_response *response = head_check(&head, service);
	if (!response)
		response = enqueue(&head, service);
	thaw_http_respond(call->request, response);
}

void thaw_operation_invoke_with_response_stream(void *opaque, struct thaw_call *call)
{
	struct head head __attribute__((cleanup(head_clear))) = {0};
	struct thaw_service *service = opaque;

	head_read(&head, service, call);
	struct thaw_http_response *response = head_check(&head, service);
	if (!response)
		response = submit_stream(&head, service);
	respond_unless_later(call, response);
}
