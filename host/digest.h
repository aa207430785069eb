/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 of contents: what drives, images and kernels are known by.
 */
#ifndef THAW_HOST_DIGEST_H
#define THAW_HOST_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thaw_error;
struct thaw_state;

#define THAW_DIGEST_TEXT   65 /* 64 hexadecimal digits and a 0 */
#define THAW_DIGEST_BASE64 45 /* 44 characters and a 0 */

/* 64 hexadecimal digits in lower case, and no more. */
bool thaw_digest_valid(const char *text);

struct thaw_digest; /* one under way */

/* NULL when there is no memory. */
struct thaw_digest *thaw_digest_new(void);
void thaw_digest_add(struct thaw_digest *digest, const void *data, size_t size);
/* Ends and frees it; `text` may be NULL to give up. */
void thaw_digest_finish(struct thaw_digest *digest, char text[THAW_DIGEST_TEXT]);
/* The same in base64 (RFC 4648, section 4). */
void thaw_digest_finish_base64(struct thaw_digest *digest, char text[THAW_DIGEST_BASE64]);

/* Adds a whole file, wherever its offset is. */
int thaw_digest_add_file(struct thaw_digest *digest, int fd, struct thaw_error *err);
/* Of a whole file. */
int thaw_digest_file(int fd, char text[THAW_DIGEST_TEXT], struct thaw_error *err);

/* Of a file that is mostly holes: over its size and those blocks of 4 KiB that are not all zero, so
 * that where the holes are makes no difference. */
int thaw_digest_sparse(int fd, char text[THAW_DIGEST_TEXT], struct thaw_error *err);

/* As these, remembered in the state directory under the file's device, inode, size and times, so
 * that a large image is not read again at every start. What is remembered is under an HMAC with the
 * host's key; without a key nothing is. */
int thaw_digest_file_cached(const struct thaw_state *state, int fd, char text[THAW_DIGEST_TEXT],
			    struct thaw_error *err);
int thaw_digest_sparse_cached(const struct thaw_state *state, int fd, char text[THAW_DIGEST_TEXT],
			      struct thaw_error *err);

/* Waits until a later change of the file would show in its ctime, which has steps of some
 * milliseconds. False: it is of the future, and nothing can be told by it. */
bool thaw_digest_settle(int fd);

#endif
