/* SPDX-License-Identifier: Apache-2.0 */
#include "host/telemetry/xray.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define TIME_DIGITS   8
#define UNIQUE_DIGITS 24
#define SPAN_DIGITS   16

/* One "name=value" of the header. */
struct field {
	const char *name, *value;
	size_t name_size, value_size;
};

static bool field_is(const struct field *field, const char *name)
{
	return field->name_size == strlen(name) && memcmp(field->name, name, field->name_size) == 0;
}

/* Copies exactly `count` hex digits in lower case; whether they are that. */
static bool take_hex(char *out, const char *text, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char c = text[i];
		if (c >= 'A' && c <= 'F')
			c = (char)(c - 'A' + 'a');
		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
			return false;
		out[i] = c;
	}
	out[count] = 0;
	return true;
}

static bool all_zeros(const char *digits)
{
	return !digits[strspn(digits, "0")];
}

static bool parse_root(struct thaw_xray *xray, const struct field *field)
{
	const char *text = field->value;
	const size_t size = 2 + TIME_DIGITS + 1 + UNIQUE_DIGITS;

	return !*xray->trace && field->value_size == size && memcmp(text, "1-", 2) == 0 &&
	       take_hex(xray->trace, text + 2, TIME_DIGITS) && text[2 + TIME_DIGITS] == '-' &&
	       take_hex(xray->trace + TIME_DIGITS, text + 2 + TIME_DIGITS + 1, UNIQUE_DIGITS) &&
	       !all_zeros(xray->trace);
}

static bool parse_parent(struct thaw_xray *xray, const struct field *field)
{
	return !*xray->parent && field->value_size == SPAN_DIGITS &&
	       take_hex(xray->parent, field->value, SPAN_DIGITS) && !all_zeros(xray->parent);
}

static bool parse_sampled(struct thaw_xray *xray, const struct field *field)
{
	if (field->value_size != 1)
		return false;
	switch (*field->value) {
	case '0':
		xray->sampled = THAW_XRAY_NOT_SAMPLED;
		return true;
	case '1':
		xray->sampled = THAW_XRAY_SAMPLED;
		return true;
	case '?':
		return true;
	default:
		return false;
	}
}

/* Of other fields only that they are printable: the header may go on to a function. */
static bool parse_other(const struct field *field)
{
	for (size_t i = 0; i < field->name_size; i++) {
		if (field->name[i] <= ' ' || field->name[i] > '~')
			return false;
	}
	for (size_t i = 0; i < field->value_size; i++) {
		if (field->value[i] < ' ' || field->value[i] > '~')
			return false;
	}
	return field->name_size > 0;
}

/* Cuts the field at *text off; false when it is none. */
static bool next_field(const char **text, struct field *field)
{
	size_t size = strcspn(*text, ";");
	const char *equals = memchr(*text, '=', size);

	if (!equals)
		return false;
	field->name = *text;
	field->name_size = (size_t)(equals - *text);
	field->value = equals + 1;
	field->value_size = size - field->name_size - 1;
	*text += size;
	return true;
}

int thaw_xray_parse(const char *text, struct thaw_xray *xray)
{
	struct thaw_xray read = {0};
	bool good = strnlen(text, THAW_XRAY_MAX + 1) <= THAW_XRAY_MAX, sampled = false;

	while (good) {
		struct field field;

		good = next_field(&text, &field);
		if (!good)
			break;
		if (field_is(&field, "Root")) {
			good = parse_root(&read, &field);
		} else if (field_is(&field, "Parent")) {
			good = parse_parent(&read, &field);
		} else if (field_is(&field, "Sampled")) {
			good = !sampled && parse_sampled(&read, &field);
			sampled = true;
		} else {
			good = parse_other(&field);
		}
		/* Some end their last field as all others. */
		if (!*text || !*++text)
			break;
	}
	if (!good || !*read.trace)
		return -EINVAL;
	*xray = read;
	return 0;
}

static void random_hex(char *text, size_t bytes)
{
	uint8_t raw[UNIQUE_DIGITS / 2];

	/* For so few bytes getrandom neither fails nor falls short (getrandom(2)). */
	if (getrandom(raw, bytes, 0) != (ssize_t)bytes)
		abort();
	for (size_t i = 0; i < bytes; i++)
		snprintf(text + 2 * i, 3, "%02x", raw[i]);
}

void thaw_xray_new(struct thaw_xray *xray)
{
	*xray = (struct thaw_xray){0};
	snprintf(xray->trace, sizeof(xray->trace), "%08x", (unsigned int)time(NULL));
	random_hex(xray->trace + TIME_DIGITS, UNIQUE_DIGITS / 2);
}

void thaw_span_id_make(char text[THAW_SPAN_ID_TEXT])
{
	do
		random_hex(text, SPAN_DIGITS / 2);
	while (all_zeros(text));
}

void thaw_xray_format(const struct thaw_xray *xray, char text[THAW_XRAY_TEXT])
{
	snprintf(text, THAW_XRAY_TEXT, "Root=1-%.8s-%.24s%s%.16s%s", xray->trace,
		 xray->trace + TIME_DIGITS, *xray->parent ? ";Parent=" : "", xray->parent,
		 xray->sampled == THAW_XRAY_SAMPLED       ? ";Sampled=1"
		 : xray->sampled == THAW_XRAY_NOT_SAMPLED ? ";Sampled=0"
							  : "");
}
