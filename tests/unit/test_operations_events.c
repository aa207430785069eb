/* SPDX-License-Identifier: Apache-2.0 */
/* Event invoke configurations and tags through the API. */
#include "service_operations_harness.h"
#include "host/store/event_config.h"

#define EVENTS  "/2019-09-25/functions/web/event-invoke-config"
#define ARN     "arn:aws:lambda:us-east-1:" ACCOUNT ":function:web"
#define SINK    "arn:aws:lambda:us-east-1:" ACCOUNT ":function:sink"
#define TAGS    "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A" ACCOUNT "%3Afunction%3Aweb"
#define INVALID "InvalidParameterValueException"

static int64_t web(struct operations_fixture *f)
{
	int64_t id = store_function(f->service.store, ACCOUNT, "web");

	store_publish(f->service.store, id, "a");
	store_function(f->service.store, ACCOUNT, "sink");
	store_function(f->service.store, OTHER, "theirs");
	return id;
}

static const char *to(const char *destination)
{
	static char body[1024];

	snprintf(body, sizeof(body),
		 "{\"DestinationConfig\":{\"OnFailure\":{\"Destination\":\"%s\"}}}", destination);
	return body;
}

static void test_put(void **state)
{
	struct operations_fixture *f = *state;
	struct thaw_event_config config;
	int64_t id = web(f);

	assert_error(f, "ResourceNotFoundException",
		     "The function " ARN ":$LATEST doesn't have an EventInvokeConfig", "GET",
		     EVENTS, NULL);
	assert_error(f, INVALID, "at least one of error handling or destination", "PUT", EVENTS,
		     "{}");
	assert_answer(f, 200, "PUT", EVENTS,
		      "{\"MaximumRetryAttempts\":2,\"MaximumEventAgeInSeconds\":21600}");
	assert_string_equal(said("FunctionArn"), ARN ":$LATEST");
	assert_int_equal(said_number("MaximumRetryAttempts"), 2);
	assert_int_equal(said_number("MaximumEventAgeInSeconds"), 21600);
	assert_true(said_number("LastModified") > 1e9 && said_number("LastModified") < 1e11);
	assert_int_equal(said_count("DestinationConfig"), 2);
	assert_int_equal(said_count("DestinationConfig.OnSuccess"), 0);
	/* With and without the name it is one. */
	assert_ok(thaw_event_configs_get(f->service.store, id, "", &config, ERR));
	thaw_event_config_clear(&config);
	assert_answer(f, 200, "GET", EVENTS "?Qualifier=$LATEST", NULL);
	assert_int_equal(said_number("MaximumRetryAttempts"), 2);

	assert_answer(f, 200, "PUT", EVENTS,
		      "{\"MaximumRetryAttempts\":0,\"MaximumEventAgeInSeconds\":60}");
	assert_error(f, "ValidationException", "'maximumRetryAttempts'", "PUT", EVENTS,
		     "{\"MaximumRetryAttempts\":3}");
	assert_error(f, "ValidationException", "'maximumRetryAttempts'", "PUT", EVENTS,
		     "{\"MaximumRetryAttempts\":-1}");
	assert_error(f, "ValidationException", "'maximumEventAgeInSeconds'", "PUT", EVENTS,
		     "{\"MaximumEventAgeInSeconds\":59}");
	assert_error(f, "ValidationException", "'maximumEventAgeInSeconds'", "PUT", EVENTS,
		     "{\"MaximumEventAgeInSeconds\":21601}");
	assert_error(f, "ResourceNotFoundException", ARN ":nope", "PUT", EVENTS "?Qualifier=nope",
		     "{\"MaximumRetryAttempts\":1}");

	/* Put replaces all, update what is given. */
	assert_answer(f, 200, "PUT", EVENTS, to(SINK));
	assert_null(said_json("MaximumRetryAttempts"));
	assert_string_equal(said("DestinationConfig.OnFailure.Destination"), SINK);
	assert_answer(f, 200, "POST", EVENTS, "{\"MaximumRetryAttempts\":1}");
	assert_int_equal(said_number("MaximumRetryAttempts"), 1);
	assert_string_equal(said("DestinationConfig.OnFailure.Destination"), SINK);
	assert_answer(f, 200, "POST", EVENTS, to(""));
	assert_int_equal(said_number("MaximumRetryAttempts"), 1);
	assert_int_equal(said_count("DestinationConfig.OnFailure"), 0);
	assert_error(f, "ResourceNotFoundException", ARN ":1 doesn't have an EventInvokeConfig",
		     "POST", EVENTS "?Qualifier=1", "{\"MaximumRetryAttempts\":1}");
	assert_answer(f, 204, "DELETE", EVENTS, NULL);
	assert_answer(f, 404, "DELETE", EVENTS, NULL);
}

static void test_destinations(void **state)
{
	struct operations_fixture *f = *state;
	static const char *const good[] = {SINK, SINK ":$LATEST", "https://example.com",
					   "http://example.com:8080/a?b=c&d=%20", "http://[::1]/x"};
	static const char *const bad[] = {
		"sink",
		"arn:aws:lambda:us-east-1:" ACCOUNT ":function:nobody",
		"arn:aws:lambda:us-east-1:" OTHER ":function:theirs",
		"arn:aws:lambda:eu-west-1:" ACCOUNT ":function:sink",
		"arn:aws:sqs:us-east-1:" ACCOUNT ":queue",
		"ftp://example.com",
		"https://",
		"https:///path",
		"https://:80/",
		"https://user:secret@example.com/",
		"https://example.com/a b",
		"https://example.com/\\r\\nX: y",
		"https://example.com/#part",
	};
	char url[400];

	web(f);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_answer(f, 200, "PUT", EVENTS, to(good[i]));
		assert_string_equal(said("DestinationConfig.OnFailure.Destination"), good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_error(f, INVALID, "onSuccess=null, onFailure=OnFailure(destination=", "PUT",
			     EVENTS, to(bad[i]));
	assert_error(f, INVALID, "You can't specify the function as a destination for itself.",
		     "PUT", EVENTS, to(ARN));
	snprintf(url, sizeof(url), "https://example.com/%0330d", 0);
	assert_answer(f, 200, "PUT", EVENTS, to(url));
	strcat(url, "0");
	assert_error(f, "ValidationException", "'destinationConfig.onFailure.destination'", "PUT",
		     EVENTS, to(url));
}

static void test_list(void **state)
{
	struct operations_fixture *f = *state;
	char target[256];

	web(f);
	assert_answer(f, 200, "PUT", EVENTS, "{\"MaximumRetryAttempts\":1}");
	assert_answer(f, 200, "PUT", EVENTS "?Qualifier=1", "{\"MaximumRetryAttempts\":2}");
	assert_answer(f, 200, "GET", EVENTS "/list?MaxItems=1", NULL);
	assert_int_equal(said_count("FunctionEventInvokeConfigs"), 1);
	assert_string_equal(said("FunctionEventInvokeConfigs.0.FunctionArn"), ARN ":$LATEST");
	snprintf(target, sizeof(target), EVENTS "/list?Marker=%s", said("NextMarker"));
	assert_answer(f, 200, "GET", target, NULL);
	assert_int_equal(said_count("FunctionEventInvokeConfigs"), 1);
	assert_string_equal(said("FunctionEventInvokeConfigs.0.FunctionArn"), ARN ":1");
	assert_null(said_json("NextMarker"));
}

static void test_tags(void **state)
{
	struct operations_fixture *f = *state;
	char body[8192] = "{\"Tags\":{", text[300];

	web(f);
	assert_answer(f, 200, "GET", TAGS, NULL);
	assert_int_equal(said_count("Tags"), 0);
	assert_answer(f, 204, "POST", TAGS, "{\"Tags\":{\"a\":\"1\",\"b c\":\"\"}}");
	assert_answer(f, 204, "POST", TAGS, "{\"Tags\":{\"a\":\"2\"}}");
	assert_answer(f, 200, "GET", TAGS, NULL);
	assert_string_equal(said("Tags.a"), "2");
	assert_string_equal(said("Tags.b c"), "");

	/* 50 in all, and not one more; none of them is kept then. */
	for (int i = 0; i < 48; i++)
		sprintf(body + strlen(body), "%s\"k%d\":\"v\"", i ? "," : "", i);
	strcat(body, "}}");
	assert_answer(f, 204, "POST", TAGS, body);
	assert_error(f, INVALID, "Number of tags exceeds resource tag limit.", "POST", TAGS,
		     "{\"Tags\":{\"one\":\"more\"}}");
	assert_answer(f, 204, "POST", TAGS, "{\"Tags\":{\"k0\":\"changed\"}}");
	assert_answer(f, 200, "GET", TAGS, NULL);
	assert_int_equal(said_count("Tags"), 50);
	assert_string_equal(said("Tags.k0"), "changed");

	assert_answer(f, 204, "DELETE", TAGS "?tagKeys=a&tagKeys=b+c&tagKeys=none", NULL);
	assert_answer(f, 200, "GET", TAGS, NULL);
	assert_int_equal(said_count("Tags"), 48);
	assert_error(f, "ValidationException", "Value null at 'tagKeys'", "DELETE", TAGS, NULL);
	assert_error(f, "ValidationException", "Value null at 'tags'", "POST", TAGS, "{}");
	assert_error(f, INVALID, "aws:", "POST", TAGS, "{\"Tags\":{\"AWS:x\":\"\"}}");
	assert_error(f, "ValidationException", "'tags'", "POST", TAGS, "{\"Tags\":{\"\":\"\"}}");

	/* Names have 128 characters, values 256. */
	memset(text, 'x', sizeof(text));
	snprintf(body, sizeof(body), "{\"Tags\":{\"%.128s\":\"%.256s\"}}", text, text);
	assert_answer(f, 204, "POST", TAGS, body);
	snprintf(body, sizeof(body), "{\"Tags\":{\"%.129s\":\"\"}}", text);
	assert_error(f, "ValidationException", "128", "POST", TAGS, body);
	snprintf(body, sizeof(body), "{\"Tags\":{\"x\":\"%.257s\"}}", text);
	assert_error(f, "ValidationException", "256", "POST", TAGS, body);

	assert_error(f, INVALID, "Please specify a function ARN.", "GET", TAGS "%3A1", NULL);
	assert_error(f, "ValidationException", "'resource'", "GET", "/2017-03-31/tags/web", NULL);
	ask_as(f, OTHER);
	assert_answer(f, 404, "GET", TAGS, NULL);
	assert_answer(f, 404, "POST", TAGS, "{\"Tags\":{\"a\":\"1\"}}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, operations_setup, operations_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_put),
		TEST(test_destinations),
		TEST(test_list),
		TEST(test_tags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
