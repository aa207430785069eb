/* SPDX-License-Identifier: Apache-2.0 */
/* What a request claims: the two forms in which a signature comes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "host/api/sigv4_internal.h"

#define HEADER_NAME_MAX 256
#define METHOD_MAX      32

#define LOWER   "abcdefghijklmnopqrstuvwxyz"
#define UPPER   "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS  "0123456789"
#define SYMBOLS "!#$%&'*+-.^_`|~" /* with letters and digits: a token, RFC 9110, 5.6.2 */

/* A piece of the request, not terminated. */
struct text {
	const char *data; /* NULL: not there */
	size_t size;
};

/* The three things that both forms say, undivided. */
struct parts {
	struct text credential;
	struct text signed_headers;
	struct text signature;
};

static enum thaw_sigv4_result incomplete(struct thaw_sigv4_outcome *outcome, const char *message)
{
	return thaw_sigv4_refuse(outcome, THAW_SIGV4_INCOMPLETE, "%s", message);
}

static bool text_of(const struct text *text, const char *allowed)
{
	for (size_t i = 0; i < text->size; i++)
		if (!text->data[i] || !strchr(allowed, text->data[i]))
			return false;
	return text->size > 0;
}

static bool text_is(const struct text *text, const char *other)
{
	return text->size == strlen(other) && memcmp(text->data, other, text->size) == 0;
}

/* Into a buffer of `space` bytes; false when it does not fit. */
static bool text_copy(const struct text *text, char *to, size_t space)
{
	if (text->size >= space)
		return false;
	memcpy(to, text->data, text->size);
	to[text->size] = 0;
	return true;
}

/* Cuts the piece before the first `end` off `rest`. False when there is none. */
static bool text_cut(struct text *rest, char end, struct text *piece)
{
	const char *at = rest->size ? memchr(rest->data, end, rest->size) : NULL;

	if (!at)
		return false;
	piece->data = rest->data;
	piece->size = (size_t)(at - rest->data);
	rest->data = at + 1;
	rest->size -= piece->size + 1;
	return true;
}

/* The bounds of everything, and no byte in it that could start a line of a canonical request. */
static enum thaw_sigv4_result parse_bounds(const struct thaw_sigv4_request *request,
					   struct thaw_sigv4_outcome *outcome)
{
	size_t total = 0, size = strnlen(request->method, METHOD_MAX + 1);

	if (size == 0 || size > METHOD_MAX ||
	    strspn(request->method, UPPER LOWER DIGITS SYMBOLS) != size)
		return incomplete(outcome, "The request's method is not valid.");
	size = strnlen(request->path, THAW_SIGV4_PATH_MAX + 1);
	if (size > THAW_SIGV4_PATH_MAX || (size && request->path[0] != '/'))
		return incomplete(outcome, "The request's path is too long or not absolute.");
	if (request->query &&
	    strnlen(request->query, THAW_SIGV4_QUERY_MAX + 1) > THAW_SIGV4_QUERY_MAX)
		return incomplete(outcome, "The request's query string is too long.");
	if (request->header_count > THAW_SIGV4_HEADERS_MAX)
		return incomplete(outcome, "The request has too many headers.");
	for (size_t i = 0; i < request->header_count; i++) {
		const struct thaw_sigv4_header *header = &request->headers[i];
		size_t name = strnlen(header->name, HEADER_NAME_MAX + 1);
		size = strnlen(header->value, THAW_SIGV4_VALUE_MAX + 1);
		total += name + size;
		if (name > HEADER_NAME_MAX || size > THAW_SIGV4_VALUE_MAX ||
		    total > THAW_SIGV4_HEADERS_SIZE)
			return incomplete(outcome, "The request's headers are too large.");
		if (name == 0 || strspn(header->name, UPPER LOWER DIGITS SYMBOLS) != name)
			return incomplete(outcome, "The name of a header is not valid.");
		for (const char *c = header->value; *c; c++)
			if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f)
				return incomplete(outcome, "The value of a header is not valid.");
	}
	return THAW_SIGV4_ACCEPTED;
}

/* A header that means something here, so that two of it would mean two things. *value is NULL when
 * there is none. */
static enum thaw_sigv4_result single_header(const struct thaw_sigv4_request *request,
					    const char *name, const char **value,
					    struct thaw_sigv4_outcome *outcome)
{
	*value = NULL;
	if (thaw_sigv4_header_find(request, name, strlen(name), value) > 1)
		return thaw_sigv4_refuse(outcome, THAW_SIGV4_INCOMPLETE,
					 "The request has more than one '%s' header.", name);
	return THAW_SIGV4_ACCEPTED;
}

/* ISO 8601, basic format, in UTC: 20150830T123600Z. */
static bool parse_time(const char *text, struct thaw_sigv4_claim *claim)
{
	struct tm tm = {0}, back;
	int month;

	if (strlen(text) != THAW_SIGV4_TIME - 1 || strspn(text, DIGITS) != 8 || text[8] != 'T' ||
	    strspn(text + 9, DIGITS) != 6 || text[15] != 'Z')
		return false;
	sscanf(text, "%4d%2d%2dT%2d%2d%2d", &tm.tm_year, &month, &tm.tm_mday, &tm.tm_hour,
	       &tm.tm_min, &tm.tm_sec);
	tm.tm_year -= 1900;
	tm.tm_mon = month - 1;
	struct tm wanted = tm;
	time_t at = timegm(&tm);
	/* 31 April and the like are other days after a round trip. */
	if (!gmtime_r(&at, &back) || back.tm_mon != wanted.tm_mon ||
	    back.tm_mday != wanted.tm_mday || back.tm_hour != wanted.tm_hour ||
	    back.tm_min != wanted.tm_min || back.tm_sec != wanted.tm_sec)
		return false;
	claim->at = at;
	memcpy(claim->time, text, THAW_SIGV4_TIME);
	return true;
}

/* IMF-fixdate (RFC 9110, 5.6.7), and its elder form with a zone in digits, which botocore sends. */
static bool parse_http_date(const char *text, struct thaw_sigv4_claim *claim)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	char basic[THAW_SIGV4_TIME];
	/* "Sun, 30 Aug 2015 12:36:00 GMT"; d: a digit, x: anything but the end */
	static const char form[] = "xxx, dd xxx dddd dd:dd:dd ";
	for (size_t i = 0; form[i]; i++) {
		bool digit = text[i] >= '0' && text[i] <= '9';
		if (!text[i] || (form[i] == 'd' && !digit) ||
		    (form[i] != 'd' && form[i] != 'x' && form[i] != text[i]))
			return false;
	}
	const char *zone = text + sizeof(form) - 1;
	if (strcmp(zone, "GMT") != 0 && strcmp(zone, "-0000") != 0 && strcmp(zone, "+0000") != 0)
		return false;
	for (int month = 0; month < 12; month++) {
		if (memcmp(months + 3 * month, text + 8, 3) != 0)
			continue;
		snprintf(basic, sizeof(basic), "%.4s%02d%.2sT%.2s%.2s%.2sZ", text + 12, month + 1,
			 text + 5, text + 17, text + 20, text + 23);
		return parse_time(basic, claim);
	}
	return false;
}

/* keyid/date/region/service/aws4_request */
static enum thaw_sigv4_result parse_credential(struct text rest, struct thaw_sigv4_claim *claim,
					       struct thaw_sigv4_outcome *outcome)
{
	struct text key_id, date, region, service;

	if (!text_cut(&rest, '/', &key_id) || !text_cut(&rest, '/', &date) ||
	    !text_cut(&rest, '/', &region) || !text_cut(&rest, '/', &service) ||
	    memchr(rest.data, '/', rest.size))
		return incomplete(outcome,
				  "Credential must have exactly 5 slash-delimited elements, "
				  "e.g. keyid/date/region/service/term.");
	if (!text_of(&key_id, UPPER LOWER DIGITS "_") ||
	    !text_copy(&key_id, claim->key_id, sizeof(claim->key_id)) || !text_of(&date, DIGITS) ||
	    date.size != 8 || !text_copy(&date, claim->date, sizeof(claim->date)) ||
	    !text_of(&region, LOWER DIGITS "-") ||
	    !text_copy(&region, claim->region, sizeof(claim->region)) ||
	    !text_of(&service, LOWER DIGITS "-") ||
	    !text_copy(&service, claim->service, sizeof(claim->service)))
		return incomplete(outcome, "Credential has an element that is not valid.");
	if (!text_is(&rest, SIGV4_TERMINATOR))
		return thaw_sigv4_refuse(outcome, THAW_SIGV4_SCOPE_WRONG,
					 "Credential should be scoped with a valid terminator: "
					 "'" SIGV4_TERMINATOR "'.");
	return THAW_SIGV4_ACCEPTED;
}

/* Strictly ascending, so that a list of headers has one form and no name comes twice. */
static enum thaw_sigv4_result parse_signed_headers(struct text rest, struct thaw_sigv4_claim *claim,
						   const struct thaw_sigv4_request *request,
						   struct thaw_sigv4_outcome *outcome)
{
	char before[HEADER_NAME_MAX + 1] = "", name[HEADER_NAME_MAX + 1];
	size_t count = 0;
	bool host = false;

	if (!text_copy(&rest, claim->signed_headers, sizeof(claim->signed_headers)))
		return incomplete(outcome, "The list of signed headers is too long.");
	for (bool more = true; more;) {
		const char *value;
		struct text piece;
		more = text_cut(&rest, ';', &piece);
		if (!more)
			piece = rest;
		if (!text_of(&piece, LOWER DIGITS SYMBOLS) ||
		    !text_copy(&piece, name, sizeof(name)) || strcmp(before, name) >= 0 ||
		    ++count > THAW_SIGV4_SIGNED_MAX)
			return incomplete(outcome, "The signed headers must be lower-case names, "
						   "sorted, with ';' between them.");
		size_t found = thaw_sigv4_header_find(request, name, piece.size, &value);
		if (found > 1)
			return incomplete(outcome, "A signed header is more than once there.");
		if (found == 0)
			return thaw_sigv4_refuse(outcome, THAW_SIGV4_UNCOVERED,
						 "A signed header is missing in the request.");
		host |= strcmp(name, "host") == 0;
		strcpy(before, name);
	}
	if (!host)
		return thaw_sigv4_refuse(outcome, THAW_SIGV4_UNCOVERED,
					 "'Host' or ':authority' must be a 'SignedHeader' in the "
					 "AWS Authorization.");
	return THAW_SIGV4_ACCEPTED;
}

static bool header_signed(const struct thaw_sigv4_claim *claim, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = claim->signed_headers; *at;) {
		size_t size = strcspn(at, ";");
		if (size == length && strncasecmp(at, name, size) == 0)
			return true;
		at += size + (at[size] == ';');
	}
	return false;
}

static enum thaw_sigv4_result parse_covered(const struct thaw_sigv4_claim *claim,
					    const struct thaw_sigv4_request *request,
					    struct thaw_sigv4_outcome *outcome)
{
	for (size_t i = 0; i < request->header_count; i++)
		if (strncasecmp(request->headers[i].name, "x-amz-", 6) == 0 &&
		    !header_signed(claim, request->headers[i].name))
			return thaw_sigv4_refuse(outcome, THAW_SIGV4_UNCOVERED,
						 "There were headers present in the request which "
						 "were not signed.");
	return THAW_SIGV4_ACCEPTED;
}

static bool parse_signature(const struct text *text, uint8_t signature[32])
{
	if (text->size != 64 || !text_of(text, DIGITS "abcdef"))
		return false;
	for (size_t i = 0; i < 32; i++) {
		char pair[3] = {text->data[2 * i], text->data[2 * i + 1], 0};
		signature[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return true;
}

static enum thaw_sigv4_result parse_parts(const struct parts *parts,
					  const struct thaw_sigv4_request *request,
					  struct thaw_sigv4_claim *claim,
					  struct thaw_sigv4_outcome *outcome)
{
	enum thaw_sigv4_result result = parse_credential(parts->credential, claim, outcome);

	if (result == THAW_SIGV4_ACCEPTED)
		result = parse_signed_headers(parts->signed_headers, claim, request, outcome);
	if (result == THAW_SIGV4_ACCEPTED)
		result = parse_covered(claim, request, outcome);
	if (result == THAW_SIGV4_ACCEPTED && !parse_signature(&parts->signature, claim->signature))
		return incomplete(outcome,
				  "The signature is not 64 lower-case hexadecimal digits.");
	return result;
}

/* What a header or a parameter says of the body and the session. */
static enum thaw_sigv4_result parse_extras(const char *payload, const char *token,
					   struct thaw_sigv4_claim *claim,
					   struct thaw_sigv4_outcome *outcome)
{
	if (payload) {
		struct text text = {payload, strlen(payload)};
		if (!text_is(&text, SIGV4_UNSIGNED) &&
		    (text.size != 64 || !text_of(&text, DIGITS "abcdef")))
			return thaw_sigv4_refuse(outcome, THAW_SIGV4_PAYLOAD,
						 "The value of x-amz-content-sha256 must be the "
						 "body's SHA-256.");
		memcpy(claim->payload, text.data, text.size + 1);
	}
	if (token) {
		struct text text = {token, strlen(token)};
		if (text.size == 0 || !text_copy(&text, claim->token, sizeof(claim->token)))
			return incomplete(outcome, "X-Amz-Security-Token is empty or too long.");
	}
	return THAW_SIGV4_ACCEPTED;
}

/* One NAME=VALUE of the header. False when it is not one of the three, or was there before. */
static bool authorization_part(struct text piece, struct parts *parts)
{
	struct text name, *part = NULL;

	while (piece.size && *piece.data == ' ') {
		piece.data++;
		piece.size--;
	}
	while (piece.size && piece.data[piece.size - 1] == ' ')
		piece.size--;
	if (!text_cut(&piece, '=', &name))
		return false;
	if (text_is(&name, "Credential"))
		part = &parts->credential;
	else if (text_is(&name, "SignedHeaders"))
		part = &parts->signed_headers;
	else if (text_is(&name, "Signature"))
		part = &parts->signature;
	if (!part || part->data)
		return false;
	*part = piece;
	return true;
}

static enum thaw_sigv4_result parse_authorization(const char *value, struct parts *parts,
						  struct thaw_sigv4_outcome *outcome)
{
	size_t scheme = strlen(SIGV4_ALGORITHM);
	bool ours = strncmp(value, SIGV4_ALGORITHM, scheme) == 0 &&
		    (value[scheme] == ' ' || !value[scheme]);

	if (!ours && strncmp(value, "AWS4-", 5) == 0)
		return incomplete(outcome, "Unsupported AWS 'algorithm': only " SIGV4_ALGORITHM
					   " is taken.");
	if (ours) {
		struct text rest = {value + scheme, strlen(value + scheme)}, piece;
		for (bool more = rest.size > 0; more;) {
			more = text_cut(&rest, ',', &piece);
			if (!authorization_part(more ? piece : rest, parts))
				return incomplete(outcome, "Authorization header has a part that "
							   "is not valid, or one twice.");
		}
	}
	const struct {
		const char *name;
		const struct text *part;
	} wanted[] = {
		{"Credential", &parts->credential},
		{"Signature", &parts->signature},
		{"SignedHeaders", &parts->signed_headers},
	};
	char message[THAW_SIGV4_MESSAGE] = "";
	size_t used = 0;
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (!wanted[i].part->data)
			used += (size_t)snprintf(message + used, sizeof(message) - used,
						 "%sAuthorization header requires '%s' parameter.",
						 used ? " " : "", wanted[i].name);
	if (used)
		return incomplete(outcome, message);
	return THAW_SIGV4_ACCEPTED;
}

static enum thaw_sigv4_result parse_header_time(const struct thaw_sigv4_request *request,
						struct thaw_sigv4_claim *claim,
						struct thaw_sigv4_outcome *outcome)
{
	const char *amz_date, *date;

	if (single_header(request, "x-amz-date", &amz_date, outcome) ||
	    single_header(request, "date", &date, outcome))
		return outcome->result;
	if (!amz_date && (!date || !header_signed(claim, "date")))
		return incomplete(outcome, "Authorization header requires existence of either a "
					   "'X-Amz-Date' or a 'Date' header, which is signed.");
	if (amz_date ? !parse_time(amz_date, claim)
		     : !parse_time(date, claim) && !parse_http_date(date, claim))
		return incomplete(outcome, "Date must be in ISO-8601 'basic format'.");
	return THAW_SIGV4_ACCEPTED;
}

static enum thaw_sigv4_result parse_header_form(const char *authorization,
						const struct thaw_sigv4_request *request,
						struct thaw_sigv4_claim *claim,
						struct thaw_sigv4_outcome *outcome)
{
	struct parts parts = {0};
	const char *payload, *token;

	enum thaw_sigv4_result result = parse_authorization(authorization, &parts, outcome);
	if (result == THAW_SIGV4_ACCEPTED)
		result = parse_parts(&parts, request, claim, outcome);
	if (result == THAW_SIGV4_ACCEPTED)
		result = parse_header_time(request, claim, outcome);
	if (result != THAW_SIGV4_ACCEPTED)
		return result;
	if (single_header(request, "x-amz-content-sha256", &payload, outcome) ||
	    single_header(request, "x-amz-security-token", &token, outcome))
		return outcome->result;
	return parse_extras(payload, token, claim, outcome);
}

enum {
	Q_ALGORITHM,
	Q_CREDENTIAL,
	Q_DATE,
	Q_EXPIRES,
	Q_HEADERS,
	Q_SIGNATURE,
	Q_TOKEN,
	Q_PAYLOAD,
	Q_MAX
};

static const char *const query_names[Q_MAX] = {
	[Q_ALGORITHM] = "X-Amz-Algorithm",
	[Q_CREDENTIAL] = "X-Amz-Credential",
	[Q_DATE] = "X-Amz-Date",
	[Q_EXPIRES] = "X-Amz-Expires",
	[Q_HEADERS] = "X-Amz-SignedHeaders",
	[Q_SIGNATURE] = "X-Amz-Signature",
	[Q_TOKEN] = "X-Amz-Security-Token",
	[Q_PAYLOAD] = "X-Amz-Content-Sha256",
};

/* The canonical values of those parameters; NULL for what is not there. False when one is there
 * more than once. */
static bool query_find(const struct thaw_sigv4_query *query, const char *values[Q_MAX])
{
	for (size_t i = 0; i < query->count; i++) {
		for (size_t q = 0; q < Q_MAX; q++) {
			if (strcmp(query->at[i].name, query_names[q]) != 0)
				continue;
			if (values[q])
				return false;
			values[q] = query->at[i].value;
		}
	}
	return true;
}

/* Undoes the encoding of a canonical value. False when it does not fit or has a control byte. */
static bool query_plain(const char *encoded, char *plain, size_t space)
{
	for (; *encoded; encoded++) {
		char c = *encoded;
		if (c == '%') {
			char pair[3] = {encoded[1], encoded[2], 0};
			c = (char)strtoul(pair, NULL, 16);
			encoded += 2;
		}
		if (space <= 1 || (unsigned char)c < 0x20 || c == 0x7f)
			return false;
		*plain++ = c;
		space--;
	}
	*plain = 0;
	return true;
}

static bool parse_expires(const char *text, struct thaw_sigv4_claim *claim)
{
	size_t size = strlen(text);

	if (size < 1 || size > 6 || strspn(text, DIGITS) != size)
		return false;
	claim->expires = (uint32_t)strtoul(text, NULL, 10);
	return claim->expires >= 1 && claim->expires <= THAW_SIGV4_EXPIRES_MAX;
}

/* A presigned URL is made of its query alone: the same thing in a header would be another reading.
 */
static enum thaw_sigv4_result query_alone(const struct thaw_sigv4_request *request,
					  const char *values[Q_MAX],
					  struct thaw_sigv4_outcome *outcome)
{
	static const int twins[] = {Q_DATE, Q_TOKEN, Q_PAYLOAD};
	const char *header;

	for (size_t i = 0; i < sizeof(twins) / sizeof(twins[0]); i++) {
		if (single_header(request, query_names[twins[i]], &header, outcome))
			return outcome->result;
		if (header && values[twins[i]])
			return incomplete(outcome, "The request contains a query parameter that "
						   "duplicates a header value.");
	}
	return THAW_SIGV4_ACCEPTED;
}

static enum thaw_sigv4_result parse_query_form(const char *values[Q_MAX],
					       const struct thaw_sigv4_request *request,
					       struct thaw_sigv4_claim *claim,
					       struct thaw_sigv4_outcome *outcome)
{
	char credential[THAW_SIGV4_KEY_ID + 2 * THAW_SIGV4_SCOPE + 32];
	char names[THAW_SIGV4_SIGNED_HEADERS], token[THAW_SIGV4_TOKEN], payload[THAW_DIGEST_TEXT];
	const char *header_token = NULL, *header_payload = NULL;

	for (int q = Q_ALGORITHM; q <= Q_SIGNATURE; q++)
		if (!values[q])
			return thaw_sigv4_refuse(outcome, THAW_SIGV4_INCOMPLETE,
						 "AWS query-string parameters must include '%s'. "
						 "Re-examine the query-string parameters.",
						 query_names[q]);
	if (strcmp(values[Q_ALGORITHM], SIGV4_ALGORITHM) != 0)
		return incomplete(outcome, "Unsupported AWS 'algorithm': only " SIGV4_ALGORITHM
					   " is taken.");
	if (!query_plain(values[Q_CREDENTIAL], credential, sizeof(credential)) ||
	    !query_plain(values[Q_HEADERS], names, sizeof(names)) ||
	    !query_plain(values[Q_TOKEN] ? values[Q_TOKEN] : "", token, sizeof(token)) ||
	    !query_plain(values[Q_PAYLOAD] ? values[Q_PAYLOAD] : "", payload, sizeof(payload)))
		return incomplete(outcome,
				  "An AWS query-string parameter is too long or not valid.");
	if (!parse_expires(values[Q_EXPIRES], claim))
		return incomplete(outcome, "X-Amz-Expires must be a number of seconds between 1 "
					   "and 604800.");
	claim->presigned = true;
	struct parts parts = {
		.credential = {credential, strlen(credential)},
		.signed_headers = {names, strlen(names)},
		.signature = {values[Q_SIGNATURE], strlen(values[Q_SIGNATURE])},
	};
	enum thaw_sigv4_result result = query_alone(request, values, outcome);
	if (result == THAW_SIGV4_ACCEPTED)
		result = parse_parts(&parts, request, claim, outcome);
	if (result != THAW_SIGV4_ACCEPTED)
		return result;
	if (!parse_time(values[Q_DATE], claim))
		return incomplete(outcome, "X-Amz-Date must be in ISO-8601 'basic format'.");
	thaw_sigv4_header_find(request, query_names[Q_TOKEN], strlen(query_names[Q_TOKEN]),
			       &header_token);
	thaw_sigv4_header_find(request, query_names[Q_PAYLOAD], strlen(query_names[Q_PAYLOAD]),
			       &header_payload);
	return parse_extras(values[Q_PAYLOAD] ? payload : header_payload,
			    values[Q_TOKEN] ? token : header_token, claim, outcome);
}

enum thaw_sigv4_result thaw_sigv4_parse(struct thaw_sigv4_claim *claim,
					const struct thaw_sigv4_request *request,
					struct thaw_sigv4_outcome *outcome)
{
	struct thaw_sigv4_query query;
	const char *values[Q_MAX] = {NULL};
	const char *authorization;

	memset(claim, 0, sizeof(*claim));
	memset(outcome, 0, sizeof(*outcome));
	if (parse_bounds(request, outcome) ||
	    single_header(request, "authorization", &authorization, outcome))
		return outcome->result;
	int rc = thaw_sigv4_query_read(&query, request->query);
	bool once = rc == 0 && query_find(&query, values);
	bool presigned = values[Q_ALGORITHM] || values[Q_CREDENTIAL] || values[Q_SIGNATURE];
	if (rc == -ENOMEM)
		thaw_sigv4_refuse(outcome, THAW_SIGV4_TROUBLE, "Service error.");
	else if (rc < 0)
		incomplete(outcome, rc == -E2BIG ? "The query string has too many parameters."
						 : "The query string has an escape % sequence "
						   "that is not valid.");
	else if (authorization && presigned)
		incomplete(outcome, "Only one way of signing is allowed: an Authorization header "
				    "or query-string parameters.");
	else if (!authorization && !presigned)
		thaw_sigv4_refuse(outcome, THAW_SIGV4_MISSING, "Missing Authentication Token");
	else if (authorization)
		parse_header_form(authorization, request, claim, outcome);
	else if (!once)
		incomplete(outcome, "An AWS query-string parameter is there more than once.");
	else
		parse_query_form(values, request, claim, outcome);
	thaw_sigv4_query_clear(&query);
	return outcome->result;
}
