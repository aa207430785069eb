/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/service_collector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "lib/error.h"

#define WAIT 10 /* seconds that nothing here should take */

static void collector_answer(struct collector *c, struct thaw_http_request *request,
			     unsigned int status)
{
	struct thaw_http_response *response = thaw_http_response_new(status ? status : 200);

	thaw_http_response_body_copy(response, c->answer, strlen(c->answer));
	thaw_http_respond(request, response);
}

static void collector_handle(void *opaque, struct thaw_http_request *request)
{
	struct collector *c = opaque;
	unsigned int status = 0;

	assert_string_equal(request->method, "POST");
	assert_string_equal(request->path, "/v1/traces");
	assert_string_equal(thaw_http_header(request, "Content-Type"), "application/json");
	json_t *body = json_loadb((const char *)request->body, request->body_size, 0, NULL);
	assert_non_null(body);
	pthread_mutex_lock(&c->lock);
	assert_true(c->count < POSTS_MAX);
	if (c->count < sizeof(c->statuses) / sizeof(c->statuses[0]))
		status = c->statuses[c->count];
	c->bodies[c->count++] = body;
	bool hold = c->hold;
	if (hold)
		c->held[c->held_count++] = request;
	pthread_cond_broadcast(&c->came);
	pthread_mutex_unlock(&c->lock);
	if (!hold)
		collector_answer(c, request, status);
}

int collector_setup(void **state)
{
	static struct collector c;
	struct thaw_http_config config;

	c = (struct collector){.answer = "{}"};
	pthread_mutex_init(&c.lock, NULL);
	pthread_cond_init(&c.came, NULL);
	thaw_http_config_init(&config);
	config.address = "127.0.0.1";
	config.port = 0;
	config.threads = 1;
	config.hooks.handle = collector_handle;
	config.opaque = &c;
	assert_int_equal(thaw_http_start(&config, &c.server, NULL), 0);
	snprintf(c.url, sizeof(c.url), "http://127.0.0.1:%u/v1/traces", thaw_http_port(c.server));
	*state = &c;
	return 0;
}

int collector_teardown(void **state)
{
	struct collector *c = *state;

	for (unsigned int i = 0; i < c->held_count; i++)
		collector_answer(c, c->held[i], 200);
	thaw_http_stop(c->server, 1000);
	for (unsigned int i = 0; i < c->count; i++)
		json_decref(c->bodies[i]);
	pthread_cond_destroy(&c->came);
	pthread_mutex_destroy(&c->lock);
	return 0;
}

unsigned int collector_count(struct collector *c)
{
	pthread_mutex_lock(&c->lock);
	unsigned int count = c->count;
	pthread_mutex_unlock(&c->lock);
	return count;
}

void collector_wait(struct collector *c, unsigned int count)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT;
	pthread_mutex_lock(&c->lock);
	while (c->count < count)
		assert_int_equal(pthread_cond_timedwait(&c->came, &c->lock, &until), 0);
	pthread_mutex_unlock(&c->lock);
}

const json_t *collector_spans(const json_t *body)
{
	const json_t *resource = json_array_get(json_object_get(body, "resourceSpans"), 0);
	const json_t *scope = json_array_get(json_object_get(resource, "scopeSpans"), 0);
	const json_t *spans = json_object_get(scope, "spans");

	assert_true(json_is_array(spans));
	return spans;
}

const char *json_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "(none)";
}

/* An attribute's value, whatever its kind; NULL: there is none. */
const json_t *span_attribute(const json_t *object, const char *key, const char *kind)
{
	const json_t *list = json_object_get(object, "attributes"), *each;
	size_t i;

	json_array_foreach(list, i, each)
	{
		if (strcmp(json_text(each, "key"), key) == 0)
			return json_object_get(json_object_get(each, "value"), kind);
	}
	return NULL;
}

void span_check(const json_t *object, const char *key, const char *value)
{
	const json_t *found = span_attribute(object, key, "stringValue");

	assert_non_null(found);
	assert_string_equal(json_string_value(found), value);
}

struct thaw_traces *collector_traces(struct collector *c, struct thaw_traces_config config)
{
	struct thaw_error err = {0};

	config.url = c->url;
	config.region = "eu-test-1";
	if (!config.backoff_ms)
		config.backoff_ms = 1;
	struct thaw_traces *traces = thaw_traces_new(&config, &err);
	if (!traces)
		print_error("%s\n", err.message);
	assert_non_null(traces);
	return traces;
}

uint64_t span_times(const json_t *span, uint64_t from, uint64_t to)
{
	uint64_t begin = strtoull(json_text(span, "startTimeUnixNano"), NULL, 10);
	uint64_t end = strtoull(json_text(span, "endTimeUnixNano"), NULL, 10);

	assert_true(begin >= from && end <= to);
	return end - begin;
}
