/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/invocation.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/freeze.h"
#include "agent/outcome.h"
#include "agent/request.h"
#include "lib/clock.h"

/* Of the response, collected before a Chunk goes out; what is smaller leaves with InvokeDone. */
#define CHUNK_AT        (256u * 1024)
#define INIT_TIMEOUT_MS 10000u

static const Thaw__Agent__Invoke *the_invoke(const struct thaw_session *session)
{
	return session->op.message->invoke;
}

/* NULL outside an invocation. */
static const char *the_request_id(const struct thaw_session *session)
{
	return session->op.kind == THAW_OP_INVOKE ? the_invoke(session)->request_id : NULL;
}

/* Ends Init or Invoke with an error document. */
static void finish_badly(struct thaw_session *session, const struct thaw_outcome *outcome)
{
	Thaw__Agent__GuestMessage answer = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__InitDone init = THAW__AGENT__INIT_DONE__INIT;
	Thaw__Agent__InvokeDone invoke = THAW__AGENT__INVOKE_DONE__INIT;
	ProtobufCBinaryData document = {outcome->size, (uint8_t *)outcome->json};

	if (session->op.kind == THAW_OP_INIT) {
		init.outcome = outcome->outcome;
		init.error_json = document;
		init.error_type = (char *)outcome->type;
		init.duration_us = thaw_session_elapsed_us(session);
		answer.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_INIT_DONE;
		answer.init_done = &init;
	} else {
		invoke.outcome = outcome->outcome;
		invoke.payload = document;
		invoke.error_type = (char *)outcome->type;
		invoke.content_type = "application/json";
		invoke.duration_us = thaw_session_elapsed_us(session);
		invoke.init_duration_us = session->op.init_us;
		invoke.max_memory_kib = thaw_cgroup_peak_kib(&session->cgroup);
		answer.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_INVOKE_DONE;
		answer.invoke_done = &invoke;
	}
	thaw_buffer_consume(&session->response, thaw_buffer_size(&session->response));
	thaw_session_answer(session, &answer);
	thaw_session_finish(session);
}

/* Starts a runtime, unless one is there that may be used. False: not now (an old one is on its way
 * out), or the operation has ended with the reason. */
static bool ensure_runtime(struct thaw_session *session)
{
	struct thaw_error err = {0};
	int fd = -1;

	if (thaw_runtime_is_alive(&session->runtime)) {
		if (!session->condemned)
			return true;
		thaw_runtime_kill(&session->runtime);
		return false;
	}
	/* Between the kill of an operation and the death there is no second start. */
	if (session->op.overdue)
		return false;
	session->condemned = false;
	thaw_unfreeze(session);
	thaw_runtime_api_reset(&session->api);
	session->op.runtime_started_ns = thaw_monotonic_ns();
	int rc = thaw_runtime_start(&session->runtime, session->configuration->configure->function,
				    session->log_stream, &fd, &err);
	if (rc == 0)
		rc = thaw_http_server_adopt(&session->api.server, fd);
	if (rc == 0)
		return true;
	struct thaw_outcome outcome = {0};
	if (thaw_runtime_is_alive(&session->runtime)) {
		thaw_error_set(&err, -rc, "the runtime has started but cannot be reached");
		session->condemned = true;
	}
	thaw_outcome_entrypoint(&outcome, the_request_id(session), err.message);
	finish_badly(session, &outcome);
	thaw_outcome_clear(&outcome);
	return false;
}

void thaw_init_begin(struct thaw_session *session)
{
	uint32_t timeout_ms = session->op.message->init->timeout_ms;

	if (thaw_runtime_is_alive(&session->runtime) && !session->condemned) {
		struct thaw_error err;
		thaw_error_set(&err, EALREADY, "the runtime has been started already");
		thaw_session_fail(session, &err);
		return;
	}
	thaw_timer_start(session->loop, &session->timer, timeout_ms ? timeout_ms : INIT_TIMEOUT_MS);
}

void thaw_init_advance(struct thaw_session *session)
{
	Thaw__Agent__GuestMessage answer = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__InitDone done = THAW__AGENT__INIT_DONE__INIT;

	if (!ensure_runtime(session))
		return;
	if (session->api.state != THAW_API_READY && session->api.state != THAW_API_RESTORE_READY)
		return;
	done.duration_us = thaw_session_elapsed_us(session);
	done.awaits_restore = session->api.state == THAW_API_RESTORE_READY;
	answer.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_INIT_DONE;
	answer.init_done = &done;
	thaw_session_phase(session, "init");
	thaw_session_answer(session, &answer);
	thaw_session_finish(session);
}

void thaw_invoke_begin(struct thaw_session *session)
{
	const Thaw__Agent__Invoke *invoke = the_invoke(session);
	uint32_t timeout_ms = invoke->timeout_ms ? invoke->timeout_ms : 3000;

	session->op.payload_left = invoke->payload_size - invoke->payload.len;
	session->deadline_ns = session->op.started_ns + timeout_ms * UINT64_C(1000000);
	thaw_timer_start_at(session->loop, &session->timer, session->deadline_ns);
	thaw_unfreeze(session);
}

static void give_event(struct thaw_session *session)
{
	const Thaw__Agent__Invoke *invoke = the_invoke(session);
	uint64_t left_ns = session->deadline_ns - thaw_monotonic_ns();
	struct thaw_invocation event = {
		.request_id = invoke->request_id,
		.function_arn = invoke->function_arn,
		.trace_id = invoke->trace_id,
		.client_context = invoke->client_context,
		.cognito_identity = invoke->cognito_identity,
		.restored_log_stream = session->restored ? session->log_stream : NULL,
		.deadline_ms = (thaw_realtime_ns() + left_ns) / 1000000,
		.payload = invoke->payload.data,
		.payload_size = invoke->payload.len,
		.payload_total = invoke->payload_size,
	};

	session->op.given = true;
	session->restored = false;
	thaw_runtime_api_invoke(&session->api, &event);
}

void thaw_invoke_advance(struct thaw_session *session)
{
	struct thaw_operation *op = &session->op;

	if (op->given || op->overdue || !ensure_runtime(session))
		return;
	if (op->runtime_started_ns && !op->init_us &&
	    (session->api.state == THAW_API_READY || session->api.state == THAW_API_RESTORE_READY))
		op->init_us = (thaw_monotonic_ns() - op->runtime_started_ns) / 1000;
	if (session->api.state == THAW_API_RESTORE_READY)
		thaw_runtime_api_restore(&session->api, session->log_stream);
	if (session->api.state == THAW_API_READY)
		give_event(session);
}

bool thaw_invoke_wants_chunk(const struct thaw_session *session)
{
	return session->op.given && session->op.payload_left &&
	       thaw_runtime_api_unsent(&session->api) < THAW_LINK_OUT_HIGH;
}

int thaw_invoke_chunk(struct thaw_session *session, const Thaw__Agent__Chunk *chunk,
		      struct thaw_error *err)
{
	if (chunk->data.len == 0 || chunk->data.len > THAW_PAYLOAD_PART_MAX ||
	    chunk->data.len > session->op.payload_left)
		return thaw_error_set(err, EPROTO, "a chunk of %zu bytes where %llu are awaited",
				      chunk->data.len,
				      (unsigned long long)session->op.payload_left);
	session->op.payload_left -= chunk->data.len;
	thaw_runtime_api_payload(&session->api, chunk->data.data, chunk->data.len);
	return 0;
}

void thaw_invocation_expired(struct thaw_session *session)
{
	session->op.overdue = true;
	if (thaw_runtime_is_alive(&session->runtime)) {
		/* The answer follows its death, so that nothing of it outlives the invocation. */
		thaw_runtime_kill(&session->runtime);
		return;
	}
	thaw_invocation_died(session, 0, false);
}

void thaw_invocation_died(struct thaw_session *session, int status, bool oom)
{
	struct thaw_operation *op = &session->op;
	struct thaw_outcome outcome = {0};
	const char *id = the_request_id(session);

	if (op->overdue) {
		uint32_t timeout_ms = op->kind == THAW_OP_INIT ? op->message->init->timeout_ms
							       : the_invoke(session)->timeout_ms;
		thaw_outcome_timeout(&outcome, id, timeout_ms);
	} else if (!op->given && !op->runtime_started_ns) {
		/* One that was left over; this operation starts its own. */
		return;
	} else {
		thaw_outcome_exit(&outcome, id, status, oom);
	}
	finish_badly(session, &outcome);
	thaw_outcome_clear(&outcome);
}

/* What the runtime says, from here on. */

static void on_wait(void *owner)
{
	/* The pump sees it by the state of the API. */
	(void)owner;
}

static void send_chunk(struct thaw_session *session)
{
	Thaw__Agent__GuestMessage message = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__Chunk chunk = THAW__AGENT__CHUNK__INIT;

	chunk.data.len = thaw_buffer_size(&session->response);
	chunk.data.data = thaw_buffer_bytes(&session->response);
	message.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_CHUNK;
	message.chunk = &chunk;
	session->op.response_sent += chunk.data.len;
	thaw_session_answer(session, &message);
	thaw_buffer_consume(&session->response, chunk.data.len);
	if (thaw_link_is_full(&session->link))
		thaw_runtime_api_pause(&session->api, true);
}

static void on_response(void *owner, const uint8_t *data, size_t size, bool last,
			const char *content_type)
{
	struct thaw_session *session = owner;
	size_t held = thaw_buffer_size(&session->response);

	/* An invocation that has been given up (its host is gone) is not answered. */
	if (session->op.kind != THAW_OP_INVOKE || session->op.overdue)
		return;
	if (!last || held) {
		if (thaw_buffer_append(&session->response, data, size) < 0) {
			session->condemned = true;
			thaw_runtime_kill(&session->runtime);
			return;
		}
		if (!last) {
			if (held + size >= CHUNK_AT)
				send_chunk(session);
			return;
		}
		data = thaw_buffer_bytes(&session->response);
		size += held;
	}
	Thaw__Agent__GuestMessage answer = THAW__AGENT__GUEST_MESSAGE__INIT;
	Thaw__Agent__InvokeDone done = THAW__AGENT__INVOKE_DONE__INIT;
	done.payload.data = (uint8_t *)data;
	done.payload.len = size;
	done.content_type = (char *)content_type;
	done.response_size = session->op.response_sent + size;
	done.duration_us = thaw_session_elapsed_us(session);
	done.init_duration_us = session->op.init_us;
	done.max_memory_kib = thaw_cgroup_peak_kib(&session->cgroup);
	answer.body_case = THAW__AGENT__GUEST_MESSAGE__BODY_INVOKE_DONE;
	answer.invoke_done = &done;
	thaw_session_answer(session, &answer);
	thaw_buffer_consume(&session->response, thaw_buffer_size(&session->response));
	thaw_session_finish(session);
}

static void on_response_flush(void *owner)
{
	struct thaw_session *session = owner;

	if (session->op.kind == THAW_OP_INVOKE && thaw_buffer_size(&session->response))
		send_chunk(session);
}

static bool on_response_broken(void *owner)
{
	struct thaw_session *session = owner;

	thaw_buffer_consume(&session->response, thaw_buffer_size(&session->response));
	return session->op.response_sent == 0;
}

static void on_response_too_large(void *owner, uint64_t size)
{
	struct thaw_session *session = owner;
	struct thaw_outcome outcome = {0};

	if (session->op.kind != THAW_OP_INVOKE || session->op.overdue)
		return;
	thaw_outcome_too_large(&outcome, size);
	finish_badly(session, &outcome);
	thaw_outcome_clear(&outcome);
}

/* An error the runtime reported, as document for the client. */
static void report(struct thaw_session *session, const struct thaw_reported_error *error)
{
	struct thaw_outcome outcome = {0};
	struct thaw_outcome passed = {
		.outcome = THAW__AGENT__OUTCOME__OUTCOME_ERROR,
		.type = error->type,
		.json = (char *)error->body,
		.size = error->size,
	};

	if (error->size) {
		finish_badly(session, &passed);
		return;
	}
	thaw_outcome_unexplained(&outcome, error->type);
	finish_badly(session, &outcome);
	thaw_outcome_clear(&outcome);
}

static void on_invocation_failed(void *owner, const struct thaw_reported_error *error)
{
	struct thaw_session *session = owner;

	if (session->op.kind == THAW_OP_INVOKE && !session->op.overdue)
		report(session, error);
}

static void on_init_failed(void *owner, const struct thaw_reported_error *error)
{
	struct thaw_session *session = owner;

	/* It mostly exits by itself now; in any case it is not asked again. */
	session->condemned = true;
	if ((session->op.kind == THAW_OP_INIT || session->op.kind == THAW_OP_INVOKE) &&
	    !session->op.overdue)
		report(session, error);
}

static void on_restore_failed(void *owner, const struct thaw_reported_error *error)
{
	struct thaw_session *session = owner;

	session->condemned = true;
	if (session->op.kind == THAW_OP_RESUME)
		thaw_resume_failed(session, error);
	else if (session->op.kind == THAW_OP_INVOKE && !session->op.overdue)
		report(session, error);
}

const struct thaw_runtime_api_ops thaw_invocation_api_ops = {
	.ready = on_wait,
	.awaits_restore = on_wait,
	.init_failed = on_init_failed,
	.restore_failed = on_restore_failed,
	.response = on_response,
	.response_flush = on_response_flush,
	.response_broken = on_response_broken,
	.response_too_large = on_response_too_large,
	.invocation_failed = on_invocation_failed,
};
