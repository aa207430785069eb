/* SPDX-License-Identifier: Apache-2.0 */
/* Reserved concurrency: a part of the account's that only this function uses, and its limit. */
#include <inttypes.h>

#include "host/daemon/targets.h"
#include "host/operations/common.h"
#include "host/operations/operations.h"
#include "host/store/provisioned.h"

static json_t *concurrency_json(int64_t reserved)
{
	if (reserved == THAW_STORE_UNSET)
		return json_object();
	return json_pack("{s:I}", "ReservedConcurrentExecutions", (json_int_t)reserved);
}

/* What is left for others, and what this function has promised already, both allow it. NULL to go
 * on; sets *rc when they cannot be asked. */
static struct thaw_http_response *concurrency_check(struct thaw_request *request, int64_t reserved,
						    int *rc, struct thaw_error *err)
{
	struct thaw_service *service = request->service;
	int64_t id = request->item.function.id, min = thaw_unreserved_min(service);
	int64_t left = 0, provisioned = 0;

	*rc = thaw_unreserved_left(service, request->account, id, NULL, &left, err);
	if (*rc == 0)
		*rc = thaw_provisioned_sum(service->store, id, NULL, &provisioned, err);
	if (*rc < 0)
		return NULL;
	if (reserved > left - min)
		return thaw_api_error_response("InvalidParameterValueException",
					       "Specified ReservedConcurrentExecutions for "
					       "function decreases account's "
					       "UnreservedConcurrentExecution below its minimum "
					       "value of [%" PRId64 "].",
					       min);
	if (reserved < provisioned)
		return thaw_api_error_response("InvalidParameterValueException",
					       "ReservedConcurrentExecutions  %" PRId64
					       " should not be lower than function's total "
					       "provisioned concurrency [%" PRId64 "].",
					       reserved, provisioned);
	return NULL;
}

/* In one scope: two functions must not both get the last of it. */
static struct thaw_http_response *concurrency_set(struct thaw_request *request, int64_t reserved)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	struct thaw_http_response *refusal = NULL;
	struct thaw_error err = {0};

	int rc = thaw_store_begin(&scope, request->service->store, &err);
	if (rc == 0 && reserved != THAW_STORE_UNSET)
		refusal = concurrency_check(request, reserved, &rc, &err);
	if (refusal)
		return refusal;
	if (rc == 0)
		rc = thaw_functions_set_reserved(scope.store, request->item.function.id, reserved,
						 &err);
	if (rc == 0)
		rc = thaw_store_commit(&scope, &err);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	thaw_targets_changed(request->service->targets, request->item.function.id);
	return NULL;
}

struct thaw_http_response *thaw_operation_put_function_concurrency(struct thaw_service *service,
								   struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	int64_t reserved = 0;

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, false);
	thaw_request_body(&request);
	thaw_object_integer(&request.body, "ReservedConcurrentExecutions", THAW_REQUIRED, 0,
			    INT32_MAX, &reserved);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (!refusal)
		refusal = thaw_request_unqualified(&request);
	if (!refusal)
		refusal = concurrency_set(&request, reserved);
	return refusal ? refusal : thaw_respond_json(200, concurrency_json(reserved));
}

struct thaw_http_response *thaw_operation_get_function_concurrency(struct thaw_service *service,
								   struct thaw_call *call)
{
	cleanup_request struct thaw_request request;

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, false);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (!refusal)
		refusal = thaw_request_unqualified(&request);
	if (refusal)
		return refusal;
	return thaw_respond_json(200, concurrency_json(request.item.function.reserved));
}

struct thaw_http_response *thaw_operation_delete_function_concurrency(struct thaw_service *service,
								      struct thaw_call *call)
{
	cleanup_request struct thaw_request request;

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, false);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (!refusal)
		refusal = thaw_request_unqualified(&request);
	if (!refusal)
		refusal = concurrency_set(&request, THAW_STORE_UNSET);
	return refusal ? refusal : thaw_respond_empty(204);
}
