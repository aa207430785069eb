/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with a request's values, in Lambda's words:
 *
 *	2 validation errors detected: Value 'a b' at 'functionName' failed to satisfy constraint:
 *	Member must satisfy regular expression pattern: ...; Value '127' at 'memorySize' failed ...
 *
 * One struct collects what all checks of a request find, so that the client is told at once. Its
 * size is fixed: long values are cut, and beyond THAW_VALIDATION_MAX faults are only counted.
 */
#ifndef THAW_HOST_API_VALIDATION_H
#define THAW_HOST_API_VALIDATION_H

#include <stdbool.h>
#include <stddef.h>

#define THAW_VALIDATION_MAX       16
#define THAW_VALIDATION_VALUE_MAX 320 /* bytes of a value that are told */
#define THAW_VALIDATION_TEXT_MAX  16384

struct thaw_validation {
	unsigned int count;      /* faults found */
	bool host_failed;        /* a value could not be checked: told before all else */
	char serialization[256]; /* a value of the wrong type: told before all else */
	size_t used;
	char text[THAW_VALIDATION_TEXT_MAX]; /* of the first THAW_VALIDATION_MAX */
};

void thaw_validation_init(struct thaw_validation *validation);

/* "Value '<value>' at '<member>' failed to satisfy constraint: <constraint>". A NULL value is told
 * as null, without quotes. Bytes that are not UTF-8 or control become '?'. Always -EINVAL. */
int thaw_validation_add(struct thaw_validation *validation, const char *value, const char *member,
			const char *format, ...) __attribute__((format(printf, 4, 5)));

/* A value that JSON gives another type than the model: "NUMBER_VALUE can not be converted to a
 * String". The first is kept. Always -EINVAL. */
int thaw_validation_serialization(struct thaw_validation *validation, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static inline bool thaw_validation_failed(const struct thaw_validation *validation)
{
	return validation->host_failed || validation->count || validation->serialization[0];
}

/* The error's code ("SerializationException", "ValidationException"; "ServiceException" when
 * the host could not check) and message, which fits
 * `size` bytes of THAW_VALIDATION_TEXT_MAX + 64. */
const char *thaw_validation_message(const struct thaw_validation *validation, char *message,
				    size_t size);

/* The length in characters of UTF-8 text. */
size_t thaw_utf8_length(const char *text);

/* The next character, and *text behind it; -1 for what is not UTF-8 (RFC 3629). Not at the end. */
long thaw_utf8_next(const char **text);
bool thaw_utf8_valid(const char *text);

#endif
