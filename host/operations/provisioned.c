/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Provisioned concurrency: environments that are kept ready, of a version or of what an alias
 * points to. What is asked for is written here; making it so, and the status, is host/daemon's.
 */
#include "host/store/provisioned.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "host/daemon/targets.h"
#include "host/operations/common.h"
#include "host/operations/operations.h"
#include "host/store/aliases.h"

#define cleanup_provisioned __attribute__((cleanup(thaw_provisioned_clear)))
#define cleanup_alias       __attribute__((cleanup(thaw_alias_clear)))

/* "2026-01-31T12:00:00+0000": here Lambda writes no milliseconds. */
static void provisioned_time(int64_t ms, char text[THAW_TIME_TEXT])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm utc;

	gmtime_r(&seconds, &utc);
	strftime(text, THAW_TIME_TEXT, "%Y-%m-%dT%H:%M:%S+0000", &utc);
}

static int64_t version_ready(struct thaw_service *service, int64_t function_id, int64_t version)
{
	uint32_t environments[THAW_POOL_STATES] = {0};
	struct thaw_target *target;

	/* Nothing to count is 0, whatever the reason: the status tells what went wrong. */
	if (thaw_targets_get(service->targets, function_id, version, &target, NULL) < 0)
		return 0;
	thaw_pool_count_target(service->pool, target->key, environments);
	thaw_target_release(target);
	return (int64_t)environments[THAW_POOL_IDLE] + environments[THAW_POOL_BUSY];
}

/* How many of those asked for there are. An alias has those of its first version. */
static int64_t provisioned_ready(struct thaw_service *service,
				 const struct thaw_provisioned *provisioned)
{
	cleanup_alias struct thaw_alias alias = {0};

	if (!thaw_version_parse(provisioned->qualifier, &alias.version) &&
	    thaw_aliases_get(service->store, provisioned->function_id, provisioned->qualifier,
			     &alias, NULL) < 0)
		return 0;
	int64_t count = version_ready(service, provisioned->function_id, alias.version);
	/* Those started on demand are not provisioned. */
	return count < provisioned->requested ? count : provisioned->requested;
}

static json_t *provisioned_json(struct thaw_service *service,
				const struct thaw_provisioned *provisioned)
{
	json_int_t ready = (json_int_t)provisioned_ready(service, provisioned);
	const char *status = provisioned->status;
	char modified[THAW_TIME_TEXT];

	/* The store knows whether it could be asked for, the pool how far it has come. */
	if (strcmp(status, "READY") == 0 && ready < provisioned->requested)
		status = "IN_PROGRESS";
	provisioned_time(provisioned->last_modified_ms, modified);
	json_t *body = json_pack(
		"{s:I, s:I, s:I, s:s, s:s}", "RequestedProvisionedConcurrentExecutions",
		(json_int_t)provisioned->requested, "AvailableProvisionedConcurrentExecutions",
		ready, "AllocatedProvisionedConcurrentExecutions", ready, "Status", status,
		"LastModified", modified);
	if (body && provisioned->status_reason)
		json_object_set_new(body, "StatusReason", json_string(provisioned->status_reason));
	return body;
}

/* Name and qualifier, and that it is there: a version or an alias. NULL to go on. */
static struct thaw_http_response *provisioned_request(struct thaw_request *request)
{
	thaw_request_needs_qualifier(request);
	struct thaw_http_response *refusal = thaw_request_refused(request);
	if (refusal)
		return refusal;
	if (strcmp(request->function.qualifier, "$LATEST") == 0)
		return thaw_api_error_response("InvalidParameterValueException",
					       "Provisioned Concurrency Configs cannot be applied "
					       "to unpublished function versions.");
	return thaw_request_version(request);
}

/* --- what may be asked for --- */

/* Whether the version, or an alias of it but the one asked for, has them: 1, 0, or a negative
 * errno. */
static int provisioned_elsewhere(struct thaw_request *request, const char *text,
				 struct thaw_error *err)
{
	struct thaw_store *store = request->service->store;
	int64_t id = request->item.function.id, version = request->item.version.version;
	const char *qualifier = request->function.qualifier;
	struct thaw_alias *list;
	size_t count;
	int rc = -ENOENT;

	if (strcmp(qualifier, text) != 0)
		rc = thaw_provisioned_get(store, id, text, NULL, err);
	if (rc != -ENOENT)
		return rc < 0 ? rc : 1;
	rc = thaw_aliases_list(store, id, version, NULL, THAW_STORE_PAGE_MAX, &list, &count, err);
	if (rc < 0)
		return rc;
	rc = -ENOENT;
	for (size_t i = 0; i < count && rc == -ENOENT; i++) {
		if (list[i].version == version && strcmp(list[i].name, qualifier) != 0)
			rc = thaw_provisioned_get(store, id, list[i].name, NULL, err);
	}
	thaw_aliases_free(list, count);
	return rc == -ENOENT ? 0 : rc < 0 ? rc : 1;
}

static struct thaw_http_response *provisioned_reserved(const struct thaw_request *request,
						       int64_t wanted, int *rc,
						       struct thaw_error *err)
{
	int64_t sum = 0;

	*rc = thaw_provisioned_sum(request->service->store, request->item.function.id,
				   request->function.qualifier, &sum, err);
	if (*rc == 0 && wanted > request->item.function.reserved - sum)
		return thaw_api_error_response("InvalidParameterValueException",
					       "Requested Provisioned Concurrency should not be "
					       "greater than the reservedConcurrentExecution for "
					       "function");
	return NULL;
}

static struct thaw_http_response *provisioned_unreserved(const struct thaw_request *request,
							 int64_t wanted, int *rc,
							 struct thaw_error *err)
{
	int64_t left = 0, min = thaw_unreserved_min(request->service);

	*rc = thaw_unreserved_left(request->service, request->account, request->item.function.id,
				   request->function.qualifier, &left, err);
	if (*rc < 0)
		return NULL;
	if (wanted > left)
		return thaw_api_error_response("InvalidParameterValueException",
					       "Specified ConcurrentExecutions for function is "
					       "greater than account's unreserved concurrency "
					       "[%" PRId64 "].",
					       left > 0 ? left : 0);
	if (wanted > left - min)
		return thaw_api_error_response("InvalidParameterValueException",
					       "Specified ConcurrentExecutions for function "
					       "decreases account's UnreservedConcurrentExecution "
					       "below its minimum value of [%" PRId64 "].",
					       min);
	return NULL;
}

static struct thaw_http_response *provisioned_check(struct thaw_request *request, int64_t wanted,
						    int *rc, struct thaw_error *err)
{
	char text[24];

	/* One version's environments are asked for once: by it, or by one alias. */
	thaw_version_text(request->item.version.version, text);
	*rc = provisioned_elsewhere(request, text, err);
	if (*rc > 0)
		return thaw_api_error_response(
			"InvalidParameterValueException", "%s",
			strcmp(request->function.qualifier, text) == 0
				? "Version is pointed by a Provisioned Concurrency alias"
				: "Alias can't be used for Provisioned Concurrency configuration "
				  "on an already Provisioned version");
	if (*rc < 0)
		return NULL;
	if (request->item.function.reserved != THAW_STORE_UNSET)
		return provisioned_reserved(request, wanted, rc, err);
	return provisioned_unreserved(request, wanted, rc, err);
}

/* In one scope with what it is compared to. */
static struct thaw_http_response *provisioned_set(struct thaw_request *request,
						  const struct thaw_provisioned *provisioned)
{
	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
	struct thaw_error err = {0};

	int rc = thaw_store_begin(&scope, request->service->store, &err);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	/* Again: its reservation is compared. */
	struct thaw_http_response *refusal = thaw_request_version(request);
	if (!refusal)
		refusal = provisioned_check(request, provisioned->requested, &rc, &err);
	if (refusal)
		return refusal;
	if (rc == 0)
		rc = thaw_provisioned_put(scope.store, provisioned, &err);
	if (rc == 0)
		rc = thaw_store_commit(&scope, &err);
	return rc < 0 ? thaw_respond_error(rc, &err, NULL) : NULL;
}

/* --- the operations --- */

struct thaw_http_response *
thaw_operation_put_provisioned_concurrency_config(struct thaw_service *service,
						  struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	struct thaw_provisioned provisioned = {.status = (char *)"IN_PROGRESS"};

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, true);
	thaw_request_body(&request);
	thaw_object_integer(&request.body, "ProvisionedConcurrentExecutions", THAW_REQUIRED, 1,
			    INT32_MAX, &provisioned.requested);
	struct thaw_http_response *refusal = provisioned_request(&request);
	if (refusal)
		return refusal;
	provisioned.function_id = request.item.function.id;
	provisioned.qualifier = request.function.qualifier;
	provisioned.last_modified_ms = thaw_now_ms();
	refusal = provisioned_set(&request, &provisioned);
	if (refusal)
		return refusal;
	thaw_targets_changed(service->targets, provisioned.function_id);
	return thaw_respond_json(202, provisioned_json(service, &provisioned));
}

static struct thaw_http_response *provisioned_not_found(void)
{
	return thaw_api_error_response("ProvisionedConcurrencyConfigNotFoundException",
				       "No Provisioned Concurrency Config found for this function");
}

struct thaw_http_response *
thaw_operation_get_provisioned_concurrency_config(struct thaw_service *service,
						  struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	cleanup_provisioned struct thaw_provisioned provisioned = {0};
	struct thaw_error err = {0};

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, true);
	struct thaw_http_response *refusal = provisioned_request(&request);
	if (refusal)
		return refusal;
	int rc = thaw_provisioned_get(service->store, request.item.function.id,
				      request.function.qualifier, &provisioned, &err);
	if (rc == -ENOENT)
		return provisioned_not_found();
	return rc < 0 ? thaw_respond_error(rc, &err, NULL)
		      : thaw_respond_json(200, provisioned_json(service, &provisioned));
}

struct thaw_http_response *
thaw_operation_delete_provisioned_concurrency_config(struct thaw_service *service,
						     struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	struct thaw_error err = {0};

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, true);
	struct thaw_http_response *refusal = provisioned_request(&request);
	if (refusal)
		return refusal;
	int rc = thaw_provisioned_delete(service->store, request.item.function.id,
					 request.function.qualifier, &err);
	/* AWS says the same whether there was one. */
	if (rc < 0 && rc != -ENOENT)
		return thaw_respond_error(rc, &err, NULL);
	if (rc == 0)
		thaw_targets_changed(service->targets, request.item.function.id);
	return thaw_respond_empty(204);
}

struct thaw_http_response *
thaw_operation_list_provisioned_concurrency_configs(struct thaw_service *service,
						    struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	struct thaw_provisioned *list;
	struct thaw_error err = {0};
	char arn[THAW_ARN_TEXT];
	size_t count;

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, false);
	thaw_request_page(&request, THAW_PAGE_ITEMS);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (!refusal)
		refusal = thaw_request_unqualified(&request);
	if (refusal)
		return refusal;
	int rc = thaw_provisioned_list(service->store, request.item.function.id,
				       *request.marker ? request.marker : NULL, request.page, &list,
				       &count, &err);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	json_t *body = json_object(), *configs = json_array();
	json_object_set_new(body, "ProvisionedConcurrencyConfigs", configs);
	for (size_t i = 0; i < count; i++) {
		json_t *item = provisioned_json(service, &list[i]);
		thaw_arn_function(service, request.account, request.item.function.name,
				  list[i].qualifier, arn);
		json_object_set_new(item, "FunctionArn", json_string(arn));
		json_array_append_new(configs, item);
	}
	if (rc > 0)
		thaw_request_next_marker(body, list[count - 1].qualifier);
	thaw_provisioned_free(list, count);
	return thaw_respond_json(200, body);
}
