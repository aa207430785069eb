/* SPDX-License-Identifier: Apache-2.0 */
/* Layers through the API, their archives, and the locations they are downloaded from. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "service_operations_harness.h"
#include "host/keyring.h"
#include "host/daemon/archives.h"
#include "host/operations/common.h"
#include "host/operations/download.h"
#include "host/store/layers.h"
#include "lib/fd.h"

#define LAYERS  "/2018-10-31/layers"
#define LIBS    LAYERS "/libs/versions"
#define ARN     "arn:aws:lambda:us-east-1:" ACCOUNT ":layer:libs"
#define INVALID "InvalidParameterValueException"

/* An archive of one small file, and the empty one. */
#define ZIP_ONE                                                                                    \
	"UEsDBBQAAAAAAAAAIQBT/FFnAgAAAAIAAAABAAAAYTEKUEsBAhQDFAAAAAAAAAAhAFP8UWcCAAAAAgAAAAEAAAAA" \
	"AAAAAAAAAKSBAAAAAGFQSwUGAAAAAAEAAQAvAAAAIQAAAAAA"
#define ZIP_EMPTY "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="

#define CONTENT(zip) "{\"Content\":{\"ZipFile\":\"" zip "\"}"

static void publish(struct operations_fixture *f, const char *layer, const char *more)
{
	char target[256], body[2048];

	snprintf(target, sizeof(target), LAYERS "/%s/versions", layer);
	snprintf(body, sizeof(body), CONTENT(ZIP_ONE) "%s}", more);
	assert_answer(f, 201, "POST", target, body);
}

static size_t count_files(struct operations_fixture *f, const char *folder)
{
	char command[512];
	size_t count = 0;

	snprintf(command, sizeof(command), "ls -A '%s/%s' | grep -vc '^\\.lock$'",
		 store_path(f->files, "state"), folder);
	FILE *out = popen(command, "r");
	assert_int_equal(fscanf(out, "%zu", &count), 1);
	pclose(out);
	return count;
}

static void test_publish(void **state)
{
	struct operations_fixture *f = *state;

	publish(f, "libs",
		",\"Description\":\"d\",\"LicenseInfo\":\"MIT\",\"CompatibleRuntimes\":"
		"[\"python3.12\"],\"CompatibleArchitectures\":[\"x86_64\"]");
	assert_string_equal(said("LayerArn"), ARN);
	assert_string_equal(said("LayerVersionArn"), ARN ":1");
	assert_int_equal(said_number("Version"), 1);
	assert_string_equal(said("Description"), "d");
	assert_string_equal(said("LicenseInfo"), "MIT");
	assert_string_equal(said("CompatibleRuntimes.0"), "python3.12");
	assert_string_equal(said("CompatibleArchitectures.0"), "x86_64");
	assert_int_equal(said_number("Content.CodeSize"), 102);
	assert_int_equal(strlen(said("Content.CodeSha256")), 44);
	assert_int_equal(strlen(said("CreatedDate")), strlen("2026-01-31T12:00:00.000+0000"));
	assert_int_equal(count_files(f, "archives"), 1);
	assert_int_equal(count_files(f, "code"), 1);
	/* The same again is another version of one archive. */
	publish(f, "libs", "");
	assert_string_equal(said("LayerVersionArn"), ARN ":2");
	assert_string_equal(said("Description"), "");
	assert_null(said_json("LicenseInfo"));
	assert_null(said_json("CompatibleRuntimes"));
	assert_int_equal(count_files(f, "archives"), 1);
	assert_int_equal(count_files(f, "tmp"), 0);

	assert_answer(f, 200, "GET", LIBS "/1", NULL);
	assert_string_equal(said("Description"), "d");
	assert_string_equal(said("LayerArn"), ARN);
	assert_answer(f, 200, "GET", LAYERS "?find=LayerVersion&Arn=" ARN ":2", NULL);
	assert_int_equal(said_number("Version"), 2);
	assert_answer(f, 200, "GET",
		      LAYERS "/arn%3Aaws%3Alambda%3Aus-east-1%3A" ACCOUNT
			     "%3Alayer%3Alibs/versions/2",
		      NULL);
	assert_error(f, "ResourceNotFoundException", "The resource you requested does not exist.",
		     "GET", LIBS "/3", NULL);
	assert_error(f, INVALID, "less than 1", "GET", LIBS "/0", NULL);
	assert_error(f, "SerializationException", "Long", "GET", LIBS "/x", NULL);
	assert_error(f, "ValidationException", "Value null at 'arn'", "GET",
		     LAYERS "?find=LayerVersion", NULL);
	assert_error(f, "ValidationException", "'arn'", "GET", LAYERS "?find=LayerVersion&Arn=" ARN,
		     NULL);

	/* Another account's is not there. */
	ask_as(f, OTHER);
	assert_answer(f, 404, "GET", LIBS "/1", NULL);
	assert_answer(f, 404, "GET", LAYERS "?find=LayerVersion&Arn=" ARN ":1", NULL);
	assert_answer(f, 404, "POST",
		      LAYERS "/arn%3Aaws%3Alambda%3Aus-east-1%3A" ACCOUNT
			     "%3Alayer%3Alibs/versions",
		      CONTENT(ZIP_ONE) "}");
	ask_as(f, ACCOUNT);
	assert_answer(f, 204, "DELETE", LIBS "/1", NULL);
	assert_answer(f, 204, "DELETE", LIBS "/1", NULL);
	assert_answer(f, 404, "GET", LIBS "/1", NULL);
	publish(f, "libs", "");
	assert_int_equal(said_number("Version"), 3);
}

static void test_refused(void **state)
{
	struct operations_fixture *f = *state;
	char body[4096], text[600];

	assert_error(f, "ValidationException", "Value null at 'content'", "POST", LIBS, "{}");
	assert_error(f, INVALID, "Uploaded file must be a non-empty zip", "POST", LIBS,
		     "{\"Content\":{}}");
	assert_error(f, INVALID, "Uploaded file must be a non-empty zip", "POST", LIBS,
		     CONTENT(ZIP_EMPTY) "}");
	assert_error(f, INVALID, "Could not unzip uploaded file.", "POST", LIBS,
		     CONTENT("bm8gemlw") "}");
	assert_error(f, INVALID, "not supported by this host", "POST", LIBS,
		     "{\"Content\":{\"S3Bucket\":\"b\",\"S3Key\":\"k\"}}");
	assert_error(f, "SerializationException", "base64", "POST", LIBS, CONTENT("!") "}");
	memset(text, 'x', sizeof(text));
	snprintf(body, sizeof(body), ",\"LicenseInfo\":\"%.512s\",\"Description\":\"%.256s\"", text,
		 text);
	publish(f, "libs", body);
	snprintf(body, sizeof(body), CONTENT(ZIP_ONE) ",\"LicenseInfo\":\"%.513s\"}", text);
	assert_error(f, "ValidationException", "'licenseInfo'", "POST", LIBS, body);
	snprintf(body, sizeof(body), CONTENT(ZIP_ONE) ",\"Description\":\"%.257s\"}", text);
	assert_error(f, "ValidationException", "'description'", "POST", LIBS, body);
	assert_error(f, "ValidationException", "'compatibleRuntimes'", "POST", LIBS,
		     CONTENT(ZIP_ONE) ",\"CompatibleRuntimes\":[\"cobol\"]}");
	assert_error(
		f, "ValidationException", "less than or equal to 2", "POST", LIBS,
		CONTENT(ZIP_ONE) ",\"CompatibleArchitectures\":[\"arm64\",\"arm64\",\"arm64\"]}");
	strcpy(body, "\"nodejs\"");
	for (int i = 1; i < 15; i++)
		strcat(body, ",\"nodejs\"");
	snprintf(text, sizeof(text), ",\"CompatibleRuntimes\":[%s]", body);
	publish(f, "libs", text);
	snprintf(body + 2048, sizeof(body) - 2048,
		 CONTENT(ZIP_ONE) ",\"CompatibleRuntimes\":[%.300s,\"nodejs\"]}", body);
	assert_error(f, "ValidationException", "less than or equal to 15", "POST", LIBS,
		     body + 2048);
	/* What was refused left nothing. */
	assert_int_equal(count_files(f, "archives"), 1);
	assert_int_equal(count_files(f, "tmp"), 0);
}

/* As much as an account may have, and one byte more. */
static void test_storage(void **state)
{
	struct operations_fixture *f = *state;
	int64_t number;
	struct thaw_layer_version layer = {
		.account = (char *)ACCOUNT,
		.name = (char *)"huge",
		.description = (char *)"",
		.license = (char *)"",
		.runtimes = (char *)"[]",
		.architectures = (char *)"[]",
		.code_digest = (char *)"d",
		.code_sha256 = (char *)"s",
		.code_size = THAW_ACCOUNT_CODE_BYTES - 2 * 102 + 1,
	};

	assert_ok(thaw_layers_publish(f->service.store, &layer, &number, ERR));
	publish(f, "libs", "");
	assert_error(f, "CodeStorageExceededException", "Code storage limit exceeded.", "POST",
		     LIBS, CONTENT(ZIP_ONE) "}");
	assert_ok(thaw_layers_delete(f->service.store, ACCOUNT, "huge", number, ERR));
	layer.code_size--;
	assert_ok(thaw_layers_publish(f->service.store, &layer, &number, ERR));
	publish(f, "libs", "");
}

static void test_list(void **state)
{
	struct operations_fixture *f = *state;
	char target[256];

	publish(f, "a", ",\"CompatibleRuntimes\":[\"nodejs22.x\"]");
	publish(f, "a", "");
	publish(f, "a", "");
	publish(f, "b", ",\"CompatibleArchitectures\":[\"arm64\"]");
	publish(f, "c", ",\"CompatibleRuntimes\":[\"nodejs22.x\",\"python3.12\"]");
	assert_answer(f, 200, "GET", LAYERS "?MaxItems=2", NULL);
	assert_int_equal(said_count("Layers"), 2);
	assert_string_equal(said("Layers.0.LayerName"), "a");
	assert_int_equal(said_number("Layers.0.LatestMatchingVersion.Version"), 3);
	assert_null(said_json("Layers.0.LatestMatchingVersion.Content"));
	snprintf(target, sizeof(target), LAYERS "?Marker=%s", said("NextMarker"));
	assert_answer(f, 200, "GET", target, NULL);
	assert_int_equal(said_count("Layers"), 1);
	assert_string_equal(said("Layers.0.LayerArn"),
			    "arn:aws:lambda:us-east-1:" ACCOUNT ":layer:c");
	assert_null(said_json("NextMarker"));
	assert_answer(f, 200, "GET", LAYERS "?CompatibleRuntime=nodejs22.x", NULL);
	assert_int_equal(said_count("Layers"), 2);
	assert_int_equal(said_number("Layers.0.LatestMatchingVersion.Version"), 1);
	assert_answer(f, 200, "GET", LAYERS "?CompatibleArchitecture=arm64", NULL);
	assert_int_equal(said_count("Layers"), 1);
	assert_error(f, "ValidationException", "'compatibleRuntime'", "GET",
		     LAYERS "?CompatibleRuntime=cobol", NULL);

	assert_answer(f, 200, "GET", LAYERS "/a/versions?MaxItems=1", NULL);
	assert_int_equal(said_number("LayerVersions.0.Version"), 3);
	snprintf(target, sizeof(target), LAYERS "/a/versions?Marker=%s", said("NextMarker"));
	assert_answer(f, 200, "GET", target, NULL);
	assert_int_equal(said_count("LayerVersions"), 2);
	assert_int_equal(said_number("LayerVersions.1.Version"), 1);
	assert_null(said_json("NextMarker"));
	assert_error(f, INVALID, "Invalid marker", "GET", LAYERS "/a/versions?Marker=YWFh", NULL);
	assert_answer(f, 200, "GET", LAYERS "/none/versions", NULL);
	assert_int_equal(said_count("LayerVersions"), 0);
	ask_as(f, OTHER);
	assert_answer(f, 200, "GET", LAYERS, NULL);
	assert_int_equal(said_count("Layers"), 0);
}

/* Where the last answer's archive lies, without the host. */
static char *location(void)
{
	static const char base[] = "http://thaw.example:9000";

	assert_int_equal(strncmp(said("Content.Location"), base, sizeof(base) - 1), 0);
	return strdup(said("Content.Location") + sizeof(base) - 1);
}

/* One character of the URL, `back` from its end, is another one. */
static void spoil(char *url, size_t back)
{
	char *c = url + strlen(url) - back;

	*c = *c == '0' ? '1' : '0';
}

static void test_download(void **state)
{
	struct operations_fixture *f = *state;
	char digest[THAW_DIGEST_TEXT], sha256[THAW_DIGEST_BASE64];

	publish(f, "libs", "");
	assert_ok(thaw_archives_digest(said("Content.CodeSha256"), digest));
	assert_ok(thaw_archives_sha256(digest, sha256));
	assert_string_equal(said("Content.CodeSha256"), sha256);
	cleanup_free char *url = location();
	/* The permission is the location: whose call it is does not matter. */
	ask_as(f, OTHER);
	assert_answer(f, 200, "GET", url, NULL);
	assert_error(f, "AccessDeniedException", "not complete", "GET", "/archives/x", NULL);
	/* The signature, the time, the archive. */
	size_t backs[] = {1, 64, 66 + strlen("&signature"), strlen(url) - strlen("/archives/")};
	for (size_t i = 0; i < sizeof(backs) / sizeof(backs[0]); i++) {
		spoil(url, backs[i]);
		assert_error(f, "AccessDeniedException", "does not match", "GET", url, NULL);
		free(url);
		ask_as(f, ACCOUNT);
		assert_answer(f, 200, "GET", LIBS "/1", NULL);
		url = location();
	}
	/* Right, but there is nothing any more. */
	assert_ok(thaw_archives_remove(&f->service, digest, INT64_MAX, ERR));
	assert_answer(f, 404, "GET", url, NULL);
	assert_answer(f, 200, "GET", LIBS "/1", NULL);
	free(url);
	url = location();
	long expires = atol(strstr(url, "expires=") + 8);
	assert_true(expires > time(NULL) + 500 && expires <= time(NULL) + 600);
}

/* Signed as the host does it, for a time of ours. */
static void signed_url(struct operations_fixture *f, const char *digest, int64_t expires, char *url,
		       size_t size)
{
	uint8_t mac[THAW_MAC_SIZE];
	char text[160];

	snprintf(text, sizeof(text), "%s\n%lld", digest, (long long)expires);
	assert_ok(thaw_keyring_mac(f->service.keyring, "archive location 1", text, strlen(text),
				   mac, ERR));
	snprintf(url, size, "/archives/%s?expires=%lld&signature=", digest, (long long)expires);
	for (size_t i = 0; i < sizeof(mac); i++)
		sprintf(url + strlen(url), "%02x", mac[i]);
}

static void test_expired(void **state)
{
	struct operations_fixture *f = *state;
	char digest[THAW_DIGEST_TEXT], url[512];

	assert_ok(thaw_archives_keep(&f->service, "hello", 5, digest, ERR));
	signed_url(f, digest, time(NULL) + 60, url, sizeof(url));
	assert_answer(f, 200, "GET", url, NULL);
	signed_url(f, digest, time(NULL) - 1, url, sizeof(url));
	assert_error(f, "AccessDeniedException", "has expired", "GET", url, NULL);
	/* What is no digest is none, signed or not. */
	signed_url(f, "..%2Fhost.key", time(NULL) + 60, url, sizeof(url));
	assert_error(f, "AccessDeniedException", "not complete", "GET", url, NULL);
}

static int found_one(void *opaque, const char *digest, uint64_t size, int64_t kept_ms)
{
	(void)kept_ms;
	assert_int_equal(size, 5);
	strcpy(opaque, digest);
	return 7;
}

static void test_archives(void **state)
{
	struct operations_fixture *f = *state;
	struct thaw_service *s = &f->service;
	char digest[THAW_DIGEST_TEXT], again[THAW_DIGEST_TEXT], found[THAW_DIGEST_TEXT] = "";
	char path[600], text[8] = "";
	struct stat st;
	int fd;

	assert_int_equal(thaw_archives_each(s, found_one, found, ERR), 0);
	assert_ok(thaw_archives_keep(s, "hello", 5, digest, ERR));
	assert_string_equal(digest,
			    "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
	snprintf(path, sizeof(path), "%s/archives/%s.zip", store_path(f->files, "state"), digest);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_ok(thaw_archives_open(s, digest, &fd, ERR));
	assert_int_equal(read(fd, text, sizeof(text)), 5);
	assert_string_equal(text, "hello");
	close(fd);
	assert_int_equal(thaw_archives_each(s, found_one, found, ERR), 7);
	assert_string_equal(found, digest);

	/* Found again, its time is now: who looked before leaves it. */
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
	assert_int_equal(thaw_archives_remove(s, digest, 1000 * 1000, ERR), -EBUSY);
	assert_ok(thaw_archives_keep(s, "hello", 5, again, ERR));
	assert_string_equal(digest, again);
	assert_int_equal(thaw_archives_remove(s, digest, 2000 * 1000, ERR), -EBUSY);
	/* One that was cut (by what, nobody knows) is written again. */
	assert_int_equal(truncate(path, 3), 0);
	assert_ok(thaw_archives_keep(s, "hello", 5, again, ERR));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 5);
	assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
	assert_ok(thaw_archives_remove(s, digest, 1000 * 1000 + 1, ERR));
	assert_int_equal(thaw_archives_remove(s, digest, INT64_MAX, ERR), -ENOENT);
	assert_int_equal(thaw_archives_open(s, digest, &fd, ERR), -ENOENT);
	assert_int_equal(thaw_archives_open(s, "../host.key", &fd, ERR), -EINVAL);
	assert_int_equal(thaw_archives_remove(s, "", INT64_MAX, ERR), -EINVAL);
	assert_int_equal(thaw_archives_digest("aGVsbG8=", digest), -EINVAL);
	assert_int_equal(thaw_archives_digest("not base64", digest), -EINVAL);
	assert_int_equal(count_files(f, "tmp"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, operations_setup, operations_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_publish),  TEST(test_refused), TEST(test_storage),  TEST(test_list),
		TEST(test_download), TEST(test_expired), TEST(test_archives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
