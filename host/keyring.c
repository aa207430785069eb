/* SPDX-License-Identifier: Apache-2.0 */
#include "host/keyring.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "lib/error.h"
#include "lib/fd.h"

#define KEY_SIZE   32
#define NONCE_SIZE 12
#define TAG_SIZE   16
#define FORMAT     1

#define NEW_FILE THAW_KEYRING_FILE ".new"

struct thaw_keyring {
	uint8_t key[KEY_SIZE];
};

static int random_bytes(void *to, size_t size, struct thaw_error *err)
{
	/* At most 256 bytes come whole or, before the kernel has seeded itself, late. */
	for (;;) {
		ssize_t n = getrandom(to, size, 0);
		if (n == (ssize_t)size)
			return 0;
		if (n >= 0 || errno != EINTR)
			return thaw_error_errno(err, EIO, "getting random bytes");
	}
}

/* The file, if it is one that only its owner can have read or written. */
static int key_read(int dir, uint8_t key[KEY_SIZE], struct thaw_error *err)
{
	struct stat st;

	/* Nothing may block on a pipe that took the file's place. */
	cleanup_close int fd = openat(dir, THAW_KEYRING_FILE,
				      O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == ELOOP)
		return thaw_error_set(err, ELOOP, "it is a symbolic link");
	if (fd < 0 || fstat(fd, &st) < 0)
		return thaw_error_errno(err, errno, "reading it");
	if (!S_ISREG(st.st_mode) || st.st_nlink > 1)
		return thaw_error_set(err, ELOOP, "it is %s",
				      S_ISREG(st.st_mode) ? "known by another name too"
							  : "not a file");
	if (st.st_uid != geteuid())
		return thaw_error_set(err, EPERM, "it belongs to user %u", st.st_uid);
	if (st.st_mode & 077)
		return thaw_error_set(err, EPERM,
				      "others may read or write it (mode %04o, not 0600)",
				      st.st_mode & 07777);
	if (st.st_size != KEY_SIZE)
		return thaw_error_set(err, EINVAL, "it has %lld bytes, not %d",
				      (long long)st.st_size, KEY_SIZE);
	int rc = thaw_pread_full(fd, key, KEY_SIZE, 0);
	return rc < 0 ? thaw_error_errno(err, -rc, "reading it") : 0;
}

static int key_write(int dir, int fd, struct thaw_error *err)
{
	uint8_t key[KEY_SIZE];

	int rc = random_bytes(key, sizeof(key), err);
	if (rc < 0)
		return rc;
	/* Empty, and 0600 whatever the umask is: a killed maker may have left it. */
	rc = ftruncate(fd, 0) < 0 || fchmod(fd, 0600) < 0 ? -errno : 0;
	if (rc == 0)
		rc = thaw_pwrite_full(fd, key, sizeof(key), 0);
	OPENSSL_cleanse(key, sizeof(key));
	if (rc == 0 && (fsync(fd) < 0 || renameat(dir, NEW_FILE, dir, THAW_KEYRING_FILE) < 0 ||
			fsync(dir) < 0))
		rc = -errno;
	return rc < 0 ? thaw_error_errno(err, -rc, "writing it") : 0;
}

/*
 * Makes it under another name until it is whole and on the disk. Who holds that file locked makes
 * it; whoever waited finds the key there. 1: the file under the lock is not the one of that name
 * any more, and all is to be done again.
 */
static int key_make(int dir, struct thaw_error *err)
{
	struct stat st, mine;

	cleanup_close int fd =
		openat(dir, NEW_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd < 0)
		return thaw_error_errno(err, errno, "making it");
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return thaw_error_errno(err, errno, "making it");
	if (fstatat(dir, THAW_KEYRING_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		unlinkat(dir, NEW_FILE, 0); /* whosever: nobody needs it now */
		return 0;
	}
	if (fstat(fd, &mine) < 0 || !S_ISREG(mine.st_mode))
		return thaw_error_set(err, ELOOP, "making it: " NEW_FILE " is not a file");
	if (fstatat(dir, NEW_FILE, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != mine.st_ino)
		return 1;
	int rc = key_write(dir, fd, err);
	if (rc < 0)
		unlinkat(dir, NEW_FILE, 0);
	return rc;
}

int thaw_keyring_open(struct thaw_keyring **keyring, int dir, bool make, struct thaw_error *err)
{
	struct thaw_keyring *made = OPENSSL_zalloc(sizeof(*made));

	if (!made)
		return thaw_error_errno(err, ENOMEM, "the host's key");
	int rc = key_read(dir, made->key, err);
	if (rc == -ENOENT && make) {
		do {
			rc = key_make(dir, err);
		} while (rc > 0);
		if (rc == 0)
			rc = key_read(dir, made->key, err);
	}
	if (rc < 0) {
		thaw_keyring_close(made);
		thaw_error_wrap(err, "the host's key (" THAW_KEYRING_FILE ")");
		return rc;
	}
	*keyring = made;
	return 0;
}

void thaw_keyring_close(struct thaw_keyring *keyring)
{
	OPENSSL_clear_free(keyring, sizeof(*keyring));
}

/* The format and the key id are authenticated with every secret. */
static bool cipher_start(EVP_CIPHER_CTX *context, const struct thaw_keyring *keyring,
			 const uint8_t *nonce, const char *key_id, int encrypt)
{
	const uint8_t format = FORMAT;
	int n;

	return EVP_CipherInit_ex2(context, EVP_aes_256_gcm(), keyring->key, nonce, encrypt, NULL) ==
		       1 &&
	       EVP_CipherUpdate(context, NULL, &n, &format, 1) == 1 &&
	       EVP_CipherUpdate(context, NULL, &n, (const uint8_t *)key_id, (int)strlen(key_id)) ==
		       1;
}

static bool key_id_valid(const char *key_id)
{
	size_t size = strnlen(key_id, 129);

	return size >= 1 && size <= 128;
}

int thaw_keyring_seal(const struct thaw_keyring *keyring, const char *key_id, const void *secret,
		      size_t size, uint8_t sealed[THAW_SEALED_MAX], size_t *sealed_size,
		      struct thaw_error *err)
{
	uint8_t *nonce = sealed + 1, *text = nonce + NONCE_SIZE;
	int n = 0, end = 0;

	if (size < 1 || size > THAW_SEALED_SECRET_MAX || !key_id_valid(key_id))
		return thaw_error_set(err, EINVAL, "a secret or its key id has a wrong size");
	sealed[0] = FORMAT;
	int rc = random_bytes(nonce, NONCE_SIZE, err);
	if (rc < 0)
		return rc;
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	if (!context)
		return thaw_error_errno(err, ENOMEM, "sealing a secret");
	bool right = cipher_start(context, keyring, nonce, key_id, 1) &&
		     EVP_CipherUpdate(context, text, &n, secret, (int)size) == 1 &&
		     EVP_CipherFinal_ex(context, text + n, &end) == 1 && n == (int)size &&
		     end == 0 &&
		     EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG_SIZE, text + size) == 1;
	EVP_CIPHER_CTX_free(context);
	if (!right)
		return thaw_error_set(err, EIO, "a secret could not be sealed");
	*sealed_size = size + THAW_SEALED_OVERHEAD;
	return 0;
}

int thaw_keyring_unseal(const struct thaw_keyring *keyring, const char *key_id,
			const uint8_t *sealed, size_t sealed_size,
			char secret[THAW_SEALED_SECRET_MAX + 1], size_t *size,
			struct thaw_error *err)
{
	uint8_t tag[TAG_SIZE];
	int n = 0, end = 0;

	if (sealed_size >= 1 && sealed[0] > FORMAT)
		return thaw_error_set(err, ENOTSUP,
				      "a sealed secret has format %u: it was made by a newer Thaw",
				      sealed[0]);
	if (sealed_size <= THAW_SEALED_OVERHEAD || sealed_size > THAW_SEALED_MAX ||
	    sealed[0] != FORMAT || !key_id_valid(key_id))
		return thaw_error_set(err, EBADMSG, "a sealed secret is damaged");
	const uint8_t *nonce = sealed + 1, *text = nonce + NONCE_SIZE;
	size_t plain = sealed_size - THAW_SEALED_OVERHEAD;
	memcpy(tag, text + plain, TAG_SIZE);
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	if (!context)
		return thaw_error_errno(err, ENOMEM, "opening a secret");
	bool right = cipher_start(context, keyring, nonce, key_id, 0) &&
		     EVP_CipherUpdate(context, (uint8_t *)secret, &n, text, (int)plain) == 1 &&
		     EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG_SIZE, tag) == 1 &&
		     EVP_CipherFinal_ex(context, (uint8_t *)secret + n, &end) == 1;
	EVP_CIPHER_CTX_free(context);
	if (!right) {
		/* It is there in plain before its tag has been compared. */
		OPENSSL_cleanse(secret, THAW_SEALED_SECRET_MAX + 1);
		return thaw_error_set(err, EBADMSG,
				      "a sealed secret is damaged, or of another host or key");
	}
	secret[plain] = 0;
	*size = plain;
	return 0;
}

int thaw_keyring_mac(const struct thaw_keyring *keyring, const char *purpose, const void *data,
		     size_t size, uint8_t mac[THAW_MAC_SIZE], struct thaw_error *err)
{
	uint8_t info[128], key[THAW_MAC_SIZE];
	size_t used = strnlen(purpose, sizeof(info) - 1);

	/* The first block of an expansion; the ciphers use the host's key itself, so that nothing
	 * that is known of the one tells of the other. */
	memcpy(info, purpose, used);
	info[used++] = 1;
	bool right = HMAC(EVP_sha256(), keyring->key, KEY_SIZE, info, used, key, NULL) &&
		     HMAC(EVP_sha256(), key, sizeof(key), data, size, mac, NULL);
	OPENSSL_cleanse(key, sizeof(key));
	return right ? 0 : thaw_error_set(err, EIO, "a message could not be authenticated");
}

int thaw_access_key_make(char id[THAW_ACCESS_KEY_ID], char secret[THAW_ACCESS_KEY_SECRET],
			 struct thaw_error *err)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	uint8_t raw[30], letters[16];

	int rc = random_bytes(letters, sizeof(letters), err);
	if (rc == 0)
		rc = random_bytes(raw, sizeof(raw), err);
	if (rc < 0)
		return rc;
	memcpy(id, "AKIA", 4);
	for (size_t i = 0; i < sizeof(letters); i++)
		id[4 + i] =
			alphabet[letters[i] % 32]; /* 256 is a multiple: no letter is likelier */
	id[THAW_ACCESS_KEY_ID - 1] = 0;
	EVP_EncodeBlock((unsigned char *)secret, raw, sizeof(raw));
	OPENSSL_cleanse(raw, sizeof(raw));
	return 0;
}

int thaw_account_id_make(char id[THAW_ACCOUNT_ID], struct thaw_error *err)
{
	const uint64_t first = 100000000000u, count = 900000000000u;
	uint64_t value;

	/* What is over the last multiple would make the first ids likelier. */
	do {
		int rc = random_bytes(&value, sizeof(value), err);
		if (rc < 0)
			return rc;
	} while (value >= UINT64_MAX - UINT64_MAX % count);
	snprintf(id, THAW_ACCOUNT_ID, "%012llu", (unsigned long long)(first + value % count));
	return 0;
}
