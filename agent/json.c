/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Escapes into `to`, which has room for six bytes for each of `text`. Bytes over 0x7f are copied:
 * what comes in as UTF-8 stays it. */
static char *put_escaped(char *to, const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c == '"' || *c == '\\') {
			*to++ = '\\';
			*to++ = (char)*c;
		} else if (*c < 0x20 || *c == 0x7f) {
			to += sprintf(to, "\\u%04x", *c);
		} else {
			*to++ = (char)*c;
		}
	}
	return to;
}

char *thaw_json_error(const char *type, const char *message, size_t *size)
{
	char *text = malloc(64 + 6 * (strlen(type) + strlen(message)));

	if (!text)
		return NULL;
	char *at = stpcpy(text, "{\"errorMessage\":\"");
	at = put_escaped(at, message);
	at = stpcpy(at, "\",\"errorType\":\"");
	at = put_escaped(at, type);
	at = stpcpy(at, "\"}");
	*size = (size_t)(at - text);
	return text;
}

static int base64_value(char c)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(alphabet, c) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

uint8_t *thaw_base64_decode(const char *text, size_t size, size_t *decoded)
{
	size_t used = size;

	if (size % 4)
		return NULL;
	while (used && size - used < 2 && text[used - 1] == '=')
		used--;
	uint8_t *out = malloc(size / 4 * 3 + 1);
	if (!out)
		return NULL;
	uint32_t bits = 0;
	size_t count = 0;
	for (size_t i = 0; i < used; i++) {
		int value = base64_value(text[i]);
		if (value < 0) {
			free(out);
			return NULL;
		}
		bits = bits << 6 | (uint32_t)value;
		if (i % 4)
			out[count++] = (uint8_t)(bits >> (6 - i % 4 * 2));
	}
	*decoded = count;
	return out;
}
