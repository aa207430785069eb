/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON request bodies with their types checked, over jansson. What is wrong goes into the request's
 * validation in Lambda's words: a type that is not the model's is a SerializationException
 * ("NUMBER_VALUE can not be converted to a String"), a value out of range a ValidationException.
 * A member that is null counts as absent; unknown members are passed over, as AWS does.
 *
 * The readers return 1 when the member is there and good, 0 when it is absent and optional (the
 * result is untouched), -EINVAL when the validation has a new fault, -ENOMEM.
 */
#ifndef THAW_HOST_API_BODY_H
#define THAW_HOST_API_BODY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thaw_validation;

#define THAW_BODY_DEPTH_MAX  32
#define THAW_BODY_VALUES_MAX 16384 /* a tree takes many times the text: this bounds it */
#define THAW_BODY_PATH_MAX   96

enum thaw_presence { THAW_OPTIONAL, THAW_REQUIRED };

struct thaw_object {
	const json_t *json; /* borrowed from the tree */
	struct thaw_validation *validation;
	char path[THAW_BODY_PATH_MAX]; /* "environment." in front of its members' names, or "" */
};

/* Parses an object: UTF-8, no duplicate names, no U+0000, numbers that fit. An empty body is an
 * empty object. On 0 the caller owns *tree (json_decref) and `object` borrows from it. */
int thaw_body_parse(const void *data, size_t size, struct thaw_validation *validation,
		    json_t **tree, struct thaw_object *object);

/* `name` as on the wire ("MemorySize"); told as Lambda does ('memorySize'). */
int thaw_object_string(const struct thaw_object *object, const char *name,
		       enum thaw_presence presence, const char **value);
int thaw_object_integer(const struct thaw_object *object, const char *name,
			enum thaw_presence presence, int64_t min, int64_t max, int64_t *value);
int thaw_object_real(const struct thaw_object *object, const char *name,
		     enum thaw_presence presence, double min, double max, double *value);
int thaw_object_boolean(const struct thaw_object *object, const char *name,
			enum thaw_presence presence, bool *value);
/* `values` ends with NULL; *index of the one given. */
int thaw_object_enum(const struct thaw_object *object, const char *name,
		     enum thaw_presence presence, const char *const *values, unsigned int *index);
int thaw_object_object(const struct thaw_object *object, const char *name,
		       enum thaw_presence presence, struct thaw_object *child);
/* A list of strings, `min` to `max` of them; a map of strings to strings, at most `max`. Borrowed;
 * json_array_* and json_object_* read them. */
int thaw_object_strings(const struct thaw_object *object, const char *name,
			enum thaw_presence presence, size_t min, size_t max, const json_t **list);
int thaw_object_map(const struct thaw_object *object, const char *name, enum thaw_presence presence,
		    size_t max, const json_t **map);
/* Base64 (RFC 4648, 4: padded, nothing else in it), at most `max` bytes. The caller frees *data. */
int thaw_object_blob(const struct thaw_object *object, const char *name,
		     enum thaw_presence presence, size_t max, uint8_t **data, size_t *size);

/* The decoder alone. On 0 the caller frees *data (never NULL). -EINVAL, -ENOMEM. */
int thaw_base64_decode(const char *text, size_t length, uint8_t **data, size_t *size);

/* The member's name as Lambda tells it, for thaw_shape_check on what was read. */
void thaw_object_member(const struct thaw_object *object, const char *name,
			char member[THAW_BODY_PATH_MAX]);

#endif
