/* SPDX-License-Identifier: Apache-2.0 */
#include "host/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/state.h"
#include "lib/error.h"
#include "lib/fd.h"

#define DIGEST_READ (256u << 10)

struct thaw_digest {
	EVP_MD_CTX *context;
};

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

int thaw_digest_add_file(struct thaw_digest *digest, int fd, struct thaw_error *err)
{
	cleanup_free uint8_t *buffer = malloc(DIGEST_READ);
	off_t at = 0;

	if (!buffer)
		return thaw_error_errno(err, ENOMEM, "computing a checksum");
	for (;;) {
		ssize_t n = pread(fd, buffer, DIGEST_READ, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return thaw_error_errno(err, errno, "computing a checksum");
		if (n == 0)
			return 0;
		thaw_digest_add(digest, buffer, (size_t)n);
		at += n;
	}
}

int thaw_digest_file(int fd, char text[THAW_DIGEST_TEXT], struct thaw_error *err)
{
	struct thaw_digest *digest = thaw_digest_new();

	if (!digest)
		return thaw_error_errno(err, ENOMEM, "computing a checksum");
	int rc = thaw_digest_add_file(digest, fd, err);
	thaw_digest_finish(digest, rc == 0 ? text : NULL);
	return rc;
}

static int digest_text_valid(const char *text)
{
	return strlen(text) == THAW_DIGEST_TEXT - 1 &&
	       strspn(text, "0123456789abcdef") == THAW_DIGEST_TEXT - 1;
}

int thaw_digest_file_cached(const struct thaw_state *state, int fd, char text[THAW_DIGEST_TEXT],
			    struct thaw_error *err)
{
	struct stat st;
	char name[160];

	if (fstat(fd, &st) < 0)
		return thaw_error_errno(err, errno, "looking at a file");
	snprintf(name, sizeof(name), "%llx-%llx-%llx-%llx.%09lx-%llx.%09lx",
		 (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
		 (unsigned long long)st.st_size, (unsigned long long)st.st_mtim.tv_sec,
		 st.st_mtim.tv_nsec, (unsigned long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);

	/* A symbolic link holds its text in its inode, and is made and read in one call. */
	ssize_t n = readlinkat(state->digests, name, text, THAW_DIGEST_TEXT);
	if (n == THAW_DIGEST_TEXT - 1) {
		text[n] = 0;
		if (digest_text_valid(text))
			return 0;
	}
	int rc = thaw_digest_file(fd, text, err);
	if (rc < 0)
		return rc;
	/* The file may have changed while it was read: then the note would be false. */
	struct stat after;
	if (fstat(fd, &after) == 0 && after.st_mtim.tv_sec == st.st_mtim.tv_sec &&
	    after.st_mtim.tv_nsec == st.st_mtim.tv_nsec && after.st_size == st.st_size)
		(void)!symlinkat(text, state->digests, name); /* only a cache */
	return 0;
}
