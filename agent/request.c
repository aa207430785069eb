/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/request.h"

#include <errno.h>
#include <string.h>

#include "agent/runtime_api.h"
#include "lib/error.h"

/* A value that becomes a header line or a variable: printable and not longer than `max`. */
static int check_text(const char *what, const char *text, size_t max, struct thaw_error *err)
{
	if (strlen(text) > max)
		return thaw_error_set(err, EINVAL, "%s is longer than %zu bytes", what, max);
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c < 0x20 || *c == 0x7f)
			return thaw_error_set(err, EINVAL, "%s has a control byte", what);
	}
	return 0;
}

int thaw_request_check_function(const Thaw__Agent__Function *f, struct thaw_error *err)
{
	const struct {
		const char *what;
		const char *text;
		size_t max;
	} texts[] = {
		{"the function's name", f->name, 256},
		{"the version", f->version, 256},
		{"the ARN", f->arn, 512},
		{"the handler", f->handler, 256},
		{"the region", f->region, 128},
		{"the log group", f->log_group, 512},
		{"the log stream", f->log_stream, 511},
		{"the execution environment", f->execution_env, 256},
		{"the initialization type", f->initialization_type, 64},
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		int rc = check_text(texts[i].what, texts[i].text, texts[i].max, err);
		if (rc < 0)
			return rc;
	}
	if (f->memory_mib == 0)
		return thaw_error_set(err, EINVAL, "the function has no memory");
	return 0;
}

int thaw_request_check_invoke(const Thaw__Agent__Invoke *invoke, struct thaw_error *err)
{
	/* Their sum must fit the head that runtime_api.c makes of them. */
	const struct {
		const char *what;
		const char *text;
		size_t max;
	} texts[] = {
		{"the request id", invoke->request_id, THAW_REQUEST_ID_MAX - 1},
		{"the ARN", invoke->function_arn, 512},
		{"the trace id", invoke->trace_id, 1024},
		{"the client context", invoke->client_context, 4096},
		{"the identity", invoke->cognito_identity, 1024},
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		int rc = check_text(texts[i].what, texts[i].text, texts[i].max, err);
		if (rc < 0)
			return rc;
	}
	if (!invoke->request_id[0] || strpbrk(invoke->request_id, "/? "))
		return thaw_error_set(err, EINVAL, "the request id cannot be part of a path");
	if (invoke->payload_size > THAW_RESPONSE_MAX)
		return thaw_error_set(err, EMSGSIZE, "an event of %llu bytes, more than %u",
				      (unsigned long long)invoke->payload_size, THAW_RESPONSE_MAX);
	if (invoke->payload.len > THAW_PAYLOAD_PART_MAX ||
	    invoke->payload.len > invoke->payload_size)
		return thaw_error_set(err, EINVAL, "%zu bytes of payload in the first part of %llu",
				      invoke->payload.len,
				      (unsigned long long)invoke->payload_size);
	return 0;
}
