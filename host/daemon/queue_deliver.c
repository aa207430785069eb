/* SPDX-License-Identifier: Apache-2.0 */
/* One thread posts to all URLs at once (libcurl's multi interface). */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "host/daemon/address.h"
#include "host/daemon/queue_internal.h"

#define CONNECT_MS   5000
#define TOTAL_MS     15000
#define POLL_MS      1000
#define RESPONSE_MAX (1 << 20) /* bytes that are read and thrown away */

struct queue_deliver {
	CURLM *multi;
	pthread_t thread;
	pthread_mutex_t lock;
	struct queue_job *first; /* not begun yet */
	bool ending;
	struct queue_job *under_way; /* the thread's own */
};

/* --- one post --- */

static curl_socket_t post_socket(void *opaque, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct queue_job *job = opaque;

	(void)purpose;
	/* The address that is connected to, whatever the name said before. */
	if (!job->queue->service->config->destination_private &&
	    !thaw_address_is_public(&address->addr)) {
		job->refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t post_ignore(char *data, size_t size, size_t count, void *opaque)
{
	struct queue_job *job = opaque;

	(void)data;
	job->answered += size * count;
	return job->answered > RESPONSE_MAX ? 0 : size * count;
}

/* "Name: value"; what would break the head becomes '?'. */
static bool header_add(struct curl_slist **headers, const char *name, const char *value)
{
	char *line = NULL;

	if (asprintf(&line, "%s: %s", name, value) < 0)
		return false;
	thaw_text_printable(line);
	struct curl_slist *longer = curl_slist_append(*headers, line);
	free(line);
	if (longer)
		*headers = longer;
	return longer != NULL;
}

static bool post_headers(struct queue_job *job)
{
	const struct queue_context *context = &job->context;
	struct curl_slist *headers = NULL;

	bool good = header_add(&headers, "Content-Type", "application/json");
	/* Without it curl would wait a second for a leave that few servers give. */
	struct curl_slist *longer = curl_slist_append(headers, "Expect:");
	good = good && longer;
	headers = longer ? longer : headers;
	if (good && context->dead_letter)
		good = header_add(&headers, "RequestID", context->id ? context->id : "") &&
		       header_add(&headers, "ErrorCode", context->code ? context->code : "") &&
		       header_add(&headers, "ErrorMessage",
				  context->message ? context->message : "");
	job->headers = headers;
	return good;
}

static bool post_options(struct queue_job *job, CURL *curl)
{
	const struct thaw_blob *payload = &job->event.payload;
	curl_off_t size = (curl_off_t)payload->size;

	/* No redirects, no proxy of our environment, no connection that another post has opened;
	 * and a name server that does not answer holds up nobody else (QUICK_EXIT). */
	return curl_easy_setopt(curl, CURLOPT_URL, job->context.url) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)TOTAL_MS) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_USERAGENT, "thaw/" THAW_VERSION) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_HTTPHEADER, job->headers) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_POST, 1L) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, size) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_POSTFIELDS, payload->data) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, post_ignore) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_WRITEDATA, job) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, post_socket) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, job) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_PRIVATE, job) == CURLE_OK;
}

/* --- the thread --- */

static void post_release(struct queue_deliver *deliver, struct queue_job *job)
{
	if (job->transfer) {
		curl_multi_remove_handle(deliver->multi, job->transfer);
		curl_easy_cleanup(job->transfer);
	}
	curl_slist_free_all(job->headers);
	job->transfer = job->headers = NULL;
}

static void post_end(struct queue_deliver *deliver, struct queue_job *job, const char *why)
{
	post_release(deliver, job);
	if (!queue_job_begin(job))
		return;
	queue_settle_delivery(job, why);
	queue_job_end(job);
}

static void post_begin(struct queue_deliver *deliver, struct queue_job *job)
{
	job->transfer = curl_easy_init();
	if (!job->transfer || !post_headers(job) || !post_options(job, job->transfer) ||
	    curl_multi_add_handle(deliver->multi, job->transfer) != CURLM_OK) {
		post_end(deliver, job, "it could not be begun");
		return;
	}
	job->next = deliver->under_way;
	deliver->under_way = job;
}

static void post_ended(struct queue_deliver *deliver, CURL *curl, CURLcode code)
{
	struct queue_job *job = NULL, **link = &deliver->under_way;
	char text[64];
	const char *why = NULL;
	long status = 0;

	curl_easy_getinfo(curl, CURLINFO_PRIVATE, &job);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	/* What is too long an answer is one all the same. */
	if (code != CURLE_OK && code != CURLE_WRITE_ERROR)
		why = job->refused ? "its address is not public" : curl_easy_strerror(code);
	else if (status >= 300) {
		snprintf(text, sizeof(text), "status %ld", status);
		why = text;
	}
	while (*link != job)
		link = &(*link)->next;
	*link = job->next;
	post_end(deliver, job, why);
}

static void *deliver_thread(void *opaque)
{
	struct queue_deliver *deliver = opaque;
	CURLMsg *message;
	int count;

	for (;;) {
		pthread_mutex_lock(&deliver->lock);
		struct queue_job *list = deliver->first;
		deliver->first = NULL;
		bool ending = deliver->ending;
		pthread_mutex_unlock(&deliver->lock);
		while (list) {
			struct queue_job *job = list;
			list = job->next;
			post_begin(deliver, job);
		}
		if (ending)
			break;
		curl_multi_perform(deliver->multi, &count);
		while ((message = curl_multi_info_read(deliver->multi, &count))) {
			if (message->msg == CURLMSG_DONE)
				post_ended(deliver, message->easy_handle, message->data.result);
		}
		curl_multi_poll(deliver->multi, NULL, 0, POLL_MS, NULL);
	}
	while (deliver->under_way) {
		struct queue_job *job = deliver->under_way;
		deliver->under_way = job->next;
		post_end(deliver, job, "the host stops");
	}
	return NULL;
}

void queue_deliver_post(struct queue_deliver *deliver, struct queue_job *job)
{
	pthread_mutex_lock(&deliver->lock);
	job->next = deliver->first;
	deliver->first = job;
	pthread_mutex_unlock(&deliver->lock);
	curl_multi_wakeup(deliver->multi);
}

static void deliver_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

struct queue_deliver *queue_deliver_new(struct thaw_error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct queue_deliver *deliver = calloc(1, sizeof(*deliver));
	int rc = deliver ? 0 : ENOMEM;

	pthread_once(&once, deliver_curl);
	if (rc == 0) {
		deliver->multi = curl_multi_init();
		rc = deliver->multi ? 0 : ENOMEM;
	}
	if (rc == 0) {
		pthread_mutex_init(&deliver->lock, NULL);
		rc = pthread_create(&deliver->thread, NULL, deliver_thread, deliver);
		if (rc == 0)
			return deliver;
		pthread_mutex_destroy(&deliver->lock);
		curl_multi_cleanup(deliver->multi);
	}
	free(deliver);
	thaw_error_errno(err, rc, "starting what posts results");
	return NULL;
}

void queue_deliver_free(struct queue_deliver *deliver)
{
	if (!deliver)
		return;
	pthread_mutex_lock(&deliver->lock);
	deliver->ending = true;
	pthread_mutex_unlock(&deliver->lock);
	curl_multi_wakeup(deliver->multi);
	pthread_join(deliver->thread, NULL);
	curl_multi_cleanup(deliver->multi);
	pthread_mutex_destroy(&deliver->lock);
	free(deliver);
}
