/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/front.h"

#include <stdio.h>
#include <string.h>

#include "host/daemon/descriptors.h"
#include "host/daemon/service.h"
#include "host/daemon/top.h"
#include "host/operations/operation.h"
#include "host/telemetry/metrics.h"
#include "lib/log.h"

#define BODY_TOTAL (1u << 30) /* of all requests under way */

static struct thaw_http_response *respond_text(const char *text)
{
	struct thaw_http_response *response = thaw_http_response_new(200);

	thaw_http_response_header(response, "Content-Type", "text/plain");
	thaw_http_response_body_copy(response, text, strlen(text));
	return response;
}

static struct thaw_http_response *respond_metrics(struct thaw_service *service, const char *account)
{
	struct thaw_http_response *response = thaw_http_response_new(200);
	char *text;
	size_t size;

	if (thaw_metrics_render(service->metrics, account, thaw_top_gauges, service, &text, &size) <
	    0) {
		thaw_http_response_free(response);
		return thaw_http_response_no_memory();
	}
	thaw_http_response_header(response, "Content-Type", THAW_METRICS_CONTENT_TYPE);
	thaw_http_response_body_take(response, text, size);
	return response;
}

struct thaw_http_response *thaw_operation_metrics(struct thaw_service *service,
						  struct thaw_call *call)
{
	return respond_metrics(service, thaw_call_account(call));
}

/* What is answered without a signature; all else is the router's. */
static bool front_has(const struct thaw_http_request *request)
{
	if (strcmp(request->method, "GET") != 0 || thaw_http_header(request, "Authorization"))
		return false;
	return strcmp(request->path, "/health") == 0 ||
	       (strcmp(request->path, "/metrics") == 0 && request->loopback);
}

static struct thaw_http_response *front_answer(struct thaw_service *service,
					       const struct thaw_http_request *request)
{
	if (strcmp(request->path, "/health") == 0)
		return respond_text("ok\n");
	return respond_metrics(service, NULL);
}

static struct thaw_http_response *front_head(void *opaque, struct thaw_http_request *request)
{
	struct thaw_service *service = opaque;

	return front_has(request) ? NULL : thaw_router_head(&service->router, request);
}

static void front_handle(void *opaque, struct thaw_http_request *request)
{
	struct thaw_service *service = opaque;

	if (front_has(request))
		thaw_http_respond(request, front_answer(service, request));
	else
		thaw_router_handle(&service->router, request);
}

int thaw_front_start(struct thaw_service *service, struct thaw_error *err)
{
	struct thaw_http_config http;

	thaw_http_config_init(&http);
	http.address = service->config->address;
	http.port = service->config->port;
	http.threads = service->config->threads;
	http.connections = thaw_descriptors_connections(service->config);
	if (http.connections < service->config->connections)
		thaw_log(THAW_LOG_WARN, "%u connections at most, not %u: too few descriptors",
			 http.connections, service->config->connections);
	http.body_total = BODY_TOTAL;
	http.hooks = (struct thaw_http_hooks){
		.head = front_head,
		.handle = front_handle,
		.refuse = thaw_api_refuse,
	};
	http.opaque = service;
	return thaw_http_start(&http, &service->server, err);
}
