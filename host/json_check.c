/* SPDX-License-Identifier: Apache-2.0 */
#include "host/json_check.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "lib/error.h"

struct json {
	const uint8_t *data;
	size_t size;
	size_t at;
	const char *fault;
	unsigned int depth;
	bool in_object[THAW_JSON_DEPTH_MAX];
};

/* The byte at the cursor, 0 at the end (a 0 byte is nowhere allowed, so they need no telling
 * apart). */
static uint8_t json_peek(const struct json *j)
{
	return j->at < j->size ? j->data[j->at] : 0;
}

static void json_space(struct json *j)
{
	while (j->at < j->size && (j->data[j->at] == ' ' || j->data[j->at] == '\t' ||
				   j->data[j->at] == '\n' || j->data[j->at] == '\r'))
		j->at++;
}

static bool json_fault(struct json *j, const char *fault)
{
	j->fault = j->at >= j->size ? "it ends too early" : fault;
	return false;
}

/* One character of more than one byte: no overlong forms, no surrogates, at most U+10FFFF
 * (Unicode, table 3-7). */
static bool json_utf8(struct json *j)
{
	uint8_t lead = j->data[j->at];
	unsigned int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
	uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
	uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;

	if (lead < 0xc2 || lead > 0xf4)
		return json_fault(j, "a string is not UTF-8");
	for (j->at++; more; more--, j->at++) {
		uint8_t c = json_peek(j);
		if (c < low || c > high)
			return json_fault(j, "a string is not UTF-8");
		low = 0x80;
		high = 0xbf;
	}
	return true;
}

static bool is_hex(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool json_string(struct json *j)
{
	if (json_peek(j) != '"')
		return json_fault(j, "a string is wanted here");
	j->at++;
	while (j->at < j->size) {
		uint8_t c = j->data[j->at];
		if (c == '"') {
			j->at++;
			return true;
		}
		if (c < 0x20)
			return json_fault(j, "a control character in a string");
		if (c >= 0x80) {
			if (!json_utf8(j))
				return false;
			continue;
		}
		j->at++;
		if (c != '\\')
			continue;
		c = json_peek(j);
		if (!c || !strchr("\"\\/bfnrtu", c))
			return json_fault(j, "a bad escape in a string");
		j->at++;
		for (int i = 0; c == 'u' && i < 4; i++, j->at++) {
			if (!is_hex(json_peek(j)))
				return json_fault(j, "a bad escape in a string");
		}
	}
	return json_fault(j, "");
}

static bool json_digits(struct json *j)
{
	if (json_peek(j) < '0' || json_peek(j) > '9')
		return json_fault(j, "a digit is wanted here");
	while (json_peek(j) >= '0' && json_peek(j) <= '9')
		j->at++;
	return true;
}

static bool json_number(struct json *j)
{
	if (json_peek(j) == '-')
		j->at++;
	if (json_peek(j) == '0')
		j->at++;
	else if (!json_digits(j))
		return false;
	if (json_peek(j) == '.') {
		j->at++;
		if (!json_digits(j))
			return false;
	}
	if (json_peek(j) == 'e' || json_peek(j) == 'E') {
		j->at++;
		if (json_peek(j) == '+' || json_peek(j) == '-')
			j->at++;
		return json_digits(j);
	}
	return true;
}

static bool json_word(struct json *j, const char *word)
{
	size_t length = strlen(word);

	if (j->size - j->at < length || memcmp(j->data + j->at, word, length) != 0)
		return json_fault(j, "a value is wanted here");
	j->at += length;
	return true;
}

static bool json_scalar(struct json *j)
{
	switch (json_peek(j)) {
	case '"':
		return json_string(j);
	case 't':
		return json_word(j, "true");
	case 'f':
		return json_word(j, "false");
	case 'n':
		return json_word(j, "null");
	case '-':
	case '0' ... '9':
		return json_number(j);
	default:
		return json_fault(j, "a value is wanted here");
	}
}

/* The name of an object's member and its colon. */
static bool json_name(struct json *j)
{
	json_space(j);
	if (!json_string(j))
		return false;
	json_space(j);
	if (json_peek(j) != ':')
		return json_fault(j, "a colon is wanted here");
	j->at++;
	return true;
}

/* After a value: closes what ends here, and stands before the next value. `*done` at the end of
 * the outermost. */
static bool json_after(struct json *j, bool *done)
{
	for (;;) {
		json_space(j);
		if (j->depth == 0) {
			*done = true;
			return true;
		}
		bool object = j->in_object[j->depth - 1];
		uint8_t c = json_peek(j);
		if (c == ',') {
			j->at++;
			return object ? json_name(j) : true;
		}
		if (c != (object ? '}' : ']'))
			return json_fault(j, "a comma or the end is wanted here");
		j->at++;
		j->depth--;
	}
}

static bool json_document(struct json *j)
{
	bool done = false;

	while (!done) {
		json_space(j);
		uint8_t c = json_peek(j);
		if (c == '{' || c == '[') {
			if (j->depth == THAW_JSON_DEPTH_MAX)
				return json_fault(j, "it is nested too deeply");
			j->in_object[j->depth++] = c == '{';
			j->at++;
			json_space(j);
			if (json_peek(j) != (c == '{' ? '}' : ']')) {
				if (c == '{' && !json_name(j))
					return false;
				continue;
			}
			j->at++;
			j->depth--;
		} else if (!json_scalar(j)) {
			return false;
		}
		if (!json_after(j, &done))
			return false;
	}
	if (j->at < j->size) {
		j->fault = "something follows the value";
		return false;
	}
	return true;
}

int thaw_json_check(const uint8_t *data, size_t size, struct thaw_error *err)
{
	struct json j = {.data = data, .size = size};
	unsigned int line = 1, column = 1;

	if (json_document(&j))
		return 0;
	for (size_t i = 0; i < j.at && i < size; i++) {
		column = data[i] == '\n' ? 1 : column + 1;
		line += data[i] == '\n';
	}
	return thaw_error_set(err, EINVAL, "line %u, column %u: %s", line, column, j.fault);
}
