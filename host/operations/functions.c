/* SPDX-License-Identifier: Apache-2.0 */
/* CreateFunction, GetFunction, GetFunctionConfiguration, UpdateFunctionCode,
 * UpdateFunctionConfiguration, DeleteFunction, ListFunctions. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host/daemon/snapshots.h"
#include "host/daemon/targets.h"
#include "host/operations/code.h"
#include "host/operations/common.h"
#include "host/operations/configuration.h"
#include "host/operations/download.h"
#include "host/operations/function_config.h"
#include "host/operations/operations.h"
#include "host/operations/publish.h"
#include "host/operations/tags.h"
#include "host/store/usage.h"
#include "host/telemetry/metrics.h"

/* --- shared --- */

/* Puts text of the configuration into the version. */
static struct thaw_http_response *version_take_config(struct thaw_version_record *version,
						      json_t *config)
{
	char *text = json_dumps(config, JSON_COMPACT | JSON_SORT_KEYS);

	if (!text)
		return thaw_respond_error(-ENOMEM, NULL, NULL);
	free(version->config);
	version->config = text;
	return NULL;
}

static void read_description(struct thaw_request *request, struct thaw_version_record *version)
{
	const char *text;

	if (thaw_object_string(&request->body, "Description", THAW_OPTIONAL, &text) != 1 ||
	    thaw_shape_check(THAW_SHAPE_DESCRIPTION, text, "description", &request->validation) < 0)
		return;
	char *copy = strdup(text);
	if (copy) {
		free(version->description);
		version->description = copy;
	}
}

static struct thaw_http_response *check_storage(struct thaw_service *service, const char *account,
						size_t more)
{
	struct thaw_error err = {0};
	struct thaw_usage usage;

	int rc = thaw_usage_account(service->store, account, &usage, &err);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	if (usage.code_bytes + (int64_t)more > THAW_ACCOUNT_CODE_BYTES)
		return thaw_api_error_response("CodeStorageExceededException",
					       "Code storage limit exceeded.");
	return NULL;
}

static struct thaw_http_response *respond_configuration(struct thaw_service *service,
							unsigned int status,
							const struct thaw_function_record *function,
							const struct thaw_version_record *version)
{
	return thaw_respond_json(status,
				 thaw_configuration_render(service, function, version, NULL));
}

/* --- creation --- */

static json_t *read_tags(struct thaw_request *request)
{
	const json_t *map;
	const char *key;
	json_t *value;

	if (thaw_object_map(&request->body, "Tags", THAW_OPTIONAL, THAW_TAGS_MAX, &map) != 1)
		return json_object();
	json_object_foreach((json_t *)map, key, value)
	{
		thaw_shape_check(THAW_SHAPE_TAG_KEY, key, "tags", &request->validation);
		thaw_shape_check(THAW_SHAPE_TAG_VALUE, json_string_value(value), "tags",
				 &request->validation);
	}
	return json_deep_copy(map);
}

struct creation {
	struct thaw_request request;
	json_t *config, *tags;
	struct thaw_function_item item; /* its texts are owned */
	uint8_t *archive;
	size_t archive_size;
	bool publish;
};

static void creation_clear(struct creation *c)
{
	thaw_request_clear(&c->request);
	json_decref(c->config);
	json_decref(c->tags);
	thaw_function_item_clear(&c->item);
	free(c->archive);
}

static struct thaw_http_response *creation_read(struct creation *c)
{
	struct thaw_request *request = &c->request;
	struct thaw_object code;
	const char *name;

	thaw_request_body(request);
	if (thaw_object_string(&request->body, "FunctionName", THAW_REQUIRED, &name) == 1)
		thaw_function_name_parse(name, false, "functionName", &request->function,
					 &request->validation);
	thaw_config_merge(request, c->config, true);
	read_description(request, &c->item.version);
	c->tags = read_tags(request);
	thaw_object_boolean(&request->body, "Publish", THAW_OPTIONAL, &c->publish);
	bool there = thaw_object_object(&request->body, "Code", THAW_REQUIRED, &code) == 1 &&
		     thaw_code_read(request, &code, &c->archive, &c->archive_size);
	struct thaw_http_response *refusal = thaw_request_refused(request);
	if (!refusal)
		refusal = thaw_tags_check(c->tags);
	if (!refusal && !there)
		refusal = thaw_api_error_response("InvalidParameterValueException",
						  "Please provide a source for function code.");
	if (!refusal && ((*request->function.account &&
			  strcmp(request->function.account, request->account) != 0) ||
			 *request->function.qualifier))
		refusal = thaw_api_error_response(
			"InvalidParameterValueException",
			"The function's name must be one of the caller's account, and has no "
			"qualifier.");
	return refusal;
}

static struct thaw_http_response *creation_write(struct creation *c, struct thaw_service *service,
						 struct thaw_function_item *made)
{
	struct thaw_function_item *item = &c->item;
	struct thaw_error err = {0};

	item->function.account = strdup(c->request.account);
	item->function.name = strdup(c->request.function.name);
	item->function.tags = json_dumps(c->tags, JSON_COMPACT);
	item->function.reserved = THAW_STORE_UNSET;
	item->function.created_ms = item->version.last_modified_ms = thaw_now_ms();
	if (!item->version.description)
		item->version.description = strdup("");
	item->version.state = strdup("Active");
	item->version.last_update_status = strdup("Successful");
	if (!item->function.account || !item->function.name || !item->function.tags ||
	    !item->version.description || !item->version.state || !item->version.last_update_status)
		return thaw_respond_error(-ENOMEM, NULL, NULL);
	int rc = thaw_functions_create(service->store, item, made, &err);
	if (rc == -EEXIST)
		return thaw_api_error_response("ResourceConflictException",
					       "Function already exist: %s", item->function.name);
	return rc < 0 ? thaw_respond_error(rc, &err, NULL) : NULL;
}

struct thaw_http_response *thaw_operation_create_function(struct thaw_service *service,
							  struct thaw_call *call)
{
	struct creation c __attribute__((cleanup(creation_clear))) = {.config = json_object()};
	struct thaw_function_item made = {0};

	thaw_request_init(&c.request, service, call);
	struct thaw_http_response *response = creation_read(&c);
	if (!response)
		response = check_storage(service, c.request.account, c.archive_size);
	if (!response &&
	    thaw_functions_get(service->store, c.request.account, c.request.function.name,
			       THAW_VERSION_LATEST, NULL, NULL) == 0)
		response = thaw_api_error_response("ResourceConflictException",
						   "Function already exist: %s",
						   c.request.function.name);
	if (!response)
		response = thaw_code_keep(service, c.archive, c.archive_size, &c.item.version);
	if (!response)
		response = thaw_code_make(service, c.request.account, &c.item.version, c.config);
	if (!response)
		response = version_take_config(&c.item.version, c.config);
	if (!response)
		response = creation_write(&c, service, &made);
	if (response)
		return response;
	if (c.publish)
		response = thaw_publish_version(service, &made, NULL, NULL, NULL, 201);
	else
		response = respond_configuration(service, 201, &made.function, &made.version);
	thaw_function_item_clear(&made);
	return response;
}

/* --- reading --- */

struct thaw_http_response *thaw_operation_get_function_configuration(struct thaw_service *service,
								     struct thaw_call *call)
{
	cleanup_request struct thaw_request request;

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, true);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (!refusal)
		refusal = thaw_request_version(&request);
	if (refusal)
		return refusal;
	const char *qualifier = *request.function.qualifier ? request.function.qualifier : NULL;
	return thaw_respond_json(200, thaw_configuration_render(service, &request.item.function,
								&request.item.version, qualifier));
}

struct thaw_http_response *thaw_operation_get_function(struct thaw_service *service,
						       struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	char location[THAW_LOCATION_TEXT];

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, true);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (!refusal)
		refusal = thaw_request_version(&request);
	if (refusal)
		return refusal;
	const struct thaw_function_record *function = &request.item.function;
	const char *qualifier = *request.function.qualifier ? request.function.qualifier : NULL;
	json_t *body = json_object();
	json_object_set_new(
		body, "Configuration",
		thaw_configuration_render(service, function, &request.item.version, qualifier));
	json_t *code = json_pack("{s:s}", "RepositoryType", "S3");
	if (thaw_archive_location(service, call, request.item.version.code_sha256, location,
				  sizeof(location)) == 0)
		json_object_set_new(code, "Location", json_string(location));
	json_object_set_new(body, "Code", code);
	json_t *tags = thaw_json_stored(function->tags);
	if (json_object_size(tags))
		json_object_set(body, "Tags", tags);
	json_decref(tags);
	if (function->reserved >= 0)
		json_object_set_new(body, "Concurrency",
				    json_pack("{s:I}", "ReservedConcurrentExecutions",
					      (json_int_t)function->reserved));
	return thaw_respond_json(200, body);
}

struct thaw_http_response *thaw_operation_list_functions(struct thaw_service *service,
							 struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	const char *versions = thaw_call_query(call, "FunctionVersion");
	struct thaw_function_item *list;
	struct thaw_error err = {0};
	int64_t after_version = -1;
	char next[THAW_MARKER_TEXT];
	size_t count;

	thaw_request_init(&request, service, call);
	thaw_request_page(&request, THAW_PAGE_ITEMS);
	if (versions && strcmp(versions, "ALL") != 0)
		thaw_validation_add(&request.validation, versions, "functionVersion",
				    "Member must satisfy enum value set: [ALL]");
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (refusal)
		return refusal;
	/* "name:version" of the last item before. */
	char *colon = strrchr(request.marker, ':');
	if (colon) {
		*colon = 0;
		after_version = strtoll(colon + 1, NULL, 10);
	}
	int more = thaw_functions_list(service->store, request.account, versions,
				       colon ? request.marker : NULL, after_version, request.page,
				       &list, &count, &err);
	if (more < 0)
		return thaw_respond_error(more, &err, NULL);
	json_t *body = json_object(), *items = json_array();
	for (size_t i = 0; i < count; i++) {
		char number[24];
		thaw_version_text(list[i].version.version, number);
		json_array_append_new(items, thaw_configuration_render(service, &list[i].function,
								       &list[i].version,
								       versions ? number : NULL));
	}
	json_object_set_new(body, "Functions", items);
	if (more && count) {
		snprintf(next, sizeof(next), "%s:%" PRId64, list[count - 1].function.name,
			 list[count - 1].version.version);
		thaw_request_next_marker(body, next);
	}
	thaw_function_items_free(list, count);
	return thaw_respond_json(200, body);
}

/* --- changing --- */

/* The two updates: what is read of the body differs, what is done with it does not. */
struct update {
	struct thaw_request request;
	json_t *config;
	struct thaw_version_record next;
	const char *revision;
	uint8_t *archive;
	size_t archive_size;
	bool publish, dry_run;
};

static void update_clear(struct update *u)
{
	thaw_request_clear(&u->request);
	json_decref(u->config);
	thaw_version_clear(&u->next);
	free(u->archive);
}

/* $LATEST as it is, and its configuration to be changed. */
static struct thaw_http_response *update_load(struct update *u, struct thaw_service *service)
{
	struct thaw_error err = {0};

	struct thaw_http_response *refusal =
		thaw_request_function(&u->request, THAW_VERSION_LATEST);
	if (refusal)
		return refusal;
	int rc = thaw_versions_get(service->store, u->request.item.function.id, THAW_VERSION_LATEST,
				   &u->next, &err);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	if (u->revision && strcmp(u->revision, u->next.revision_id) != 0)
		return thaw_respond_error(-ESTALE, NULL, NULL);
	return NULL;
}

static struct thaw_http_response *update_write(struct update *u, struct thaw_service *service,
					       struct thaw_version_record *made)
{
	struct thaw_error err = {0};

	struct thaw_http_response *refusal = version_take_config(&u->next, u->config);
	if (refusal)
		return refusal;
	u->next.last_modified_ms = thaw_now_ms();
	/* The revision that was read: what somebody else has changed meanwhile is not undone. */
	int rc = thaw_versions_update(service->store, u->request.item.function.id, &u->next,
				      u->request.item.version.revision_id, made, &err);
	if (rc == -ESTALE && !u->revision)
		return thaw_api_error_response("ResourceConflictException",
					       "The operation cannot be performed at this time. An "
					       "update is in progress for resource: %s",
					       u->request.item.function.name);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	thaw_targets_changed(service->targets, u->request.item.function.id);
	return NULL;
}

static struct thaw_http_response *update_finish(struct update *u, struct thaw_service *service)
{
	struct thaw_version_record made = {0};
	struct thaw_function_item item;

	struct thaw_http_response *response = update_write(u, service, &made);
	if (response)
		return response;
	if (u->publish) {
		item.function = u->request.item.function; /* borrowed */
		item.version = made;
		response = thaw_publish_version(service, &item, NULL, NULL, NULL, 200);
	} else {
		response = respond_configuration(service, 200, &u->request.item.function, &made);
	}
	thaw_version_clear(&made);
	return response;
}

static void read_revision(struct thaw_request *request, const char **revision)
{
	thaw_object_string(&request->body, "RevisionId", THAW_OPTIONAL, revision);
}

struct thaw_http_response *thaw_operation_update_function_code(struct thaw_service *service,
							       struct thaw_call *call)
{
	struct update u __attribute__((cleanup(update_clear))) = {0};
	const json_t *machines;

	thaw_request_init(&u.request, service, call);
	thaw_request_name(&u.request, false);
	thaw_request_body(&u.request);
	read_revision(&u.request, &u.revision);
	thaw_object_boolean(&u.request.body, "Publish", THAW_OPTIONAL, &u.publish);
	thaw_object_boolean(&u.request.body, "DryRun", THAW_OPTIONAL, &u.dry_run);
	bool there = thaw_code_read(&u.request, &u.request.body, &u.archive, &u.archive_size);
	struct thaw_http_response *refusal = thaw_request_refused(&u.request);
	if (!refusal &&
	    thaw_object_strings(&u.request.body, "Architectures", THAW_OPTIONAL, 1, 1, &machines) ==
		    1 &&
	    strcmp(json_string_value(json_array_get(machines, 0)), "x86_64") != 0)
		refusal = thaw_api_error_response("InvalidParameterValueException",
						  "This host runs functions for x86_64 only.");
	if (!refusal && !there)
		refusal = thaw_api_error_response("InvalidParameterValueException",
						  "Please provide a source for function code.");
	if (!refusal)
		refusal = update_load(&u, service);
	if (!refusal)
		refusal = check_storage(service, u.request.account, u.archive_size);
	if (!refusal)
		refusal = thaw_code_keep(service, u.archive, u.archive_size, &u.next);
	if (refusal)
		return refusal;
	u.config = thaw_json_stored(u.next.config);
	refusal = thaw_code_make(service, u.request.account, &u.next, u.config);
	if (refusal)
		return refusal;
	if (u.dry_run)
		return respond_configuration(service, 200, &u.request.item.function, &u.next);
	return update_finish(&u, service);
}

struct thaw_http_response *
thaw_operation_update_function_configuration(struct thaw_service *service, struct thaw_call *call)
{
	struct update u __attribute__((cleanup(update_clear))) = {0};

	thaw_request_init(&u.request, service, call);
	thaw_request_name(&u.request, false);
	thaw_request_body(&u.request);
	read_revision(&u.request, &u.revision);
	struct thaw_http_response *refusal = thaw_request_refused(&u.request);
	if (!refusal)
		refusal = update_load(&u, service);
	if (refusal)
		return refusal;
	u.config = thaw_json_stored(u.next.config);
	thaw_config_merge(&u.request, u.config, false);
	read_description(&u.request, &u.next);
	refusal = thaw_request_refused(&u.request);
	if (!refusal && json_object_get(u.request.body.json, "Layers"))
		refusal = thaw_code_make(service, u.request.account, &u.next, u.config);
	return refusal ? refusal : update_finish(&u, service);
}

struct thaw_http_response *thaw_operation_delete_function(struct thaw_service *service,
							  struct thaw_call *call)
{
	cleanup_request struct thaw_request request;
	struct thaw_error err = {0};
	int rc;

	thaw_request_init(&request, service, call);
	thaw_request_name(&request, true);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	const char *qualifier = request.function.qualifier;
	if (!refusal && strcmp(qualifier, "$LATEST") == 0)
		refusal = thaw_api_error_response("InvalidParameterValueException",
						  "$LATEST version cannot be deleted without "
						  "deleting the function.");
	if (!refusal && *qualifier && strspn(qualifier, "0123456789") != strlen(qualifier))
		refusal =
			thaw_api_error_response("InvalidParameterValueException",
						"Deletion of aliases is not currently supported.");
	if (!refusal)
		refusal = thaw_request_version(&request);
	if (refusal)
		return refusal;
	int64_t id = request.item.function.id;
	if (*qualifier)
		rc = thaw_versions_delete(service->store, id, request.item.version.version, &err);
	else
		rc = thaw_functions_delete(service->store, id, &err);
	if (rc == -EBUSY)
		return thaw_api_error_response(
			"ResourceConflictException",
			"The version is in use by an alias: delete or change "
			"it first.");
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	thaw_targets_changed(service->targets, id);
	if (!*qualifier)
		thaw_metrics_remove_function(service->metrics, request.account,
					     request.function.name);
	thaw_snapshots_collect(service->snapshots);
	return thaw_respond_empty(204);
}
