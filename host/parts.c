/* SPDX-License-Identifier: Apache-2.0 */
#include "host/parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/host.h"
#include "lib/error.h"
#include "lib/fd.h"

#define PARTS_FILE "parts"
#define SUBJECT    "the parts of this host"
#define SUMS_FILE  "parts.sha256"
#define SUMS_MAX   16384

/* What was computed when the parts were built, as sha256sum(1) writes it. */
struct sums {
	char *text; /* NULL: there are none */
	struct timespec made;
};

static void sums_read(struct sums *sums, int lib)
{
	cleanup_close int fd = openat(lib, SUMS_FILE, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	uint8_t *text;
	struct stat st;
	size_t size;

	*sums = (struct sums){.text = NULL};
	if (fd < 0 || fstat(fd, &st) < 0 || thaw_read_file(fd, SUMS_MAX, &text, &size, NULL) < 0)
		return;
	sums->text = (char *)text;
	sums->made = st.st_mtim;
}

/* False: the part is not in the list, or younger than it. */
static bool sums_find(const struct sums *sums, const char *name, const struct stat *st,
		      char digest[THAW_DIGEST_TEXT])
{
	const size_t size = THAW_DIGEST_TEXT - 1, length = strlen(name);

	if (!sums->text || st->st_mtim.tv_sec > sums->made.tv_sec ||
	    (st->st_mtim.tv_sec == sums->made.tv_sec && st->st_mtim.tv_nsec > sums->made.tv_nsec))
		return false;
	for (const char *line = sums->text; *line; line += *line == '\n') {
		const char *end = line + strcspn(line, "\n");
		if ((size_t)(end - line) == size + 2 + length &&
		    memcmp(line + size, "  ", 2) == 0 &&
		    memcmp(line + size + 2, name, length) == 0) {
			memcpy(digest, line, size);
			digest[size] = 0;
			return thaw_digest_valid(digest);
		}
		line = end;
	}
	return false;
}

static int list_add(struct thaw_seal *list, const struct thaw_host *host, int lib, const char *name,
		    const struct sums *sums, struct thaw_error *err)
{
	char digest[THAW_DIGEST_TEXT];
	struct stat st;

	cleanup_close int fd = openat(lib, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return thaw_error_errno(err, errno, "\"%s/%s\"", host->paths.lib, name);
	if (!S_ISREG(st.st_mode))
		return thaw_error_set(err, EINVAL, "\"%s/%s\" is not a regular file",
				      host->paths.lib, name);
	if (!sums_find(sums, name, &st, digest)) {
		int rc = thaw_digest_file_cached(&host->state, fd, digest, err);
		if (rc < 0)
			return thaw_error_wrap(err, "\"%s/%s\"", host->paths.lib, name);
	}
	return thaw_seal_add(list, name, (uint64_t)st.st_size, digest, err);
}

static int is_image(const struct dirent *entry)
{
	size_t size = strlen(entry->d_name);

	return size > 6 && strcmp(entry->d_name + size - 6, ".erofs") == 0 &&
	       entry->d_name[0] != '.';
}

static int list_add_images(struct thaw_seal *list, const struct thaw_host *host, int lib,
			   const struct sums *sums, struct thaw_error *err)
{
	char name[THAW_SEAL_FILE_NAME];
	struct dirent **entries;
	int rc = 0;

	int count = scandirat(lib, "images", &entries, is_image, alphasort);
	if (count < 0)
		return thaw_error_errno(err, errno, "\"%s/images\"", host->paths.lib);
	for (int i = 0; i < count; i++) {
		int size = snprintf(name, sizeof(name), "images/%s", entries[i]->d_name);
		/* What has no such name is the root of no runtime. */
		if (rc == 0 && size < (int)sizeof(name))
			rc = list_add(list, host, lib, name, sums, err);
		free(entries[i]);
	}
	free(entries);
	return rc;
}

static int list_make(struct thaw_seal *list, const struct thaw_host *host, bool read_all,
		     struct thaw_error *err)
{
	struct sums sums = {.text = NULL};

	*list = (struct thaw_seal){.subject = SUBJECT};
	cleanup_close int lib = open(host->paths.lib, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lib < 0)
		return thaw_error_errno(err, errno, "\"%s\"", host->paths.lib);
	if (!read_all)
		sums_read(&sums, lib);
	int rc = list_add(list, host, lib, THAW_PART_KERNEL, &sums, err);
	if (rc == 0)
		rc = list_add(list, host, lib, THAW_PART_INITRAMFS, &sums, err);
	if (rc == 0)
		rc = list_add_images(list, host, lib, &sums, err);
	free(sums.text);
	return rc;
}

/* With `first` one that another command has just made stays, as it is the host's set-up. */
static int list_write(const struct thaw_seal *list, const struct thaw_host *host, bool first,
		      struct thaw_error *err)
{
	struct thaw_workdir work;

	int rc = thaw_workdir_make(&work, &host->state, err);
	if (rc < 0)
		return rc;
	rc = thaw_seal_write(list, work.fd, PARTS_FILE, host->state.key, err);
	if (rc == 0 &&
	    renameat2(work.fd, PARTS_FILE, host->state.root, PARTS_FILE,
		      first ? RENAME_NOREPLACE : 0) < 0 &&
	    !(first && errno == EEXIST))
		rc = thaw_error_errno(err, errno, "keeping the list of this host's parts");
	thaw_workdir_drop(&work);
	return rc;
}

static int list_read(const struct thaw_host *host, struct thaw_seal *list, struct thaw_error *err)
{
	int rc = thaw_seal_read(host->state.root, PARTS_FILE, host->state.key, SUBJECT, list, err);

	if (rc != -ENOENT)
		return rc;
	rc = list_make(list, host, false, err);
	if (rc == 0)
		rc = list_write(list, host, true, err);
	if (rc < 0)
		return rc;
	return thaw_seal_read(host->state.root, PARTS_FILE, host->state.key, SUBJECT, list, err);
}

int thaw_parts_check(const struct thaw_host *host, const char *name, int fd, struct thaw_error *err)
{
	char digest[THAW_DIGEST_TEXT];
	struct thaw_seal list;

	if (!host->state.key)
		return thaw_error_set(err, EKEYREJECTED,
				      "this host's key \"%s/host.key\" is missing: restore it, or "
				      "start thawd, which makes one where no account needs the old",
				      host->state.path);
	int rc = list_read(host, &list, err);
	if (rc < 0 && rc != -EKEYREJECTED)
		return thaw_error_wrap(err, "the parts of this host");
	if (rc == 0)
		rc = thaw_digest_file_cached(&host->state, fd, digest, err);
	if (rc < 0 && rc != -EKEYREJECTED)
		return thaw_error_wrap(err, "\"%s/%s\"", host->paths.lib, name);
	const struct thaw_seal_file *file = rc == 0 ? thaw_seal_find(&list, name) : NULL;
	if (file && strcmp(file->digest, digest) == 0)
		return 0;
	return thaw_error_set(err, EKEYREJECTED,
			      "\"%s/%s\" is not one that this host has imported: if you have put "
			      "it there, \"thaw trust\" imports it",
			      host->paths.lib, name);
}

int thaw_parts_check_image(const struct thaw_host *host, const char *runtime, int fd,
			   struct thaw_error *err)
{
	char name[THAW_SEAL_FILE_NAME];

	snprintf(name, sizeof(name), "images/%.32s.erofs", runtime);
	return thaw_parts_check(host, name, fd, err);
}

int thaw_parts_import(const struct thaw_host *host, struct thaw_seal *list, struct thaw_error *err)
{
	struct thaw_seal made;

	int rc = list_make(&made, host, true, err);
	if (rc == 0)
		rc = list_write(&made, host, false, err);
	if (rc == 0 && list)
		*list = made;
	return rc < 0 ? thaw_error_wrap(err, "importing the parts of this host") : 0;
}
