/* SPDX-License-Identifier: Apache-2.0 */
#include "host/api/body.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/api/validation.h"
#include "host/json_check.h"
#include "lib/error.h"
#include "lib/fd.h"

/* Depth and number of values, before anything is built. The text is JSON already. */
static const char *body_shape(const uint8_t *data, size_t size)
{
	unsigned int depth = 0, values = 0;
	bool in_string = false;

	for (size_t i = 0; i < size; i++) {
		if (in_string) {
			if (data[i] == '\\')
				i++;
			else if (data[i] == '"')
				in_string = false;
		} else if (data[i] == '"') {
			in_string = true;
		} else if (data[i] == '{' || data[i] == '[') {
			values++;
			if (++depth > THAW_BODY_DEPTH_MAX)
				return "it is nested too deeply";
		} else if (data[i] == '}' || data[i] == ']') {
			depth--;
		} else if (data[i] == ',') {
			values++;
		}
	}
	return values > THAW_BODY_VALUES_MAX ? "it has too many values" : NULL;
}

/* What jansson adds to our own check: duplicate names, U+0000, half surrogates, numbers that do not
 * fit. All else is its way to say that there is no memory: NULL. */
static const char *parser_objection(const json_error_t *fault)
{
	switch (json_error_code(fault)) {
	case json_error_duplicate_key:
	case json_error_null_character:
	case json_error_null_byte_in_key:
	case json_error_numeric_overflow:
		break;
	default:
		if (strncmp(fault->text, "invalid Unicode", 15) != 0)
			return NULL;
	}
	return "a duplicate name, a null character or a number out of range";
}

int thaw_body_parse(const void *data, size_t size, struct thaw_validation *validation,
		    json_t **tree, struct thaw_object *object)
{
	struct thaw_error err;
	json_error_t fault;

	*tree = NULL;
	*object = (struct thaw_object){.validation = validation};
	if (!size) {
		*tree = json_object();
	} else {
		const char *wrong = NULL;
		if (thaw_json_check(data, size, &err) < 0)
			wrong = err.message;
		else
			wrong = body_shape(data, size);
		if (!wrong) {
			*tree = json_loadb(data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
					   &fault);
			if (!*tree)
				wrong = parser_objection(&fault);
		}
		if (wrong)
			return thaw_validation_serialization(
				validation, "Could not parse request body into json: %s", wrong);
	}
	if (!*tree)
		return -ENOMEM;
	if (!json_is_object(*tree)) {
		json_decref(*tree);
		*tree = NULL;
		return thaw_validation_serialization(validation,
						     "The request body is not a structure.");
	}
	object->json = *tree;
	return 0;
}

void thaw_object_member(const struct thaw_object *object, const char *name,
			char member[THAW_BODY_PATH_MAX])
{
	int n = snprintf(member, THAW_BODY_PATH_MAX, "%s%s", object->path, name);
	size_t at = strlen(object->path);

	if (n < THAW_BODY_PATH_MAX && member[at] >= 'A' && member[at] <= 'Z')
		member[at] = (char)(member[at] - 'A' + 'a');
}

static int type_fault(const struct thaw_object *object, const json_t *value, const char *wanted)
{
	const char *is = "NULL_VALUE";

	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return thaw_validation_serialization(
			object->validation, "Start of structure or map found where not expected.");
	case JSON_ARRAY:
		return thaw_validation_serialization(object->validation,
						     "Start of list found where not expected");
	case JSON_STRING:
		is = "STRING_VALUE";
		break;
	case JSON_INTEGER:
		is = "NUMBER_VALUE";
		break;
	case JSON_REAL:
		is = "DECIMAL_VALUE";
		break;
	case JSON_TRUE:
		is = "TRUE_VALUE";
		break;
	case JSON_FALSE:
		is = "FALSE_VALUE";
		break;
	case JSON_NULL:
		break;
	}
	return thaw_validation_serialization(object->validation, "%s can not be converted to %s",
					     is, wanted);
}

/* 1: *value is there; else as the readers. */
static int member_find(const struct thaw_object *object, const char *name,
		       enum thaw_presence presence, const json_t **value,
		       char member[THAW_BODY_PATH_MAX])
{
	thaw_object_member(object, name, member);
	*value = json_object_get(object->json, name);
	if (*value && !json_is_null(*value))
		return 1;
	if (presence == THAW_OPTIONAL)
		return 0;
	return thaw_validation_add(object->validation, NULL, member, "Member must not be null");
}

int thaw_object_string(const struct thaw_object *object, const char *name,
		       enum thaw_presence presence, const char **value)
{
	char member[THAW_BODY_PATH_MAX];
	const json_t *json;

	int rc = member_find(object, name, presence, &json, member);
	if (rc <= 0)
		return rc;
	if (!json_is_string(json))
		return type_fault(object, json, "a String");
	*value = json_string_value(json);
	return 1;
}

int thaw_object_integer(const struct thaw_object *object, const char *name,
			enum thaw_presence presence, int64_t min, int64_t max, int64_t *value)
{
	char member[THAW_BODY_PATH_MAX], text[32];
	const json_t *json;

	int rc = member_find(object, name, presence, &json, member);
	if (rc <= 0)
		return rc;
	if (!json_is_integer(json))
		return type_fault(object, json, "an Integer");
	int64_t given = json_integer_value(json);
	snprintf(text, sizeof(text), "%" PRId64, given);
	if (given < min)
		return thaw_validation_add(object->validation, text, member,
					   "Member must have value greater than or equal to "
					   "%" PRId64,
					   min);
	if (given > max)
		return thaw_validation_add(object->validation, text, member,
					   "Member must have value less than or equal to %" PRId64,
					   max);
	*value = given;
	return 1;
}

int thaw_object_real(const struct thaw_object *object, const char *name,
		     enum thaw_presence presence, double min, double max, double *value)
{
	char member[THAW_BODY_PATH_MAX], text[32];
	const json_t *json;

	int rc = member_find(object, name, presence, &json, member);
	if (rc <= 0)
		return rc;
	if (!json_is_number(json))
		return type_fault(object, json, "a Double");
	double given = json_number_value(json);
	snprintf(text, sizeof(text), "%.9g", given);
	if (given < min)
		return thaw_validation_add(object->validation, text, member,
					   "Member must have value greater than or equal to %g",
					   min);
	if (given > max)
		return thaw_validation_add(object->validation, text, member,
					   "Member must have value less than or equal to %g", max);
	*value = given;
	return 1;
}

int thaw_object_boolean(const struct thaw_object *object, const char *name,
			enum thaw_presence presence, bool *value)
{
	char member[THAW_BODY_PATH_MAX];
	const json_t *json;

	int rc = member_find(object, name, presence, &json, member);
	if (rc <= 0)
		return rc;
	if (!json_is_boolean(json))
		return type_fault(object, json, "a Boolean");
	*value = json_is_true(json);
	return 1;
}

int thaw_object_enum(const struct thaw_object *object, const char *name,
		     enum thaw_presence presence, const char *const *values, unsigned int *index)
{
	char member[THAW_BODY_PATH_MAX], set[512] = "";
	const char *given;

	int rc = thaw_object_string(object, name, presence, &given);
	if (rc <= 0)
		return rc;
	for (unsigned int i = 0; values[i]; i++) {
		if (strcmp(values[i], given) == 0) {
			*index = i;
			return 1;
		}
		size_t used = strlen(set);
		snprintf(set + used, sizeof(set) - used, "%s%s", i ? ", " : "", values[i]);
	}
	thaw_object_member(object, name, member);
	return thaw_validation_add(object->validation, given, member,
				   "Member must satisfy enum value set: [%s]", set);
}

int thaw_object_object(const struct thaw_object *object, const char *name,
		       enum thaw_presence presence, struct thaw_object *child)
{
	char member[THAW_BODY_PATH_MAX];
	const json_t *json;

	int rc = member_find(object, name, presence, &json, member);
	if (rc <= 0)
		return rc;
	if (json_is_array(json))
		return type_fault(object, json, "a structure");
	if (!json_is_object(json))
		return thaw_validation_serialization(
			object->validation, "Unexpected field type: a structure is wanted");
	child->json = json;
	child->validation = object->validation;
	/* A path that does not fit is cut: it is told, never used. */
	size_t n = strnlen(member, sizeof(child->path) - 2);
	memcpy(child->path, member, n);
	memcpy(child->path + n, ".", 2);
	return 1;
}

static int count_check(const struct thaw_object *object, const json_t *value, const char *member,
		       size_t count, size_t min, size_t max)
{
	cleanup_free char *text = NULL;

	if (count >= min && count <= max)
		return 0;
	/* The first few are enough to recognise it by. */
	if (count <= 64)
		text = json_dumps(value, JSON_ENSURE_ASCII);
	const char *told = text ? text : "[...]";
	return count > max ? thaw_validation_add(object->validation, told, member,
						 "Member must have length less than or equal to "
						 "%zu",
						 max)
			   : thaw_validation_add(object->validation, told, member,
						 "Member must have length greater than or equal "
						 "to %zu",
						 min);
}

int thaw_object_strings(const struct thaw_object *object, const char *name,
			enum thaw_presence presence, size_t min, size_t max, const json_t **list)
{
	char member[THAW_BODY_PATH_MAX];
	const json_t *json, *entry;
	size_t i;

	int rc = member_find(object, name, presence, &json, member);
	if (rc <= 0)
		return rc;
	if (json_is_object(json))
		return type_fault(object, json, "a list");
	if (!json_is_array(json))
		return thaw_validation_serialization(object->validation, "Expected list or null");
	json_array_foreach((json_t *)json, i, entry)
	{
		if (!json_is_string(entry))
			return type_fault(object, entry, "a String");
	}
	rc = count_check(object, json, member, json_array_size(json), min, max);
	if (rc < 0)
		return rc;
	*list = json;
	return 1;
}

int thaw_object_map(const struct thaw_object *object, const char *name, enum thaw_presence presence,
		    size_t max, const json_t **map)
{
	char member[THAW_BODY_PATH_MAX];
	const json_t *json;
	const char *key;
	json_t *entry;

	int rc = member_find(object, name, presence, &json, member);
	if (rc <= 0)
		return rc;
	if (json_is_array(json))
		return type_fault(object, json, "a map");
	if (!json_is_object(json))
		return thaw_validation_serialization(object->validation, "Expected map or null");
	json_object_foreach((json_t *)json, key, entry)
	{
		if (!json_is_string(entry))
			return type_fault(object, entry, "a String");
	}
	rc = count_check(object, json, member, json_object_size(json), 0, max);
	if (rc < 0)
		return rc;
	*map = json;
	return 1;
}

static int base64_digit(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int thaw_base64_decode(const char *text, size_t length, uint8_t **data, size_t *size)
{
	size_t padding = 0;

	if (length % 4)
		return -EINVAL;
	while (padding < 2 && padding < length && text[length - 1 - padding] == '=')
		padding++;
	size_t total = length / 4 * 3 - padding;
	cleanup_free uint8_t *out = malloc(length / 4 * 3 + 1);
	if (!out)
		return -ENOMEM;
	for (size_t i = 0, o = 0; i < length; i += 4, o += 3) {
		uint32_t bits = 0;
		for (size_t k = 0; k < 4; k++) {
			int digit = i + k >= length - padding
					    ? 0
					    : base64_digit((unsigned char)text[i + k]);
			if (digit < 0)
				return -EINVAL;
			bits = bits << 6 | (uint32_t)digit;
		}
		/* Bits behind the last byte are 0 in what an encoder writes; two spellings of
		 * one value would be a way around a hash. */
		if (i + 4 == length && padding && (bits & ((1u << (8 * padding)) - 1)))
			return -EINVAL;
		out[o] = (uint8_t)(bits >> 16);
		out[o + 1] = (uint8_t)(bits >> 8);
		out[o + 2] = (uint8_t)bits;
	}
	out[total] = 0;
	*data = out;
	*size = total;
	out = NULL;
	return 0;
}

int thaw_object_blob(const struct thaw_object *object, const char *name,
		     enum thaw_presence presence, size_t max, uint8_t **data, size_t *size)
{
	char member[THAW_BODY_PATH_MAX];
	const json_t *json;

	int rc = member_find(object, name, presence, &json, member);
	if (rc <= 0)
		return rc;
	if (!json_is_string(json))
		return type_fault(object, json, "a Blob");
	size_t length = json_string_length(json);
	if (length / 4 > max / 3 + 1)
		return thaw_validation_add(object->validation, "[blob]", member,
					   "Member must have length less than or equal to %zu",
					   max);
	rc = thaw_base64_decode(json_string_value(json), length, data, size);
	if (rc == -EINVAL)
		return thaw_validation_serialization(object->validation, "'%s' is not valid base64",
						     member);
	if (rc < 0)
		return rc;
	if (*size > max) {
		free(*data);
		*data = NULL;
		return thaw_validation_add(object->validation, "[blob]", member,
					   "Member must have length less than or equal to %zu",
					   max);
	}
	return 1;
}
