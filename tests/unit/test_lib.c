/* SPDX-License-Identifier: Apache-2.0 */
/* lib/: errors, frames, descriptors over a socket. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "lib/frame.h"

static void error_is_told_from_the_inside_out(void **state)
{
	struct thaw_error err = {0};

	(void)state;
	assert_int_equal(thaw_error_set(&err, EBADMSG, "frame %d", 3), -EBADMSG);
	assert_int_equal(thaw_error_wrap(&err, "reading \"%s\"", "web"), -EBADMSG);
	assert_string_equal(err.message, "reading \"web\": frame 3");
	assert_int_equal(thaw_error_errno(&err, ENOENT, "opening"), -ENOENT);
	assert_string_equal(err.message, "opening: No such file or directory");
	assert_int_equal(thaw_error_set(NULL, EPERM, "nobody asks"), -EPERM);
	/* A code that would read as success is one of failure. */
	assert_int_equal(thaw_error_set(&err, 0, "x"), -EIO);
}

static void error_cannot_drive_a_terminal(void **state)
{
	struct thaw_error err;

	(void)state;
	thaw_error_set(&err, EINVAL, "name %s", "\033[2J\nroot# ");
	assert_string_equal(err.message, "name ?[2J?root# ");
}

static void long_errors_are_cut(void **state)
{
	struct thaw_error err;
	char text[2 * THAW_ERROR_MAX];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	thaw_error_set(&err, EINVAL, "%s", text);
	thaw_error_wrap(&err, "%s", text);
	assert_int_equal(strlen(err.message), THAW_ERROR_MAX - 1);
}

static void frames_come_whole_from_pieces(void **state)
{
	struct thaw_frame_reader reader = {0};
	uint8_t wire[THAW_FRAME_HEADER + 70000],
		first[THAW_FRAME_HEADER + 3] = {3, 0, 0, 0, 'a', 'b', 'c'};
	const uint8_t *body;
	size_t size;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	thaw_frame_header(wire, sizeof(wire) - THAW_FRAME_HEADER);
	memset(wire + THAW_FRAME_HEADER, 'z', sizeof(wire) - THAW_FRAME_HEADER);
	assert_int_equal(thaw_write_full(pair[0], first, sizeof(first)), 0);
	assert_int_equal(thaw_write_full(pair[0], wire, 1000), 0);
	assert_true(thaw_frame_fill(&reader, pair[1]) > 0);
	assert_int_equal(thaw_frame_next(&reader, &body, &size), 1);
	assert_int_equal(size, 3);
	assert_memory_equal(body, "abc", 3);
	assert_int_equal(thaw_frame_next(&reader, &body, &size), 0);
	for (size_t at = 1000; at < sizeof(wire); at += 500) {
		size_t part = sizeof(wire) - at < 500 ? sizeof(wire) - at : 500;
		assert_int_equal(thaw_frame_next(&reader, &body, &size), 0);
		assert_int_equal(thaw_write_full(pair[0], wire + at, part), 0);
		assert_int_equal(thaw_frame_fill(&reader, pair[1]), part);
	}
	assert_int_equal(thaw_frame_next(&reader, &body, &size), 1);
	assert_int_equal(size, sizeof(wire) - THAW_FRAME_HEADER);
	assert_memory_equal(body, wire + THAW_FRAME_HEADER, size);
	close(pair[0]);
	assert_int_equal(thaw_frame_fill(&reader, pair[1]), 0);
	close(pair[1]);
	thaw_frame_reader_clear(&reader);
}

static void frames_longer_than_allowed_are_refused(void **state)
{
	static const uint8_t wire[] = {1, 0, 16, 0, 0};
	struct thaw_frame_reader reader = {0};
	const uint8_t *body;
	size_t size;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(thaw_write_full(pair[0], wire, sizeof(wire)), 0);
	assert_int_equal(thaw_frame_fill(&reader, pair[1]), sizeof(wire));
	assert_int_equal(thaw_frame_next(&reader, &body, &size), -EMSGSIZE);
	assert_int_equal(thaw_frame_fill(&reader, pair[1]), -EMSGSIZE);
	close(pair[0]);
	close(pair[1]);
	thaw_frame_reader_clear(&reader);
}

static void descriptors_are_counted_from_one_and_taken_once(void **state)
{
	struct thaw_fds fds = {.count = 0};
	struct thaw_error err;
	int pair[2], pipes[2];
	char byte;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(thaw_send_fds(pair[0], "m", 1, pipes, 2), 0);
	assert_int_equal(thaw_recv_fds(pair[1], &byte, 1, fds.fd, &fds.count), 1);
	assert_int_equal(fds.count, 2);
	assert_int_equal(thaw_fds_take(&fds, 0, "kernel", &err), -EBADF);
	assert_string_equal(err.message, "kernel: no descriptor came with the message");
	assert_int_equal(thaw_fds_take(&fds, 3, "kernel", &err), -EBADF);
	int fd = thaw_fds_take(&fds, 2, "kernel", &err);
	assert_true(fd >= 0);
	assert_int_equal(thaw_fds_take(&fds, 2, "kernel", &err), -EBADF);
	assert_int_equal(thaw_write_full(fd, "x", 1), 0);
	assert_int_equal(thaw_read_full(pipes[0], &byte, 1), 0);
	assert_int_equal(byte, 'x');
	thaw_fds_close(&fds);
	/* A packet that is longer than its reader leaves no descriptor behind. */
	int before = dup(pair[0]);
	close(before);
	assert_int_equal(thaw_send_fds(pair[0], "long", 4, pipes, 2), 0);
	assert_int_equal(thaw_recv_fds(pair[1], &byte, 1, fds.fd, &fds.count), -EMSGSIZE);
	int after = dup(pair[0]);
	assert_int_equal(before, after);
	close(after);
	close(fd);
	close(pipes[0]);
	close(pipes[1]);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(error_is_told_from_the_inside_out),
		cmocka_unit_test(error_cannot_drive_a_terminal),
		cmocka_unit_test(long_errors_are_cut),
		cmocka_unit_test(frames_come_whole_from_pieces),
		cmocka_unit_test(frames_longer_than_allowed_are_refused),
		cmocka_unit_test(descriptors_are_counted_from_one_and_taken_once),
	};

	return cmocka_run_group_tests_name("lib", tests, NULL, NULL);
}
