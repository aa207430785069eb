/* SPDX-License-Identifier: Apache-2.0 */
/* Archives, good ones and hostile ones: kinds of entries, limits, damage. */
#include "tests/unit/host_archive_harness.h"

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

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_package),
		T(test_from_a_file),
		T(test_packed_size),
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
