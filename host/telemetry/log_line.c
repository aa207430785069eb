/* SPDX-License-Identifier: Apache-2.0 */
#include "host/telemetry/log_line.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MS_PER_MINUTE INT64_C(60000)
#define MS_PER_DAY    INT64_C(86400000)

static const char kind_letters[] = "PFE";

void thaw_log_time_format(char text[THAW_LOG_TIME], int64_t time_ms)
{
	struct tm utc;

	if (time_ms < THAW_LOG_TIME_FIRST)
		time_ms = THAW_LOG_TIME_FIRST;
	if (time_ms > THAW_LOG_TIME_LAST)
		time_ms = THAW_LOG_TIME_LAST;
	int64_t ms = ((time_ms % 1000) + 1000) % 1000;
	time_t seconds = (time_t)((time_ms - ms) / 1000);
	gmtime_r(&seconds, &utc);
	/* The remainders only tell the compiler what is so. */
	snprintf(text, THAW_LOG_TIME, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
		 ((unsigned int)utc.tm_year + 1900u) % 10000, ((unsigned int)utc.tm_mon + 1) % 100,
		 (unsigned int)utc.tm_mday % 100, (unsigned int)utc.tm_hour % 100,
		 (unsigned int)utc.tm_min % 100, (unsigned int)utc.tm_sec % 100,
		 (unsigned int)ms % 1000);
}

/* Takes `digits` digits and the byte `after` them (0: none). */
static bool number_take(const char **at, const char *end, int digits, char after, int *value)
{
	if (end - *at < digits + (after != 0))
		return false;
	*value = 0;
	for (; digits; digits--, (*at)++) {
		if (**at < '0' || **at > '9')
			return false;
		*value = *value * 10 + (**at - '0');
	}
	return !after || *(*at)++ == after;
}

/* Days from 1970-01-01 to a day of the Gregorian calendar, years 1 to 9999. */
static int64_t days_since_1970(int year, int month, int day)
{
	static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	int64_t years = year - 1;

	return years * 365 + years / 4 - years / 100 + years / 400 + before[month - 1] +
	       (leap && month > 2) + day - 1 - 719162;
}

static int month_days(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && leap);
}

/* "Z" or "+01:00", to the end; in minutes east. */
static bool zone_take(const char *at, const char *end, int *minutes)
{
	int hour, minute;

	if (at == end)
		return false;
	char sign = *at++;
	*minutes = 0;
	if (sign == 'Z' || sign == 'z')
		return at == end;
	if ((sign != '+' && sign != '-') || !number_take(&at, end, 2, ':', &hour) ||
	    !number_take(&at, end, 2, 0, &minute) || at != end || hour > 23 || minute > 59)
		return false;
	*minutes = (sign == '-' ? -1 : 1) * (hour * 60 + minute);
	return true;
}

int thaw_log_time_parse(const char *text, size_t size, int64_t *time_ms)
{
	const char *at = text, *end = text + size;
	int year, month, day, hour, minute, second, zone, ms = 0;

	if (!number_take(&at, end, 4, '-', &year) || !number_take(&at, end, 2, '-', &month) ||
	    !number_take(&at, end, 2, 0, &day) || at == end || (*at != 'T' && *at != 't'))
		return -EINVAL;
	at++;
	if (!number_take(&at, end, 2, ':', &hour) || !number_take(&at, end, 2, ':', &minute) ||
	    !number_take(&at, end, 2, 0, &second))
		return -EINVAL;
	if (at < end && *at == '.') {
		int scale = 100;
		const char *first = ++at;
		for (; at < end && *at >= '0' && *at <= '9'; at++, scale /= 10)
			ms += (*at - '0') * scale;
		if (at == first)
			return -EINVAL;
	}
	/* A leap second is the one before it. */
	if (!zone_take(at, end, &zone) || year < 1 || month < 1 || month > 12 || day < 1 ||
	    day > month_days(year, month) || hour > 23 || minute > 59 || second > 60)
		return -EINVAL;
	second = second == 60 ? 59 : second;
	int64_t result = days_since_1970(year, month, day) * MS_PER_DAY +
			 (hour * 60 + minute - zone) * MS_PER_MINUTE + second * 1000 + ms;
	if (result < THAW_LOG_TIME_FIRST || result > THAW_LOG_TIME_LAST)
		return -EINVAL;
	*time_ms = result;
	return 0;
}

static bool request_valid(const char *id, size_t size)
{
	if (size == 0 || size > THAW_LOG_REQUEST_MAX)
		return false;
	for (size_t i = 0; i < size; i++) {
		char c = id[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '-'))
			return false;
	}
	return true;
}

size_t thaw_log_head_format(char head[THAW_LOG_HEAD_MAX], int64_t time_ms, const char *request_id,
			    enum thaw_log_kind kind)
{
	size_t size = request_id ? strlen(request_id) : 0;

	thaw_log_time_format(head, time_ms);
	if (!request_valid(request_id, size)) {
		request_id = "-";
		size = 1;
	}
	char *to = head + THAW_LOG_TIME - 1;
	*to++ = '\t';
	memcpy(to, request_id, size);
	to += size;
	*to++ = '\t';
	*to++ = kind_letters[kind];
	*to++ = '\t';
	return (size_t)(to - head);
}

size_t thaw_log_text_character(const uint8_t *text, size_t size)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t length;

	if (text[0] < 0x80)
		return 1;
	if (text[0] >= 0xc2 && text[0] <= 0xdf)
		length = 2;
	else if (text[0] >= 0xe0 && text[0] <= 0xef)
		length = 3;
	else if (text[0] >= 0xf0 && text[0] <= 0xf4)
		length = 4;
	else
		return 0;
	if (text[0] == 0xe0)
		low = 0xa0;
	else if (text[0] == 0xed)
		high = 0x9f;
	else if (text[0] == 0xf0)
		low = 0x90;
	else if (text[0] == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i < length && i < size; i++) {
		if (text[i] < low || text[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return length;
}

size_t thaw_log_text_clean(char *clean, const uint8_t *text, size_t size)
{
	static const char hex[] = "0123456789abcdef";
	char *to = clean;

	while (size) {
		size_t length = thaw_log_text_character(text, size);
		if (length == 0 || length > size) {
			memcpy(to, "\xef\xbf\xbd", 3);
			to += 3;
			length = 1;
		} else if ((length == 1 &&
			    ((text[0] < 0x20 && text[0] != '\t') || text[0] == 0x7f)) ||
			   /* U+0080 to U+009F: terminals obey these too. */
			   (length == 2 && text[0] == 0xc2 && text[1] < 0xa0)) {
			for (size_t i = 0; i < length; i++) {
				*to++ = '\\';
				*to++ = 'x';
				*to++ = hex[text[i] >> 4];
				*to++ = hex[text[i] & 15];
			}
		} else {
			memcpy(to, text, length);
			to += length;
		}
		text += length;
		size -= length;
	}
	return (size_t)(to - clean);
}

size_t thaw_log_text_whole(const uint8_t *text, size_t size)
{
	for (size_t back = 1; back <= 3 && back <= size; back++) {
		const uint8_t *last = text + size - back;
		if ((*last & 0xc0) == 0x80)
			continue;
		return thaw_log_text_character(last, back) > back ? size - back : size;
	}
	return size;
}

int thaw_log_line_parse(const char *line, size_t size, struct thaw_log_record *record)
{
	const char *end = line + size;
	const char *id = line + THAW_LOG_TIME;

	if (size < THAW_LOG_TIME || id[-1] != '\t' ||
	    thaw_log_time_parse(line, THAW_LOG_TIME - 1, &record->time_ms) < 0)
		return -EINVAL;
	const char *tab = memchr(id, '\t', (size_t)(end - id));
	if (!tab || end - tab < 3 || tab[2] != '\t' || !tab[1])
		return -EINVAL;
	const char *letter = strchr(kind_letters, tab[1]);
	size_t id_size = (size_t)(tab - id);
	if (!letter || !request_valid(id, id_size))
		return -EINVAL;
	if (id_size == 1 && *id == '-')
		id_size = 0;
	memcpy(record->request_id, id, id_size);
	record->request_id[id_size] = 0;
	record->kind = (enum thaw_log_kind)(letter - kind_letters);
	record->text = tab + 3;
	record->text_size = (size_t)(end - record->text);
	return 0;
}
