/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/runtime_api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/json.h"
#include "lib/error.h"

#define PREFIX      "/2018-06-01/runtime/"
#define ACCEPTED    "{\"status\":\"OK\"}\n"
#define JSON_FIELDS "Content-Type: application/json\r\n"

enum route {
	ROUTE_NONE,
	ROUTE_NEXT,
	ROUTE_RESPONSE,
	ROUTE_ERROR,
	ROUTE_INIT_ERROR,
	ROUTE_RESTORE_NEXT,
	ROUTE_RESTORE_ERROR,
};

static const char *const state_names[] = {
	[THAW_API_STARTED] = "Started",
	[THAW_API_INIT_ERROR] = "InitError",
	[THAW_API_RESTORE_READY] = "RestoreReady",
	[THAW_API_RESTORING] = "Restoring",
	[THAW_API_RESTORE_ERROR] = "RestoreError",
	[THAW_API_READY] = "Ready",
	[THAW_API_RUNNING] = "Running",
	[THAW_API_RESPONDING] = "InvocationResponse",
	[THAW_API_RESPONSE_SENT] = "ResponseSent",
};

static void reply_error(struct thaw_http_conn *conn, int status, const char *type,
			const char *message)
{
	char body[512];
	int n = snprintf(body, sizeof(body), "{\"errorMessage\":\"%s\",\"errorType\":\"%s\"}\n",
			 message, type);

	thaw_http_reply(conn, status, JSON_FIELDS, body, (size_t)n, (size_t)n, false);
}

static void reply_accepted(struct thaw_http_conn *conn)
{
	/* A runtime that has already sent its next GET behind this POST is woken once, for the
	 * event, and not for this. */
	thaw_http_reply(conn, 202, JSON_FIELDS, ACCEPTED, sizeof(ACCEPTED) - 1,
			sizeof(ACCEPTED) - 1, true);
}

static void reply_transition(struct thaw_runtime_api *api, struct thaw_http_conn *conn,
			     const char *to)
{
	char message[128];

	snprintf(message, sizeof(message), "State transition from %s to %s failed for runtime",
		 state_names[api->state], to);
	reply_error(conn, 403, "InvalidStateTransition", message);
}

/* Splits the target; `*id` is the request id of the invocation routes. `*get` says which method
 * the route wants. */
static enum route find_route(struct thaw_slice target, struct thaw_slice *id, bool *get)
{
	static const struct {
		const char *path;
		enum route route;
		bool get;
	} fixed[] = {
		{"invocation/next", ROUTE_NEXT, true},
		{"init/error", ROUTE_INIT_ERROR, false},
		{"restore/next", ROUTE_RESTORE_NEXT, true},
		{"restore/error", ROUTE_RESTORE_ERROR, false},
	};
	const size_t prefix = sizeof(PREFIX) - 1;
	const char *query = memchr(target.data, '?', target.size);

	if (query)
		target.size = (size_t)(query - target.data);
	if (target.size < prefix || memcmp(target.data, PREFIX, prefix) != 0)
		return ROUTE_NONE;
	target = (struct thaw_slice){target.data + prefix, target.size - prefix};
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		if (thaw_slice_is(&target, fixed[i].path)) {
			*get = fixed[i].get;
			return fixed[i].route;
		}
	}
	const size_t invocation = sizeof("invocation/") - 1;
	if (target.size < invocation || memcmp(target.data, "invocation/", invocation) != 0)
		return ROUTE_NONE;
	target = (struct thaw_slice){target.data + invocation, target.size - invocation};
	const char *slash = memchr(target.data, '/', target.size);
	if (!slash)
		return ROUTE_NONE;
	*id = (struct thaw_slice){target.data, (size_t)(slash - target.data)};
	*get = false;
	struct thaw_slice verb = {slash + 1, target.size - id->size - 1};
	if (thaw_slice_is(&verb, "response"))
		return ROUTE_RESPONSE;
	return thaw_slice_is(&verb, "error") ? ROUTE_ERROR : ROUTE_NONE;
}

/* Lambda lets through what looks like (Runtime|Function).Something; the rest is unknown. */
static void valid_error_type(char out[THAW_ERROR_TYPE_MAX], const struct thaw_slice *given)
{
	static const char *const families[] = {"Runtime.", "Function."};
	const char *fallback = "Runtime.Unknown";

	for (size_t f = 0; given && f < 2; f++) {
		size_t n = strlen(families[f]);
		if (given->size < n || memcmp(given->data, families[f], n) != 0)
			continue;
		fallback = f ? "Function.Unknown" : "Runtime.Unknown";
		if (given->size < n + 2 || given->size >= THAW_ERROR_TYPE_MAX ||
		    given->data[n] < 'A' || given->data[n] > 'Z')
			break;
		for (size_t i = n; i < given->size; i++) {
			char c = given->data[i];
			if (!((c | 0x20) >= 'a' && (c | 0x20) <= 'z') && !(c >= '0' && c <= '9'))
				goto unknown;
		}
		thaw_slice_copy(out, THAW_ERROR_TYPE_MAX, given);
		return;
	}
unknown:
	snprintf(out, THAW_ERROR_TYPE_MAX, "%s", fallback);
}

static void begin_response(struct thaw_runtime_api *api, struct thaw_http_conn *conn,
			   const struct thaw_http_head *head)
{
	const struct thaw_slice *type = thaw_http_find(&head->fields, "content-type");
	const struct thaw_slice *mode =
		thaw_http_find(&head->fields, "lambda-runtime-function-response-mode");

	if (mode && !thaw_slice_is_nocase(mode, "streaming")) {
		reply_error(conn, 400, "InvalidFunctionResponseMode",
			    "Invalid function response mode");
		return;
	}
	api->streaming = mode != NULL;
	api->content_type[0] = 0;
	if (type)
		thaw_slice_copy(api->content_type, sizeof(api->content_type), type);
	api->posting = conn;
	api->posting_route = ROUTE_RESPONSE;
	api->response_size = 0;
	api->state = THAW_API_RESPONDING;
	conn->pinned = true;
	/* A length that is too long by itself: say so before the body is sent. */
	if (head->content_length > THAW_RESPONSE_MAX) {
		char message[96];
		snprintf(message, sizeof(message),
			 "Exceeded maximum allowed payload size (%u bytes).", THAW_RESPONSE_MAX);
		api->posting = NULL;
		api->state = THAW_API_RESPONSE_SENT;
		conn->pinned = false;
		api->ops->response_too_large(api->owner, head->content_length);
		reply_error(conn, 413, "RequestEntityTooLarge", message);
	}
}

/* POST of any error document. */
static void begin_error(struct thaw_runtime_api *api, struct thaw_http_conn *conn,
			const struct thaw_http_head *head, enum route route)
{
	if (head->content_length > THAW_ERROR_BODY_MAX) {
		reply_error(conn, 413, "RequestEntityTooLarge",
			    "Exceeded maximum allowed size of an error (262144 bytes).");
		return;
	}
	valid_error_type(api->error_type,
			 thaw_http_find(&head->fields, "lambda-runtime-function-error-type"));
	thaw_buffer_consume(&api->error_body, thaw_buffer_size(&api->error_body));
	api->posting = conn;
	api->posting_route = route;
	conn->pinned = true;
}

static void begin(void *owner, struct thaw_http_conn *conn, const struct thaw_http_head *head)
{
	struct thaw_runtime_api *api = owner;
	struct thaw_slice id = {"", 0};
	bool get = true;
	enum route route = find_route(head->target, &id, &get);

	conn->pinned = false;
	conn->tag = route;
	if (route == ROUTE_NONE) {
		reply_error(conn, 404, "NotFound", "No such path in the Runtime API");
		return;
	}
	if (!thaw_slice_is(&head->method, get ? "GET" : "POST")) {
		reply_error(conn, 405, "MethodNotAllowed",
			    get ? "Only GET is allowed here" : "Only POST is allowed here");
		return;
	}
	switch (route) {
	case ROUTE_NEXT:
		/* A runtime without hooks may go on without being told of the restore. */
		if (api->state != THAW_API_STARTED && api->state != THAW_API_RESTORING &&
		    api->state != THAW_API_RESPONSE_SENT)
			reply_transition(api, conn, "Ready");
		break;
	case ROUTE_RESTORE_NEXT:
		if (api->state != THAW_API_STARTED)
			reply_transition(api, conn, "RestoreReady");
		break;
	case ROUTE_INIT_ERROR:
		if (api->state != THAW_API_STARTED || api->posting)
			reply_transition(api, conn, "InitError");
		else
			begin_error(api, conn, head, route);
		break;
	case ROUTE_RESTORE_ERROR:
		if (api->state != THAW_API_RESTORING || api->posting)
			reply_transition(api, conn, "RestoreError");
		else
			begin_error(api, conn, head, route);
		break;
	case ROUTE_RESPONSE:
	case ROUTE_ERROR:
		if (!thaw_slice_is(&id, api->request_id) || id.size == 0)
			reply_error(conn, 400, "InvalidRequestID", "Invalid request ID");
		else if (api->state != THAW_API_RUNNING || api->posting)
			reply_transition(api, conn,
					 route == ROUTE_RESPONSE ? "InvocationResponse"
								 : "InvocationErrorResponse");
		else if (route == ROUTE_RESPONSE)
			begin_response(api, conn, head);
		else
			begin_error(api, conn, head, route);
		break;
	case ROUTE_NONE:
		break;
	}
}

static void body(void *owner, struct thaw_http_conn *conn, const uint8_t *data, size_t size)
{
	struct thaw_runtime_api *api = owner;

	/* A body where none belongs (GET) is read away. */
	if (api->posting != conn)
		return;
	if (api->posting_route != ROUTE_RESPONSE) {
		if (thaw_buffer_size(&api->error_body) + size <= THAW_ERROR_BODY_MAX &&
		    thaw_buffer_append(&api->error_body, data, size) == 0)
			return;
		api->posting = NULL;
		conn->pinned = false;
		reply_error(conn, 413, "RequestEntityTooLarge",
			    "Exceeded maximum allowed size of an error (262144 bytes).");
		return;
	}
	api->response_size += size;
	if (api->response_size > THAW_RESPONSE_MAX) {
		api->posting = NULL;
		conn->pinned = false;
		api->state = THAW_API_RESPONSE_SENT;
		api->ops->response_too_large(api->owner, api->response_size);
		reply_error(conn, 413, "RequestEntityTooLarge",
			    "Exceeded maximum allowed payload size (6291556 bytes).");
		return;
	}
	/* The last bytes of a body with a length: the response is whole with them, and can leave
	 * in one message, from where it lies. */
	bool last = conn->body.state == THAW_HTTP_BODY_DONE;
	if (last) {
		api->posting = NULL;
		conn->pinned = false;
		api->state = THAW_API_RESPONSE_SENT;
	}
	api->ops->response(api->owner, data, size, last, api->content_type);
	if (api->streaming && !last)
		api->ops->response_flush(api->owner);
	if (last)
		reply_accepted(conn);
}

static void take_error(struct thaw_runtime_api *api, struct thaw_http_conn *conn)
{
	struct thaw_reported_error error = {
		.type = api->error_type,
		.body = thaw_buffer_size(&api->error_body) ? thaw_buffer_bytes(&api->error_body)
							   : NULL,
		.size = thaw_buffer_size(&api->error_body),
	};

	api->posting = NULL;
	conn->pinned = false;
	if (api->posting_route == ROUTE_INIT_ERROR) {
		api->state = THAW_API_INIT_ERROR;
		api->ops->init_failed(api->owner, &error);
	} else if (api->posting_route == ROUTE_RESTORE_ERROR) {
		api->state = THAW_API_RESTORE_ERROR;
		api->ops->restore_failed(api->owner, &error);
	} else {
		api->state = THAW_API_RESPONSE_SENT;
		api->ops->invocation_failed(api->owner, &error);
	}
	if (conn->watch.fd >= 0)
		reply_accepted(conn);
}

/* A chunked response has come to its end. Trailers tell of an error in the middle of a stream. */
static void end_response(struct thaw_runtime_api *api, struct thaw_http_conn *conn,
			 const struct thaw_http_fields *trailers)
{
	const struct thaw_slice *type =
		thaw_http_find(trailers, "lambda-runtime-function-error-type");
	const struct thaw_slice *encoded =
		thaw_http_find(trailers, "lambda-runtime-function-error-body");

	api->posting = NULL;
	conn->pinned = false;
	api->state = THAW_API_RESPONSE_SENT;
	if (type) {
		uint8_t *decoded = NULL;
		size_t size = 0;
		if (encoded)
			decoded = thaw_base64_decode(encoded->data, encoded->size, &size);
		valid_error_type(api->error_type, type);
		struct thaw_reported_error error = {api->error_type, decoded, size};
		api->ops->response_broken(api->owner);
		api->ops->invocation_failed(api->owner, &error);
		free(decoded);
	} else {
		api->ops->response(api->owner, NULL, 0, true, api->content_type);
	}
	reply_accepted(conn);
}

static void wait_for_event(struct thaw_runtime_api *api, struct thaw_http_conn *conn,
			   enum thaw_api_state state)
{
	/* One that took the event and asks for the next by another is done with the first. */
	if (api->given && api->given != conn && api->given != api->posting)
		api->given->pinned = false;
	api->given = conn;
	api->waiting = conn;
	conn->pinned = true;
	api->state = state;
	if (state == THAW_API_READY)
		api->ops->ready(api->owner);
	else
		api->ops->awaits_restore(api->owner);
}

static void end(void *owner, struct thaw_http_conn *conn, const struct thaw_http_fields *trailers)
{
	struct thaw_runtime_api *api = owner;

	if (api->posting == conn) {
		if (api->posting_route == ROUTE_RESPONSE)
			end_response(api, conn, trailers);
		else
			take_error(api, conn);
		return;
	}
	/* What is not answered yet is one of the two that wait; which, the state tells: a GET with
	 * a slow body may find it changed meanwhile. */
	if (api->waiting)
		reply_transition(api, conn, "Ready");
	else if (api->state == THAW_API_RESTORING || api->state == THAW_API_RESPONSE_SENT)
		wait_for_event(api, conn, THAW_API_READY);
	else if (api->state == THAW_API_STARTED)
		wait_for_event(api, conn,
			       conn->tag == ROUTE_RESTORE_NEXT ? THAW_API_RESTORE_READY
							       : THAW_API_READY);
	else
		reply_transition(api, conn, "Ready");
}

static void gone(void *owner, struct thaw_http_conn *conn)
{
	struct thaw_runtime_api *api = owner;

	if (api->feeding == conn)
		api->feeding = NULL;
	if (api->waiting == conn) {
		api->waiting = NULL;
		/* It may come back over a new connection, as from a client-side time-out. */
		api->state = api->state == THAW_API_RESTORE_READY ? THAW_API_STARTED
								  : THAW_API_RESPONSE_SENT;
	}
	if (api->posting != conn)
		return;
	api->posting = NULL;
	if (api->posting_route != ROUTE_RESPONSE)
		return;
	if (api->ops->response_broken(api->owner)) {
		api->state = THAW_API_RUNNING;
		return;
	}
	struct thaw_reported_error error = {"Runtime.TruncatedResponse", NULL, 0};
	api->state = THAW_API_RESPONSE_SENT;
	api->ops->invocation_failed(api->owner, &error);
}

static const struct thaw_http_ops http_ops = {
	.begin = begin,
	.body = body,
	.end = end,
	.gone = gone,
};

int thaw_runtime_api_open(struct thaw_runtime_api *api, struct thaw_loop *loop,
			  const struct thaw_runtime_api_ops *ops, void *owner,
			  struct sockaddr_in *address, struct thaw_error *err)
{
	api->ops = ops;
	api->owner = owner;
	api->state = THAW_API_STARTED;
	return thaw_http_server_open(&api->server, loop, &http_ops, api, address, err);
}

void thaw_runtime_api_close(struct thaw_runtime_api *api)
{
	thaw_runtime_api_reset(api);
	thaw_http_server_close(&api->server);
	thaw_buffer_clear(&api->error_body);
}

void thaw_runtime_api_reset(struct thaw_runtime_api *api)
{
	thaw_http_server_drop_all(&api->server);
	api->waiting = api->given = api->feeding = api->posting = NULL;
	api->state = THAW_API_STARTED;
	api->request_id[0] = 0;
}

void thaw_runtime_api_invoke(struct thaw_runtime_api *api, const struct thaw_invocation *event)
{
	struct thaw_http_conn *conn = api->waiting;
	char fields[8192];
	int n = snprintf(fields, sizeof(fields),
			 JSON_FIELDS "Lambda-Runtime-Aws-Request-Id: %s\r\n"
				     "Lambda-Runtime-Deadline-Ms: %llu\r\n"
				     "Lambda-Runtime-Invoked-Function-Arn: %s\r\n",
			 event->request_id, (unsigned long long)event->deadline_ms,
			 event->function_arn);
	const struct {
		const char *name;
		const char *value;
	} optional[] = {
		{"Lambda-Runtime-Trace-Id", event->trace_id},
		{"Lambda-Runtime-Client-Context", event->client_context},
		{"Lambda-Runtime-Cognito-Identity", event->cognito_identity},
	};

	for (size_t i = 0; i < sizeof(optional) / sizeof(optional[0]); i++) {
		if (optional[i].value[0])
			n += snprintf(fields + n, sizeof(fields) - (size_t)n, "%s: %s\r\n",
				      optional[i].name, optional[i].value);
	}
	if (event->restored_log_stream)
		snprintf(fields + n, sizeof(fields) - (size_t)n,
			 "Thaw-Restored: 1\r\nThaw-Log-Stream: %s\r\n", event->restored_log_stream);
	snprintf(api->request_id, sizeof(api->request_id), "%s", event->request_id);
	api->waiting = NULL;
	api->state = THAW_API_RUNNING;
	api->feeding = event->payload_size < event->payload_total ? conn : NULL;
	thaw_http_reply(conn, 200, fields, event->payload, event->payload_size,
			event->payload_total, false);
}

void thaw_runtime_api_payload(struct thaw_runtime_api *api, const uint8_t *data, size_t size)
{
	struct thaw_http_conn *conn = api->feeding;

	if (!conn)
		return;
	if (conn->owed == size)
		api->feeding = NULL;
	thaw_http_send(conn, data, size);
}

size_t thaw_runtime_api_unsent(const struct thaw_runtime_api *api)
{
	return api->feeding ? thaw_http_unsent(api->feeding) : 0;
}

void thaw_runtime_api_restore(struct thaw_runtime_api *api, const char *log_stream)
{
	struct thaw_http_conn *conn = api->waiting;
	char fields[768] = "";

	if (api->state != THAW_API_RESTORE_READY || !conn)
		return;
	if (log_stream[0])
		snprintf(fields, sizeof(fields), "Thaw-Log-Stream: %s\r\n", log_stream);
	api->waiting = NULL;
	api->state = THAW_API_RESTORING;
	thaw_http_reply(conn, 200, fields, "", 0, 0, false);
}

void thaw_runtime_api_pause(struct thaw_runtime_api *api, bool paused)
{
	if (api->posting)
		thaw_http_pause(api->posting, paused);
}
