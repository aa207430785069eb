/* SPDX-License-Identifier: Apache-2.0 */
#include "host/archive.h"
#include "host/code.h"
#include "host/operations/common.h"
#include "host/operations/operations.h"
#include "host/store/usage.h"

struct thaw_http_response *thaw_operation_get_account_settings(struct thaw_service *service,
							       struct thaw_call *call)
{
	const char *account = thaw_call_account(call);
	struct thaw_usage usage = {0};
	struct thaw_error err = {0};
	int64_t reserved = 0;

	int rc = thaw_usage_account(service->store, account, &usage, &err);
	if (rc == 0)
		rc = thaw_functions_reserved_sum(service->store, account, 0, &reserved, &err);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	/* The configuration's limit may have been lowered below what is reserved. */
	int64_t limit = service->config->concurrency;
	int64_t unreserved = reserved < limit ? limit - reserved : 0;
	json_t *body = json_pack(
		"{s:{s:I, s:I, s:I, s:I, s:I}, s:{s:I, s:I}}", "AccountLimit", "TotalCodeSize",
		(json_int_t)THAW_ACCOUNT_CODE_BYTES, "CodeSizeUnzipped",
		(json_int_t)THAW_CODE_SIZE_MAX, "CodeSizeZipped", (json_int_t)THAW_ARCHIVE_SIZE_MAX,
		"ConcurrentExecutions", (json_int_t)limit, "UnreservedConcurrentExecutions",
		(json_int_t)unreserved, "AccountUsage", "TotalCodeSize",
		(json_int_t)usage.code_bytes, "FunctionCount", (json_int_t)usage.functions);
	return thaw_respond_json(200, body);
}
