/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void thaw_text_printable(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
	}
}

static int error_vset(struct thaw_error *err, int code, const char *format, va_list ap)
{
	if (code <= 0)
		code = EIO;
	if (err) {
		err->code = code;
		vsnprintf(err->message, sizeof(err->message), format, ap);
		thaw_text_printable(err->message);
	}
	return -code;
}

int thaw_error_set(struct thaw_error *err, int code, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	int rc = error_vset(err, code, format, ap);
	va_end(ap);
	return rc;
}

int thaw_error_errno(struct thaw_error *err, int code, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	int rc = error_vset(err, code, format, ap);
	va_end(ap);
	if (err) {
		size_t used = strlen(err->message);
		snprintf(err->message + used, sizeof(err->message) - used, ": %s", strerror(-rc));
	}
	return rc;
}

int thaw_error_wrap(struct thaw_error *err, const char *format, ...)
{
	char inner[THAW_ERROR_MAX];
	va_list ap;

	if (!err || !err->code)
		return -EIO;
	memcpy(inner, err->message, sizeof(inner));
	va_start(ap, format);
	vsnprintf(err->message, sizeof(err->message), format, ap);
	va_end(ap);
	size_t used = strlen(err->message);
	snprintf(err->message + used, sizeof(err->message) - used, ": %s", inner);
	thaw_text_printable(err->message);
	return -err->code;
}
