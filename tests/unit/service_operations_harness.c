/* SPDX-License-Identifier: Apache-2.0 */
#include "service_operations_harness.h"

#include <fcntl.h>
#include <unistd.h>

#include "host/keyring.h"
#include "host/daemon/keys.h"
#include "host/daemon/targets.h"
#include "host/operations/download.h"

#define FUNCTION "/2015-03-31/functions/{FunctionName}"
#define PROVIDED "/2019-09-30/functions/{FunctionName}/provisioned-concurrency"
#define EVENTS   "/2019-09-25/functions/{FunctionName}/event-invoke-config"
#define LAYERS   "/2018-10-31/layers"
#define VERSIONS LAYERS "/{LayerName}/versions"
#define TAGS     "/2017-03-31/tags/{Resource}"

static struct thaw_http_response *serve(struct thaw_service *service, struct thaw_call *call)
{
	return thaw_archive_serve(service, call);
}

static const struct thaw_operation rows[] = {
	{"POST", FUNCTION "/aliases", "", 0, NULL, thaw_operation_create_alias},
	{"GET", FUNCTION "/aliases", "", 0, NULL, thaw_operation_list_aliases},
	{"GET", FUNCTION "/aliases/{Name}", "", 0, NULL, thaw_operation_get_alias},
	{"PUT", FUNCTION "/aliases/{Name}", "", 0, NULL, thaw_operation_update_alias},
	{"DELETE", FUNCTION "/aliases/{Name}", "", 0, NULL, thaw_operation_delete_alias},
	{"POST", FUNCTION "/policy", "", 0, NULL, thaw_operation_add_permission},
	{"GET", FUNCTION "/policy", "", 0, NULL, thaw_operation_get_policy},
	{"DELETE", FUNCTION "/policy/{StatementId}", "", 0, NULL, thaw_operation_remove_permission},
	{"PUT", "/2017-10-31/functions/{FunctionName}/concurrency", "", 0, NULL,
	 thaw_operation_put_function_concurrency},
	{"DELETE", "/2017-10-31/functions/{FunctionName}/concurrency", "", 0, NULL,
	 thaw_operation_delete_function_concurrency},
	{"GET", "/2019-09-30/functions/{FunctionName}/concurrency", "", 0, NULL,
	 thaw_operation_get_function_concurrency},
	{"GET", PROVIDED "?List=ALL", "", 0, NULL,
	 thaw_operation_list_provisioned_concurrency_configs},
	{"GET", PROVIDED, "", 0, NULL, thaw_operation_get_provisioned_concurrency_config},
	{"PUT", PROVIDED, "", 0, NULL, thaw_operation_put_provisioned_concurrency_config},
	{"DELETE", PROVIDED, "", 0, NULL, thaw_operation_delete_provisioned_concurrency_config},
	{"GET", EVENTS "/list", "", 0, NULL, thaw_operation_list_function_event_invoke_configs},
	{"PUT", EVENTS, "", 0, NULL, thaw_operation_put_function_event_invoke_config},
	{"POST", EVENTS, "", 0, NULL, thaw_operation_update_function_event_invoke_config},
	{"GET", EVENTS, "", 0, NULL, thaw_operation_get_function_event_invoke_config},
	{"DELETE", EVENTS, "", 0, NULL, thaw_operation_delete_function_event_invoke_config},
	{"GET", LAYERS "?find=LayerVersion", "", 0, NULL, thaw_operation_get_layer_version_by_arn},
	{"GET", LAYERS, "", 0, NULL, thaw_operation_list_layers},
	{"POST", VERSIONS, "", 0, NULL, thaw_operation_publish_layer_version},
	{"GET", VERSIONS, "", 0, NULL, thaw_operation_list_layer_versions},
	{"GET", VERSIONS "/{VersionNumber}", "", 0, NULL, thaw_operation_get_layer_version},
	{"DELETE", VERSIONS "/{VersionNumber}", "", 0, NULL, thaw_operation_delete_layer_version},
	{"GET", TAGS, "", 0, NULL, thaw_operation_list_tags},
	{"POST", TAGS, "", 0, NULL, thaw_operation_tag_resource},
	{"DELETE", TAGS, "", 0, "tagKeys", thaw_operation_untag_resource},
	{"GET", "/2016-08-19/account-settings", "", 0, NULL, thaw_operation_get_account_settings},
	{"GET", THAW_ARCHIVE_PATH, THAW_ARCHIVE_OPERATION, 0, NULL, serve},
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static struct operations_fixture *fixture;
static struct answer last;

/* In place of who runs functions. */
void thaw_targets_changed(struct thaw_targets *targets, int64_t function_id)
{
	(void)targets;
	fixture->changed++;
	fixture->changed_id = function_id;
}

int thaw_targets_get(struct thaw_targets *targets, int64_t function_id, int64_t version,
		     struct thaw_target **target, struct thaw_error *err)
{
	static struct thaw_target made;

	(void)targets;
	(void)err;
	snprintf(made.key, sizeof(made.key), "%lld:%lld", (long long)function_id,
		 (long long)version);
	*target = &made;
	return 0;
}

void thaw_target_release(struct thaw_target *target)
{
	(void)target;
}

/* Environments that are nothing. */
static void pool_hold(void *target)
{
	(void)target;
}

static void *pool_start(void *context, void *target, struct thaw_pool_job *job)
{
	(void)target;
	(void)job;
	return context;
}

static bool pool_keep(void *environment)
{
	(void)environment;
	return true;
}

static const struct thaw_pool_ops pool_ops = {
	.hold = pool_hold,
	.release = pool_hold,
	.start = pool_start,
	.freeze = pool_keep,
	.thaw = pool_keep,
	.close = pool_hold,
};

int operations_setup(void **state)
{
	static const struct thaw_pool_limits limits = {
		.scale_up = 1000, .memory_mib = 1 << 20, .idle_ms = 60000};
	struct operations_fixture *f = calloc(1, sizeof(*f));
	void *files;

	if (!f || store_setup(&files) < 0)
		return -1;
	f->files = files;
	f->service.config = &f->config;
	f->service.store = f->files->store;
	f->config.concurrency = 1000;
	f->config.no_auth = true;
	f->config.port = 9000;
	strcpy(f->config.address, "127.0.0.1");
	strcpy(f->config.region, "us-east-1");
	ask_as(f, ACCOUNT);
	assert_ok(thaw_state_open(&f->service.host.state, store_path(f->files, "state"), ERR));
	f->data = open(f->files->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_ok(thaw_keyring_open(&f->service.keyring, f->data, true, ERR));
	f->service.pool = thaw_pool_new(&pool_ops, f, &limits, ERR);
	assert_non_null(f->service.pool);
	fixture = f;
	*state = f;
	return 0;
}

static void answer_clear(void)
{
	json_decref(last.body);
	free(last.raw);
	last = (struct answer){0};
}

int operations_teardown(void **state)
{
	struct operations_fixture *f = *state;
	void *files = f->files;

	answer_clear();
	thaw_pool_free(f->service.pool);
	thaw_keyring_close(f->service.keyring);
	thaw_state_close(&f->service.host.state);
	close(f->data);
	free(f);
	return store_teardown(&files);
}

void ask_as(struct operations_fixture *f, const char *account)
{
	snprintf(f->service.no_auth_account, sizeof(f->service.no_auth_account), "%s", account);
}

static void answer_take(struct thaw_http_response *response)
{
	const char *error = thaw_http_response_find(response, "x-amzn-ErrorType");

	assert_non_null(response);
	last.status = thaw_http_response_status(response);
	snprintf(last.error, sizeof(last.error), "%s", error ? error : "");
	const void *body = thaw_http_response_body(response, &last.size);
	if (body) {
		last.raw = calloc(1, last.size + 1);
		memcpy(last.raw, body, last.size);
		last.body = json_loadb(last.raw, last.size, JSON_DECODE_ANY, NULL);
	}
	thaw_http_response_free(response);
}

const struct answer *ask(struct operations_fixture *f, const char *method, const char *target,
			 const char *body)
{
	static const struct thaw_http_header host = {"Host", "thaw.example:9000"};
	struct thaw_route routes[ROWS];
	struct thaw_router router = {.routes = routes, .count = ROWS};
	const char *query = strchr(target, '?'), *reason;
	cleanup_free char *path =
		strndup(target, query ? (size_t)(query - target) : strlen(target));
	struct thaw_call *call;

	answer_clear();
	for (size_t i = 0; i < ROWS; i++)
		routes[i] = (struct thaw_route){rows[i].method,   rows[i].path, rows[i].name, 0,
						rows[i].repeated, NULL};
	if (thaw_router_match(&router, method, path, query ? query + 1 : "", &call, &reason) < 0)
		return &last;
	struct thaw_http_request request = {
		.method = method,
		.path = path,
		.query = query ? query + 1 : "",
		.headers = &host,
		.header_count = 1,
		.body = (const uint8_t *)(body ? body : ""),
		.body_size = body ? strlen(body) : 0,
		.loopback = true,
	};
	call->request = &request;
	assert_null(thaw_keys_admit(&f->service, call));
	answer_take(rows[call->route - routes].perform(&f->service, call));
	thaw_call_free(call);
	return &last;
}

json_t *said_json(const char *path)
{
	json_t *at = last.body;

	while (at && *path) {
		char name[128];
		size_t size = strcspn(path, ".");
		snprintf(name, sizeof(name), "%.*s", (int)size, path);
		at = json_is_array(at) ? json_array_get(at, (size_t)atoi(name))
				       : json_object_get(at, name);
		path += size + (path[size] == '.');
	}
	return at;
}

const char *said(const char *path)
{
	const char *text = json_string_value(said_json(path));

	return text ? text : "(nothing)";
}

double said_number(const char *path)
{
	json_t *value = said_json(path);

	return json_is_number(value) ? json_number_value(value) : -1;
}

size_t said_count(const char *path)
{
	json_t *value = said_json(path);

	return json_is_array(value) ? json_array_size(value) : json_object_size(value);
}
