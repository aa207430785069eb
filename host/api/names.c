/* SPDX-License-Identifier: Apache-2.0 */
#include "host/api/names.h"

#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <regex.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wctype.h>

#include "host/api/validation.h"

#define REGION "(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}"
#define FUNCTION_PATTERN                                                                           \
	"(arn:(aws[a-zA-Z-]*)?:lambda:)?(" REGION ":)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_]+)"     \
	"(:(\\$LATEST|[a-zA-Z0-9-_]+))?"
#define LAYER_PATTERN                                                                              \
	"(arn:(aws[a-zA-Z-]*)?:lambda:" REGION ":\\d{12}:layer:[a-zA-Z0-9-_]+)|[a-zA-Z0-9-_]+"
#define LAYER_VERSION_PATTERN                                                                      \
	"arn:(aws[a-zA-Z-]*)?:lambda:" REGION ":\\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+"
#define REGION_POSIX "(eusc-)?[a-z]{2}(-gov|-iso[a-z]?)?-[a-z]+-[0-9]"
#define TAG_PATTERN  "([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)"

/* Values that long match nothing anybody needs: no matcher is given more. */
#define TEXT_MAX 8192

struct shape {
	unsigned int min;
	unsigned int max;    /* characters; 0: any number */
	const char *pattern; /* as the model writes it; NULL: any text */
	const char *posix;   /* the same for regcomp(3); NULL: a matcher of its own */
};

static const struct shape shapes[THAW_SHAPES] = {
	[THAW_SHAPE_ALIAS] = {1, 128, "(?!^[0-9]+$)([a-zA-Z0-9-_]+)", "[a-zA-Z0-9_-]+"},
	[THAW_SHAPE_VERSION] = {1, 1024, "(\\$LATEST|[0-9]+)", "\\$LATEST|[0-9]+"},
	[THAW_SHAPE_QUALIFIER] = {1, 128, "(|[a-zA-Z0-9$_-]+)", "[a-zA-Z0-9$_-]*"},
	[THAW_SHAPE_HANDLER] = {0, 128, "[^\\s]+", "[^ \t\n\v\f\r]+"},
	[THAW_SHAPE_DESCRIPTION] = {0, 256, NULL, NULL},
	[THAW_SHAPE_STATEMENT_ID] = {1, 100, "([a-zA-Z0-9-_]+)", "[a-zA-Z0-9_-]+"},
	[THAW_SHAPE_ACTION] = {0, 0, "(lambda:[*]|lambda:[a-zA-Z]+|[*])",
			       "lambda:[*]|lambda:[a-zA-Z]+|[*]"},
	[THAW_SHAPE_PRINCIPAL] = {0, 0, "[^\\s]+", "[^ \t\n\v\f\r]+"},
	[THAW_SHAPE_SOURCE_ARN] = {0, 0,
				   "arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\\-])+:(" REGION
				   ")?:(\\d{12})?:(.*)",
				   "arn:aws[a-zA-Z0-9-]*:[a-zA-Z0-9-]+:(" REGION_POSIX
				   ")?:([0-9]{12})?:[^\n]*"},
	[THAW_SHAPE_SOURCE_ACCOUNT] = {0, 12, "\\d{12}", "[0-9]{12}"},
	[THAW_SHAPE_EVENT_SOURCE_TOKEN] = {0, 256, "[a-zA-Z0-9._\\-]+", "[a-zA-Z0-9._-]+"},
	[THAW_SHAPE_ROLE] = {0, 0,
			     "arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+",
			     "arn:(aws[a-zA-Z-]*)?:iam::[0-9]{12}:role/?[a-zA-Z_0-9+=,.@/-]+"},
	[THAW_SHAPE_VARIABLE_NAME] = {0, 0, "[a-zA-Z]([a-zA-Z0-9_])+", "[a-zA-Z][a-zA-Z0-9_]+"},
	[THAW_SHAPE_LOCAL_MOUNT_PATH] = {0, 160, "/mnt/[a-zA-Z0-9-_.]+", "/mnt/[a-zA-Z0-9_.-]+"},
	[THAW_SHAPE_LOG_GROUP] = {1, 512, "[\\.\\-_/#A-Za-z0-9]+", "[._/#A-Za-z0-9-]+"},
	[THAW_SHAPE_TENANT_ID] = {1, 256, "[a-zA-Z0-9\\._:\\/=+\\-@ ]+", "[a-zA-Z0-9._:/=+@ -]+"},
	[THAW_SHAPE_TAG_KEY] = {1, 128, TAG_PATTERN, NULL},
	[THAW_SHAPE_TAG_VALUE] = {0, 256, TAG_PATTERN, NULL},
};

static regex_t shape_regex[THAW_SHAPES];
static locale_t names_locale;
static pthread_once_t names_once = PTHREAD_ONCE_INIT;

/* Patterns are ours: one that does not compile is a mistake that the first test finds. */
static void names_prepare(void)
{
	char anchored[512];

	names_locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	for (int i = 0; i < THAW_SHAPES; i++) {
		if (!shapes[i].posix)
			continue;
		snprintf(anchored, sizeof(anchored), "^(%s)$", shapes[i].posix);
		if (regcomp(&shape_regex[i], anchored, REG_EXTENDED | REG_NOSUB) != 0)
			abort();
	}
}

/* Unicode's separators (Z), and the numbers (No, Nl) that the C library does not call
 * alphanumeric. */
static bool is_separator_or_number(long c)
{
	static const struct {
		long first, last;
	} ranges[] = {
		{0x20, 0x20},     {0xa0, 0xa0},     {0xb2, 0xb3},     {0xb9, 0xb9},
		{0xbc, 0xbe},     {0x1680, 0x1680}, {0x2000, 0x200a}, {0x2028, 0x2029},
		{0x202f, 0x202f}, {0x205f, 0x205f}, {0x2070, 0x2070}, {0x2074, 0x2079},
		{0x2080, 0x2089}, {0x2150, 0x2189}, {0x2460, 0x249b}, {0x24ea, 0x24ff},
		{0x2776, 0x2793}, {0x3000, 0x3000}, {0x3007, 0x3007}, {0x3021, 0x3029},
		{0x3220, 0x3229}, {0x3280, 0x3289},
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	}
	return false;
}

static bool tag_matches(const char *text)
{
	while (*text) {
		long c = thaw_utf8_next(&text);
		if (c < 0)
			return false;
		if (c < 0x80 && c && strchr("_.:/=+-@", (int)c))
			continue;
		if (!is_separator_or_number(c) &&
		    !(names_locale && iswalnum_l((wint_t)c, names_locale)))
			return false;
	}
	return true;
}

static bool shape_matches(enum thaw_shape shape, const char *text,
			  struct thaw_validation *validation)
{
	if (!shapes[shape].pattern)
		return true;
	if (strlen(text) > TEXT_MAX)
		return false;
	if (shape == THAW_SHAPE_TAG_KEY || shape == THAW_SHAPE_TAG_VALUE)
		return tag_matches(text);
	/* The model's lookahead, which POSIX has not: not digits only. */
	if (shape == THAW_SHAPE_ALIAS && strspn(text, "0123456789") == strlen(text))
		return false;
	int rc = regexec(&shape_regex[shape], text, 0, NULL, 0);
	/* Refused all the same, but not for what the client sent. */
	if (rc != 0 && rc != REG_NOMATCH)
		validation->host_failed = true;
	return rc == 0;
}

static int length_check(const char *text, unsigned int min, unsigned int max, const char *member,
			struct thaw_validation *validation)
{
	size_t length = thaw_utf8_length(text);

	if (max && length > max)
		return thaw_validation_add(validation, text, member,
					   "Member must have length less than or equal to %u", max);
	if (length < min)
		return thaw_validation_add(validation, text, member,
					   "Member must have length greater than or equal to %u",
					   min);
	return 0;
}

static int pattern_fault(const char *text, const char *member, const char *pattern,
			 struct thaw_validation *validation)
{
	return thaw_validation_add(validation, text, member,
				   "Member must satisfy regular expression pattern: %s", pattern);
}

int thaw_shape_check(enum thaw_shape shape, const char *text, const char *member,
		     struct thaw_validation *validation)
{
	const struct shape *s = &shapes[shape];
	int rc = 0;

	pthread_once(&names_once, names_prepare);
	if (!shape_matches(shape, text, validation))
		rc = pattern_fault(text, member, s->pattern, validation);
	if (length_check(text, s->min, s->max, member, validation) < 0)
		rc = -EINVAL;
	return rc;
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
	return is_lower(c) || (c >= 'A' && c <= 'Z');
}

static bool is_word(char c)
{
	return is_alpha(c) || is_digit(c) || c == '-' || c == '_';
}

static size_t span(const char *text, bool (*is)(char))
{
	size_t n = 0;

	while (is(text[n]))
		n++;
	return n;
}

/* Each takes one part and the colon behind it: the bytes taken, 0 when the part is not there. */
static size_t take_arn(const char *text)
{
	static const char service[] = ":lambda:";
	size_t n = 4;

	if (strncmp(text, "arn:", 4) != 0)
		return 0;
	if (strncmp(text + n, "aws", 3) == 0) {
		n += 3;
		while (is_alpha(text[n]) || text[n] == '-')
			n++;
	}
	if (strncmp(text + n, service, sizeof(service) - 1) != 0)
		return 0;
	return n + sizeof(service) - 1;
}

/* "-east-1:" */
static size_t take_region_end(const char *text)
{
	size_t word = text[0] == '-' ? span(text + 1, is_lower) : 0;

	if (!word || text[1 + word] != '-' || !is_digit(text[2 + word]) || text[3 + word] != ':')
		return 0;
	return 4 + word;
}

static size_t take_region(const char *text)
{
	size_t n = strncmp(text, "eusc-", 5) == 0 ? 5 : 0, partition = 0;

	if (!is_lower(text[n]) || !is_lower(text[n + 1]))
		return 0;
	n += 2;
	if (strncmp(text + n, "-gov", 4) == 0)
		partition = 4;
	else if (strncmp(text + n, "-iso", 4) == 0)
		partition = is_lower(text[n + 4]) ? 5 : 4;
	/* The same letters may be the word itself ("us-gov-1"). */
	size_t end = take_region_end(text + n + partition);
	if (!end) {
		partition = 0;
		end = take_region_end(text + n);
	}
	return end ? n + partition + end : 0;
}

static size_t take_account(const char *text)
{
	return span(text, is_digit) == 12 && text[12] == ':' ? 13 : 0;
}

static size_t take_function(const char *text)
{
	return strncmp(text, "function:", 9) == 0 ? 9 : 0;
}

/* The part's text without its colon. */
static void part_copy(char *to, size_t size, const char *from, size_t taken)
{
	size_t n = taken ? taken - 1 : 0;

	if (n >= size)
		n = size - 1;
	memcpy(to, from, n);
	to[n] = 0;
}

enum { PART_ARN, PART_REGION, PART_ACCOUNT, PART_FUNCTION, PARTS };

/* Name and qualifier, to the end. */
static bool function_rest(const char *text, bool namespaced, size_t *name, const char **qualifier)
{
	size_t n = 0;

	while (is_word(text[n]) || (namespaced && text[n] == '.'))
		n++;
	*name = n;
	*qualifier = "";
	if (!n || !text[n])
		return n;
	if (text[n] != ':')
		return false;
	*qualifier = text + n + 1;
	if (strcmp(*qualifier, "$LATEST") == 0 ||
	    (namespaced && strcmp(*qualifier, "$LATEST.PUBLISHED") == 0))
		return true;
	size_t rest = span(*qualifier, is_word);
	return rest && !(*qualifier)[rest];
}

/* The pattern's optional parts are greedy, but give way when the rest needs their text ("function"
 * may be the function's name): `mask` says which are taken, from all to none. */
static bool function_match(const char *text, bool namespaced, unsigned int mask,
			   struct thaw_function_name *function, size_t *name_size)
{
	static size_t (*const take[PARTS])(const char *) = {take_arn, take_region, take_account,
							    take_function};
	const char *at[PARTS], *qualifier;
	size_t taken[PARTS] = {0};

	for (unsigned int i = 0; i < PARTS; i++) {
		at[i] = text;
		if (!(mask & 1u << (PARTS - 1 - i)))
			continue;
		taken[i] = take[i](text);
		if (!taken[i])
			return false;
		text += taken[i];
	}
	if (!function_rest(text, namespaced, name_size, &qualifier))
		return false;
	part_copy(function->region, sizeof(function->region), at[PART_REGION], taken[PART_REGION]);
	part_copy(function->account, sizeof(function->account), at[PART_ACCOUNT],
		  taken[PART_ACCOUNT]);
	part_copy(function->name, sizeof(function->name), text, *name_size + 1);
	part_copy(function->qualifier, sizeof(function->qualifier), qualifier,
		  strlen(qualifier) + 1);
	/* An ARN has all its parts, whatever the pattern lets pass. */
	return !taken[PART_ARN] ||
	       (taken[PART_REGION] && taken[PART_ACCOUNT] && taken[PART_FUNCTION]);
}

int thaw_function_name_parse(const char *text, bool namespaced, const char *member,
			     struct thaw_function_name *function,
			     struct thaw_validation *validation)
{
	unsigned int max = namespaced ? 256 : 140;
	size_t name_size = 0;
	bool found = false;

	memset(function, 0, sizeof(*function));
	int rc = length_check(text, 1, max, member, validation);
	for (unsigned int mask = 1u << PARTS; mask-- && !found && strlen(text) <= TEXT_MAX;)
		found = function_match(text, namespaced, mask, function, &name_size);
	if (!found)
		return pattern_fault(text, member, FUNCTION_PATTERN, validation);
	if (rc == 0 && name_size >= THAW_FUNCTION_NAME_TEXT)
		rc = thaw_validation_add(validation, text, member,
					 "Member must have length less than or equal to %d",
					 THAW_FUNCTION_NAME_TEXT - 1);
	if (rc == 0 && strlen(function->qualifier) == THAW_QUALIFIER_TEXT - 1)
		rc = thaw_shape_check(THAW_SHAPE_QUALIFIER, strrchr(text, ':') + 1, "qualifier",
				      validation);
	return rc;
}

int thaw_function_qualify(struct thaw_function_name *function, const char *qualifier,
			  struct thaw_validation *validation)
{
	if (!qualifier || !qualifier[0])
		return 0;
	int rc = thaw_shape_check(THAW_SHAPE_QUALIFIER, qualifier, "qualifier", validation);
	if (rc < 0)
		return rc;
	if (function->qualifier[0] && strcmp(function->qualifier, qualifier) != 0)
		return -EEXIST;
	snprintf(function->qualifier, sizeof(function->qualifier), "%s", qualifier);
	return 0;
}

/* "arn:...:layer:name", and what follows the name. */
static bool layer_arn(const char *text, struct thaw_layer_name *layer, const char **rest)
{
	size_t n = take_arn(text);

	if (!n)
		return false;
	text += n;
	n = take_region(text);
	if (!n)
		return false;
	part_copy(layer->region, sizeof(layer->region), text, n);
	text += n;
	n = take_account(text);
	if (!n)
		return false;
	part_copy(layer->account, sizeof(layer->account), text, n);
	text += n;
	if (strncmp(text, "layer:", 6) != 0)
		return false;
	text += 6;
	n = span(text, is_word);
	part_copy(layer->name, sizeof(layer->name), text, n + 1);
	*rest = text + n;
	return n;
}

int thaw_layer_name_parse(const char *text, const char *member, struct thaw_layer_name *layer,
			  struct thaw_validation *validation)
{
	const char *rest;

	memset(layer, 0, sizeof(*layer));
	int rc = length_check(text, 1, 140, member, validation);
	size_t n = span(text, is_word);
	if (n && !text[n])
		part_copy(layer->name, sizeof(layer->name), text, n + 1);
	else if (!layer_arn(text, layer, &rest) || *rest)
		return pattern_fault(text, member, LAYER_PATTERN, validation);
	return rc;
}

int thaw_layer_version_parse(const char *text, const char *member, struct thaw_layer_name *layer,
			     struct thaw_validation *validation)
{
	const char *rest;

	memset(layer, 0, sizeof(*layer));
	int rc = length_check(text, 1, 140, member, validation);
	if (!layer_arn(text, layer, &rest) || *rest != ':' || !is_digit(rest[1]) ||
	    rest[1 + span(rest + 1, is_digit)])
		return pattern_fault(text, member, LAYER_VERSION_PATTERN, validation);
	errno = 0;
	layer->version = strtoull(rest + 1, NULL, 10);
	if (errno || !layer->version || layer->version > INT64_MAX)
		return pattern_fault(text, member, LAYER_VERSION_PATTERN, validation);
	return rc;
}
