/* SPDX-License-Identifier: Apache-2.0 */
#include "host/operations/operation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/store/aliases.h"
#include "lib/log.h"

#define MARKER_MAX 2048

void thaw_request_init(struct thaw_request *request, struct thaw_service *service,
		       struct thaw_call *call)
{
	memset(request, 0, sizeof(*request));
	request->service = service;
	request->call = call;
	request->account = thaw_call_account(call);
	thaw_validation_init(&request->validation);
}

void thaw_request_clear(struct thaw_request *request)
{
	json_decref(request->tree);
	thaw_function_item_clear(&request->item);
	thaw_http_response_free(request->refusal);
}

static void request_refuse(struct thaw_request *request, struct thaw_http_response *response)
{
	if (request->refusal)
		thaw_http_response_free(response);
	else
		request->refusal = response;
}

void thaw_request_name(struct thaw_request *request, bool qualified)
{
	thaw_function_name_parse(thaw_call_path(request->call, "FunctionName"), qualified,
				 "functionName", &request->function, &request->validation);
	if (!qualified)
		return;
	if (thaw_function_qualify(&request->function, thaw_call_query(request->call, "Qualifier"),
				  &request->validation) == -EEXIST)
		request_refuse(request, thaw_api_error_response("InvalidParameterValueException",
								"%s", THAW_QUALIFIER_MISMATCH));
}

void thaw_request_body(struct thaw_request *request)
{
	const struct thaw_http_request *http = request->call->request;

	if (thaw_body_parse(http->body, http->body_size, &request->validation, &request->tree,
			    &request->body) == -ENOMEM)
		request_refuse(request, thaw_respond_error(-ENOMEM, NULL, NULL));
}

void thaw_request_page(struct thaw_request *request, size_t max)
{
	const char *items = thaw_call_query(request->call, "MaxItems");
	const char *marker = thaw_call_query(request->call, "Marker");
	uint8_t *raw;
	size_t size;

	request->page = max;
	if (items) {
		char *end;
		errno = 0;
		long value = strtol(items, &end, 10);
		if (errno || *end || end == items || value < 1 || value > 10000)
			thaw_validation_add(&request->validation, items, "maxItems",
					    "Member must have value between 1 and 10000");
		else if ((size_t)value < max)
			request->page = (size_t)value;
	}
	if (!marker || !*marker)
		return;
	if (strlen(marker) > MARKER_MAX ||
	    thaw_base64_decode(marker, strlen(marker), &raw, &size) < 0) {
		request_refuse(request, thaw_api_error_response("InvalidParameterValueException",
								"Invalid marker"));
		return;
	}
	if (size < sizeof(request->marker) && !memchr(raw, 0, size))
		memcpy(request->marker, raw, size);
	else
		request_refuse(request, thaw_api_error_response("InvalidParameterValueException",
								"Invalid marker"));
	free(raw);
}

void thaw_request_next_marker(json_t *body, const char *last)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char text[THAW_MARKER_TEXT * 4 / 3 + 8];
	size_t size = strlen(last), used = 0;

	for (size_t i = 0; i < size && used + 5 < sizeof(text); i += 3) {
		uint32_t bits = 0;
		for (size_t k = 0; k < 3; k++)
			bits = bits << 8 | (i + k < size ? (uint8_t)last[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			text[used++] = i + k > size ? '=' : digits[bits >> (18 - 6 * k) & 63];
	}
	text[used] = 0;
	json_object_set_new(body, "NextMarker", json_string(text));
}

struct thaw_http_response *thaw_request_refused(struct thaw_request *request)
{
	struct thaw_http_response *refusal = request->refusal;

	if (thaw_validation_failed(&request->validation))
		return thaw_api_validation_response(&request->validation);
	request->refusal = NULL;
	return refusal;
}

/* A name may say an account and a region: they must be those of this request. */
static bool request_is_here(const struct thaw_request *request)
{
	const struct thaw_function_name *name = &request->function;

	return (!*name->account || strcmp(name->account, request->account) == 0) &&
	       (!*name->region || strcmp(name->region, request->service->config->region) == 0);
}

static struct thaw_http_response *request_not_found(const struct thaw_request *request)
{
	const struct thaw_function_name *name = &request->function;

	return thaw_respond_no_function(request->service,
					*name->account ? name->account : request->account,
					name->name, name->qualifier);
}

struct thaw_http_response *thaw_request_function(struct thaw_request *request, int64_t number)
{
	struct thaw_error err = {0};
	int rc = -ENOENT;

	thaw_function_item_clear(&request->item);
	if (request_is_here(request))
		rc = thaw_functions_get(request->service->store, request->account,
					request->function.name, number, &request->item, &err);
	if (rc == -ENOENT)
		return request_not_found(request);
	return rc < 0 ? thaw_respond_error(rc, &err, NULL) : NULL;
}

struct thaw_http_response *thaw_request_version(struct thaw_request *request)
{
	const char *qualifier = request->function.qualifier;
	struct thaw_error err = {0};
	struct thaw_alias alias;
	int64_t number = THAW_VERSION_LATEST;

	if (*qualifier >= '0' && *qualifier <= '9' && strspn(qualifier, "0123456789") < 19 &&
	    !qualifier[strspn(qualifier, "0123456789")])
		number = strtoll(qualifier, NULL, 10) ?: -1; /* version 0 is ours alone */
	else if (*qualifier && strcmp(qualifier, "$LATEST") != 0)
		number = -1;
	struct thaw_http_response *refusal =
		thaw_request_function(request, number < 0 ? THAW_VERSION_LATEST : number);
	if (refusal || number >= 0)
		return refusal;
	int rc = thaw_aliases_get(request->service->store, request->item.function.id, qualifier,
				  &alias, &err);
	if (rc == -ENOENT)
		return request_not_found(request);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	number = alias.version;
	thaw_alias_clear(&alias);
	return thaw_request_function(request, number);
}

void thaw_arn_function(const struct thaw_service *service, const char *account, const char *name,
		       const char *qualifier, char arn[THAW_ARN_TEXT])
{
	snprintf(arn, THAW_ARN_TEXT, "arn:aws:lambda:%s:%s:function:%s%s%s",
		 service->config->region, account, name, qualifier && *qualifier ? ":" : "",
		 qualifier ? qualifier : "");
}

void thaw_version_text(int64_t version, char text[24])
{
	if (version == THAW_VERSION_LATEST)
		strcpy(text, "$LATEST");
	else
		snprintf(text, 24, "%lld", (long long)version);
}

struct thaw_http_response *thaw_respond_json(unsigned int status, json_t *body)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct thaw_http_response *response =
		text ? thaw_http_response_new(status) : thaw_http_response_no_memory();

	json_decref(body);
	thaw_http_response_body_take(response, text, text ? strlen(text) : 0);
	thaw_http_response_header(response, "Content-Type", "application/json");
	return response;
}

struct thaw_http_response *thaw_respond_empty(unsigned int status)
{
	return thaw_http_response_new(status);
}

struct thaw_http_response *thaw_respond_no_function(const struct thaw_service *service,
						    const char *account, const char *name,
						    const char *qualifier)
{
	char arn[THAW_ARN_TEXT];

	thaw_arn_function(service, account, name, qualifier, arn);
	return thaw_api_error_response("ResourceNotFoundException", "Function not found: %s", arn);
}

struct thaw_http_response *thaw_respond_error(int rc, const struct thaw_error *err,
					      const char *message)
{
	switch (rc) {
	case -ESTALE:
		return thaw_api_error_response(
			"PreconditionFailedException", "%s",
			message ? message
				: "The Revision Id provided does not match the latest Revision Id. "
				  "Call the GetFunction/GetAlias API to retrieve the latest "
				  "Revision Id");
	case -EEXIST:
	case -EBUSY:
		return thaw_api_error_response("ResourceConflictException", "%s",
					       message ? message : "The resource already exists.");
	case -ENOENT:
		return thaw_api_error_response("ResourceNotFoundException", "%s",
					       message ? message
						       : "The resource you requested does not "
							 "exist.");
	default:
		thaw_log(THAW_LOG_ERROR, "request failed: %s",
			 err && *err->message ? err->message : strerror(-rc));
		return thaw_api_error_response("ServiceException", "%s",
					       rc == -ENOSPC ? "No space left on the host."
							     : "Internal failure. Please retry.");
	}
}

void thaw_time_text(int64_t ms, char text[THAW_TIME_TEXT])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm utc;

	gmtime_r(&seconds, &utc);
	size_t used = strftime(text, THAW_TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text + used, THAW_TIME_TEXT - used, ".%03d+0000", (int)(ms % 1000));
}

int64_t thaw_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

json_t *thaw_json_stored(const char *text)
{
	json_t *value = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;

	return value ? value : json_null();
}
