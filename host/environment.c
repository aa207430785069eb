/* SPDX-License-Identifier: Apache-2.0 */
#include "host/environment_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#include "host/host.h"
#include "host/kvm_kind.h"
#include "host/timeouts.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"

/* Under a software KVM, kernel code runs hundreds of times slower: what a guest may take for
 * itself, beyond the function's own timeout, is counted so many times. */
#define SOFTWARE_KVM_FACTOR 12

uint32_t environment_attach(struct attachments *list, int fd)
{
	if (fd < 0)
		return 0;
	list->fd[list->count++] = fd;
	return (uint32_t)list->count;
}

int environment_random(void *out, size_t size, struct thaw_error *err)
{
	if (getrandom(out, size, 0) != (ssize_t)size)
		return thaw_error_errno(err, errno, "random numbers");
	return 0;
}

static void hex(char *text, const uint8_t *raw, size_t size)
{
	for (size_t i = 0; i < size; i++)
		snprintf(text + 2 * i, 3, "%02x", raw[i]);
}

void thaw_request_id_make(char text[THAW_REQUEST_ID_TEXT])
{
	uint8_t raw[16];
	char digits[33];

	/* For 16 bytes getrandom neither fails nor falls short (getrandom(2)). */
	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		abort();
	raw[6] = (raw[6] & 0x0f) | 0x40; /* RFC 4122: version 4 */
	raw[8] = (raw[8] & 0x3f) | 0x80;
	hex(digits, raw, sizeof(raw));
	snprintf(text, THAW_REQUEST_ID_TEXT, "%.8s-%.4s-%.4s-%.4s-%.12s", digits, digits + 8,
		 digits + 12, digits + 16, digits + 20);
}

int environment_name_log_stream(struct thaw_environment *environment, struct thaw_error *err)
{
	char *text = environment->log_stream;
	const size_t size = sizeof(environment->log_stream);
	uint8_t raw[16];
	char digits[33];
	time_t now = time(NULL);
	struct tm utc;

	int rc = environment_random(raw, sizeof(raw), err);
	if (rc < 0)
		return rc;
	hex(digits, raw, sizeof(raw));
	gmtime_r(&now, &utc);
	size_t used = strftime(text, size, "%Y/%m/%d/", &utc);
	snprintf(text + used, size - used, "[%s]%s", environment->function->version, digits);
	return 0;
}

static int environment_pump(void *context, struct thaw_error *err)
{
	struct thaw_environment *environment = context;

	return thaw_vmm_pump(&environment->vmm, err);
}

void thaw_environment_init(struct thaw_environment *environment, const struct thaw_host *host,
			   const struct thaw_function *function)
{
	memset(environment, 0, sizeof(*environment));
	environment->host = host;
	environment->function = function;
	environment->vmm = (struct thaw_vmm)THAW_VMM_NONE;
	environment->agent = (struct thaw_agent)THAW_AGENT_NONE;
}

void thaw_environment_close(struct thaw_environment *environment)
{
	thaw_stop_leave(&environment->stop_entry);
	thaw_agent_close(&environment->agent);
	thaw_vmm_close(&environment->vmm);
	free(environment->start_error);
	environment->start_error = NULL;
}

uint32_t environment_patience(const struct thaw_environment *environment, uint32_t ms)
{
	return environment->software_kvm ? ms * SOFTWARE_KVM_FACTOR : ms;
}

void environment_steps(struct thaw_phases *phases, Thaw__Vmm__Step **steps, size_t count)
{
	phases->count = 0;
	for (size_t i = 0; i < count; i++)
		thaw_phases_add(phases, steps[i]->name ? steps[i]->name : "", steps[i]->ns);
}

int environment_open_agent(struct thaw_environment *environment, int *theirs,
			   struct thaw_error *err)
{
	struct thaw_agent *agent = &environment->agent;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return thaw_error_errno(err, errno, "connecting to the agent");
	agent->log = environment->log;
	agent->log_context = environment->log_context;
	agent->watch = (struct thaw_agent_watch){
		.fd = environment->vmm.socket,
		.ready = environment_pump,
		.context = environment,
	};
	*theirs = pair[1];
	int rc = thaw_agent_open(agent, pair[0], THAW_AGENT_PORT, err);
	if (rc < 0) {
		close(pair[1]);
		*theirs = -1;
	}
	return rc;
}

uint64_t environment_believe_us(uint64_t told_us, uint64_t since_ns)
{
	uint64_t most_us = (thaw_monotonic_ns() - since_ns) / 1000;

	return told_us < most_us ? told_us : most_us;
}

/* A type of errors, as it may stand in a line, in a header, in JSON. */
static void take_error_type(char *out, size_t size, const char *told)
{
	snprintf(out, size, "%s", told ? told : "");
	for (char *c = out; *c; c++) {
		if (*c <= ' ' || *c >= 0x7f)
			*c = '?';
	}
}

int environment_note_start(struct thaw_environment *environment, Thaw__Agent__Outcome outcome,
			   const ProtobufCBinaryData *document, uint64_t duration_us,
			   struct thaw_error *err)
{
	free(environment->start_error);
	environment->start_error = NULL;
	environment->start_outcome = outcome;
	environment->start_duration_us = duration_us;
	if (outcome == THAW__AGENT__OUTCOME__OUTCOME_OK)
		return 0;
	environment->start_error =
		strndup(document->data ? (const char *)document->data : "", document->len);
	if (!environment->start_error)
		return thaw_error_errno(err, ENOMEM, "keeping an error");
	return 0;
}

int environment_send_invoke(struct thaw_environment *environment,
			    const struct thaw_invocation *invocation, uint32_t *seq,
			    struct thaw_error *err)
{
	Thaw__Agent__Invoke invoke = THAW__AGENT__INVOKE__INIT;
	char arn[THAW_FUNCTION_ARN_MAX];

	thaw_function_arn(environment->function, arn);
	invoke.request_id = (char *)invocation->request_id;
	invoke.timeout_ms = environment->function->timeout_s * 1000;
	invoke.function_arn = invocation->function_arn ? (char *)invocation->function_arn : arn;
	if (invocation->trace_id)
		invoke.trace_id = (char *)invocation->trace_id;
	if (invocation->client_context)
		invoke.client_context = (char *)invocation->client_context;
	if (invocation->cognito_identity)
		invoke.cognito_identity = (char *)invocation->cognito_identity;
	return thaw_agent_send_invoke(&environment->agent, &invoke, invocation->event,
				      invocation->event_size, seq, err);
}

/* --- standing still --- */

int thaw_environment_pause(struct thaw_environment *environment, struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Pause pause = THAW__VMM__PAUSE__INIT;

	request.body_case = THAW__VMM__REQUEST__BODY_PAUSE;
	request.pause = &pause;
	int rc = thaw_vmm_call(&environment->vmm, &request, NULL, 0, THAW__VMM__REPLY__BODY_DONE,
			       THAW_TIMEOUT_REQUEST, NULL, err);
	return rc < 0 ? thaw_error_wrap(err, "pausing the microVM") : 0;
}

int thaw_environment_unpause(struct thaw_environment *environment, struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Resume resume = THAW__VMM__RESUME__INIT;

	request.body_case = THAW__VMM__REQUEST__BODY_RESUME;
	request.resume = &resume;
	int rc = thaw_vmm_call(&environment->vmm, &request, NULL, 0, THAW__VMM__REPLY__BODY_DONE,
			       THAW_TIMEOUT_REQUEST, NULL, err);
	return rc < 0 ? thaw_error_wrap(err, "resuming the microVM") : 0;
}

/* --- events --- */

int thaw_environment_invoke(struct thaw_environment *environment,
			    const struct thaw_invocation *invocation, struct thaw_result *result,
			    struct thaw_error *err)
{
	Thaw__Agent__GuestMessage *answer;
	uint32_t seq = environment->ahead_seq;
	uint64_t began = environment->restore_asked_ns; /* of one that was sent with the restore */
	int rc = 0;

	if (!seq) {
		began = environment->phases.last = thaw_monotonic_ns();
		rc = environment_send_invoke(environment, invocation, &seq, err);
	}
	environment->ahead_seq = 0;
	/* The guest keeps the function's timeout; ours is for a guest that does not. */
	uint64_t deadline =
		thaw_monotonic_ns() + environment->function->timeout_s * 1000000000ull +
		thaw_timeout_ms(environment_patience(environment, THAW_TIMEOUT_GRACE)) * 1000000ull;
	if (rc == 0)
		rc = thaw_agent_receive_invoke(&environment->agent, seq, deadline, &answer, err);
	if (rc < 0)
		return thaw_error_wrap(err, "invoking the function");
	thaw_phases_mark(&environment->phases, "invoke");
	const Thaw__Agent__InvokeDone *done = answer->invoke_done;
	result->outcome = done->outcome;
	result->response = environment->agent.response;
	result->response_size = environment->agent.response_size;
	take_error_type(result->error_type, sizeof(result->error_type), done->error_type);
	result->duration_us = environment_believe_us(done->duration_us, began);
	result->init_duration_us = environment_believe_us(done->init_duration_us, began);
	uint64_t most_kib = (uint64_t)thaw_function_guest_mib(environment->function) << 10;
	result->max_memory_kib = done->max_memory_kib < most_kib ? done->max_memory_kib : most_kib;
	thaw__agent__guest_message__free_unpacked(answer, NULL);
	return 0;
}
