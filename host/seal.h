/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host has made or imported: a list of files with their SHA-256, under an HMAC with the
 * host's key (docs/snapshot-format.md, "seal").
 *
 *	thaw-seal 1
 *	of snapshot orders
 *	file manifest.json 3412 <sha256>
 *	file state 71234 <sha256>
 *	hmac <HMAC-SHA256 of all before this line>
 *
 * Who cannot read the key can neither make a seal nor change one, nor use that of one subject for
 * another. Nothing of the text is looked at before its HMAC is right, but where the last line
 * begins. There is one text for a list, byte for byte.
 *
 * What is not sealed, or not as it was sealed, is -EKEYREJECTED everywhere: it is refused.
 */
#ifndef THAW_HOST_SEAL_H
#define THAW_HOST_SEAL_H

#include "host/digest.h"

struct thaw_error;
struct thaw_keyring;

#define THAW_SEAL_FILE_NAME 64 /* letters, digits and "-_./", terminated */
#define THAW_SEAL_FILES_MAX 32
#define THAW_SEAL_SUBJECT   96 /* printable, terminated */
#define THAW_SEAL_TEXT_MAX  16384

struct thaw_seal_file {
	char name[THAW_SEAL_FILE_NAME];
	uint64_t size;
	char digest[THAW_DIGEST_TEXT];
};

struct thaw_seal {
	char subject[THAW_SEAL_SUBJECT]; /* "snapshot NAME", "parts" */
	struct thaw_seal_file file[THAW_SEAL_FILES_MAX];
	size_t count;
};

/* Adds a file, or changes what is said of it. -EINVAL: a name that is none; -E2BIG. */
int thaw_seal_add(struct thaw_seal *seal, const char *name, uint64_t size, const char *digest,
		  struct thaw_error *err);
/* As thaw_seal_add, of a file that is read for it now. */
int thaw_seal_add_file(struct thaw_seal *seal, const char *name, int fd, struct thaw_error *err);
void thaw_seal_drop(struct thaw_seal *seal, const char *name);
/* NULL: it is not in the list. */
const struct thaw_seal_file *thaw_seal_find(const struct thaw_seal *seal, const char *name);

/* Checks a file against the list, reading it. -EKEYREJECTED, or why it cannot be read. */
int thaw_seal_check(const struct thaw_seal *seal, const char *name, int fd, struct thaw_error *err);
/* As thaw_seal_check, of a file that has been read already: its bytes. */
int thaw_seal_check_bytes(const struct thaw_seal *seal, const char *name, const void *data,
			  size_t size, struct thaw_error *err);

/* The text, ending with a newline; the caller frees it. NULL: no memory, or the key is of no use.
 */
char *thaw_seal_format(const struct thaw_seal *seal, const struct thaw_keyring *key);
/* -EKEYREJECTED: not by this key, changed, or of another subject than `subject`. */
int thaw_seal_parse(const char *text, size_t size, const struct thaw_keyring *key,
		    const char *subject, struct thaw_seal *seal, struct thaw_error *err);

/* From the file `name` in directory `dir`. `key` NULL (the host has none): -EKEYREJECTED. -ENOENT:
 * there is none. */
int thaw_seal_read(int dir, const char *name, const struct thaw_keyring *key, const char *subject,
		   struct thaw_seal *seal, struct thaw_error *err);
/* Into a new file, on the disk when this returns; it must not be there yet. */
int thaw_seal_write(const struct thaw_seal *seal, int dir, const char *name,
		    const struct thaw_keyring *key, struct thaw_error *err);

/* Whether only we, or root, could have written a file: an error for `name` (-EKEYREJECTED)
 * otherwise. What others may write to can change after it has been checked. */
int thaw_seal_check_owner(int fd, const char *name, struct thaw_error *err);

#endif
