/* SPDX-License-Identifier: Apache-2.0 */
#include "host/function.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"

/* Set by the host or the runtime itself (Lambda's list of reserved variables). */
static const char *const reserved[] = {
	"_HANDLER",
	"_X_AMZN_TRACE_ID",
	"AWS_DEFAULT_REGION",
	"AWS_REGION",
	"AWS_EXECUTION_ENV",
	"AWS_LAMBDA_FUNCTION_NAME",
	"AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
	"AWS_LAMBDA_FUNCTION_VERSION",
	"AWS_LAMBDA_INITIALIZATION_TYPE",
	"AWS_LAMBDA_LOG_GROUP_NAME",
	"AWS_LAMBDA_LOG_STREAM_NAME",
	"AWS_ACCESS_KEY",
	"AWS_ACCESS_KEY_ID",
	"AWS_SECRET_ACCESS_KEY",
	"AWS_SESSION_TOKEN",
	"AWS_LAMBDA_RUNTIME_API",
	"LAMBDA_TASK_ROOT",
	"LAMBDA_RUNTIME_DIR",
};

void thaw_function_init(struct thaw_function *function)
{
	*function = (struct thaw_function){
		.name = "function",
		.version = THAW_FUNCTION_LATEST,
		.account = "000000000000",
		.region = "us-east-1",
		.memory_mib = THAW_MEMORY_MIN,
		.timeout_s = 3,
		.ephemeral_mib = THAW_EPHEMERAL_MIN,
	};
}

void thaw_function_clear(struct thaw_function *function)
{
	for (size_t i = 0; i < function->variable_count; i++) {
		free(function->variables[i].name);
		free(function->variables[i].value);
	}
	free(function->variables);
	*function = (struct thaw_function){0};
}

int thaw_name_valid(const char *name)
{
	size_t length = strlen(name);

	return length >= 1 && length <= THAW_FUNCTION_NAME_MAX &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") ==
		       length;
}

int thaw_function_set_name(struct thaw_function *function, const char *name, struct thaw_error *err)
{
	if (!thaw_name_valid(name))
		return thaw_error_set(err, EINVAL,
				      "\"%s\" is not the name of a function: 1 to %d letters, "
				      "digits, \"-\" and \"_\"",
				      name, THAW_FUNCTION_NAME_MAX);
	snprintf(function->name, sizeof(function->name), "%s", name);
	return 0;
}

int thaw_function_set_owner(struct thaw_function *function, const char *account, const char *region,
			    struct thaw_error *err)
{
	size_t length = strlen(region);

	if (strlen(account) != THAW_ACCOUNT_LENGTH ||
	    strspn(account, "0123456789") != THAW_ACCOUNT_LENGTH)
		return thaw_error_set(err, EINVAL, "\"%s\" is not an account: it has %d digits",
				      account, THAW_ACCOUNT_LENGTH);
	if (length < 1 || length > THAW_REGION_MAX ||
	    strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-") != length)
		return thaw_error_set(err, EINVAL, "\"%s\" is not the name of a region", region);
	strcpy(function->account, account);
	strcpy(function->region, region);
	return 0;
}

int thaw_function_set_version(struct thaw_function *function, const char *version,
			      struct thaw_error *err)
{
	size_t length = strlen(version);

	if (strcmp(version, THAW_FUNCTION_LATEST) != 0 &&
	    (length < 1 || length > THAW_VERSION_MAX || version[0] == '0' ||
	     strspn(version, "0123456789") != length))
		return thaw_error_set(
			err, EINVAL,
			"\"%s\" is not a version: " THAW_FUNCTION_LATEST " or a number", version);
	strcpy(function->version, version);
	return 0;
}

void thaw_function_arn(const struct thaw_function *function, char arn[THAW_FUNCTION_ARN_MAX])
{
	snprintf(arn, THAW_FUNCTION_ARN_MAX, "arn:aws:lambda:%s:%s:function:%s", function->region,
		 function->account, function->name);
}

int thaw_function_set_runtime(struct thaw_function *function, const char *runtime,
			      struct thaw_error *err)
{
	size_t length = strlen(runtime);

	if (length < 1 || length > THAW_RUNTIME_MAX || runtime[0] == '.' ||
	    strspn(runtime, "abcdefghijklmnopqrstuvwxyz0123456789.") != length)
		return thaw_error_set(err, EINVAL, "\"%s\" is not the name of a runtime", runtime);
	snprintf(function->runtime, sizeof(function->runtime), "%s", runtime);
	return 0;
}

int thaw_function_set_handler(struct thaw_function *function, const char *handler,
			      struct thaw_error *err)
{
	size_t length = strlen(handler);

	if (length < 1 || length > THAW_HANDLER_MAX)
		return thaw_error_set(err, EINVAL, "a handler has 1 to %d characters, not %zu",
				      THAW_HANDLER_MAX, length);
	for (size_t i = 0; i < length; i++) {
		if (!isgraph((unsigned char)handler[i]))
			return thaw_error_set(err, EINVAL,
					      "a handler has no spaces and no special characters");
	}
	snprintf(function->handler, sizeof(function->handler), "%s", handler);
	return 0;
}

/* One message for every number out of its range. */
static int function_range(int64_t value, int64_t low, int64_t high, const char *what,
			  const char *unit, struct thaw_error *err)
{
	if (value >= low && value <= high)
		return 0;
	return thaw_error_set(err, EINVAL, "%s is %lld to %lld%s, not %lld", what, (long long)low,
			      (long long)high, unit, (long long)value);
}

int thaw_function_set_memory(struct thaw_function *function, int64_t mib, struct thaw_error *err)
{
	int rc = function_range(mib, THAW_MEMORY_MIN, THAW_MEMORY_MAX, "memory", " MB", err);

	if (rc == 0)
		function->memory_mib = (uint32_t)mib;
	return rc;
}

int thaw_function_set_timeout(struct thaw_function *function, int64_t s, struct thaw_error *err)
{
	int rc = function_range(s, 1, THAW_TIMEOUT_MAX_S, "the timeout", " s", err);

	if (rc == 0)
		function->timeout_s = (uint32_t)s;
	return rc;
}

int thaw_function_set_ephemeral(struct thaw_function *function, int64_t mib, struct thaw_error *err)
{
	int rc = function_range(mib, THAW_EPHEMERAL_MIN, THAW_EPHEMERAL_MAX, "ephemeral storage",
				" MB", err);

	if (rc == 0)
		function->ephemeral_mib = (uint32_t)mib;
	return rc;
}

int thaw_function_set_vcpus(struct thaw_function *function, int64_t count, struct thaw_error *err)
{
	int rc = function_range(count, 1, THAW_VCPUS_MAX, "the number of vCPUs", "", err);

	if (rc == 0)
		function->vcpus = (uint32_t)count;
	return rc;
}

/* Bytes of the map as compact JSON, as Lambda counts them: {"A":"b","C":"d"} */
static size_t function_environment_size(const struct thaw_function *function)
{
	size_t size = 2;

	for (size_t i = 0; i < function->variable_count; i++) {
		size += strlen(function->variables[i].name) + strlen(function->variables[i].value);
		size += 5 + (i > 0);
	}
	return size;
}

static int function_variable_name(const char *name, struct thaw_error *err)
{
	size_t length = strlen(name);
	size_t good = 0;

	/* Some reserved names break the rule below: the better reason comes first. */
	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		if (strcmp(name, reserved[i]) == 0)
			return thaw_error_set(err, EINVAL,
					      "the environment variable \"%s\" is reserved", name);
	}
	while (good < length && (isalnum((unsigned char)name[good]) || name[good] == '_'))
		good++;
	if (length < 2 || good != length || !isalpha((unsigned char)name[0]))
		return thaw_error_set(
			err, EINVAL,
			"\"%s\" is not the name of an environment variable: a letter, "
			"then letters, digits and \"_\", at least two",
			name);
	return 0;
}

int thaw_function_set_variable(struct thaw_function *function, const char *name, const char *value,
			       struct thaw_error *err)
{
	int rc = function_variable_name(name, err);

	if (rc < 0)
		return rc;
	char *copy = strdup(value);
	if (!copy)
		return thaw_error_errno(err, ENOMEM, "an environment variable");
	for (size_t i = 0; i < function->variable_count; i++) {
		if (strcmp(function->variables[i].name, name) == 0) {
			free(function->variables[i].value);
			function->variables[i].value = copy;
			goto added;
		}
	}
	struct thaw_variable *more =
		realloc(function->variables, (function->variable_count + 1) * sizeof(*more));
	if (more)
		function->variables = more;
	char *key = more ? strdup(name) : NULL;
	if (!key) {
		free(copy);
		return thaw_error_errno(err, ENOMEM, "an environment variable");
	}
	more[function->variable_count++] = (struct thaw_variable){.name = key, .value = copy};
added:
	if (function_environment_size(function) > THAW_ENVIRONMENT_MAX)
		return thaw_error_set(
			err, EINVAL,
			"the environment variables take more than the %d bytes allowed",
			THAW_ENVIRONMENT_MAX);
	return 0;
}

int thaw_function_copy(struct thaw_function *to, const struct thaw_function *from,
		       struct thaw_error *err)
{
	int rc = 0;

	thaw_function_clear(to);
	*to = *from;
	to->variables = NULL;
	to->variable_count = 0;
	for (size_t i = 0; rc == 0 && i < from->variable_count; i++)
		rc = thaw_function_set_variable(to, from->variables[i].name,
						from->variables[i].value, err);
	return rc;
}

uint32_t thaw_function_vcpus(const struct thaw_function *function)
{
	if (function->vcpus)
		return function->vcpus;
	uint32_t count = (function->memory_mib + THAW_MEMORY_PER_CPU - 1) / THAW_MEMORY_PER_CPU;
	return count > THAW_VCPUS_MAX ? THAW_VCPUS_MAX : count;
}

uint32_t thaw_function_guest_mib(const struct thaw_function *function)
{
	uint32_t mib = function->memory_mib + THAW_GUEST_OVERHEAD_MIB;

	return mib > THAW_GUEST_MEMORY_MAX_MIB ? THAW_GUEST_MEMORY_MAX_MIB : mib;
}
