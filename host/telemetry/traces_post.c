/* SPDX-License-Identifier: Apache-2.0 */
#include "host/telemetry/traces_post.h"

#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/telemetry/traces.h"
#include "lib/clock.h"
#include "lib/error.h"

#define CONNECT_MS      5000
#define RESPONSE_MAX    (1 << 20) /* bytes that are read */
#define RESPONSE_KEPT   4096      /* of which so many are looked at */
#define RETRY_AFTER_MAX 30        /* seconds */
#define NS_PER_MS       UINT64_C(1000000)

struct traces_post {
	CURLM *multi; /* keeps the connection, and can be woken */
	CURL *easy;
	struct curl_slist *headers;
	uint32_t timeout_ms;
	_Atomic uint64_t end_ns;
	char response[RESPONSE_KEPT];
	size_t response_size, response_kept;
};

static void post_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

bool thaw_traces_url_valid(const char *url)
{
	const char *rest = strncasecmp(url, "http://", 7) == 0    ? url + 7
			   : strncasecmp(url, "https://", 8) == 0 ? url + 8
								  : "";
	CURLU *parts = curl_url();

	/* curl passes over slashes that are too many, and takes the path for the host. */
	bool good = parts && *rest && *rest != '/' &&
		    curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK;
	curl_url_cleanup(parts);
	return good;
}

static size_t post_read(char *data, size_t size, size_t count, void *opaque)
{
	struct traces_post *post = opaque;
	size_t room = sizeof(post->response) - post->response_kept, all = size * count;
	size_t kept = all < room ? all : room;

	memcpy(post->response + post->response_kept, data, kept);
	post->response_kept += kept;
	post->response_size += all;
	return post->response_size > RESPONSE_MAX ? 0 : all;
}

static bool post_options(struct traces_post *post, const char *url)
{
	CURL *curl = post->easy;

	/* No redirects, no proxy of our environment; a name server that does not answer holds
	 * nobody up (QUICK_EXIT). */
	return curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)post->timeout_ms) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_USERAGENT, "thaw/" THAW_VERSION) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_HTTPHEADER, post->headers) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_POST, 1L) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, post_read) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_WRITEDATA, post) == CURLE_OK;
}

struct traces_post *traces_post_new(const char *url, uint32_t timeout_ms, struct thaw_error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct traces_post *post = calloc(1, sizeof(*post));

	pthread_once(&once, post_curl);
	if (post) {
		post->timeout_ms = timeout_ms;
		post->end_ns = UINT64_MAX;
		post->multi = curl_multi_init();
		post->easy = curl_easy_init();
		post->headers = curl_slist_append(NULL, "Content-Type: application/json");
		/* Without it curl would wait a second for a leave that few servers give. */
		if (post->headers && curl_slist_append(post->headers, "Expect:") && post->multi &&
		    post->easy && post_options(post, url))
			return post;
	}
	traces_post_free(post);
	thaw_error_errno(err, ENOMEM, "what posts traces");
	return NULL;
}

void traces_post_free(struct traces_post *post)
{
	if (!post)
		return;
	curl_easy_cleanup(post->easy);
	curl_multi_cleanup(post->multi);
	curl_slist_free_all(post->headers);
	free(post);
}

void traces_post_hurry(struct traces_post *post, uint64_t end_ns)
{
	atomic_store(&post->end_ns, end_ns);
	curl_multi_wakeup(post->multi);
}

/* Until the transfer has ended, or its time: then CURLE_OPERATION_TIMEDOUT. */
static CURLcode post_perform(struct traces_post *post)
{
	int running = 0, left;

	for (;;) {
		if (curl_multi_perform(post->multi, &running) != CURLM_OK)
			return CURLE_FAILED_INIT;
		const CURLMsg *message = curl_multi_info_read(post->multi, &left);
		if (message && message->msg == CURLMSG_DONE)
			return message->data.result;
		uint64_t now = thaw_monotonic_ns(), end = atomic_load(&post->end_ns);
		if (now >= end)
			return CURLE_OPERATION_TIMEDOUT;
		uint64_t ms = (end - now) / NS_PER_MS + 1;
		curl_multi_poll(post->multi, NULL, 0, ms < 1000 ? (int)ms : 1000, NULL);
	}
}

/* ExportTraceServiceResponse: {"partialSuccess": {"rejectedSpans": "3", ...}}, mostly {}. */
static uint64_t post_rejected(const struct traces_post *post)
{
	json_t *tree = json_loadb(post->response, post->response_kept, 0, NULL);
	const json_t *count =
		json_object_get(json_object_get(tree, "partialSuccess"), "rejectedSpans");
	long long rejected = 0;

	if (json_is_integer(count))
		rejected = json_integer_value(count);
	else if (json_is_string(count))
		rejected = strtoll(json_string_value(count), NULL, 10);
	json_decref(tree);
	return rejected > 0 ? (uint64_t)rejected : 0;
}

static void post_judge(struct traces_post *post, CURLcode code, struct traces_post_outcome *outcome)
{
	curl_off_t after = 0;
	long status = 0;

	/* What is too long an answer is one all the same. */
	if (code != CURLE_OK && code != CURLE_WRITE_ERROR) {
		outcome->result = TRACES_POST_AGAIN;
		snprintf(outcome->why, sizeof(outcome->why), "%s", curl_easy_strerror(code));
		return;
	}
	curl_easy_getinfo(post->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(post->easy, CURLINFO_RETRY_AFTER, &after);
	snprintf(outcome->why, sizeof(outcome->why), "status %ld", status);
	if (status >= 200 && status < 300) {
		outcome->result = TRACES_POST_DONE;
		outcome->rejected = post_rejected(post);
	} else if (status == 429 || status == 502 || status == 503 || status == 504) {
		outcome->result = TRACES_POST_AGAIN;
		outcome->retry_after_ms =
			(uint64_t)(after < RETRY_AFTER_MAX ? after : RETRY_AFTER_MAX) * 1000;
	}
}

void traces_post_send(struct traces_post *post, const char *body, size_t size,
		      struct traces_post_outcome *outcome)
{
	*outcome = (struct traces_post_outcome){.result = TRACES_POST_REFUSED};
	post->response_size = post->response_kept = 0;
	if (curl_easy_setopt(post->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size) !=
		    CURLE_OK ||
	    curl_easy_setopt(post->easy, CURLOPT_POSTFIELDS, body) != CURLE_OK ||
	    curl_multi_add_handle(post->multi, post->easy) != CURLM_OK) {
		snprintf(outcome->why, sizeof(outcome->why), "it could not be begun");
		return;
	}
	CURLcode code = post_perform(post);
	post_judge(post, code, outcome);
	curl_multi_remove_handle(post->multi, post->easy);
}
