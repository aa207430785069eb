/* SPDX-License-Identifier: Apache-2.0 */
/* The client of thaw-vmm against peers that answer right, wrong, or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/timeouts.h"
#include "host/vmm_client.h"
#include "lib/error.h"
#include "lib/fd.h"

struct peer {
	struct thaw_vmm vmm;
	int socket; /* thaw-vmm's end */
};

static int setup(void **state)
{
	static struct peer peer;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(thaw_vmm_adopt(&peer.vmm, pair[0], 0, NULL), 0);
	peer.socket = pair[1];
	*state = &peer;
	return 0;
}

static int teardown(void **state)
{
	struct peer *peer = *state;

	thaw_cleanup_close(&peer->socket);
	thaw_vmm_close(&peer->vmm);
	return 0;
}

static void peer_send(struct peer *peer, const Thaw__Vmm__Reply *reply)
{
	uint8_t packet[4096];
	size_t size = thaw__vmm__reply__pack(reply, packet);

	assert_int_equal(send(peer->socket, packet, size, 0), (ssize_t)size);
}

static void peer_done(struct peer *peer, uint32_t id)
{
	Thaw__Vmm__Reply reply = THAW__VMM__REPLY__INIT;
	Thaw__Vmm__Done done = THAW__VMM__DONE__INIT;

	reply.id = id;
	reply.body_case = THAW__VMM__REPLY__BODY_DONE;
	reply.done = &done;
	peer_send(peer, &reply);
}

static void peer_mark(struct peer *peer, uint32_t value)
{
	Thaw__Vmm__Reply reply = THAW__VMM__REPLY__INIT;
	Thaw__Vmm__Mark mark = THAW__VMM__MARK__INIT;

	mark.value = value;
	mark.ns = 1234;
	reply.body_case = THAW__VMM__REPLY__BODY_MARK;
	reply.mark = &mark;
	peer_send(peer, &reply);
}

static uint32_t ping(struct peer *peer)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Ping body = THAW__VMM__PING__INIT;
	uint32_t id;

	request.body_case = THAW__VMM__REQUEST__BODY_PING;
	request.ping = &body;
	assert_int_equal(thaw_vmm_send(&peer->vmm, &request, NULL, 0, &id, NULL), 0);
	return id;
}

static int wait_done(struct peer *peer, uint32_t id, uint32_t ms, struct thaw_error *err)
{
	return thaw_vmm_receive(&peer->vmm, id, THAW__VMM__REPLY__BODY_DONE, thaw_deadline(ms),
				NULL, err);
}

static void test_request_carries_descriptors(void **state)
{
	struct peer *peer = *state;
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__VsockAttach attach = THAW__VMM__VSOCK_ATTACH__INIT;
	uint8_t packet[4096];
	int fds[THAW_FDS_MAX], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	size_t count;
	uint32_t id;

	attach.fd = 1;
	request.body_case = THAW__VMM__REQUEST__BODY_VSOCK_ATTACH;
	request.vsock_attach = &attach;
	assert_int_equal(thaw_vmm_send(&peer->vmm, &request, &null, 1, &id, NULL), 0);
	ssize_t n = thaw_recv_fds(peer->socket, packet, sizeof(packet), fds, &count);
	assert_true(n > 0);
	assert_int_equal(count, 1);
	Thaw__Vmm__Request *got = thaw__vmm__request__unpack(NULL, (size_t)n, packet);
	assert_non_null(got);
	assert_int_equal(got->id, id);
	assert_int_equal(got->vsock_attach->fd, 1);
	thaw__vmm__request__free_unpacked(got, NULL);
	close(fds[0]);
	close(null);
	peer_done(peer, id);
	assert_int_equal(wait_done(peer, id, 1000, NULL), 0);
}

static void test_answers_in_any_order(void **state)
{
	struct peer *peer = *state;
	uint32_t first = ping(peer), second = ping(peer);

	peer_done(peer, second);
	peer_mark(peer, 2);
	peer_done(peer, first);
	assert_int_equal(wait_done(peer, first, 1000, NULL), 0);
	assert_int_equal(wait_done(peer, second, 1000, NULL), 0);
	uint64_t at;
	assert_int_equal(thaw_vmm_wait_mark(&peer->vmm, 2, thaw_deadline(1000), &at, NULL), 0);
	assert_int_equal(at, 1234);
}

static void test_too_many_under_way(void **state)
{
	struct peer *peer = *state;
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Ping body = THAW__VMM__PING__INIT;
	uint32_t id;

	for (int i = 0; i < THAW_VMM_PENDING_MAX; i++)
		ping(peer);
	request.body_case = THAW__VMM__REQUEST__BODY_PING;
	request.ping = &body;
	assert_int_equal(thaw_vmm_send(&peer->vmm, &request, NULL, 0, &id, NULL), -EBUSY);
}

static void test_failure_becomes_error(void **state)
{
	struct peer *peer = *state;
	Thaw__Vmm__Reply reply = THAW__VMM__REPLY__INIT;
	Thaw__Vmm__Failure failure = THAW__VMM__FAILURE__INIT;
	struct thaw_error err = {0};

	reply.id = ping(peer);
	failure.code = ENOEXEC;
	failure.message = (char *)"not a \033[31mkernel";
	reply.body_case = THAW__VMM__REPLY__BODY_FAILURE;
	reply.failure = &failure;
	peer_send(peer, &reply);
	assert_int_equal(wait_done(peer, reply.id, 1000, &err), -ENOEXEC);
	assert_string_equal(err.message, "not a ?[31mkernel");
}

static void test_failure_cannot_feign_death(void **state)
{
	static const int codes[] = {EPIPE, ETIMEDOUT, ECANCELED, 0, -5, 100000};
	struct peer *peer = *state;

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		Thaw__Vmm__Reply reply = THAW__VMM__REPLY__INIT;
		Thaw__Vmm__Failure failure = THAW__VMM__FAILURE__INIT;
		reply.id = ping(peer);
		failure.code = codes[i];
		failure.message = (char *)"x";
		reply.body_case = THAW__VMM__REPLY__BODY_FAILURE;
		reply.failure = &failure;
		peer_send(peer, &reply);
		assert_int_equal(wait_done(peer, reply.id, 1000, NULL), -EIO);
	}
}

static void test_wrong_kind(void **state)
{
	struct peer *peer = *state;
	uint32_t id = ping(peer);

	peer_done(peer, id);
	assert_int_equal(thaw_vmm_receive(&peer->vmm, id, THAW__VMM__REPLY__BODY_CREATE,
					  thaw_deadline(1000), NULL, NULL),
			 -EPROTO);
}

static void test_unasked_answer(void **state)
{
	struct peer *peer = *state;
	uint32_t id = ping(peer);

	peer_done(peer, id + 7);
	assert_int_equal(wait_done(peer, id, 1000, NULL), -EPROTO);
}

static void test_answer_twice(void **state)
{
	struct peer *peer = *state;
	uint32_t id = ping(peer);

	peer_done(peer, id);
	peer_done(peer, id);
	assert_int_equal(wait_done(peer, id, 1000, NULL), 0);
	assert_int_equal(thaw_vmm_pump(&peer->vmm, NULL), -EPROTO);
}

static void test_old_answer(void **state)
{
	struct peer *peer = *state;
	uint32_t id = ping(peer);

	peer_done(peer, id);
	assert_int_equal(wait_done(peer, id, 1000, NULL), 0);
	id = ping(peer);
	peer_done(peer, id - 1);
	assert_int_equal(wait_done(peer, id, 1000, NULL), -EPROTO);
}

static void test_garbage_and_oversize(void **state)
{
	static uint8_t big[THAW_VMM_PACKET_MAX + 1];
	struct peer *peer = *state;
	uint32_t id = ping(peer);

	assert_int_equal(send(peer->socket, "\xff\xff\xff\xff", 4, 0), 4);
	assert_int_equal(wait_done(peer, id, 1000, NULL), -EPROTO);
	assert_int_equal(send(peer->socket, big, sizeof(big), 0), (ssize_t)sizeof(big));
	assert_int_equal(wait_done(peer, id, 1000, NULL), -EPROTO);
}

static void test_descriptors_are_dropped(void **state)
{
	struct peer *peer = *state;
	Thaw__Vmm__Reply reply = THAW__VMM__REPLY__INIT;
	Thaw__Vmm__Done done = THAW__VMM__DONE__INIT;
	uint8_t packet[64];
	struct stat st;

	reply.id = ping(peer);
	reply.body_case = THAW__VMM__REPLY__BODY_DONE;
	reply.done = &done;
	size_t size = thaw__vmm__reply__pack(&reply, packet);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(thaw_send_fds(peer->socket, packet, size, &null, 1), 0);
	assert_int_equal(wait_done(peer, reply.id, 1000, NULL), 0);
	assert_int_equal(fstat(null + 1, &st), -1);
	close(null);
}

static void test_silence(void **state)
{
	struct peer *peer = *state;
	uint32_t id = ping(peer);

	assert_int_equal(wait_done(peer, id, 20, NULL), -ETIMEDOUT);
	assert_int_equal(thaw_vmm_wait_mark(&peer->vmm, 1, thaw_deadline(20), NULL, NULL),
			 -ETIMEDOUT);
}

static void test_end_of_socket(void **state)
{
	struct peer *peer = *state;
	uint32_t id = ping(peer);

	close(peer->socket);
	peer->socket = -1;
	assert_int_equal(wait_done(peer, id, 1000, NULL), -EPIPE);
}

static void test_stopped(void **state)
{
	struct peer *peer = *state;
	Thaw__Vmm__Reply reply = THAW__VMM__REPLY__INIT;
	Thaw__Vmm__Stopped stopped = THAW__VMM__STOPPED__INIT;
	struct thaw_error err = {0};

	stopped.reason = THAW__VMM__STOPPED__REASON__KVM_ERROR;
	stopped.message = (char *)"KVM cannot emulate 0f ae";
	reply.body_case = THAW__VMM__REPLY__BODY_STOPPED;
	reply.stopped = &stopped;
	peer_send(peer, &reply);
	assert_int_equal(thaw_vmm_wait_mark(&peer->vmm, 2, thaw_deadline(1000), NULL, &err),
			 -ECANCELED);
	assert_string_equal(err.message, "the microVM stopped: KVM cannot emulate 0f ae");
}

static void test_spawn_of_nothing(void **state)
{
	struct thaw_vmm vmm;
	struct thaw_error err = {0};

	(void)state;
	assert_int_equal(thaw_vmm_spawn(&vmm, "/nonexistent/thaw-vmm", &err), -ENOENT);
	assert_non_null(strstr(err.message, "/nonexistent/thaw-vmm"));
	thaw_vmm_close(&vmm);
}

/* Programs of the host stand for thaw-vmm: they end, or are killed. */
static void test_spawn_and_death(void **state)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Ping body = THAW__VMM__PING__INIT;
	struct thaw_error err = {0};
	struct thaw_vmm vmm;

	(void)state;
	request.body_case = THAW__VMM__REQUEST__BODY_PING;
	request.ping = &body;
	assert_int_equal(thaw_vmm_spawn(&vmm, "/bin/false", &err), 0);
	assert_int_equal(thaw_vmm_call(&vmm, &request, NULL, 0, THAW__VMM__REPLY__BODY_DONE, 5000,
				       NULL, &err),
			 -EPIPE);
	assert_string_equal(err.message, "the microVM died: thaw-vmm exited with status 1");
	thaw_vmm_close(&vmm);
	thaw_vmm_close(&vmm);
}

static void test_spawn_and_signal(void **state)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Ping body = THAW__VMM__PING__INIT;
	struct thaw_error err = {0};
	struct thaw_vmm vmm;
	uint32_t id;

	(void)state;
	request.body_case = THAW__VMM__REQUEST__BODY_PING;
	request.ping = &body;
	/* With no arguments, yes(1) writes to /dev/null until it is killed. */
	thaw_vmm_jail(&(struct thaw_jail){.when = THAW_JAIL_NEVER});
	assert_int_equal(thaw_vmm_spawn(&vmm, "/usr/bin/yes", &err), 0);
	assert_int_equal(thaw_vmm_send(&vmm, &request, NULL, 0, &id, &err), 0);
	kill(vmm.pid, SIGKILL);
	assert_int_equal(thaw_vmm_receive(&vmm, id, THAW__VMM__REPLY__BODY_DONE,
					  thaw_deadline(5000), NULL, &err),
			 -EPIPE);
	assert_string_equal(err.message, "the microVM died: signal 9 (Killed)");
	thaw_vmm_close(&vmm);
	thaw_vmm_jail(&(struct thaw_jail){.when = THAW_JAIL_WHERE_POSSIBLE});
}

/* Each has the lowest user that is free; what is gone gives its own back. */
static void test_users(void **state)
{
	const struct thaw_jail jail = {.first_user = 1000000};
	struct thaw_vmm vmm[3];

	(void)state;
	if (!thaw_vmm_jails())
		skip();
	thaw_vmm_jail(&jail);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(thaw_vmm_spawn(&vmm[i], "/bin/false", NULL), 0);
		assert_int_equal(vmm[i].user, 1000000 + i);
	}
	thaw_vmm_close(&vmm[1]);
	thaw_vmm_close(&vmm[0]);
	assert_int_equal(thaw_vmm_spawn(&vmm[0], "/bin/false", NULL), 0);
	assert_int_equal(vmm[0].user, 1000000);
	assert_int_equal(thaw_vmm_spawn(&vmm[1], "/nonexistent", NULL), -ENOENT);
	assert_int_equal(thaw_vmm_spawn(&vmm[1], "/bin/false", NULL), 0);
	assert_int_equal(vmm[1].user, 1000001);
	for (unsigned int i = 0; i < 3; i++)
		thaw_vmm_close(&vmm[i]);
	thaw_vmm_jail(&(struct thaw_jail){.when = THAW_JAIL_WHERE_POSSIBLE});
}

/* Where it is wanted, nothing is started without; in a process that has given up what it takes. */
static void test_no_jail_no_start(void **state)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
	int status;

	(void)state;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct thaw_vmm vmm;
		syscall(SYS_capset, &header, none);
		bool well = !thaw_vmm_jails() && thaw_vmm_spawn(&vmm, "/bin/false", NULL) == 0;
		thaw_vmm_close(&vmm);
		thaw_vmm_jail(&(struct thaw_jail){.when = THAW_JAIL_ALWAYS});
		_exit(well && thaw_vmm_spawn(&vmm, "/bin/false", NULL) == -EPERM ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_request_carries_descriptors),
		T(test_answers_in_any_order),
		T(test_too_many_under_way),
		T(test_failure_becomes_error),
		T(test_failure_cannot_feign_death),
		T(test_wrong_kind),
		T(test_unasked_answer),
		T(test_answer_twice),
		T(test_old_answer),
		T(test_garbage_and_oversize),
		T(test_descriptors_are_dropped),
		T(test_silence),
		T(test_end_of_socket),
		T(test_stopped),
		cmocka_unit_test(test_spawn_of_nothing),
		cmocka_unit_test(test_spawn_and_death),
		cmocka_unit_test(test_spawn_and_signal),
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_no_jail_no_start),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
