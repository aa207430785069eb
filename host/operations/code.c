/* SPDX-License-Identifier: Apache-2.0 */
#include "host/operations/code.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/archive.h"
#include "host/code.h"
#include "host/daemon/archives.h"
#include "host/operations/function_config.h"
#include "host/store/layers.h"

/* In a JSON body an archive is a third larger: what is over the limit is refused with the words
 * for archives, up to this. */
#define READ_MAX (2 * THAW_ARCHIVE_SIZE_MAX)

int thaw_code_read(struct thaw_request *request, const struct thaw_object *object, uint8_t **data,
		   size_t *size)
{
	static const char *const elsewhere[] = {"S3Bucket", "S3Key", "ImageUri"};

	for (size_t i = 0; i < 3; i++) {
		const json_t *value = json_object_get(object->json, elsewhere[i]);
		if (value && !json_is_null(value) && !request->refusal)
			request->refusal = thaw_api_error_response(
				"InvalidParameterValueException",
				"%s is not supported by this host: send the code as ZipFile.",
				elsewhere[i]);
	}
	int rc = thaw_object_blob(object, "ZipFile", THAW_OPTIONAL, READ_MAX, data, size);
	if (rc == -ENOMEM && !request->refusal)
		request->refusal = thaw_respond_error(rc, NULL, NULL);
	return rc == 1;
}

static struct thaw_http_response *archive_refusal(int rc, const struct thaw_unpack *unpack,
						  const struct thaw_error *err)
{
	const char *text = thaw_archive_fault_text(unpack->fault);

	if (!text)
		return thaw_respond_error(rc, err, NULL);
	/* Lambda's words, and behind them ours, which name the entry. */
	return thaw_api_error_response("InvalidParameterValueException", "%s (%s)", text,
				       err->message);
}

static struct thaw_http_response *replace(char **text, const char *by)
{
	char *copy = strdup(by);

	if (!copy)
		return thaw_respond_error(-ENOMEM, NULL, NULL);
	free(*text);
	*text = copy;
	return NULL;
}

struct thaw_http_response *thaw_code_keep(struct thaw_service *service, const uint8_t *data,
					  size_t size, struct thaw_version_record *version)
{
	const struct thaw_archive archive = {.data = data, .size = size, .fd = -1};
	struct thaw_unpack unpack = THAW_UNPACK_WHOLE;
	char sha256[THAW_DIGEST_BASE64], digest[THAW_DIGEST_TEXT];
	struct thaw_error err = {0};

	if (size > THAW_ARCHIVE_SIZE_MAX || size == 0) {
		unpack.fault = size ? THAW_ARCHIVE_PACKED_TOO_LARGE : THAW_ARCHIVE_EMPTY;
		return thaw_api_error_response("InvalidParameterValueException", "%s",
					       thaw_archive_fault_text(unpack.fault));
	}
	int rc = thaw_archive_sha256(&archive, sha256, &err);
	if (rc == 0)
		rc = thaw_archives_keep(service, data, size, digest, &err);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	version->code_size = (int64_t)size;
	return replace(&version->code_sha256, sha256);
}

/* The archive of a CodeSha256. */
static int archive_open(struct thaw_service *service, const char *sha256, int *fd,
			struct thaw_error *err)
{
	char digest[THAW_DIGEST_TEXT];

	if (thaw_archives_digest(sha256, digest) < 0)
		return thaw_error_set(err, EIO, "\"%s\" is no checksum", sha256);
	return thaw_archives_open(service, digest, fd, err);
}

/* One drive of `count` archives. NULL, with its digest, or the refusal. */
static struct thaw_http_response *drive_make(struct thaw_service *service, const int *fds,
					     size_t count, struct thaw_unpack *unpack,
					     char digest[THAW_DIGEST_TEXT])
{
	struct thaw_archive archives[THAW_LAYERS_MAX];
	cleanup_close int drive = -1;
	struct thaw_error err = {0};

	for (size_t i = 0; i < count; i++)
		archives[i] = (struct thaw_archive){.fd = fds[i]};
	int rc = thaw_code_drive_archives(&service->host.state, archives, count, unpack, &drive,
					  digest, &err);
	return rc < 0 ? archive_refusal(rc, unpack, &err) : NULL;
}

/* Looks a layer up and opens its archive; the configuration is told of it. */
static struct thaw_http_response *layer_open(struct thaw_service *service, const char *account,
					     const char *arn, json_t *versions, int *fd)
{
	struct thaw_layer_version layer = {0};
	struct thaw_validation validation;
	struct thaw_layer_name name;
	struct thaw_error err = {0};

	thaw_validation_init(&validation);
	int rc = thaw_layer_version_parse(arn, "layers", &name, &validation);
	if (rc == 0)
		rc = strcmp(name.account, account) == 0 &&
				     strcmp(name.region, service->config->region) == 0
			     ? thaw_layers_get(service->store, account, name.name,
					       (int64_t)name.version, &layer, &err)
			     : -ENOENT;
	if (rc == -ENOENT || rc == -EINVAL)
		return thaw_api_error_response("InvalidParameterValueException",
					       "Layer version %s does not exist.", arn);
	if (rc == 0)
		rc = archive_open(service, layer.code_sha256, fd, &err);
	if (rc == 0)
		json_array_append_new(versions, json_pack("{s:s, s:I}", "Arn", arn, "CodeSize",
							  (json_int_t)layer.code_size));
	thaw_layer_version_clear(&layer);
	return rc < 0 ? thaw_respond_error(rc, &err, NULL) : NULL;
}

static struct thaw_http_response *layers_make(struct thaw_service *service, const char *account,
					      struct thaw_unpack *unpack,
					      struct thaw_version_record *version, json_t *config)
{
	const json_t *layers = json_object_get(config, "Layers");
	json_t *versions = json_array();
	struct thaw_http_response *refusal = NULL;
	char digest[THAW_DIGEST_TEXT], list[THAW_DIGEST_TEXT + 8];
	int fds[THAW_LAYERS_MAX];
	size_t count = 0;

	for (; !refusal && count < json_array_size(layers) && count < THAW_LAYERS_MAX; count++) {
		fds[count] = -1;
		refusal = layer_open(service, account,
				     json_string_value(json_array_get(layers, count)) ?: "",
				     versions, &fds[count]);
	}
	if (!refusal && count)
		refusal = drive_make(service, fds, count, unpack, digest);
	for (size_t i = 0; i < count; i++)
		thaw_cleanup_close(&fds[i]);
	json_object_set_new(config, "LayerVersions", versions);
	if (refusal)
		return refusal;
	snprintf(list, sizeof(list), count ? "[\"%s\"]" : "[]", digest);
	return replace(&version->layer_digests, list);
}

struct thaw_http_response *thaw_code_make(struct thaw_service *service, const char *account,
					  struct thaw_version_record *version, json_t *config)
{
	struct thaw_unpack unpack = THAW_UNPACK_WHOLE;
	char digest[THAW_DIGEST_TEXT];
	cleanup_close int archive = -1;
	struct thaw_error err = {0};

	int rc = archive_open(service, version->code_sha256, &archive, &err);
	if (rc < 0)
		return thaw_respond_error(rc, &err, NULL);
	struct thaw_http_response *refusal = drive_make(service, &archive, 1, &unpack, digest);
	if (!refusal)
		refusal = replace(&version->code_digest, digest);
	if (!refusal)
		refusal = layers_make(service, account, &unpack, version, config);
	return refusal;
}

int thaw_code_again(struct thaw_service *service, int64_t function_id, int64_t version,
		    struct thaw_error *err)
{
	struct thaw_function_item item = {0};

	int rc = thaw_functions_get_by_id(service->store, function_id, version, &item, err);
	if (rc < 0)
		return rc;
	json_t *config = thaw_json_stored(item.version.config);
	cleanup_free char *code = strdup(item.version.code_digest);
	cleanup_free char *layers = strdup(item.version.layer_digests);
	struct thaw_http_response *refusal =
		thaw_code_make(service, item.function.account, &item.version, config);
	bool same = !refusal && code && layers && strcmp(code, item.version.code_digest) == 0 &&
		    strcmp(layers, item.version.layer_digests) == 0;
	if (!same)
		rc = thaw_error_set(err, EIO,
				    "the code of \"%s\" is gone, and cannot be made again",
				    item.function.name);
	thaw_http_response_free(refusal);
	json_decref(config);
	thaw_function_item_clear(&item);
	return rc;
}
