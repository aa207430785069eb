/* SPDX-License-Identifier: Apache-2.0 */
/* What follows from an event that is through: records and dead letters, and to whom they go. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "host/api/validation.h"
#include "host/daemon/queue_internal.h"
#include "host/json_check.h"
#include "host/store/aliases.h"
#include "host/store/functions.h"
#include "lib/log.h"

#define ARN_TEXT 512

/* --- texts --- */

static void put_string(FILE *out, const char *text)
{
	json_t *string = json_string(text);

	if (string)
		json_dumpf(string, out, JSON_ENCODE_ANY);
	else
		fputs("null", out);
	json_decref(string);
}

/* As the bytes they are when they are JSON, else as a string, else null. */
static void put_payload(FILE *out, const uint8_t *data, size_t size)
{
	if (thaw_json_check(data, size, NULL) == 0) {
		fwrite(data, 1, size, out);
		return;
	}
	json_t *string = size ? json_stringn((const char *)data, size) : NULL;
	if (string)
		json_dumpf(string, out, JSON_ENCODE_ANY);
	else
		fputs("null", out);
	json_decref(string);
}

static void put_timestamp(FILE *out)
{
	int64_t now_ms = queue_now_ms();
	time_t seconds = (time_t)(now_ms / 1000);
	char text[32];
	struct tm utc;

	gmtime_r(&seconds, &utc);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
	fprintf(out, "\"%s.%03dZ\"", text, (int)(now_ms % 1000));
}

static int64_t invoke_count(const struct queue_job *job, const struct thaw_invoke_answer *answer)
{
	return QUEUE_ERRORS(job->event.attempt) + (answer && !answer->refused);
}

static void put_record(FILE *out, const struct queue_job *job, const char *condition,
		       const struct thaw_invoke_answer *answer)
{
	const struct thaw_event *event = &job->event;
	char arn[ARN_TEXT];

	snprintf(arn, sizeof(arn), "arn:aws:lambda:%s:%s:function:%s:%s",
		 job->queue->service->config->region, event->account, job->name, event->qualifier);
	fputs("{\"version\":\"1.0\",\"timestamp\":", out);
	put_timestamp(out);
	fputs(",\"requestContext\":{\"requestId\":", out);
	put_string(out, event->id);
	fputs(",\"functionArn\":", out);
	put_string(out, arn);
	fprintf(out, ",\"condition\":\"%s\",\"approximateInvokeCount\":%" PRId64 "}", condition,
		invoke_count(job, answer));
	fputs(",\"requestPayload\":", out);
	put_payload(out, event->payload.data, event->payload.size);
	if (!answer) {
		fputs(",\"responseContext\":null,\"responsePayload\":null}", out);
		return;
	}
	fprintf(out,
		",\"responseContext\":{\"statusCode\":%u,\"executedVersion\":", answer->status);
	put_string(out, *answer->executed_version ? answer->executed_version : event->qualifier);
	if (answer->function_error) {
		fputs(",\"functionError\":", out);
		put_string(out, answer->function_error);
	}
	fputs("},\"responsePayload\":", out);
	put_payload(out, answer->payload, answer->payload_size);
	fputs("}", out);
}

static void put_envelope(FILE *out, const struct queue_job *job, const struct queue_send *send)
{
	fputs("{\"event\":", out);
	put_payload(out, job->event.payload.data, job->event.payload.size);
	fputs(",\"RequestID\":", out);
	put_string(out, job->event.id);
	fputs(",\"ErrorCode\":", out);
	put_string(out, send->code);
	fputs(",\"ErrorMessage\":", out);
	put_string(out, send->message);
	fputs("}", out);
}

/* Cuts at the end of a character; "" when it is not UTF-8. */
static void set_message(struct queue_send *send, const char *text, size_t size)
{
	if (size >= sizeof(send->message)) {
		size = sizeof(send->message) - 1;
		while (size && ((uint8_t)text[size] & 0xc0) == 0x80)
			size--;
	}
	memcpy(send->message, text, size);
	send->message[size] = 0;
	if (!thaw_utf8_valid(send->message))
		send->message[0] = 0;
}

/* ErrorCode and ErrorMessage of a dead letter. */
static void set_error(struct queue_send *send, const struct thaw_invoke_answer *answer)
{
	snprintf(send->code, sizeof(send->code), "%u",
		 answer && answer->status ? answer->status : 500);
	if (!answer) {
		strcpy(send->message, "The event exceeded its maximum age.");
		return;
	}
	if (answer->refused || !answer->payload) {
		set_message(send, answer->message, strnlen(answer->message, 511));
		return;
	}
	const char *payload = (const char *)answer->payload;
	json_t *tree = json_loadb(payload, answer->payload_size, 0, NULL);
	const json_t *message = json_object_get(tree, "errorMessage");
	if (json_is_string(message))
		set_message(send, json_string_value(message), json_string_length(message));
	else
		set_message(send, payload, answer->payload_size);
	json_decref(tree);
}

/* --- who gets something --- */

bool queue_is_url(const char *target)
{
	return strncasecmp(target, "http://", 7) == 0 || strncasecmp(target, "https://", 8) == 0;
}

/* The string at tree.first.second, or NULL. Who has one and is not told of it for want of memory
 * would never learn what came of the event: -ENOMEM. */
static int target_of(const char *text, const char *first, const char *second, char **copy,
		     struct thaw_error *err)
{
	json_t *tree = text ? json_loads(text, 0, NULL) : NULL;
	const char *target =
		json_string_value(json_object_get(json_object_get(tree, first), second));
	bool wanted = target && *target;

	*copy = wanted ? strdup(target) : NULL;
	bool lost = (text && *text && !tree) || (wanted && !*copy);
	json_decref(tree);
	return lost ? thaw_error_errno(err, ENOMEM, "what follows from an event") : 0;
}

/* The version that answered, or else the one that the event was for. */
static int job_version(struct queue_job *job, const struct thaw_invoke_answer *answer,
		       int64_t *number, struct thaw_error *err)
{
	const char *name = answer && *answer->executed_version ? answer->executed_version
							       : job->event.qualifier;
	struct thaw_alias alias;

	*number = THAW_VERSION_LATEST;
	if (strcmp(name, "$LATEST") == 0)
		return 0;
	if (!name[strspn(name, "0123456789")]) {
		*number = strtoll(name, NULL, 10);
		return 0;
	}
	int rc = thaw_aliases_get(job->queue->service->store, job->event.function_id, name, &alias,
				  err);
	if (rc < 0)
		return rc;
	*number = alias.version;
	thaw_alias_clear(&alias);
	return 0;
}

/* NULL in *target: it has none, or is not there any more. */
static int dead_letter_target(struct queue_job *job, const struct thaw_invoke_answer *answer,
			      char **target, struct thaw_error *err)
{
	struct thaw_version_record version;
	int64_t number;

	int rc = job_version(job, answer, &number, err);
	if (rc == 0)
		rc = thaw_versions_get(job->queue->service->store, job->event.function_id, number,
				       &version, err);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	rc = target_of(version.config, "DeadLetterConfig", "TargetArn", target, err);
	thaw_version_clear(&version);
	return rc;
}

static int send_write(struct queue_send *send, struct queue_job *job, const char *condition,
		      const struct thaw_invoke_answer *answer, struct thaw_error *err)
{
	char *text = NULL;

	if (send->dead_letter)
		set_error(send, answer);
	FILE *out = open_memstream(&text, &send->size);
	if (!out)
		return thaw_error_errno(err, ENOMEM, "writing what follows from an event");
	if (!send->dead_letter)
		put_record(out, job, condition, answer);
	else if (!queue_is_url(send->target))
		put_envelope(out, job, send);
	else
		fwrite(job->event.payload.data, 1, job->event.payload.size, out);
	bool bad = ferror(out);
	bad |= fclose(out) != 0;
	send->body = (uint8_t *)text;
	return bad ? thaw_error_errno(err, ENOMEM, "writing what follows from an event") : 0;
}

int queue_sends(struct queue_job *job, const struct thaw_event_config *config,
		const char *condition, const struct thaw_invoke_answer *answer,
		struct queue_send sends[QUEUE_SENDS_MAX], struct thaw_error *err)
{
	bool good = strcmp(condition, "Success") == 0;
	int count = 0, rc = 0;

	rc = target_of(config->destinations, good ? "OnSuccess" : "OnFailure", "Destination",
		       &sends[count].target, err);
	count += sends[count].target != NULL;
	if (rc == 0 && !good) {
		sends[count].dead_letter = true;
		rc = dead_letter_target(job, answer, &sends[count].target, err);
		count += sends[count].target != NULL;
	}
	for (int i = 0; rc == 0 && i < count; i++)
		rc = send_write(&sends[i], job, condition, answer, err);
	return rc < 0 ? rc : count;
}

void queue_sends_clear(struct queue_send sends[QUEUE_SENDS_MAX])
{
	for (int i = 0; i < QUEUE_SENDS_MAX; i++) {
		free(sends[i].target);
		free(sends[i].body);
	}
}

/* --- sending --- */

static int send_failed(struct queue_job *job, struct queue_send *send, const char *why)
{
	send->outcome =
		send->dead_letter ? THAW_QUEUE_DEAD_LETTER_FAILED : THAW_QUEUE_DESTINATION_FAILED;
	thaw_log(THAW_LOG_WARN, "function \"%s\" of account %s: nothing is sent to \"%.200s\": %s",
		 job->name, job->event.account, send->target, why);
	return 0;
}

/* Errors that stay are told and done with: they must not keep the event. */
static int send_enqueue(struct queue_job *job, struct queue_send *send,
			struct thaw_queue_event *event, const struct queue_context *context,
			struct thaw_error *err)
{
	char id[THAW_UUID_TEXT];

	int rc = thaw_uuid_make(id, err);
	if (rc < 0)
		return rc;
	event->request_id = id;
	event->account = job->event.account;
	event->payload = send->body;
	event->payload_size = send->size;
	rc = queue_enqueue(job->queue, event, context, err);
	if (rc == -ENOENT || rc == -EINVAL || rc == -EMSGSIZE)
		return send_failed(job, send, err->message);
	return rc;
}

static int send_post(struct queue_job *job, struct queue_send *send, struct thaw_error *err)
{
	struct queue_context context = {.url = send->target, .dead_letter = send->dead_letter};
	struct thaw_queue_event event = {.function_id = job->event.function_id,
					 .qualifier = job->event.qualifier};

	if (send->dead_letter) {
		context.id = job->event.id;
		context.code = send->code;
		context.message = send->message;
	}
	send->outcome = THAW_QUEUE_DELIVERED;
	return send_enqueue(job, send, &event, &context, err);
}

static int send_invoke(struct queue_job *job, struct queue_send *send,
		       const struct thaw_function_name *name, struct thaw_error *err)
{
	struct queue_context context = {.trace = job->context.trace,
					.depth = job->context.depth + 1};
	struct thaw_queue_event event = {.name = name->name, .qualifier = name->qualifier};
	struct thaw_function_item item;

	if (send->size > THAW_QUEUE_EVENT_MAX)
		return send_failed(job, send, "it is too large for an event");
	int rc = thaw_functions_get(job->queue->service->store, job->event.account, name->name,
				    THAW_VERSION_LATEST, &item, err);
	if (rc == -ENOENT)
		return send_failed(job, send, "no such function");
	if (rc < 0)
		return rc;
	event.function_id = send->function_id = item.function.id;
	thaw_function_item_clear(&item);
	snprintf(send->name, sizeof(send->name), "%s", name->name);
	send->outcome = THAW_QUEUE_RECEIVED;
	return send_enqueue(job, send, &event, &context, err);
}

int queue_send(struct queue_job *job, struct queue_send *send, struct thaw_error *err)
{
	struct thaw_validation validation;
	struct thaw_function_name name;

	if (queue_is_url(send->target))
		return send_post(job, send, err);
	thaw_validation_init(&validation);
	if (strncmp(send->target, "arn:", 4) != 0 ||
	    thaw_function_name_parse(send->target, true, "destination", &name, &validation) < 0)
		return send_failed(job, send, "it is neither a function nor a URL");
	if (strcmp(name.account, job->event.account) != 0 ||
	    strcmp(name.region, job->queue->service->config->region) != 0)
		return send_failed(job, send, "it is of another account or region");
	if (job->context.depth >= THAW_QUEUE_DEPTH_MAX) {
		send->outcome = THAW_QUEUE_LOOPED;
		thaw_log(THAW_LOG_WARN,
			 "function \"%s\" of account %s: a chain of %d destinations ends here",
			 job->name, job->event.account, THAW_QUEUE_DEPTH_MAX);
		return 0;
	}
	return send_invoke(job, send, &name, err);
}
