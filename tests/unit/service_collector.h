/* SPDX-License-Identifier: Apache-2.0 */
/* A collector of traces on a free port: it keeps what is posted, and answers as it is told. */
#ifndef THAW_TESTS_UNIT_SERVICE_COLLECTOR_H
#define THAW_TESTS_UNIT_SERVICE_COLLECTOR_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "host/api/http.h"
#include "host/telemetry/traces.h"

#define POSTS_MAX 64

struct collector {
	struct thaw_http_server *server;
	char url[64];
	pthread_mutex_t lock;
	pthread_cond_t came;
	json_t *bodies[POSTS_MAX]; /* in the order in which they came */
	unsigned int count;
	unsigned int statuses[8]; /* of the first posts; then, and for 0, 200 */
	const char *answer;
	bool hold; /* posts are not answered */
	struct thaw_http_request *held[POSTS_MAX];
	unsigned int held_count;
};

/* For cmocka: *state becomes the collector. */
int collector_setup(void **state);
int collector_teardown(void **state);

/* How many posts have come. */
unsigned int collector_count(struct collector *c);

/* Until so many posts have come. */
void collector_wait(struct collector *c, unsigned int count);

/* What posts there; a region of eu-test-1, and hardly a wait between tries unless `config` says
 * so. */
struct thaw_traces *collector_traces(struct collector *c, struct thaw_traces_config config);

/* The spans of one post. */
const json_t *collector_spans(const json_t *body);

/* The member's text; "(none)" when it has none. */
const char *json_text(const json_t *object, const char *key);

/* An attribute's value of that kind ("stringValue", ...), or NULL. */
const json_t *span_attribute(const json_t *object, const char *key, const char *kind);
void span_check(const json_t *object, const char *key, const char *value);

/* Its length, in nanoseconds; it must lie between these two times of the wall clock. */
uint64_t span_times(const json_t *span, uint64_t from, uint64_t to);

#endif
