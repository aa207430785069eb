/* SPDX-License-Identifier: Apache-2.0 */
#include "service_queue_harness.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "host/daemon/invoke.h"
#include "host/store/event_config.h"
#include "host/store/events.h"

struct pending {
	struct pending *next;
	struct queue_call call;
	void (*done)(void *opaque, const struct thaw_invoke_answer *answer);
	void *opaque;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static pthread_t runner;
static bool runner_on, ending, released;
static struct pending *pending, *held;
static struct queue_call calls[CALLS_MAX];
static unsigned int call_count;
static struct queue_post posts[POSTS_MAX];
static unsigned int post_count;
static struct queue_fixture *current;

static bool is(const struct queue_call *call, const char *what)
{
	return strncmp(call->name, what, strlen(what)) == 0;
}

/* With the lock. */
static unsigned int calls_of(const char *name, const char *id, struct queue_call *last)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < call_count; i++) {
		if ((name && strcmp(calls[i].name, name) != 0) ||
		    (id && strcmp(calls[i].id, id) != 0))
			continue;
		count++;
		if (last)
			*last = calls[i];
	}
	return count;
}

unsigned int queue_calls(const char *name, const char *id, struct queue_call *last)
{
	pthread_mutex_lock(&lock);
	unsigned int count = calls_of(name, id, last);
	pthread_mutex_unlock(&lock);
	return count;
}

int thaw_invoke_submit(struct thaw_service *service, const struct thaw_invoke_plan *plan,
		       struct thaw_invoke_answer *refusal, struct thaw_error *err)
{
	struct pending *one = calloc(1, sizeof(*one));
	struct queue_call *call = &one->call;

	(void)service;
	assert_true(plan->asynchronous);
	snprintf(call->name, sizeof(call->name), "%s", plan->name);
	snprintf(call->qualifier, sizeof(call->qualifier), "%s", plan->qualifier);
	snprintf(call->id, sizeof(call->id), "%s", plan->request_id);
	snprintf(call->trace, sizeof(call->trace), "%s", plan->trace_id ? plan->trace_id : "");
	snprintf(call->client, sizeof(call->client), "%s",
		 plan->client_context ? plan->client_context : "");
	snprintf(call->payload, sizeof(call->payload), "%.*s", (int)plan->payload_size,
		 plan->payload);
	one->done = plan->done;
	one->opaque = plan->opaque;
	if (current->called)
		current->called(call);
	pthread_mutex_lock(&lock);
	if (call_count < CALLS_MAX)
		calls[call_count++] = *call;
	bool refuse = is(call, "full") || is(call, "gone") ||
		      (is(call, "busy") && calls_of(call->name, call->id, NULL) <= 3);
	refusal->refusal_code =
		is(call, "gone") ? "ResourceNotFoundException" : "TooManyRequestsException";
	refusal->status = is(call, "gone") ? 404 : 429;
	strcpy(refusal->message, "Rate Exceeded.");
	if (refuse) {
		free(one);
	} else {
		struct pending **list = is(call, "held") && !released ? &held : &pending;
		one->next = *list;
		*list = one;
		pthread_cond_signal(&wake);
	}
	pthread_mutex_unlock(&lock);
	return refuse ? thaw_error_set(err, EAGAIN, "refused") : 0;
}

static void answer(struct pending *one)
{
	static const char good[] = "{\"ok\":true}";
	static const char bad[] = "{\"errorMessage\":\"boom\"}";
	struct thaw_invoke_answer with = {.status = 200, .executed_version = "$LATEST"};

	bool fails = is(&one->call, "bad") || (is(&one->call, "flaky") &&
					       queue_calls(one->call.name, one->call.id, NULL) < 2);
	with.function_error = fails ? "Unhandled" : NULL;
	with.payload = (const uint8_t *)(fails ? bad : good);
	with.payload_size = strlen(fails ? bad : good);
	if (is(&one->call, "broken")) {
		with.refused = true;
		with.refusal_code = "ServiceException";
		with.status = 500;
	}
	one->done(one->opaque, &with);
	free(one);
}

static void *runner_main(void *opaque)
{
	pthread_mutex_lock(&lock);
	while (!ending) {
		struct pending *one = pending;
		if (!one) {
			pthread_cond_wait(&wake, &lock);
			continue;
		}
		pending = one->next;
		pthread_mutex_unlock(&lock);
		answer(one);
		pthread_mutex_lock(&lock);
	}
	pthread_mutex_unlock(&lock);
	return opaque;
}

void queue_release(void)
{
	pthread_mutex_lock(&lock);
	released = true;
	while (held) {
		struct pending *one = held;
		held = one->next;
		one->next = pending;
		pending = one;
	}
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
}

void queue_runner_start(struct queue_fixture *f)
{
	current = f;
	ending = released = false;
	call_count = post_count = 0;
	assert_int_equal(pthread_create(&runner, NULL, runner_main, NULL), 0);
	runner_on = true;
}

/* --- who is posted to --- */

static void copy(char *to, size_t size, const struct thaw_http_request *request, const char *name)
{
	const char *value = thaw_http_header(request, name);

	snprintf(to, size, "%s", value ? value : "");
}

static void handle(void *opaque, struct thaw_http_request *request)
{
	struct queue_post post = {0};
	unsigned int status = 200, before;

	(void)opaque;
	snprintf(post.path, sizeof(post.path), "%s", request->path);
	snprintf(post.body, sizeof(post.body), "%.*s", (int)request->body_size, request->body);
	copy(post.id, sizeof(post.id), request, "RequestID");
	copy(post.code, sizeof(post.code), request, "ErrorCode");
	copy(post.message, sizeof(post.message), request, "ErrorMessage");
	copy(post.type, sizeof(post.type), request, "Content-Type");
	before = queue_posts(post.path, NULL);
	pthread_mutex_lock(&lock);
	if (post_count < POSTS_MAX)
		posts[post_count++] = post;
	pthread_mutex_unlock(&lock);
	if (strcmp(post.path, "/fail") == 0 || (strcmp(post.path, "/flaky") == 0 && before < 2))
		status = 503;
	if (strcmp(post.path, "/redirect") == 0)
		status = 302;
	struct thaw_http_response *response = thaw_http_response_new(status);
	if (status == 302)
		thaw_http_response_header(response, "Location", queue_url(current, "/moved"));
	thaw_http_respond(request, response);
}

unsigned int queue_posts(const char *path, struct queue_post *last)
{
	unsigned int count = 0;

	pthread_mutex_lock(&lock);
	for (unsigned int i = 0; i < post_count; i++) {
		if (strcmp(posts[i].path, path) != 0)
			continue;
		count++;
		if (last)
			*last = posts[i];
	}
	pthread_mutex_unlock(&lock);
	return count;
}

const char *queue_url(struct queue_fixture *f, const char *path)
{
	static _Thread_local char url[128];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", thaw_http_port(f->server), path);
	return url;
}

/* --- the fixture --- */

void queue_start(struct queue_fixture *f)
{
	f->service.config = &f->config;
	f->service.store = f->store->store;
	f->queue = thaw_queue_new(&f->service, ERR);
	assert_non_null(f->queue);
	f->service.queue = f->queue;
}

void queue_stop(struct queue_fixture *f)
{
	thaw_queue_free(f->queue);
	f->queue = NULL;
}

int queue_setup(void **state)
{
	struct queue_fixture *f = calloc(1, sizeof(*f));
	struct thaw_http_config http;

	if (!f || store_setup((void **)&f->store) < 0)
		return -1;
	strcpy(f->config.region, REGION);
	f->config.retry_scale = SCALE;
	f->config.destination_private = true;
	f->config.drain_s = 5;
	thaw_http_config_init(&http);
	http.address = "127.0.0.1";
	http.port = 0;
	http.threads = 1;
	http.hooks.handle = handle;
	assert_ok(thaw_http_start(&http, &f->server, ERR));
	queue_runner_start(f);
	queue_start(f);
	*state = f;
	return 0;
}

int queue_teardown(void **state)
{
	struct queue_fixture *f = *state;

	queue_stop(f);
	thaw_http_stop(f->server, 100);
	pthread_mutex_lock(&lock);
	ending = true;
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
	pthread_join(runner, NULL);
	/* Who was never answered is, now that the queue is gone. */
	queue_release();
	while (pending) {
		struct pending *one = pending;
		pending = one->next;
		answer(one);
	}
	store_teardown((void **)&f->store);
	free(f);
	return 0;
}

int64_t queue_function(struct queue_fixture *f, const char *name)
{
	return store_function(f->store->store, ACCOUNT, name);
}

void queue_configure(struct queue_fixture *f, int64_t function, const char *good, const char *bad,
		     int64_t retries, int64_t age_s)
{
	char text[512];
	struct thaw_event_config config = {.function_id = function,
					   .qualifier = (char *)"$LATEST",
					   .maximum_retries = retries,
					   .maximum_age_s = age_s,
					   .destinations = text};

	snprintf(text, sizeof(text),
		 "{\"OnSuccess\":{\"Destination\":\"%s\"},\"OnFailure\":{\"Destination\":\"%s\"}}",
		 good ? good : "", bad ? bad : "");
	assert_ok(thaw_event_configs_put(f->store->store, &config, ERR));
}

void queue_put(struct queue_fixture *f, int64_t function, const char *id)
{
	char payload[128];

	snprintf(payload, sizeof(payload), "{\"number\":123456789012345678901,\"id\":\"%s\"}", id);
	struct thaw_queue_event event = {.account = ACCOUNT,
					 .function_id = function,
					 .name = "any",
					 .request_id = id,
					 .trace_id = "Root=1",
					 .client_context = "e30=",
					 .payload = (const uint8_t *)payload,
					 .payload_size = strlen(payload)};
	assert_ok(thaw_queue_put(f->queue, &event, ERR));
}

uint64_t queue_counted(struct queue_fixture *f, enum thaw_queue_what what)
{
	struct thaw_queue_counts counts;

	assert_ok(thaw_queue_count(f->queue, &counts, ERR));
	return counts.what[what];
}

int64_t queue_stored(struct queue_fixture *f, int64_t function)
{
	struct thaw_events_count count;

	assert_ok(thaw_events_count(f->store->store, function, &count, ERR));
	return count.waiting + count.taken;
}
