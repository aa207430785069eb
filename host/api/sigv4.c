/* SPDX-License-Identifier: Apache-2.0 */
#include "host/api/sigv4.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "host/api/sigv4_internal.h"

#define HMAC_SIZE 32

/* What an unknown key is verified against, for the time it takes. As long as real ones. */
#define NO_SECRET "0000000000000000000000000000000000000000"

static const struct {
	int status;
	const char *code;
} answers[THAW_SIGV4_RESULTS] = {
	[THAW_SIGV4_ACCEPTED] = {200, ""},
	[THAW_SIGV4_MISSING] = {403, "MissingAuthenticationTokenException"},
	[THAW_SIGV4_INCOMPLETE] = {403, "IncompleteSignatureException"},
	[THAW_SIGV4_SCOPE_WRONG] = {403, "InvalidSignatureException"},
	[THAW_SIGV4_EXPIRED] = {403, "InvalidSignatureException"},
	[THAW_SIGV4_EARLY] = {403, "InvalidSignatureException"},
	[THAW_SIGV4_UNCOVERED] = {403, "InvalidSignatureException"},
	[THAW_SIGV4_PAYLOAD] = {403, "InvalidSignatureException"},
	[THAW_SIGV4_MISMATCH] = {403, "InvalidSignatureException"},
	[THAW_SIGV4_UNKNOWN_KEY] = {403, "UnrecognizedClientException"},
	[THAW_SIGV4_TROUBLE] = {500, "ServiceException"},
};

const char *thaw_sigv4_code(enum thaw_sigv4_result result)
{
	return answers[result].code;
}

int thaw_sigv4_status(enum thaw_sigv4_result result)
{
	return answers[result].status;
}

enum thaw_sigv4_result thaw_sigv4_refuse(struct thaw_sigv4_outcome *outcome,
					 enum thaw_sigv4_result result, const char *format, ...)
{
	va_list ap;

	outcome->result = result;
	va_start(ap, format);
	vsnprintf(outcome->message, sizeof(outcome->message), format, ap);
	va_end(ap);
	return result;
}

static void time_text(int64_t at, char text[THAW_SIGV4_TIME])
{
	time_t seconds = at;
	struct tm tm;

	if (!gmtime_r(&seconds, &tm) || strftime(text, THAW_SIGV4_TIME, "%Y%m%dT%H%M%SZ", &tm) == 0)
		text[0] = 0;
}

/* "x is now earlier than y (now - 5 min.)", as AWS tells it: clients set their clocks by it. */
static enum thaw_sigv4_result refuse_time(struct thaw_sigv4_outcome *outcome,
					  enum thaw_sigv4_result result,
					  const struct thaw_sigv4_claim *claim, int64_t now,
					  int64_t allowed)
{
	char bound[THAW_SIGV4_TIME], at[THAW_SIGV4_TIME];
	bool expired = result == THAW_SIGV4_EXPIRED;
	bool minutes = allowed % 60 == 0;

	time_text(expired ? now - allowed : now + allowed, bound);
	time_text(now, at);
	return thaw_sigv4_refuse(outcome, result, "Signature %s: %s is %s than %s (%s %c %lld %s.)",
				 expired ? "expired" : "not yet current", claim->time,
				 expired ? "now earlier" : "still later", bound, at,
				 expired ? '-' : '+', (long long)(minutes ? allowed / 60 : allowed),
				 minutes ? "min" : "sec");
}

enum thaw_sigv4_result thaw_sigv4_check(const struct thaw_sigv4_claim *claim,
					const struct thaw_sigv4_policy *policy,
					struct thaw_sigv4_outcome *outcome)
{
	int64_t allowed = claim->presigned ? claim->expires : policy->skew;

	memset(outcome, 0, sizeof(*outcome));
	if (policy->region && strcmp(claim->region, policy->region) != 0)
		return thaw_sigv4_refuse(outcome, THAW_SIGV4_SCOPE_WRONG,
					 "Credential should be scoped to a valid region, not '%s'.",
					 claim->region);
	if (strcmp(claim->service, policy->service) != 0)
		return thaw_sigv4_refuse(outcome, THAW_SIGV4_SCOPE_WRONG,
					 "Credential should be scoped to correct service: '%s'.",
					 policy->service);
	if (strncmp(claim->date, claim->time, 8) != 0)
		return thaw_sigv4_refuse(outcome, THAW_SIGV4_SCOPE_WRONG,
					 "Date in Credential scope does not match YYYYMMDD from "
					 "ISO-8601 version of date from HTTP: '%s' != '%.8s', "
					 "from '%s'.",
					 claim->date, claim->time, claim->time);
	if (claim->at < policy->now - allowed)
		return refuse_time(outcome, THAW_SIGV4_EXPIRED, claim, policy->now, allowed);
	if (claim->at > policy->now + policy->skew)
		return refuse_time(outcome, THAW_SIGV4_EARLY, claim, policy->now, policy->skew);
	if (strcmp(claim->payload, SIGV4_UNSIGNED) == 0 && !policy->unsigned_payload)
		return thaw_sigv4_refuse(outcome, THAW_SIGV4_PAYLOAD,
					 "x-amz-content-sha256 " SIGV4_UNSIGNED
					 " is not allowed here: the body must be signed.");
	return THAW_SIGV4_ACCEPTED;
}

static bool hmac(EVP_MAC_CTX *context, const void *key, size_t key_size, const char *text,
		 uint8_t out[HMAC_SIZE])
{
	const OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
		OSSL_PARAM_construct_end(),
	};
	size_t size = 0;

	return EVP_MAC_init(context, key, key_size, parameters) == 1 &&
	       EVP_MAC_update(context, (const uint8_t *)text, strlen(text)) == 1 &&
	       EVP_MAC_final(context, out, &size, HMAC_SIZE) == 1 && size == HMAC_SIZE;
}

/* The key for one day, region and service, and with it the signature. */
static int sign_text(const struct thaw_sigv4_claim *claim, const char *secret, const char *text,
		     uint8_t signature[HMAC_SIZE])
{
	char start[4 + THAW_SIGV4_SECRET];
	uint8_t key[HMAC_SIZE];
	bool right = false;

	int n = snprintf(start, sizeof(start), "AWS4%s", secret);
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *context = mac ? EVP_MAC_CTX_new(mac) : NULL;
	if (context && n > 0 && (size_t)n < sizeof(start))
		right = hmac(context, start, (size_t)n, claim->date, key) &&
			hmac(context, key, sizeof(key), claim->region, key) &&
			hmac(context, key, sizeof(key), claim->service, key) &&
			hmac(context, key, sizeof(key), SIGV4_TERMINATOR, key) &&
			hmac(context, key, sizeof(key), text, signature);
	EVP_MAC_CTX_free(context);
	EVP_MAC_free(mac);
	OPENSSL_cleanse(start, sizeof(start));
	OPENSSL_cleanse(key, sizeof(key));
	return right ? 0 : -EIO;
}

int thaw_sigv4_sign(const struct thaw_sigv4_claim *claim, const struct thaw_sigv4_request *request,
		    const char *payload, const char *secret, uint8_t signature[HMAC_SIZE])
{
	char hash[THAW_DIGEST_TEXT];
	char text[THAW_SIGV4_TIME + 2 * THAW_SIGV4_SCOPE + THAW_DIGEST_TEXT + 64];

	int rc = thaw_sigv4_canonical(claim, request, payload, hash);
	if (rc < 0)
		return rc;
	snprintf(text, sizeof(text), SIGV4_ALGORITHM "\n%s\n%s/%s/%s/" SIGV4_TERMINATOR "\n%s",
		 claim->time, claim->date, claim->region, claim->service, hash);
	return sign_text(claim, secret, text, signature);
}

enum thaw_sigv4_result
thaw_sigv4_verify(const struct thaw_sigv4_claim *claim, const struct thaw_sigv4_request *request,
		  const struct thaw_sigv4_policy *policy, const char body_sha256[THAW_DIGEST_TEXT],
		  thaw_sigv4_secret *secret, void *opaque, struct thaw_sigv4_outcome *outcome)
{
	char found[THAW_SIGV4_SECRET] = "";
	uint8_t signature[HMAC_SIZE] = {0};

	if (thaw_sigv4_check(claim, policy, outcome))
		return outcome->result;
	bool unsigned_payload = strcmp(claim->payload, SIGV4_UNSIGNED) == 0;
	if (claim->payload[0] && !unsigned_payload && strcmp(claim->payload, body_sha256) != 0)
		return thaw_sigv4_refuse(outcome, THAW_SIGV4_PAYLOAD,
					 "The provided 'x-amz-content-sha256' header does not "
					 "match what was computed.");
	int looked = secret(opaque, claim->key_id, claim->token, found);
	found[sizeof(found) - 1] = 0;
	bool known = looked == 0 && found[0];
	int rc = thaw_sigv4_sign(claim, request, unsigned_payload ? SIGV4_UNSIGNED : body_sha256,
				 known ? found : NO_SECRET, signature);
	OPENSSL_cleanse(found, sizeof(found));
	bool same = CRYPTO_memcmp(signature, claim->signature, sizeof(signature)) == 0;
	/* It is the right signature of a request that may come again, unsigned. */
	OPENSSL_cleanse(signature, sizeof(signature));
	if (looked == -ENOENT)
		return thaw_sigv4_refuse(outcome, THAW_SIGV4_UNKNOWN_KEY,
					 "The security token included in the request is invalid.");
	if (!known || (rc < 0 && rc != -EINVAL && rc != -E2BIG))
		return thaw_sigv4_refuse(outcome, THAW_SIGV4_TROUBLE, "Service error.");
	if (rc < 0 || !same)
		return thaw_sigv4_refuse(outcome, THAW_SIGV4_MISMATCH,
					 "The request signature we calculated does not match the "
					 "signature you provided. Check your AWS Secret Access Key "
					 "and signing method. Consult the service documentation "
					 "for details.");
	return THAW_SIGV4_ACCEPTED;
}
