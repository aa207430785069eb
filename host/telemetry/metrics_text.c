/* SPDX-License-Identifier: Apache-2.0 */
#include "host/telemetry/metrics_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/telemetry/log_line.h"

#define LABELS_MAX 8
#define NUMBER_MAX 32

static bool reserve(struct thaw_metrics_text *text, size_t more)
{
	size_t space = text->space ? text->space : 1024;

	if (text->failed)
		return false;
	while (space - text->size <= more)
		space *= 2;
	if (space == text->space)
		return true;
	char *data = realloc(text->data, space);
	if (!data) {
		text->failed = true;
		return false;
	}
	text->data = data;
	text->space = space;
	return true;
}

static void put(struct thaw_metrics_text *text, const char *data, size_t size)
{
	if (!reserve(text, size))
		return;
	memcpy(text->data + text->size, data, size);
	text->size += size;
	text->data[text->size] = 0;
}

static void puts_to(struct thaw_metrics_text *text, const char *string)
{
	put(text, string, strlen(string));
}

/* A backslash, a double quote and a line feed are escaped; what is not UTF-8 is no label. */
static void put_value(struct thaw_metrics_text *text, const char *value)
{
	const uint8_t *at = (const uint8_t *)value;
	size_t size = strlen(value);

	while (size) {
		size_t length = thaw_log_text_character(at, size);
		if (length == 0 || length > size) {
			puts_to(text, "\xef\xbf\xbd");
			length = 1;
		} else if (*at == '\n') {
			puts_to(text, "\\n");
		} else {
			if (*at == '\\' || *at == '"')
				puts_to(text, "\\");
			put(text, (const char *)at, length);
		}
		at += length;
		size -= length;
	}
}

static void put_number(struct thaw_metrics_text *text, double value)
{
	char number[NUMBER_MAX];

	if (isnan(value))
		puts_to(text, "NaN");
	else if (isinf(value))
		puts_to(text, value > 0 ? "+Inf" : "-Inf");
	else
		put(text, number, (size_t)snprintf(number, sizeof(number), "%.15g", value));
}

void thaw_metrics_text_family(struct thaw_metrics_text *text, const char *name, const char *type,
			      const char *help)
{
	puts_to(text, "# HELP ");
	puts_to(text, name);
	puts_to(text, " ");
	puts_to(text, help);
	puts_to(text, "\n# TYPE ");
	puts_to(text, name);
	puts_to(text, " ");
	puts_to(text, type);
	puts_to(text, "\n");
}

static void put_sample(struct thaw_metrics_text *text, const char *name, const char *suffix,
		       const struct thaw_metrics_label *labels, size_t count, double value)
{
	puts_to(text, name);
	puts_to(text, suffix);
	for (size_t i = 0; i < count; i++) {
		puts_to(text, i ? "," : "{");
		puts_to(text, labels[i].name);
		puts_to(text, "=\"");
		put_value(text, labels[i].value);
		puts_to(text, "\"");
	}
	puts_to(text, count ? "} " : " ");
	put_number(text, value);
	puts_to(text, "\n");
}

void thaw_metrics_text_sample(struct thaw_metrics_text *text, const char *name,
			      const struct thaw_metrics_label *labels, size_t count, double value)
{
	put_sample(text, name, "", labels, count, value);
}

void thaw_metrics_text_histogram(struct thaw_metrics_text *text, const char *name,
				 const struct thaw_metrics_label *labels, size_t count,
				 const struct thaw_histogram_view *view)
{
	struct thaw_metrics_label with_bound[LABELS_MAX];
	char bound[NUMBER_MAX];
	uint64_t below = 0;

	for (size_t i = 0; i < count; i++)
		with_bound[i] = labels[i];
	with_bound[count] = (struct thaw_metrics_label){"le", bound};
	for (size_t i = 0; i < THAW_HISTOGRAM_BOUNDS; i++) {
		below += view->counts[i];
		snprintf(bound, sizeof(bound), "%.15g", (double)thaw_histogram_bounds_us[i] / 1e6);
		put_sample(text, name, "_bucket", with_bound, count + 1, (double)below);
	}
	snprintf(bound, sizeof(bound), "+Inf");
	put_sample(text, name, "_bucket", with_bound, count + 1, (double)view->total);
	put_sample(text, name, "_sum", labels, count, (double)view->sum_us / 1e6);
	put_sample(text, name, "_count", labels, count, (double)view->total);
}

void thaw_metrics_text_append(struct thaw_metrics_text *text, const struct thaw_metrics_text *more)
{
	text->failed |= more->failed;
	if (more->size)
		put(text, more->data, more->size);
}
