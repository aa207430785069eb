/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of drives by account: who shares a file, and for how long. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/private_copies.h"
#include "host/state.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"

#define ALICE "111122223333"
#define BOB   "444455556666"

struct fixture {
	char root[64];
	struct thaw_state state;
	struct thaw_private_copies *copies;
	int drive; /* with a hole */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[96];

	strcpy(f->root, "/tmp/thaw-test-copies-XXXXXX");
	assert_non_null(mkdtemp(f->root));
	snprintf(path, sizeof(path), "%s/state", f->root);
	assert_int_equal(thaw_state_open(&f->state, path, NULL), 0);
	f->copies = thaw_private_copies_new(&f->state, NULL);
	assert_non_null(f->copies);
	snprintf(path, sizeof(path), "%s/drive", f->root);
	f->drive = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(thaw_pwrite_full(f->drive, "first", 5, 0), 0);
	assert_int_equal(thaw_pwrite_full(f->drive, "last", 4, 1 << 20), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	thaw_private_copies_free(f->copies);
	close(f->drive);
	thaw_state_close(&f->state);
	assert_int_equal(thaw_remove_tree(AT_FDCWD, f->root), 0);
	free(f);
	return 0;
}

static ino_t inode(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

static int get(struct fixture *f, const char *account)
{
	int copy = -1;

	assert_int_equal(thaw_private_copies_get(f->copies, account, f->drive, &copy, NULL), 0);
	return copy;
}

static void test_whose(void **state)
{
	struct fixture *f = *state;
	cleanup_close int alice = get(f, ALICE), again = get(f, ALICE), bob = get(f, BOB);
	char text[6] = "";
	struct stat st;

	assert_int_equal(inode(alice), inode(again));
	assert_int_not_equal(inode(alice), inode(bob));
	assert_int_not_equal(inode(alice), inode(f->drive));
	assert_int_equal(fstat(bob, &st), 0);
	assert_int_equal(st.st_size, (1 << 20) + 4);
	assert_int_equal(thaw_pread_full(bob, text, 5, 0), 0);
	assert_string_equal(text, "first");
	assert_int_equal(pwrite(bob, "x", 1, 0), -1);
	assert_int_equal(errno, EBADF);
}

static void test_another_file(void **state)
{
	struct fixture *f = *state;
	cleanup_close int before = get(f, ALICE);
	char text[6] = "";

	/* The same inode, but not the same file. */
	usleep(20000);
	assert_int_equal(thaw_pwrite_full(f->drive, "other", 5, 0), 0);
	cleanup_close int after = get(f, ALICE);
	assert_int_not_equal(inode(before), inode(after));
	assert_int_equal(thaw_pread_full(after, text, 5, 0), 0);
	assert_string_equal(text, "other");
}

static void test_how_long(void **state)
{
	struct fixture *f = *state;
	const uint64_t keep_ns = UINT64_C(1000000000) * THAW_PRIVATE_COPY_KEEP_S;
	cleanup_close int copy = get(f, ALICE);

	thaw_private_copies_expire(f->copies, thaw_monotonic_ns() + keep_ns / 2);
	cleanup_close int kept = get(f, ALICE);
	assert_int_equal(inode(kept), inode(copy));
	thaw_private_copies_expire(f->copies, thaw_monotonic_ns() + keep_ns * 2);
	cleanup_close int fresh = get(f, ALICE);
	assert_int_not_equal(inode(fresh), inode(copy));
	/* Whoever has it open keeps it. */
	char text[6] = "";
	assert_int_equal(thaw_pread_full(copy, text, 5, 0), 0);
	assert_string_equal(text, "first");
}

static void test_not_a_file(void **state)
{
	struct fixture *f = *state;
	struct thaw_error err = {0};
	int copy = -1;

	assert_int_equal(thaw_private_copies_get(f->copies, ALICE, -1, &copy, &err), -EBADF);
	assert_int_equal(copy, -1);
	assert_int_not_equal(err.message[0], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whose, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_how_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_a_file, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
