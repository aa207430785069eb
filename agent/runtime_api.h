/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Runtime API, version 2018-06-01, as a runtime sees it on 127.0.0.1:9001: which request is
 * allowed in which state, and what it is answered. What it means for the invocation is the
 * session's business, told through `struct thaw_runtime_api_ops`.
 *
 * The states and error bodies are those of AWS's runtime interface: a request out of turn gets
 * 403 InvalidStateTransition, one for another invocation 400 InvalidRequestID.
 */
#ifndef THAW_AGENT_RUNTIME_API_H
#define THAW_AGENT_RUNTIME_API_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/buffer.h"
#include "agent/http_server.h"

#define THAW_RESPONSE_MAX   6291556u      /* bytes, as Lambda has it */
#define THAW_ERROR_BODY_MAX (256u * 1024) /* of an error document */
#define THAW_REQUEST_ID_MAX 128u
#define THAW_ERROR_TYPE_MAX 128u

enum thaw_api_state {
	THAW_API_STARTED, /* the runtime's process runs, and has not asked for anything */
	THAW_API_INIT_ERROR,
	THAW_API_RESTORE_READY, /* it waits in restore/next */
	THAW_API_RESTORING,     /* restore/next is answered: hooks run */
	THAW_API_RESTORE_ERROR,
	THAW_API_READY,         /* it waits in invocation/next */
	THAW_API_RUNNING,       /* it has an event */
	THAW_API_RESPONDING,    /* its response is coming in */
	THAW_API_RESPONSE_SENT, /* done, and it has not asked for the next event yet */
};

/* What one event carries. Strings are checked by the session: no control bytes. */
struct thaw_invocation {
	const char *request_id;
	const char *function_arn;
	const char *trace_id; /* "" when there is none, as below */
	const char *client_context;
	const char *cognito_identity;
	/* The first event since a restore of which the runtime has not been told: where it logs
	 * now. NULL otherwise. */
	const char *restored_log_stream;
	uint64_t deadline_ms;   /* CLOCK_REALTIME */
	const uint8_t *payload; /* the first part; thaw_runtime_api_payload brings the rest */
	size_t payload_size;
	uint64_t payload_total;
};

/* An error as the runtime reported it. `body` is the document, perhaps empty. */
struct thaw_reported_error {
	const char *type;
	const uint8_t *body;
	size_t size;
};

struct thaw_runtime_api_ops {
	void (*ready)(void *owner);          /* waits in invocation/next */
	void (*awaits_restore)(void *owner); /* waits in restore/next */
	void (*init_failed)(void *owner, const struct thaw_reported_error *error);
	void (*restore_failed)(void *owner, const struct thaw_reported_error *error);
	/* A part of the response; with `last` it is whole. `content_type` may be "". */
	void (*response)(void *owner, const uint8_t *data, size_t size, bool last,
			 const char *content_type);
	/* The parts so far are to be sent on at once: the runtime streams. */
	void (*response_flush)(void *owner);
	/* The response broke off; what came of it is void. False: parts of it have left already,
	 * and no other response can take its place. */
	bool (*response_broken)(void *owner);
	/* `size` bytes at least were posted. */
	void (*response_too_large)(void *owner, uint64_t size);
	void (*invocation_failed)(void *owner, const struct thaw_reported_error *error);
};

struct thaw_runtime_api {
	struct thaw_http_server server;
	const struct thaw_runtime_api_ops *ops;
	void *owner;
	enum thaw_api_state state;
	struct thaw_http_conn *waiting; /* in invocation/next or restore/next */
	struct thaw_http_conn
		*given; /* has got an event: keeps its place while it is silent over it */
	struct thaw_http_conn *feeding; /* gets an event whose payload is still coming */
	struct thaw_http_conn *posting; /* sends the response, or an error */
	unsigned int posting_route;
	bool streaming;
	struct thaw_buffer error_body;
	uint64_t response_size;
	char request_id[THAW_REQUEST_ID_MAX];
	char error_type[THAW_ERROR_TYPE_MAX];
	char content_type[128];
};

int thaw_runtime_api_open(struct thaw_runtime_api *api, struct thaw_loop *loop,
			  const struct thaw_runtime_api_ops *ops, void *owner,
			  struct sockaddr_in *address, struct thaw_error *err);
void thaw_runtime_api_close(struct thaw_runtime_api *api);

/* A new runtime process is about to start: all connections of the old one go. */
void thaw_runtime_api_reset(struct thaw_runtime_api *api);

/* Gives the event to the runtime, which must be in state READY. */
void thaw_runtime_api_invoke(struct thaw_runtime_api *api, const struct thaw_invocation *event);
/* More of its payload, in order. */
void thaw_runtime_api_payload(struct thaw_runtime_api *api, const uint8_t *data, size_t size);
/* Bytes of the event that the runtime has not taken yet. */
size_t thaw_runtime_api_unsent(const struct thaw_runtime_api *api);

/* Answers restore/next. `log_stream`, if not empty, goes along in a header of our own. */
void thaw_runtime_api_restore(struct thaw_runtime_api *api, const char *log_stream);

/* Back-pressure on the response. */
void thaw_runtime_api_pause(struct thaw_runtime_api *api, bool paused);

#endif
