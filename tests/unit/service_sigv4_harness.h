/* SPDX-License-Identifier: Apache-2.0 */
/* Requests made and signed for the tests of Signature Version 4. */
#ifndef THAW_TESTS_UNIT_SERVICE_SIGV4_HARNESS_H
#define THAW_TESTS_UNIT_SERVICE_SIGV4_HARNESS_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "host/api/sigv4.h"

#define KEY_ID       "AKIDEXAMPLE"
#define SECRET       "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define SCOPE        KEY_ID "/20150830/us-east-1/service/aws4_request"
#define NOW          1440938160 /* 20150830T123600Z */
#define EMPTY        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define FORM         "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"
#define NO_SIGNATURE "0000000000000000000000000000000000000000000000000000000000000000"
#define VANILLA      "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
#define ALNUM        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define TOKEN        "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"

/* A request under construction. */
struct made {
	struct thaw_sigv4_request request;
	struct thaw_sigv4_header headers[THAW_SIGV4_HEADERS_MAX + 8];
	char authorization[8192];
	char query[65536];
	char body[THAW_DIGEST_TEXT];
	struct thaw_sigv4_policy policy;
	struct thaw_sigv4_claim claim;
	struct thaw_sigv4_outcome outcome;
};

extern const struct thaw_sigv4_policy policy;
extern unsigned int lookups; /* of secrets */

int secret_of(void *opaque, const char *key_id, const char *token, char secret[THAW_SIGV4_SECRET]);
void body_hash(const char *body, char text[THAW_DIGEST_TEXT]);
struct thaw_sigv4_header *add(struct made *made, const char *name, const char *value);
void start(struct made *made, const char *method, const char *path, const char *query);
enum thaw_sigv4_result verify(struct made *made);
void authorize(struct made *made, const char *credential, const char *names, const char *signature);
void hex(const uint8_t signature[32], char text[65]);
void sign_payload(struct made *made, const char *credential, const char *names,
		  const char *payload);
void sign(struct made *made, const char *names);
void start_signed(struct made *made);

#endif
