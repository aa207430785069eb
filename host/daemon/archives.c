/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/archives.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "host/api/body.h"
#include "host/daemon/service.h"
#include "lib/error.h"
#include "lib/fd.h"

#define FOLDER     "archives"
#define SUFFIX     ".zip"
#define NAME_SIZE  (THAW_DIGEST_TEXT + sizeof(SUFFIX))
#define DIGEST_HEX (THAW_DIGEST_TEXT - 1)
#define DIGEST_RAW (DIGEST_HEX / 2)

static bool digest_valid(const char *digest)
{
	return strspn(digest, "0123456789abcdef") == DIGEST_HEX && !digest[DIGEST_HEX];
}

static int archive_name(const char *digest, char name[NAME_SIZE], struct thaw_error *err)
{
	if (!digest_valid(digest))
		return thaw_error_set(err, EINVAL, "\"%.80s\" names no archive", digest);
	snprintf(name, NAME_SIZE, "%s" SUFFIX, digest);
	return 0;
}

/* The folder, made when it is missing. Who keeps an archive holds it locked shared, who removes
 * one exclusively: so nothing goes that was just found to be there. */
static int archives_folder(struct thaw_service *service, int lock, struct thaw_error *err)
{
	const struct thaw_state *state = &service->host.state;

	if (mkdirat(state->root, FOLDER, 0700) < 0 && errno != EEXIST)
		return thaw_error_errno(err, errno, "making \"%s/" FOLDER "\"", state->path);
	cleanup_close int fd =
		openat(state->root, FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return thaw_error_errno(err, errno, "opening \"%s/" FOLDER "\"", state->path);
	while (flock(fd, lock) < 0) {
		if (errno != EINTR)
			return thaw_error_errno(err, errno, "locking \"%s/" FOLDER "\"",
						state->path);
	}
	return thaw_fd_take(&fd);
}

/* Whole under another name first. */
static int archive_write(struct thaw_service *service, int folder, const char *name,
			 const void *data, size_t size, struct thaw_error *err)
{
	struct thaw_workdir work;

	int rc = thaw_workdir_make(&work, &service->host.state, err);
	if (rc < 0)
		return rc;
	cleanup_close int fd =
		openat(work.fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	rc = fd < 0 ? -errno : thaw_write_full(fd, data, size);
	if (rc == 0 &&
	    (fsync(fd) < 0 || renameat(work.fd, name, folder, name) < 0 || fsync(folder) < 0))
		rc = -errno;
	thaw_workdir_drop(&work);
	return rc < 0 ? thaw_error_errno(err, -rc, "keeping an archive of %zu bytes", size) : 0;
}

int thaw_archives_keep(struct thaw_service *service, const void *data, size_t size,
		       char digest[THAW_DIGEST_TEXT], struct thaw_error *err)
{
	struct thaw_digest *sum = thaw_digest_new();
	char name[NAME_SIZE];
	struct stat st;

	if (!sum)
		return thaw_error_errno(err, ENOMEM, "keeping an archive");
	thaw_digest_add(sum, data, size);
	thaw_digest_finish(sum, digest);
	int rc = archive_name(digest, name, err);
	if (rc < 0)
		return rc;
	cleanup_close int folder = archives_folder(service, LOCK_SH, err);
	if (folder < 0)
		return folder;
	/* Now is when it was kept, for who looks for what nobody needs. */
	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	    (size_t)st.st_size == size && utimensat(folder, name, NULL, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	return archive_write(service, folder, name, data, size, err);
}

int thaw_archives_open(struct thaw_service *service, const char *digest, int *fd,
		       struct thaw_error *err)
{
	char name[NAME_SIZE];

	int rc = archive_name(digest, name, err);
	if (rc < 0)
		return rc;
	/* No lock: what is open stays whole, also when its name goes. */
	cleanup_close int folder = archives_folder(service, LOCK_UN, err);
	if (folder < 0)
		return folder;
	int opened = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (opened < 0)
		return thaw_error_errno(err, errno, "opening archive %s", digest);
	*fd = opened;
	return 0;
}

static int64_t kept_ms(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
}

int thaw_archives_each(struct thaw_service *service,
		       int (*found)(void *opaque, const char *digest, uint64_t size,
				    int64_t kept_ms),
		       void *opaque, struct thaw_error *err)
{
	char digest[THAW_DIGEST_TEXT];
	struct stat st;
	int rc = 0;

	/* Not locked: `found` may want to. */
	int folder = archives_folder(service, LOCK_UN, err);
	if (folder < 0)
		return folder;
	DIR *stream = fdopendir(folder);
	if (!stream) {
		close(folder);
		return thaw_error_errno(err, ENOMEM, "listing archives");
	}
	struct dirent *entry;
	while (rc == 0 && (entry = readdir(stream))) {
		if (strlen(entry->d_name) != DIGEST_HEX + strlen(SUFFIX) ||
		    strcmp(entry->d_name + DIGEST_HEX, SUFFIX) != 0)
			continue;
		snprintf(digest, sizeof(digest), "%.*s", (int)DIGEST_HEX, entry->d_name);
		if (digest_valid(digest) &&
		    fstatat(folder, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			rc = found(opaque, digest, (uint64_t)st.st_size, kept_ms(&st));
	}
	closedir(stream);
	return rc;
}

int thaw_archives_remove(struct thaw_service *service, const char *digest, int64_t before_ms,
			 struct thaw_error *err)
{
	char name[NAME_SIZE];
	struct stat st;

	int rc = archive_name(digest, name, err);
	if (rc < 0)
		return rc;
	cleanup_close int folder = archives_folder(service, LOCK_EX, err);
	if (folder < 0)
		return folder;
	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return thaw_error_errno(err, errno, "archive %s", digest);
	if (kept_ms(&st) >= before_ms)
		return thaw_error_set(err, EBUSY, "archive %s was kept again", digest);
	if (unlinkat(folder, name, 0) < 0)
		return thaw_error_errno(err, errno, "removing archive %s", digest);
	return 0;
}

int thaw_archives_digest(const char *sha256, char digest[THAW_DIGEST_TEXT])
{
	cleanup_free uint8_t *raw = NULL;
	size_t size;

	int rc = thaw_base64_decode(sha256, strnlen(sha256, THAW_DIGEST_BASE64), &raw, &size);
	if (rc < 0)
		return rc;
	if (size != DIGEST_RAW)
		return -EINVAL;
	for (size_t i = 0; i < size; i++)
		snprintf(digest + 2 * i, 3, "%02x", raw[i]);
	return 0;
}

int thaw_archives_sha256(const char *digest, char sha256[THAW_DIGEST_BASE64])
{
	uint8_t raw[DIGEST_RAW];

	if (!digest_valid(digest))
		return -EINVAL;
	for (size_t i = 0; i < sizeof(raw); i++) {
		unsigned int byte;
		sscanf(digest + 2 * i, "%2x", &byte);
		raw[i] = (uint8_t)byte;
	}
	EVP_EncodeBlock((unsigned char *)sha256, raw, sizeof(raw));
	return 0;
}
