/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "host/daemon/queue_internal.h"

/* 0, or -1 when the text is not UTF-8. */
static int member_set(json_t *tree, const char *name, const char *text)
{
	return text ? json_object_set_new(tree, name, json_string(text)) : 0;
}

int queue_context_text(const struct queue_context *context, char **text, struct thaw_error *err)
{
	json_t *tree = json_object();
	int rc = tree ? 0 : -ENOMEM;

	/* A trace header that is not UTF-8 leads nowhere: it is left out. */
	if (rc == 0)
		member_set(tree, "trace", context->trace);
	if (rc == 0 && (member_set(tree, "client", context->client) < 0 ||
			member_set(tree, "url", context->url) < 0))
		rc = thaw_error_set(err, EINVAL, "the client context is not UTF-8");
	if (rc == 0 && context->depth)
		rc = json_object_set_new(tree, "depth", json_integer(context->depth));
	if (rc == 0 && context->dead_letter &&
	    (json_object_set_new(tree, "deadLetter", json_true()) < 0 ||
	     member_set(tree, "id", context->id) < 0 ||
	     member_set(tree, "code", context->code) < 0 ||
	     member_set(tree, "message", context->message) < 0))
		rc = -ENOMEM;
	*text = rc == 0 ? json_dumps(tree, JSON_COMPACT) : NULL;
	json_decref(tree);
	if (rc == -EINVAL || *text)
		return rc;
	return thaw_error_errno(err, ENOMEM, "an event's context");
}

static char *member_get(const json_t *tree, const char *name, bool *lost)
{
	const char *text = json_string_value(json_object_get(tree, name));
	char *copy = text ? strdup(text) : NULL;

	*lost |= text && !copy;
	return copy;
}

int queue_context_read(struct queue_context *context, const char *text, struct thaw_error *err)
{
	json_t *tree = text ? json_loads(text, 0, NULL) : NULL;
	bool lost = text && !tree;

	*context = (struct queue_context){
		.trace = member_get(tree, "trace", &lost),
		.client = member_get(tree, "client", &lost),
		.depth = (int)json_integer_value(json_object_get(tree, "depth")),
		.url = member_get(tree, "url", &lost),
		.dead_letter = json_is_true(json_object_get(tree, "deadLetter")),
		.id = member_get(tree, "id", &lost),
		.code = member_get(tree, "code", &lost),
		.message = member_get(tree, "message", &lost),
	};
	json_decref(tree);
	if (!lost)
		return 0;
	queue_context_clear(context);
	return thaw_error_errno(err, ENOMEM, "an event's context");
}

void queue_context_clear(struct queue_context *context)
{
	free(context->trace);
	free(context->client);
	free(context->url);
	free(context->id);
	free(context->code);
	free(context->message);
	*context = (struct queue_context){0};
}
