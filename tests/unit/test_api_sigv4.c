/* SPDX-License-Identifier: Apache-2.0 */
/* Signature Version 4: what must be refused, and with which words. */
#include "tests/unit/service_sigv4_harness.h"

static void test_changed(void **state)
{
	static struct made made;

	(void)state;
	start_signed(&made);
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	made.request.method = "GET";
	assert_int_equal(verify(&made), THAW_SIGV4_MISMATCH);
	assert_string_equal(
		made.outcome.message,
		"The request signature we calculated does not match the signature you "
		"provided. Check your AWS Secret Access Key and signing method. Consult "
		"the service documentation for details.");
	assert_string_equal(thaw_sigv4_code(made.outcome.result), "InvalidSignatureException");
	assert_int_equal(thaw_sigv4_status(made.outcome.result), 403);
	start_signed(&made);
	made.headers[0].value = "example.amazonaws.con";
	assert_int_equal(verify(&made), THAW_SIGV4_MISMATCH);
	made.headers[0].value = "  example.amazonaws.com\t";
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	made.headers[0].name = "hOST";
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	made.headers[1].value = "20150830T123601Z";
	assert_int_equal(verify(&made), THAW_SIGV4_MISMATCH);
	start_signed(&made);
	body_hash("x", made.body);
	assert_int_equal(verify(&made), THAW_SIGV4_MISMATCH);
	/* What is not signed may come and go, if it means nothing here. */
	start_signed(&made);
	add(&made, "User-Agent", "curl/8");
	add(&made, "Accept", "a");
	add(&made, "Accept", "b");
	add(&made, "X-Amzn-Trace-Id", "Root=1");
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	/* Spaces inside are one, of whatever kind; none is another thing. */
	start(&made, "GET", "/", NULL);
	add(&made, "X-Amz-Date", "20150830T123600Z");
	struct thaw_sigv4_header *header = add(&made, "my-header", "a  b \t c");
	sign(&made, "host;my-header;x-amz-date");
	header->value = "a b\tc ";
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	header->value = "a bc";
	assert_int_equal(verify(&made), THAW_SIGV4_MISMATCH);
}

static void test_keys(void **state)
{
	static struct made made;

	(void)state;
	/* An unknown key, and what a signature with the secret of nobody is worth. */
	start_signed(&made);
	authorize(&made, "AKIDEXAMPLF/20150830/us-east-1/service/aws4_request", "host;x-amz-date",
		  NO_SIGNATURE);
	assert_int_equal(verify(&made), THAW_SIGV4_UNKNOWN_KEY);
	assert_string_equal(made.outcome.message,
			    "The security token included in the request is invalid.");
	assert_string_equal(thaw_sigv4_code(made.outcome.result), "UnrecognizedClientException");
	uint8_t signature[32];
	char text[65];
	assert_int_equal(thaw_sigv4_sign(&made.claim, &made.request, EMPTY,
					 "0000000000000000000000000000000000000000", signature),
			 0);
	hex(signature, text);
	authorize(&made, "AKIDEXAMPLF/20150830/us-east-1/service/aws4_request", "host;x-amz-date",
		  text);
	assert_int_equal(verify(&made), THAW_SIGV4_UNKNOWN_KEY);
	/* A lookup that fails is our trouble and not the client's; so is an empty secret. */
	start_signed(&made);
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	int trouble = -EIO, nothing = 0;
	assert_int_equal(thaw_sigv4_verify(&made.claim, &made.request, &made.policy, made.body,
					   secret_of, &trouble, &made.outcome),
			 THAW_SIGV4_TROUBLE);
	assert_int_equal(thaw_sigv4_verify(&made.claim, &made.request, &made.policy, made.body,
					   secret_of, &nothing, &made.outcome),
			 THAW_SIGV4_TROUBLE);
	assert_int_equal(thaw_sigv4_status(made.outcome.result), 500);
	/* A session token has to be the key's. */
	start(&made, "GET", "/", NULL);
	add(&made, "X-Amz-Date", "20150830T123600Z");
	add(&made, "X-Amz-Security-Token", "wrong");
	sign(&made, "host;x-amz-date;x-amz-security-token");
	assert_int_equal(verify(&made), THAW_SIGV4_UNKNOWN_KEY);
}

static void test_time(void **state)
{
	static struct made made;

	(void)state;
	start_signed(&made);
	made.policy.now = NOW + 300;
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	made.policy.now = NOW - 300;
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	lookups = 0;
	made.policy.now = NOW + 301;
	assert_int_equal(verify(&made), THAW_SIGV4_EXPIRED);
	assert_string_equal(made.outcome.message,
			    "Signature expired: 20150830T123600Z is now earlier than "
			    "20150830T123601Z (20150830T124101Z - 5 min.)");
	assert_string_equal(thaw_sigv4_code(made.outcome.result), "InvalidSignatureException");
	made.policy.now = NOW - 301;
	assert_int_equal(verify(&made), THAW_SIGV4_EARLY);
	assert_string_equal(made.outcome.message,
			    "Signature not yet current: 20150830T123600Z is still later than "
			    "20150830T123559Z (20150830T123059Z + 5 min.)");
	made.policy.now = INT64_C(1) << 40;
	assert_int_equal(verify(&made), THAW_SIGV4_EXPIRED);
	assert_int_equal(lookups, 0);
}

static enum thaw_sigv4_result with_date(struct made *made, const char *name, const char *value)
{
	start(made, "GET", "/", NULL);
	add(made, name, value);
	authorize(made, SCOPE, strcmp(name, "date") == 0 ? "date;host" : "host;x-amz-date",
		  NO_SIGNATURE);
	return verify(made);
}

static void test_dates(void **state)
{
	static const char *const bad[] = {
		"",
		"20150830T123600",
		"20150830T123600Z ",
		"20150830T123600z",
		"20150830 123600Z",
		"2015-08-30T12:36:00Z",
		"20150830T123660Z",
		"20150830T126000Z",
		"20150830T243600Z",
		"20150832T123600Z",
		"20150931T123600Z",
		"20150229T123600Z",
		"20150030T123600Z",
		"20151330T123600Z",
		"20150800T123600Z",
		"2015083 T123600Z",
		"+0150830T123600Z",
		"20150830T12360\xc3Z",
	};
	static const char *const bad_http[] = {
		"Sun, 30 Aug 2015 12:36:00",       "Sun, 30 Aug 2015 12:36:00 CET",
		"Sun, 30 Aug 2015 12:36:00 +0100", "Sun, 30 Agu 2015 12:36:00 GMT",
		"Sunday, 30-Aug-15 12:36:00 GMT",  "Sun, 30 aug 2015 12:36:00 GMT",
		"Sun, 30 Aug 2015 12:36:00 GMTx",  "Sun,",
		"Sun, 31 Feb 2015 12:36:00 GMT",
	};
	static const char *const good[] = {"Sun, 30 Aug 2015 12:36:00 GMT",
					   "Sun, 30 Aug 2015 12:36:00 -0000", "20150830T123600Z"};
	static struct made made;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(with_date(&made, "x-amz-date", bad[i]), THAW_SIGV4_INCOMPLETE);
	for (size_t i = 0; i < sizeof(bad_http) / sizeof(bad_http[0]); i++)
		assert_int_equal(with_date(&made, "date", bad_http[i]), THAW_SIGV4_INCOMPLETE);
	/* The day's end, a leap day: well-formed, but another day than the credential's. */
	assert_int_equal(with_date(&made, "x-amz-date", "20160229T235959Z"),
			 THAW_SIGV4_SCOPE_WRONG);
	assert_string_equal(
		made.outcome.message,
		"Date in Credential scope does not match YYYYMMDD from ISO-8601 version "
		"of date from HTTP: '20150830' != '20160229', from "
		"'20160229T235959Z'.");
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		start(&made, "GET", "/", NULL);
		add(&made, "Date", good[i]);
		sign(&made, "date;host");
		assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
		assert_int_equal(made.claim.at, NOW);
	}
	/* A date that is not signed is none; beside X-Amz-Date it may say what it wants. */
	start(&made, "GET", "/", NULL);
	add(&made, "Date", good[0]);
	authorize(&made, SCOPE, "host", NO_SIGNATURE);
	assert_int_equal(verify(&made), THAW_SIGV4_INCOMPLETE);
	start_signed(&made);
	add(&made, "Date", "yesterday");
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	add(&made, "Date", "today");
	assert_int_equal(verify(&made), THAW_SIGV4_INCOMPLETE);
}

static void test_scope(void **state)
{
	static struct made made;

	(void)state;
	start_signed(&made);
	made.policy.region = "eu-west-1";
	assert_int_equal(verify(&made), THAW_SIGV4_SCOPE_WRONG);
	assert_string_equal(made.outcome.message,
			    "Credential should be scoped to a valid region, not 'us-east-1'.");
	made.policy.region = NULL;
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	made.policy.service = "lambda";
	assert_int_equal(verify(&made), THAW_SIGV4_SCOPE_WRONG);
	assert_string_equal(made.outcome.message,
			    "Credential should be scoped to correct service: 'lambda'.");
	/* The region is under the signature though any is taken. */
	start_signed(&made);
	made.policy.region = NULL;
	char *region = strstr(made.authorization, "us-east-1");
	memcpy(region, "us-west-1", 9);
	assert_int_equal(verify(&made), THAW_SIGV4_MISMATCH);
}

static void test_missing(void **state)
{
	static struct made made;

	(void)state;
	start(&made, "GET", "/", "a=b");
	assert_int_equal(verify(&made), THAW_SIGV4_MISSING);
	assert_string_equal(made.outcome.message, "Missing Authentication Token");
	assert_string_equal(thaw_sigv4_code(made.outcome.result),
			    "MissingAuthenticationTokenException");
	assert_int_equal(thaw_sigv4_status(made.outcome.result), 403);
	add(&made, "Authorization", "AWS4-HMAC-SHA256");
	assert_int_equal(verify(&made), THAW_SIGV4_INCOMPLETE);
	assert_string_equal(made.outcome.message,
			    "Authorization header requires 'Credential' parameter. Authorization "
			    "header requires 'Signature' parameter. Authorization header requires "
			    "'SignedHeaders' parameter.");
	assert_string_equal(thaw_sigv4_code(made.outcome.result), "IncompleteSignatureException");
}

static void test_authorization(void **state)
{
	static const char *const bad[] = {
		"",
		"Basic dXNlcjpwYXNz",
		"Bearer x",
		"AWS AKID:sig",
		"AWS4-HMAC-SHA512 Credential=" SCOPE ", SignedHeaders=host, Signature=" VANILLA,
		"aws4-hmac-sha256 Credential=" SCOPE ", SignedHeaders=host, Signature=" VANILLA,
		"AWS4-HMAC-SHA256Credential=" SCOPE ", SignedHeaders=host, Signature=" VANILLA,
		"AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=host",
		"AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=host, Signature=",
		"AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=, Signature=" VANILLA,
		"AWS4-HMAC-SHA256 Credential=, SignedHeaders=host, Signature=" VANILLA,
		"AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=host, Signature=" VANILLA ",",
		"AWS4-HMAC-SHA256 ,Credential=" SCOPE ", SignedHeaders=host, Signature=" VANILLA,
		"AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=host, Signature=" VANILLA
		", Signature=" VANILLA,
		"AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=host, Signature=" VANILLA
		", More=1",
		"AWS4-HMAC-SHA256 Credential=" SCOPE " SignedHeaders=host Signature=" VANILLA,
		"AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=host, Signature=" VANILLA "0",
		"AWS4-HMAC-SHA256 Credential=" SCOPE ", SignedHeaders=host, "
		"Signature=5FA00FA31553B73EBF1942676E86291E8372FF2A2260956D9B8AAE1D763FBF31",
		"AWS4-HMAC-SHA256 Credential=" KEY_ID "/20150830/us-east-1/service"
		", SignedHeaders=host, Signature=" VANILLA,
		"AWS4-HMAC-SHA256 Credential=" SCOPE "/x, SignedHeaders=host, Signature=" VANILLA,
		"AWS4-HMAC-SHA256 Credential=/20150830/us-east-1/service/aws4_request"
		", SignedHeaders=host, Signature=" VANILLA,
		"AWS4-HMAC-SHA256 Credential=AKID-X/20150830/us-east-1/service/aws4_request"
		", SignedHeaders=host, Signature=" VANILLA,
		"AWS4-HMAC-SHA256 Credential=AKID/2015083/us-east-1/service/aws4_request"
		", SignedHeaders=host, Signature=" VANILLA,
		"AWS4-HMAC-SHA256 Credential=AKID/2015O830/us-east-1/service/aws4_request"
		", SignedHeaders=host, Signature=" VANILLA,
		"AWS4-HMAC-SHA256 Credential=AKID/20150830/us_east_1/service/aws4_request"
		", SignedHeaders=host, Signature=" VANILLA,
		"AWS4-HMAC-SHA256 Credential=AKID/20150830//service/aws4_request"
		", SignedHeaders=host, Signature=" VANILLA,
		"AWS4-HMAC-SHA256 Credential=AKID/20150830/us-east-1//aws4_request"
		", SignedHeaders=host, Signature=" VANILLA,
	};
	static struct made made;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		start(&made, "GET", "/", NULL);
		add(&made, "Date", "20150830T123600Z");
		add(&made, "authorization", bad[i]);
		if (verify(&made) != THAW_SIGV4_INCOMPLETE)
			fail_msg("%s: %s", bad[i], made.outcome.message);
	}
	start(&made, "GET", "/", NULL);
	add(&made, "Authorization",
	    "AWS4-HMAC-SHA256 Credential=AKID/20150830/us-east-1/service/aws5_request"
	    ", SignedHeaders=host, Signature=" VANILLA);
	assert_int_equal(verify(&made), THAW_SIGV4_SCOPE_WRONG);
	/* Any order, any spaces around the commas. */
	start(&made, "GET", "/", NULL);
	add(&made, "X-Amz-Date", "20150830T123600Z");
	add(&made, "Authorization",
	    "AWS4-HMAC-SHA256   Signature=" VANILLA ",Credential=" SCOPE
	    "  ,  SignedHeaders=host;x-amz-date ");
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	/* Twice. */
	add(&made, "AUTHORIZATION", made.headers[2].value);
	assert_int_equal(verify(&made), THAW_SIGV4_INCOMPLETE);
}

static enum thaw_sigv4_result with_names(struct made *made, const char *names)
{
	start(made, "GET", "/", NULL);
	add(made, "X-Amz-Date", "20150830T123600Z");
	add(made, "Accept", "*");
	authorize(made, SCOPE, names, NO_SIGNATURE);
	return verify(made);
}

static void test_signed_headers(void **state)
{
	static const char *const bad[] = {
		"",
		";",
		"host;",
		";host",
		"x-amz-date;host",
		"host;host;x-amz-date",
		"Host;x-amz-date",
		"host;;x-amz-date",
		"host x-amz-date",
		"host;x amz;x-amz-date",
	};
	static struct made made;
	char name[300];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(with_names(&made, bad[i]), THAW_SIGV4_INCOMPLETE);
	assert_int_equal(with_names(&made, "host;x-amz-date"), THAW_SIGV4_MISMATCH);
	assert_int_equal(with_names(&made, "accept;host;x-amz-date"), THAW_SIGV4_MISMATCH);
	/* Without the host; a header that is not there; an x-amz- header that is not signed. */
	assert_int_equal(with_names(&made, "x-amz-date"), THAW_SIGV4_UNCOVERED);
	assert_non_null(strstr(made.outcome.message, "'Host' or ':authority'"));
	assert_int_equal(with_names(&made, "accept;host;x-amz-date;z"), THAW_SIGV4_UNCOVERED);
	assert_int_equal(with_names(&made, "host"), THAW_SIGV4_UNCOVERED);
	assert_string_equal(thaw_sigv4_code(made.outcome.result), "InvalidSignatureException");
	start_signed(&made);
	add(&made, "X-AMZ-Invocation-Type", "Event");
	assert_int_equal(verify(&made), THAW_SIGV4_UNCOVERED);
	/* Not by a name that another begins with. */
	start(&made, "GET", "/", NULL);
	add(&made, "X-Amz-Date", "20150830T123600Z");
	add(&made, "X-Amz-Date2", "x");
	add(&made, "X-Amz-D", "x");
	authorize(&made, SCOPE, "host;x-amz-date;x-amz-date2", NO_SIGNATURE);
	assert_int_equal(verify(&made), THAW_SIGV4_UNCOVERED);
	/* Twice what is signed. */
	start_signed(&made);
	add(&made, "host", "evil");
	assert_int_equal(verify(&made), THAW_SIGV4_INCOMPLETE);
	start_signed(&made);
	add(&made, "x-amz-date", "20150830T123600Z");
	assert_int_equal(verify(&made), THAW_SIGV4_INCOMPLETE);
	/* Names as long as they may be, and one longer. */
	memset(name, 'a', sizeof(name));
	for (size_t size = 256; size <= 257; size++) {
		char names[400];
		name[size] = 0;
		start(&made, "GET", "/", NULL);
		add(&made, "X-Amz-Date", "20150830T123600Z");
		add(&made, name, "x");
		snprintf(names, sizeof(names), "%s;host;x-amz-date", name);
		if (size == 256)
			sign(&made, names);
		else
			authorize(&made, SCOPE, names, NO_SIGNATURE);
		assert_int_equal(verify(&made),
				 size == 256 ? THAW_SIGV4_ACCEPTED : THAW_SIGV4_INCOMPLETE);
		name[size] = 'a';
	}
}

static void test_payload(void **state)
{
	static const char *const refused[] = {
		"STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
		"STREAMING-UNSIGNED-PAYLOAD-TRAILER",
		"unsigned-payload",
		"",
		"E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85",
		EMPTY "0",
	};
	static struct made made;

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		start(&made, "GET", "/", NULL);
		made.policy.unsigned_payload = true;
		add(&made, "X-Amz-Date", "20150830T123600Z");
		add(&made, "X-Amz-Content-SHA256", refused[i]);
		authorize(&made, SCOPE, "host;x-amz-content-sha256;x-amz-date", NO_SIGNATURE);
		assert_int_equal(verify(&made), THAW_SIGV4_PAYLOAD);
	}
	start(&made, "POST", "/", NULL);
	add(&made, "X-Amz-Date", "20150830T123600Z");
	add(&made, "X-Amz-Content-SHA256", FORM);
	body_hash("Param1=value1", made.body);
	sign(&made, "host;x-amz-content-sha256;x-amz-date");
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	assert_string_equal(made.claim.payload, FORM);
	/* Another body under the same signed header. */
	strcpy(made.body, EMPTY);
	assert_int_equal(verify(&made), THAW_SIGV4_PAYLOAD);
	add(&made, "x-amz-content-sha256", FORM);
	assert_int_equal(verify(&made), THAW_SIGV4_INCOMPLETE);
	/* Unsigned: any body, where that is allowed, if the client said so under its signature. */
	start(&made, "POST", "/", NULL);
	add(&made, "X-Amz-Date", "20150830T123600Z");
	add(&made, "X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD");
	sign_payload(&made, SCOPE, "host;x-amz-content-sha256;x-amz-date", "UNSIGNED-PAYLOAD");
	assert_int_equal(verify(&made), THAW_SIGV4_PAYLOAD);
	made.policy.unsigned_payload = true;
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	body_hash("anything", made.body);
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	start_signed(&made);
	made.policy.unsigned_payload = true;
	sign_payload(&made, SCOPE, "host;x-amz-date", "UNSIGNED-PAYLOAD");
	assert_int_equal(verify(&made), THAW_SIGV4_MISMATCH);
}

#define Q(expires)                                                                                 \
	"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" KEY_ID                                \
	"%2F20150830%2Fus-east-1%2Fservice%2Faws4_request&X-Amz-Date=20150830T123600Z"             \
	"&X-Amz-Expires=" expires "&X-Amz-SignedHeaders=host"

static void presign(struct made *made, const char *query)
{
	uint8_t signature[32];
	char text[65];

	start(made, "GET", "/2015-03-31/functions", NULL);
	made->request.query = made->query;
	snprintf(made->query, sizeof(made->query), "%s&X-Amz-Signature=" NO_SIGNATURE, query);
	if (thaw_sigv4_parse(&made->claim, &made->request, &made->outcome) == 0) {
		assert_int_equal(thaw_sigv4_sign(&made->claim, &made->request, made->body, SECRET,
						 signature),
				 0);
		hex(signature, text);
		snprintf(made->query, sizeof(made->query), "%s&X-Amz-Signature=%s", query, text);
	}
}

static void test_presigned(void **state)
{
	static struct made made;

	(void)state;
	presign(&made, Q("3600") "&Marker=a%20b");
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	assert_true(made.claim.presigned);
	assert_int_equal(made.claim.expires, 3600);
	made.policy.now = NOW + 3600;
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	made.policy.now = NOW + 3601;
	assert_int_equal(verify(&made), THAW_SIGV4_EXPIRED);
	made.policy.now = NOW - 300;
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	made.policy.now = NOW - 301;
	assert_int_equal(verify(&made), THAW_SIGV4_EARLY);
	made.policy.now = NOW;
	/* Longer by a second, to whom that would matter. */
	*strstr(made.query, "3600&") = '4';
	assert_int_equal(verify(&made), THAW_SIGV4_MISMATCH);
	presign(&made, Q("1"));
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	made.policy.now = NOW + 2;
	assert_int_equal(verify(&made), THAW_SIGV4_EXPIRED);
	presign(&made, Q("604800"));
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	made.policy.now = NOW + 604800;
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	made.policy.now++;
	assert_int_equal(verify(&made), THAW_SIGV4_EXPIRED);
	/* A body can come with it, signed by its hash. */
	presign(&made, Q("60"));
	body_hash("x", made.body);
	assert_int_equal(verify(&made), THAW_SIGV4_MISMATCH);
	presign(&made, Q("60") "&X-Amz-Content-Sha256=" EMPTY);
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	add(&made, "x-amz-meta", "1");
	assert_int_equal(verify(&made), THAW_SIGV4_UNCOVERED);
	presign(&made, Q("60") "&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD");
	assert_int_equal(verify(&made), THAW_SIGV4_PAYLOAD);
	presign(&made, Q("60") "&X-Amz-Security-Token=a%2Fb%2B%3D");
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
	assert_string_equal(made.claim.token, "a/b+=");
	/* The signature may stand anywhere. */
	presign(&made, Q("60"));
	char *signature = strstr(made.query, "&X-Amz-Signature=");
	char moved[1024];
	snprintf(moved, sizeof(moved), "%s&%.*s", signature + 1, (int)(signature - made.query),
		 made.query);
	made.request.query = moved;
	assert_int_equal(verify(&made), THAW_SIGV4_ACCEPTED);
}

static void test_presigned_bad(void **state)
{
	static const char *const names[] = {"Algorithm", "Credential",    "Date",
					    "Expires",   "SignedHeaders", "Signature"};
	static const char *const bad[] = {
		Q("0"),
		Q("604801"),
		Q("-1"),
		Q("%2B1"),
		Q(""),
		Q("1x"),
		Q("%201"),
		Q("18446744073709551617"),
		Q("60") "&X-Amz-Expires=60",
		Q("60") "&X-Amz-SignedHeaders=host",
		Q("60") "&X-Amz-Content-Sha256=" EMPTY "&X-Amz-Content-Sha256=" EMPTY,
		Q("60") "&X-Amz-Security-Token=",
		Q("60") "&X-Amz-Security-Token=a%00b",
		Q("60") "&X-Amz-Security-Token=a%0Ab",
		Q("60") "&X-Amz-Signature=" NO_SIGNATURE,
	};
	static struct made made;
	char query[1024], token[THAW_SIGV4_TOKEN + 1024];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		presign(&made, bad[i]);
		if (verify(&made) != THAW_SIGV4_INCOMPLETE)
			fail_msg("%s: %s", bad[i], made.outcome.message);
	}
	/* Each of them is needed. */
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char name[32];
		presign(&made, Q("60"));
		snprintf(name, sizeof(name), "X-Amz-%s=", names[i]);
		*strstr(made.query, name) = 'x';
		assert_int_equal(verify(&made), THAW_SIGV4_INCOMPLETE);
		name[strlen(name) - 1] = 0;
		assert_non_null(strstr(made.outcome.message, name));
	}
	presign(&made, Q("60"));
	memcpy(strstr(made.query, "SHA256"), "SHA512", 6);
	assert_int_equal(verify(&made), THAW_SIGV4_INCOMPLETE);
	/* The same thing in a header. */
	static const char *const twins[][2] = {
		{"&X-Amz-Content-Sha256=" EMPTY, "x-amz-content-sha256"},
		{"&X-Amz-Security-Token=t", "x-amz-security-token"},
		{"", "x-amz-date"},
	};
	for (size_t i = 0; i < 3; i++) {
		snprintf(query, sizeof(query), "%s%%3B%s%s", Q("60"), twins[i][1], twins[i][0]);
		presign(&made, query);
		add(&made, twins[i][1], "20150830T123600Z");
		assert_int_equal(verify(&made), THAW_SIGV4_INCOMPLETE);
	}
	/* A token as long as may be, and one longer. */
	for (size_t size = THAW_SIGV4_TOKEN - 1; size <= THAW_SIGV4_TOKEN; size++) {
		int n = snprintf(token, sizeof(token), "%s&X-Amz-Security-Token=", Q("60"));
		memset(token + n, 't', size);
		token[(size_t)n + size] = 0;
		presign(&made, token);
		assert_int_equal(verify(&made), size < THAW_SIGV4_TOKEN ? THAW_SIGV4_ACCEPTED
									: THAW_SIGV4_INCOMPLETE);
	}
}

static char *letters(char letter, size_t count)
{
	char *text = malloc(count + 1);

	assert_non_null(text);
	memset(text, letter, count);
	text[count] = 0;
	return text;
}

static void test_limits(void **state)
{
	static struct made made;

	(void)state;
	for (size_t more = 0; more < 2; more++) {
		enum thaw_sigv4_result wanted = more ? THAW_SIGV4_INCOMPLETE : THAW_SIGV4_MISMATCH;
		start_signed(&made);
		char *text = letters('a', THAW_SIGV4_PATH_MAX + more);
		text[0] = '/';
		made.request.path = text;
		assert_int_equal(verify(&made), wanted);
		free(text);
		start_signed(&made);
		text = letters('%', THAW_SIGV4_QUERY_MAX + more);
		for (size_t i = 0; i < THAW_SIGV4_QUERY_MAX - 2; i += 3)
			memcpy(text + i, "%ff", 3);
		memcpy(text + THAW_SIGV4_QUERY_MAX - 2, "aa", 2);
		made.request.query = text;
		assert_int_equal(verify(&made), wanted);
		free(text);
		start_signed(&made);
		text = letters('&', THAW_SIGV4_PARAMETERS_MAX - 1 + more);
		made.request.query = text;
		assert_int_equal(verify(&made), wanted);
		free(text);
		start_signed(&made);
		text = letters('v', THAW_SIGV4_VALUE_MAX + more);
		add(&made, "accept", text);
		assert_int_equal(verify(&made), more ? wanted : THAW_SIGV4_ACCEPTED);
		free(text);
		start_signed(&made);
		while (made.request.header_count < THAW_SIGV4_HEADERS_MAX + more)
			add(&made, "a", "");
		assert_int_equal(verify(&made), more ? wanted : THAW_SIGV4_ACCEPTED);
		/* All together: host, date and authorization take part of it. */
		start_signed(&made);
		text = letters('v', THAW_SIGV4_VALUE_MAX);
		size_t used = 0;
		for (size_t i = 0; i < made.request.header_count; i++)
			used += strlen(made.headers[i].name) + strlen(made.headers[i].value);
		size_t left = THAW_SIGV4_HEADERS_SIZE - used + more;
		while (left) {
			size_t part =
				left - 1 < THAW_SIGV4_VALUE_MAX ? left - 1 : THAW_SIGV4_VALUE_MAX;
			add(&made, "a", text + THAW_SIGV4_VALUE_MAX - part);
			left -= part + 1;
		}
		assert_int_equal(verify(&made), more ? wanted : THAW_SIGV4_ACCEPTED);
		free(text);
		/* Signed headers by number. */
		static char names[THAW_SIGV4_SIGNED_MAX][8];
		char list[THAW_SIGV4_SIGNED_HEADERS] = "";
		start(&made, "GET", "/", NULL);
		add(&made, "x-amz-date", "20150830T123600Z");
		for (size_t i = 0; i < THAW_SIGV4_SIGNED_MAX - 2 + more; i++) {
			snprintf(names[i], sizeof(names[i]), "a%03zu", i);
			add(&made, names[i], "x");
			strcat(strcat(list, names[i]), ";");
		}
		strcat(list, "host;x-amz-date");
		if (more)
			authorize(&made, SCOPE, list, NO_SIGNATURE);
		else
			sign(&made, list);
		assert_int_equal(verify(&made), more ? wanted : THAW_SIGV4_ACCEPTED);
		/* The key id. */
		start_signed(&made);
		text = letters('K', THAW_SIGV4_KEY_ID - 1 + more + 64);
		strcpy(text + THAW_SIGV4_KEY_ID - 1 + more,
		       "/20150830/us-east-1/service/aws4_request");
		authorize(&made, text, "host;x-amz-date", NO_SIGNATURE);
		assert_int_equal(verify(&made), more ? wanted : THAW_SIGV4_UNKNOWN_KEY);
		free(text);
	}
}

/* What could forge lines of a canonical request. */
static void test_bytes(void **state)
{
	static struct made made;

	(void)state;
	for (int c = 1; c < 256; c++) {
		char text[] = {'a', (char)c, 'b', 0};
		start_signed(&made);
		add(&made, "accept", text);
		bool control = (c < 0x20 && c != '\t') || c == 0x7f;
		assert_int_equal(verify(&made),
				 control ? THAW_SIGV4_INCOMPLETE : THAW_SIGV4_ACCEPTED);
		bool token = c != 0 && strchr("!#$%&'*+-.^_`|~" ALNUM, c);
		start_signed(&made);
		add(&made, text, "x");
		assert_int_equal(verify(&made),
				 token ? THAW_SIGV4_ACCEPTED : THAW_SIGV4_INCOMPLETE);
		start_signed(&made);
		made.request.method = text;
		assert_int_equal(verify(&made),
				 token ? THAW_SIGV4_MISMATCH : THAW_SIGV4_INCOMPLETE);
	}
	start_signed(&made);
	made.request.method = "";
	assert_int_equal(verify(&made), THAW_SIGV4_INCOMPLETE);
	start_signed(&made);
	made.request.path = "*";
	assert_int_equal(verify(&made), THAW_SIGV4_INCOMPLETE);
	start_signed(&made);
	add(&made, "", "x");
	assert_int_equal(verify(&made), THAW_SIGV4_INCOMPLETE);
}

static void test_answers(void **state)
{
	(void)state;
	for (int i = 1; i < THAW_SIGV4_RESULTS; i++) {
		assert_in_range(thaw_sigv4_status(i), 400, 500);
		assert_true(thaw_sigv4_code(i)[0]);
	}
	assert_int_equal(thaw_sigv4_status(THAW_SIGV4_ACCEPTED), 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_changed),       cmocka_unit_test(test_keys),
		cmocka_unit_test(test_time),          cmocka_unit_test(test_dates),
		cmocka_unit_test(test_scope),         cmocka_unit_test(test_missing),
		cmocka_unit_test(test_authorization), cmocka_unit_test(test_signed_headers),
		cmocka_unit_test(test_payload),       cmocka_unit_test(test_presigned),
		cmocka_unit_test(test_presigned_bad), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_bytes),         cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
