/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/service_prometheus.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static size_t name_length(const char *at, bool colons)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
	size_t length = 0;

	while (at[length] && (strchr(first, at[length]) || (colons && at[length] == ':') ||
			      (length && at[length] >= '0' && at[length] <= '9')))
		length++;
	return length;
}

/* {name="value",...}: behind it; the value of the label `le` goes into *le. */
static const char *check_labels(const char *at, double *le)
{
	assert_int_equal(*at++, '{');
	for (;;) {
		size_t length = name_length(at, false);
		bool is_le = length == 2 && memcmp(at, "le", 2) == 0;
		assert_true(length > 0);
		at += length;
		assert_memory_equal(at, "=\"", 2);
		at += 2;
		if (is_le)
			*le = strncmp(at, "+Inf\"", 5) == 0 ? INFINITY : strtod(at, NULL);
		for (; *at != '"'; at++) {
			assert_true(*at && *at != '\n');
			if (*at == '\\') {
				at++;
				assert_true(*at == '\\' || *at == '"' || *at == 'n');
			}
		}
		at++;
		if (*at == '}')
			return at + 1;
		assert_int_equal(*at++, ',');
	}
}

static void parse_comment(struct scrape *scrape, const char *line)
{
	char name[128], type[16], end;

	if (strncmp(line, "# HELP ", 7) == 0) {
		assert_int_equal(sscanf(line, "# HELP %127s %c", name, &end), 2);
		for (size_t i = 0; i < scrape->families; i++)
			assert_string_not_equal(scrape->seen[i], name);
		assert_true(scrape->families < 128);
		strcpy(scrape->seen[scrape->families++], name);
		strcpy(scrape->family, name);
		scrape->type[0] = 0;
		return;
	}
	assert_int_equal(sscanf(line, "# TYPE %127s %15s", name, type), 2);
	assert_string_equal(name, scrape->family);
	assert_string_equal(scrape->type, "");
	assert_true(strcmp(type, "counter") == 0 || strcmp(type, "gauge") == 0 ||
		    strcmp(type, "histogram") == 0);
	size_t length = strlen(name);
	assert_int_equal(length > 6 && strcmp(name + length - 6, "_total") == 0,
			 strcmp(type, "counter") == 0);
	strcpy(scrape->type, type);
}

static void parse_sample(struct scrape *scrape, const char *line)
{
	static double last_bound, last_value;
	size_t length = name_length(line, true), family = strlen(scrape->family);
	struct sample *sample = &scrape->sample[scrape->count++];
	const char *at = line + length, *suffix = line + family;
	double le = NAN;
	char *end;

	assert_true(length >= family && memcmp(line, scrape->family, family) == 0);
	if (*at == '{')
		at = check_labels(at, &le);
	assert_true((size_t)(at - line) < sizeof(sample->series));
	memcpy(sample->series, line, (size_t)(at - line));
	sample->series[at - line] = 0;
	for (size_t i = 0; i + 1 < scrape->count; i++)
		assert_string_not_equal(scrape->sample[i].series, sample->series);
	assert_int_equal(*at++, ' ');
	sample->value = strtod(at, &end);
	assert_true(end != at && *end == 0);
	if (strcmp(scrape->type, "histogram") != 0) {
		assert_int_equal(length, family);
		return;
	}
	/* Buckets stand in order and only grow, the last is +Inf and the count. */
	if (strncmp(suffix, "_bucket{", 8) == 0) {
		assert_false(isnan(le));
		if (last_bound < INFINITY && last_bound > 0)
			assert_true(le > last_bound && sample->value >= last_value);
		last_bound = le;
		last_value = sample->value;
		return;
	}
	assert_true(isinf(last_bound));
	if (strncmp(suffix, "_sum", 4) == 0)
		return;
	assert_memory_equal(suffix, "_count", 6);
	assert_true(sample->value == last_value);
	last_bound = 0;
}

void scrape_parse(struct scrape *scrape, char *text, size_t size)
{
	size_t lines = 0;

	assert_int_equal(strlen(text), size);
	for (size_t i = 0; i < size; i++)
		lines += text[i] == '\n';
	assert_true(size == 0 || text[size - 1] == '\n');
	*scrape = (struct scrape){.text = text, .sample = calloc(lines + 1, sizeof(struct sample))};
	for (char *line = text, *next; *line; line = next) {
		next = strchr(line, '\n');
		*next++ = 0;
		if (*line == '#')
			parse_comment(scrape, line);
		else
			parse_sample(scrape, line);
	}
}

void scrape_clear(struct scrape *scrape)
{
	free(scrape->text);
	free(scrape->sample);
}

double scrape_value(const struct scrape *scrape, const char *series)
{
	for (size_t i = 0; i < scrape->count; i++) {
		if (strcmp(scrape->sample[i].series, series) == 0)
			return scrape->sample[i].value;
	}
	return NAN;
}

double scrape_sum(const struct scrape *scrape, const char *prefix)
{
	double sum = 0;

	for (size_t i = 0; i < scrape->count; i++) {
		if (strncmp(scrape->sample[i].series, prefix, strlen(prefix)) == 0)
			sum += scrape->sample[i].value;
	}
	return sum;
}
