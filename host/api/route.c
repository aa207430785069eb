/* SPDX-License-Identifier: Apache-2.0 */
#include "host/api/route.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "host/api/api_error.h"
#include "host/api/http.h"
#include "host/api/validation.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

long thaw_percent_decode(const char *text, size_t size, int query, char *out)
{
	size_t used = 0;

	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c == '%') {
			int high = size - i > 2 ? hex_digit(text[i + 1]) : -1;
			int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
			if (low < 0)
				return -EINVAL;
			c = (unsigned char)(high << 4 | low);
			i += 2;
		} else if (c == '+' && query) {
			c = ' ';
		}
		if (c < 0x20 || c == 0x7f)
			return -EINVAL;
		out[used++] = (char)c;
	}
	out[used] = 0;
	return thaw_utf8_valid(out) ? (long)used : -EINVAL;
}

/* Decodes into the call's text, which has room for all of path and query. */
static const char *call_decode(char **at, const char *text, size_t size, bool query,
			       const char **reason)
{
	char *start = *at;
	long n = thaw_percent_decode(text, size, query, start);

	if (n < 0) {
		*reason = "The request URI has a malformed escape or character.";
		return NULL;
	}
	if (n > THAW_ROUTE_TEXT_MAX) {
		*reason = "A part of the request URI is too long.";
		return NULL;
	}
	*at = start + n + 1;
	return start;
}

/* The path's parts, decoded. Their count, or -EINVAL; -ENOENT for more than any route has. */
static int path_split(const char *path, char **at, const char *parts[THAW_ROUTE_PARTS_MAX],
		      const char **reason)
{
	int count = 0;

	if (path[0] != '/')
		return -ENOENT;
	for (path++;; path++) {
		size_t size = strcspn(path, "/");
		if (!size && !path[0])
			return count; /* the root, or a '/' at the end */
		if (count == THAW_ROUTE_PARTS_MAX)
			return -ENOENT;
		parts[count] = call_decode(at, path, size, false, reason);
		if (!parts[count++])
			return -EINVAL;
		path += size;
		if (!path[0])
			return count;
	}
}

static int query_add(struct thaw_call *call, char **at, const char *text, size_t size,
		     const char **reason)
{
	const char *equals = memchr(text, '=', size);
	size_t name_size = equals ? (size_t)(equals - text) : size;

	if (call->query_count == THAW_ROUTE_QUERY_MAX) {
		*reason = "The query has too many parameters.";
		return -EINVAL;
	}
	struct thaw_parameter *parameter = &call->query[call->query_count];
	parameter->name = call_decode(at, text, name_size, true, reason);
	if (!parameter->name)
		return -EINVAL;
	parameter->value = equals ? call_decode(at, equals + 1, size - name_size - 1, true, reason)
				  : call_decode(at, "", 0, true, reason);
	if (!parameter->value)
		return -EINVAL;
	call->query_count++;
	return 0;
}

static int query_split(struct thaw_call *call, char **at, const char *query, const char **reason)
{
	while (*query) {
		size_t size = strcspn(query, "&");
		int rc = size ? query_add(call, at, query, size, reason) : 0;
		if (rc < 0)
			return rc;
		query += size + (query[size] == '&');
	}
	return 0;
}

static const char *parameter_find(const struct thaw_parameter *parameters, size_t count,
				  const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(parameters[i].name, name) == 0)
			return parameters[i].value;
	}
	return NULL;
}

const char *thaw_call_path(const struct thaw_call *call, const char *name)
{
	return parameter_find(call->path, call->path_count, name);
}

const char *thaw_call_query(const struct thaw_call *call, const char *name)
{
	return parameter_find(call->query, call->query_count, name);
}

/* Whether `parts` are the template's; its parameters' values into the call. */
static bool route_path_matches(const char *template, const char *const *parts, int count,
			       struct thaw_call *call, const char **names, size_t *name_sizes)
{
	int at = 0;

	call->path_count = 0;
	for (template ++;; template ++, at++) {
		size_t size = strcspn(template, "/?");
		if (at == count || !size)
			return false;
		if (template[0] == '{') {
			if (!parts[at][0] || call->path_count == THAW_ROUTE_PATH_MAX)
				return false;
			names[call->path_count] = template + 1;
			name_sizes[call->path_count] = size - 2;
			call->path[call->path_count++].value = parts[at];
		} else if (strlen(parts[at]) != size || memcmp(parts[at], template, size) != 0) {
			return false;
		}
		template += size;
		if (template[0] != '/')
			return at + 1 == count;
	}
}

static bool route_query_matches(const char *template, const struct thaw_call *call)
{
	const char *wanted = strchr(template, '?');

	if (!wanted)
		return true;
	size_t size = strcspn(++wanted, "=");
	for (size_t i = 0; i < call->query_count; i++) {
		const struct thaw_parameter *p = &call->query[i];
		if (strlen(p->name) == size && memcmp(p->name, wanted, size) == 0)
			return wanted[size] && strcmp(p->value, wanted + size + 1) == 0;
	}
	return false;
}

static int query_unique(const struct thaw_call *call, const char **reason)
{
	for (size_t i = 0; i < call->query_count; i++) {
		const char *name = call->query[i].name;
		if (call->route->repeated && strcmp(call->route->repeated, name) == 0)
			continue;
		if (parameter_find(call->query, i, name)) {
			*reason = "A query parameter is given more than once.";
			return -EINVAL;
		}
	}
	return 0;
}

static int call_route(const struct thaw_router *router, const char *method,
		      const char *const *parts, int count, char **at, struct thaw_call *call)
{
	const char *names[THAW_ROUTE_PATH_MAX];
	size_t sizes[THAW_ROUTE_PATH_MAX];

	for (size_t i = 0; i < router->count; i++) {
		const struct thaw_route *route = &router->routes[i];
		if (strcmp(route->method, method) != 0 ||
		    !route_path_matches(route->path, parts, count, call, names, sizes) ||
		    !route_query_matches(route->path, call))
			continue;
		call->route = route;
		for (size_t k = 0; k < call->path_count; k++) {
			memcpy(*at, names[k], sizes[k]);
			(*at)[sizes[k]] = 0;
			call->path[k].name = *at;
			*at += sizes[k] + 1;
		}
		return 0;
	}
	return -ENOENT;
}

void thaw_call_free(void *opaque)
{
	struct thaw_call *call = opaque;

	if (!call)
		return;
	if (call->caller_free)
		call->caller_free(call->caller);
	free(call->query);
	free(call->text);
	free(call);
}

int thaw_router_match(const struct thaw_router *router, const char *method, const char *path,
		      const char *query, struct thaw_call **matched, const char **reason)
{
	const char *parts[THAW_ROUTE_PARTS_MAX];
	struct thaw_call *call = calloc(1, sizeof(*call));

	*matched = NULL;
	*reason = "";
	if (!call)
		return -ENOMEM;
	/* Decoded text is never longer; each part and parameter ends with a 0 byte, where a
	 * separator was or none is needed but one. Names of path parameters come behind. */
	call->text = malloc(strlen(path) + 2 * strlen(query) + THAW_ROUTE_PARTS_MAX + 512);
	call->query = calloc(THAW_ROUTE_QUERY_MAX, sizeof(*call->query));
	char *at = call->text;
	int rc = call->text && call->query ? 0 : -ENOMEM;
	if (rc == 0)
		rc = path_split(path, &at, parts, reason);
	int count = rc;
	if (rc >= 0)
		rc = query_split(call, &at, query, reason);
	if (rc == 0)
		rc = call_route(router, method, parts, count, &at, call);
	if (rc == 0)
		rc = query_unique(call, reason);
	if (rc < 0)
		thaw_call_free(call);
	else
		*matched = call;
	return rc;
}

struct thaw_http_response *thaw_router_head(void *opaque, struct thaw_http_request *request)
{
	const struct thaw_router *router = opaque;
	struct thaw_call *call;
	const char *reason;

	int rc = thaw_router_match(router, request->method, request->path, request->query, &call,
				   &reason);
	if (rc == -ENOENT)
		return thaw_api_error_response("UnknownOperationException",
					       "Unable to determine service/operation name to be "
					       "authorized");
	if (rc == -EINVAL)
		return thaw_api_error_response("ValidationException", "%s", reason);
	if (rc < 0)
		return thaw_api_error_response("ServiceException", "No memory left.");
	call->request = request;
	request->context = call;
	request->context_free = thaw_call_free;
	if (call->route->body_limit)
		request->body_limit = call->route->body_limit;
	return router->admit ? router->admit(router->opaque, call) : NULL;
}

void thaw_router_handle(void *opaque, struct thaw_http_request *request)
{
	const struct thaw_router *router = opaque;
	struct thaw_call *call = request->context;
	struct thaw_http_response *refusal = NULL;

	if (router->authorize)
		refusal = router->authorize(router->opaque, call);
	if (refusal)
		thaw_http_respond(request, refusal);
	else
		call->route->handle(router->opaque, call);
}
