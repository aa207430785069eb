/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory: what is half-made, what is published, code drives, copies with holes. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/archive.h"
#include "host/code.h"
#include "host/digest.h"
#include "host/host.h"
#include "host/kvm_kind.h"
#include "host/snapshot_store.h"
#include "host/state.h"
#include "host/tmp_drive.h"
#include "lib/error.h"
#include "lib/fd.h"

#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static char root[] = "/tmp/thaw-test-state-XXXXXX";

static int setup(void **state)
{
	static struct thaw_state opened;
	char path[128];

	strcpy(root, "/tmp/thaw-test-state-XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(path, sizeof(path), "%s/a/state", root);
	assert_int_equal(thaw_state_open(&opened, path, NULL), 0);
	assert_int_equal(thaw_state_open_key(&opened, true, NULL), 0);
	*state = &opened;
	return 0;
}

static int teardown(void **state)
{
	thaw_state_close(*state);
	assert_int_equal(thaw_remove_tree(AT_FDCWD, root), 0);
	return 0;
}

static void write_file(int dir, const char *name, const char *text)
{
	cleanup_close int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(thaw_write_full(fd, text, strlen(text)), 0);
}

static bool exists(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void test_publish(void **opaque)
{
	struct thaw_state *state = *opaque;
	struct thaw_workdir work, second;

	assert_int_equal(thaw_workdir_make(&work, state, NULL), 0);
	write_file(work.fd, "x", "one");
	assert_int_equal(thaw_workdir_publish(&work, state->snapshots, "n", 0, NULL), 0);
	assert_true(exists(state->snapshots, "n/x"));
	assert_int_equal(thaw_workdir_make(&second, state, NULL), 0);
	write_file(second.fd, "y", "two");
	assert_int_equal(thaw_workdir_publish(&second, state->snapshots, "n", 0, NULL), -EEXIST);
	assert_int_equal(thaw_workdir_publish(&second, state->snapshots, "n", 1, NULL), 0);
	assert_false(exists(state->snapshots, "n/x"));
	assert_true(exists(state->snapshots, "n/y"));
	thaw_workdir_drop(&second);
	assert_true(exists(state->snapshots, "n/y"));
}

/* A killed process's leftovers go; a living one's stay. */
static void test_sweep(void **opaque)
{
	struct thaw_state *state = *opaque;
	struct thaw_state again;
	struct thaw_workdir mine;
	char dead[32];
	int pipe_fds[2];

	assert_int_equal(thaw_workdir_make(&mine, state, NULL), 0);
	assert_int_equal(pipe(pipe_fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct thaw_workdir work;
		if (thaw_workdir_make(&work, state, NULL) < 0)
			_exit(1);
		write_file(work.fd, "half", "made");
		if (write(pipe_fds[1], work.name, sizeof(work.name)) < 0)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(pipe_fds[0], dead, sizeof(dead)), sizeof(dead));
	write_file(state->tmp, "stray", "file");
	assert_int_equal(thaw_state_open(&again, state->path, NULL), 0);
	thaw_state_close(&again);
	assert_true(exists(state->tmp, dead));
	assert_true(exists(state->tmp, mine.name));
	assert_false(exists(state->tmp, "stray"));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(thaw_state_open(&again, state->path, NULL), 0);
	thaw_state_close(&again);
	assert_false(exists(state->tmp, dead));
	assert_true(exists(state->tmp, mine.name));
	/* One that its maker could not remove, in this very process. */
	close(mine.fd);
	thaw_state_sweep(state);
	assert_false(exists(state->tmp, mine.name));
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void test_remove_tree_follows_no_link(void **opaque)
{
	struct thaw_state *state = *opaque;
	struct thaw_workdir work;

	write_file(state->root, "precious", "x");
	assert_int_equal(thaw_workdir_make(&work, state, NULL), 0);
	assert_int_equal(symlinkat("../../snapshots", work.fd, "link"), 0);
	assert_int_equal(symlinkat("../../precious", work.fd, "file"), 0);
	thaw_workdir_drop(&work);
	assert_true(exists(state->root, "precious"));
	assert_true(exists(state->root, "snapshots"));
}

static void test_copy_keeps_holes(void **opaque)
{
	struct thaw_state *state = *opaque;
	cleanup_close int from = openat(state->tmp, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	cleanup_close int to = -1;
	char text[5] = "";
	struct stat st;

	assert_int_equal(ftruncate(from, 64 << 20), 0);
	assert_int_equal(pwrite(from, "head", 4, 0), 4);
	assert_int_equal(pwrite(from, "tail", 4, 48 << 20), 4);
	assert_int_equal(thaw_tmp_drive_copy(state, from, &to, NULL), 0);
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, 64 << 20);
	assert_true(st.st_blocks * 512 < 1 << 20);
	assert_int_equal(pread(to, text, 4, 48 << 20), 4);
	assert_string_equal(text, "tail");
	assert_int_equal(st.st_nlink, 0);
}

static void test_digest(void **opaque)
{
	struct thaw_state *state = *opaque;
	char first[THAW_DIGEST_TEXT], second[THAW_DIGEST_TEXT];

	write_file(state->root, "f", "abc");
	cleanup_close int fd = openat(state->root, "f", O_RDONLY | O_CLOEXEC);
	assert_int_equal(thaw_digest_file_cached(state, fd, first, NULL), 0);
	/* FIPS 180-2, appendix B.1 */
	assert_string_equal(first, ABC);
	assert_int_equal(thaw_digest_file_cached(state, fd, second, NULL), 0);
	assert_string_equal(first, second);
	write_file(state->root, "f", "abcd");
	assert_int_equal(thaw_digest_file_cached(state, fd, second, NULL), 0);
	assert_string_not_equal(first, second);
}

static unsigned int count_names(int dir)
{
	DIR *stream = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	unsigned int count = 0;

	assert_non_null(stream);
	for (struct dirent *entry; (entry = readdir(stream));)
		count += entry->d_name[0] != '.';
	closedir(stream);
	return count;
}

/* One note a file, however often it changes; and it is used. */
static void test_digest_notes(void **opaque)
{
	struct thaw_state *state = *opaque;
	char text[THAW_DIGEST_TEXT], link[16], note[512], now[512], name[64];
	struct stat st;

	write_file(state->root, "f", "abc");
	cleanup_close int fd = openat(state->root, "f", O_RDONLY | O_CLOEXEC);
	for (int i = 0; i < 5; i++) {
		snprintf(link, sizeof(link), "f%d", i);
		assert_int_equal(linkat(state->root, "f", state->root, link, 0), 0);
		assert_int_equal(thaw_digest_file_cached(state, fd, text, NULL), 0);
		assert_int_equal(text[0], 'b');
	}
	assert_int_equal(count_names(state->digests), 1);
	assert_int_equal(thaw_digest_sparse_cached(state, fd, text, NULL), 0);
	assert_int_equal(count_names(state->digests), 2);
	/* A note that says otherwise is not believed, nor one of another file: it is made again. */
	assert_int_equal(fstat(fd, &st), 0);
	snprintf(name, sizeof(name), "%llx-%llx", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	ssize_t size = readlinkat(state->digests, name, note, sizeof(note) - 1);
	assert_true(size > 64);
	note[size] = 0;
	for (size_t at = 0; at < (size_t)size; at += 7) {
		note[at] ^= 1;
		assert_int_equal(unlinkat(state->digests, name, 0), 0);
		assert_int_equal(symlinkat(note, state->digests, name), 0);
		assert_int_equal(thaw_digest_file_cached(state, fd, text, NULL), 0);
		assert_string_equal(text, ABC);
		note[at] ^= 1;
		assert_int_equal(readlinkat(state->digests, name, now, sizeof(now) - 1), size);
		assert_memory_equal(now, note, size);
	}
	cleanup_free char *sparse = NULL;
	assert_true(asprintf(&sparse, "s-%s", name) > 0);
	assert_int_equal(unlinkat(state->digests, sparse, 0), 0);
	assert_int_equal(symlinkat(note, state->digests, sparse), 0);
	assert_int_equal(thaw_digest_sparse_cached(state, fd, text, NULL), 0);
	assert_string_not_equal(text, ABC);
}

/* Without a key nothing is noted; and a note is used at all: a file that is read through a
 * descriptor which cannot be read has one. */
static void test_digest_without_reading(void **opaque)
{
	struct thaw_state *state = *opaque;
	char text[THAW_DIGEST_TEXT];

	write_file(state->root, "f", "abc");
	cleanup_close int fd = openat(state->root, "f", O_RDONLY | O_CLOEXEC);
	cleanup_close int blind = openat(state->root, "f", O_WRONLY | O_CLOEXEC);
	struct thaw_keyring *key = state->key;
	state->key = NULL;
	assert_int_equal(thaw_digest_file_cached(state, fd, text, NULL), 0);
	assert_int_equal(count_names(state->digests), 0);
	state->key = key;
	assert_int_equal(thaw_digest_file_cached(state, blind, text, NULL), -EBADF);
	assert_int_equal(thaw_digest_file_cached(state, fd, text, NULL), 0);
	assert_int_equal(thaw_digest_file_cached(state, blind, text, NULL), 0);
	assert_string_equal(text, ABC);
	/* A change in the same step of time as the one before it shows too. */
	for (int i = 0; i < 50; i++) {
		const char *content = i % 2 ? "abc" : "abd";
		assert_int_equal(pwrite(blind, content, 3, 0), 3);
		assert_int_equal(thaw_digest_file_cached(state, fd, text, NULL), 0);
		assert_int_equal(strcmp(text, ABC) == 0, i % 2);
	}
}

/* Remembered for the device it was found on, and for no other. */
static void test_kvm_kind(void **opaque)
{
	struct thaw_host host = THAW_HOST_NONE;
	cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	cleanup_close int zero = open("/dev/zero", O_RDWR | O_CLOEXEC);

	host.state = *(struct thaw_state *)*opaque;
	host.kvm = null;
	assert_int_equal(thaw_kvm_kind_remembered(&host), THAW__VMM__KVM_KIND__KVM_KIND_UNKNOWN);
	thaw_kvm_kind_remember(&host, true);
	assert_int_equal(thaw_kvm_kind_remembered(&host), THAW__VMM__KVM_KIND__KVM_KIND_SOFTWARE);
	thaw_kvm_kind_remember(&host, false);
	assert_int_equal(thaw_kvm_kind_remembered(&host), THAW__VMM__KVM_KIND__KVM_KIND_HARDWARE);
	host.kvm = zero;
	assert_int_equal(thaw_kvm_kind_remembered(&host), THAW__VMM__KVM_KIND__KVM_KIND_UNKNOWN);
	/* What somebody else has put there. */
	assert_int_equal(unlinkat(host.state.root, "kvm", 0), 0);
	assert_int_equal(symlinkat("hardware", host.state.root, "kvm"), 0);
	assert_int_equal(thaw_kvm_kind_remembered(&host), THAW__VMM__KVM_KIND__KVM_KIND_UNKNOWN);
	assert_int_equal(unlinkat(host.state.root, "kvm", 0), 0);
	write_file(host.state.root, "kvm", "x");
	assert_int_equal(thaw_kvm_kind_remembered(&host), THAW__VMM__KVM_KIND__KVM_KIND_UNKNOWN);
}

/* Data and holes of one content are one digest, wherever the holes are. */
static void test_digest_sparse(void **opaque)
{
	struct thaw_state *state = *opaque;
	char holes[THAW_DIGEST_TEXT], zeros[THAW_DIGEST_TEXT], other[THAW_DIGEST_TEXT];
	cleanup_free char *page = calloc(1, 4096);
	const off_t size = (1 << 20) + 100;

	cleanup_close int fd = openat(state->root, "s", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(thaw_pwrite_full(fd, "x", 1, 500001), 0);
	assert_int_equal(thaw_pwrite_full(fd, "y", 1, size - 1), 0);
	assert_int_equal(thaw_digest_sparse(fd, holes, NULL), 0);
	for (off_t at = 0; at < 400000; at += 4096)
		assert_int_equal(thaw_pwrite_full(fd, page, 4096, at), 0);
	assert_int_equal(thaw_digest_sparse(fd, zeros, NULL), 0);
	assert_string_equal(holes, zeros);
	assert_int_equal(thaw_digest_sparse_cached(state, fd, other, NULL), 0);
	assert_string_equal(holes, other);
	assert_int_equal(thaw_digest_file_cached(state, fd, other, NULL), 0);
	assert_string_not_equal(holes, other);

	/* The same byte elsewhere, another byte, another size. */
	assert_int_equal(thaw_pwrite_full(fd, "z", 1, 500001), 0);
	assert_int_equal(thaw_digest_sparse(fd, other, NULL), 0);
	assert_string_not_equal(holes, other);
	assert_int_equal(thaw_pwrite_full(fd, "", 1, 500001), 0);
	assert_int_equal(thaw_pwrite_full(fd, "x", 1, 600001), 0);
	assert_int_equal(thaw_digest_sparse(fd, other, NULL), 0);
	assert_string_not_equal(holes, other);
	assert_int_equal(thaw_pwrite_full(fd, "", 1, 600001), 0);
	assert_int_equal(thaw_pwrite_full(fd, "x", 1, 500001), 0);
	assert_int_equal(thaw_digest_sparse(fd, other, NULL), 0);
	assert_string_equal(holes, other);
	assert_int_equal(ftruncate(fd, size + 4096), 0);
	assert_int_equal(thaw_digest_sparse(fd, other, NULL), 0);
	assert_string_not_equal(holes, other);
}

/* --- code --- */

static int code_dir(char path[128])
{
	snprintf(path, 128, "%s/code", root);
	assert_int_equal(mkdir(path, 0755), 0);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void test_code_is_named_by_content(void **opaque)
{
	struct thaw_state *state = *opaque;
	char path[128], first[THAW_DIGEST_TEXT], second[THAW_DIGEST_TEXT];
	cleanup_close int dir = code_dir(path);
	int fd;
	struct stat st;

	write_file(dir, "app.py", "pass\n");
	assert_int_equal(mkdirat(dir, "lib", 0700), 0);
	assert_int_equal(symlinkat("/etc/shadow", dir, "link"), 0);
	assert_int_equal(thaw_code_drive(state, path, &fd, first, NULL), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_size > 0 && st.st_size % (2 << 20) == 0);
	close(fd);
	/* Owners, times and modes but for x change nothing. */
	assert_int_equal(fchmodat(dir, "app.py", 0600, 0), 0);
	assert_int_equal(utimensat(dir, "app.py", (struct timespec[2]){{1, 0}, {1, 0}}, 0), 0);
	assert_int_equal(thaw_code_drive(state, path, &fd, second, NULL), 0);
	close(fd);
	assert_string_equal(first, second);
	assert_int_equal(fchmodat(dir, "app.py", 0755, 0), 0);
	assert_int_equal(thaw_code_drive(state, path, &fd, second, NULL), 0);
	close(fd);
	assert_string_not_equal(first, second);
	assert_int_equal(unlinkat(dir, "link", 0), 0);
	assert_int_equal(symlinkat("/etc/passwd", dir, "link"), 0);
	assert_int_equal(thaw_code_drive(state, path, &fd, first, NULL), 0);
	close(fd);
	assert_string_not_equal(first, second);
}

static void test_code_refused(void **opaque)
{
	struct thaw_state *state = *opaque;
	struct thaw_error err = {0};
	char path[128], digest[THAW_DIGEST_TEXT], missing[160];
	cleanup_close int dir = code_dir(path);
	int fd;

	assert_int_equal(mkfifoat(dir, "pipe", 0644), 0);
	assert_int_equal(thaw_code_drive(state, path, &fd, digest, &err), -EINVAL);
	assert_non_null(strstr(err.message, "\"pipe\" is a special file"));
	assert_int_equal(unlinkat(dir, "pipe", 0), 0);
	write_file(dir, "big", "x");
	cleanup_close int big = openat(dir, "big", O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(big, (off_t)THAW_CODE_SIZE_MAX + 1), 0);
	assert_int_equal(thaw_code_drive(state, path, &fd, digest, &err), -EFBIG);
	snprintf(missing, sizeof(missing), "%s/none", path);
	assert_int_equal(thaw_code_drive(state, missing, &fd, digest, &err), -ENOENT);
	snprintf(missing, sizeof(missing), "%s/big", path);
	/* A file is taken for an archive, which this is too large for. */
	assert_int_equal(thaw_code_drive(state, missing, &fd, digest, &err), -EFBIG);
	snprintf(missing, sizeof(missing), "%s/pipe", path);
	assert_int_equal(mkfifoat(dir, "pipe", 0644), 0);
	assert_int_equal(thaw_code_drive(state, missing, &fd, digest, &err), -ENOTDIR);
}

/* One way of laying sources over one another: its result and its digest. */
static int lay(struct thaw_state *state, const char *const *paths, size_t count,
	       struct thaw_unpack *unpack, char digest[THAW_DIGEST_TEXT], struct thaw_error *err)
{
	cleanup_close int fd = -1;

	return thaw_code_drive_paths(state, paths, count, unpack, &fd, digest, err);
}

/* Folders over one another are the folder that has it all, and share a limit. */
static void test_code_of_folders(void **opaque)
{
	struct thaw_state *state = *opaque;
	char all[THAW_DIGEST_TEXT], both[THAW_DIGEST_TEXT], back[THAW_DIGEST_TEXT], path[128];
	struct thaw_unpack unpack = THAW_UNPACK_WHOLE;
	struct thaw_error err = {0};
	cleanup_close int dir = code_dir(path);
	char parts[4][160];
	const char *const order[] = {parts[0], parts[1]}, *const reverse[] = {parts[1], parts[0]};
	const char *const refused[] = {parts[0], parts[3]}, *const other[] = {parts[3], parts[0]};
	const char *const merged[] = {parts[2]};

	for (int i = 0; i < 4; i++) {
		snprintf(parts[i], sizeof(parts[i]), "%s/%c", path, 'a' + i);
		assert_int_equal(mkdir(parts[i], 0755), 0);
	}
	for (const char *name = "a/lib\0b/lib\0c/lib\0"; *name; name += strlen(name) + 1)
		assert_int_equal(mkdirat(dir, name, 0700), 0);
	write_file(dir, "a/lib/x", "first");
	assert_int_equal(symlinkat("x", dir, "a/lib/y"), 0);
	assert_int_equal(symlinkat("x", dir, "a/lib/z"), 0);
	write_file(dir, "b/lib/x", "second");
	write_file(dir, "b/lib/y", "third");
	assert_int_equal(symlinkat("y", dir, "b/lib/z"), 0);
	write_file(dir, "c/lib/x", "second");
	write_file(dir, "c/lib/y", "third");
	assert_int_equal(symlinkat("y", dir, "c/lib/z"), 0);
	write_file(dir, "d/lib", "no folder");
	assert_int_equal(lay(state, merged, 1, &unpack, all, NULL), 0);
	assert_int_equal(unpack.bytes, THAW_CODE_SIZE_MAX - 11);
	unpack = (struct thaw_unpack){.bytes = 16, .entries = 8};
	assert_int_equal(lay(state, order, 2, &unpack, both, &err), 0);
	assert_int_equal(unpack.bytes, 0);
	assert_int_equal(unpack.entries, 0);
	assert_string_equal(all, both);
	unpack = (struct thaw_unpack)THAW_UNPACK_WHOLE;
	assert_int_equal(lay(state, reverse, 2, &unpack, back, NULL), 0);
	assert_string_not_equal(all, back);
	unpack = (struct thaw_unpack){.bytes = 15, .entries = 8};
	assert_int_equal(lay(state, order, 2, &unpack, both, NULL), -EFBIG);
	assert_int_equal(unpack.fault, THAW_ARCHIVE_TOO_LARGE);
	unpack = (struct thaw_unpack){.bytes = 16, .entries = 7};
	assert_int_equal(lay(state, order, 2, &unpack, both, NULL), -EFBIG);
	unpack = (struct thaw_unpack)THAW_UNPACK_WHOLE;
	assert_int_equal(lay(state, refused, 2, &unpack, both, &err), -EINVAL);
	assert_non_null(strstr(err.message, "d\": \"lib\" has the name of a folder"));
	assert_int_equal(lay(state, other, 2, &unpack, both, &err), -EINVAL);
	assert_non_null(strstr(err.message, "a\": \"lib\" has the name of a file"));
	assert_int_equal(lay(state, NULL, 0, &unpack, both, NULL), -EINVAL);
	/* Through no link, wherever it leads. */
	assert_int_equal(unlinkat(dir, "d/lib", 0), 0);
	assert_int_equal(symlinkat("/", dir, "d/lib"), 0);
	assert_int_equal(lay(state, other, 2, &unpack, both, &err), -EINVAL);
}

static void test_code_in_the_cache(void **opaque)
{
	struct thaw_state *state = *opaque;
	char path[128], digest[2][THAW_DIGEST_TEXT], name[THAW_DIGEST_TEXT + 8], text[16] = "";
	char none[THAW_DIGEST_TEXT] = "";
	char(*list)[THAW_DIGEST_TEXT];
	struct thaw_error err = {0};
	cleanup_close int dir = code_dir(path);
	cleanup_close int fd = -1;
	size_t count;
	int again;

	assert_int_equal(thaw_code_list(state, &list, &count, NULL), 0);
	assert_int_equal(count, 0);
	free(list);
	for (int i = 0; i < 2; i++) {
		snprintf(text, sizeof(text), "%d", i);
		write_file(dir, "app.py", text);
		assert_int_equal(thaw_code_drive(state, path, &again, digest[i], NULL), 0);
		close(again);
	}
	/* What is no drive is neither listed nor opened. */
	write_file(state->code, "notes", "");
	memset(none, 'A', sizeof(none) - 1);
	snprintf(name, sizeof(name), "%s.erofs", none);
	write_file(state->code, name, "");
	memset(none, '0', sizeof(none) - 1);
	write_file(state->code, none, "");
	assert_int_equal(thaw_code_list(state, &list, &count, NULL), 0);
	assert_int_equal(count, 2);
	int first = strcmp(digest[0], digest[1]) < 0 ? 0 : 1;
	assert_string_equal(list[0], digest[first]);
	assert_string_equal(list[1], digest[1 - first]);
	free(list);

	assert_int_equal(thaw_code_open(state, digest[0], &fd, NULL), 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(thaw_code_open(state, none, &again, &err), -ENOENT);
	assert_int_equal(thaw_code_open(state, "../snapshots/x", &again, &err), -EINVAL);
	assert_int_equal(thaw_code_open(state, "", &again, NULL), -EINVAL);
	assert_int_equal(thaw_code_remove(state, none, NULL), -ENOENT);
	assert_int_equal(thaw_code_remove(state, "notes", NULL), -EINVAL);
	assert_true(exists(state->code, "notes"));

	assert_int_equal(thaw_code_remove(state, digest[0], NULL), 0);
	assert_int_equal(thaw_code_open(state, digest[0], &again, NULL), -ENOENT);
	assert_int_equal(thaw_code_open(state, digest[1], &again, NULL), 0);
	close(again);
	/* Whoever has it open keeps it. */
	assert_int_equal(thaw_pread_full(fd, text, sizeof(text), 1024), 0);
	/* One that was cut short is no drive, and is made again. */
	snprintf(name, sizeof(name), "%s.erofs", digest[1]);
	assert_int_equal(unlinkat(state->code, name, 0), 0);
	write_file(state->code, name, "short");
	assert_int_equal(thaw_code_open(state, digest[1], &again, NULL), -EBADMSG);
	assert_int_equal(thaw_code_drive(state, path, &again, digest[0], NULL), 0);
	close(again);
	assert_string_equal(digest[0], digest[1]);
	assert_int_equal(thaw_code_open(state, digest[1], &again, NULL), 0);
	close(again);
}

/* --- snapshots --- */

static void test_snapshot_names(void **opaque)
{
	struct thaw_state *state = *opaque;
	struct thaw_snapshot snapshot;
	struct thaw_error err = {0};

	assert_int_equal(thaw_snapshot_open(state, "../x", &snapshot, &err), -EINVAL);
	assert_non_null(strstr(err.message, "is a path"));
	assert_int_equal(thaw_snapshot_open(state, "none", &snapshot, &err), -ENOENT);
	assert_int_equal(thaw_snapshot_remove(state, "none", &err), -ENOENT);
	assert_int_equal(thaw_snapshot_remove(state, "..", &err), -EINVAL);
	assert_int_equal(mkdirat(state->snapshots, "empty", 0700), 0);
	assert_int_equal(thaw_snapshot_open(state, "empty", &snapshot, &err), -EKEYREJECTED);
	assert_int_equal(thaw_snapshot_remove(state, "empty", &err), 0);
	assert_false(exists(state->snapshots, "empty"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_publish),
		T(test_sweep),
		T(test_remove_tree_follows_no_link),
		T(test_copy_keeps_holes),
		T(test_digest),
		T(test_digest_notes),
		T(test_digest_without_reading),
		T(test_digest_sparse),
		T(test_kvm_kind),
		T(test_code_is_named_by_content),
		T(test_code_refused),
		T(test_code_of_folders),
		T(test_code_in_the_cache),
		T(test_snapshot_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
