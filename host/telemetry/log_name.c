/* SPDX-License-Identifier: Apache-2.0 */
#include "host/telemetry/log_name.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define DATE_SIZE    10
#define ID_SIZE      (THAW_LOG_ID_TEXT - 1)
#define VERSION_SIZE 20
#define DIGITS       "0123456789"
#define LATEST       "LATEST"

bool thaw_log_name_valid(const char *name)
{
	size_t size = strlen(name);

	return size >= 1 && size <= 64 &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS "_-") ==
		       size;
}

/* "2026-01-31" with the separator; whether there is such a day is nobody's concern here. */
static bool date_valid(const char *text, char separator)
{
	for (size_t i = 0; i < DATE_SIZE; i++) {
		bool between = i == 4 || i == 7;
		if (between ? text[i] != separator : text[i] < '0' || text[i] > '9')
			return false;
	}
	return true;
}

static bool version_valid(const char *version, size_t size, const char *latest)
{
	if (size == strlen(latest) && memcmp(version, latest, size) == 0)
		return true;
	return size >= 1 && size <= VERSION_SIZE && version[0] != '0' &&
	       strspn(version, DIGITS) >= size;
}

static bool id_valid(const char *id)
{
	return strspn(id, DIGITS "abcdef") >= ID_SIZE;
}

int thaw_log_stream_make(char stream[THAW_LOG_STREAM_TEXT], time_t now, const char *version)
{
	uint8_t raw[ID_SIZE / 2];
	struct tm utc;

	if (!version_valid(version, strlen(version), "$" LATEST) || !gmtime_r(&now, &utc))
		return -EINVAL;
	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return -errno;
	size_t size = strftime(stream, THAW_LOG_STREAM_TEXT, "%Y/%m/%d/", &utc);
	if (size != DATE_SIZE + 1)
		return -EINVAL;
	size += (size_t)sprintf(stream + size, "[%s]", version);
	for (size_t i = 0; i < sizeof(raw); i++)
		size += (size_t)sprintf(stream + size, "%02x", raw[i]);
	return 0;
}

int thaw_log_name_file(char file[THAW_LOG_FILE_TEXT], const char *stream)
{
	const char *version = stream + DATE_SIZE + 2;

	if (strlen(stream) < DATE_SIZE + 2 || !date_valid(stream, '/') ||
	    memcmp(stream + DATE_SIZE, "/[", 2) != 0)
		return -EINVAL;
	const char *close = strchr(version, ']');
	if (!close || !version_valid(version, (size_t)(close - version), "$" LATEST) ||
	    strlen(close + 1) != ID_SIZE || !id_valid(close + 1))
		return -EINVAL;
	if (*version == '$')
		version++;
	snprintf(file, THAW_LOG_FILE_TEXT, "%.4s-%.2s-%.2s.%.*s.%s.log", stream, stream + 5,
		 stream + 8, (int)(close - version), version, close + 1);
	return 0;
}

int thaw_log_name_stream(char stream[THAW_LOG_STREAM_TEXT], const char *file, bool *before)
{
	const char *version = file + DATE_SIZE + 1;

	if (strlen(file) < DATE_SIZE + 1 || !date_valid(file, '-') || file[DATE_SIZE] != '.')
		return -EINVAL;
	const char *dot = strchr(version, '.');
	if (!dot || !version_valid(version, (size_t)(dot - version), LATEST) ||
	    strlen(dot + 1) < ID_SIZE || !id_valid(dot + 1))
		return -EINVAL;
	const char *ending = dot + 1 + ID_SIZE;
	*before = strcmp(ending, ".log.1") == 0;
	if (!*before && strcmp(ending, ".log") != 0)
		return -EINVAL;
	snprintf(stream, THAW_LOG_STREAM_TEXT, "%.4s/%.2s/%.2s/[%s%.*s]%.*s", file, file + 5,
		 file + 8, *version == 'L' ? "$" : "", (int)(dot - version), version, ID_SIZE,
		 dot + 1);
	return 0;
}
