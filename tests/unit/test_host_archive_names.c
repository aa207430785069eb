/* SPDX-License-Identifier: Apache-2.0 */
/* Names in archives: which are refused, which are made of them. */
#include "tests/unit/host_archive_harness.h"

static void test_names_plain(void **state)
{
	struct place *place = *state;
	char long_name[NAME_MAX + 2];

	assert_int_equal(UNPACK(place, {.name = "./", .mode = FOLDER},
				{.name = "./app.py", TEXT("a")}, {.name = "a//b/./c", TEXT("b")},
				{.name = "..data", TEXT("c")}, {.name = "a b\n", TEXT("d")},
				{.name = "d/", .mode = FOLDER}, {.name = "e", .mode = FOLDER},
				{.name = "d/", .mode = FOLDER}, {.name = "g/", .mode = FILE_644}),
			 0);
	assert_file(place, "app.py", "a", 0644);
	assert_file(place, "a/b/c", "b", 0644);
	assert_file(place, "..data", "c", 0644);
	assert_file(place, "a b\n", "d", 0644);
	assert_folder(place, "d");
	assert_folder(place, "e");
	assert_folder(place, "g");
	place_renew(place);
	memset(long_name, 'n', sizeof(long_name));
	long_name[NAME_MAX + 1] = 0;
	assert_refused(place, UNPACK(place, {.name = long_name}), "too long");
	long_name[NAME_MAX] = 0;
	assert_int_equal(UNPACK(place, {.name = long_name}), 0);
}

static void test_names_refused(void **state)
{
	static const struct {
		const char *name, *why;
	} bad[] = {
		{"/etc/passwd", "absolute path"},
		{"//x", "absolute path"},
		{"../x", "\"..\" in its path"},
		{"a/../../x", "\"..\" in its path"},
		{"a/..", "\"..\" in its path"},
		{"..", "\"..\" in its path"},
		{"a/../", "\"..\" in its path"},
		{".", "has no name"},
		{"a/b\\..\\..\\..\\x", "backslash"},
		{"a/\\x", "backslash"},
		{"a\\..\\..\\x", "\"..\" in its path"},
		{"\\x", "absolute path"},
		{"\xff\xfe", "not UTF-8"},
		{"caf\xe9.py", "has a name that is not UTF-8"},
		{"a\xed\xa0\x80", "not UTF-8"},
		{"\xc0\xaf", "not UTF-8"},
	};
	struct place *place = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_refused(place, UNPACK(place, {.name = bad[i].name, TEXT("x")}), bad[i].why);
		assert_refused(place, UNPACK(place, {.name = bad[i].name, TEXT("t"), .mode = LINK}),
			       bad[i].why);
		if (strcmp(bad[i].name, ".") != 0)
			assert_refused(place, UNPACK(place, {.name = bad[i].name, .mode = FOLDER}),
				       bad[i].why);
	}
	assert_refused(place, UNPACK(place, {.name = "", .no_name = 1, TEXT("x")}), "has no name");
	assert_refused(place, UNPACK(place, {.name = "./x/../y", TEXT("x")}), "\"..\"");
	assert_refused(place, UNPACK(place, {.name = "caf\xe9\x1b.py", TEXT("x")}),
		       "\"caf??.py\" has a name that is not UTF-8");
}

static void test_names_utf8(void **state)
{
	struct place *place = *state;

	assert_int_equal(UNPACK(place, {.name = "\xc3\xa9.py", .flags = ZIP_UTF8, TEXT("a")},
				{.name = "\xe2\x82\xac", TEXT("b")},
				{.name = "\xf0\x9f\x98\x80/x", .flags = ZIP_UTF8, TEXT("c")}),
			 0);
	assert_file(place, "\xc3\xa9.py", "a", 0644);
	assert_file(place, "\xe2\x82\xac", "b", 0644);
	assert_file(place, "\xf0\x9f\x98\x80/x", "c", 0644);
	place_renew(place);
	/* What says that it is UTF-8 is composed (NFC) by the reader, what does not is as it is. */
	assert_int_equal(UNPACK(place, {.name = "e\xcc\x81", .flags = ZIP_UTF8, TEXT("a")},
				{.name = "e\xcc\x81/x", TEXT("b")}),
			 0);
	assert_file(place, "\xc3\xa9", "a", 0644);
	assert_file(place, "e\xcc\x81/x", "b", 0644);
	place_renew(place);
	/* It says that it is and is not: the reader itself finds that. */
	assert_damaged(place, UNPACK(place, {.name = "\xff\xfe", .flags = ZIP_UTF8, TEXT("x")}));
}

/* A 0 byte ends a name, for every check too. */
static void test_names_with_zeros(void **state)
{
	struct place *place = *state;

	assert_int_equal(UNPACK(place, {.name = "app.py\0.txt", .name_size = 11, TEXT("a")}), 0);
	assert_file(place, "app.py", "a", 0644);
	place_renew(place);
	assert_refused(place, UNPACK(place, {.name = "../x\0y", .name_size = 6, TEXT("a")}),
		       "\"..\"");
	assert_refused(place, UNPACK(place, {.name = "\0y", .name_size = 2, TEXT("a")}),
		       "has no name");
}

/* Archivers of Windows: where a name has no slash, backslashes are separators. */
static void test_names_of_dos(void **state)
{
	struct place *place = *state;

	assert_int_equal(UNPACK(place, {.name = "lib\\a.py", .dos = 1, TEXT("a")},
				{.name = "lib\\d\\", .dos = 1}, {.name = "C:\\b", TEXT("b")}),
			 0);
	assert_file(place, "lib/a.py", "a", 0644);
	assert_folder(place, "lib/d");
	assert_file(place, "C:/b", "b", 0644);
	place_renew(place);
	assert_refused(place, UNPACK(place, {.name = "lib\\..\\..\\a", .dos = 1, TEXT("a")}),
		       "\"..\"");
	assert_refused(place, UNPACK(place, {.name = "\\a", .dos = 1, TEXT("a")}), "absolute");
	assert_refused(place, UNPACK(place, {.name = "a/..\\b", .dos = 1, TEXT("a")}), "backslash");
}

static void test_depth(void **state)
{
	struct place *place = *state;
	char path[2 * THAW_CODE_DEPTH_MAX + 8] = "";

	for (int i = 0; i < THAW_CODE_DEPTH_MAX; i++)
		strcat(path, "d/");
	assert_int_equal(UNPACK(place, {.name = path, .mode = FOLDER}), 0);
	strcat(path, "f");
	assert_int_equal(UNPACK(place, {.name = path, TEXT("x")}), 0);
	assert_refused(place, UNPACK(place, {.name = path, .mode = FOLDER}), "nested too deep");
	strcat(path, "/f");
	assert_refused(place, UNPACK(place, {.name = path, TEXT("x")}), "nested too deep");
}

static void test_path_length(void **state)
{
	char raw[THAW_ARCHIVE_PATH_MAX + 3], name[THAW_ARCHIVE_PATH_MAX + 1];
	char shown[THAW_ARCHIVE_SHOWN_MAX];

	(void)state;
	for (size_t i = 0; i < THAW_ARCHIVE_PATH_MAX; i++)
		raw[i] = i % 200 == 199 ? '/' : 'p';
	raw[THAW_ARCHIVE_PATH_MAX] = 0;
	assert_null(thaw_archive_name(raw, name));
	assert_string_equal(raw, name);
	strcat(raw, "/");
	assert_null(thaw_archive_name(raw, name));
	raw[THAW_ARCHIVE_PATH_MAX] = 'p';
	assert_non_null(thaw_archive_name(raw, name));
	raw[THAW_ARCHIVE_PATH_MAX] = 0;
	thaw_archive_name_show(raw, shown);
	assert_int_equal(strlen(shown), THAW_ARCHIVE_SHOWN_MAX - 1);
	assert_non_null(strstr(shown, "p..."));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_names_plain),      T(test_names_refused), T(test_names_utf8),
		T(test_names_with_zeros), T(test_names_of_dos),  T(test_depth),
		T(test_path_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
