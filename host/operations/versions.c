/* SPDX-License-Identifier: Apache-2.0 */
/* PublishVersion, ListVersionsByFunction. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "host/daemon/snapshots.h"
#include "host/operations/common.h"
#include "host/operations/configuration.h"
#include "host/operations/function_config.h"
#include "host/operations/operations.h"
#include "host/operations/publish.h"

struct thaw_http_response *thaw_publish_version(struct thaw_service *service,
						const struct thaw_function_item *item,
						const char *description, const char *revision,
						const char *sha256, unsigned int status)
{
	json_t *config = thaw_json_stored(item->version.config);
	bool snap_start = thaw_config_snap_start(config);
	struct thaw_version_record made = {0};
	struct thaw_error err = {0};
	struct thaw_version_publish publish = {
		.description = description,
		.expected_revision = revision,
		.expected_sha256 = sha256,
		.state = snap_start ? "Pending" : "Active",
		.state_reason = snap_start ? "The function is being created." : NULL,
		.state_reason_code = snap_start ? "Creating" : NULL,
		.now_ms = thaw_now_ms(),
	};

	json_decref(config);
	int rc = thaw_versions_publish(service->store, item->function.id, &publish, &made, &err);
	if (rc == -EINVAL && sha256)
		return thaw_api_error_response(
			"InvalidParameterValueException",
			"CodeSHA256 (%s) is different from current CodeSHA256 in $LATEST (%s). "
			"Please try again with the CodeSHA256 in $LATEST.",
			sha256, item->version.code_sha256);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	if (rc == 1 && snap_start)
		thaw_snapshots_wanted(service->snapshots);
	struct thaw_http_response *response = thaw_respond_json(
		status, thaw_configuration_render(service, &item->function, &made, NULL));
	thaw_version_clear(&made);
	return response;
}

struct thaw_http_response *thaw_operation_publish_version(struct thaw_service *service,
							  struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	const char *description = NULL, *revision = NULL, *sha256 = NULL;

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, false);
	thaw_request_body(&request);
	if (thaw_object_string(&request.body, "Description", THAW_OPTIONAL, &description) == 1)
		thaw_shape_check(THAW_SHAPE_DESCRIPTION, description, "description",
				 &request.validation);
	thaw_object_string(&request.body, "RevisionId", THAW_OPTIONAL, &revision);
	thaw_object_string(&request.body, "CodeSha256", THAW_OPTIONAL, &sha256);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (!refusal)
		refusal = thaw_request_function(&request, THAW_VERSION_LATEST);
	if (refusal)
		return refusal;
	return thaw_publish_version(service, &request.item, description, revision, sha256, 201);
}

struct thaw_http_response *thaw_operation_list_versions_by_function(struct thaw_service *service,
								    struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	struct thaw_version_record *list;
	struct thaw_error err = {0};
	char next[24];
	size_t count;

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, true);
	thaw_request_page(&request, THAW_PAGE_ITEMS);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (!refusal)
		refusal = thaw_request_function(&request, THAW_VERSION_LATEST);
	if (refusal)
		return refusal;
	int64_t after = *request.marker ? strtoll(request.marker, NULL, 10) : -1;
	int more = thaw_versions_list(service->store, request.item.function.id, after, request.page,
				      &list, &count, &err);
	if (more < 0)
		return thaw_respond_error(more, &err, NULL);
	json_t *body = json_object(), *items = json_array();
	for (size_t i = 0; i < count; i++) {
		const char *qualifier = list[i].version == THAW_VERSION_LATEST ? "$LATEST" : NULL;
		json_array_append_new(items,
				      thaw_configuration_render(service, &request.item.function,
								&list[i], qualifier));
	}
	json_object_set_new(body, "Versions", items);
	if (more && count) {
		snprintf(next, sizeof(next), "%" PRId64, list[count - 1].version);
		thaw_request_next_marker(body, next);
	}
	thaw_versions_free(list, count);
	return thaw_respond_json(200, body);
}
