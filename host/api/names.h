/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of the API: functions in their four spellings, qualifiers, layers, roles, tags. Each is
 * checked by the pattern and length of the public model, and a fault is told in Lambda's words
 * (validation.h). `member` is the value's name as Lambda tells it: 'functionName', 'handler'.
 *
 * All return 0, or -EINVAL with the fault added to the validation.
 */
#ifndef THAW_HOST_API_NAMES_H
#define THAW_HOST_API_NAMES_H

#include <stdbool.h>
#include <stdint.h>

struct thaw_validation;

#define THAW_REGION_TEXT        32
#define THAW_ACCOUNT_TEXT       13
#define THAW_FUNCTION_NAME_TEXT 65
#define THAW_QUALIFIER_TEXT     129
#define THAW_LAYER_NAME_TEXT    141
#define THAW_TAGS_MAX           50

/* A function as a client names it. "" where it says nothing. */
struct thaw_function_name {
	char region[THAW_REGION_TEXT];
	char account[THAW_ACCOUNT_TEXT];
	char name[THAW_FUNCTION_NAME_TEXT];
	char qualifier[THAW_QUALIFIER_TEXT]; /* "$LATEST", a number or an alias */
};

/* "name", "account:function:name", "arn:aws:lambda:region:account:function:name", each with
 * ":qualifier" or without. `namespaced`: the operations that take up to 256 characters (Invoke,
 * GetFunction, and all that only read), else 140. */
int thaw_function_name_parse(const char *text, bool namespaced, const char *member,
			     struct thaw_function_name *function,
			     struct thaw_validation *validation);

/* The parameter Qualifier (NULL or "" when there is none) beside a name that may have one.
 * -EINVAL: it breaks its pattern (told); -EEXIST: the two differ, told by the caller as
 * InvalidParameterValueException with THAW_QUALIFIER_MISMATCH. */
#define THAW_QUALIFIER_MISMATCH                                                                    \
	"The derived qualifier from the function name does not match the specified qualifier."
int thaw_function_qualify(struct thaw_function_name *function, const char *qualifier,
			  struct thaw_validation *validation);

struct thaw_layer_name {
	char region[THAW_REGION_TEXT];
	char account[THAW_ACCOUNT_TEXT];
	char name[THAW_LAYER_NAME_TEXT];
	uint64_t version; /* 0: none given */
};

/* "name" or "arn:aws:lambda:region:account:layer:name". */
int thaw_layer_name_parse(const char *text, const char *member, struct thaw_layer_name *layer,
			  struct thaw_validation *validation);
/* "arn:aws:lambda:region:account:layer:name:version". */
int thaw_layer_version_parse(const char *text, const char *member, struct thaw_layer_name *layer,
			     struct thaw_validation *validation);

/* Values that have a pattern and a length, and no parts. */
enum thaw_shape {
	THAW_SHAPE_ALIAS,
	THAW_SHAPE_VERSION,
	THAW_SHAPE_QUALIFIER,
	THAW_SHAPE_HANDLER,
	THAW_SHAPE_DESCRIPTION,
	THAW_SHAPE_STATEMENT_ID,
	THAW_SHAPE_ACTION,
	THAW_SHAPE_PRINCIPAL,
	THAW_SHAPE_SOURCE_ARN,
	THAW_SHAPE_SOURCE_ACCOUNT,
	THAW_SHAPE_EVENT_SOURCE_TOKEN,
	THAW_SHAPE_ROLE,
	THAW_SHAPE_VARIABLE_NAME,
	THAW_SHAPE_LOCAL_MOUNT_PATH,
	THAW_SHAPE_LOG_GROUP,
	THAW_SHAPE_TENANT_ID,
	THAW_SHAPE_TAG_KEY,
	THAW_SHAPE_TAG_VALUE,
	THAW_SHAPES
};

int thaw_shape_check(enum thaw_shape shape, const char *text, const char *member,
		     struct thaw_validation *validation);

#endif
