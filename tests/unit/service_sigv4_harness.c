/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/service_sigv4_harness.h"

const struct thaw_sigv4_policy policy = {
	.service = "service", .region = "us-east-1", .now = NOW, .skew = THAW_SIGV4_SKEW};

unsigned int lookups;

int secret_of(void *opaque, const char *key_id, const char *token, char secret[THAW_SIGV4_SECRET])
{
	lookups++;
	if (opaque)
		return *(int *)opaque;
	if (strcmp(key_id, KEY_ID) != 0 || strcmp(token, "wrong") == 0)
		return -ENOENT;
	strcpy(secret, SECRET);
	return 0;
}

void body_hash(const char *body, char text[THAW_DIGEST_TEXT])
{
	struct thaw_digest *digest = thaw_digest_new();

	assert_non_null(digest);
	thaw_digest_add(digest, body, strlen(body));
	thaw_digest_finish(digest, text);
}

struct thaw_sigv4_header *add(struct made *made, const char *name, const char *value)
{
	struct thaw_sigv4_header *header = &made->headers[made->request.header_count++];

	header->name = name;
	header->value = value;
	return header;
}

void start(struct made *made, const char *method, const char *path, const char *query)
{
	memset(made, 0, sizeof(*made));
	made->request.method = method;
	made->request.path = path;
	made->request.query = query;
	made->request.headers = made->headers;
	made->policy = policy;
	strcpy(made->body, EMPTY);
	add(made, "Host", "example.amazonaws.com");
}

enum thaw_sigv4_result verify(struct made *made)
{
	enum thaw_sigv4_result result =
		thaw_sigv4_parse(&made->claim, &made->request, &made->outcome);

	assert_int_equal(result, made->outcome.result);
	if (result == THAW_SIGV4_ACCEPTED)
		result = thaw_sigv4_verify(&made->claim, &made->request, &made->policy, made->body,
					   secret_of, NULL, &made->outcome);
	assert_int_equal(result, made->outcome.result);
	assert_true(result < THAW_SIGV4_RESULTS);
	assert_true(!made->outcome.message[0] == (result == THAW_SIGV4_ACCEPTED));
	return result;
}

void authorize(struct made *made, const char *credential, const char *names, const char *signature)
{
	snprintf(made->authorization, sizeof(made->authorization),
		 "AWS4-HMAC-SHA256 Credential=%s, SignedHeaders=%s, Signature=%s", credential,
		 names, signature);
	for (size_t i = 0; i < made->request.header_count; i++)
		if (strcmp(made->headers[i].name, "Authorization") == 0)
			return;
	add(made, "Authorization", made->authorization);
}

void hex(const uint8_t signature[32], char text[65])
{
	for (size_t i = 0; i < 32; i++)
		sprintf(text + 2 * i, "%02x", signature[i]);
}

/* As a client that knows the secret does; `payload`: what it says the body hashes to. */
void sign_payload(struct made *made, const char *credential, const char *names, const char *payload)
{
	uint8_t signature[32];
	char text[65];

	authorize(made, credential, names, NO_SIGNATURE);
	assert_int_equal(thaw_sigv4_parse(&made->claim, &made->request, &made->outcome), 0);
	assert_int_equal(thaw_sigv4_sign(&made->claim, &made->request, payload, SECRET, signature),
			 0);
	hex(signature, text);
	authorize(made, credential, names, text);
}

void sign(struct made *made, const char *names)
{
	sign_payload(made, SCOPE, names, made->body);
}

void start_signed(struct made *made)
{
	start(made, "POST", "/2015-03-31/functions/hello/invocations", "Qualifier=1");
	add(made, "X-Amz-Date", "20150830T123600Z");
	sign(made, "host;x-amz-date");
}
