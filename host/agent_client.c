/* SPDX-License-Identifier: Apache-2.0 */
#include "host/agent_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/timeouts.h"
#include "lib/error.h"

#define GREETING_MAX 32 /* "OK 4294967295\n" */
/* What is taken in after the deadline: an answer that was sent in time may lie there. */
#define LATE_MAX (1u << 20)
/* What a message may take in memory, beyond twice its length on the wire: fields of two bytes each
 * would take fifty times that. */
#define UNPACK_MAX (64u << 10)

int thaw_agent_open(struct thaw_agent *agent, int fd, unsigned int port, struct thaw_error *err)
{
	struct thaw_agent fresh = THAW_AGENT_NONE;

	fresh.log = agent->log;
	fresh.log_context = agent->log_context;
	fresh.watch = agent->watch;
	*agent = fresh;
	agent->fd = fd;
	agent->out_space = 4096;
	agent->out = malloc(agent->out_space);
	if (!agent->out || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		int code = agent->out ? errno : ENOMEM;
		thaw_agent_close(agent);
		return thaw_error_errno(err, code, "connecting to the agent");
	}
	agent->out_size =
		(size_t)snprintf((char *)agent->out, agent->out_space, "CONNECT %u\n", port);
	return 0;
}

void thaw_agent_close(struct thaw_agent *agent)
{
	if (agent->fd >= 0)
		close(agent->fd);
	agent->fd = -1;
	agent->greeted = false;
	agent->asked_count = 0;
	thaw_frame_reader_clear(&agent->reader);
	free(agent->out);
	free(agent->response);
	agent->out = agent->response = NULL;
	agent->out_size = agent->out_done = agent->out_space = 0;
	agent->response_size = agent->response_space = 0;
}

/* Room for `size` more bytes to send; NULL when there is no memory. */
static uint8_t *agent_out_reserve(struct thaw_agent *agent, size_t size)
{
	if (agent->out_done == agent->out_size)
		agent->out_done = agent->out_size = 0;
	if (agent->out_space - agent->out_size < size) {
		size_t space = agent->out_size + size + 4096;
		uint8_t *out = realloc(agent->out, space);
		if (!out)
			return NULL;
		agent->out = out;
		agent->out_space = space;
	}
	return agent->out + agent->out_size;
}

static int agent_queue(struct thaw_agent *agent, const Thaw__Agent__HostMessage *message,
		       struct thaw_error *err)
{
	size_t size = thaw__agent__host_message__get_packed_size(message);

	if (size > THAW_FRAME_MAX)
		return thaw_error_set(err, EMSGSIZE, "a request to the agent is too long");
	uint8_t *at = agent_out_reserve(agent, THAW_FRAME_HEADER + size);
	if (!at)
		return thaw_error_errno(err, ENOMEM, "a request to the agent");
	thaw_frame_header(at, (uint32_t)size);
	thaw__agent__host_message__pack(message, at + THAW_FRAME_HEADER);
	agent->out_size += THAW_FRAME_HEADER + size;
	return 0;
}

int thaw_agent_send(struct thaw_agent *agent, Thaw__Agent__HostMessage *message, uint32_t *seq,
		    struct thaw_error *err)
{
	if (agent->asked_count == THAW_AGENT_ASKED_MAX)
		return thaw_error_set(err, EBUSY, "too many requests to the agent are under way");
	message->seq = agent->seq + 1;
	int rc = agent_queue(agent, message, err);
	if (rc < 0)
		return rc;
	agent->seq++;
	agent->asked[agent->asked_count].seq = agent->seq;
	agent->asked[agent->asked_count++].invoke =
		message->body_case == THAW__AGENT__HOST_MESSAGE__BODY_INVOKE;
	*seq = agent->seq;
	return 0;
}

int thaw_agent_send_invoke(struct thaw_agent *agent, Thaw__Agent__Invoke *invoke,
			   const uint8_t *payload, size_t size, uint32_t *seq,
			   struct thaw_error *err)
{
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;

	if (size > THAW_PAYLOAD_MAX)
		return thaw_error_set(err, EMSGSIZE,
				      "an event of %zu bytes is over the limit of %u", size,
				      THAW_PAYLOAD_MAX);
	size_t first = size < THAW_CHUNK_MAX ? size : THAW_CHUNK_MAX;
	invoke->payload_size = size;
	invoke->payload.data = (uint8_t *)payload;
	invoke->payload.len = first;
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_INVOKE;
	message.invoke = invoke;
	int rc = thaw_agent_send(agent, &message, seq, err);
	for (size_t at = first; rc == 0 && at < size;) {
		Thaw__Agent__Chunk chunk = THAW__AGENT__CHUNK__INIT;
		chunk.data.data = (uint8_t *)payload + at;
		chunk.data.len = size - at < THAW_CHUNK_MAX ? size - at : THAW_CHUNK_MAX;
		message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_CHUNK;
		message.chunk = &chunk;
		rc = agent_queue(agent, &message, err);
		at += chunk.data.len;
	}
	return rc;
}

static int agent_lost(int code, struct thaw_error *err)
{
	if (code == EPIPE || code == ECONNRESET || code == 0)
		return thaw_error_set(err, EPIPE, "the agent has closed the connection");
	return thaw_error_errno(err, code, "talking to the agent");
}

int thaw_agent_flush(struct thaw_agent *agent, struct thaw_error *err)
{
	while (agent->out_done < agent->out_size) {
		ssize_t n = send(agent->fd, agent->out + agent->out_done,
				 agent->out_size - agent->out_done, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return agent_lost(errno, err);
		agent->out_done += (size_t)n;
	}
	return 0;
}

/* Waits until something can be read, sending meanwhile. */
static int agent_poll(struct thaw_agent *agent, uint64_t deadline, struct thaw_error *err)
{
	for (;;) {
		int rc = thaw_agent_flush(agent, err);
		if (rc < 0)
			return rc;
		struct pollfd watch[2] = {
			{.fd = agent->fd, .events = POLLIN},
			{.fd = agent->watch.fd, .events = POLLIN},
		};
		if (agent->out_done < agent->out_size)
			watch[0].events |= POLLOUT;
		int n = poll(watch, 2, thaw_deadline_left(deadline));
		if (n < 0 && errno != EINTR)
			return thaw_error_errno(err, errno, "waiting for the agent");
		if (n == 0)
			return thaw_error_set(err, ETIMEDOUT, "the agent did not answer in time");
		if (n < 0)
			continue;
		/* Answers first: they may have been sent right before the end. */
		if (watch[0].revents & POLLIN)
			return 0;
		if (watch[1].revents) {
			rc = agent->watch.ready(agent->watch.context, err);
			if (rc < 0)
				return rc;
		}
		if (watch[0].revents & (POLLHUP | POLLERR))
			return 0; /* the read that follows says which */
	}
}

/* The end of the stream is often only the shadow of the microVM's end: that is the better story,
 * and it is told within moments. */
static int agent_end(struct thaw_agent *agent, int code, struct thaw_error *err)
{
	struct pollfd watch = {.fd = agent->watch.fd, .events = POLLIN};

	if (watch.fd >= 0 && poll(&watch, 1, 200) > 0) {
		int rc = agent->watch.ready(agent->watch.context, err);
		if (rc < 0)
			return rc;
	}
	return agent_lost(code, err);
}

int thaw_agent_wait_greeting(struct thaw_agent *agent, uint64_t deadline, struct thaw_error *err)
{
	char line[GREETING_MAX];
	size_t used = 0;

	while (!agent->greeted) {
		/* One byte at a time: what follows the line is frames, which are not ours. */
		ssize_t n = read(agent->fd, line + used, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			int rc = agent_poll(agent, deadline, err);
			if (rc < 0)
				return rc;
			continue;
		}
		if (n <= 0)
			return agent_end(agent, n < 0 ? errno : 0, err);
		if (line[used++] == '\n') {
			line[used - 1] = 0;
			char *end;
			errno = 0;
			if (strncmp(line, "OK ", 3) != 0 || line[3] < '0' || line[3] > '9' ||
			    (strtoul(line + 3, &end, 10), *end) || errno)
				return thaw_error_set(err, EPROTO,
						      "thaw-vmm answered \"%s\" to CONNECT", line);
			agent->greeted = true;
		} else if (used == sizeof(line)) {
			return thaw_error_set(err, EPROTO,
					      "thaw-vmm's answer to CONNECT is too long");
		}
	}
	return 0;
}

/* --- messages --- */

struct budget {
	size_t left;
};

static void *budget_alloc(void *opaque, size_t size)
{
	struct budget *budget = opaque;

	if (size > budget->left)
		return NULL;
	budget->left -= size;
	return malloc(size);
}

static void budget_free(void *opaque, void *data)
{
	(void)opaque;
	free(data);
}

/* NULL when it is malformed, or not worth its memory. */
static Thaw__Agent__GuestMessage *agent_unpack(const uint8_t *body, size_t size)
{
	struct budget budget = {.left = 2 * size + UNPACK_MAX};
	ProtobufCAllocator allocator = {
		.alloc = budget_alloc,
		.free = budget_free,
		.allocator_data = &budget,
	};

	return thaw__agent__guest_message__unpack(&allocator, size, body);
}

static void agent_take_log(struct thaw_agent *agent, const Thaw__Agent__Log *log)
{
	/* Sources that are none are the handler's. */
	Thaw__Agent__Log__Source source =
		log->source == THAW__AGENT__LOG__SOURCE__STDERR ||
				log->source == THAW__AGENT__LOG__SOURCE__AGENT
			? log->source
			: THAW__AGENT__LOG__SOURCE__STDOUT;

	if (agent->log)
		agent->log(agent->log_context, source, log->data.data, log->data.len, log->dropped);
}

/* `size` bytes more have come. A guest that talks without end must not outrun the deadline; but we
 * may have stood still ourselves (SIGSTOP, a suspended host), and the answer lies behind what came
 * then.
 * `*late` counts what came after it. */
static int agent_late(uint64_t deadline, size_t *late, size_t size, struct thaw_error *err)
{
	*late += thaw_deadline_left(deadline) == 0 ? size : 0;
	if (*late <= LATE_MAX)
		return 0;
	return thaw_error_set(err, ETIMEDOUT, "the agent did not answer in time");
}

/* The next message that is not a log line. */
static int agent_next(struct thaw_agent *agent, uint64_t deadline, size_t *late,
		      Thaw__Agent__GuestMessage **message, struct thaw_error *err)
{
	for (;;) {
		const uint8_t *body;
		size_t size;

		int rc = thaw_frame_next(&agent->reader, &body, &size);
		if (rc < 0)
			return thaw_error_set(err, EPROTO, "the agent sent an oversized frame");
		if (rc > 0) {
			Thaw__Agent__GuestMessage *got = agent_unpack(body, size);
			if (!got)
				return thaw_error_set(err, EPROTO,
						      "the agent sent a malformed message");
			if (got->body_case != THAW__AGENT__GUEST_MESSAGE__BODY_LOG) {
				*message = got;
				return 0;
			}
			agent_take_log(agent, got->log);
			thaw__agent__guest_message__free_unpacked(got, NULL);
			continue;
		}
		/* What has not been asked yet is not answered: no need to look. */
		rc = agent->out_done < agent->out_size ? agent_poll(agent, deadline, err) : 0;
		if (rc < 0)
			return rc;
		ssize_t n = thaw_frame_fill(&agent->reader, agent->fd);
		if (n == -EAGAIN || n > 0) {
			rc = n > 0 ? agent_late(deadline, late, (size_t)n, err)
				   : agent_poll(agent, deadline, err);
			if (rc < 0)
				return rc;
		} else if (n == -EMSGSIZE) {
			return thaw_error_set(err, EPROTO, "the agent sent an oversized frame");
		} else if (n <= 0) {
			return agent_end(agent, (int)-n, err);
		}
	}
}

static int agent_response_add(struct thaw_agent *agent, const uint8_t *data, size_t size,
			      struct thaw_error *err)
{
	if (size > THAW_PAYLOAD_MAX - agent->response_size)
		return thaw_error_set(err, EPROTO, "the agent sent more than %u bytes of response",
				      THAW_PAYLOAD_MAX);
	if (agent->response_space - agent->response_size < size) {
		size_t space = agent->response_space * 2;
		if (space < agent->response_size + size)
			space = agent->response_size + size;
		uint8_t *response = realloc(agent->response, space);
		if (!response)
			return thaw_error_errno(err, ENOMEM, "receiving a response");
		agent->response = response;
		agent->response_space = space;
	}
	if (size)
		memcpy(agent->response + agent->response_size, data, size);
	agent->response_size += size;
	return 0;
}

int thaw_agent_receive(struct thaw_agent *agent, uint32_t seq,
		       Thaw__Agent__GuestMessage__BodyCase want, uint64_t deadline,
		       Thaw__Agent__GuestMessage **message, struct thaw_error *err)
{
	Thaw__Agent__GuestMessage *got = NULL;
	size_t late = 0;

	if (agent->asked_count == 0 || agent->asked[0].seq != seq)
		return thaw_error_set(err, EINVAL, "the agent was not asked that");
	bool invoke = agent->asked[0].invoke;
	if (invoke)
		agent->response_size = 0;
	int rc = thaw_agent_wait_greeting(agent, deadline, err);
	while (rc == 0) {
		rc = agent_next(agent, deadline, &late, &got, err);
		if (rc < 0)
			break;
		if (got->seq != seq) {
			rc = thaw_error_set(err, EPROTO, "the agent answered request %u, not %u",
					    got->seq, seq);
			break;
		}
		if (!invoke || got->body_case != THAW__AGENT__GUEST_MESSAGE__BODY_CHUNK)
			break;
		rc = agent_response_add(agent, got->chunk->data.data, got->chunk->data.len, err);
		/* A chunk of nothing would be a way to keep us busy. */
		if (rc == 0 && got->chunk->data.len == 0)
			rc = thaw_error_set(err, EPROTO, "the agent sent an empty chunk");
		if (rc == 0 && agent->part)
			agent->part(agent->part_context, got->chunk->data.data,
				    got->chunk->data.len);
		thaw__agent__guest_message__free_unpacked(got, NULL);
		got = NULL;
	}
	if (rc == 0) {
		agent->asked_count--;
		memmove(agent->asked, agent->asked + 1,
			agent->asked_count * sizeof(agent->asked[0]));
		if (got->body_case == THAW__AGENT__GUEST_MESSAGE__BODY_FAILURE)
			rc = thaw_error_set(err, EREMOTEIO, "the agent: %s",
					    got->failure->message ? got->failure->message
								  : "failed");
		else if (got->body_case != want)
			rc = thaw_error_set(err, EPROTO,
					    "the agent gave an answer of the wrong kind");
	}
	if (rc == 0 && message)
		*message = got;
	else if (got)
		thaw__agent__guest_message__free_unpacked(got, NULL);
	return rc;
}

int thaw_agent_receive_invoke(struct thaw_agent *agent, uint32_t seq, uint64_t deadline,
			      Thaw__Agent__GuestMessage **message, struct thaw_error *err)
{
	Thaw__Agent__GuestMessage *got = NULL;

	int rc = thaw_agent_receive(agent, seq, THAW__AGENT__GUEST_MESSAGE__BODY_INVOKE_DONE,
				    deadline, &got, err);
	if (rc < 0)
		return rc;
	/* What came of a response that then failed is no part of the error document. */
	if (got->invoke_done->outcome != THAW__AGENT__OUTCOME__OUTCOME_OK)
		agent->response_size = 0;
	rc = agent_response_add(agent, got->invoke_done->payload.data,
				got->invoke_done->payload.len, err);
	if (rc == 0 && got->invoke_done->outcome == THAW__AGENT__OUTCOME__OUTCOME_OK &&
	    got->invoke_done->response_size != agent->response_size)
		rc = thaw_error_set(
			err, EPROTO, "the agent sent %zu bytes of response and says they are %llu",
			agent->response_size, (unsigned long long)got->invoke_done->response_size);
	if (rc == 0 && message)
		*message = got;
	else
		thaw__agent__guest_message__free_unpacked(got, NULL);
	return rc;
}
