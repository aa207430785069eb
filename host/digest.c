/* SPDX-License-Identifier: Apache-2.0 */
#include "host/digest.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "host/keyring.h"
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

/* --- notes --- */

/*
 * A file has one note, whatever becomes of it: a link more or less to a drive changes its ctime,
 * and there may be very many. Its name is where the file is, its text which state of it was read,
 * the checksum, and an HMAC of all that: only who has the host's key can write one.
 *
 * Nobody but root can give a file back the ctime that it had, so who changes a file makes its note
 * worthless. Time has steps, though (of a timer's tick): what is written within the step of the
 * last change does not show. So a note is only made of a file whose last step is over.
 */
#define NOTE_NAME    64
#define NOTE_STATE   128
#define NOTE_TEXT    (NOTE_STATE + 2 * THAW_DIGEST_TEXT)
#define NOTE_PURPOSE "thaw digest note 1"
#define SETTLE_NS    2000000
#define SETTLE_TRIES 50

static void digest_note(const struct stat *st, bool sparse, char name[NOTE_NAME],
			char text[NOTE_STATE])
{
	snprintf(name, NOTE_NAME, "%s%llx-%llx", sparse ? "s-" : "", (unsigned long long)st->st_dev,
		 (unsigned long long)st->st_ino);
	snprintf(text, NOTE_STATE, "%llx-%llx.%09lx-%llx.%09lx ", (unsigned long long)st->st_size,
		 (unsigned long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
		 (unsigned long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
}

/* Behind "SIZE-MTIME-CTIME SHA256" the HMAC of it and of the note's name. */
static bool note_mac(const struct thaw_keyring *key, const char *name, const char *text,
		     size_t size, char hex[THAW_DIGEST_TEXT])
{
	char all[NOTE_NAME + NOTE_TEXT];
	uint8_t mac[THAW_MAC_SIZE];

	int used = snprintf(all, sizeof(all), "%s %.*s", name, (int)size, text);
	if (thaw_keyring_mac(key, NOTE_PURPOSE, all, (size_t)used, mac, NULL) < 0)
		return false;
	for (size_t i = 0; i < THAW_MAC_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", mac[i]);
	return true;
}

static bool note_read(const struct thaw_state *state, const char *name, const char *wanted,
		      char text[THAW_DIGEST_TEXT])
{
	char note[NOTE_TEXT], hex[THAW_DIGEST_TEXT];
	const size_t used = strlen(wanted), size = used + THAW_DIGEST_TEXT - 1;

	/* A symbolic link holds its text in its inode, and is made and read in one call. */
	ssize_t n = readlinkat(state->digests, name, note, sizeof(note) - 1);
	note[n > 0 ? n : 0] = 0;
	if ((size_t)(n > 0 ? n : 0) != size + THAW_DIGEST_TEXT || note[size] != ' ' ||
	    strncmp(note, wanted, used) != 0 || !note_mac(state->key, name, note, size, hex) ||
	    CRYPTO_memcmp(note + size + 1, hex, THAW_DIGEST_TEXT - 1) != 0)
		return false;
	memcpy(text, note + used, THAW_DIGEST_TEXT - 1);
	text[THAW_DIGEST_TEXT - 1] = 0;
	return thaw_digest_valid(text);
}

static void note_write(const struct thaw_state *state, const char *name, const char *wanted,
		       const char *text)
{
	char note[NOTE_TEXT], hex[THAW_DIGEST_TEXT];
	int size = snprintf(note, sizeof(note), "%s%s", wanted, text);

	if (!note_mac(state->key, name, note, (size_t)size, hex))
		return;
	snprintf(note + size, sizeof(note) - (size_t)size, " %s", hex);
	/* Only a cache: it does not matter who wins, nor whether it works. */
	(void)!unlinkat(state->digests, name, 0);
	(void)!symlinkat(note, state->digests, name);
}

static bool time_after(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

bool thaw_digest_settle(int fd)
{
	const struct timespec step = {.tv_nsec = SETTLE_NS};
	struct timespec now;
	struct stat st;

	for (unsigned int i = 0; i < SETTLE_TRIES; i++) {
		/* The clock that the kernel dates changes by. */
		if (fstat(fd, &st) < 0 || clock_gettime(CLOCK_REALTIME_COARSE, &now) < 0)
			return false;
		if (time_after(&now, &st.st_ctim))
			return true;
		nanosleep(&step, NULL);
	}
	return false; /* its times are of the future */
}

static int digest_cached(const struct thaw_state *state, int fd, bool sparse,
			 char text[THAW_DIGEST_TEXT], struct thaw_error *err)
{
	struct stat st;
	char name[NOTE_NAME], wanted[NOTE_STATE], after[NOTE_STATE];

	if (!state->key)
		return digest_compute(fd, sparse, text, err);
	if (fstat(fd, &st) < 0)
		return thaw_error_errno(err, errno, "looking at a file");
	digest_note(&st, sparse, name, wanted);
	if (note_read(state, name, wanted, text))
		return 0;
	bool settled = thaw_digest_settle(fd);
	int rc = digest_compute(fd, sparse, text, err);
	if (rc < 0)
		return rc;
	/* The file may have changed while it was read: then the note would be false. */
	if (settled && fstat(fd, &st) == 0) {
		digest_note(&st, sparse, name, after);
		if (strcmp(wanted, after) == 0)
			note_write(state, name, wanted, text);
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
