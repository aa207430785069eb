/* SPDX-License-Identifier: Apache-2.0 */
/* Seals, notes of checksums, and the list of this host's parts: what is not ours is refused. */
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

#include "host/host.h"
#include "host/keyring.h"
#include "host/parts.h"
#include "host/seal.h"
#include "lib/error.h"
#include "lib/fd.h"

#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static char root[64];
static struct thaw_host host;

static void write_file(int dir, const char *name, const char *text)
{
	cleanup_close int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(thaw_write_full(fd, text, strlen(text)), 0);
}

static int setup(void **state)
{
	char path[128];

	(void)state;
	host = (struct thaw_host)THAW_HOST_NONE;
	strcpy(root, "/tmp/thaw-test-seal-XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(path, sizeof(path), "%s/state", root);
	assert_int_equal(thaw_state_open(&host.state, path, NULL), 0);
	assert_int_equal(thaw_state_open_key(&host.state, true, NULL), 0);
	snprintf(host.paths.lib, sizeof(host.paths.lib), "%s/lib", root);
	assert_int_equal(mkdir(host.paths.lib, 0755), 0);
	cleanup_close int lib = open(host.paths.lib, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(lib, "guest", 0755), 0);
	assert_int_equal(mkdirat(lib, "images", 0755), 0);
	write_file(lib, THAW_PART_KERNEL, "kernel");
	write_file(lib, THAW_PART_INITRAMFS, "initramfs");
	write_file(lib, "images/python3.11.erofs", "python");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	thaw_host_close(&host);
	assert_int_equal(thaw_remove_tree(AT_FDCWD, root), 0);
	return 0;
}

/* --- seals --- */

static char *sealed(size_t *size)
{
	struct thaw_seal seal = {.subject = "snapshot orders"};

	assert_int_equal(thaw_seal_add(&seal, "state", 3, ABC, NULL), 0);
	assert_int_equal(thaw_seal_add(&seal, "guest/a_b-1.x", UINT64_MAX, ABC, NULL), 0);
	char *text = thaw_seal_format(&seal, host.state.key);
	assert_non_null(text);
	*size = strlen(text);
	return text;
}

static int parse(const char *text, size_t size, struct thaw_seal *seal)
{
	return thaw_seal_parse(text, size, host.state.key, "snapshot orders", seal, NULL);
}

static void test_round_trip(void **state)
{
	struct thaw_seal seal;
	size_t size;
	cleanup_free char *text = sealed(&size);

	(void)state;
	assert_int_equal(parse(text, size, &seal), 0);
	assert_int_equal(seal.count, 2);
	assert_string_equal(seal.subject, "snapshot orders");
	assert_int_equal(thaw_seal_find(&seal, "state")->size, 3);
	assert_string_equal(thaw_seal_find(&seal, "state")->digest, ABC);
	assert_true(thaw_seal_find(&seal, "guest/a_b-1.x")->size == UINT64_MAX);
	assert_null(thaw_seal_find(&seal, "frames"));
	cleanup_free char *again = thaw_seal_format(&seal, host.state.key);
	assert_string_equal(text, again);
	thaw_seal_drop(&seal, "state");
	assert_int_equal(seal.count, 1);
	assert_null(thaw_seal_find(&seal, "state"));
}

static void test_every_bit_counts(void **state)
{
	struct thaw_seal seal;
	size_t size;
	cleanup_free char *text = sealed(&size);

	(void)state;
	for (size_t at = 0; at < size; at++) {
		for (unsigned int bit = 0; bit < 8; bit++) {
			text[at] ^= (char)(1 << bit);
			assert_int_equal(parse(text, size, &seal), -EKEYREJECTED);
			assert_int_equal(seal.count, 0);
			text[at] ^= (char)(1 << bit);
		}
		/* Cut short: a copy of the exact size. */
		cleanup_free char *cut = malloc(at + 1);
		memcpy(cut, text, at);
		assert_int_equal(parse(cut, at, &seal), -EKEYREJECTED);
	}
	cleanup_free char *twice = malloc(2 * size);
	memcpy(twice, text, size);
	memcpy(twice + size, text, size);
	assert_int_equal(parse(twice, 2 * size, &seal), -EKEYREJECTED);
	assert_int_equal(parse(twice, size + 1, &seal), -EKEYREJECTED);
	assert_int_equal(parse(text, size, &seal), 0);
}

static void test_whose_seal(void **state)
{
	struct thaw_error err = {0};
	struct thaw_seal seal;
	size_t size;
	cleanup_free char *text = sealed(&size);

	(void)state;
	assert_int_equal(thaw_seal_parse(text, size, host.state.key, "snapshot order", &seal, &err),
			 -EKEYREJECTED);
	assert_non_null(strstr(err.message, "that of snapshot orders"));
	assert_int_equal(seal.count, 0);
	/* Another host's key. */
	thaw_keyring_close(host.state.key);
	host.state.key = NULL;
	assert_int_equal(unlinkat(host.state.root, THAW_KEYRING_FILE, 0), 0);
	assert_int_equal(thaw_state_open_key(&host.state, true, NULL), 0);
	assert_int_equal(
		thaw_seal_parse(text, size, host.state.key, "snapshot orders", &seal, &err),
		-EKEYREJECTED);
	assert_non_null(strstr(err.message, "another host or key"));
}

/* What only a holder of the key can have written, and yet is no list. */
static void test_lists_that_are_none(void **state)
{
	static const char *const bad[] = {
		"",
		"thaw-seal 1\n",
		"thaw-seal 2\nof snapshot orders\n",
		"thaw-seal 1\nof \n",
		"thaw-seal 1\nof snapshot\torders\n",
		"thaw-seal 1\nof snapshot orders",
		"thaw-seal 1\nof snapshot orders\n\n",
		"thaw-seal 1\nof snapshot orders\nfile state 3 " ABC,
		"thaw-seal 1\nof snapshot orders\nfile state 3 " ABC " \n",
		"thaw-seal 1\nof snapshot orders\nfile state 3 " ABC "0\n",
		"thaw-seal 1\nof snapshot orders\nfile state 3 abc\n",
		"thaw-seal 1\nof snapshot orders\nfile state " ABC "\n",
		"thaw-seal 1\nof snapshot orders\nfile st:te 3 " ABC "\n",
		"thaw-seal 1\nof snapshot orders\nfile state 03 " ABC "\n",
		"thaw-seal 1\nof snapshot orders\nfile state -3 " ABC "\n",
		"thaw-seal 1\nof snapshot orders\nfile state 18446744073709551616 " ABC "\n",
		"thaw-seal 1\nof snapshot orders\nfile state  3 " ABC "\n",
		"thaw-seal 1\nof snapshot orders\nfile a 3 " ABC "\nfile a 3 " ABC "\n",
		"thaw-seal 1\nof snapshot orders\nfiles a 3 " ABC "\n",
	};
	struct thaw_seal seal;
	char text[1024];
	uint8_t mac[THAW_MAC_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(thaw_keyring_mac(host.state.key, "thaw seal 1", bad[i],
						  strlen(bad[i]), mac, NULL),
				 0);
		int used = snprintf(text, sizeof(text), "%shmac ", bad[i]);
		for (size_t k = 0; k < sizeof(mac); k++)
			used += snprintf(text + used, 3, "%02x", mac[k]);
		text[used++] = '\n';
		assert_int_equal(parse(text, (size_t)used, &seal), -EKEYREJECTED);
		assert_int_equal(seal.count, 0);
	}
}

static void test_limits(void **state)
{
	struct thaw_seal seal = {.subject = "x"};
	char name[THAW_SEAL_FILE_NAME + 1];

	(void)state;
	assert_int_equal(thaw_seal_add(&seal, "", 1, ABC, NULL), -EINVAL);
	assert_int_equal(thaw_seal_add(&seal, "a b", 1, ABC, NULL), -EINVAL);
	assert_int_equal(thaw_seal_add(&seal, "a", 1, "", NULL), -EINVAL);
	memset(name, 'a', sizeof(name));
	name[sizeof(name) - 1] = 0;
	assert_int_equal(thaw_seal_add(&seal, name, 1, ABC, NULL), -EINVAL);
	for (int i = 0; i < THAW_SEAL_FILES_MAX; i++) {
		/* The longest there can be: the text has room for all. */
		snprintf(name, sizeof(name), "%063d", i);
		assert_int_equal(thaw_seal_add(&seal, name, UINT64_MAX, ABC, NULL), 0);
	}
	assert_int_equal(thaw_seal_add(&seal, "b", 1, ABC, NULL), -E2BIG);
	assert_int_equal(thaw_seal_add(&seal, name, 1, ABC, NULL), 0);
	cleanup_free char *text = thaw_seal_format(&seal, host.state.key);
	assert_non_null(text);
	strcpy(seal.subject, "a\nb");
	assert_null(thaw_seal_format(&seal, host.state.key));
}

static void test_files(void **state)
{
	struct thaw_seal seal = {.subject = "x"}, read;
	struct thaw_error err = {0};
	int dir = host.state.root;

	(void)state;
	write_file(dir, "f", "abc");
	cleanup_close int fd = openat(dir, "f", O_RDONLY | O_CLOEXEC);
	assert_int_equal(thaw_seal_add_file(&seal, "f", fd, NULL), 0);
	assert_string_equal(seal.file[0].digest, ABC);
	assert_int_equal(thaw_seal_check(&seal, "f", fd, NULL), 0);
	assert_int_equal(thaw_seal_check_bytes(&seal, "f", "abc", 3, NULL), 0);
	assert_int_equal(thaw_seal_check_bytes(&seal, "f", "abd", 3, NULL), -EKEYREJECTED);
	assert_int_equal(thaw_seal_check(&seal, "g", fd, NULL), -EKEYREJECTED);
	for (const char *const *text = (const char *const[]){"abd", "ab", "abcd", "", NULL}; *text;
	     text++) {
		write_file(dir, "f", *text);
		assert_int_equal(thaw_seal_check(&seal, "f", fd, &err), -EKEYREJECTED);
	}
	assert_int_equal(thaw_seal_write(&seal, dir, "seal", host.state.key, NULL), 0);
	assert_int_equal(thaw_seal_write(&seal, dir, "seal", host.state.key, NULL), -EEXIST);
	assert_int_equal(thaw_seal_read(dir, "seal", host.state.key, "x", &read, NULL), 0);
	assert_int_equal(read.count, 1);
	assert_int_equal(thaw_seal_read(dir, "none", host.state.key, "x", &read, NULL), -ENOENT);
	assert_int_equal(thaw_seal_read(dir, "seal", NULL, "x", &read, NULL), -EKEYREJECTED);
	assert_int_equal(thaw_seal_write(&seal, dir, "other", NULL, NULL), -EKEYREJECTED);
	/* What is no file, or far too large, takes no time and no memory. */
	assert_int_equal(symlinkat("seal", dir, "link"), 0);
	assert_int_equal(thaw_seal_read(dir, "link", host.state.key, "x", &read, NULL),
			 -EKEYREJECTED);
	assert_int_equal(mkfifoat(dir, "pipe", 0600), 0);
	assert_int_equal(thaw_seal_read(dir, "pipe", host.state.key, "x", &read, NULL),
			 -EKEYREJECTED);
	cleanup_close int large = openat(dir, "large", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(large, (off_t)1 << 40), 0);
	assert_int_equal(thaw_seal_read(dir, "large", host.state.key, "x", &read, NULL),
			 -EKEYREJECTED);
}

static void test_owners(void **state)
{
	struct thaw_error err = {0};

	(void)state;
	write_file(host.state.root, "f", "abc");
	cleanup_close int fd = openat(host.state.root, "f", O_RDONLY | O_CLOEXEC);
	assert_int_equal(thaw_seal_check_owner(fd, "f", NULL), 0);
	for (const mode_t *mode = (const mode_t[]){0664, 0646, 0666, 0}; *mode; mode++) {
		assert_int_equal(fchmod(fd, *mode), 0);
		assert_int_equal(thaw_seal_check_owner(fd, "f", &err), -EKEYREJECTED);
	}
	assert_non_null(strstr(err.message, "by others"));
	assert_int_equal(fchmod(fd, 0600), 0);
	if (geteuid() != 0)
		return;
	assert_int_equal(fchown(fd, 4711, 4711), 0);
	assert_int_equal(thaw_seal_check_owner(fd, "f", &err), -EKEYREJECTED);
	assert_non_null(strstr(err.message, "user 4711"));
}

/* --- the state directory --- */

static void test_a_state_directory_for_all(void **state)
{
	struct thaw_state opened;
	struct thaw_error err = {0};
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/open", root);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chmod(path, 0770), 0);
	assert_int_equal(thaw_state_open(&opened, path, &err), -EPERM);
	assert_non_null(strstr(err.message, "chmod go-w"));
	assert_int_equal(chmod(path, 0755), 0);
	assert_int_equal(thaw_state_open(&opened, path, &err), 0);
	/* What lies below it is no more open. */
	assert_int_equal(fchmod(opened.templates, 0702), 0);
	thaw_state_close(&opened);
	assert_int_equal(thaw_state_open(&opened, path, &err), -EPERM);
	assert_non_null(strstr(err.message, "open/templates"));
}

/* A key that is lost where a daemon's database lies is not made again in silence. */
static void test_a_lost_key(void **state)
{
	struct thaw_host other;
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/data", root);
	assert_int_equal(thaw_host_open(&other, path, NULL), 0);
	assert_non_null(other.state.key);
	assert_int_equal(unlinkat(other.state.root, THAW_KEYRING_FILE, 0), 0);
	write_file(other.state.root, "thaw.db", "");
	thaw_host_close(&other);
	assert_int_equal(thaw_host_open(&other, path, NULL), 0);
	assert_null(other.state.key);
	assert_int_not_equal(faccessat(other.state.root, THAW_KEYRING_FILE, F_OK, 0), 0);
	cleanup_close int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct thaw_error err = {0};
	assert_int_equal(thaw_parts_check(&other, THAW_PART_KERNEL, null, &err), -EKEYREJECTED);
	assert_non_null(strstr(err.message, "host.key"));
	thaw_host_close(&other);
}

/* --- parts --- */

static int check(const char *name, struct thaw_error *err)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/%s", host.paths.lib, name);
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return thaw_parts_check(&host, name, fd, err);
}

static void test_parts(void **state)
{
	struct thaw_error err = {0};
	struct thaw_seal list;
	cleanup_close int lib = open(host.paths.lib, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	/* The host's set-up. */
	assert_int_equal(check(THAW_PART_KERNEL, NULL), 0);
	assert_int_equal(check(THAW_PART_INITRAMFS, NULL), 0);
	assert_int_equal(check("images/python3.11.erofs", NULL), 0);
	/* After it: another content, another name, one for another. */
	write_file(lib, THAW_PART_KERNEL, "Kernel");
	assert_int_equal(check(THAW_PART_KERNEL, &err), -EKEYREJECTED);
	assert_non_null(strstr(err.message, "guest/vmlinux"));
	assert_non_null(strstr(err.message, "\"thaw trust\" imports it"));
	write_file(lib, "images/nodejs18.x.erofs", "node");
	assert_int_equal(check("images/nodejs18.x.erofs", NULL), -EKEYREJECTED);
	write_file(lib, "images/python3.11.erofs", "initramfs");
	assert_int_equal(check("images/python3.11.erofs", NULL), -EKEYREJECTED);
	assert_int_equal(check(THAW_PART_INITRAMFS, NULL), 0);
	/* The same bytes again are the same part. */
	write_file(lib, THAW_PART_KERNEL, "kernel");
	assert_int_equal(check(THAW_PART_KERNEL, NULL), 0);
	assert_int_equal(thaw_parts_import(&host, &list, NULL), 0);
	assert_int_equal(list.count, 4);
	assert_int_equal(check("images/nodejs18.x.erofs", NULL), 0);
	assert_int_equal(check("images/python3.11.erofs", NULL), 0);
	/* An import of half of it changes nothing. */
	write_file(lib, THAW_PART_KERNEL, "Kernel");
	assert_int_equal(unlinkat(lib, THAW_PART_INITRAMFS, 0), 0);
	assert_int_equal(thaw_parts_import(&host, &list, &err), -ENOENT);
	assert_int_equal(check(THAW_PART_KERNEL, NULL), -EKEYREJECTED);
}

static void test_the_list_of_parts(void **state)
{
	struct thaw_error err = {0};

	(void)state;
	assert_int_equal(check(THAW_PART_KERNEL, NULL), 0);
	cleanup_close int fd = openat(host.state.root, "parts", O_RDWR | O_CLOEXEC);
	char byte = 0;
	assert_int_equal(pread(fd, &byte, 1, 70), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, 70), 1);
	assert_int_equal(check(THAW_PART_KERNEL, &err), -EKEYREJECTED);
	assert_non_null(strstr(err.message, "thaw trust"));
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, 70), 1);
	assert_int_equal(check(THAW_PART_KERNEL, NULL), 0);
	/* Under a new key the old list says nothing. */
	thaw_keyring_close(host.state.key);
	host.state.key = NULL;
	assert_int_equal(check(THAW_PART_KERNEL, &err), -EKEYREJECTED);
	assert_int_equal(unlinkat(host.state.root, THAW_KEYRING_FILE, 0), 0);
	assert_int_equal(thaw_state_open_key(&host.state, true, NULL), 0);
	assert_int_equal(check(THAW_PART_KERNEL, NULL), -EKEYREJECTED);
	assert_int_equal(thaw_parts_import(&host, NULL, NULL), 0);
	assert_int_equal(check(THAW_PART_KERNEL, NULL), 0);
}

/* The checksums that were made when the parts were built: believed at the set-up, and checked. */
static void test_sums(void **state)
{
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	struct thaw_seal list;
	cleanup_close int lib = open(host.paths.lib, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	write_file(lib, "parts.sha256",
		   ABC "  guest/vmlinux\n"
		       "nonsense\n" ABC "  guest/initramfs.cpio.old\n" ABC
		       "  images/python3.11.erofs\n");
	write_file(lib, THAW_PART_KERNEL, "abc");
	assert_int_equal(utimensat(lib, THAW_PART_KERNEL, old, 0), 0);
	assert_int_equal(utimensat(lib, "images/python3.11.erofs", old, 0), 0);
	assert_int_equal(check(THAW_PART_KERNEL, NULL), 0);
	assert_int_equal(check(THAW_PART_INITRAMFS, NULL), 0);
	/* It is not what was built. */
	assert_int_equal(check("images/python3.11.erofs", NULL), -EKEYREJECTED);
	/* Told to, it is read, whatever the sums say. */
	assert_int_equal(thaw_parts_import(&host, &list, NULL), 0);
	assert_int_equal(check("images/python3.11.erofs", NULL), 0);
	/* And sums that are older than a part say nothing of it. */
	assert_int_equal(unlinkat(host.state.root, "parts", 0), 0);
	assert_int_equal(utimensat(lib, "parts.sha256", (const struct timespec[]){{0}, {0}}, 0), 0);
	assert_int_equal(check("images/python3.11.erofs", NULL), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_round_trip),
		T(test_every_bit_counts),
		T(test_whose_seal),
		T(test_lists_that_are_none),
		T(test_limits),
		T(test_files),
		T(test_owners),
		T(test_a_state_directory_for_all),
		T(test_a_lost_key),
		T(test_parts),
		T(test_the_list_of_parts),
		T(test_sums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
