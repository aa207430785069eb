/* SPDX-License-Identifier: Apache-2.0 */
/* Archives, good ones and hostile ones, and the drives made of them. */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/archive.h"
#include "host/archive_name.h"
#include "host/code.h"
#include "host/state.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "tests/unit/host_zip.h"

#define FILE_644 0100644
#define FILE_755 0100755
#define FOLDER   0040755
#define LINK     0120777

/* A folder to unpack into, between things that must not change. */
struct place {
	char root[64];
	int root_fd;
	int dir;
	struct thaw_unpack unpack;
	struct thaw_error err;
};

static void place_renew(struct place *place)
{
	if (place->dir >= 0) {
		close(place->dir);
		assert_int_equal(thaw_remove_tree(place->root_fd, "in"), 0);
	}
	assert_int_equal(mkdirat(place->root_fd, "in", 0755), 0);
	place->dir = openat(place->root_fd, "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(place->dir >= 0);
	place->unpack = (struct thaw_unpack)THAW_UNPACK_WHOLE;
	place->unpack.fault = (enum thaw_archive_fault)99;
	memset(&place->err, 0, sizeof(place->err));
}

static int setup(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	strcpy(place->root, "/tmp/thaw-test-archive-XXXXXX");
	assert_non_null(mkdtemp(place->root));
	place->root_fd = open(place->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	place->dir = -1;
	place_renew(place);
	*state = place;
	return 0;
}

static unsigned int count_names(int dir)
{
	unsigned int count = 0;
	DIR *stream = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	assert_non_null(stream);
	for (struct dirent *entry; (entry = readdir(stream));)
		count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(stream);
	return count;
}

static int teardown(void **state)
{
	struct place *place = *state;

	/* Whatever came, it stayed in the folder it was meant for. */
	assert_int_equal(count_names(place->root_fd), 1);
	close(place->dir);
	close(place->root_fd);
	assert_int_equal(thaw_remove_tree(AT_FDCWD, place->root), 0);
	free(place);
	return 0;
}

static int unpack_bytes(struct place *place, const void *data, size_t size)
{
	/* Of the size it has, so that the sanitizers see a read behind it. */
	cleanup_free uint8_t *copy = malloc(size ? size : 1);
	struct thaw_archive archive = {.data = copy, .size = size, .fd = -1};

	memcpy(copy, data, size);
	return thaw_archive_unpack(&archive, place->dir, &place->unpack, &place->err);
}

static int unpack_zip(struct place *place, struct zip *zip)
{
	zip_end(zip);
	int rc = unpack_bytes(place, zip->data, zip->size);
	zip_free(zip);
	return rc;
}

/* An archive of a few entries, as they are. */
static int unpack_entries(struct place *place, const struct zip_entry *entries, size_t count)
{
	struct zip zip = {0};

	for (size_t i = 0; i < count; i++)
		zip_add(&zip, &entries[i]);
	return unpack_zip(place, &zip);
}

#define UNPACK(place, ...)                                                                         \
	unpack_entries(place, (const struct zip_entry[]){__VA_ARGS__},                             \
		       sizeof((const struct zip_entry[]){__VA_ARGS__}) / sizeof(struct zip_entry))
#define TEXT(text) .data = (text), .size = sizeof(text) - 1

static void assert_refused(struct place *place, int rc, const char *text)
{
	assert_int_equal(rc, -EINVAL);
	assert_int_equal(place->unpack.fault, THAW_ARCHIVE_REFUSED);
	assert_string_equal(thaw_archive_fault_text(place->unpack.fault),
			    "Could not unzip uploaded file. Please check your file, then try to "
			    "upload again.");
	if (!strstr(place->err.message, text))
		fail_msg("\"%s\" does not say \"%s\"", place->err.message, text);
	place_renew(place);
}

static void assert_damaged(struct place *place, int rc)
{
	assert_int_equal(rc, -EINVAL);
	assert_int_equal(place->unpack.fault, THAW_ARCHIVE_DAMAGED);
	assert_true(*place->err.message);
	place_renew(place);
}

static void assert_file(struct place *place, const char *name, const char *text, mode_t mode)
{
	cleanup_close int fd = openat(place->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char read_text[256];
	struct stat st;

	assert_true(fd >= 0);
	ssize_t n = read(fd, read_text, sizeof(read_text) - 1);
	assert_true(n >= 0);
	read_text[n] = 0;
	assert_string_equal(read_text, text);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | mode);
	assert_int_equal(st.st_nlink, 1);
}

static void assert_folder(struct place *place, const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(place->dir, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0755);
}

static void assert_link(struct place *place, const char *name, const char *target)
{
	char text[PATH_MAX];

	ssize_t n = readlinkat(place->dir, name, text, sizeof(text) - 1);
	assert_true(n >= 0);
	text[n] = 0;
	assert_string_equal(text, target);
}

static bool exists(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* --- made by somebody else's writer --- */

struct written {
	uint8_t data[1 << 20];
	size_t size;
	struct archive *writer;
};

static struct written *written_new(void)
{
	struct written *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->writer = archive_write_new();
	assert_int_equal(archive_write_set_format_zip(w->writer), ARCHIVE_OK);
	assert_int_equal(archive_write_set_bytes_per_block(w->writer, 0), ARCHIVE_OK);
	return w;
}

static void written_open(struct written *w)
{
	assert_int_equal(archive_write_open_memory(w->writer, w->data, sizeof(w->data), &w->size),
			 ARCHIVE_OK);
}

static void written_header(struct written *w, const char *name, mode_t mode, int64_t size,
			   const char *target)
{
	struct archive_entry *entry = archive_entry_new();

	archive_entry_set_pathname(entry, name);
	archive_entry_set_mode(entry, mode);
	if (size >= 0)
		archive_entry_set_size(entry, size);
	if (target)
		archive_entry_set_symlink(entry, target);
	assert_int_equal(archive_write_header(w->writer, entry), ARCHIVE_OK);
	archive_entry_free(entry);
}

static void written_file(struct written *w, const char *name, mode_t mode, const char *text)
{
	written_header(w, name, mode, (int64_t)strlen(text), NULL);
	assert_int_equal(archive_write_data(w->writer, text, strlen(text)), strlen(text));
}

static void written_end(struct written *w)
{
	assert_int_equal(archive_write_close(w->writer), ARCHIVE_OK);
	archive_write_free(w->writer);
}

/* A folder of zeros, `size` of them in one file, deflated. */
static struct written *written_zeros(uint64_t size)
{
	static const uint8_t zeros[1 << 20];
	struct written *w = written_new();

	written_open(w);
	written_header(w, "zeros", FILE_644, (int64_t)size, NULL);
	for (uint64_t done = 0; done < size;) {
		size_t part = size - done < sizeof(zeros) ? (size_t)(size - done) : sizeof(zeros);
		assert_int_equal(archive_write_data(w->writer, zeros, part), part);
		done += part;
	}
	written_end(w);
	return w;
}

static void write_package(struct written *w)
{
	written_open(w);
	written_header(w, "lib/", FOLDER, -1, NULL);
	written_file(w, "lib/util.py", FILE_644, "x = 1\n");
	written_file(w, "app.py", 0100600, "import lib.util\n");
	written_file(w, "bootstrap", 0104711, "#!/bin/sh\n");
	written_file(w, "deep/er/still/f", FILE_644, "");
	written_header(w, "lib/current", LINK, -1, "../deep/er");
	written_end(w);
}

static void assert_package(struct place *place)
{
	assert_folder(place, "lib");
	assert_file(place, "lib/util.py", "x = 1\n", 0644);
	assert_file(place, "app.py", "import lib.util\n", 0644);
	assert_file(place, "bootstrap", "#!/bin/sh\n", 0755);
	assert_folder(place, "deep/er/still");
	assert_file(place, "deep/er/still/f", "", 0644);
	assert_link(place, "lib/current", "../deep/er");
	/* 6 entries of the archive, 3 folders implied; 6 + 16 + 10 bytes, 10 of the link */
	assert_int_equal(place->unpack.entries, THAW_CODE_ENTRIES_MAX - 9);
	assert_int_equal(place->unpack.bytes, THAW_CODE_SIZE_MAX - 42);
}

static void test_package(void **state)
{
	static const char *const options[] = {"zip:compression=deflate", "zip:compression=store",
					      "zip:zip64"};
	struct place *place = *state;

	mode_t before = umask(0077);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		struct written *w = written_new();
		assert_int_equal(archive_write_set_options(w->writer, options[i]), ARCHIVE_OK);
		write_package(w);
		assert_int_equal(unpack_bytes(place, w->data, w->size), 0);
		assert_package(place);
		place_renew(place);
		free(w);
	}
	umask(before);
}

/* Its offset neither matters nor moves. */
static void test_from_a_file(void **state)
{
	struct place *place = *state;
	struct written *w = written_new();
	cleanup_close int fd = memfd_create("zip", MFD_CLOEXEC);
	struct thaw_archive archive = {.fd = fd}, bytes = {.fd = -1};
	char of_file[THAW_DIGEST_BASE64], of_bytes[THAW_DIGEST_BASE64];

	write_package(w);
	assert_int_equal(thaw_write_full(fd, w->data, w->size), 0);
	assert_int_equal(thaw_archive_unpack(&archive, place->dir, &place->unpack, NULL), 0);
	assert_package(place);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), w->size);
	assert_int_equal(thaw_archive_sha256(&archive, of_file, NULL), 0);
	bytes.data = w->data;
	bytes.size = w->size;
	assert_int_equal(thaw_archive_sha256(&bytes, of_bytes, NULL), 0);
	assert_string_equal(of_file, of_bytes);
	/* FIPS 180-2, appendix B.1, in base64 */
	bytes.data = (const uint8_t *)"abc";
	bytes.size = 3;
	assert_int_equal(thaw_archive_sha256(&bytes, of_bytes, NULL), 0);
	assert_string_equal(of_bytes, "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
	free(w);

	place_renew(place);
	archive.fd = place->dir;
	assert_int_equal(thaw_archive_unpack(&archive, place->dir, &place->unpack, &place->err),
			 -EINVAL);
	assert_int_equal(place->unpack.fault, THAW_ARCHIVE_HOST);
	assert_null(thaw_archive_fault_text(place->unpack.fault));
}

static void test_packed_size(void **state)
{
	struct place *place = *state;
	cleanup_close int fd = memfd_create("zip", MFD_CLOEXEC);
	struct thaw_archive archive = {.fd = fd};

	/* A hole is no archive, but of a size that is looked at. */
	assert_int_equal(ftruncate(fd, THAW_ARCHIVE_SIZE_MAX), 0);
	assert_damaged(place,
		       thaw_archive_unpack(&archive, place->dir, &place->unpack, &place->err));
	assert_int_equal(ftruncate(fd, THAW_ARCHIVE_SIZE_MAX + 1), 0);
	assert_int_equal(thaw_archive_unpack(&archive, place->dir, &place->unpack, &place->err),
			 -EFBIG);
	assert_int_equal(place->unpack.fault, THAW_ARCHIVE_PACKED_TOO_LARGE);
	archive = (struct thaw_archive){.data = (const uint8_t *)"PK",
					.size = THAW_ARCHIVE_SIZE_MAX + 1};
	assert_int_equal(thaw_archive_unpack(&archive, place->dir, &place->unpack, &place->err),
			 -EFBIG);
}

/* --- names --- */

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

/* --- kinds --- */

static void test_last_of_a_name_wins(void **state)
{
	struct place *place = *state;

	assert_int_equal(UNPACK(place, {.name = "a", .mode = FILE_755, TEXT("longer one")},
				{.name = "l", .mode = LINK, TEXT("a")},
				{.name = "./a", TEXT("two")}, {.name = "l", TEXT("no link")},
				{.name = "m", TEXT("m")}, {.name = "m", .mode = LINK, TEXT("a")}),
			 0);
	assert_file(place, "a", "two", 0644);
	assert_file(place, "l", "no link", 0644);
	assert_link(place, "m", "a");
	assert_int_equal(place->unpack.entries, THAW_CODE_ENTRIES_MAX - 6);
}

static void test_kinds_that_clash(void **state)
{
	struct place *place = *state;

	assert_refused(place, UNPACK(place, {.name = "a", TEXT("x")}, {.name = "a/b", TEXT("x")}),
		       "\"a/b\" lies below something that is no folder");
	assert_refused(place, UNPACK(place, {.name = "a", TEXT("x")}, {.name = "a/b/c", TEXT("x")}),
		       "no folder");
	assert_refused(place,
		       UNPACK(place, {.name = "a", TEXT("x")}, {.name = "a/", .mode = FOLDER}),
		       "no folder");
	assert_refused(place,
		       UNPACK(place, {.name = "a/", .mode = FOLDER}, {.name = "a", TEXT("x")}),
		       "has the name of a folder");
	assert_refused(place, UNPACK(place, {.name = "a/b", TEXT("x")}, {.name = "a", TEXT("x")}),
		       "has the name of a folder");
	assert_refused(place,
		       UNPACK(place, {.name = "a/", .mode = FOLDER},
			      {.name = "a", .mode = LINK, TEXT("x")}),
		       "has the name of a folder");
}

static void test_links(void **state)
{
	static const struct {
		const char *name, *target;
		bool allowed;
	} links[] = {
		{"l", "a", true},
		{"l", "./a/../b", true},
		{"l", ".", true},
		{"d/l", "..", true},
		{"d/l", "../", true},
		{"d/e/l", "../../x", true},
		{"l", "dangling/far", true},
		{"l", "/opt", true},
		{"l", "/opt/lib/x.so", true},
		{"l", "/var/task/a/../b", true},
		{"l", "/tmp/x", true},
		{"l", "/var/lang/bin/python3", true},
		{"l", "/var/runtime/", true},
		{"l", "..", false},
		{"l", "../x", false},
		{"l", "a/../..", false},
		{"d/l", "../..", false},
		{"d/l", "../../in/x", false},
		{"l", "/", false},
		{"l", "/etc/passwd", false},
		{"l", "/optical", false},
		{"l", "/opt/../etc/passwd", false},
		{"l", "/var/task/..", false},
		{"l", "//opt", false},
		{"l", "/var", false},
		{"l", "/proc/self/root", false},
	};
	struct place *place = *state;
	char target[PATH_MAX + 1];

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		int rc = UNPACK(place, {.name = links[i].name,
					.mode = LINK,
					.data = links[i].target,
					.size = strlen(links[i].target)});
		if (links[i].allowed) {
			assert_int_equal(rc, 0);
			assert_link(place, links[i].name, links[i].target);
			place_renew(place);
		} else {
			assert_refused(place, rc, "is a link that leads out");
		}
	}
	assert_refused(place, UNPACK(place, {.name = "l", .mode = LINK}), "leads out");
	memset(target, 't', sizeof(target));
	for (size_t i = 100; i < sizeof(target); i += 100)
		target[i] = '/';
	assert_refused(place,
		       UNPACK(place, {.name = "l", .mode = LINK, .data = target, .size = PATH_MAX}),
		       "leads out");
	assert_int_equal(
		UNPACK(place, {.name = "l", .mode = LINK, .data = target, .size = PATH_MAX - 1}),
		0);
	place_renew(place);
	assert_refused(place, UNPACK(place, {.name = "l", .mode = LINK, .method = 8, TEXT("abc")}),
		       "compressed");
}

/* What lies below a link is refused, wherever the link leads. */
static void test_below_links(void **state)
{
	struct place *place = *state;

	assert_refused(place,
		       UNPACK(place, {.name = "d/", .mode = FOLDER},
			      {.name = "l", .mode = LINK, TEXT("d")}, {.name = "l/x", TEXT("x")}),
		       "\"l/x\" lies below something that is no folder");
	assert_refused(place,
		       UNPACK(place, {.name = "l", .mode = LINK, TEXT("/tmp")},
			      {.name = "l/thaw-test-escaped", TEXT("x")}),
		       "no folder");
	assert_false(exists(AT_FDCWD, "/tmp/thaw-test-escaped"));
	assert_refused(place,
		       UNPACK(place, {.name = "l", .mode = LINK, TEXT(".")},
			      {.name = "l/", .mode = FOLDER}),
		       "no folder");
	assert_refused(place,
		       UNPACK(place, {.name = "d/l", .mode = LINK, TEXT("..")},
			      {.name = "d/l/m", .mode = LINK, TEXT("..")}),
		       "");
	/* An earlier layer's link is no better. */
	assert_int_equal(symlinkat("..", place->dir, "up"), 0);
	assert_refused(place, UNPACK(place, {.name = "up/escaped", TEXT("x")}), "no folder");
	/* A file through a link that is there replaces the link. */
	assert_int_equal(symlinkat("../escaped", place->dir, "out"), 0);
	assert_int_equal(UNPACK(place, {.name = "out", TEXT("x")}), 0);
	assert_file(place, "out", "x", 0644);
}

static void test_special_files(void **state)
{
	struct place *place = *state;

	assert_refused(place, UNPACK(place, {.name = "null", .mode = S_IFCHR | 0666}),
		       "\"null\" is a special file");
	assert_refused(place, UNPACK(place, {.name = "sda", .mode = S_IFBLK | 0666}), "special");
	assert_refused(place, UNPACK(place, {.name = "s", .mode = S_IFSOCK | 0666}), "special");
	assert_refused(place, UNPACK(place, {.name = "w", .mode = 0160644}), "special");
	/* The reader takes a pipe for a file: Info-ZIP writes that for what it read from one. */
	assert_int_equal(UNPACK(place, {.name = "p", .mode = S_IFIFO | 0644, TEXT("x")}), 0);
	assert_file(place, "p", "x", 0644);
}

static void test_modes(void **state)
{
	struct place *place = *state;

	assert_int_equal(UNPACK(place, {.name = "a", .mode = S_IFREG | 07777},
				{.name = "b", .mode = S_IFREG},
				{.name = "c", .mode = S_IFREG | 001},
				{.name = "d", .mode = S_IFREG | 0666}, {.name = "e", .mode = 0755},
				{.name = "f/", .mode = S_IFDIR | 07000}),
			 0);
	assert_file(place, "a", "", 0755);
	assert_file(place, "b", "", 0644);
	assert_file(place, "c", "", 0755);
	assert_file(place, "d", "", 0644);
	assert_file(place, "e", "", 0755);
	assert_folder(place, "f");
}

/* --- limits --- */

static void assert_too_large(struct place *place, int rc)
{
	assert_int_equal(rc, -EFBIG);
	assert_int_equal(place->unpack.fault, THAW_ARCHIVE_TOO_LARGE);
	assert_string_equal(thaw_archive_fault_text(place->unpack.fault),
			    "Unzipped size must be smaller than 262144000 bytes");
	place_renew(place);
}

static void test_bytes(void **state)
{
	struct place *place = *state;

	place->unpack.bytes = 8;
	assert_int_equal(UNPACK(place, {.name = "a", TEXT("abc")}, {.name = "b", TEXT("de")},
				{.name = "l", .mode = LINK, TEXT("bcd")}),
			 0);
	assert_int_equal(place->unpack.bytes, 0);
	/* Empty ones have room. */
	assert_int_equal(UNPACK(place, {.name = "c"}), 0);
	assert_too_large(place, UNPACK(place, {.name = "d", TEXT("x")}));
	place->unpack.bytes = 7;
	assert_too_large(place, UNPACK(place, {.name = "a", TEXT("abc")}, {.name = "b", TEXT("de")},
				       {.name = "l", .mode = LINK, TEXT("bcd")}));
	place->unpack.bytes = 4;
	assert_too_large(place,
			 UNPACK(place, {.name = "a", TEXT("abc")}, {.name = "a", TEXT("de")}));
}

/* 1000 to 1, with sizes that are true and with sizes that are not. */
static void test_bombs(void **state)
{
	struct place *place = *state;
	struct written *w = written_zeros(THAW_CODE_SIZE_MAX);
	struct stat st;

	assert_true(w->size < 300000);
	assert_int_equal(unpack_bytes(place, w->data, w->size), 0);
	assert_int_equal(place->unpack.bytes, 0);
	place_renew(place);
	place->unpack.bytes--;
	assert_too_large(place, unpack_bytes(place, w->data, w->size));
	free(w);

	w = written_zeros(10 << 20);
	/* The directory's entry and the descriptor behind the data, which says 1000 bytes. */
	for (size_t i = 0; i + 4 < w->size; i++) {
		static const uint8_t size[4] = {0, 0, 0xa0, 0};
		if (memcmp(w->data + i, size, 4) == 0)
			memcpy(w->data + i, (uint8_t[4]){0xe8, 3, 0, 0}, 4);
	}
	place->unpack.bytes = 1 << 20;
	assert_too_large(place, unpack_bytes(place, w->data, w->size));
	/* And never is more on the disk than the limit. */
	place->unpack.bytes = 1 << 20;
	assert_int_equal(unpack_bytes(place, w->data, w->size), -EFBIG);
	assert_int_equal(fstatat(place->dir, "zeros", &st, 0), 0);
	assert_true(st.st_size <= 1 << 20);
	place_renew(place);
	assert_damaged(place, unpack_bytes(place, w->data, w->size));
	free(w);
}

static void test_entries(void **state)
{
	struct place *place = *state;
	const struct zip_entry same = {.name = "d/", .mode = FOLDER};

	place->unpack.entries = 4;
	assert_int_equal(UNPACK(place, {.name = "a/b/c", TEXT("x")}, {.name = "a/", .mode = FOLDER},
				{.name = "f"}),
			 0);
	assert_int_equal(place->unpack.entries, 0);
	place_renew(place);
	place->unpack.entries = 3;
	assert_int_equal(UNPACK(place, {.name = "a/b/c", TEXT("x")}, {.name = "f"}), -EFBIG);
	assert_int_equal(place->unpack.fault, THAW_ARCHIVE_REFUSED);
	place_renew(place);
	place->unpack.entries = 2;
	assert_int_equal(UNPACK(place, {.name = "a/b/c/d/", .mode = FOLDER}), -EFBIG);
	place_renew(place);

	/* Entries that make nothing count too. */
	for (uint32_t more = 0; more < 2; more++) {
		struct zip zip = {0};
		for (uint32_t i = 0; i < THAW_CODE_ENTRIES_MAX + more; i++)
			zip_add(&zip, &same);
		assert_int_equal(unpack_zip(place, &zip), more ? -EFBIG : 0);
		assert_int_equal(place->unpack.entries, THAW_CODE_ENTRIES_MAX - 1);
	}
	assert_non_null(strstr(place->err.message, "100000 entries"));

	/* So many that not even the directory is taken into memory. */
	place_renew(place);
	struct zip zip = {0};
	zip_add(&zip, &same);
	for (uint32_t i = 0; i < 3 * THAW_CODE_ENTRIES_MAX; i++)
		zip_add_directory(&zip, &same, i);
	assert_int_equal(unpack_zip(place, &zip), -EFBIG);
	assert_int_equal(place->unpack.fault, THAW_ARCHIVE_REFUSED);
	assert_int_equal(place->unpack.entries, THAW_CODE_ENTRIES_MAX);
}

/*
 * Many entries over the same bytes: each is a stored block (RFC 1951, 3.2.4) that hides the next
 * entry's header, and goes on with the data of that entry; the last with blocks of nothing. All
 * sizes and checksums are true and little comes out, but each entry is the work of all the rest.
 */
static void test_overlap(void **state)
{
	enum { COUNT = 64, HEADER = 31, BLOCK = 5, NOTHING = 1 << 20 };
	static uint8_t headers[COUNT][HEADER + BLOCK], out[COUNT * HEADER],
		nothing[NOTHING * BLOCK];
	struct place *place = *state;

	for (size_t i = 0; i < NOTHING; i++)
		memcpy(nothing + i * BLOCK, (uint8_t[BLOCK]){i == NOTHING - 1, 0, 0, 0xff, 0xff},
		       BLOCK);
	static const unsigned int counts[] = {1, 2, COUNT};
	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		const unsigned int used = counts[c];
		struct zip zip = {0};
		for (unsigned int i = used; i-- > 0;) {
			const char name[2] = {(char)('0' + i), 0};
			uint8_t hidden = i + 1 < used ? HEADER : 0;
			const uint8_t block[BLOCK] = {0, hidden, 0, (uint8_t)~hidden, 0xff};
			size_t size = (used - 1 - i) * HEADER;
			struct zip one = {0};
			struct zip_entry entry = {.name = name,
						  .method = 8,
						  .data = out + sizeof(out) - size,
						  .size = size,
						  .packed = block,
						  .packed_size = BLOCK};
			entry.packed_more =
				(uint32_t)((used - 1 - i) * sizeof(headers[0]) + sizeof(nothing));
			zip_add(&one, &entry);
			assert_int_equal(one.size, sizeof(headers[0]));
			memcpy(headers[i], one.data, one.size);
			zip_free(&one);
			memcpy(out + sizeof(out) - size - HEADER, headers[i], HEADER);
			zip_add_directory(&zip, &entry, (uint32_t)(i * sizeof(headers[0])));
		}
		zip_append(&zip, headers, used * sizeof(headers[0]));
		zip_append(&zip, nothing, sizeof(nothing));
		int rc = unpack_zip(place, &zip);
		/* Once is no harm, and twice neither. */
		if (used <= 2) {
			assert_int_equal(rc, 0);
			place_renew(place);
		} else {
			assert_non_null(strstr(place->err.message, "entries overlap"));
			assert_damaged(place, rc);
		}
	}
}

/* Our own trouble is told apart from the archive's. */
static void test_host_errors(void **state)
{
	struct place *place = *state;

	assert_int_equal(unlinkat(place->root_fd, "in", AT_REMOVEDIR), 0);
	assert_int_equal(UNPACK(place, {.name = "a", TEXT("x")}), -ENOENT);
	assert_int_equal(place->unpack.fault, THAW_ARCHIVE_HOST);
	assert_int_equal(UNPACK(place, {.name = "a/", .mode = FOLDER}), -ENOENT);
	assert_int_equal(place->unpack.fault, THAW_ARCHIVE_HOST);
	assert_int_equal(UNPACK(place, {.name = "a", .mode = LINK, TEXT("x")}), -ENOENT);
	assert_int_equal(place->unpack.fault, THAW_ARCHIVE_HOST);
	assert_int_equal(mkdirat(place->root_fd, "in", 0755), 0);
}

/* --- damage --- */

static void test_not_a_zip(void **state)
{
	struct place *place = *state;
	static const char *const texts[] = {"",
					    "P",
					    "PK",
					    "PK\3\4",
					    "PK\5\6",
					    "not an archive",
					    "\x1f\x8b\x08 gzip",
					    "#!/bin/sh\nexit\n"};
	struct written *w = written_new();

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_damaged(place, unpack_bytes(place, texts[i], strlen(texts[i])));
	archive_write_free(w->writer);
	w->writer = archive_write_new();
	assert_int_equal(archive_write_set_format_ustar(w->writer), ARCHIVE_OK);
	write_package(w);
	assert_damaged(place, unpack_bytes(place, w->data, w->size));
	free(w);
}

static void test_empty(void **state)
{
	struct place *place = *state;
	struct zip zip = {0};
	int rc = unpack_zip(place, &zip);

	assert_int_equal(rc, -EINVAL);
	assert_int_equal(place->unpack.fault, THAW_ARCHIVE_EMPTY);
	assert_string_equal(thaw_archive_fault_text(place->unpack.fault),
			    "Uploaded file must be a non-empty zip");
}

/* However far it was sent, it is refused and nobody reads behind it. */
static void test_truncated(void **state)
{
	struct place *place = *state;
	struct written *w = written_new();

	write_package(w);
	for (size_t size = 0; size < w->size; size++)
		assert_damaged(place, unpack_bytes(place, w->data, size));
	assert_int_equal(unpack_bytes(place, w->data, w->size), 0);
	free(w);
}

/* Whatever bit is flipped (every third is tried): no crash, and nothing but files, folders and
 * links inside. */
static void test_bit_flips(void **state)
{
	struct place *place = *state;
	struct written *w = written_new();

	write_package(w);
	for (size_t bit = 0; bit < w->size * 8; bit += 3) {
		w->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (unpack_bytes(place, w->data, w->size) < 0)
			assert_int_not_equal(place->unpack.fault, THAW_ARCHIVE_HOST);
		w->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		place_renew(place);
	}
	free(w);
}

static void test_lies(void **state)
{
	struct place *place = *state;

	assert_damaged(place, UNPACK(place, {.name = "a", TEXT("abc"), .crc_xor = 1}));
	assert_damaged(place, UNPACK(place, {.name = "a", TEXT("abc"), .size_lie = 1}));
	assert_damaged(place, UNPACK(place, {.name = "a", TEXT("abc"), .size_lie = -1}));
	assert_damaged(place, UNPACK(place, {.name = "a", TEXT("abc"), .size_far = 4}));
	assert_too_large(place, UNPACK(place, {.name = "a", TEXT("abc"), .size_lie = 0x7ffffff0}));
	assert_refused(place, UNPACK(place, {.name = "a", TEXT("abc"), .flags = ZIP_ENCRYPTED}),
		       "\"a\" is encrypted");
	for (uint16_t method = 1; method < 100; method++) {
		if (method != 8)
			assert_int_equal(
				UNPACK(place, {.name = "a", TEXT("abc"), .method = method}),
				-EINVAL);
	}
	/* bzip2, LZMA, xz, PPMd: the reader could. */
	assert_refused(place, UNPACK(place, {.name = "a", TEXT("abc"), .method = 12}),
		       "compressed");
	assert_refused(place, UNPACK(place, {.name = "a", TEXT("abc"), .method = 14}),
		       "compressed");
	assert_refused(place, UNPACK(place, {.name = "a", TEXT("abc"), .method = 95}),
		       "compressed");
	assert_refused(place, UNPACK(place, {.name = "a", TEXT("abc"), .method = 98}),
		       "compressed");
	/* Deflated it is not. */
	assert_damaged(place, UNPACK(place, {.name = "a", TEXT("\xff\xff\xff"), .method = 8}));
}

static void test_forms(void **state)
{
	struct place *place = *state;

	assert_int_equal(UNPACK(place, {.name = "a", TEXT("abc"), .zip64 = 1},
				{.name = "b", TEXT("def"), .flags = ZIP_DESCRIPTOR},
				{.name = "c", TEXT("ghi"), .flags = ZIP_DESCRIPTOR | ZIP_UTF8}),
			 0);
	assert_file(place, "a", "abc", 0644);
	assert_file(place, "b", "def", 0644);
	assert_file(place, "c", "ghi", 0644);
}

/* Around the archive: something before it (as self-extracting ones have), something behind. */
static void test_surroundings(void **state)
{
	struct place *place = *state;
	struct zip zip = {0};
	const struct zip_entry entry = {.name = "a", TEXT("abc")};
	cleanup_free char *garbage = calloc(1, 32 << 10);

	zip_append(&zip, garbage, 1000);
	zip_add(&zip, &entry);
	zip_end(&zip);
	assert_int_equal(unpack_bytes(place, zip.data, zip.size), 0);
	assert_file(place, "a", "abc", 0644);
	place_renew(place);
	zip_append(&zip, garbage, 8 << 10);
	assert_int_equal(unpack_bytes(place, zip.data, zip.size), 0);
	assert_file(place, "a", "abc", 0644);
	place_renew(place);
	zip_append(&zip, garbage, 9 << 10);
	assert_damaged(place, unpack_bytes(place, zip.data, zip.size));
	zip_free(&zip);
}

/* A directory that lists one local header twice, or one that is none. */
static void test_directory(void **state)
{
	struct place *place = *state;
	struct zip zip = {0};
	const struct zip_entry entry = {.name = "a", TEXT("abc")};

	zip_add(&zip, &entry);
	zip_add_directory(&zip, &entry, 0);
	assert_int_equal(unpack_zip(place, &zip), 0);
	assert_file(place, "a", "abc", 0644);
	place_renew(place);
	zip_add(&zip, &entry);
	zip_add_directory(&zip, &entry, 7);
	assert_damaged(place, unpack_zip(place, &zip));
	zip_add(&zip, &entry);
	zip_add_directory(&zip, &entry, 0x7fffffff);
	assert_damaged(place, unpack_zip(place, &zip));
}

/* --- drives --- */

static struct thaw_state drive_state;

static int drive_setup(void **state)
{
	char path[128];

	setup(state);
	struct place *place = *state;
	snprintf(path, sizeof(path), "%s/in/state", place->root);
	assert_int_equal(thaw_state_open(&drive_state, path, NULL), 0);
	return 0;
}

static int drive_teardown(void **state)
{
	/* Nothing half-made, after success or failure (".lock" is the sweepers'). */
	assert_int_equal(count_names(drive_state.tmp), 1);
	thaw_state_close(&drive_state);
	return teardown(state);
}

static int drive_zip(struct place *place, struct zip *zip, size_t count,
		     char digest[THAW_DIGEST_TEXT])
{
	struct thaw_archive archives[4];
	int fd = -1;

	for (size_t i = 0; i < count; i++)
		archives[i] = (struct thaw_archive){.data = zip[i].data, .size = zip[i].size};
	int rc = thaw_code_drive_archives(&drive_state, archives, count, &place->unpack, &fd,
					  digest, &place->err);
	assert_int_equal(rc == 0, fd >= 0);
	if (fd >= 0)
		close(fd);
	return rc;
}

static void write_text(int dir, const char *name, const char *text)
{
	cleanup_close int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(thaw_write_full(fd, text, strlen(text)), 0);
}

/* A folder, an archive in memory and one in a file: one code, one drive. */
static void test_drive_is_the_folders(void **state)
{
	struct place *place = *state;
	char folder[THAW_DIGEST_TEXT], archive[THAW_DIGEST_TEXT], path[128];
	struct zip zip = {0};
	int fd;

	assert_int_equal(mkdirat(place->dir, "code", 0700), 0);
	assert_int_equal(mkdirat(place->dir, "code/lib", 0700), 0);
	write_text(place->dir, "code/app.py", "pass\n");
	write_text(place->dir, "code/lib/x.py", "");
	assert_int_equal(symlinkat("lib/x.py", place->dir, "code/y.py"), 0);
	snprintf(path, sizeof(path), "%s/in/code", place->root);
	assert_int_equal(thaw_code_drive(&drive_state, path, &fd, folder, NULL), 0);
	close(fd);

	zip_add(&zip, &(struct zip_entry){.name = "y.py", .mode = LINK, TEXT("lib/x.py")});
	zip_add(&zip, &(struct zip_entry){.name = "lib/x.py"});
	zip_add(&zip, &(struct zip_entry){.name = "app.py", TEXT("pass\n")});
	zip_end(&zip);
	assert_int_equal(drive_zip(place, &zip, 1, archive), 0);
	assert_string_equal(folder, archive);
	assert_int_equal(count_names(drive_state.code), 1);

	cleanup_close int file =
		openat(place->dir, "code.zip", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(thaw_write_full(file, zip.data, zip.size), 0);
	snprintf(path, sizeof(path), "%s/in/code.zip", place->root);
	assert_int_equal(thaw_code_drive(&drive_state, path, &fd, archive, NULL), 0);
	close(fd);
	assert_string_equal(folder, archive);
	zip_free(&zip);

	/* One that no folder was made before. */
	zip_add(&zip, &(struct zip_entry){.name = "app.py", TEXT("other\n")});
	zip_end(&zip);
	assert_int_equal(drive_zip(place, &zip, 1, archive), 0);
	assert_string_not_equal(folder, archive);
	assert_int_equal(count_names(drive_state.code), 2);
	zip_free(&zip);
}

static void test_drive_refused(void **state)
{
	struct place *place = *state;
	char digest[THAW_DIGEST_TEXT] = "", path[128];
	struct zip zip = {0};
	int fd;

	zip_add(&zip, &(struct zip_entry){.name = "ok", TEXT("x")});
	zip_add(&zip, &(struct zip_entry){.name = "../x", TEXT("x")});
	zip_end(&zip);
	assert_int_equal(drive_zip(place, &zip, 1, digest), -EINVAL);
	assert_int_equal(place->unpack.fault, THAW_ARCHIVE_REFUSED);
	zip_free(&zip);
	assert_int_equal(drive_zip(place, NULL, 0, digest), -EINVAL);
	assert_int_equal(place->unpack.fault, THAW_ARCHIVE_HOST);
	write_text(place->dir, "text.zip", "no archive");
	snprintf(path, sizeof(path), "%s/in/text.zip", place->root);
	assert_int_equal(thaw_code_drive(&drive_state, path, &fd, digest, &place->err), -EINVAL);
	assert_non_null(strstr(place->err.message, "text.zip\": it is not a ZIP archive"));
	assert_int_equal(thaw_code_drive(&drive_state, "/dev/null", &fd, digest, &place->err),
			 -ENOTDIR);
	assert_int_equal(count_names(drive_state.code), 0);
}

/* Layers: in order, over one another, under one limit that the function's code took from. */
static void test_drive_of_layers(void **state)
{
	struct place *place = *state;
	char layered[THAW_DIGEST_TEXT], plain[THAW_DIGEST_TEXT], other[THAW_DIGEST_TEXT];
	struct zip zip[3] = {0}, one = {0}, back[2];

	zip_add(&zip[0], &(struct zip_entry){.name = "lib/a", TEXT("aaa")});
	zip_add(&zip[0], &(struct zip_entry){.name = "lib/b", TEXT("first")});
	zip_add(&zip[1], &(struct zip_entry){.name = "lib/b", .mode = FILE_755, TEXT("second")});
	zip_add(&zip[1], &(struct zip_entry){.name = "bin/", .mode = FOLDER});
	zip_add(&zip[2], &(struct zip_entry){.name = "lib", TEXT("no folder")});
	zip_add(&one, &(struct zip_entry){.name = "lib/a", TEXT("aaa")});
	zip_add(&one, &(struct zip_entry){.name = "lib/b", .mode = FILE_755, TEXT("second")});
	zip_add(&one, &(struct zip_entry){.name = "bin/", .mode = FOLDER});
	for (int i = 0; i < 3; i++)
		zip_end(&zip[i]);
	zip_end(&one);
	back[0] = zip[1];
	back[1] = zip[0];
	assert_int_equal(drive_zip(place, zip, 2, layered), 0);
	assert_int_equal(drive_zip(place, &one, 1, plain), 0);
	assert_int_equal(drive_zip(place, back, 2, other), 0);
	assert_string_equal(layered, plain);
	assert_string_not_equal(layered, other);
	assert_int_equal(drive_zip(place, zip, 3, other), -EINVAL);
	assert_non_null(strstr(place->err.message, "archive 3: \"lib\" has the name of a folder"));

	/* "aaa", "first", "second": 14 bytes; the code before them took its part. */
	place->unpack = (struct thaw_unpack){.bytes = 9 + 14, .entries = 100};
	assert_int_equal(drive_zip(place, &one, 1, plain), 0);
	assert_int_equal(place->unpack.bytes, 14);
	assert_int_equal(drive_zip(place, zip, 2, layered), 0);
	assert_int_equal(place->unpack.bytes, 0);
	place->unpack.bytes = 13;
	assert_int_equal(drive_zip(place, zip, 2, layered), -EFBIG);
	assert_int_equal(place->unpack.fault, THAW_ARCHIVE_TOO_LARGE);
	for (int i = 0; i < 3; i++)
		zip_free(&zip[i]);
	zip_free(&one);
}

/* Whenever its maker is killed: the next to come finds drives that are whole, and nothing else. */
static void test_drive_maker_killed(void **state)
{
	struct place *place = *state;
	struct thaw_state again;
	struct stat st;
	char path[128];

	for (unsigned int ms = 0; ms < 60; ms += 5) {
		pid_t pid = fork();
		if (pid == 0) {
			for (unsigned int i = 0;; i++) {
				const unsigned int number[2] = {ms, i};
				char digest[THAW_DIGEST_TEXT];
				struct zip zip = {0};
				zip_add(&zip, &(struct zip_entry){.name = "a/b/c",
								  .data = number,
								  .size = sizeof(number)});
				zip_add(&zip, &(struct zip_entry){.name = "d", TEXT("d")});
				zip_end(&zip);
				if (drive_zip(place, &zip, 1, digest) < 0)
					_exit(1);
				zip_free(&zip);
			}
		}
		usleep(ms * 1000);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		snprintf(path, sizeof(path), "%s/in/state", place->root);
		/* A program that it had just started holds the lock until its own end. */
		for (int tries = 0, left = 2; left != 1; tries++) {
			assert_true(tries < 1000);
			assert_int_equal(thaw_state_open(&again, path, NULL), 0);
			left = (int)count_names(again.tmp);
			thaw_state_close(&again);
			usleep(1000);
		}
	}
	DIR *drives = fdopendir(openat(drive_state.code, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	for (struct dirent *entry; (entry = readdir(drives));) {
		if (entry->d_name[0] == '.')
			continue;
		assert_int_equal(fstatat(drive_state.code, entry->d_name, &st, 0), 0);
		assert_int_equal(st.st_mode, S_IFREG | 0444);
		assert_true(st.st_size > 0 && st.st_size % (2 << 20) == 0);
	}
	closedir(drives);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define D(name) cmocka_unit_test_setup_teardown(name, drive_setup, drive_teardown)
	const struct CMUnitTest tests[] = {
		T(test_package),
		T(test_from_a_file),
		T(test_packed_size),
		T(test_names_plain),
		T(test_names_refused),
		T(test_names_utf8),
		T(test_names_with_zeros),
		T(test_names_of_dos),
		T(test_depth),
		T(test_path_length),
		T(test_last_of_a_name_wins),
		T(test_kinds_that_clash),
		T(test_links),
		T(test_below_links),
		T(test_special_files),
		T(test_modes),
		T(test_bytes),
		T(test_bombs),
		T(test_entries),
		T(test_overlap),
		T(test_host_errors),
		T(test_not_a_zip),
		T(test_empty),
		T(test_truncated),
		T(test_bit_flips),
		T(test_lies),
		T(test_forms),
		T(test_surroundings),
		T(test_directory),
		D(test_drive_is_the_folders),
		D(test_drive_refused),
		D(test_drive_of_layers),
		D(test_drive_maker_killed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
