/* SPDX-License-Identifier: Apache-2.0 */
/* A small parser of Prometheus' text format 0.0.4, which shares nothing with what writes it. */
#ifndef THAW_TESTS_UNIT_SERVICE_PROMETHEUS_H
#define THAW_TESTS_UNIT_SERVICE_PROMETHEUS_H

#include <stddef.h>

struct sample {
	char series[512]; /* name and labels as they stand */
	double value;
};

struct scrape {
	char *text;
	struct sample *sample;
	size_t count;
	char family[128], type[16];
	char seen[128][128]; /* families */
	size_t families;
};

/* Asserts that the text keeps the rules: each family once, head before samples, names and labels as
 * they must be, no series twice, buckets in order. Takes the text over. */
void scrape_parse(struct scrape *scrape, char *text, size_t size);
void scrape_clear(struct scrape *scrape);

/* NAN: there is no such series. */
double scrape_value(const struct scrape *scrape, const char *series);
/* Of all series that begin so. */
double scrape_sum(const struct scrape *scrape, const char *prefix);

#endif
