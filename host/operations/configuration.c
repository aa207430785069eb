/* SPDX-License-Identifier: Apache-2.0 */
#include "host/operations/configuration.h"

#include "host/operations/function_config.h"

static void set_text(json_t *out, const char *name, const char *text)
{
	if (text)
		json_object_set_new(out, name, json_string(text));
}

json_t *thaw_configuration_render(const struct thaw_service *service,
				  const struct thaw_function_record *function,
				  const struct thaw_version_record *version, const char *qualifier)
{
	json_t *out = json_object(), *config = thaw_json_stored(version->config);
	char arn[THAW_ARN_TEXT], number[24], time[THAW_TIME_TEXT];

	thaw_version_text(version->version, number);
	if (!qualifier && version->version != THAW_VERSION_LATEST)
		qualifier = number;
	thaw_arn_function(service, function->account, function->name, qualifier, arn);
	thaw_time_text(version->last_modified_ms, time);
	set_text(out, "FunctionName", function->name);
	set_text(out, "FunctionArn", arn);
	thaw_config_render(config, out);
	json_object_set_new(out, "CodeSize", json_integer(version->code_size));
	set_text(out, "CodeSha256", version->code_sha256);
	set_text(out, "Description", version->description);
	set_text(out, "LastModified", time);
	set_text(out, "Version", number);
	set_text(out, "RevisionId", version->revision_id);
	set_text(out, "State", version->state);
	set_text(out, "StateReason", version->state_reason);
	set_text(out, "StateReasonCode", version->state_reason_code);
	set_text(out, "LastUpdateStatus", version->last_update_status);
	set_text(out, "LastUpdateStatusReason", version->last_update_reason);
	set_text(out, "LastUpdateStatusReasonCode", version->last_update_reason_code);
	/* Of an image, as on Lambda: what SnapStart has made of a published version. */
	if (version->snapshot && *version->snapshot)
		set_text(json_object_get(out, "SnapStart"), "OptimizationStatus", "On");
	json_object_set_new(out, "RuntimeVersionConfig",
			    json_pack("{s:s+++}", "RuntimeVersionArn",
				      "arn:aws:lambda:", service->config->region,
				      "::runtime:", thaw_config_text(config, "Runtime") ?: ""));
	json_decref(config);
	return out;
}
