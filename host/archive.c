/* SPDX-License-Identifier: Apache-2.0 */
#include "host/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "host/archive_name.h"
#include "host/code.h"
#include "lib/error.h"
#include "lib/fd.h"

#define ARCHIVE_CHUNK (64u << 10)

/* An honest archive is read once, and its directory once more. Entries that share their bytes
 * make the reader go back again and again, so that a small archive is the work of a huge one. */
#define ARCHIVE_READ_FACTOR 4
#define ARCHIVE_READ_MORE   (1 << 20)

/* The reader takes the whole directory into memory before it tells of the first entry. */
#define ARCHIVE_LISTED_MAX (2 * THAW_CODE_ENTRIES_MAX)

/* Where the reader's bytes come from. */
struct archive_source {
	const struct thaw_archive *from;
	int64_t size, at;
	int64_t served;
	bool entered;    /* the reader has told of an entry */
	uint32_t listed; /* entries of the directory that were seen before that, about */
	bool overlap;    /* entries share their bytes */
	int error;       /* of the host, met while reading */
	uint8_t buffer[ARCHIVE_CHUNK];
};

/* One unpacking. */
struct archive_run {
	struct archive *reader;
	struct archive_source source;
	struct thaw_unpack *unpack;
	int root;
	uint32_t entries;
	char name[THAW_ARCHIVE_PATH_MAX + 1]; /* of the entry at hand */
	char shown[THAW_ARCHIVE_SHOWN_MAX];   /* as messages have it */
};

const char *thaw_archive_fault_text(enum thaw_archive_fault fault)
{
	switch (fault) {
	case THAW_ARCHIVE_PACKED_TOO_LARGE:
		return "Zipped size must be smaller than 52428800 bytes";
	case THAW_ARCHIVE_DAMAGED:
	case THAW_ARCHIVE_REFUSED:
		return "Could not unzip uploaded file. Please check your file, then try to "
		       "upload again.";
	case THAW_ARCHIVE_EMPTY:
		return "Uploaded file must be a non-empty zip";
	case THAW_ARCHIVE_TOO_LARGE:
		return "Unzipped size must be smaller than 262144000 bytes";
	case THAW_ARCHIVE_HOST:
		break;
	}
	return NULL;
}

/* --- reading --- */

static uint32_t source_listed(struct archive_source *source, const uint8_t *data, size_t size)
{
	static const uint8_t mark[4] = {'P', 'K', 1, 2};
	const uint8_t *end = data + size;

	while ((data = memmem(data, (size_t)(end - data), mark, sizeof(mark)))) {
		source->listed++;
		data += sizeof(mark);
	}
	return source->listed;
}

static la_ssize_t source_read(struct archive *reader, void *opaque, const void **data)
{
	struct archive_source *source = opaque;
	int64_t left = source->size - source->at;
	size_t size = left < ARCHIVE_CHUNK ? (size_t)left : ARCHIVE_CHUNK;

	source->served += (int64_t)size;
	if (source->served > ARCHIVE_READ_FACTOR * source->size + ARCHIVE_READ_MORE) {
		source->overlap = true;
		archive_set_error(reader, EINVAL, "its entries overlap");
		return ARCHIVE_FATAL;
	}
	if (source->from->data) {
		*data = source->from->data + source->at;
	} else {
		int rc = thaw_pread_full(source->from->fd, source->buffer, size, source->at);
		if (rc < 0) {
			source->error = rc == -ENODATA ? EAGAIN : -rc;
			archive_set_error(reader, source->error, "it cannot be read");
			return ARCHIVE_FATAL;
		}
		*data = source->buffer;
	}
	source->at += (int64_t)size;
	if (!source->entered && source_listed(source, *data, size) > ARCHIVE_LISTED_MAX) {
		archive_set_error(reader, EINVAL, "it has too many entries");
		return ARCHIVE_FATAL;
	}
	return (la_ssize_t)size;
}

static la_int64_t source_seek(struct archive *reader, void *opaque, la_int64_t offset, int whence)
{
	struct archive_source *source = opaque;
	int64_t base = whence == SEEK_END ? source->size : whence == SEEK_CUR ? source->at : 0;
	int64_t to;

	if (__builtin_add_overflow(base, offset, &to) || to < 0 || to > source->size) {
		archive_set_error(reader, EINVAL, "it points outside itself");
		return ARCHIVE_FATAL;
	}
	source->at = to;
	return to;
}

/* The end of a directory and nothing else, which the reader does not know. */
static bool source_empty(struct archive_source *source)
{
	static const uint8_t end[22] = {'P', 'K', 5, 6};
	uint8_t data[sizeof(end)];

	if (source->size != sizeof(end))
		return false;
	if (source->from->data)
		return memcmp(source->from->data, end, sizeof(end)) == 0;
	return thaw_pread_full(source->from->fd, data, sizeof(data), 0) == 0 &&
	       memcmp(data, end, sizeof(end)) == 0;
}

/* --- faults --- */

static int run_refuse(struct archive_run *run, const char *why, struct thaw_error *err)
{
	run->unpack->fault = THAW_ARCHIVE_REFUSED;
	return thaw_error_set(err, EINVAL, "\"%s\" %s", run->shown, why);
}

static int run_host(struct archive_run *run, int code, struct thaw_error *err)
{
	run->unpack->fault = THAW_ARCHIVE_HOST;
	return thaw_error_errno(err, code, "unpacking \"%s\"", run->shown);
}

static int run_too_many(struct archive_run *run, struct thaw_error *err)
{
	run->unpack->fault = THAW_ARCHIVE_REFUSED;
	return thaw_error_set(err, EFBIG, "it has more than the %d entries allowed",
			      THAW_CODE_ENTRIES_MAX);
}

/* What the reader says of the archive, or of our memory. */
static int run_reader(struct archive_run *run, struct thaw_error *err)
{
	const char *text = archive_error_string(run->reader);
	int code = run->source.error;

	if (!code && archive_errno(run->reader) == ENOMEM)
		code = ENOMEM;
	run->unpack->fault = code ? THAW_ARCHIVE_HOST : THAW_ARCHIVE_DAMAGED;
	if (code)
		return thaw_error_errno(err, code, "reading the archive");
	if (run->source.listed > ARCHIVE_LISTED_MAX)
		return run_too_many(run, err);
	if (run->entries == 0)
		return thaw_error_set(err, EINVAL, "it is not a ZIP archive, or a damaged one");
	if (run->source.overlap || !text)
		text = run->source.overlap ? "entries overlap" : "it cannot be read";
	return thaw_error_set(err, EINVAL, "\"%s\" is damaged: %s", run->shown, text);
}

static int run_empty(struct archive_run *run, struct thaw_error *err)
{
	run->unpack->fault = THAW_ARCHIVE_EMPTY;
	return thaw_error_set(err, EINVAL, "it is a ZIP archive without entries");
}

static int run_take_bytes(struct archive_run *run, uint64_t size, struct thaw_error *err)
{
	if (size > run->unpack->bytes) {
		run->unpack->fault = THAW_ARCHIVE_TOO_LARGE;
		return thaw_error_set(err, EFBIG, "it is larger than the %d bytes allowed",
				      THAW_CODE_SIZE_MAX);
	}
	run->unpack->bytes -= size;
	return 0;
}

static int run_take_entry(struct archive_run *run, struct thaw_error *err)
{
	if (run->unpack->entries == 0)
		return run_too_many(run, err);
	run->unpack->entries--;
	return 0;
}

/* --- writing --- */

static int run_open_folder(struct archive_run *run, const char *path)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
			   RESOLVE_NO_XDEV,
	};

	int fd = (int)syscall(SYS_openat2, run->root, *path ? path : ".", &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}

static int run_folder_error(struct archive_run *run, int code, struct thaw_error *err)
{
	if (code == ENOTDIR || code == ELOOP || code == EXDEV)
		return run_refuse(run, "lies below something that is no folder", err);
	return run_host(run, code, err);
}

/* From the folder *dir into `name` in it, which is made where it is missing. */
static int run_folder_below(struct archive_run *run, int *dir, const char *name,
			    struct thaw_error *err)
{
	if (mkdirat(*dir, name, 0755) == 0) {
		/* Whatever the umask. It is ours and no link. */
		if (fchmodat(*dir, name, 0755, 0) < 0)
			return run_host(run, errno, err);
		int rc = run_take_entry(run, err);
		if (rc < 0)
			return rc;
	} else if (errno != EEXIST) {
		return run_host(run, errno, err);
	}
	int below = openat(*dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (below < 0)
		return run_folder_error(run, errno, err);
	close(*dir);
	*dir = below;
	return 0;
}

/* Opens the folder `path`, making what is missing of it. */
static int run_folder(struct archive_run *run, const char *path, int *fd, struct thaw_error *err)
{
	char part[THAW_ARCHIVE_PATH_MAX + 1];
	cleanup_close int dir = run_open_folder(run, path);

	if (dir == -ENOENT && (dir = run_open_folder(run, "")) >= 0) {
		strcpy(part, path);
		char *rest = part;
		for (char *name; (name = strsep(&rest, "/"));) {
			int rc = run_folder_below(run, &dir, name, err);
			if (rc < 0)
				return rc;
		}
	}
	if (dir < 0)
		return run_folder_error(run, -dir, err);
	*fd = thaw_fd_take(&dir);
	return 0;
}

/* Opens the folder that the file or link at hand lies in, `*leaf` being its name there, and makes
 * way for it: it takes the place of an earlier file or link of that name. */
static int run_place(struct archive_run *run, int *dir, const char **leaf, struct thaw_error *err)
{
	char path[THAW_ARCHIVE_PATH_MAX + 1] = "";
	const char *slash = strrchr(run->name, '/');

	*leaf = slash ? slash + 1 : run->name;
	memcpy(path, run->name, (size_t)(*leaf - run->name));
	if (slash)
		path[slash - run->name] = 0;
	int rc = run_folder(run, path, dir, err);
	if (rc == 0)
		rc = run_take_entry(run, err);
	if (rc < 0)
		return rc;
	if (unlinkat(*dir, *leaf, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno == EISDIR || errno == EPERM)
		return run_refuse(run, "has the name of a folder", err);
	return run_host(run, errno, err);
}

static int run_data(struct archive_run *run, int fd, struct thaw_error *err)
{
	const void *data;
	la_int64_t offset;
	uint64_t done = 0;
	size_t size;
	int rc;

	while ((rc = archive_read_data_block(run->reader, &data, &size, &offset)) == ARCHIVE_OK) {
		/* A ZIP has no holes. */
		if (offset < 0 || (uint64_t)offset != done)
			return run_refuse(run, "is damaged", err);
		rc = run_take_bytes(run, size, err);
		if (rc < 0)
			return rc;
		rc = thaw_write_full(fd, data, size);
		if (rc < 0)
			return run_host(run, -rc, err);
		done += size;
	}
	return rc == ARCHIVE_EOF ? 0 : run_reader(run, err);
}

static int run_file(struct archive_run *run, struct archive_entry *entry, struct thaw_error *err)
{
	cleanup_close int dir = -1;
	const char *leaf = NULL;

	/* Only to fail early: what counts is what comes. */
	if (archive_entry_size_is_set(entry) &&
	    (uint64_t)archive_entry_size(entry) > run->unpack->bytes)
		return run_take_bytes(run, UINT64_MAX, err);
	int rc = run_place(run, &dir, &leaf, err);
	if (rc < 0)
		return rc;
	cleanup_close int fd =
		openat(dir, leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fchmod(fd, archive_entry_perm(entry) & 0111 ? 0755 : 0644) < 0)
		return run_host(run, errno, err);
	return run_data(run, fd, err);
}

static int run_link(struct archive_run *run, struct archive_entry *entry, struct thaw_error *err)
{
	const char *target = archive_entry_symlink(entry);
	cleanup_close int dir = -1;
	const char *leaf = NULL;

	if (!target || !thaw_archive_link_allowed(run->name, target))
		return run_refuse(run, "is a link that leads out of the archive", err);
	int rc = run_take_bytes(run, strlen(target), err);
	if (rc == 0)
		rc = run_place(run, &dir, &leaf, err);
	if (rc < 0)
		return rc;
	return symlinkat(target, dir, leaf) < 0 ? run_host(run, errno, err) : 0;
}

/* Stored or deflated: other methods, which nobody's tools make packages with, are that much more
 * code to trust. The reader tells the method in words only; it never takes a link's target out
 * of compression. */
static bool run_method_allowed(struct archive_run *run, mode_t type)
{
	const char *format = archive_format_name(run->reader);

	return format && (strstr(format, "(uncompressed)") ||
			  (type != AE_IFLNK && strstr(format, "(deflation)")));
}

static int run_entry(struct archive_run *run, struct archive_entry *entry, struct thaw_error *err)
{
	const char *raw = archive_entry_pathname(entry);
	mode_t type = archive_entry_filetype(entry);
	cleanup_close int fd = -1;

	run->source.entered = true;
	thaw_archive_name_show(raw ? raw : "?", run->shown);
	if (++run->entries > THAW_CODE_ENTRIES_MAX)
		return run_too_many(run, err);
	const char *why = raw ? thaw_archive_name(raw, run->name) : "has a name that is not UTF-8";
	if (why)
		return run_refuse(run, why, err);
	if (thaw_archive_name_depth(run->name) + (type == AE_IFDIR && *run->name) >
	    THAW_CODE_DEPTH_MAX)
		return run_refuse(run, "is nested too deep", err);
	if (archive_entry_is_encrypted(entry))
		return run_refuse(run, "is encrypted", err);
	if (type == AE_IFDIR)
		return run_folder(run, run->name, &fd, err);
	if (!*run->name)
		return run_refuse(run, "has no name", err);
	if (!run_method_allowed(run, type))
		return run_refuse(run, "is compressed in a way that is not supported", err);
	if (type == AE_IFLNK)
		return run_link(run, entry, err);
	if (type != AE_IFREG || archive_entry_hardlink(entry))
		return run_refuse(run, "is a special file", err);
	return run_file(run, entry, err);
}

static int run_entries(struct archive_run *run, struct thaw_error *err)
{
	struct archive_entry *entry;
	int rc;

	while ((rc = archive_read_next_header(run->reader, &entry)) == ARCHIVE_OK) {
		rc = run_entry(run, entry, err);
		if (rc < 0)
			return rc;
	}
	/* A warning is of sizes and checksums that contradict each other, or of the name. */
	const char *raw = rc == ARCHIVE_WARN ? archive_entry_pathname(entry) : NULL;
	if (raw)
		thaw_archive_name_show(raw, run->shown);
	else
		snprintf(run->shown, sizeof(run->shown), "entry %u", run->entries + 1);
	run->entries += rc == ARCHIVE_WARN;
	if (rc != ARCHIVE_EOF)
		return run_reader(run, err);
	return run->entries ? 0 : run_empty(run, err);
}

/* --- all of it --- */

static int run_reader_open(struct archive_run *run)
{
	struct archive *reader = run->reader = archive_read_new();

	/* Only the central directory tells modes and links, so only the reader that seeks is there:
	 * bytes that are no ZIP archive reach no other parser. */
	if (!reader || archive_read_support_format_zip_seekable(reader) != ARCHIVE_OK ||
	    archive_read_set_read_callback(reader, source_read) != ARCHIVE_OK ||
	    archive_read_set_seek_callback(reader, source_seek) != ARCHIVE_OK ||
	    archive_read_set_callback_data(reader, &run->source) != ARCHIVE_OK)
		return -ENOMEM;
	return 0;
}

static int archive_size(const struct thaw_archive *archive, struct thaw_unpack *unpack,
			int64_t *size, struct thaw_error *err)
{
	struct stat st;

	unpack->fault = THAW_ARCHIVE_HOST;
	*size = (int64_t)archive->size;
	if (!archive->data) {
		if (fstat(archive->fd, &st) < 0)
			return thaw_error_errno(err, errno, "reading the archive");
		if (!S_ISREG(st.st_mode))
			return thaw_error_set(err, EINVAL, "the archive is not a regular file");
		*size = st.st_size;
	}
	if (*size > THAW_ARCHIVE_SIZE_MAX) {
		unpack->fault = THAW_ARCHIVE_PACKED_TOO_LARGE;
		return thaw_error_set(err, EFBIG, "it is larger than the %d bytes allowed",
				      THAW_ARCHIVE_SIZE_MAX);
	}
	return 0;
}

int thaw_archive_unpack(const struct thaw_archive *archive, int dir, struct thaw_unpack *unpack,
			struct thaw_error *err)
{
	int64_t size;
	int rc = archive_size(archive, unpack, &size, err);

	if (rc < 0)
		return rc;
	struct archive_run *run = calloc(1, sizeof(*run));
	/* The reader converts names into the character set of the locale. */
	locale_t names = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0), before = (locale_t)0;
	if (names)
		before = uselocale(names);
	if (run) {
		*run = (struct archive_run){.unpack = unpack, .root = dir};
		run->source.from = archive;
		run->source.size = size;
	}
	rc = run && names ? run_reader_open(run) : -ENOMEM;
	if (rc < 0)
		rc = thaw_error_errno(err, ENOMEM, "reading the archive");
	else if (source_empty(&run->source))
		rc = run_empty(run, err);
	else if (archive_read_open1(run->reader) != ARCHIVE_OK)
		rc = run_reader(run, err);
	else
		rc = run_entries(run, err);
	if (run)
		archive_read_free(run->reader);
	if (names) {
		uselocale(before);
		freelocale(names);
	}
	free(run);
	return rc;
}

int thaw_archive_sha256(const struct thaw_archive *archive, char text[THAW_DIGEST_BASE64],
			struct thaw_error *err)
{
	struct thaw_digest *digest = thaw_digest_new();
	int rc = 0;

	if (!digest)
		return thaw_error_errno(err, ENOMEM, "computing a checksum");
	if (archive->data)
		thaw_digest_add(digest, archive->data, archive->size);
	else
		rc = thaw_digest_add_file(digest, archive->fd, err);
	if (rc < 0)
		thaw_digest_finish(digest, NULL);
	else
		thaw_digest_finish_base64(digest, text);
	return rc;
}
