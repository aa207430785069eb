/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One error, told once.
 *
 * Functions that can fail return 0 (or a count) on success and a negative errno on failure, and
 * take a `struct thaw_error *` as their last parameter (NULL is allowed: the caller wants only the
 * code). The innermost place says what failed, each caller may say what it was doing, and the
 * outermost prints one line that a person can act on:
 *
 *	reading snapshot "web": memory index: frame 3: checksum does not match
 *
 * Messages are for people: lower case, no final full stop, outside names in double quotes.
 */
#ifndef THAW_LIB_ERROR_H
#define THAW_LIB_ERROR_H

#include <stddef.h>

#define THAW_ERROR_MAX 1024

struct thaw_error {
	int code;                     /* a positive errno, 0 when unset */
	char message[THAW_ERROR_MAX]; /* always terminated; longer text is cut */
};

/* Replaces what `err` holds. Returns -code, so that `return thaw_error_set(err, EINVAL, ...)`
 * reads well. A code of 0 is taken for EIO: an error that says success would be lost. */
int thaw_error_set(struct thaw_error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* As thaw_error_set, with ": " and the text of `code` appended. */
int thaw_error_errno(struct thaw_error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "<what the caller was doing>: " in front of the message. Returns -err->code (-EIO if err
 * is NULL or unset). */
int thaw_error_wrap(struct thaw_error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Control bytes of outside text would let a guest write to a person's terminal: replaces them by
 * '?' in place. thaw_error_set and thaw_error_wrap do this to every message. */
void thaw_text_printable(char *text);

#endif
