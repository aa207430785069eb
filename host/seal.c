/* SPDX-License-Identifier: Apache-2.0 */
#include "host/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/keyring.h"
#include "lib/error.h"
#include "lib/fd.h"

#define PURPOSE   "thaw seal 1"
#define MAGIC     "thaw-seal 1\n"
#define LAST      "hmac "
#define LAST_SIZE (sizeof(LAST) - 1 + 2 * THAW_MAC_SIZE + 1)

/* --- the list --- */

static bool name_valid(const char *name)
{
	size_t size = strnlen(name, THAW_SEAL_FILE_NAME);

	return size > 0 && size < THAW_SEAL_FILE_NAME &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./") ==
		       size;
}

static bool subject_valid(const char *subject)
{
	size_t size = strnlen(subject, THAW_SEAL_SUBJECT);

	for (size_t i = 0; i < size; i++) {
		if (subject[i] < ' ' || subject[i] > '~')
			return false;
	}
	return size > 0 && size < THAW_SEAL_SUBJECT;
}

const struct thaw_seal_file *thaw_seal_find(const struct thaw_seal *seal, const char *name)
{
	for (size_t i = 0; i < seal->count; i++) {
		if (strcmp(seal->file[i].name, name) == 0)
			return &seal->file[i];
	}
	return NULL;
}

int thaw_seal_add(struct thaw_seal *seal, const char *name, uint64_t size, const char *digest,
		  struct thaw_error *err)
{
	struct thaw_seal_file *file = (struct thaw_seal_file *)thaw_seal_find(seal, name);

	if (!name_valid(name) || !thaw_digest_valid(digest))
		return thaw_error_set(err, EINVAL, "\"%s\" cannot be sealed", name);
	if (!file && seal->count == THAW_SEAL_FILES_MAX)
		return thaw_error_set(err, E2BIG, "more than %d files to seal",
				      THAW_SEAL_FILES_MAX);
	if (!file)
		file = &seal->file[seal->count++];
	strcpy(file->name, name);
	file->size = size;
	strcpy(file->digest, digest);
	return 0;
}

int thaw_seal_add_file(struct thaw_seal *seal, const char *name, int fd, struct thaw_error *err)
{
	char digest[THAW_DIGEST_TEXT];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return thaw_error_errno(err, errno, "\"%s\"", name);
	int rc = thaw_digest_file(fd, digest, err);
	if (rc < 0)
		return thaw_error_wrap(err, "\"%s\"", name);
	return thaw_seal_add(seal, name, (uint64_t)st.st_size, digest, err);
}

void thaw_seal_drop(struct thaw_seal *seal, const char *name)
{
	const struct thaw_seal_file *file = thaw_seal_find(seal, name);

	if (!file)
		return;
	size_t at = (size_t)(file - seal->file);
	memmove(&seal->file[at], &seal->file[at + 1], (--seal->count - at) * sizeof(seal->file[0]));
}

/* --- against the files --- */

static int check_digest(const struct thaw_seal *seal, const char *name, uint64_t size,
			const char *digest, struct thaw_error *err)
{
	const struct thaw_seal_file *file = thaw_seal_find(seal, name);

	if (!file)
		return thaw_error_set(err, EKEYREJECTED, "\"%s\" is not among its files", name);
	if (file->size != size || strcmp(file->digest, digest) != 0)
		return thaw_error_set(err, EKEYREJECTED, "\"%s\" is not the file that it had",
				      name);
	return 0;
}

int thaw_seal_check(const struct thaw_seal *seal, const char *name, int fd, struct thaw_error *err)
{
	const struct thaw_seal_file *file = thaw_seal_find(seal, name);
	char digest[THAW_DIGEST_TEXT] = "";
	struct stat st;

	if (fstat(fd, &st) < 0)
		return thaw_error_errno(err, errno, "\"%s\"", name);
	/* What has another size need not be read, however large. */
	if (file && file->size == (uint64_t)st.st_size) {
		int rc = thaw_digest_file(fd, digest, err);
		if (rc < 0)
			return thaw_error_wrap(err, "\"%s\"", name);
	}
	return check_digest(seal, name, (uint64_t)st.st_size, digest, err);
}

int thaw_seal_check_bytes(const struct thaw_seal *seal, const char *name, const void *data,
			  size_t size, struct thaw_error *err)
{
	struct thaw_digest *digest = thaw_digest_new();
	char text[THAW_DIGEST_TEXT];

	if (!digest)
		return thaw_error_errno(err, ENOMEM, "\"%s\"", name);
	thaw_digest_add(digest, data, size);
	thaw_digest_finish(digest, text);
	return check_digest(seal, name, size, text, err);
}

int thaw_seal_check_owner(int fd, const char *name, struct thaw_error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return thaw_error_errno(err, errno, "\"%s\"", name);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return thaw_error_set(err, EKEYREJECTED, "\"%s\" belongs to user %u", name,
				      st.st_uid);
	if (st.st_mode & 022)
		return thaw_error_set(err, EKEYREJECTED,
				      "\"%s\" may be written to by others (mode %04o)", name,
				      st.st_mode & 07777);
	return 0;
}

/* --- the text --- */

static int seal_mac(const struct thaw_keyring *key, const char *text, size_t size,
		    char hex[2 * THAW_MAC_SIZE + 1], struct thaw_error *err)
{
	uint8_t mac[THAW_MAC_SIZE];

	int rc = thaw_keyring_mac(key, PURPOSE, text, size, mac, err);
	for (size_t i = 0; rc == 0 && i < THAW_MAC_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", mac[i]);
	return rc;
}

static size_t format_line(char *text, size_t room, const char *name, uint64_t size,
			  const char *digest)
{
	return (size_t)snprintf(text, room, "file %s %" PRIu64 " %s", name, size, digest);
}

char *thaw_seal_format(const struct thaw_seal *seal, const struct thaw_keyring *key)
{
	char hex[2 * THAW_MAC_SIZE + 1];
	cleanup_free char *text = malloc(THAW_SEAL_TEXT_MAX);

	if (!text || !subject_valid(seal->subject))
		return NULL;
	size_t used = (size_t)snprintf(text, THAW_SEAL_TEXT_MAX, MAGIC "of %s\n", seal->subject);
	for (size_t i = 0; i < seal->count && used + 1 < THAW_SEAL_TEXT_MAX; i++) {
		const struct thaw_seal_file *file = &seal->file[i];
		used += format_line(text + used, THAW_SEAL_TEXT_MAX - used, file->name, file->size,
				    file->digest);
		if (used + 1 < THAW_SEAL_TEXT_MAX)
			text[used++] = '\n';
	}
	if (used + LAST_SIZE >= THAW_SEAL_TEXT_MAX || seal_mac(key, text, used, hex, NULL) < 0)
		return NULL;
	snprintf(text + used, THAW_SEAL_TEXT_MAX - used, LAST "%s\n", hex);
	char *taken = text;
	text = NULL;
	return taken;
}

/* One line without its newline, which it must have; false: there is none. */
static bool take_line(const char **at, const char *end, char *line, size_t room)
{
	const char *newline = memchr(*at, '\n', (size_t)(end - *at));

	if (!newline || (size_t)(newline - *at) >= room || memchr(*at, 0, (size_t)(newline - *at)))
		return false;
	memcpy(line, *at, (size_t)(newline - *at));
	line[newline - *at] = 0;
	*at = newline + 1;
	return true;
}

/* Written by us, as the HMAC says; but perhaps by another version. */
static bool parse_lines(const char *at, const char *end, struct thaw_seal *seal)
{
	char line[256], again[256], name[THAW_SEAL_FILE_NAME], digest[THAW_DIGEST_TEXT];
	uint64_t size;

	if (!take_line(&at, end, line, sizeof(line)) || strcmp(line, "thaw-seal 1") != 0 ||
	    !take_line(&at, end, line, sizeof(line)) || strncmp(line, "of ", 3) != 0 ||
	    !subject_valid(line + 3))
		return false;
	strcpy(seal->subject, line + 3);
	while (at < end) {
		if (!take_line(&at, end, line, sizeof(line)) ||
		    sscanf(line, "file %63s %" SCNu64 " %64s", name, &size, digest) != 3)
			return false;
		/* Numbers have one form: what is read here is what was written. */
		format_line(again, sizeof(again), name, size, digest);
		if (strcmp(line, again) != 0 || thaw_seal_find(seal, name) ||
		    thaw_seal_add(seal, name, size, digest, NULL) < 0)
			return false;
	}
	return true;
}

int thaw_seal_parse(const char *text, size_t size, const struct thaw_keyring *key,
		    const char *subject, struct thaw_seal *seal, struct thaw_error *err)
{
	char hex[2 * THAW_MAC_SIZE + 1];

	*seal = (struct thaw_seal){.count = 0};
	if (size <= LAST_SIZE || size > THAW_SEAL_TEXT_MAX ||
	    memcmp(text + size - LAST_SIZE, LAST, sizeof(LAST) - 1) != 0 || text[size - 1] != '\n')
		return thaw_error_set(err, EKEYREJECTED, "its seal is damaged");
	size_t sealed = size - LAST_SIZE;
	int rc = seal_mac(key, text, sealed, hex, err);
	if (rc < 0)
		return rc;
	if (CRYPTO_memcmp(text + sealed + sizeof(LAST) - 1, hex, 2 * THAW_MAC_SIZE) != 0)
		return thaw_error_set(err, EKEYREJECTED,
				      "its seal is of another host or key, or was changed");
	if (!parse_lines(text, text + sealed, seal)) {
		seal->count = 0;
		return thaw_error_set(err, EKEYREJECTED, "its seal is of another version of Thaw");
	}
	if (strcmp(seal->subject, subject) != 0) {
		seal->count = 0;
		return thaw_error_set(err, EKEYREJECTED, "its seal is that of %s", seal->subject);
	}
	return 0;
}

/* --- in a file --- */

int thaw_seal_read(int dir, const char *name, const struct thaw_keyring *key, const char *subject,
		   struct thaw_seal *seal, struct thaw_error *err)
{
	cleanup_free uint8_t *text = NULL;
	size_t size;

	*seal = (struct thaw_seal){.count = 0};
	cleanup_close int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return thaw_error_set(err, ENOENT, "it has no seal");
	if (fd < 0)
		return thaw_error_errno(err, errno == ELOOP ? EKEYREJECTED : errno, "its seal");
	if (!key)
		return thaw_error_set(err, EKEYREJECTED, "this host's key is missing");
	int rc = thaw_read_file(fd, THAW_SEAL_TEXT_MAX, &text, &size, err);
	if (rc == -EFBIG || rc == -EINVAL || rc == -ENODATA)
		return thaw_error_set(err, EKEYREJECTED, "its seal is damaged");
	if (rc < 0)
		return thaw_error_wrap(err, "its seal");
	return thaw_seal_parse((const char *)text, size, key, subject, seal, err);
}

int thaw_seal_write(const struct thaw_seal *seal, int dir, const char *name,
		    const struct thaw_keyring *key, struct thaw_error *err)
{
	cleanup_free char *text = NULL;

	if (!key)
		return thaw_error_set(err, EKEYREJECTED, "this host's key is missing");
	text = thaw_seal_format(seal, key);
	if (!text)
		return thaw_error_errno(err, ENOMEM, "sealing");
	cleanup_close int fd =
		openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc = fd < 0 ? -errno : thaw_write_full(fd, text, strlen(text));
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	return rc < 0 ? thaw_error_errno(err, -rc, "sealing") : 0;
}
