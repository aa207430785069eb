/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations of the Lambda API: table.c has one row for each, one file a resource has what they
 * do. docs/api.md tells users the same.
 *
 * An operation gets a call whose caller is known, and gives the response. It may take its time:
 * all but the invocations run on the service's threads for such work, never on the server's.
 *
 * Checks come in this order: all values of the request (told together, host/api/validation.h);
 * that what it names is there (404); then that it may be changed so.
 */
#ifndef THAW_HOST_OPERATIONS_OPERATION_H
#define THAW_HOST_OPERATIONS_OPERATION_H

#include <jansson.h>

#include "host/api/api_error.h"
#include "host/api/body.h"
#include "host/api/http.h"
#include "host/api/names.h"
#include "host/api/route.h"
#include "host/api/validation.h"
#include "host/daemon/keys.h"
#include "host/daemon/service.h"
#include "host/store/functions.h"
#include "lib/error.h"
#include "lib/fd.h"

typedef struct thaw_http_response *thaw_operation_fn(struct thaw_service *service,
						     struct thaw_call *call);

struct thaw_operation {
	const char *method;
	const char *path;
	const char *name;
	size_t body_limit;
	const char *repeated;
	thaw_operation_fn *perform;
};

/* The operations as a router has them. */
int thaw_operations_router(struct thaw_service *service, struct thaw_router *router,
			   struct thaw_error *err);
void thaw_operations_router_clear(struct thaw_router *router);

/* --- what operations share --- */

#define THAW_MARKER_TEXT 1024

/* A request's values as far as they are read, and the first refusal. Operations read all they need
 * and then look once: thaw_request_refused. */
struct thaw_request {
	struct thaw_service *service;
	struct thaw_call *call;
	const char *account;
	struct thaw_validation validation;
	json_t *tree;            /* owned: the body */
	struct thaw_object body; /* in it */
	struct thaw_function_name function;
	struct thaw_function_item item;     /* owned: see thaw_request_function */
	size_t page;                        /* MaxItems */
	char marker[THAW_MARKER_TEXT];      /* decoded; "" for the beginning */
	struct thaw_http_response *refusal; /* owned until it is returned */
};

#define cleanup_request __attribute__((cleanup(thaw_request_clear)))

void thaw_request_init(struct thaw_request *request, struct thaw_service *service,
		       struct thaw_call *call);
void thaw_request_clear(struct thaw_request *request);

/* Reads {FunctionName} and, with `qualified`, Qualifier. */
void thaw_request_name(struct thaw_request *request, bool qualified);
/* Parses the body. */
void thaw_request_body(struct thaw_request *request);
/* MaxItems (at most `max`; also what it is when it is absent) and Marker. */
void thaw_request_page(struct thaw_request *request, size_t max);
/* NextMarker of a page's last item, as the text that clients send back. */
void thaw_request_next_marker(json_t *body, const char *last);

/* The refusal when something was wrong up to now; NULL to go on. */
struct thaw_http_response *thaw_request_refused(struct thaw_request *request);

/* The function in the caller's account (of others: it is not there), in version `number`:
 * request->item. NULL to go on, or the refusal. */
struct thaw_http_response *thaw_request_function(struct thaw_request *request, int64_t number);
/* As before, of the version that the qualifier names: an alias is followed to its first version.
 * Without one $LATEST. */
struct thaw_http_response *thaw_request_version(struct thaw_request *request);

/* "arn:aws:lambda:region:account:function:name", with ":qualifier" unless that is "" or NULL. */
#define THAW_ARN_TEXT 512
void thaw_arn_function(const struct thaw_service *service, const char *account, const char *name,
		       const char *qualifier, char arn[THAW_ARN_TEXT]);
/* "$LATEST" or the number. */
void thaw_version_text(int64_t version, char text[24]);

/* Responses. `body` is taken; NULL is our lack of memory. */
struct thaw_http_response *thaw_respond_json(unsigned int status, json_t *body);
struct thaw_http_response *thaw_respond_empty(unsigned int status);
/* "Function not found: arn:...", and the like. */
struct thaw_http_response *thaw_respond_no_function(const struct thaw_service *service,
						    const char *account, const char *name,
						    const char *qualifier);
/* What the store, or anything else of this host, answered with a negative errno. -ESTALE:
 * PreconditionFailedException; -EEXIST and -EBUSY: ResourceConflictException; -ENOENT:
 * ResourceNotFoundException; the rest is ours: ServiceException, logged with what err says. */
struct thaw_http_response *thaw_respond_error(int rc, const struct thaw_error *err,
					      const char *message);

/* "2026-01-31T12:00:00.000+0000", as Lambda writes times. */
#define THAW_TIME_TEXT 40
void thaw_time_text(int64_t ms, char text[THAW_TIME_TEXT]);

/* Milliseconds since 1970, now. */
int64_t thaw_now_ms(void);

/* A member that is JSON text in the store; null when it does not parse. */
json_t *thaw_json_stored(const char *text);

#endif
