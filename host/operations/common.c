/* SPDX-License-Identifier: Apache-2.0 */
#include "host/operations/common.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/store/provisioned.h"

#define UNRESERVED_MIN 100

const char *const thaw_architectures[] = {"x86_64", "arm64", NULL};

const char *const thaw_runtimes[] = {
	"nodejs",        "nodejs4.3",      "nodejs6.10",      "nodejs8.10",
	"nodejs10.x",    "nodejs12.x",     "nodejs14.x",      "nodejs16.x",
	"nodejs18.x",    "nodejs20.x",     "nodejs22.x",      "nodejs24.x",
	"nodejs26.x",    "nodejs4.3-edge", "java8",           "java8.al2",
	"java8.al2023",  "java11",         "java11.al2023",   "java17",
	"java17.al2023", "java21",         "java25",          "python2.7",
	"python3.6",     "python3.7",      "python3.8",       "python3.9",
	"python3.10",    "python3.11",     "python3.12",      "python3.13",
	"python3.14",    "python3.15",     "dotnetcore1.0",   "dotnetcore2.0",
	"dotnetcore2.1", "dotnetcore3.1",  "dotnet6",         "dotnet8",
	"dotnet10",      "go1.x",          "ruby2.5",         "ruby2.7",
	"ruby3.2",       "ruby3.3",        "ruby3.4",         "ruby4.0",
	"provided",      "provided.al2",   "provided.al2023", NULL,
};

struct thaw_http_response *thaw_request_unqualified(struct thaw_request *request)
{
	if (*request->function.qualifier)
		return thaw_api_error_response(
			"InvalidParameterValueException",
			"This operation is permitted on Lambda functions only. Aliases and "
			"versions do not support this operation. Please specify either a function "
			"name or an unqualified function ARN.");
	return thaw_request_function(request, THAW_VERSION_LATEST);
}

void thaw_request_needs_qualifier(struct thaw_request *request)
{
	if (!*request->function.qualifier)
		thaw_validation_add(&request->validation, NULL, "qualifier",
				    "Member must not be null");
}

bool thaw_version_parse(const char *text, int64_t *version)
{
	size_t digits = strspn(text, "0123456789");

	if (strcmp(text, "$LATEST") == 0) {
		*version = THAW_VERSION_LATEST;
		return true;
	}
	/* Version 0 is ours alone, and 19 digits may be too many. */
	if (!digits || text[digits] || digits > 18 || text[0] == '0')
		return false;
	*version = strtoll(text, NULL, 10);
	return true;
}

int64_t thaw_unreserved_min(const struct thaw_service *service)
{
	int64_t tenth = service->config->concurrency / 10;

	return tenth < UNRESERVED_MIN ? tenth : UNRESERVED_MIN;
}

int thaw_unreserved_left(const struct thaw_service *service, const char *account, int64_t except,
			 const char *except_qualifier, int64_t *left, struct thaw_error *err)
{
	int64_t reserved = 0, provisioned = 0, own = 0;

	int rc = thaw_functions_reserved_sum(service->store, account, except, &reserved, err);
	if (rc == 0)
		rc = thaw_provisioned_unreserved_sum(service->store, account, except, &provisioned,
						     err);
	if (rc == 0 && except_qualifier)
		rc = thaw_provisioned_sum(service->store, except, except_qualifier, &own, err);
	if (rc == 0)
		*left = (int64_t)service->config->concurrency - reserved - provisioned - own;
	return rc;
}

bool thaw_text_among(const char *text, const char *const *values)
{
	for (size_t i = 0; values[i]; i++) {
		if (strcmp(values[i], text) == 0)
			return true;
	}
	return false;
}

const char *thaw_request_query_enum(struct thaw_request *request, const char *name,
				    const char *member, const char *const *values)
{
	const char *text = thaw_call_query(request->call, name);
	char set[640] = "";
	size_t used = 0;

	if (!text || thaw_text_among(text, values))
		return text;
	for (size_t i = 0; values[i] && used < sizeof(set); i++)
		used += (size_t)snprintf(set + used, sizeof(set) - used, "%s%s", i ? ", " : "",
					 values[i]);
	thaw_validation_add(&request->validation, text, member,
			    "Member must satisfy enum value set: [%s]", set);
	return NULL;
}
