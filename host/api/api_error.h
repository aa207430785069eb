/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API's errors: each code has one HTTP status, one spelling of its message's field and one
 * Type, as the public model of the API says (botocore, lambda 2015-03-31). Errors common to all
 * AWS services (signatures, validation, unknown operations) are in the same table.
 *
 * On the wire: the status, the header x-amzn-ErrorType, and {"Type":"User","Message":"..."}.
 */
#ifndef THAW_HOST_API_API_ERROR_H
#define THAW_HOST_API_API_ERROR_H

#include <stdbool.h>

struct thaw_http_request;
struct thaw_http_response;
struct thaw_validation;

struct thaw_api_error {
	const char *code;
	unsigned int status;
	bool capital;     /* "Message", not "message" */
	const char *type; /* "User", "Service"; NULL: the body has none */
};

/* The row of `code`, NULL for an unknown one. */
const struct thaw_api_error *thaw_api_error_find(const char *code);

/* The response of error `code` with a message. An unknown code is ServiceException's 500: a
 * mistake of ours must not look like the client's. NULL without memory. */
struct thaw_http_response *thaw_api_error_response(const char *code, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* TooManyRequestsException: `reason` is of the model's enum ("ConcurrentInvocationLimitExceeded",
 * ...), `retry_after` in seconds. NULL for no message: "Rate Exceeded." */
struct thaw_http_response *thaw_api_throttle_response(const char *reason, unsigned int retry_after,
						      const char *message);

/* ValidationException or SerializationException with all that was found. */
struct thaw_http_response *thaw_api_validation_response(const struct thaw_validation *validation);

/* struct thaw_http_hooks' refuse. */
struct thaw_http_response *thaw_api_refuse(void *opaque, const struct thaw_http_request *request,
					   unsigned int status, const char *reason);

#endif
