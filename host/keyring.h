/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's key, and what it keeps secret.
 *
 * To verify a signature the host needs the secret access key itself, not a hash of it. So secrets
 * lie in the database sealed with AES-256-GCM (NIST SP 800-38D) under a key that lies beside it:
 * DIR/host.key, 32 random bytes, mode 0600. Who has one without the other has nothing; without
 * host.key every access key has to be made anew.
 *
 * A sealed secret says which format it has, and opens only for the access key it was made for:
 *
 *	1 byte   1, the format
 *	12 bytes nonce, random
 *	n bytes  the secret, encrypted
 *	16 bytes tag, over the format, the access key id and the secret
 *
 * A keyring may be used by several threads at once. Nothing here is logged.
 */
#ifndef THAW_HOST_KEYRING_H
#define THAW_HOST_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thaw_error;
struct thaw_keyring;

#define THAW_KEYRING_FILE "host.key"

#define THAW_ACCESS_KEY_ID     21 /* "AKIA" and 16 of A-Z2-7 (80 random bits), terminated */
#define THAW_ACCESS_KEY_SECRET 41 /* 40 of base64's alphabet (240 random bits), terminated */
#define THAW_ACCOUNT_ID        13 /* 12 digits, the first not 0, terminated */

#define THAW_SEALED_SECRET_MAX 128 /* bytes before sealing */
#define THAW_SEALED_OVERHEAD   29
#define THAW_SEALED_MAX        (THAW_SEALED_SECRET_MAX + THAW_SEALED_OVERHEAD)

/*
 * Reads DIR/host.key; `dir` is a descriptor of the directory and stays the caller's. With `make`
 * one is made when there is none: whole and on the disk when this returns, and of several makers
 * one makes it. On 0 the caller owns *keyring. -ENOENT: there is none (without `make`: a host that
 * has accounts must not get a new key silently); -EPERM: others may read it, or it belongs to
 * somebody else; -EINVAL: not 32 bytes; -ELOOP: a link, symbolic or hard, or no file; -EIO, ...
 */
int thaw_keyring_open(struct thaw_keyring **keyring, int dir, bool make, struct thaw_error *err);

/* Wipes the key. NULL is allowed. */
void thaw_keyring_close(struct thaw_keyring *keyring);

/* Seals `size` bytes (1 to THAW_SEALED_SECRET_MAX): *sealed_size is set to size +
 * THAW_SEALED_OVERHEAD. -EINVAL, -EIO, -ENOMEM. */
int thaw_keyring_seal(const struct thaw_keyring *keyring, const char *key_id, const void *secret,
		      size_t size, uint8_t sealed[THAW_SEALED_MAX], size_t *sealed_size,
		      struct thaw_error *err);

/* Opens what thaw_keyring_seal made, with a 0 byte after the secret that *size does not count; the
 * caller wipes it (OPENSSL_cleanse). -EBADMSG: of another key id or host, or changed; -ENOTSUP: of
 * a newer format; `secret` holds nothing then. -EIO, -ENOMEM. */
int thaw_keyring_unseal(const struct thaw_keyring *keyring, const char *key_id,
			const uint8_t *sealed, size_t sealed_size,
			char secret[THAW_SEALED_SECRET_MAX + 1], size_t *size,
			struct thaw_error *err);

#define THAW_MAC_SIZE 32

/* HMAC-SHA256 (RFC 2104) over `data` with a key of its own for each `purpose`, a constant of the
 * program, made from the host's key (RFC 5869, 2.3). Compare with CRYPTO_memcmp. -EIO. */
int thaw_keyring_mac(const struct thaw_keyring *keyring, const char *purpose, const void *data,
		     size_t size, uint8_t mac[THAW_MAC_SIZE], struct thaw_error *err);

/* New ones, from the kernel's randomness. Whether an id is taken already, the caller's database
 * knows. -EIO. */
int thaw_access_key_make(char id[THAW_ACCESS_KEY_ID], char secret[THAW_ACCESS_KEY_SECRET],
			 struct thaw_error *err);
int thaw_account_id_make(char id[THAW_ACCOUNT_ID], struct thaw_error *err);

#endif
