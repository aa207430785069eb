/* SPDX-License-Identifier: Apache-2.0 */
#include "host/api/api_error.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/api/http.h"
#include "host/api/validation.h"
#include "lib/fd.h"

/* Sorted by code. */
static const struct thaw_api_error api_errors[] = {
	{"AccessDeniedException", 403, true, NULL},
	{"AliasLimitExceededException", 400, false, "User"},
	{"CallbackTimeoutException", 400, true, "User"},
	{"CapacityProviderLimitExceededException", 400, false, "User"},
	{"CodeArtifactUserDeletedException", 409, false, "User"},
	{"CodeArtifactUserFailedException", 409, false, "User"},
	{"CodeArtifactUserPendingException", 409, false, "User"},
	{"CodeSigningConfigNotFoundException", 404, true, "User"},
	{"CodeStorageExceededException", 400, false, "User"},
	{"CodeVerificationFailedException", 400, true, "User"},
	{"DurableExecutionAlreadyStartedException", 409, true, "User"},
	{"EC2AccessDeniedException", 502, true, "User"},
	{"EC2ThrottledException", 502, true, "Service"},
	{"EC2UnexpectedException", 502, true, "Service"},
	{"EFSIOException", 410, true, "User"},
	{"EFSMountConnectivityException", 408, true, "User"},
	{"EFSMountFailureException", 403, true, "User"},
	{"EFSMountTimeoutException", 408, true, "User"},
	{"ENILimitReachedException", 502, true, "User"},
	{"ENINotReadyException", 502, true, "Service"},
	{"ExpiredTokenException", 403, false, NULL},
	{"FunctionVersionsPerCapacityProviderLimitExceededException", 400, false, "User"},
	{"IncompleteSignatureException", 400, false, NULL},
	{"InternalFailure", 500, false, NULL},
	{"InvalidClientTokenId", 403, false, NULL},
	{"InvalidCodeSignatureException", 400, true, "User"},
	{"InvalidParameterValueException", 400, false, "User"},
	{"InvalidRequestContentException", 400, false, "User"},
	{"InvalidRuntimeException", 502, true, "User"},
	{"InvalidSecurityGroupIDException", 502, true, "User"},
	{"InvalidSignatureException", 403, false, NULL},
	{"InvalidSubnetIDException", 502, true, "User"},
	{"InvalidZipFileException", 502, true, "User"},
	{"KMSAccessDeniedException", 502, true, "User"},
	{"KMSDisabledException", 502, true, "User"},
	{"KMSInvalidStateException", 502, true, "User"},
	{"KMSNotFoundException", 502, true, "User"},
	{"MissingAuthenticationTokenException", 403, false, NULL},
	{"ModeNotSupportedException", 400, false, "User"},
	{"NoPublishedVersionException", 400, true, "User"},
	{"PolicyLengthExceededException", 400, false, "User"},
	{"PreconditionFailedException", 412, false, "User"},
	{"ProvisionedConcurrencyConfigNotFoundException", 404, false, "User"},
	{"PublicPolicyException", 400, true, "User"},
	{"RecursiveInvocationException", 400, true, "User"},
	{"RequestEntityTooLargeException", 413, false, "User"},
	{"RequestTooLargeException", 413, false, "User"},
	{"ResourceConflictException", 409, false, "User"},
	{"ResourceInUseException", 400, true, "User"},
	{"ResourceNotFoundException", 404, true, "User"},
	{"ResourceNotReadyException", 502, false, "Service"},
	{"S3FilesMountConnectivityException", 408, true, "User"},
	{"S3FilesMountFailureException", 403, true, "User"},
	{"S3FilesMountTimeoutException", 408, true, "User"},
	{"SerializationException", 400, false, "User"},
	{"SerializedRequestEntityTooLargeException", 413, false, "User"},
	{"ServiceException", 500, true, "Service"},
	{"ServiceQuotaExceededException", 402, true, "User"},
	{"ServiceUnavailableException", 503, false, "Service"},
	{"SnapStartException", 400, true, "User"},
	{"SnapStartNotReadyException", 409, true, "User"},
	{"SnapStartRegenerationFailureException", 409, true, "User"},
	{"SnapStartTimeoutException", 408, true, "User"},
	{"SubnetIPAddressLimitReachedException", 502, true, "User"},
	{"ThrottlingException", 429, false, "User"},
	{"TooManyRequestsException", 429, false, "User"},
	{"UnknownOperationException", 404, true, NULL},
	{"UnrecognizedClientException", 403, false, NULL},
	{"UnsupportedMediaTypeException", 415, false, "User"},
	{"ValidationException", 400, false, "User"},
};

static int error_order(const void *code, const void *row)
{
	return strcmp(code, ((const struct thaw_api_error *)row)->code);
}

const struct thaw_api_error *thaw_api_error_find(const char *code)
{
	return bsearch(code, api_errors, sizeof(api_errors) / sizeof(api_errors[0]),
		       sizeof(api_errors[0]), error_order);
}

/* `body` is taken. */
static struct thaw_http_response *error_make(const struct thaw_api_error *error, json_t *body)
{
	cleanup_free char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct thaw_http_response *response =
		text ? thaw_http_response_new(error->status) : thaw_http_response_no_memory();

	json_decref(body);
	if (thaw_http_response_header(response, "x-amzn-ErrorType", error->code) < 0 ||
	    thaw_http_response_header(response, "Content-Type", "application/json") < 0 ||
	    thaw_http_response_body_copy(response, text, strlen(text)) < 0) {
		thaw_http_response_free(response);
		return thaw_http_response_no_memory();
	}
	return response;
}

static json_t *error_body(const struct thaw_api_error *error, const char *message)
{
	json_t *body = json_object();

	if (error->type)
		json_object_set_new(body, "Type", json_string(error->type));
	json_t *text = json_string(message);
	/* Not UTF-8: what a client sent must not cost it the error. */
	if (!text)
		text = json_string("The request is malformed.");
	json_object_set_new(body, error->capital ? "Message" : "message", text);
	return body;
}

struct thaw_http_response *thaw_api_error_response(const char *code, const char *format, ...)
{
	const struct thaw_api_error *error = thaw_api_error_find(code);
	char *message = NULL;
	va_list ap;

	if (!error)
		error = thaw_api_error_find("ServiceException");
	va_start(ap, format);
	int n = vasprintf(&message, format, ap);
	va_end(ap);
	if (n < 0)
		return thaw_http_response_no_memory();
	struct thaw_http_response *response = error_make(error, error_body(error, message));
	free(message);
	return response;
}

struct thaw_http_response *thaw_api_throttle_response(const char *reason, unsigned int retry_after,
						      const char *message)
{
	const struct thaw_api_error *error = thaw_api_error_find("TooManyRequestsException");
	json_t *body = error_body(error, message ? message : "Rate Exceeded.");
	char seconds[16];

	snprintf(seconds, sizeof(seconds), "%u", retry_after);
	json_object_set_new(body, "Reason", json_string(reason));
	json_object_set_new(body, "retryAfterSeconds", json_string(seconds));
	struct thaw_http_response *response = error_make(error, body);
	thaw_http_response_header(response, "Retry-After", seconds);
	return response;
}

struct thaw_http_response *thaw_api_validation_response(const struct thaw_validation *validation)
{
	size_t size = THAW_VALIDATION_TEXT_MAX + 64;
	cleanup_free char *message = malloc(size);

	if (!message)
		return thaw_http_response_no_memory();
	const char *code = thaw_validation_message(validation, message, size);
	return thaw_api_error_response(code, "%s", message);
}

struct thaw_http_response *thaw_api_refuse(void *opaque, const struct thaw_http_request *request,
					   unsigned int status, const char *reason)
{
	(void)opaque;
	(void)request;
	if (status == 413)
		return thaw_api_error_response("RequestEntityTooLargeException", "%s", reason);
	if (status == 503)
		return thaw_api_error_response("ServiceUnavailableException", "%s", reason);
	if (status == 400)
		return thaw_api_error_response("ValidationException", "%s", reason);
	return NULL; /* 431: no code of the API's has it */
}
