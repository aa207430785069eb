/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/host_archive_harness.h"

void place_renew(struct place *place)
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

int setup(void **state)
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

unsigned int count_names(int dir)
{
	unsigned int count = 0;
	DIR *stream = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	assert_non_null(stream);
	for (struct dirent *entry; (entry = readdir(stream));)
		count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(stream);
	return count;
}

int teardown(void **state)
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

int unpack_bytes(struct place *place, const void *data, size_t size)
{
	/* Of the size it has, so that the sanitizers see a read behind it. */
	cleanup_free uint8_t *copy = malloc(size ? size : 1);
	struct thaw_archive archive = {.data = copy, .size = size, .fd = -1};

	memcpy(copy, data, size);
	return thaw_archive_unpack(&archive, place->dir, &place->unpack, &place->err);
}

int unpack_zip(struct place *place, struct zip *zip)
{
	zip_end(zip);
	int rc = unpack_bytes(place, zip->data, zip->size);
	zip_free(zip);
	return rc;
}

/* An archive of a few entries, as they are. */
int unpack_entries(struct place *place, const struct zip_entry *entries, size_t count)
{
	struct zip zip = {0};

	for (size_t i = 0; i < count; i++)
		zip_add(&zip, &entries[i]);
	return unpack_zip(place, &zip);
}

void assert_refused(struct place *place, int rc, const char *text)
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

void assert_damaged(struct place *place, int rc)
{
	assert_int_equal(rc, -EINVAL);
	assert_int_equal(place->unpack.fault, THAW_ARCHIVE_DAMAGED);
	assert_true(*place->err.message);
	place_renew(place);
}

void assert_file(struct place *place, const char *name, const char *text, mode_t mode)
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

void assert_folder(struct place *place, const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(place->dir, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0755);
}

void assert_link(struct place *place, const char *name, const char *target)
{
	char text[PATH_MAX];

	ssize_t n = readlinkat(place->dir, name, text, sizeof(text) - 1);
	assert_true(n >= 0);
	text[n] = 0;
	assert_string_equal(text, target);
}

bool exists(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

struct written *written_new(void)
{
	struct written *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->writer = archive_write_new();
	assert_int_equal(archive_write_set_format_zip(w->writer), ARCHIVE_OK);
	assert_int_equal(archive_write_set_bytes_per_block(w->writer, 0), ARCHIVE_OK);
	return w;
}

void written_open(struct written *w)
{
	assert_int_equal(archive_write_open_memory(w->writer, w->data, sizeof(w->data), &w->size),
			 ARCHIVE_OK);
}

void written_header(struct written *w, const char *name, mode_t mode, int64_t size,
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

void written_file(struct written *w, const char *name, mode_t mode, const char *text)
{
	written_header(w, name, mode, (int64_t)strlen(text), NULL);
	assert_int_equal(archive_write_data(w->writer, text, strlen(text)), strlen(text));
}

void written_end(struct written *w)
{
	assert_int_equal(archive_write_close(w->writer), ARCHIVE_OK);
	archive_write_free(w->writer);
}

/* A folder of zeros, `size` of them in one file, deflated. */
struct written *written_zeros(uint64_t size)
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
