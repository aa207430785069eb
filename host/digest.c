/* SPDX-License-Identifier: Apache-2.0 */
#include "host/digest.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/state.h"
#include "lib/error.h"
#include "lib/fd.h"

#define DIGEST_READ  (256 << 10) /* a multiple of DIGEST_BLOCK */
#define DIGEST_BLOCK 4096

struct thaw_digest {
	EVP_MD_CTX *context;
};

bool thaw_digest_valid(const char *text)
{
	return strspn(text, "0123456789abcdef") == THAW_DIGEST_TEXT - 1 &&
	       !text[THAW_DIGEST_TEXT - 1];
}

struct thaw_digest *thaw_digest_new(void)
{
	struct thaw_digest *digest = calloc(1, sizeof(*digest));

	if (!digest)
		return NULL;
	digest->context = EVP_MD_CTX_new();
	if (!digest->context || !EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL)) {
		thaw_digest_finish(digest, NULL);
		return NULL;
	}
	return digest;
}

void thaw_digest_add(struct thaw_digest *digest, const void *data, size_t size)
{
	EVP_DigestUpdate(digest->context, data, size);
}

void thaw_digest_finish(struct thaw_digest *digest, char text[THAW_DIGEST_TEXT])
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned int size = 0;

	if (text) {
		EVP_DigestFinal_ex(digest->context, raw, &size);
		for (unsigned int i = 0; i < 32; i++)
			snprintf(text + 2 * i, 3, "%02x", raw[i]);
	}
	EVP_MD_CTX_free(digest->context);
	free(digest);
}

void thaw_digest_finish_base64(struct thaw_digest *digest, char text[THAW_DIGEST_BASE64])
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned int size = 0;

	EVP_DigestFinal_ex(digest->context, raw, &size);
	EVP_EncodeBlock((unsigned char *)text, raw, 32);
	thaw_digest_finish(digest, NULL);
}

/* Reads a range of a file and hands it on in pieces of at most DIGEST_READ bytes; all but the last
 * piece of a file are whole blocks when `at` is at the beginning of one. */
static int digest_range(int fd, off_t at, off_t end, uint8_t *buffer,
			void (*piece)(struct thaw_digest *digest, off_t at, uint8_t *data,
				      size_t size),
			struct thaw_digest *digest)
{
	while (at < end) {
		size_t size = end - at < DIGEST_READ ? (size_t)(end - at) : DIGEST_READ;
		int rc = thaw_pread_full(fd, buffer, size, at);
		if (rc < 0)
			return rc;
		piece(digest, at, buffer, size);
		at += (off_t)size;
	}
	return 0;
}

static void digest_all(struct thaw_digest *digest, off_t at, uint8_t *data, size_t size)
{
	(void)at;
	thaw_digest_add(digest, data, size);
}

int thaw_digest_add_file(struct thaw_digest *digest, int fd, struct thaw_error *err)
{
	cleanup_free uint8_t *buffer = malloc(DIGEST_READ);
	struct stat st;
	int rc = buffer ? 0 : -ENOMEM;

	if (rc == 0 && fstat(fd, &st) < 0)
		rc = -errno;
	if (rc == 0)
		rc = digest_range(fd, 0, st.st_size, buffer, digest_all, digest);
	return rc < 0 ? thaw_error_errno(err, -rc, "computing a checksum") : 0;
}

/* The buffer has room for the rest of the last block. */
static void digest_blocks(struct thaw_digest *digest, off_t at, uint8_t *data, size_t size)
{
	static const uint8_t zeros[DIGEST_BLOCK];

	memset(data + size, 0, -size % DIGEST_BLOCK);
	for (size_t i = 0; i < size; i += DIGEST_BLOCK) {
		uint64_t place = htole64((uint64_t)at + i);
		if (memcmp(data + i, zeros, DIGEST_BLOCK) == 0)
			continue;
		thaw_digest_add(digest, &place, sizeof(place));
		thaw_digest_add(digest, data + i, DIGEST_BLOCK);
	}
}

static int digest_data(int fd, off_t size, uint8_t *buffer, struct thaw_digest *digest)
{
	uint64_t total = htole64((uint64_t)size);
	off_t at = 0;
	int rc = 0;

	thaw_digest_add(digest, &total, sizeof(total));
	while (rc == 0 && at < size) {
		at = lseek(fd, at, SEEK_DATA);
		if (at < 0 && errno == ENXIO)
			return 0; /* a hole up to the end */
		off_t end = at < 0 ? -1 : lseek(fd, at, SEEK_HOLE);
		if (end < 0)
			return -errno;
		/* Holes of finer grain than our blocks are zeros. */
		at -= at % DIGEST_BLOCK;
		end = (end + DIGEST_BLOCK - 1) / DIGEST_BLOCK * DIGEST_BLOCK;
		end = end < size ? end : size;
		rc = digest_range(fd, at, end, buffer, digest_blocks, digest);
		at = end;
	}
	return rc;
}

static int digest_compute(int fd, bool sparse, char text[THAW_DIGEST_TEXT], struct thaw_error *err)
{
	cleanup_free uint8_t *buffer = malloc(DIGEST_READ);
	struct thaw_digest *digest = thaw_digest_new();
	struct stat st;
	int rc = 0;

	if (!buffer || !digest)
		rc = -ENOMEM;
	else if (fstat(fd, &st) < 0)
		rc = -errno;
	else if (sparse)
		rc = digest_data(fd, st.st_size, buffer, digest);
	else
		rc = digest_range(fd, 0, st.st_size, buffer, digest_all, digest);
	if (digest)
		thaw_digest_finish(digest, rc == 0 ? text : NULL);
	return rc < 0 ? thaw_error_errno(err, -rc, "computing a checksum") : 0;
}

int thaw_digest_file(int fd, char text[THAW_DIGEST_TEXT], struct thaw_error *err)
{
	return digest_compute(fd, false, text, err);
}

int thaw_digest_sparse(int fd, char text[THAW_DIGEST_TEXT], struct thaw_error *err)
{
	return digest_compute(fd, true, text, err);
}

/* A file has one note, whatever becomes of it: a link more or less to a drive changes its ctime,
 * and there may be very many. Its name is where the file is, its text which state of it was read.
 */
#define NOTE_NAME  64
#define NOTE_STATE 128

static void digest_note(const struct stat *st, bool sparse, char name[NOTE_NAME],
			char text[NOTE_STATE])
{
	snprintf(name, NOTE_NAME, "%s%llx-%llx", sparse ? "s-" : "", (unsigned long long)st->st_dev,
		 (unsigned long long)st->st_ino);
	snprintf(text, NOTE_STATE, "%llx-%llx.%09lx-%llx.%09lx ", (unsigned long long)st->st_size,
		 (unsigned long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
		 (unsigned long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
}

static int digest_cached(const struct thaw_state *state, int fd, bool sparse,
			 char text[THAW_DIGEST_TEXT], struct thaw_error *err)
{
	struct stat st;
	char name[NOTE_NAME], wanted[NOTE_STATE], note[NOTE_STATE + THAW_DIGEST_TEXT];

	if (fstat(fd, &st) < 0)
		return thaw_error_errno(err, errno, "looking at a file");
	digest_note(&st, sparse, name, wanted);
	size_t used = strlen(wanted);

	/* A symbolic link holds its text in its inode, and is made and read in one call. */
	ssize_t n = readlinkat(state->digests, name, note, sizeof(note) - 1);
	note[n > 0 ? n : 0] = 0;
	if (strncmp(note, wanted, used) == 0 && thaw_digest_valid(note + used)) {
		strcpy(text, note + used);
		return 0;
	}
	int rc = digest_compute(fd, sparse, text, err);
	if (rc < 0)
		return rc;
	/* The file may have changed while it was read: then the note would be false. */
	struct stat after;
	if (fstat(fd, &after) == 0 && after.st_mtim.tv_sec == st.st_mtim.tv_sec &&
	    after.st_mtim.tv_nsec == st.st_mtim.tv_nsec && after.st_size == st.st_size) {
		/* Only a cache: it does not matter who wins, nor whether it works. */
		snprintf(note, sizeof(note), "%s%s", wanted, text);
		(void)!unlinkat(state->digests, name, 0);
		(void)!symlinkat(note, state->digests, name);
	}
	return 0;
}

int thaw_digest_file_cached(const struct thaw_state *state, int fd, char text[THAW_DIGEST_TEXT],
			    struct thaw_error *err)
{
	return digest_cached(state, fd, false, text, err);
}

int thaw_digest_sparse_cached(const struct thaw_state *state, int fd, char text[THAW_DIGEST_TEXT],
			      struct thaw_error *err)
{
	return digest_cached(state, fd, true, text, err);
}
