/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who signed this request? AWS Signature Version 4 ("Create a signed AWS API request", IAM User
 * Guide), in a header (Authorization) or in the query (a presigned URL), for services other than
 * S3: the path is normalised and encoded once more than it came.
 *
 *	thaw_sigv4_parse    what the request claims: which key, when, over which headers
 *	thaw_sigv4_check    is it for us, and is it time? Before a body is read
 *	thaw_sigv4_verify   all of that, and did the key's owner sign it? With the body's SHA-256,
 *	                    which host/digest.h makes while the body arrives
 *
 * Everything in a request is hostile. What has two readings is refused: a header twice that is
 * signed or looked at here, both forms at once, an X-Amz- parameter twice, a list of signed headers
 * that is not sorted. What could be changed without breaking the signature must not matter: so the
 * host and every x-amz-* header have to be signed. All sizes are bounded, signatures are compared
 * in constant time, and an unknown key costs the work of a wrong signature.
 *
 * In a query, '+' is a space, as forms have it; whoever reads the query afterwards has to agree.
 */
#ifndef THAW_HOST_API_SIGV4_H
#define THAW_HOST_API_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/digest.h"

#define THAW_SIGV4_PATH_MAX       16384u /* bytes, as all of these */
#define THAW_SIGV4_QUERY_MAX      32768u
#define THAW_SIGV4_VALUE_MAX      16384u /* of one header */
#define THAW_SIGV4_HEADERS_SIZE   131072u
#define THAW_SIGV4_HEADERS_MAX    128u /* headers */
#define THAW_SIGV4_PARAMETERS_MAX 256u /* of the query */
#define THAW_SIGV4_SIGNED_MAX     64u  /* names in SignedHeaders */
#define THAW_SIGV4_EXPIRES_MAX    604800u

/* Texts, with their terminating 0. */
#define THAW_SIGV4_KEY_ID         129
#define THAW_SIGV4_SCOPE          33
#define THAW_SIGV4_TIME           17 /* 20150830T123600Z */
#define THAW_SIGV4_SIGNED_HEADERS 2049
#define THAW_SIGV4_TOKEN          4097
#define THAW_SIGV4_SECRET         129
#define THAW_SIGV4_MESSAGE        512

struct thaw_sigv4_header {
	const char *name; /* in any case */
	const char *value;
};

/* A request as it came; all of it stays the caller's. */
struct thaw_sigv4_request {
	const char *method;
	const char *path;  /* undecoded, up to the '?' */
	const char *query; /* undecoded, behind the '?'; NULL when there is none */
	const struct thaw_sigv4_header *headers;
	size_t header_count;
};

/* What a request says of itself. Nothing in it is true before thaw_sigv4_verify says so. Points
 * nowhere: it may be copied, and needs no clearing. */
struct thaw_sigv4_claim {
	char key_id[THAW_SIGV4_KEY_ID]; /* letters, digits and '_' */
	char date[9];                   /* of the credential scope: 20150830 */
	char region[THAW_SIGV4_SCOPE];  /* lower-case letters, digits and '-' */
	char service[THAW_SIGV4_SCOPE];
	char time[THAW_SIGV4_TIME];
	int64_t at; /* the same in seconds since 1970 */
	bool presigned;
	uint32_t expires; /* seconds after `at`; presigned only */
	/* Lower-case names, sorted, each once, with ';' between. */
	char signed_headers[THAW_SIGV4_SIGNED_HEADERS];
	uint8_t signature[32];
	/* x-amz-content-sha256: 64 lower-case digits or UNSIGNED-PAYLOAD; "" when it was not given.
	 */
	char payload[THAW_DIGEST_TEXT];
	char token[THAW_SIGV4_TOKEN]; /* X-Amz-Security-Token; "" when there is none */
};

enum thaw_sigv4_result {
	THAW_SIGV4_ACCEPTED,
	THAW_SIGV4_MISSING,     /* not signed at all */
	THAW_SIGV4_INCOMPLETE,  /* not a signature as the specification has it */
	THAW_SIGV4_SCOPE_WRONG, /* another service, region or day */
	THAW_SIGV4_EXPIRED,
	THAW_SIGV4_EARLY,     /* from the future */
	THAW_SIGV4_UNCOVERED, /* the host or an x-amz-* header is not signed */
	THAW_SIGV4_PAYLOAD,   /* another body, or one signed in a way not taken here */
	THAW_SIGV4_MISMATCH,  /* another secret, or something was changed on the way */
	THAW_SIGV4_UNKNOWN_KEY,
	THAW_SIGV4_TROUBLE, /* ours: no memory, the secret could not be read */
	THAW_SIGV4_RESULTS,
};

/* Why, in AWS's words. Quotes nothing of the request but what has been checked. */
struct thaw_sigv4_outcome {
	enum thaw_sigv4_result result;
	char message[THAW_SIGV4_MESSAGE];
};

/* The AWS error code ("InvalidSignatureException") and HTTP status that answer a result. For
 * THAW_SIGV4_ACCEPTED: "" and 200. */
const char *thaw_sigv4_code(enum thaw_sigv4_result result);
int thaw_sigv4_status(enum thaw_sigv4_result result);

struct thaw_sigv4_policy {
	const char *service;
	const char *region;    /* NULL: any, and the claim says which */
	int64_t now;           /* seconds since 1970 when the request's head came */
	uint32_t skew;         /* seconds that clocks may differ */
	bool unsigned_payload; /* UNSIGNED-PAYLOAD is taken */
};

#define THAW_SIGV4_SKEW 300u

/*
 * The secret of an access key, terminated, for one verification; the buffer is wiped afterwards.
 * `token` is the session token that came with the request, "" for none: keys that have none must
 * refuse one, and the reverse. 0; -ENOENT: no such key, a disabled one, a wrong token; any other
 * negative errno: it cannot be told now.
 */
typedef int thaw_sigv4_secret(void *opaque, const char *key_id, const char *token,
			      char secret[THAW_SIGV4_SECRET]);

/* Each returns outcome->result. Of a claim that was not accepted, nothing may be used. */
enum thaw_sigv4_result thaw_sigv4_parse(struct thaw_sigv4_claim *claim,
					const struct thaw_sigv4_request *request,
					struct thaw_sigv4_outcome *outcome);
enum thaw_sigv4_result thaw_sigv4_check(const struct thaw_sigv4_claim *claim,
					const struct thaw_sigv4_policy *policy,
					struct thaw_sigv4_outcome *outcome);

/* `body_sha256` is that of the whole body (of no bytes: when there is none), in 64 lower-case
 * digits. The request must be the one that the claim was parsed from. */
enum thaw_sigv4_result
thaw_sigv4_verify(const struct thaw_sigv4_claim *claim, const struct thaw_sigv4_request *request,
		  const struct thaw_sigv4_policy *policy, const char body_sha256[THAW_DIGEST_TEXT],
		  thaw_sigv4_secret *secret, void *opaque, struct thaw_sigv4_outcome *outcome);

/* The signature that belongs to a claim: for those who sign. `payload` is the body's SHA-256 or
 * UNSIGNED-PAYLOAD. 0, -EINVAL (a signed header is missing, a bad escape), -ENOMEM, -EIO. */
int thaw_sigv4_sign(const struct thaw_sigv4_claim *claim, const struct thaw_sigv4_request *request,
		    const char *payload, const char *secret, uint8_t signature[32]);

#endif
