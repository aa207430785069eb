/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "host/archive.h"
#include "host/code.h"
#include "host/daemon/archives.h"
#include "host/operations/common.h"
#include "host/operations/download.h"
#include "host/operations/layers.h"
#include "host/operations/operations.h"
#include "host/store/usage.h"

#define LICENSE_MAX       512
#define RUNTIMES_MAX      15
#define ARCHITECTURES_MAX 2

/* An archive over its limit is refused with the words for archives, up to this. */
#define READ_MAX (2 * THAW_ARCHIVE_SIZE_MAX)

/* What a client says of a layer. */
struct layer_input {
	struct thaw_layer_name name;
	const char *description, *license;
	const json_t *runtimes, *architectures; /* NULL: none */
	uint8_t *archive;                       /* owned; NULL: none */
	size_t archive_size;
	bool elsewhere; /* the archive is said to lie in S3 */
};

static void layer_input_clear(struct layer_input *input)
{
	free(input->archive);
}

void thaw_layer_arn(const struct thaw_request *request, const char *name, int64_t version,
		    char arn[THAW_ARN_TEXT])
{
	char number[24] = "";

	if (version)
		snprintf(number, sizeof(number), ":%" PRId64, version);
	snprintf(arn, THAW_ARN_TEXT, "arn:aws:lambda:%s:%s:layer:%s%s",
		 request->service->config->region, request->account, name, number);
}

static void layer_json_list(json_t *body, const char *name, const char *stored)
{
	json_t *list = thaw_json_stored(stored);

	if (json_array_size(list))
		json_object_set(body, name, list);
	json_decref(list);
}

json_t *thaw_layer_json(const struct thaw_request *request, const struct thaw_layer_version *layer,
			bool whole)
{
	char arn[THAW_ARN_TEXT], version_arn[THAW_ARN_TEXT], created[THAW_TIME_TEXT];
	char location[THAW_LOCATION_TEXT];

	thaw_time_text(layer->created_ms, created);
	thaw_layer_arn(request, layer->name, layer->number, version_arn);
	json_t *body = json_pack("{s:s, s:I, s:s, s:s}", "LayerVersionArn", version_arn, "Version",
				 (json_int_t)layer->number, "Description", layer->description,
				 "CreatedDate", created);
	if (*layer->license)
		json_object_set_new(body, "LicenseInfo", json_string(layer->license));
	layer_json_list(body, "CompatibleRuntimes", layer->runtimes);
	layer_json_list(body, "CompatibleArchitectures", layer->architectures);
	if (!whole)
		return body;
	thaw_layer_arn(request, layer->name, 0, arn);
	json_object_set_new(body, "LayerArn", json_string(arn));
	json_t *content = json_pack("{s:s, s:I}", "CodeSha256", layer->code_sha256, "CodeSize",
				    (json_int_t)layer->code_size);
	if (thaw_archive_location(request->service, request->call, layer->code_sha256, location,
				  sizeof(location)) == 0)
		json_object_set_new(content, "Location", json_string(location));
	json_object_set_new(body, "Content", content);
	return body;
}

static void layer_read_list(struct thaw_request *request, const char *name, const char *member,
			    size_t max, const char *const *values, const json_t **list)
{
	const json_t *entry;
	size_t i;

	if (thaw_object_strings(&request->body, name, THAW_OPTIONAL, 0, max, list) <= 0)
		return;
	json_array_foreach((json_t *)*list, i, entry)
	{
		if (!thaw_text_among(json_string_value(entry), values))
			thaw_validation_add(&request->validation, json_string_value(entry), member,
					    "Member must satisfy enum value set of %s", member);
	}
}

static void layer_read_content(struct thaw_request *request, struct layer_input *input)
{
	static const char *const others[] = {"S3Bucket", "S3Key", "S3ObjectVersion"};
	struct thaw_object content;

	if (thaw_object_object(&request->body, "Content", THAW_REQUIRED, &content) <= 0)
		return;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		const json_t *other = json_object_get(content.json, others[i]);
		input->elsewhere |= other && !json_is_null(other);
	}
	if (thaw_object_blob(&content, "ZipFile", THAW_OPTIONAL, READ_MAX, &input->archive,
			     &input->archive_size) == -ENOMEM &&
	    !request->refusal)
		request->refusal = thaw_respond_error(-ENOMEM, NULL, NULL);
}

static void layer_read(struct thaw_request *request, struct layer_input *input)
{
	struct thaw_validation *validation = &request->validation;

	thaw_layer_request_name(request, &input->name);
	thaw_request_body(request);
	if (thaw_object_string(&request->body, "Description", THAW_OPTIONAL, &input->description) >
	    0)
		thaw_shape_check(THAW_SHAPE_DESCRIPTION, input->description, "description",
				 validation);
	if (thaw_object_string(&request->body, "LicenseInfo", THAW_OPTIONAL, &input->license) > 0 &&
	    thaw_utf8_length(input->license) > LICENSE_MAX)
		thaw_validation_add(validation, input->license, "licenseInfo",
				    "Member must have length less than or equal to %d",
				    LICENSE_MAX);
	layer_read_list(request, "CompatibleRuntimes", "compatibleRuntimes", RUNTIMES_MAX,
			thaw_runtimes, &input->runtimes);
	layer_read_list(request, "CompatibleArchitectures", "compatibleArchitectures",
			ARCHITECTURES_MAX, thaw_architectures, &input->architectures);
	layer_read_content(request, input);
}

/* NULL to go on. */
static struct thaw_http_response *layer_check(struct thaw_request *request,
					      const struct layer_input *input)
{
	struct thaw_usage usage = {0};
	struct thaw_error err = {0};

	if (!thaw_layer_is_here(request, &input->name))
		return thaw_respond_error(-ENOENT, NULL, NULL);
	if (input->elsewhere)
		return thaw_api_error_response("InvalidParameterValueException",
					       "Content in S3 is not supported by this host. "
					       "Please send it as ZipFile.");
	if (!input->archive_size)
		return thaw_api_error_response("InvalidParameterValueException", "%s",
					       thaw_archive_fault_text(THAW_ARCHIVE_EMPTY));
	int rc = thaw_usage_account(request->service->store, request->account, &usage, &err);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	if (usage.code_bytes + (int64_t)input->archive_size > THAW_ACCOUNT_CODE_BYTES)
		return thaw_api_error_response("CodeStorageExceededException",
					       "Code storage limit exceeded.");
	return NULL;
}

/* Unpacks it once, as it will be for functions, so that a bad one is refused here; and keeps it.
 * NULL to go on. */
static struct thaw_http_response *layer_code(struct thaw_service *service,
					     const struct layer_input *input,
					     char drive[THAW_DIGEST_TEXT],
					     char sha256[THAW_DIGEST_BASE64])
{
	struct thaw_archive archive = {
		.data = input->archive, .size = input->archive_size, .fd = -1};
	struct thaw_unpack unpack = THAW_UNPACK_WHOLE;
	char digest[THAW_DIGEST_TEXT];
	struct thaw_error err = {0};
	cleanup_close int fd = -1;

	int rc = thaw_code_drive_archives(&service->host.state, &archive, 1, &unpack, &fd, drive,
					  &err);
	/* Lambda's words, and behind them ours, which name the entry. */
	if (rc < 0 && thaw_archive_fault_text(unpack.fault))
		return thaw_api_error_response("InvalidParameterValueException", "%s (%s)",
					       thaw_archive_fault_text(unpack.fault), err.message);
	if (rc == 0)
		rc = thaw_archives_keep(service, archive.data, archive.size, digest, &err);
	if (rc == 0)
		rc = thaw_archives_sha256(digest, sha256);
	return rc < 0 ? thaw_respond_error(rc, &err, NULL) : NULL;
}

static char *layer_list_text(const json_t *list)
{
	return list ? json_dumps(list, JSON_COMPACT) : strdup("[]");
}

struct thaw_http_response *thaw_operation_publish_layer_version(struct thaw_service *service,
								struct thaw_call *call)
{
	__attribute__((cleanup(layer_input_clear))) struct layer_input input = {.description = "",
										.license = ""};
	cleanup_request struct thaw_request request;
	char drive[THAW_DIGEST_TEXT], sha256[THAW_DIGEST_BASE64];
	struct thaw_error err = {0};

	thaw_request_init(&request, service, call);
	layer_read(&request, &input);
	struct thaw_http_response *refusal = thaw_request_refused(&request);
	if (!refusal)
		refusal = layer_check(&request, &input);
	if (!refusal)
		refusal = layer_code(service, &input, drive, sha256);
	if (refusal)
		return refusal;
	cleanup_free char *runtimes = layer_list_text(input.runtimes);
	cleanup_free char *architectures = layer_list_text(input.architectures);
	struct thaw_layer_version layer = {
		.account = (char *)request.account,
		.name = input.name.name,
		.description = (char *)input.description,
		.license = (char *)input.license,
		.runtimes = runtimes,
		.architectures = architectures,
		.code_digest = drive,
		.code_sha256 = sha256,
		.code_size = (int64_t)input.archive_size,
		.created_ms = thaw_now_ms(),
	};
	int rc = runtimes && architectures
			 ? thaw_layers_publish(service->store, &layer, &layer.number, &err)
			 : -ENOMEM;
	return rc < 0 ? thaw_respond_error(rc, &err, NULL)
		      : thaw_respond_json(201, thaw_layer_json(&request, &layer, true));
}
