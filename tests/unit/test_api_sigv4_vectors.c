/* SPDX-License-Identifier: Apache-2.0 */
/* Signature Version 4: AWS's test suite, its documentation's example, paths and queries. */
#include "tests/unit/service_sigv4_harness.h"

/* Those of the suite that have a form here; duplicate headers came joined in the form of its
 * canonical requests, since here one header may not come twice. */
struct vector {
	const char *name;
	const char *method, *path, *query;
	const char *signature;
	const char *names; /* NULL: host;x-amz-date */
	const char *body;  /* NULL: "" */
	struct thaw_sigv4_header headers[4];
};

/* clang-format off */
static const struct vector vectors[] = {
	{"get-vanilla", "GET", "/", "",
	 .signature = VANILLA},
	{"get-slash", "GET", "//", "",
	 .signature = VANILLA},
	{"get-slash-dot-slash", "GET", "/./", "",
	 .signature = VANILLA},
	{"get-relative", "GET", "/example/..", "",
	 .signature = VANILLA},
	{"get-relative-relative", "GET", "/example1/example2/../..", "",
	 .signature = VANILLA},
	{"get-slashes", "GET", "//example//", "",
	 .signature = "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"},
	{"get-slash-pointless-dot", "GET", "/./example", "",
	 .signature = "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"},
	{"get-space", "GET", "/example space/", "",
	 .signature = "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"},
	{"get-unreserved", "GET", "/-._~" ALNUM, "",
	 .signature = "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
	{"get-utf8", "GET", "/\xe1\x88\xb4", "",
	 .signature = "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
	{"get-vanilla-empty-query-key", "GET", "/", "Param1=value1",
	 .signature = "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
	{"get-vanilla-query-order-key-case", "GET", "/", "Param2=value2&Param1=value1",
	 .signature = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
	{"get-vanilla-query-order-value", "GET", "/", "Param1=value2&Param1=value1",
	 .signature = "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694"},
	{"get-vanilla-query-order-encoded", "GET", "/", "Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
	 .signature = "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"},
	{"get-vanilla-query-unreserved", "GET", "/", "-._~" ALNUM "=-._~" ALNUM,
	 .signature = "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
	{"get-vanilla-utf8-query", "GET", "/", "\xe1\x88\xb4=bar",
	 .signature = "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
	{"get-vanilla-with-session-token", "GET", "/", "",
	 .signature = "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
	 .headers = {{"X-Amz-Security-Token", TOKEN}},
	 .names = "host;x-amz-date;x-amz-security-token"},
	{"get-header-key-duplicate", "GET", "/", "",
	 .signature = "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
	 .headers = {{"My-Header1", "value2,value2,value1"}},
	 .names = "host;my-header1;x-amz-date"},
	{"get-header-value-order", "GET", "/", "",
	 .signature = "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
	 .headers = {{"My-Header1", "value4,value1,value3,value2"}},
	 .names = "host;my-header1;x-amz-date"},
	{"get-header-value-trim", "GET", "/", "",
	 .signature = "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
	 .headers = {{"My-Header2", " \"a   b   c\""}, {"My-Header1", " value1 "}},
	 .names = "host;my-header1;my-header2;x-amz-date"},
	{"post-vanilla", "POST", "/", "",
	 .signature = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
	{"post-vanilla-query", "POST", "/", "Param1=value1",
	 .signature = "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
	{"post-header-value-case", "POST", "/", "",
	 .signature = "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
	 .headers = {{"My-Header1", "VALUE1"}},
	 .names = "host;my-header1;x-amz-date"},
	{"post-x-www-form-urlencoded", "POST", "/", "",
	 .signature = "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
	 .headers = {{"Content-Type", "application/x-www-form-urlencoded"},
		     {"Content-Length", "13"},
		     {"x-amz-content-sha256", FORM}},
	 .names = "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
	 .body = "Param1=value1"},
};
/* clang-format on */

static void test_suite(void **state)
{
	static struct made made;

	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		const struct vector *vector = &vectors[i];
		start(&made, vector->method, vector->path, vector->query);
		add(&made, "X-Amz-Date", "20150830T123600Z");
		for (size_t h = 0; h < 4 && vector->headers[h].name; h++)
			add(&made, vector->headers[h].name, vector->headers[h].value);
		if (vector->body)
			body_hash(vector->body, made.body);
		authorize(&made, SCOPE, vector->names ? vector->names : "host;x-amz-date",
			  vector->signature);
		if (verify(&made))
			fail_msg("%s: %s", vector->name, made.outcome.message);
		made.policy.region = NULL;
		assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
		assert_string_equal(made.claim.key_id, KEY_ID);
		assert_string_equal(made.claim.region, "us-east-1");
		assert_int_equal(made.claim.at, NOW);
		assert_false(made.claim.presigned);
	}
}

/* The example in IAM's documentation: another service, a header with spaces and signs. */
static void test_documentation(void **state)
{
	static struct made made;

	(void)state;
	start(&made, "GET", "/", "Action=ListUsers&Version=2010-05-08");
	made.headers[0].value = "iam.amazonaws.com";
	made.policy.service = "iam";
	add(&made, "Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
	add(&made, "X-Amz-Date", "20150830T123600Z");
	authorize(&made, KEY_ID "/20150830/us-east-1/iam/aws4_request",
		  "content-type;host;x-amz-date",
		  "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
}

static void test_path(void **state)
{
	/* Encoded once more than it comes; then dots and slashes. Same canonical paths, same
	 * signatures. */
	static const char *const same[][2] = {
		{"", "/"},
		{"/a/./b", "/a/b"},
		{"/a/.", "/a"},
		{"/a/..", "/"},
		{"/../../a", "/a"},
		{"/a//b///", "/a/b/"},
		{"/a/b/../../../c/", "/c/"},
		{"/.", "/"},
		{"/...", "/..."},
		{"/a/.../b", "/a/.../b"},
	};
	static const char *const different[][2] = {
		{"/a%2Fb", "/a/b"},         {"/a%2fb", "/a%2Fb"}, {"/a%20b", "/a b"},
		{"/a%2520b", "/a%20b"},     {"/a/", "/a"},        {"/%2e%2e", "/"},
		{"/$LATEST", "/%24LATEST"}, {"/a+b", "/a b"},
	};
	static struct made made;

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		start(&made, "GET", same[i][0], NULL);
		add(&made, "X-Amz-Date", "20150830T123600Z");
		sign(&made, "host;x-amz-date");
		made.request.path = same[i][1];
		assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	}
	for (size_t i = 0; i < sizeof(different) / sizeof(different[0]); i++) {
		start(&made, "GET", different[i][0], NULL);
		add(&made, "X-Amz-Date", "20150830T123600Z");
		sign(&made, "host;x-amz-date");
		assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
		made.request.path = different[i][1];
		assert_int_equal(verify(&made), THAW_SIGV4_MISMATCH);
	}
}

static void test_query(void **state)
{
	static const char *const same[][2] = {
		{"b=1&a=2", "a=2&b=1"},
		{"a=2&a=1", "a=1&a=2"},
		{"a", "a="},
		{"", NULL},
		{"a=%7e%41", "a=~A"},
		{"a=x=y", "a=x%3Dy"},
		{"a=b+c", "a=b%20c"},
		{"a=%2f", "a=/"},
		{"%61=1", "a=1"},
		{"a=arn:aws", "a=arn%3aaws"},
		{"a-b=1&a=2", "a=2&a-b=1"},
		{"A=1&a=1&B=1", "B=1&A=1&a=1"},
	};
	static const char *const different[][2] = {
		{"a=1&b=2", "a=1"}, {"a=1", "a=1&a=1"},       {"a=1", "A=1"},
		{"a=1", "a=1&"},    {"a=b%2Bc", "a=b+c"},     {"a=%252F", "a=%2F"},
		{"a=1", NULL},      {"a=1&b=2", "a=1%26b=2"}, {"a=b", "a%3Db"},
	};
	static const char *const broken[] = {"a=%", "a=%4", "a=%4g", "%zz=1", "a=%-1", "a=% 1"};
	static struct made made;

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		start(&made, "GET", "/", same[i][0]);
		add(&made, "X-Amz-Date", "20150830T123600Z");
		sign(&made, "host;x-amz-date");
		made.request.query = same[i][1];
		assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	}
	for (size_t i = 0; i < sizeof(different) / sizeof(different[0]); i++) {
		start(&made, "GET", "/", different[i][0]);
		add(&made, "X-Amz-Date", "20150830T123600Z");
		sign(&made, "host;x-amz-date");
		made.request.query = different[i][1];
		assert_int_equal(verify(&made), THAW_SIGV4_MISMATCH);
	}
	start_signed(&made);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		made.request.query = broken[i];
		assert_int_equal(verify(&made), THAW_SIGV4_INCOMPLETE);
	}
	/* Both forms at once. */
	made.request.query = "X-Amz-Signature";
	assert_int_equal(verify(&made), THAW_SIGV4_INCOMPLETE);
	made.request.query = "X-Amz-Sig%6Eature=";
	assert_int_equal(verify(&made), THAW_SIGV4_INCOMPLETE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_suite),
		cmocka_unit_test(test_documentation),
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_query),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
