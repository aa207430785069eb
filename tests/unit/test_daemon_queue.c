/* SPDX-License-Identifier: Apache-2.0 */
/* Asynchronous events: retries, ages, destinations, dead letters, chains, fairness, restarts. */
#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "service_queue_harness.h"
#include "host/daemon/address.h"
#include "host/store/events.h"
#include "lib/clock.h"

#define NONE THAW_STORE_UNSET

static uint64_t now_ms(void)
{
	return thaw_monotonic_ns() / 1000000;
}

static void test_success(void **state)
{
	struct queue_fixture *f = *state;
	int64_t id = queue_function(f, "good");
	struct queue_call call;

	queue_put(f, id, "one");
	wait_for(queue_stored(f, 0) == 0);
	assert_int_equal(queue_calls(NULL, NULL, &call), 1);
	assert_string_equal(call.name, "good");
	assert_string_equal(call.qualifier, "$LATEST");
	assert_string_equal(call.id, "one");
	assert_string_equal(call.trace, "Root=1");
	assert_string_equal(call.client, "e30=");
	assert_string_equal(call.payload, "{\"number\":123456789012345678901,\"id\":\"one\"}");
	wait_for(queue_counted(f, THAW_QUEUE_SUCCEEDED) == 1);
	assert_int_equal(queue_counted(f, THAW_QUEUE_RECEIVED), 1);
	assert_int_equal(queue_counted(f, THAW_QUEUE_STARTED), 1);
}

static void test_refused(void **state)
{
	struct queue_fixture *f = *state;
	int64_t id = queue_function(f, "held");
	struct thaw_queue_event event = {.account = ACCOUNT,
					 .function_id = id,
					 .name = "held",
					 .request_id = "one",
					 .client_context = "\xff",
					 .payload = (const uint8_t *)"{}",
					 .payload_size = 2};

	assert_int_equal(thaw_queue_put(f->queue, &event, ERR), -EINVAL);
	event.client_context = NULL;
	event.trace_id = "\xff";
	assert_ok(thaw_queue_put(f->queue, &event, ERR));
	assert_int_equal(thaw_queue_put(f->queue, &event, ERR), -EEXIST);
	event.request_id = "two";
	event.function_id = 999;
	assert_int_equal(thaw_queue_put(f->queue, &event, ERR), -ENOENT);
	assert_int_equal(queue_counted(f, THAW_QUEUE_RECEIVED), 1);
	queue_release();
	wait_for(queue_stored(f, 0) == 0);
}

static void test_retries(void **state)
{
	struct queue_fixture *f = *state;
	int64_t bad = queue_function(f, "bad"), flaky = queue_function(f, "flaky");
	int64_t none = queue_function(f, "bad-none");
	uint64_t since = now_ms();

	queue_configure(f, none, NULL, NULL, 0, NONE);
	queue_put(f, bad, "one");
	queue_put(f, flaky, "two");
	queue_put(f, none, "three");
	wait_for(queue_stored(f, 0) == 0);
	assert_in_range(now_ms() - since, 180, 5000); /* a minute and two, scaled */
	assert_int_equal(queue_calls("bad", "one", NULL), 3);
	assert_int_equal(queue_calls("flaky", "two", NULL), 2);
	assert_int_equal(queue_calls("bad-none", "three", NULL), 1);
	wait_for(queue_counted(f, THAW_QUEUE_DROPPED) == 2);
	assert_int_equal(queue_counted(f, THAW_QUEUE_RETRIED), 3);
	assert_int_equal(queue_counted(f, THAW_QUEUE_SUCCEEDED), 1);
}

static void test_throttled(void **state)
{
	struct queue_fixture *f = *state;
	int64_t busy = queue_function(f, "busy"), broken = queue_function(f, "broken");
	int64_t gone = queue_function(f, "gone"), full = queue_function(f, "full");

	queue_configure(f, broken, NULL, NULL, NONE, 200);
	queue_configure(f, full, NULL, queue_url(f, "/ok"), NONE, 100);
	queue_put(f, busy, "one");
	queue_put(f, broken, "two");
	queue_put(f, gone, "three");
	queue_put(f, full, "four");
	wait_for(queue_stored(f, 0) == 0);
	assert_int_equal(queue_calls("busy", "one", NULL), 4);
	assert_int_equal(queue_calls("gone", "three", NULL), 1);
	/* 1, 2, 4, ... ms with jitter until 200 or 100 ms are over. */
	assert_in_range(queue_calls("broken", "two", NULL), 2, 9);
	assert_in_range(queue_calls("full", "four", NULL), 2, 8);
	wait_for(queue_counted(f, THAW_QUEUE_DROPPED) == 3);
	assert_int_equal(queue_counted(f, THAW_QUEUE_SUCCEEDED), 1);
	assert_int_equal(queue_counted(f, THAW_QUEUE_RETRIED), 0);
	struct queue_post post;
	wait_for(queue_posts("/ok", &post) == 1);
	json_t *record = json_loads(post.body, JSON_DECODE_INT_AS_REAL, NULL);
	assert_string_equal(json_string_value(json_object_get(
				    json_object_get(record, "requestContext"), "condition")),
			    "EventAgeExceeded");
	assert_true(json_is_null(json_object_get(record, "responsePayload")));
	json_decref(record);
}

static void check_record(const char *text, const char *function, const char *condition, int count,
			 const char *error, const char *payload)
{
	json_t *record = json_loads(text, JSON_DECODE_INT_AS_REAL, NULL);
	const char *version, *timestamp, *request, *arn, *what, *executed, *failed = NULL;
	double invoked, status;
	json_t *response;

	assert_non_null(record);
	assert_int_equal(json_unpack(record,
				     "{s:s, s:s, s:{s:s, s:s, s:s, s:F}, s:{s:F, s:s, s?s},"
				     " s:o}",
				     "version", &version, "timestamp", &timestamp, "requestContext",
				     "requestId", &request, "functionArn", &arn, "condition", &what,
				     "approximateInvokeCount", &invoked, "responseContext",
				     "statusCode", &status, "executedVersion", &executed,
				     "functionError", &failed, "responsePayload", &response),
			 0);
	assert_string_equal(version, "1.0");
	assert_int_equal(strlen(timestamp), strlen("2026-01-31T12:00:00.000Z"));
	assert_string_equal(request, "one");
	assert_string_equal(arn, function);
	assert_string_equal(what, condition);
	assert_int_equal((int)invoked, count);
	assert_int_equal((int)status, 200);
	assert_string_equal(executed, "$LATEST");
	assert_string_equal(failed ? failed : "none", error ? error : "none");
	/* As the bytes they were: no parser's idea of a number. */
	assert_non_null(strstr(text, "\"requestPayload\":{\"number\":123456789012345678901,"
				     "\"id\":\"one\"}"));
	char *dumped = json_dumps(response, JSON_COMPACT);
	assert_string_equal(dumped, payload);
	free(dumped);
	json_decref(record);
}

static void test_destination_function(void **state)
{
	struct queue_fixture *f = *state;
	int64_t good = queue_function(f, "good-one"), bad = queue_function(f, "bad-one");
	struct queue_call call;

	queue_function(f, "good-sink");
	queue_function(f, "good-other");
	queue_configure(f, good, ARN("good-sink"), ARN("good-other"), NONE, NONE);
	queue_configure(f, bad, ARN("good-sink"), ARN("good-other"), 1, NONE);
	queue_put(f, good, "one");
	wait_for(queue_calls("good-sink", NULL, &call) == 1);
	assert_string_not_equal(call.id, "one");
	assert_string_equal(call.trace, "Root=1");
	assert_string_equal(call.client, "");
	check_record(call.payload, ARN("good-one:$LATEST"), "Success", 1, NULL, "{\"ok\":true}");
	wait_for(queue_stored(f, 0) == 0);
	queue_put(f, bad, "one");
	wait_for(queue_calls("good-other", NULL, &call) == 1);
	check_record(call.payload, ARN("bad-one:$LATEST"), "RetriesExhausted", 2, "Unhandled",
		     "{\"errorMessage\":\"boom\"}");
	wait_for(queue_stored(f, 0) == 0);
	assert_int_equal(queue_calls("good-sink", NULL, NULL), 1);
	assert_int_equal(queue_counted(f, THAW_QUEUE_RECEIVED), 4);
}

static void test_destination_url(void **state)
{
	struct queue_fixture *f = *state;
	int64_t one = queue_function(f, "good-one"), two = queue_function(f, "good-two");
	int64_t three = queue_function(f, "good-three"), four = queue_function(f, "good-four");
	struct queue_post post;

	queue_configure(f, one, queue_url(f, "/ok"), NULL, NONE, NONE);
	queue_configure(f, two, queue_url(f, "/flaky"), NULL, NONE, NONE);
	queue_configure(f, three, queue_url(f, "/fail"), NULL, NONE, NONE);
	queue_configure(f, four, queue_url(f, "/redirect"), NULL, NONE, NONE);
	queue_put(f, one, "one");
	wait_for(queue_posts("/ok", &post) == 1);
	check_record(post.body, ARN("good-one:$LATEST"), "Success", 1, NULL, "{\"ok\":true}");
	assert_string_equal(post.type, "application/json");
	assert_string_equal(post.code, "");
	queue_put(f, two, "two");
	queue_put(f, three, "three");
	queue_put(f, four, "four");
	wait_for(queue_stored(f, 0) == 0);
	assert_int_equal(queue_posts("/flaky", NULL), 3);
	assert_int_equal(queue_posts("/fail", NULL), 5);
	assert_int_equal(queue_posts("/redirect", NULL), 5);
	assert_int_equal(queue_posts("/moved", NULL), 0);
	wait_for(queue_counted(f, THAW_QUEUE_DELIVERED) == 2);
	wait_for(queue_counted(f, THAW_QUEUE_DESTINATION_FAILED) == 2);
	assert_int_equal(queue_calls(NULL, NULL, NULL), 4); /* what is posted is not invoked */
}

static void test_destination_refused(void **state)
{
	struct queue_fixture *f = *state;
	static const char *const targets[] = {
		"arn:aws:sqs:" REGION ":" ACCOUNT ":line",
		"arn:aws:lambda:" REGION ":" OTHER ":function:good-sink",
		"arn:aws:lambda:us-east-1:" ACCOUNT ":function:good-sink",
		ARN("missing"),
		"good-sink",
		"file:///etc/passwd",
	};
	size_t count = sizeof(targets) / sizeof(targets[0]);
	char name[32], id[32];

	queue_function(f, "good-sink");
	store_function(f->store->store, OTHER, "good-sink");
	for (size_t i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "good-%zu", i);
		snprintf(id, sizeof(id), "id-%zu", i);
		int64_t function = queue_function(f, name);
		queue_configure(f, function, targets[i], NULL, NONE, NONE);
		queue_put(f, function, id);
	}
	wait_for(queue_counted(f, THAW_QUEUE_DESTINATION_FAILED) == count);
	wait_for(queue_stored(f, 0) == 0);
	assert_int_equal(queue_calls("good-sink", NULL, NULL), 0);
	/* The host itself, unless it is allowed. */
	f->config.destination_private = false;
	int64_t function = queue_function(f, "good-private");
	queue_configure(f, function, queue_url(f, "/private"), NULL, NONE, NONE);
	queue_put(f, function, "private");
	wait_for(queue_counted(f, THAW_QUEUE_DESTINATION_FAILED) == count + 1);
	assert_int_equal(queue_posts("/private", NULL), 0);
	wait_for(queue_stored(f, 0) == 0);
}

static int64_t dead_letter_function(struct queue_fixture *f, const char *name, const char *target)
{
	struct thaw_function_item item = store_item(ACCOUNT, name), made;
	char config[256];

	snprintf(config, sizeof(config), "{\"DeadLetterConfig\":{\"TargetArn\":\"%s\"}}", target);
	item.version.config = config;
	assert_ok(thaw_functions_create(f->store->store, &item, &made, ERR));
	int64_t id = made.function.id;
	thaw_function_item_clear(&made);
	return id;
}

static void test_dead_letters(void **state)
{
	struct queue_fixture *f = *state;
	int64_t one = dead_letter_function(f, "bad-one", ARN("good-sink"));
	int64_t two = dead_letter_function(f, "bad-two", queue_url(f, "/dead"));
	int64_t three = dead_letter_function(f, "bad-three", "arn:aws:sns:x:y:z");
	int64_t four = dead_letter_function(f, "good-four", queue_url(f, "/never"));
	struct queue_call call;
	struct queue_post post;

	queue_function(f, "good-sink");
	queue_configure(f, one, NULL, queue_url(f, "/both"), 0, NONE);
	queue_configure(f, two, NULL, NULL, 0, NONE);
	queue_configure(f, three, NULL, NULL, 0, NONE);
	queue_put(f, one, "one");
	queue_put(f, two, "two");
	queue_put(f, three, "three");
	queue_put(f, four, "four");
	wait_for(queue_stored(f, 0) == 0);
	assert_int_equal(queue_calls("good-sink", NULL, &call), 1);
	assert_string_equal(call.payload,
			    "{\"event\":{\"number\":123456789012345678901,\"id\":\"one\"},"
			    "\"RequestID\":\"one\",\"ErrorCode\":\"200\","
			    "\"ErrorMessage\":\"boom\"}");
	assert_int_equal(queue_posts("/both", NULL), 1);
	assert_int_equal(queue_posts("/dead", &post), 1);
	assert_string_equal(post.body, "{\"number\":123456789012345678901,\"id\":\"two\"}");
	assert_string_equal(post.id, "two");
	assert_string_equal(post.code, "200");
	assert_string_equal(post.message, "boom");
	assert_int_equal(queue_posts("/never", NULL), 0);
	wait_for(queue_counted(f, THAW_QUEUE_DEAD_LETTER_FAILED) == 1);
	assert_int_equal(queue_counted(f, THAW_QUEUE_DROPPED), 3);
}

static void test_loop(void **state)
{
	struct queue_fixture *f = *state;
	int64_t id = queue_function(f, "good-loop");

	queue_configure(f, id, ARN("good-loop"), NULL, NONE, NONE);
	queue_put(f, id, "one");
	wait_for(queue_counted(f, THAW_QUEUE_LOOPED) == 1);
	wait_for(queue_stored(f, 0) == 0);
	assert_int_equal(queue_calls("good-loop", NULL, NULL), THAW_QUEUE_DEPTH_MAX + 1);
}

/* Whoever has a backlog leaves slots for those that come later. */
static void test_fairness(void **state)
{
	struct queue_fixture *f = *state;
	int64_t many = queue_function(f, "held-many"), more = queue_function(f, "held-more");
	int64_t few = queue_function(f, "good-few");
	struct thaw_queue_counts counts;
	char id[32];

	for (int i = 0; i < 80; i++) {
		snprintf(id, sizeof(id), "many-%d", i);
		queue_put(f, many, id);
	}
	wait_for(queue_calls("held-many", NULL, NULL) == THAW_QUEUE_SLOTS / 2);
	for (int i = 0; i < 20; i++) {
		snprintf(id, sizeof(id), "more-%d", i);
		queue_put(f, more, id);
		snprintf(id, sizeof(id), "few-%d", i);
		queue_put(f, few, id);
	}
	wait_for(queue_calls("good-few", NULL, NULL) == 20);
	wait_for(queue_calls("held-more", NULL, NULL) > 5);
	assert_int_equal(queue_calls("held-many", NULL, NULL), THAW_QUEUE_SLOTS / 2);
	assert_ok(thaw_queue_count(f->queue, &counts, ERR));
	assert_in_range(counts.under_way, THAW_QUEUE_SLOTS / 2 + 6, THAW_QUEUE_SLOTS - 16);
	/* ... also to another account. */
	int64_t other = store_function(f->store->store, OTHER, "good-other");
	struct thaw_queue_event event = {.account = OTHER,
					 .function_id = other,
					 .name = "good-other",
					 .request_id = "other",
					 .payload = (const uint8_t *)"{}",
					 .payload_size = 2};
	assert_ok(thaw_queue_put(f->queue, &event, ERR));
	wait_for(queue_calls("good-other", NULL, NULL) == 1);
	queue_release();
	wait_for(queue_stored(f, 0) == 0);
	assert_int_equal(queue_calls("held-many", NULL, NULL), 80);
	wait_for(queue_counted(f, THAW_QUEUE_SUCCEEDED) == 121);
}

/* What is under way when the queue must end is there again at the next start. */
static void test_restart(void **state)
{
	struct queue_fixture *f = *state;
	int64_t held = queue_function(f, "held"), good = queue_function(f, "good");

	f->config.drain_s = 0;
	queue_put(f, held, "one");
	queue_put(f, good, "two");
	wait_for(queue_calls(NULL, NULL, NULL) == 2);
	wait_for(queue_stored(f, good) == 0);
	queue_stop(f);
	queue_release(); /* an answer for nobody */
	store_reopen(f->store);
	queue_start(f);
	wait_for(queue_stored(f, 0) == 0);
	assert_int_equal(queue_calls("held", "one", NULL), 2);
	assert_int_equal(queue_calls("good", "two", NULL), 1);
}

static void *release_soon(void *opaque)
{
	usleep(100000);
	queue_release();
	return opaque;
}

/* Within its grace what is under way ends well. */
static void test_drain(void **state)
{
	struct queue_fixture *f = *state;
	int64_t held = queue_function(f, "held");
	pthread_t thread;

	queue_put(f, held, "one");
	wait_for(queue_calls("held", NULL, NULL) == 1);
	assert_int_equal(pthread_create(&thread, NULL, release_soon, NULL), 0);
	queue_stop(f);
	assert_int_equal(queue_stored(f, 0), 0);
	pthread_join(thread, NULL);
}

/* A function that is deleted while one of its events runs. */
static void test_deleted(void **state)
{
	struct queue_fixture *f = *state;
	int64_t held = queue_function(f, "held"), good = queue_function(f, "good");

	queue_configure(f, held, ARN("good"), NULL, NONE, NONE);
	queue_put(f, held, "one");
	wait_for(queue_calls("held", NULL, NULL) == 1);
	assert_ok(thaw_functions_delete(f->store->store, held, ERR));
	queue_release();
	queue_put(f, good, "two");
	wait_for(queue_counted(f, THAW_QUEUE_SUCCEEDED) == 1);
	struct thaw_queue_counts counts;
	do {
		assert_ok(thaw_queue_count(f->queue, &counts, ERR));
	} while (counts.under_way);
	assert_int_equal(queue_calls("good", NULL, NULL), 1);
	assert_int_equal(queue_stored(f, 0), 0);
}

/* While the disk is full an event can neither be finished nor put back: it is when there is room
 * again, without a restart. */
static void test_disk_full(void **state)
{
	struct queue_fixture *f = *state;
	int64_t held = queue_function(f, "held");
	struct rlimit before, none;
	struct thaw_queue_counts counts;

	queue_put(f, held, "one");
	wait_for(queue_calls("held", NULL, NULL) == 1);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	none = before;
	none.rlim_cur = 1;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	queue_release();
	do {
		assert_ok(thaw_queue_count(f->queue, &counts, ERR));
	} while (counts.under_way);
	assert_int_equal(queue_stored(f, 0), 1);
	assert_int_equal(counts.waiting, 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	wait_for(queue_stored(f, 0) == 0);
	assert_int_equal(queue_calls("held", "one", NULL), 2);
}

static void observe(void *opaque, const struct thaw_queue_note *note)
{
	unsigned int *seen = opaque;

	assert_string_equal(note->account, ACCOUNT);
	assert_true(note->what < THAW_QUEUE_WHATS);
	assert_in_range(note->age_ms, 0, 10000);
	seen[note->what]++;
}

static void test_observe(void **state)
{
	struct queue_fixture *f = *state;
	int64_t flaky = queue_function(f, "flaky");
	unsigned int seen[THAW_QUEUE_WHATS] = {0};

	thaw_queue_observe(f->queue, observe, seen);
	queue_put(f, flaky, "one");
	wait_for(queue_counted(f, THAW_QUEUE_SUCCEEDED) == 1);
	thaw_queue_observe(f->queue, NULL, NULL);
	assert_int_equal(seen[THAW_QUEUE_RECEIVED], 1);
	assert_int_equal(seen[THAW_QUEUE_STARTED], 2);
	assert_int_equal(seen[THAW_QUEUE_RETRIED], 1);
	assert_int_equal(seen[THAW_QUEUE_SUCCEEDED], 1);
}

static bool is_public(const char *text)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, text, &in4.sin_addr) == 1)
		return thaw_address_is_public((struct sockaddr *)&in4);
	assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
	return thaw_address_is_public((struct sockaddr *)&in6);
}

static void test_addresses(void **state)
{
	static const char *const private[] = {
		"0.0.0.0",
		"10.1.2.3",
		"100.64.0.1",
		"100.127.255.255",
		"127.0.0.1",
		"169.254.169.254",
		"172.16.0.1",
		"172.31.255.255",
		"192.168.1.1",
		"198.18.0.1",
		"198.19.9.9",
		"224.0.0.1",
		"240.0.0.1",
		"255.255.255.255",
		"192.0.0.8",
		"::",
		"::1",
		"::ffff:127.0.0.1",
		"::127.0.0.1",
		"::ffff:169.254.169.254",
		"64:ff9b::a00:1",
		"64:ff9b:1::1",
		"2002:7f00:1::",
		"fc00::1",
		"fd12::1",
		"fe80::1",
		"fec0::1",
		"ff02::1",
		"2001::1",
		"2001:db8::1",
		"100::1",
		"3fff::1",
	};
	static const char *const public[] = {
		"1.1.1.1",
		"9.255.255.255",
		"11.0.0.1",
		"100.63.255.255",
		"100.128.0.0",
		"172.15.0.1",
		"172.32.0.1",
		"192.169.0.1",
		"223.255.255.255",
		"2606:4700:4700::1111",
		"::ffff:8.8.8.8",
		"64:ff9b::808:808",
		"2002:808:808::1",
		"2a00:1450:4001::1",
		"2001:4860:4860::8888",
	};
	struct sockaddr local = {.sa_family = AF_UNIX};

	(void)state;
	for (size_t i = 0; i < sizeof(private) / sizeof(private[0]); i++) {
		if (is_public(private[i]))
			fail_msg("%s is not public", private[i]);
	}
	for (size_t i = 0; i < sizeof(public) / sizeof(public[0]); i++) {
		if (!is_public(public[i]))
			fail_msg("%s is public", public[i]);
	}
	assert_false(thaw_address_is_public(&local));
}

#define with_queue(test) cmocka_unit_test_setup_teardown(test, queue_setup, queue_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_queue(test_success),
		with_queue(test_refused),
		with_queue(test_retries),
		with_queue(test_throttled),
		with_queue(test_destination_function),
		with_queue(test_destination_url),
		with_queue(test_destination_refused),
		with_queue(test_dead_letters),
		with_queue(test_loop),
		with_queue(test_fairness),
		with_queue(test_restart),
		with_queue(test_drain),
		with_queue(test_deleted),
		with_queue(test_disk_full),
		with_queue(test_observe),
		cmocka_unit_test(test_addresses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
