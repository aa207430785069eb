/* SPDX-License-Identifier: Apache-2.0 */
/* What the API makes of a request: errors, routes, bodies. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/api/api_error.h"
#include "host/api/body.h"
#include "host/api/http.h"
#include "host/api/route.h"
#include "host/api/validation.h"

static const struct thaw_route routes[] = {
	{"GET", "/2015-03-31/functions", "ListFunctions", 0, NULL, NULL},
	{"POST", "/2015-03-31/functions", "CreateFunction", 70u << 20, NULL, NULL},
	{"GET", "/2015-03-31/functions/{FunctionName}", "GetFunction", 0, NULL, NULL},
	{"GET", "/2015-03-31/functions/{FunctionName}/aliases/{Name}", "GetAlias", 0, NULL, NULL},
	{"GET", "/2019-09-30/functions/{FunctionName}/provisioned-concurrency?List=ALL",
	 "ListProvisionedConcurrencyConfigs", 0, NULL, NULL},
	{"GET", "/2019-09-30/functions/{FunctionName}/provisioned-concurrency",
	 "GetProvisionedConcurrencyConfig", 0, NULL, NULL},
	{"DELETE", "/2017-03-31/tags/{Resource}", "UntagResource", 0, "tagKeys", NULL},
};

static const struct thaw_router router = {.routes = routes,
					  .count = sizeof(routes) / sizeof(routes[0])};

static const char *reason;

static int match(const char *method, const char *path, const char *query, struct thaw_call **call)
{
	return thaw_router_match(&router, method, path, query, call, &reason);
}

static void expect(const char *method, const char *path, const char *query, const char *operation)
{
	struct thaw_call *call;

	int rc = match(method, path, query, &call);
	if (!operation) {
		assert_int_equal(rc, -ENOENT);
		return;
	}
	assert_int_equal(rc, 0);
	assert_string_equal(call->route->operation, operation);
	thaw_call_free(call);
}

static void test_routes(void **state)
{
	(void)state;
	expect("GET", "/2015-03-31/functions", "", "ListFunctions");
	expect("GET", "/2015-03-31/functions/", "MaxItems=1", "ListFunctions");
	expect("GET", "/2015-03-31/functions//", "", NULL);
	expect("POST", "/2015-03-31/functions", "", "CreateFunction");
	expect("PUT", "/2015-03-31/functions", "", NULL);
	expect("get", "/2015-03-31/functions", "", NULL);
	expect("GET", "/2015-03-31/functions/a", "", "GetFunction");
	expect("GET", "/2015-03-31/functions/a/", "", "GetFunction");
	expect("GET", "/2015-03-31/functions/a/aliases/b", "", "GetAlias");
	expect("GET", "/2015-03-31/functions//aliases/b", "", NULL);
	expect("GET", "/2015-03-31/functions/a/aliases", "", NULL);
	expect("GET", "/2015-03-31/functions/a/aliases/b/c", "", NULL);
	expect("GET", "/2015-03-31", "", NULL);
	expect("GET", "/", "", NULL);
	expect("GET", "*", "", NULL);
	expect("GET", "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p", "", NULL);
	expect("GET", "/2015-03-31/../2015-03-31/functions", "", NULL);
	expect("GET", "/2019-09-30/functions/a/provisioned-concurrency", "List=ALL",
	       "ListProvisionedConcurrencyConfigs");
	expect("GET", "/2019-09-30/functions/a/provisioned-concurrency", "Qualifier=1",
	       "GetProvisionedConcurrencyConfig");
}

static void test_decoding(void **state)
{
	static const char *const bad[] = {"%",   "%4",  "%4g",       "%g4",  "%00", "%0a", "%7f",
					  "%ff", "%c3", "%ed%a0%80", "\x80", "a%",  "%%41"};
	char path[256], long_path[THAW_ROUTE_TEXT_MAX + 64];
	struct thaw_call *call;

	(void)state;
	assert_int_equal(match("GET",
			       "/2015-03-31/functions/arn%3Aaws%3alambda%2Fx/aliases/%2541+%c3%A9",
			       "Qualifier=%24LATEST&a=b+c%2B&empty=&bare&&", &call),
			 0);
	assert_string_equal(thaw_call_path(call, "FunctionName"), "arn:aws:lambda/x");
	assert_string_equal(thaw_call_path(call, "Name"), "%41+\xc3\xa9"); /* once only */
	assert_null(thaw_call_path(call, "Qualifier"));
	assert_string_equal(thaw_call_query(call, "Qualifier"), "$LATEST");
	assert_string_equal(thaw_call_query(call, "a"), "b c+");
	assert_string_equal(thaw_call_query(call, "empty"), "");
	assert_string_equal(thaw_call_query(call, "bare"), "");
	assert_null(thaw_call_query(call, "none"));
	assert_int_equal(call->query_count, 4);
	thaw_call_free(call);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(path, sizeof(path), "/2015-03-31/functions/%s", bad[i]);
		assert_int_equal(match("GET", path, "", &call), -EINVAL);
		assert_int_equal(match("GET", "/2015-03-31/functions", bad[i], &call), -EINVAL);
	}
	int n = snprintf(long_path, sizeof(long_path), "/2015-03-31/functions/");
	memset(long_path + n, 'a', THAW_ROUTE_TEXT_MAX);
	long_path[n + THAW_ROUTE_TEXT_MAX] = 0;
	assert_int_equal(match("GET", long_path, "", &call), 0);
	thaw_call_free(call);
	strcat(long_path, "a");
	assert_int_equal(match("GET", long_path, "", &call), -EINVAL);
}

static void test_query(void **state)
{
	char query[1024] = "";
	struct thaw_call *call;

	(void)state;
	assert_int_equal(match("GET", "/2015-03-31/functions", "a=1&a=1", &call), -EINVAL);
	assert_int_equal(match("GET", "/2015-03-31/functions", "a=1&%61=2", &call), -EINVAL);
	assert_int_equal(match("GET", "/2015-03-31/functions", "a=1&A=2", &call), 0);
	thaw_call_free(call);
	assert_int_equal(match("DELETE", "/2017-03-31/tags/x", "tagKeys=a&tagKeys=b", &call), 0);
	assert_int_equal(call->query_count, 2);
	assert_string_equal(call->query[1].value, "b");
	thaw_call_free(call);
	for (int i = 0; i < THAW_ROUTE_QUERY_MAX; i++)
		sprintf(query + strlen(query), "k%d=v&", i);
	assert_int_equal(match("GET", "/2015-03-31/functions", query, &call), 0);
	thaw_call_free(call);
	strcat(query, "more");
	assert_int_equal(match("GET", "/2015-03-31/functions", query, &call), -EINVAL);
}

static json_t *response_json(const struct thaw_http_response *response)
{
	size_t size;
	const void *body = thaw_http_response_body(response, &size);
	json_t *json = json_loadb(body, size, 0, NULL);

	assert_non_null(json);
	return json;
}

static void error_is(struct thaw_http_response *response, unsigned int status, const char *code,
		     const char *field, const char *message, const char *type)
{
	json_t *json = response_json(response);

	assert_int_equal(thaw_http_response_status(response), status);
	assert_string_equal(thaw_http_response_find(response, "x-amzn-errortype"), code);
	assert_string_equal(json_string_value(json_object_get(json, field)), message);
	if (type)
		assert_string_equal(json_string_value(json_object_get(json, "Type")), type);
	json_decref(json);
	thaw_http_response_free(response);
}

static void test_errors(void **state)
{
	static const struct {
		const char *code;
		unsigned int status;
		const char *field, *type;
	} known[] = {
		{"ResourceNotFoundException", 404, "Message", "User"},
		{"InvalidParameterValueException", 400, "message", "User"},
		{"ResourceConflictException", 409, "message", "User"},
		{"PreconditionFailedException", 412, "message", "User"},
		{"ServiceException", 500, "Message", "Service"},
		{"RequestTooLargeException", 413, "message", "User"},
		{"UnsupportedMediaTypeException", 415, "message", "User"},
		{"SnapStartTimeoutException", 408, "Message", "User"},
		{"ServiceQuotaExceededException", 402, "Message", "User"},
		{"EFSIOException", 410, "Message", "User"},
		{"ValidationException", 400, "message", "User"},
		{"SerializationException", 400, "message", "User"},
		{"UnknownOperationException", 404, "Message", NULL},
		{"InvalidSignatureException", 403, "message", NULL},
		{"AliasLimitExceededException", 400, "message", "User"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		error_is(thaw_api_error_response(known[i].code, "what \"%s\"", "x"),
			 known[i].status, known[i].code, known[i].field, "what \"x\"",
			 known[i].type);
	error_is(thaw_api_error_response("Nonsense", "x"), 500, "ServiceException", "Message", "x",
		 "Service");
	error_is(thaw_api_error_response("ResourceNotFoundException", "\xff"), 404,
		 "ResourceNotFoundException", "Message", "The request is malformed.", "User");
	struct thaw_http_response *response =
		thaw_api_throttle_response("ConcurrentInvocationLimitExceeded", 3, NULL);
	json_t *json = response_json(response);
	assert_string_equal(thaw_http_response_find(response, "Retry-After"), "3");
	assert_string_equal(json_string_value(json_object_get(json, "Reason")),
			    "ConcurrentInvocationLimitExceeded");
	json_decref(json);
	error_is(response, 429, "TooManyRequestsException", "message", "Rate Exceeded.", "User");
	error_is(thaw_api_refuse(NULL, NULL, 413, "big"), 413, "RequestEntityTooLargeException",
		 "message", "big", "User");
	assert_null(thaw_api_refuse(NULL, NULL, 431, "big"));
}

static struct thaw_validation validation;
static struct thaw_object object;
static json_t *tree;

static int parse(const char *text)
{
	json_decref(tree);
	thaw_validation_init(&validation);
	return thaw_body_parse(text, strlen(text), &validation, &tree, &object);
}

static void test_parse(void **state)
{
	static const char *const bad[] = {
		"{",
		"[]",
		"1",
		"\"a\"",
		"null",
		"{\"a\":1,\"a\":2}",
		"{\"a\":\"\\u0000\"}",
		"{\"a\":\"\\ud800\"}",
		"{\"a\":\"\xff\"}",
		"{\"a\":99999999999999999999}",
		"{\"a\":1e999}",
		"{\"a\":1} x",
		"\xef\xbb\xbf{}",
		"{'a':1}",
		"{\"a\":01}",
		"{\"a\":NaN}",
	};
	char deep[256] = "{\"a\":";
	static char many[THAW_BODY_VALUES_MAX * 2 + 64];

	(void)state;
	assert_int_equal(parse(""), 0);
	assert_int_equal(parse(" {} "), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (parse(bad[i]) != -EINVAL || !validation.serialization[0])
			fail_msg("%s passes", bad[i]);
		assert_null(tree);
	}
	assert_int_equal(thaw_body_parse("{\"a\":\"\0\"}", 9, &validation, &tree, &object),
			 -EINVAL);
	size_t used = strlen(deep);
	for (int edge = 0; edge < 2; edge++) {
		size_t n = THAW_BODY_DEPTH_MAX - 1 + (size_t)edge;
		memset(deep + used, '[', n);
		memset(deep + used + n, ']', n);
		strcpy(deep + used + 2 * n, "}");
		assert_int_equal(parse(deep), edge ? -EINVAL : 0);
	}
	strcpy(many, "{\"a\":[1");
	used = strlen(many);
	for (int i = 0; i < THAW_BODY_VALUES_MAX; i++, used += 2)
		memcpy(many + used, ",1", 2);
	strcpy(many + used, "]}");
	assert_int_equal(parse(many), -EINVAL);
	strcpy(many + used - 4, "]}");
	assert_int_equal(parse(many), 0);
	json_decref(tree);
	tree = NULL;
}

static void test_types(void **state)
{
	static const char *const kinds[] = {"Zip", "Image", NULL};
	const char *text = NULL;
	int64_t number = 7;
	bool truth = false;
	double real = 0;
	unsigned int kind = 9;
	const json_t *json;

	(void)state;
	assert_int_equal(parse("{\"S\":\"x\",\"N\":128,\"R\":0.5,\"B\":true,\"K\":\"Image\","
			       "\"Z\":null,\"L\":[\"a\",\"b\"],\"M\":{\"k\":\"v\"}}"),
			 0);
	assert_int_equal(thaw_object_string(&object, "S", THAW_REQUIRED, &text), 1);
	assert_string_equal(text, "x");
	assert_int_equal(thaw_object_integer(&object, "N", THAW_REQUIRED, 128, 128, &number), 1);
	assert_int_equal(number, 128);
	assert_int_equal(thaw_object_real(&object, "R", THAW_OPTIONAL, 0, 1, &real), 1);
	assert_int_equal(thaw_object_boolean(&object, "B", THAW_OPTIONAL, &truth), 1);
	assert_true(truth && real == 0.5);
	assert_int_equal(thaw_object_enum(&object, "K", THAW_OPTIONAL, kinds, &kind), 1);
	assert_int_equal(kind, 1);
	assert_int_equal(thaw_object_strings(&object, "L", THAW_OPTIONAL, 1, 2, &json), 1);
	assert_int_equal(thaw_object_map(&object, "M", THAW_OPTIONAL, 1, &json), 1);
	assert_int_equal(thaw_object_string(&object, "Z", THAW_OPTIONAL, &text), 0);
	assert_false(thaw_validation_failed(&validation));
	assert_int_equal(thaw_object_string(&object, "Z", THAW_REQUIRED, &text), -EINVAL);
	assert_int_equal(thaw_object_integer(&object, "N", THAW_REQUIRED, 129, 200, &number),
			 -EINVAL);
	assert_int_equal(thaw_object_integer(&object, "N", THAW_REQUIRED, 1, 127, &number),
			 -EINVAL);
	assert_int_equal(thaw_object_strings(&object, "L", THAW_OPTIONAL, 0, 1, &json), -EINVAL);
	assert_int_equal(thaw_object_strings(&object, "L", THAW_OPTIONAL, 3, 5, &json), -EINVAL);
	assert_int_equal(thaw_object_map(&object, "M", THAW_OPTIONAL, 0, &json), -EINVAL);
	assert_int_equal(thaw_object_enum(&object, "S", THAW_OPTIONAL, kinds, &kind), -EINVAL);
	assert_int_equal(validation.count, 7);
	assert_non_null(strstr(validation.text, "Value null at 'z' failed to satisfy constraint: "
						"Member must not be null; Value '128' at 'n'"));
	assert_non_null(strstr(validation.text, "enum value set: [Zip, Image]"));
	json_decref(tree);
	tree = NULL;
}

static void wrong_type(const char *body, char kind, const char *message)
{
	static const char *const kinds[] = {"Zip", NULL};
	const char *text;
	const json_t *json;
	struct thaw_object child;
	unsigned int index;
	uint8_t *blob;
	int64_t number;
	size_t size;
	bool truth;
	int rc;

	assert_int_equal(parse(body), 0);
	switch (kind) {
	case 's':
		rc = thaw_object_string(&object, "A", THAW_OPTIONAL, &text);
		break;
	case 'i':
		rc = thaw_object_integer(&object, "A", THAW_OPTIONAL, 0, 9, &number);
		break;
	case 'b':
		rc = thaw_object_boolean(&object, "A", THAW_OPTIONAL, &truth);
		break;
	case 'e':
		rc = thaw_object_enum(&object, "A", THAW_OPTIONAL, kinds, &index);
		break;
	case 'l':
		rc = thaw_object_strings(&object, "A", THAW_OPTIONAL, 0, 9, &json);
		break;
	case 'm':
		rc = thaw_object_map(&object, "A", THAW_OPTIONAL, 9, &json);
		break;
	case 'o':
		rc = thaw_object_object(&object, "A", THAW_OPTIONAL, &child);
		break;
	default:
		rc = thaw_object_blob(&object, "A", THAW_OPTIONAL, 9, &blob, &size);
	}
	assert_int_equal(rc, -EINVAL);
	assert_string_equal(validation.serialization, message);
	json_decref(tree);
	tree = NULL;
}

static void test_wrong_types(void **state)
{
	(void)state;
	wrong_type("{\"A\":1}", 's', "NUMBER_VALUE can not be converted to a String");
	wrong_type("{\"A\":true}", 's', "TRUE_VALUE can not be converted to a String");
	wrong_type("{\"A\":1.5}", 'i', "DECIMAL_VALUE can not be converted to an Integer");
	wrong_type("{\"A\":\"1\"}", 'i', "STRING_VALUE can not be converted to an Integer");
	wrong_type("{\"A\":\"true\"}", 'b', "STRING_VALUE can not be converted to a Boolean");
	wrong_type("{\"A\":{}}", 's', "Start of structure or map found where not expected.");
	wrong_type("{\"A\":[]}", 'e', "Start of list found where not expected");
	wrong_type("{\"A\":\"x\"}", 'l', "Expected list or null");
	wrong_type("{\"A\":[1]}", 'l', "NUMBER_VALUE can not be converted to a String");
	wrong_type("{\"A\":[null]}", 'l', "NULL_VALUE can not be converted to a String");
	wrong_type("{\"A\":{\"k\":1}}", 'm', "NUMBER_VALUE can not be converted to a String");
	wrong_type("{\"A\":[]}", 'o', "Start of list found where not expected");
	wrong_type("{\"A\":\"!\"}", 'z', "'a' is not valid base64");
}

static void test_nested(void **state)
{
	struct thaw_object child, grandchild;
	const char *text;

	(void)state;
	assert_int_equal(parse("{\"VpcConfig\":{\"Inner\":{}}}"), 0);
	assert_int_equal(thaw_object_object(&object, "VpcConfig", THAW_REQUIRED, &child), 1);
	assert_int_equal(thaw_object_object(&child, "Inner", THAW_REQUIRED, &grandchild), 1);
	assert_int_equal(thaw_object_string(&grandchild, "Name", THAW_REQUIRED, &text), -EINVAL);
	assert_non_null(strstr(validation.text, "'vpcConfig.inner.name'"));
	json_decref(tree);
	tree = NULL;
}

static void test_base64(void **state)
{
	static const struct {
		const char *text, *data;
	} good[] = {
		{"", ""}, {"Zg==", "f"}, {"Zm8=", "fo"}, {"Zm9v", "foo"}, {"+/+/", "\xfb\xff\xbf"}};
	static const char *const bad[] = {"Z",    "Zg",       "Zg=",  "Zg===",   "====",
					  "=",    "Zh==",     "Zm9=", "Zm 9",    "Zm9v\n",
					  "Z===", "Zg==Zg==", "-_-_", "Zm9v===="};
	uint8_t *data;
	size_t size;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(
			thaw_base64_decode(good[i].text, strlen(good[i].text), &data, &size), 0);
		assert_int_equal(size, strlen(good[i].data));
		assert_memory_equal(data, good[i].data, size + 1);
		free(data);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (thaw_base64_decode(bad[i], strlen(bad[i]), &data, &size) != -EINVAL)
			fail_msg("%s passes", bad[i]);
	}
	assert_int_equal(thaw_base64_decode("Zm\0v", 4, &data, &size), -EINVAL);
	assert_int_equal(parse("{\"Z\":\"Zm9v\"}"), 0);
	assert_int_equal(thaw_object_blob(&object, "Z", THAW_REQUIRED, 3, &data, &size), 1);
	free(data);
	assert_int_equal(thaw_object_blob(&object, "Z", THAW_REQUIRED, 2, &data, &size), -EINVAL);
	json_decref(tree);
	tree = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_routes),      cmocka_unit_test(test_decoding),
		cmocka_unit_test(test_query),       cmocka_unit_test(test_errors),
		cmocka_unit_test(test_parse),       cmocka_unit_test(test_types),
		cmocka_unit_test(test_wrong_types), cmocka_unit_test(test_nested),
		cmocka_unit_test(test_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
