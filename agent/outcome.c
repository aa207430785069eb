/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/outcome.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "agent/json.h"
#include "agent/runtime_api.h"
#include "lib/error.h"

void thaw_outcome_clear(struct thaw_outcome *outcome)
{
	free(outcome->json);
	*outcome = (struct thaw_outcome){0};
}

static void set(struct thaw_outcome *outcome, Thaw__Agent__Outcome kind, const char *type,
		const char *request_id, const char *message)
{
	char text[THAW_ERROR_MAX + THAW_REQUEST_ID_MAX + 64];

	if (request_id)
		snprintf(text, sizeof(text), "RequestId: %s Error: %s", request_id, message);
	else
		snprintf(text, sizeof(text), "Error: %s", message);
	outcome->outcome = kind;
	outcome->type = type;
	outcome->json = thaw_json_error(type, text, &outcome->size);
}

void thaw_outcome_timeout(struct thaw_outcome *outcome, const char *request_id, uint32_t timeout_ms)
{
	char message[64];

	snprintf(message, sizeof(message), "Task timed out after %u.%02u seconds",
		 timeout_ms / 1000, timeout_ms % 1000 / 10);
	set(outcome, THAW__AGENT__OUTCOME__OUTCOME_TIMEOUT, "Sandbox.Timedout", request_id,
	    message);
}

void thaw_outcome_exit(struct thaw_outcome *outcome, const char *request_id, int status, bool oom)
{
	char message[128];

	if (WIFSIGNALED(status)) {
		char name[64];
		snprintf(name, sizeof(name), "%s", strsignal(WTERMSIG(status)));
		name[0] = (char)tolower((unsigned char)name[0]);
		snprintf(message, sizeof(message), "Runtime exited with error: signal: %s", name);
	} else if (WEXITSTATUS(status)) {
		snprintf(message, sizeof(message), "Runtime exited with error: exit status %d",
			 WEXITSTATUS(status));
	} else {
		snprintf(message, sizeof(message), "Runtime exited without providing a reason");
	}
	/* Lambda has no type of its own for want of memory; the host learns it from the outcome. */
	set(outcome,
	    oom ? THAW__AGENT__OUTCOME__OUTCOME_OUT_OF_MEMORY : THAW__AGENT__OUTCOME__OUTCOME_EXIT,
	    "Runtime.ExitError", request_id, message);
}

void thaw_outcome_too_large(struct thaw_outcome *outcome, uint64_t size)
{
	char message[160];

	snprintf(message, sizeof(message),
		 "Response payload size (%llu bytes) exceeded maximum allowed payload size (%u "
		 "bytes).",
		 (unsigned long long)size, THAW_RESPONSE_MAX);
	outcome->outcome = THAW__AGENT__OUTCOME__OUTCOME_TOO_LARGE;
	outcome->type = "Function.ResponseSizeTooLarge";
	outcome->json = thaw_json_error(outcome->type, message, &outcome->size);
}

void thaw_outcome_entrypoint(struct thaw_outcome *outcome, const char *request_id,
			     const char *message)
{
	set(outcome, THAW__AGENT__OUTCOME__OUTCOME_EXIT, "Runtime.InvalidEntrypoint", request_id,
	    message);
}

void thaw_outcome_unexplained(struct thaw_outcome *outcome, const char *type)
{
	outcome->outcome = THAW__AGENT__OUTCOME__OUTCOME_ERROR;
	outcome->type = type;
	outcome->json = thaw_json_error(type, "", &outcome->size);
}
