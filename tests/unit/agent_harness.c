/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/agent_harness.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/session.h"
#include "lib/error.h"
#include "lib/fd.h"

#define WAIT_MS  20000
#define PART_MAX (256u * 1024)

/* The agent's half. New connections come over `control`, as a vsock listener would give them. */
static struct thaw_loop loop;
static struct thaw_session session;
static struct thaw_watch control_watch = {.fd = -1};

static void control_ready(struct thaw_watch *watch, uint32_t events)
{
	int fds[THAW_FDS_MAX];
	size_t count;
	char byte;

	(void)events;
	ssize_t n = thaw_recv_fds(watch->fd, &byte, 1, fds, &count);
	if (n <= 0) {
		loop.stopped = true;
		return;
	}
	if (count == 1) {
		fcntl(fds[0], F_SETFL, O_NONBLOCK);
		thaw_session_attach(&session, fds[0]);
	}
}

static void agent_main(int control, const struct agent_harness *harness,
		       const struct agent_options *options)
{
	struct thaw_session_config config = {
		.place =
			{
				.root = "/",
				.task = harness->dir,
				.opt = options->opt ? options->opt : "/nonexistent/opt",
				.runtime_dir = options->runtime_dir ? options->runtime_dir
								    : "/nonexistent",
				.confined = options->confined,
			},
		.cgroup_dir = harness->cgroup[0] ? harness->cgroup : NULL,
	};
	struct thaw_error err = {0};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGPIPE, SIG_IGN);
	control_watch.ready = control_ready;
	if (thaw_loop_open(&loop, &err) < 0 ||
	    thaw_session_open(&session, &loop, &config, &err) < 0 ||
	    thaw_loop_add(&loop, &control_watch, control, EPOLLIN) < 0) {
		fprintf(stderr, "agent: %s\n", err.message);
		_exit(1);
	}
	while (!loop.stopped && thaw_loop_step(&loop, -1) == 0)
		thaw_session_pump(&session);
	thaw_session_close(&session);
	thaw_loop_close(&loop);
	exit(0);
}

bool agent_harness_has_cgroup(void)
{
	return geteuid() == 0 && (access("/sys/fs/cgroup/unified/cgroup.procs", W_OK) == 0 ||
				  access("/sys/fs/cgroup/cgroup.controllers", W_OK) == 0);
}

void agent_harness_reconnect(struct agent_harness *harness)
{
	int ends[2];
	char byte = 'c';

	if (harness->socket >= 0)
		close(harness->socket);
	thaw_frame_reader_clear(&harness->reader);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(thaw_send_fds(harness->control, &byte, 1, &ends[1], 1), 0);
	close(ends[1]);
	harness->socket = ends[0];
}

void agent_harness_start(struct agent_harness *harness, const struct agent_options *options)
{
	int control[2];

	memset(harness, 0, sizeof(*harness));
	harness->socket = -1;
	strcpy(harness->dir, "/tmp/thaw-task-XXXXXX");
	assert_non_null(mkdtemp(harness->dir));
	chmod(harness->dir, 0755);
	if (options->cgroup)
		snprintf(harness->cgroup, sizeof(harness->cgroup), "%s/thaw-test-%d",
			 access("/sys/fs/cgroup/unified", F_OK) == 0 ? "/sys/fs/cgroup/unified"
								     : "/sys/fs/cgroup",
			 getpid());
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
	fflush(NULL);
	harness->agent = fork();
	assert_true(harness->agent >= 0);
	if (harness->agent == 0) {
		close(control[0]);
		agent_main(control[1], harness, options);
	}
	close(control[1]);
	harness->control = control[0];
	agent_harness_reconnect(harness);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

void agent_harness_stop(struct agent_harness *harness)
{
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__Shutdown shutdown_body = THAW__AGENT__SHUTDOWN__INIT;
	int status = 0;
	int tries;

	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_SHUTDOWN;
	message.shutdown = &shutdown_body;
	agent_harness_send(harness, &message);
	for (tries = 0; tries < 500; tries++) {
		if (waitpid(harness->agent, &status, WNOHANG) == harness->agent)
			break;
		usleep(10000);
	}
	if (tries == 500) {
		kill(harness->agent, SIGKILL);
		waitpid(harness->agent, &status, 0);
	}
	close(harness->socket);
	close(harness->control);
	thaw_frame_reader_clear(&harness->reader);
	for (int i = 0; i < 2; i++)
		thaw_buffer_clear(&harness->logs[i]);
	nftw(harness->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	for (int i = 0; harness->cgroup[0] && i < 100 && rmdir(harness->cgroup) < 0; i++)
		usleep(10000);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

void agent_harness_write(struct agent_harness *harness, const char *name, const char *text,
			 unsigned int mode)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", harness->dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	assert_true(fd >= 0);
	assert_int_equal(thaw_write_full(fd, text, strlen(text)), 0);
	fchmod(fd, mode);
	close(fd);
}

/* Poll and write: an agent that does not read must fail the test, not hang it. */
static void send_all(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		struct pollfd wait = {.fd = fd, .events = POLLOUT};
		assert_int_equal(poll(&wait, 1, WAIT_MS), 1);
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			continue;
		if (n < 0)
			return;
		data += n;
		size -= (size_t)n;
	}
}

static void send_message(struct agent_harness *harness, const Thaw__Agent__HostMessage *message)
{
	size_t size = thaw__agent__host_message__get_packed_size(message);
	uint8_t *bytes = malloc(THAW_FRAME_HEADER + size);

	assert_non_null(bytes);
	thaw_frame_header(bytes, (uint32_t)size);
	thaw__agent__host_message__pack(message, bytes + THAW_FRAME_HEADER);
	send_all(harness->socket, bytes, THAW_FRAME_HEADER + size);
	free(bytes);
}

uint32_t agent_harness_send(struct agent_harness *harness, Thaw__Agent__HostMessage *message)
{
	message->seq = ++harness->seq;
	send_message(harness, message);
	return message->seq;
}

Thaw__Agent__GuestMessage *agent_harness_next(struct agent_harness *harness)
{
	const uint8_t *body;
	size_t size;
	int rc;

	while ((rc = thaw_frame_next(&harness->reader, &body, &size)) == 0) {
		struct pollfd wait = {.fd = harness->socket, .events = POLLIN};
		assert_int_equal(poll(&wait, 1, WAIT_MS), 1);
		ssize_t n = thaw_frame_fill(&harness->reader, harness->socket);
		if (n <= 0)
			return NULL;
	}
	assert_int_equal(rc, 1);
	Thaw__Agent__GuestMessage *message = thaw__agent__guest_message__unpack(NULL, size, body);
	assert_non_null(message);
	return message;
}

Thaw__Agent__GuestMessage *agent_harness_wait(struct agent_harness *harness, uint32_t seq,
					      struct thaw_buffer *chunks)
{
	for (;;) {
		Thaw__Agent__GuestMessage *message = agent_harness_next(harness);
		assert_non_null(message);
		if (message->body_case == THAW__AGENT__GUEST_MESSAGE__BODY_LOG) {
			Thaw__Agent__Log *log = message->log;
			assert_int_equal(message->seq, 0);
			assert_true(log->source <= 1);
			harness->dropped += log->dropped;
			thaw_buffer_append(&harness->logs[log->source], log->data.data,
					   log->data.len);
		} else {
			assert_int_equal(message->seq, seq);
			if (message->body_case != THAW__AGENT__GUEST_MESSAGE__BODY_CHUNK)
				return message;
			assert_non_null(chunks);
			assert_true(message->chunk->data.len <= 512 * 1024);
			thaw_buffer_append(chunks, message->chunk->data.data,
					   message->chunk->data.len);
		}
		thaw__agent__guest_message__free_unpacked(message, NULL);
	}
}

void agent_harness_configure(struct agent_harness *harness, const char *handler,
			     const char *initialization_type)
{
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__Configure configure = THAW__AGENT__CONFIGURE__INIT;
	Thaw__Agent__Function function = THAW__AGENT__FUNCTION__INIT;
	Thaw__Agent__Variable variable = THAW__AGENT__VARIABLE__INIT;
	Thaw__Agent__Variable temporary = THAW__AGENT__VARIABLE__INIT;
	Thaw__Agent__Variable *variables[] = {&variable, &temporary};

	variable.name = "COLOUR";
	variable.value = "deep blue=1";
	function.name = "web";
	function.version = "$LATEST";
	function.arn = "arn:aws:lambda:eu-west-1:123456789012:function:web";
	function.handler = (char *)handler;
	function.memory_mib = 128;
	function.region = "eu-west-1";
	function.log_group = "/aws/lambda/web";
	function.log_stream = "2026/01/31/[$LATEST]0123";
	function.execution_env = "AWS_Lambda_python3.11";
	function.initialization_type = (char *)initialization_type;
	/* What a runtime leaves behind goes with the task root. */
	temporary.name = "TMPDIR";
	temporary.value = harness->dir;
	function.n_environment = 2;
	function.environment = variables;
	configure.function = &function;
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_CONFIGURE;
	message.configure = &configure;
	Thaw__Agent__GuestMessage *answer =
		agent_harness_wait(harness, agent_harness_send(harness, &message), NULL);
	if (answer->body_case == THAW__AGENT__GUEST_MESSAGE__BODY_FAILURE)
		print_error("configure: %s\n", answer->failure->message);
	assert_int_equal(answer->body_case, THAW__AGENT__GUEST_MESSAGE__BODY_CONFIGURED);
	thaw__agent__guest_message__free_unpacked(answer, NULL);
}

Thaw__Agent__GuestMessage *agent_harness_init(struct agent_harness *harness, uint32_t timeout_ms)
{
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__Init init = THAW__AGENT__INIT__INIT;

	init.timeout_ms = timeout_ms;
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_INIT;
	message.init = &init;
	Thaw__Agent__GuestMessage *answer =
		agent_harness_wait(harness, agent_harness_send(harness, &message), NULL);
	assert_int_equal(answer->body_case, THAW__AGENT__GUEST_MESSAGE__BODY_INIT_DONE);
	return answer;
}

void agent_harness_invoke(struct agent_harness *harness, const char *request_id, const void *event,
			  size_t size, uint32_t timeout_ms, struct agent_result *result)
{
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__Invoke invoke = THAW__AGENT__INVOKE__INIT;
	size_t first = size < PART_MAX ? size : PART_MAX;

	memset(result, 0, sizeof(*result));
	invoke.request_id = (char *)request_id;
	invoke.function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:web";
	invoke.trace_id = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1";
	invoke.timeout_ms = timeout_ms;
	invoke.payload_size = size;
	invoke.payload.data = (uint8_t *)event;
	invoke.payload.len = first;
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_INVOKE;
	message.invoke = &invoke;
	uint32_t seq = agent_harness_send(harness, &message);
	for (size_t at = first; at < size;) {
		Thaw__Agent__HostMessage part = THAW__AGENT__HOST_MESSAGE__INIT;
		Thaw__Agent__Chunk chunk = THAW__AGENT__CHUNK__INIT;
		chunk.data.data = (uint8_t *)event + at;
		chunk.data.len = size - at < PART_MAX ? size - at : PART_MAX;
		part.seq = seq;
		part.body_case = THAW__AGENT__HOST_MESSAGE__BODY_CHUNK;
		part.chunk = &chunk;
		send_message(harness, &part);
		at += chunk.data.len;
	}
	result->message = agent_harness_wait(harness, seq, &result->payload);
	if (result->message->body_case == THAW__AGENT__GUEST_MESSAGE__BODY_FAILURE)
		print_error("invoke: %s\n", result->message->failure->message);
	assert_int_equal(result->message->body_case, THAW__AGENT__GUEST_MESSAGE__BODY_INVOKE_DONE);
	result->done = result->message->invoke_done;
	/* Chunks before an error are void. */
	if (result->done->outcome != THAW__AGENT__OUTCOME__OUTCOME_OK)
		thaw_buffer_consume(&result->payload, thaw_buffer_size(&result->payload));
	thaw_buffer_append(&result->payload, result->done->payload.data, result->done->payload.len);
	if (result->done->outcome == THAW__AGENT__OUTCOME__OUTCOME_OK)
		assert_int_equal(thaw_buffer_size(&result->payload), result->done->response_size);
}

static const char *terminated(struct thaw_buffer *buffer)
{
	uint8_t *end = thaw_buffer_reserve(buffer, 1);

	assert_non_null(end);
	*end = 0;
	return (const char *)thaw_buffer_bytes(buffer);
}

const char *agent_result_text(struct agent_result *result)
{
	return terminated(&result->payload);
}

void agent_result_clear(struct agent_result *result)
{
	thaw__agent__guest_message__free_unpacked(result->message, NULL);
	thaw_buffer_clear(&result->payload);
	memset(result, 0, sizeof(*result));
}

const char *agent_harness_log(struct agent_harness *harness, int source)
{
	return terminated(&harness->logs[source]);
}

void agent_harness_forget_logs(struct agent_harness *harness)
{
	for (int i = 0; i < 2; i++)
		thaw_buffer_consume(&harness->logs[i], thaw_buffer_size(&harness->logs[i]));
}

void agent_harness_init_ok(struct agent_harness *h, bool awaits_restore)
{
	Thaw__Agent__GuestMessage *answer = agent_harness_init(h, 10000);

	if (answer->init_done->outcome != THAW__AGENT__OUTCOME__OUTCOME_OK)
		print_error("init: %.*s\n%s", (int)answer->init_done->error_json.len,
			    (char *)answer->init_done->error_json.data, agent_harness_log(h, 1));
	assert_int_equal(answer->init_done->outcome, THAW__AGENT__OUTCOME__OUTCOME_OK);
	assert_int_equal(answer->init_done->awaits_restore, awaits_restore);
	thaw__agent__guest_message__free_unpacked(answer, NULL);
}

void agent_harness_expect(struct agent_harness *h, const char *event, const char *answer)
{
	struct agent_result result;

	agent_harness_invoke(h, AGENT_REQUEST_ID, event, strlen(event), 10000, &result);
	assert_string_equal(agent_result_text(&result), answer);
	agent_result_clear(&result);
}
