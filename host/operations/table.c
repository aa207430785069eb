/* SPDX-License-Identifier: Apache-2.0 */
/* The operations: a row each. */
#include <errno.h>
#include <stdlib.h>

#include "host/json_memory.h"
#include "host/archive.h"
#include "host/daemon/works.h"
#include "host/daemon/front.h"
#include "host/daemon/invoke.h"
#include "host/operations/download.h"
#include "host/operations/operation.h"
#include "host/operations/operations.h"

/* A ZIP file in base64, and what stands around it. */
#define CODE_BODY   (THAW_ARCHIVE_SIZE_MAX / 3 * 4 + (1 << 20))
#define CONFIG_BODY (1 << 20)
/* What is a little over the limit is refused in Lambda's words, by the operation. */
#define EVENT_BODY (THAW_INVOKE_PAYLOAD_MAX + (1 << 20))

#define FUNCTIONS "/2015-03-31/functions"
#define FUNCTION  FUNCTIONS "/{FunctionName}"
#define LAYERS    "/2018-10-31/layers"
#define LAYER     LAYERS "/{LayerName}/versions"
#define EVENTS    "/2019-09-25/functions/{FunctionName}/event-invoke-config"
#define PROVIDED  "/2019-09-30/functions/{FunctionName}/provisioned-concurrency"

/* Answered when they like: `handle` is the router's. */
static const struct thaw_route direct[] = {
	{"POST", FUNCTION "/invocations", "Invoke", EVENT_BODY, NULL, thaw_operation_invoke},
	{"POST", "/2014-11-13/functions/{FunctionName}/invoke-async", "InvokeAsync", EVENT_BODY,
	 NULL, thaw_operation_invoke_async},
	{"POST", "/2021-11-15/functions/{FunctionName}/response-streaming-invocations",
	 "InvokeWithResponseStream", EVENT_BODY, NULL, thaw_operation_invoke_with_response_stream},
	{"GET", THAW_ARCHIVE_PATH, THAW_ARCHIVE_OPERATION, 0, NULL, thaw_archive_handle},
};

/* Performed by the service's threads. */
static const struct thaw_operation operations[] = {
	{"POST", FUNCTIONS, "CreateFunction", CODE_BODY, NULL, thaw_operation_create_function},
	{"GET", FUNCTIONS, "ListFunctions", 0, NULL, thaw_operation_list_functions},
	{"GET", FUNCTION, "GetFunction", 0, NULL, thaw_operation_get_function},
	{"DELETE", FUNCTION, "DeleteFunction", 0, NULL, thaw_operation_delete_function},
	{"GET", FUNCTION "/configuration", "GetFunctionConfiguration", 0, NULL,
	 thaw_operation_get_function_configuration},
	{"PUT", FUNCTION "/configuration", "UpdateFunctionConfiguration", CONFIG_BODY, NULL,
	 thaw_operation_update_function_configuration},
	{"PUT", FUNCTION "/code", "UpdateFunctionCode", CODE_BODY, NULL,
	 thaw_operation_update_function_code},
	{"POST", FUNCTION "/versions", "PublishVersion", CONFIG_BODY, NULL,
	 thaw_operation_publish_version},
	{"GET", FUNCTION "/versions", "ListVersionsByFunction", 0, NULL,
	 thaw_operation_list_versions_by_function},
	{"POST", FUNCTION "/aliases", "CreateAlias", CONFIG_BODY, NULL,
	 thaw_operation_create_alias},
	{"GET", FUNCTION "/aliases", "ListAliases", 0, NULL, thaw_operation_list_aliases},
	{"GET", FUNCTION "/aliases/{Name}", "GetAlias", 0, NULL, thaw_operation_get_alias},
	{"PUT", FUNCTION "/aliases/{Name}", "UpdateAlias", CONFIG_BODY, NULL,
	 thaw_operation_update_alias},
	{"DELETE", FUNCTION "/aliases/{Name}", "DeleteAlias", 0, NULL, thaw_operation_delete_alias},
	{"POST", FUNCTION "/policy", "AddPermission", CONFIG_BODY, NULL,
	 thaw_operation_add_permission},
	{"GET", FUNCTION "/policy", "GetPolicy", 0, NULL, thaw_operation_get_policy},
	{"DELETE", FUNCTION "/policy/{StatementId}", "RemovePermission", 0, NULL,
	 thaw_operation_remove_permission},
	{"PUT", "/2017-10-31/functions/{FunctionName}/concurrency", "PutFunctionConcurrency",
	 CONFIG_BODY, NULL, thaw_operation_put_function_concurrency},
	{"DELETE", "/2017-10-31/functions/{FunctionName}/concurrency", "DeleteFunctionConcurrency",
	 0, NULL, thaw_operation_delete_function_concurrency},
	{"GET", "/2019-09-30/functions/{FunctionName}/concurrency", "GetFunctionConcurrency", 0,
	 NULL, thaw_operation_get_function_concurrency},
	{"GET", PROVIDED "?List=ALL", "ListProvisionedConcurrencyConfigs", 0, NULL,
	 thaw_operation_list_provisioned_concurrency_configs},
	{"GET", PROVIDED, "GetProvisionedConcurrencyConfig", 0, NULL,
	 thaw_operation_get_provisioned_concurrency_config},
	{"PUT", PROVIDED, "PutProvisionedConcurrencyConfig", CONFIG_BODY, NULL,
	 thaw_operation_put_provisioned_concurrency_config},
	{"DELETE", PROVIDED, "DeleteProvisionedConcurrencyConfig", 0, NULL,
	 thaw_operation_delete_provisioned_concurrency_config},
	{"GET", EVENTS "/list", "ListFunctionEventInvokeConfigs", 0, NULL,
	 thaw_operation_list_function_event_invoke_configs},
	{"PUT", EVENTS, "PutFunctionEventInvokeConfig", CONFIG_BODY, NULL,
	 thaw_operation_put_function_event_invoke_config},
	{"POST", EVENTS, "UpdateFunctionEventInvokeConfig", CONFIG_BODY, NULL,
	 thaw_operation_update_function_event_invoke_config},
	{"GET", EVENTS, "GetFunctionEventInvokeConfig", 0, NULL,
	 thaw_operation_get_function_event_invoke_config},
	{"DELETE", EVENTS, "DeleteFunctionEventInvokeConfig", 0, NULL,
	 thaw_operation_delete_function_event_invoke_config},
	{"GET", LAYERS "?find=LayerVersion", "GetLayerVersionByArn", 0, NULL,
	 thaw_operation_get_layer_version_by_arn},
	{"GET", LAYERS, "ListLayers", 0, NULL, thaw_operation_list_layers},
	{"POST", LAYER, "PublishLayerVersion", CODE_BODY, NULL,
	 thaw_operation_publish_layer_version},
	{"GET", LAYER, "ListLayerVersions", 0, NULL, thaw_operation_list_layer_versions},
	{"GET", LAYER "/{VersionNumber}", "GetLayerVersion", 0, NULL,
	 thaw_operation_get_layer_version},
	{"DELETE", LAYER "/{VersionNumber}", "DeleteLayerVersion", 0, NULL,
	 thaw_operation_delete_layer_version},
	{"GET", "/2017-03-31/tags/{Resource}", "ListTags", 0, NULL, thaw_operation_list_tags},
	{"POST", "/2017-03-31/tags/{Resource}", "TagResource", CONFIG_BODY, NULL,
	 thaw_operation_tag_resource},
	{"DELETE", "/2017-03-31/tags/{Resource}", "UntagResource", 0, "tagKeys",
	 thaw_operation_untag_resource},
	{"GET", "/2016-08-19/account-settings", "GetAccountSettings", 0, NULL,
	 thaw_operation_get_account_settings},
	{"GET", "/metrics", "GetMetrics", 0, NULL, thaw_operation_metrics},
};

#define DIRECT     (sizeof(direct) / sizeof(direct[0]))
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

/* A call on its way to a thread. */
struct performance {
	struct thaw_service *service;
	struct thaw_call *call;
	thaw_operation_fn *perform;
};

static void performance_run(void *context)
{
	struct performance *p = context;

	thaw_json_memory_begin();
	pthread_rwlock_rdlock(&p->service->code_lock);
	struct thaw_http_response *response = p->perform(p->service, p->call);
	pthread_rwlock_unlock(&p->service->code_lock);
	/* What it says, good or bad, may be for want of a member. */
	if (thaw_json_memory_lost()) {
		thaw_http_response_free(response);
		response = thaw_respond_error(-ENOMEM, NULL, NULL);
	}
	thaw_json_memory_end();
	thaw_http_respond(p->call->request, response);
	free(p);
}

static void operation_handle(void *opaque, struct thaw_call *call)
{
	struct thaw_service *service = opaque;
	struct performance *p = malloc(sizeof(*p));
	size_t row = (size_t)(call->route - service->router.routes) - DIRECT;

	if (!p) {
		thaw_http_respond(call->request, NULL);
		return;
	}
	*p = (struct performance){service, call, operations[row].perform};
	int rc = thaw_works_submit(service->works, thaw_call_account(call), performance_run, p);
	if (rc == 0)
		return;
	free(p);
	thaw_http_respond(call->request, rc == -EAGAIN ? thaw_api_throttle_response(
								 "CallerRateLimitExceeded", 1, NULL)
						       : NULL);
}

/* Downloads are signed in a way of their own. */
static struct thaw_http_response *operation_admit(void *service, struct thaw_call *call)
{
	return thaw_archive_call(call) ? thaw_archive_admit(service, call)
				       : thaw_keys_admit(service, call);
}

static struct thaw_http_response *operation_authorize(void *service, struct thaw_call *call)
{
	return thaw_archive_call(call) ? NULL : thaw_keys_authorize(service, call);
}

int thaw_operations_router(struct thaw_service *service, struct thaw_router *router,
			   struct thaw_error *err)
{
	struct thaw_route *routes = calloc(DIRECT + OPERATIONS, sizeof(*routes));

	if (!routes)
		return thaw_error_errno(err, ENOMEM, "the table of operations");
	for (size_t i = 0; i < DIRECT; i++)
		routes[i] = direct[i];
	for (size_t i = 0; i < OPERATIONS; i++) {
		const struct thaw_operation *row = &operations[i];
		routes[DIRECT + i] =
			(struct thaw_route){row->method,     row->path,     row->name,
					    row->body_limit, row->repeated, operation_handle};
	}
	*router = (struct thaw_router){
		.routes = routes,
		.count = DIRECT + OPERATIONS,
		.admit = operation_admit,
		.authorize = operation_authorize,
		.opaque = service,
	};
	return 0;
}

void thaw_operations_router_clear(struct thaw_router *router)
{
	free((void *)router->routes);
	*router = (struct thaw_router){0};
}
