/* SPDX-License-Identifier: Apache-2.0 */
#include "host/api/validation.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

void thaw_validation_init(struct thaw_validation *validation)
{
	validation->count = 0;
	validation->host_failed = false;
	validation->used = 0;
	validation->text[0] = 0;
	validation->serialization[0] = 0;
}

long thaw_utf8_next(const char **text)
{
	const uint8_t *s = (const uint8_t *)*text;
	uint8_t lead = s[0];

	if (lead < 0x80) {
		*text += 1;
		return lead;
	}
	int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
	uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
	uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
	long c = lead & (0x3f >> more);
	if (lead < 0xc2 || lead > 0xf4)
		return -1;
	for (int i = 1; i <= more; i++) {
		if (s[i] < low || s[i] > high)
			return -1;
		c = c << 6 | (s[i] & 0x3f);
		low = 0x80;
		high = 0xbf;
	}
	*text += more + 1;
	return c;
}

bool thaw_utf8_valid(const char *text)
{
	while (*text) {
		if (thaw_utf8_next(&text) < 0)
			return false;
	}
	return true;
}

size_t thaw_utf8_length(const char *text)
{
	size_t length = 0;

	for (; *text; length++) {
		if (thaw_utf8_next(&text) < 0)
			text++;
	}
	return length;
}

/* As much of a value as is told, whole characters, nothing that would break JSON or a log. */
static void value_clean(const char *value, char *clean, size_t size)
{
	size_t used = 0;

	while (*value) {
		const char *start = value;
		long c = thaw_utf8_next(&value);
		if (c < 0)
			value = start + 1;
		size_t n = (size_t)(value - start);
		if (used + n + 4 > size) {
			memcpy(clean + used, "...", 3);
			used += 3;
			break;
		}
		if (c < 0x20 || c == 0x7f)
			clean[used++] = '?';
		else
			memcpy(clean + used, start, n), used += n;
	}
	clean[used] = 0;
}

int thaw_validation_add(struct thaw_validation *validation, const char *value, const char *member,
			const char *format, ...)
{
	char clean[THAW_VALIDATION_VALUE_MAX];
	char constraint[640];
	va_list ap;

	if (validation->count++ >= THAW_VALIDATION_MAX)
		return -EINVAL;
	value_clean(value ? value : "null", clean, sizeof(clean));
	va_start(ap, format);
	vsnprintf(constraint, sizeof(constraint), format, ap);
	va_end(ap);
	const char *quote = value ? "'" : "";
	size_t room = sizeof(validation->text) - validation->used;
	int n = snprintf(validation->text + validation->used, room,
			 "%sValue %s%s%s at '%.120s' failed to satisfy constraint: %s",
			 validation->used ? "; " : "", quote, clean, quote, member, constraint);
	validation->used += (size_t)n < room ? (size_t)n : room - 1;
	return -EINVAL;
}

int thaw_validation_serialization(struct thaw_validation *validation, const char *format, ...)
{
	va_list ap;

	if (validation->serialization[0])
		return -EINVAL;
	va_start(ap, format);
	vsnprintf(validation->serialization, sizeof(validation->serialization), format, ap);
	va_end(ap);
	return -EINVAL;
}

const char *thaw_validation_message(const struct thaw_validation *validation, char *message,
				    size_t size)
{
	if (validation->host_failed) {
		snprintf(message, size, "Internal failure. Please retry.");
		return "ServiceException";
	}
	if (validation->serialization[0]) {
		snprintf(message, size, "%s", validation->serialization);
		return "SerializationException";
	}
	snprintf(message, size, "%u validation error%s detected: %s", validation->count,
		 validation->count == 1 ? "" : "s", validation->text);
	return "ValidationException";
}
