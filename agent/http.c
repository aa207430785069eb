/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/http.h"

#include <string.h>
#include <strings.h>

/* RFC 9110 5.6.2: what a method and a field name are made of. */
static bool is_token(char c)
{
	if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
		return true;
	return c && strchr("!#$%&'*+-.^_`|~", c);
}

static bool slice_is_token(const struct thaw_slice *slice)
{
	for (size_t i = 0; i < slice->size; i++) {
		if (!is_token(slice->data[i]))
			return false;
	}
	return slice->size > 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

bool thaw_slice_is(const struct thaw_slice *slice, const char *text)
{
	return slice->size == strlen(text) && memcmp(slice->data, text, slice->size) == 0;
}

bool thaw_slice_is_nocase(const struct thaw_slice *slice, const char *text)
{
	return slice->size == strlen(text) && strncasecmp(slice->data, text, slice->size) == 0;
}

void thaw_slice_copy(char *to, size_t space, const struct thaw_slice *from)
{
	size_t size = from->size < space ? from->size : space - 1;

	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)from->data[i];
		to[i] = (char)(c < 0x20 || c == 0x7f ? '?' : c);
	}
	to[size] = 0;
}

/* One line without its CRLF; a bare LF is taken for CRLF, as RFC 9112 2.2 allows, a bare CR is
 * not. 1: a line, `*next` is behind it; 0: no end in sight; -400. */
static int take_line(const char *data, size_t size, struct thaw_slice *line, size_t *next)
{
	const char *lf = memchr(data, '\n', size);

	if (!lf)
		return 0;
	size_t length = (size_t)(lf - data);
	*next = length + 1;
	if (length && data[length - 1] == '\r')
		length--;
	*line = (struct thaw_slice){data, length};
	if (memchr(data, '\r', length) || memchr(data, 0, length))
		return -400;
	return 1;
}

/* The end of a section of lines that an empty line closes: its size with that line, or 0. */
static size_t section_size(const char *data, size_t size, size_t *scanned)
{
	size_t at = *scanned;

	while (at < size) {
		const char *lf = memchr(data + at, '\n', size - at);
		if (!lf)
			break;
		size_t here = (size_t)(lf - data);
		/* An LF at the start of a line, or after a CR at the start of one. */
		if (here == 0 || data[here - 1] == '\n')
			return here + 1;
		if (data[here - 1] == '\r' && (here == 1 || data[here - 2] == '\n'))
			return here + 1;
		at = here + 1;
	}
	*scanned = at < size ? size : at;
	return 0;
}

static int parse_field(const struct thaw_slice *line, struct thaw_http_field *field)
{
	const char *colon = memchr(line->data, ':', line->size);

	if (!colon)
		return -400;
	field->name = (struct thaw_slice){line->data, (size_t)(colon - line->data)};
	/* Also refuses folded lines, which begin with a blank (RFC 9112 5.2). */
	if (!slice_is_token(&field->name))
		return -400;
	const char *value = colon + 1;
	const char *end = line->data + line->size;
	while (value < end && is_blank(*value))
		value++;
	while (end > value && is_blank(end[-1]))
		end--;
	field->value = (struct thaw_slice){value, (size_t)(end - value)};
	return 0;
}

/* Lines up to and with the empty one. The size taken or a negative status; the section is whole. */
static ssize_t parse_fields(const char *data, size_t size, struct thaw_http_fields *fields)
{
	size_t at = 0;

	fields->count = 0;
	for (;;) {
		struct thaw_slice line;
		size_t next;
		int rc = take_line(data + at, size - at, &line, &next);
		if (rc <= 0)
			return rc ? rc : -400;
		at += next;
		if (line.size == 0)
			return (ssize_t)at;
		if (fields->count == THAW_HTTP_FIELDS_MAX)
			return -431;
		rc = parse_field(&line, &fields->at[fields->count]);
		if (rc < 0)
			return rc;
		fields->count++;
	}
}

const struct thaw_slice *thaw_http_find(const struct thaw_http_fields *fields, const char *name)
{
	for (size_t i = 0; i < fields->count; i++) {
		if (thaw_slice_is_nocase(&fields->at[i].name, name))
			return &fields->at[i].value;
	}
	return NULL;
}

/* RFC 9112 3: method SP request-target SP HTTP-version. */
static int parse_request_line(struct thaw_http_head *head, const struct thaw_slice *line)
{
	const char *first = memchr(line->data, ' ', line->size);

	if (!first)
		return -400;
	head->method = (struct thaw_slice){line->data, (size_t)(first - line->data)};
	const char *end = line->data + line->size;
	const char *second = memchr(first + 1, ' ', (size_t)(end - first - 1));
	if (!second)
		return -400;
	head->target = (struct thaw_slice){first + 1, (size_t)(second - first - 1)};
	struct thaw_slice version = {second + 1, (size_t)(end - second - 1)};
	if (!slice_is_token(&head->method) || head->target.size == 0)
		return -400;
	for (size_t i = 0; i < head->target.size; i++) {
		unsigned char c = (unsigned char)head->target.data[i];
		if (c <= 0x20 || c >= 0x7f)
			return -400;
	}
	if (thaw_slice_is(&version, "HTTP/1.1"))
		head->keep_alive = true;
	else if (!thaw_slice_is(&version, "HTTP/1.0"))
		return version.size == 8 && memcmp(version.data, "HTTP/", 5) == 0 ? -505 : -400;
	return 0;
}

static int parse_length(const struct thaw_slice *value, uint64_t *length)
{
	uint64_t n = 0;

	/* 18 digits cannot overflow. */
	if (value->size == 0 || value->size > 18)
		return -400;
	for (size_t i = 0; i < value->size; i++) {
		char c = value->data[i];
		if (c < '0' || c > '9')
			return -400;
		n = n * 10 + (uint64_t)(c - '0');
	}
	*length = n;
	return 0;
}

/* The fields that say how the message is framed. */
static int apply_field(struct thaw_http_head *head, const struct thaw_http_field *field,
		       bool *has_length)
{
	if (thaw_slice_is_nocase(&field->name, "content-length")) {
		/* Two lengths, even equal ones, have no business here. */
		if (*has_length)
			return -400;
		*has_length = true;
		return parse_length(&field->value, &head->content_length);
	}
	if (thaw_slice_is_nocase(&field->name, "transfer-encoding")) {
		if (head->chunked)
			return -400;
		if (!thaw_slice_is_nocase(&field->value, "chunked"))
			return -501;
		head->chunked = true;
	} else if (thaw_slice_is_nocase(&field->name, "connection")) {
		if (thaw_slice_is_nocase(&field->value, "close"))
			head->keep_alive = false;
		else if (thaw_slice_is_nocase(&field->value, "keep-alive"))
			head->keep_alive = true;
	} else if (thaw_slice_is_nocase(&field->name, "expect")) {
		if (!thaw_slice_is_nocase(&field->value, "100-continue"))
			return -417;
		head->expect_continue = true;
	}
	return 0;
}

ssize_t thaw_http_parse_head(struct thaw_http_head *head, const char *data, size_t size,
			     size_t *scanned)
{
	size_t skipped = 0;

	/* Empty lines before a request are to be ignored (RFC 9112 2.2); a few are enough. */
	while (skipped < size && skipped < 8 && (data[skipped] == '\r' || data[skipped] == '\n'))
		skipped++;
	if (*scanned < skipped)
		*scanned = skipped;
	size_t whole = section_size(data + skipped, size - skipped, &(size_t){*scanned - skipped});
	if (whole == 0) {
		*scanned = size;
		return size > THAW_HTTP_HEAD_MAX ? -431 : 0;
	}
	if (whole + skipped > THAW_HTTP_HEAD_MAX)
		return -431;
	*scanned = 0;
	data += skipped;

	struct thaw_slice line;
	size_t next;
	bool has_length = false;
	/* Not a whole initialiser: the table of fields need not be cleared for every request. */
	head->content_length = 0;
	head->chunked = head->keep_alive = head->expect_continue = false;
	head->fields.count = 0;
	int rc = take_line(data, whole, &line, &next);
	if (rc <= 0)
		return -400;
	rc = parse_request_line(head, &line);
	if (rc < 0)
		return rc;
	ssize_t taken = parse_fields(data + next, whole - next, &head->fields);
	if (taken < 0)
		return taken;
	for (size_t i = 0; i < head->fields.count; i++) {
		rc = apply_field(head, &head->fields.at[i], &has_length);
		if (rc < 0)
			return rc;
	}
	if (head->chunked && has_length)
		return -400;
	return (ssize_t)(skipped + whole);
}

void thaw_http_body_start(struct thaw_http_body *body, const struct thaw_http_head *head)
{
	body->trailers.count = 0;
	body->left = head->content_length;
	if (head->chunked)
		body->state = THAW_HTTP_BODY_CHUNK_SIZE;
	else
		body->state = body->left ? THAW_HTTP_BODY_DATA : THAW_HTTP_BODY_DONE;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 9112 7.1: size in hexadecimal, perhaps extensions behind a semicolon, which are ignored. */
static int parse_chunk_size(const struct thaw_slice *line, uint64_t *left)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < line->size && hex_digit(line->data[i]) >= 0; i++) {
		if (i == 12)
			return -400;
		n = n << 4 | (uint64_t)hex_digit(line->data[i]);
	}
	if (i == 0)
		return -400;
	while (i < line->size && is_blank(line->data[i]))
		i++;
	if (i < line->size && line->data[i] != ';')
		return -400;
	*left = n;
	return 0;
}

static ssize_t take_chunk_size(struct thaw_http_body *body, const char *data, size_t size)
{
	struct thaw_slice line;
	size_t next;
	int rc = take_line(data, size < THAW_HTTP_LINE_MAX ? size : THAW_HTTP_LINE_MAX, &line,
			   &next);

	if (rc <= 0)
		return rc ? rc : size >= THAW_HTTP_LINE_MAX ? -400 : 0;
	rc = parse_chunk_size(&line, &body->left);
	if (rc < 0)
		return rc;
	body->state = body->left ? THAW_HTTP_BODY_CHUNK_DATA : THAW_HTTP_BODY_TRAILERS;
	return (ssize_t)next;
}

static ssize_t take_trailers(struct thaw_http_body *body, const char *data, size_t size)
{
	size_t scanned = 0;
	size_t whole = section_size(data, size, &scanned);

	if (whole == 0)
		return size >= THAW_HTTP_HEAD_MAX ? -431 : 0;
	ssize_t taken = parse_fields(data, whole, &body->trailers);
	if (taken > 0)
		body->state = THAW_HTTP_BODY_DONE;
	return taken;
}

ssize_t thaw_http_body_take(struct thaw_http_body *body, const char *data, size_t size,
			    struct thaw_slice *piece)
{
	*piece = (struct thaw_slice){data, 0};
	switch (body->state) {
	case THAW_HTTP_BODY_DONE:
		return 0;
	case THAW_HTTP_BODY_DATA:
	case THAW_HTTP_BODY_CHUNK_DATA:
		piece->size = size < body->left ? size : (size_t)body->left;
		body->left -= piece->size;
		if (body->left == 0)
			body->state = body->state == THAW_HTTP_BODY_DATA ? THAW_HTTP_BODY_DONE
									 : THAW_HTTP_BODY_CHUNK_END;
		return (ssize_t)piece->size;
	case THAW_HTTP_BODY_CHUNK_END:
		if (size < 2)
			return size && data[0] != '\r' ? -400 : 0;
		if (data[0] != '\r' || data[1] != '\n')
			return -400;
		body->state = THAW_HTTP_BODY_CHUNK_SIZE;
		return 2;
	case THAW_HTTP_BODY_CHUNK_SIZE:
		return take_chunk_size(body, data, size);
	case THAW_HTTP_BODY_TRAILERS:
		return take_trailers(body, data, size);
	}
	return -400;
}
