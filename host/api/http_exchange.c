/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request and its answer. libmicrohttpd holds one reference until it is done, the handler one
 * until it has answered, a streamed response one until it is freed; so each may end first.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#include "host/api/http_internal.h"

#define BODY_FIRST (16u << 10)

static struct http_exchange *exchange_of(struct thaw_http_request *request)
{
	return (struct http_exchange *)request;
}

void http_exchange_ref(struct http_exchange *exchange)
{
	atomic_fetch_add(&exchange->references, 1);
}

void http_exchange_unref(struct http_exchange *exchange)
{
	struct thaw_http_server *server = exchange->server;

	if (atomic_fetch_sub(&exchange->references, 1) != 1)
		return;
	if (exchange->request.context_free)
		exchange->request.context_free(exchange->request.context);
	if (exchange->answer)
		MHD_destroy_response(exchange->answer);
	thaw_http_response_free(exchange->refusal);
	atomic_fetch_sub(&server->body_bytes, exchange->body_space);
	free(exchange->target);
	free(exchange->head_text);
	free(exchange->headers);
	free(exchange->body);
	free(exchange->stream);
	pthread_cond_destroy(&exchange->changed);
	pthread_mutex_destroy(&exchange->lock);
	free(exchange);
	http_server_unref(server);
}

/* RFC 9562, version 4. */
static int exchange_id(char id[THAW_HTTP_ID_TEXT])
{
	uint8_t r[16];

	if (getrandom(r, sizeof(r), 0) != sizeof(r))
		return -EIO;
	r[6] = (uint8_t)((r[6] & 0x0f) | 0x40);
	r[8] = (uint8_t)((r[8] & 0x3f) | 0x80);
	snprintf(id, THAW_HTTP_ID_TEXT,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0], r[1],
		 r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14],
		 r[15]);
	return 0;
}

/* The request line is there: the raw target is seen here only. NULL ends the connection. */
void *http_exchange_begin(void *opaque, const char *uri, struct MHD_Connection *mhd)
{
	struct thaw_http_server *server = opaque;
	struct http_exchange *exchange = calloc(1, sizeof(*exchange));
	const union MHD_ConnectionInfo *info;
	pthread_condattr_t attributes;

	if (!exchange)
		return NULL;
	exchange->target = strdup(uri);
	if (!exchange->target || exchange_id(exchange->request.id) < 0) {
		free(exchange->target);
		free(exchange);
		return NULL;
	}
	atomic_init(&exchange->references, 1);
	exchange->server = server;
	atomic_fetch_add(&server->references, 1);
	exchange->mhd = mhd;
	info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	exchange->connection = info ? info->socket_context : NULL;
	pthread_mutex_init(&exchange->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&exchange->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	exchange->request.path = exchange->request.query = exchange->request.method = "";
	exchange->request.body = (const uint8_t *)"";
	exchange->request.body_limit = server->config.body_max;
	pthread_mutex_lock(&server->lock);
	server->figures.requests++;
	pthread_mutex_unlock(&server->lock);
	return exchange;
}

static enum MHD_Result exchange_send(struct http_exchange *exchange, unsigned int status,
				     struct MHD_Response *answer)
{
	http_watch_phase(exchange, exchange->streaming ? HTTP_PHASE_STREAM : HTTP_PHASE_SEND);
	enum MHD_Result rc = answer ? MHD_queue_response(exchange->mhd, status, answer) : MHD_NO;
	if (answer)
		MHD_destroy_response(answer);
	return rc;
}

static struct thaw_http_response *exchange_refusal(struct http_exchange *exchange,
						   unsigned int status, const char *reason)
{
	const struct thaw_http_hooks *hooks = &exchange->server->config.hooks;
	struct thaw_http_response *response = NULL;

	if (hooks->refuse)
		response = hooks->refuse(exchange->server->config.opaque, &exchange->request,
					 status, reason);
	return response ? response : http_response_plain(status, reason);
}

static enum MHD_Result exchange_reply(struct http_exchange *exchange,
				      struct thaw_http_response *response, bool close)
{
	unsigned int status = thaw_http_response_status(response);

	close = close || atomic_load(&exchange->server->stopping);
	return exchange_send(exchange, status,
			     http_response_make(response, exchange->request.id, close, NULL));
}

/* A client that is told 413 while it still sends would see a reset instead: what it sends is
 * read and dropped first, within reason. One that asked before sending is told at once. */
static enum MHD_Result exchange_too_large(struct http_exchange *exchange, uint64_t announced)
{
	struct thaw_http_response *response =
		exchange_refusal(exchange, 413, "The request body is too large.");

	if (thaw_http_header(&exchange->request, "Expect") ||
	    announced - exchange->request.body_limit > exchange->server->config.discard_max)
		return exchange_reply(exchange, response, true);
	exchange->refusal = response;
	return response ? MHD_YES : MHD_NO;
}

static enum MHD_Result exchange_head(struct http_exchange *exchange, const char *method,
				     const char *version)
{
	const struct thaw_http_config *config = &exchange->server->config;
	struct thaw_http_response *response;
	const char *reason = NULL;

	http_watch_phase(exchange, HTTP_PHASE_BODY);
	unsigned int status = http_head_take(exchange, method, version, &reason);
	if (status)
		return exchange_reply(exchange, exchange_refusal(exchange, status, reason), true);
	if (atomic_load(&exchange->server->closing))
		return exchange_reply(exchange,
				      exchange_refusal(exchange, 503, "The service is stopping."),
				      true);
	const char *length = thaw_http_header(&exchange->request, "Content-Length");
	uint64_t announced = length ? strtoull(length, NULL, 10) : 0;
	response =
		config->hooks.head ? config->hooks.head(config->opaque, &exchange->request) : NULL;
	if (response) {
		/* An answer before the end of the body costs the connection: a body that is not
		 * too much is read and dropped. */
		if (thaw_http_header(&exchange->request, "Expect") ||
		    announced > config->discard_max)
			return exchange_reply(exchange, response, true);
		exchange->refusal = response;
		return MHD_YES;
	}
	if (announced > exchange->request.body_limit)
		return exchange_too_large(exchange, announced);
	return MHD_YES;
}

/* Room for `more` bytes and a 0 behind them. Only what has come is paid for. */
static int body_grow(struct http_exchange *exchange, size_t more)
{
	struct thaw_http_server *server = exchange->server;
	size_t want = exchange->request.body_size + more + 1;
	size_t space = exchange->body_space ? exchange->body_space : BODY_FIRST;

	if (want <= exchange->body_space)
		return 0;
	while (space < want)
		space *= 2;
	if (space > exchange->request.body_limit + 1)
		space = exchange->request.body_limit + 1;
	size_t add = space - exchange->body_space;
	if (atomic_fetch_add(&server->body_bytes, add) + add > server->config.body_total) {
		atomic_fetch_sub(&server->body_bytes, add);
		return -ENOBUFS;
	}
	uint8_t *grown = realloc(exchange->body, space);
	if (!grown) {
		atomic_fetch_sub(&server->body_bytes, add);
		return -ENOMEM;
	}
	exchange->body = grown;
	exchange->body_space = space;
	return 0;
}

static enum MHD_Result exchange_body(struct http_exchange *exchange, const char *data, size_t size)
{
	struct thaw_http_request *request = &exchange->request;

	http_watch_moved(exchange, size);
	if (!exchange->refusal && size > request->body_limit - request->body_size)
		exchange->refusal =
			exchange_refusal(exchange, 413, "The request body is too large.");
	else if (!exchange->refusal && body_grow(exchange, size) < 0)
		exchange->refusal =
			exchange_refusal(exchange, 503, "No memory left for the request.");
	else if (!exchange->refusal) {
		memcpy(exchange->body + request->body_size, data, size);
		request->body_size += size;
		exchange->body[request->body_size] = 0;
		request->body = exchange->body;
		return MHD_YES;
	}
	exchange->discarded += size;
	return exchange->refusal && exchange->discarded <= exchange->server->config.discard_max
		       ? MHD_YES
		       : MHD_NO;
}

/* The lock is held. Waits for the answer without a thread, or sends it. */
static enum MHD_Result exchange_wait_or_send(struct http_exchange *exchange)
{
	if (!exchange->answered) {
		exchange->suspended = true;
		MHD_suspend_connection(exchange->mhd);
		pthread_mutex_unlock(&exchange->lock);
		return MHD_YES;
	}
	struct MHD_Response *answer = exchange->answer;
	exchange->answer = NULL;
	unsigned int status = exchange->status;
	pthread_mutex_unlock(&exchange->lock);
	return exchange_send(exchange, status, answer);
}

static enum MHD_Result exchange_dispatch(struct http_exchange *exchange)
{
	const struct thaw_http_config *config = &exchange->server->config;

	if (exchange->refusal) {
		struct thaw_http_response *response = exchange->refusal;
		exchange->refusal = NULL;
		return exchange_reply(exchange, response, exchange->discarded > 0);
	}
	pthread_mutex_lock(&exchange->lock);
	exchange->dispatched = true;
	pthread_mutex_unlock(&exchange->lock);
	http_watch_phase(exchange, HTTP_PHASE_WAIT);
	http_exchange_ref(exchange); /* the handler's */
	config->hooks.handle(config->opaque, &exchange->request);
	if (atomic_load(&exchange->server->closing))
		http_exchange_force(exchange);
	pthread_mutex_lock(&exchange->lock);
	return exchange_wait_or_send(exchange);
}

enum MHD_Result http_exchange_step(void *opaque, struct MHD_Connection *mhd, const char *url,
				   const char *method, const char *version, const char *data,
				   size_t *size, void **context)
{
	struct http_exchange *exchange = *context;

	(void)opaque;
	(void)mhd;
	(void)url;
	if (!exchange)
		return MHD_NO;
	if (!exchange->headed) {
		exchange->headed = true;
		return exchange_head(exchange, method, version);
	}
	if (*size) {
		enum MHD_Result rc = exchange_body(exchange, data, *size);
		*size = 0;
		return rc;
	}
	if (!exchange->dispatched)
		return exchange_dispatch(exchange);
	pthread_mutex_lock(&exchange->lock);
	return exchange_wait_or_send(exchange);
}

void http_exchange_done(void *opaque, struct MHD_Connection *mhd, void **context,
			enum MHD_RequestTerminationCode why)
{
	struct thaw_http_server *server = opaque;
	struct http_exchange *exchange = *context;

	(void)mhd;
	*context = NULL;
	if (!exchange)
		return;
	http_watch_phase(exchange, HTTP_PHASE_IDLE);
	pthread_mutex_lock(&exchange->lock);
	exchange->closed = true;
	exchange->mhd = NULL;
	exchange->connection = NULL;
	pthread_cond_broadcast(&exchange->changed);
	pthread_mutex_unlock(&exchange->lock);
	if (why != MHD_REQUEST_TERMINATED_COMPLETED_OK)
		http_exchange_gone(exchange);
	pthread_mutex_lock(&server->lock);
	server->figures.requests--;
	pthread_cond_broadcast(&server->changed);
	pthread_mutex_unlock(&server->lock);
	http_exchange_unref(exchange);
}

/* The lock is held. */
static void exchange_resume(struct http_exchange *exchange)
{
	if (exchange->suspended && exchange->mhd) {
		exchange->suspended = false;
		MHD_resume_connection(exchange->mhd);
	}
}

void http_exchange_gone(struct http_exchange *exchange)
{
	pthread_mutex_lock(&exchange->lock);
	void (*gone)(void *, struct thaw_http_request *) = exchange->gone;
	void *opaque = exchange->gone_opaque;
	exchange->left = true;
	exchange->gone = NULL;
	if (gone) {
		exchange->telling = true;
		exchange->teller = pthread_self();
	}
	pthread_cond_broadcast(&exchange->changed);
	pthread_mutex_unlock(&exchange->lock);
	if (!gone)
		return;
	gone(opaque, &exchange->request);
	pthread_mutex_lock(&exchange->lock);
	exchange->telling = false;
	pthread_cond_broadcast(&exchange->changed);
	pthread_mutex_unlock(&exchange->lock);
}

void http_exchange_force(struct http_exchange *exchange)
{
	struct thaw_http_response *response =
		exchange_refusal(exchange, 503, "The service is stopping.");
	struct MHD_Response *answer =
		http_response_make(response, exchange->request.id, true, NULL);

	http_exchange_gone(exchange);
	pthread_mutex_lock(&exchange->lock);
	if (!exchange->answered && exchange->dispatched) {
		exchange->answered = true;
		exchange->status = 503;
		exchange->answer = answer;
		answer = NULL;
	}
	if (exchange->streaming && !exchange->stream_ended)
		exchange->stream_aborted = true;
	exchange_resume(exchange);
	pthread_cond_broadcast(&exchange->changed);
	pthread_mutex_unlock(&exchange->lock);
	if (answer)
		MHD_destroy_response(answer);
}

/* The lock is held. After this the handler is not called any more. */
static void exchange_tell_no_more(struct http_exchange *exchange)
{
	exchange->gone = NULL;
	while (exchange->telling && !pthread_equal(exchange->teller, pthread_self()))
		pthread_cond_wait(&exchange->changed, &exchange->lock);
}

void thaw_http_respond(struct thaw_http_request *request, struct thaw_http_response *response)
{
	struct http_exchange *exchange = exchange_of(request);
	unsigned int status = thaw_http_response_status(response);
	struct MHD_Response *answer = http_response_make(
		response, request->id, atomic_load(&exchange->server->stopping), NULL);

	pthread_mutex_lock(&exchange->lock);
	if (!exchange->answered && !exchange->closed) {
		exchange->answered = true;
		exchange->answer = answer;
		exchange->status = status;
		answer = NULL;
		exchange_resume(exchange);
	}
	exchange_tell_no_more(exchange);
	pthread_mutex_unlock(&exchange->lock);
	if (answer)
		MHD_destroy_response(answer);
	http_exchange_unref(exchange);
}

int thaw_http_on_gone(struct thaw_http_request *request,
		      void (*gone)(void *opaque, struct thaw_http_request *request), void *opaque)
{
	struct http_exchange *exchange = exchange_of(request);

	pthread_mutex_lock(&exchange->lock);
	int rc = exchange->left || exchange->closed ? -EPIPE : 0;
	if (rc == 0) {
		exchange->gone = gone;
		exchange->gone_opaque = opaque;
	}
	pthread_mutex_unlock(&exchange->lock);
	return rc;
}

int thaw_http_stream_begin(struct thaw_http_request *request, struct thaw_http_response *response)
{
	struct http_exchange *exchange = exchange_of(request);
	unsigned int status = thaw_http_response_status(response);
	uint8_t *ring = malloc(exchange->server->config.stream_max);
	struct MHD_Response *answer = http_response_make(
		response, request->id, atomic_load(&exchange->server->stopping), exchange);
	int rc = ring && answer ? 0 : -ENOMEM;

	pthread_mutex_lock(&exchange->lock);
	if (rc == 0 && (exchange->answered || exchange->closed))
		rc = -EPIPE;
	if (rc == 0) {
		exchange->stream = ring;
		exchange->streaming = true;
		exchange->answered = true;
		exchange->answer = answer;
		exchange->status = status;
		exchange_resume(exchange);
	}
	pthread_mutex_unlock(&exchange->lock);
	if (rc < 0) {
		free(ring);
		if (answer)
			MHD_destroy_response(answer);
	}
	return rc;
}

/* libmicrohttpd asks for more of the body; without any, the connection sleeps until there is. */
ssize_t http_stream_read(void *opaque, uint64_t position, char *buffer, size_t size)
{
	struct http_exchange *exchange = opaque;
	size_t capacity = exchange->server->config.stream_max;
	ssize_t rc;

	(void)position;
	pthread_mutex_lock(&exchange->lock);
	if (exchange->stream_aborted) {
		rc = MHD_CONTENT_READER_END_WITH_ERROR;
	} else if (exchange->stream_used) {
		size_t n = exchange->stream_used < size ? exchange->stream_used : size;
		size_t first = capacity - exchange->stream_start;
		first = first < n ? first : n;
		memcpy(buffer, exchange->stream + exchange->stream_start, first);
		memcpy(buffer + first, exchange->stream, n - first);
		exchange->stream_start = (exchange->stream_start + n) % capacity;
		exchange->stream_used -= n;
		pthread_cond_broadcast(&exchange->changed);
		rc = (ssize_t)n;
	} else if (exchange->stream_ended) {
		rc = MHD_CONTENT_READER_END_OF_STREAM;
	} else {
		exchange->suspended = true;
		MHD_suspend_connection(exchange->mhd);
		rc = 0;
	}
	pthread_mutex_unlock(&exchange->lock);
	return rc;
}

void http_stream_free(void *opaque)
{
	http_exchange_unref(opaque);
}

/* The lock is held. */
static bool stream_broken(const struct http_exchange *exchange)
{
	return !exchange->streaming || exchange->closed || exchange->stream_aborted;
}

ssize_t thaw_http_stream_write(struct thaw_http_request *request, const void *data, size_t size)
{
	struct http_exchange *exchange = exchange_of(request);
	size_t capacity = exchange->server->config.stream_max;
	ssize_t rc = -EPIPE;

	pthread_mutex_lock(&exchange->lock);
	if (!stream_broken(exchange)) {
		size_t room = capacity - exchange->stream_used;
		size_t n = size < room ? size : room;
		size_t end = (exchange->stream_start + exchange->stream_used) % capacity;
		size_t first = capacity - end < n ? capacity - end : n;
		memcpy(exchange->stream + end, data, first);
		memcpy(exchange->stream, (const uint8_t *)data + first, n - first);
		exchange->stream_used += n;
		if (n)
			exchange_resume(exchange);
		rc = (ssize_t)n;
	}
	pthread_mutex_unlock(&exchange->lock);
	return rc;
}

int thaw_http_stream_wait(struct thaw_http_request *request, unsigned int timeout_ms)
{
	struct http_exchange *exchange = exchange_of(request);
	size_t capacity = exchange->server->config.stream_max;
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&exchange->lock);
	while (rc == 0 && !stream_broken(exchange) && exchange->stream_used == capacity)
		rc = -pthread_cond_timedwait(&exchange->changed, &exchange->lock, &until);
	if (stream_broken(exchange))
		rc = -EPIPE;
	pthread_mutex_unlock(&exchange->lock);
	return rc;
}

static void stream_finish(struct thaw_http_request *request, bool abort)
{
	struct http_exchange *exchange = exchange_of(request);

	pthread_mutex_lock(&exchange->lock);
	if (abort)
		exchange->stream_aborted = true;
	exchange->stream_ended = true;
	exchange_resume(exchange);
	exchange_tell_no_more(exchange);
	pthread_mutex_unlock(&exchange->lock);
	http_exchange_unref(exchange);
}

void thaw_http_stream_end(struct thaw_http_request *request)
{
	stream_finish(request, false);
}

void thaw_http_stream_abort(struct thaw_http_request *request)
{
	stream_finish(request, true);
}
