/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/error.h"

static const char *const level_names[] = {
	[THAW_LOG_DEBUG] = "debug", [THAW_LOG_INFO] = "info", [THAW_LOG_WARN] = "warn",
	[THAW_LOG_ERROR] = "error", [THAW_LOG_OFF] = "off",
};

static struct {
	const char *program;
	enum thaw_log_level level;
	bool json;
	int fd;
} logger = {.program = "thaw", .level = THAW_LOG_INFO, .fd = STDERR_FILENO};

void thaw_log_setup(const char *program, enum thaw_log_level level, bool json, int fd)
{
	/* The C library reads /etc/localtime before it first tells any time, UTC too: not later,
	 * when a sandbox forbids it to open files. */
	tzset();
	logger.program = program;
	logger.level = level;
	logger.json = json;
	logger.fd = fd;
}

int thaw_log_level_parse(const char *text, enum thaw_log_level *level)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (!strcmp(text, level_names[i])) {
			*level = (enum thaw_log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* thaw_text_printable has taken the control characters; quotes and backslashes are left. */
static void json_escape(char *out, size_t size, const char *text)
{
	size_t used = 0;

	for (; *text && used + 3 < size; text++) {
		if (*text == '"' || *text == '\\')
			out[used++] = '\\';
		out[used++] = *text;
	}
	out[used] = 0;
}

void thaw_log(enum thaw_log_level level, const char *format, ...)
{
	char text[THAW_ERROR_MAX], escaped[2 * THAW_ERROR_MAX], stamp[32], line[3 * THAW_ERROR_MAX];
	struct timespec now;
	struct tm utc;
	va_list ap;
	int n;

	if (level < logger.level || level >= THAW_LOG_OFF)
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	thaw_text_printable(text);
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
	unsigned int ms = (unsigned int)(now.tv_nsec / 1000000);
	if (logger.json) {
		json_escape(escaped, sizeof(escaped), text);
		n = snprintf(line, sizeof(line),
			     "{\"time\":\"%s.%03uZ\",\"level\":\"%s\",\"program\":\"%s\","
			     "\"message\":\"%s\"}\n",
			     stamp, ms, level_names[level], logger.program, escaped);
	} else {
		n = snprintf(line, sizeof(line), "%s.%03uZ %s %s: %s\n", stamp, ms,
			     level_names[level], logger.program, text);
	}
	/* Nothing can be done about a log that cannot be written. */
	if (write(logger.fd, line, (size_t)n) < 0)
		return;
}
