/* SPDX-License-Identifier: Apache-2.0 */
/* A function's configuration and its way through a manifest. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "host/function.h"
#include "host/manifest.h"
#include "lib/error.h"

static void test_limits(void **state)
{
	struct thaw_function function;

	(void)state;
	thaw_function_init(&function);
	assert_int_equal(thaw_function_set_memory(&function, 127, NULL), -EINVAL);
	assert_int_equal(thaw_function_set_memory(&function, 128, NULL), 0);
	assert_int_equal(thaw_function_vcpus(&function), 1);
	assert_int_equal(thaw_function_guest_mib(&function), 128 + THAW_GUEST_OVERHEAD_MIB);
	assert_int_equal(thaw_function_set_memory(&function, 1770, NULL), 0);
	assert_int_equal(thaw_function_vcpus(&function), 2);
	assert_int_equal(thaw_function_set_memory(&function, 10240, NULL), 0);
	assert_int_equal(thaw_function_vcpus(&function), 6);
	assert_true(thaw_function_guest_mib(&function) <= THAW_GUEST_MEMORY_MAX_MIB);
	assert_int_equal(thaw_function_set_memory(&function, 10241, NULL), -EINVAL);
	assert_int_equal(thaw_function_set_timeout(&function, 0, NULL), -EINVAL);
	assert_int_equal(thaw_function_set_timeout(&function, 900, NULL), 0);
	assert_int_equal(thaw_function_set_timeout(&function, 901, NULL), -EINVAL);
	assert_int_equal(thaw_function_set_ephemeral(&function, 511, NULL), -EINVAL);
	assert_int_equal(thaw_function_set_ephemeral(&function, 10240, NULL), 0);
	assert_int_equal(thaw_function_set_vcpus(&function, 7, NULL), -EINVAL);
	assert_int_equal(thaw_function_set_vcpus(&function, -1, NULL), -EINVAL);
	assert_int_equal(thaw_function_set_handler(&function, "", NULL), -EINVAL);
	assert_int_equal(thaw_function_set_handler(&function, "a b", NULL), -EINVAL);
	assert_int_equal(thaw_function_set_handler(&function, "app.handler", NULL), 0);
	assert_int_equal(thaw_function_set_runtime(&function, "../x", NULL), -EINVAL);
	assert_int_equal(thaw_function_set_runtime(&function, "python3.11", NULL), 0);
	thaw_function_clear(&function);
}

static void test_names(void **state)
{
	static const char *const bad[] = {"", ".", "..", "a/b", "/a", "a b", "a.b", "\xc3\xa9"};
	char name[66];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(thaw_name_valid(bad[i]));
	memset(name, 'a', 65);
	name[65] = 0;
	assert_false(thaw_name_valid(name));
	name[64] = 0;
	assert_true(thaw_name_valid(name));
	assert_true(thaw_name_valid("A-z_09"));
}

static void test_identity(void **state)
{
	struct thaw_function function;
	char arn[THAW_FUNCTION_ARN_MAX], region[THAW_REGION_MAX + 2];

	(void)state;
	thaw_function_init(&function);
	thaw_function_arn(&function, arn);
	assert_string_equal(arn, "arn:aws:lambda:us-east-1:000000000000:function:function");
	assert_string_equal(function.version, "$LATEST");
	assert_int_equal(thaw_function_set_version(&function, "", NULL), -EINVAL);
	assert_int_equal(thaw_function_set_version(&function, "0", NULL), -EINVAL);
	assert_int_equal(thaw_function_set_version(&function, "01", NULL), -EINVAL);
	assert_int_equal(thaw_function_set_version(&function, "latest", NULL), -EINVAL);
	assert_int_equal(thaw_function_set_version(&function, "12345678901234567890", NULL),
			 -EINVAL);
	assert_int_equal(thaw_function_set_version(&function, "1234567890123456789", NULL), 0);
	assert_int_equal(thaw_function_set_version(&function, "$LATEST", NULL), 0);
	assert_int_equal(thaw_function_set_owner(&function, "12345678901", "eu-west-1", NULL),
			 -EINVAL);
	assert_int_equal(thaw_function_set_owner(&function, "1234567890123", "eu-west-1", NULL),
			 -EINVAL);
	assert_int_equal(thaw_function_set_owner(&function, "12345678901x", "eu-west-1", NULL),
			 -EINVAL);
	assert_int_equal(thaw_function_set_owner(&function, "123456789012", "", NULL), -EINVAL);
	assert_int_equal(thaw_function_set_owner(&function, "123456789012", "eu:west", NULL),
			 -EINVAL);
	memset(region, 'r', sizeof(region));
	region[THAW_REGION_MAX + 1] = 0;
	assert_int_equal(thaw_function_set_owner(&function, "123456789012", region, NULL), -EINVAL);
	region[THAW_REGION_MAX] = 0;
	assert_int_equal(thaw_function_set_owner(&function, "123456789012", region, NULL), 0);
	/* The longest of all has room. */
	memset(function.name, 'n', THAW_FUNCTION_NAME_MAX);
	thaw_function_arn(&function, arn);
	assert_int_equal(strlen(arn), strlen("arn:aws:lambda:::function:") + THAW_REGION_MAX +
					      THAW_ACCOUNT_LENGTH + THAW_FUNCTION_NAME_MAX);
	thaw_function_clear(&function);
}

static void test_environment(void **state)
{
	struct thaw_function function;
	char big[4200];

	(void)state;
	thaw_function_init(&function);
	assert_int_equal(thaw_function_set_variable(&function, "A", "x", NULL), -EINVAL);
	assert_int_equal(thaw_function_set_variable(&function, "1A", "x", NULL), -EINVAL);
	assert_int_equal(thaw_function_set_variable(&function, "A-B", "x", NULL), -EINVAL);
	assert_int_equal(thaw_function_set_variable(&function, "_HANDLER", "x", NULL), -EINVAL);
	assert_int_equal(thaw_function_set_variable(&function, "AWS_REGION", "x", NULL), -EINVAL);
	assert_int_equal(thaw_function_set_variable(&function, "STAGE", "x", NULL), 0);
	assert_int_equal(thaw_function_set_variable(&function, "STAGE", "y", NULL), 0);
	assert_int_equal(function.variable_count, 1);
	assert_string_equal(function.variables[0].value, "y");
	/* {"STAGE":"y","BB":"..."}: 12 and 9 bytes around the value */
	memset(big, 'x', sizeof(big));
	big[4096 - 12 - 10] = 0;
	assert_int_equal(thaw_function_set_variable(&function, "BB", big, NULL), 0);
	big[4096 - 12 - 10] = 'x';
	big[4096 - 12 - 10 + 20] = 0;
	assert_int_equal(thaw_function_set_variable(&function, "BB", big, NULL), -EINVAL);
	thaw_function_clear(&function);
}

static void manifest_make(struct thaw_manifest *manifest)
{
	thaw_manifest_init(manifest);
	strcpy(manifest->name, "web");
	strcpy(manifest->created, "2026-01-01T00:00:00Z");
	strcpy(manifest->thaw, "0.1.0");
	manifest->cpu_template = 2;
	manifest->software_kvm = true;
	manifest->network = true;
	memset(manifest->code_digest, 'a', 64);
	memset(manifest->code_drive_digest, 'd', 64);
	memset(manifest->layers_digest, 'f', 64);
	memset(manifest->layers_drive_digest, '0', 64);
	memset(manifest->tmp_drive_digest, 'e', 64);
	memset(manifest->root_digest, 'b', 64);
	memset(manifest->kernel_digest, 'c', 64);
	memset(manifest->initramfs_digest, '1', 64);
	manifest->state_size = 1;
	manifest->pages = 49152;
	thaw_phases_add(&manifest->phases, "boot", 123);
	assert_int_equal(thaw_function_set_version(&manifest->function, "7", NULL), 0);
	assert_int_equal(
		thaw_function_set_owner(&manifest->function, "123456789012", "eu-west-1", NULL), 0);
	assert_int_equal(thaw_function_set_runtime(&manifest->function, "python3.11", NULL), 0);
	assert_int_equal(thaw_function_set_handler(&manifest->function, "app.handler", NULL), 0);
	assert_int_equal(thaw_function_set_variable(&manifest->function, "STAGE", "\"t\"", NULL),
			 0);
}

static void test_manifest_round_trip(void **state)
{
	struct thaw_manifest made, read;

	(void)state;
	manifest_make(&made);
	char *text = thaw_manifest_format(&made);
	assert_non_null(text);
	assert_int_equal(thaw_manifest_parse(text, strlen(text), &read, NULL), 0);
	assert_string_equal(read.name, "web");
	assert_true(read.network);
	assert_string_equal(read.function.version, "7");
	assert_string_equal(read.function.account, "123456789012");
	assert_string_equal(read.function.region, "eu-west-1");
	assert_string_equal(read.function.handler, "app.handler");
	assert_string_equal(read.function.variables[0].value, "\"t\"");
	assert_int_equal(read.pages, 49152);
	assert_int_equal(thaw_phases_get(&read.phases, "boot"), 123);
	free(text);
	thaw_manifest_clear(&made);
	thaw_manifest_clear(&read);
}

/* A manifest with these layers, written and read: the result of reading. */
static int manifest_with_layers(const char *digest, const char *drive, struct thaw_manifest *read,
				struct thaw_error *err)
{
	struct thaw_manifest made;

	manifest_make(&made);
	strcpy(made.layers_digest, digest);
	strcpy(made.layers_drive_digest, drive);
	char *text = thaw_manifest_format(&made);
	assert_non_null(text);
	int rc = thaw_manifest_parse(text, strlen(text), read, err);
	free(text);
	thaw_manifest_clear(&made);
	return rc;
}

/* Layers have both digests or none: a checksum that is right does not make others good. */
static void test_manifest_layers(void **state)
{
	char a[THAW_DIGEST_TEXT] = "", b[THAW_DIGEST_TEXT] = "";
	struct thaw_error err = {0};
	struct thaw_manifest read;

	(void)state;
	memset(a, 'a', 64);
	memset(b, 'b', 64);
	assert_int_equal(manifest_with_layers("", "", &read, NULL), 0);
	assert_string_equal(read.layers_digest, "");
	assert_string_equal(read.layers_drive_digest, "");
	thaw_manifest_clear(&read);
	assert_int_equal(manifest_with_layers(a, b, &read, NULL), 0);
	assert_string_equal(read.layers_digest, a);
	assert_string_equal(read.layers_drive_digest, b);
	thaw_manifest_clear(&read);
	assert_int_equal(manifest_with_layers(a, "", &read, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "out of its range"));
	assert_int_equal(manifest_with_layers("", b, &read, NULL), -EBADMSG);
	a[3] = '/';
	assert_int_equal(manifest_with_layers(a, b, &read, NULL), -EBADMSG);
	assert_int_equal(manifest_with_layers(b, a, &read, NULL), -EBADMSG);
	b[63] = 0;
	assert_int_equal(manifest_with_layers(b, b, &read, NULL), -EBADMSG);
}

/* One of before there were network devices does not speak of them. */
static void test_manifest_without_network(void **state)
{
	struct thaw_manifest made, read;
	char checksum[THAW_DIGEST_TEXT];

	(void)state;
	manifest_make(&made);
	char *text = thaw_manifest_format(&made);
	json_t *root = json_loads(text, 0, NULL);
	assert_int_equal(json_object_del(root, "network"), 0);
	assert_int_equal(json_object_del(root, "sha256"), 0);
	char *dump = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
	struct thaw_digest *digest = thaw_digest_new();
	thaw_digest_add(digest, dump, strlen(dump));
	thaw_digest_finish(digest, checksum);
	json_object_set_new(root, "sha256", json_string(checksum));
	free(dump);
	dump = json_dumps(root, 0);
	assert_int_equal(thaw_manifest_parse(dump, strlen(dump), &read, NULL), 0);
	assert_false(read.network);
	thaw_manifest_clear(&read);
	thaw_manifest_clear(&made);
	json_decref(root);
	free(dump);
	free(text);
}

/* Whatever bit of it is flipped, it is refused, or it is the same manifest (in a space). */
static void test_manifest_bit_flips(void **state)
{
	struct thaw_manifest made, read;
	size_t taken = 0;

	(void)state;
	manifest_make(&made);
	char *text = thaw_manifest_format(&made);
	size_t size = strlen(text);
	for (size_t bit = 0; bit < size * 8; bit++) {
		text[bit / 8] ^= (char)(1 << bit % 8);
		if (thaw_manifest_parse(text, size, &read, NULL) == 0) {
			char *again = thaw_manifest_format(&read);
			text[bit / 8] ^= (char)(1 << bit % 8);
			assert_string_equal(again, text);
			text[bit / 8] ^= (char)(1 << bit % 8);
			free(again);
			thaw_manifest_clear(&read);
			taken++;
		}
		text[bit / 8] ^= (char)(1 << bit % 8);
	}
	assert_true(taken < size);
	free(text);
	thaw_manifest_clear(&made);
}

static void test_manifest_other_format(void **state)
{
	/* 2: before layers. */
	static const char text[] = "{\"format\": 2}";
	struct thaw_manifest read;
	struct thaw_error err = {0};

	(void)state;
	assert_int_equal(thaw_manifest_parse(text, strlen(text), &read, &err), -ENOTSUP);
	assert_non_null(strstr(err.message, "format 2; this version of Thaw reads format 3"));
	assert_int_equal(thaw_manifest_parse("", 0, &read, NULL), -EBADMSG);
	assert_int_equal(thaw_manifest_parse("[]", 2, &read, NULL), -EBADMSG);
	assert_int_equal(thaw_manifest_parse("{\"format\": 3}", 13, &read, NULL), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_manifest_round_trip),
		cmocka_unit_test(test_manifest_layers),
		cmocka_unit_test(test_manifest_without_network),
		cmocka_unit_test(test_manifest_bit_flips),
		cmocka_unit_test(test_manifest_other_format),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
