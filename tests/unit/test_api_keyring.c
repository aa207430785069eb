/* SPDX-License-Identifier: Apache-2.0 */
/* The host's key, secrets sealed under it, and new access keys. */
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/keyring.h"
#include "lib/error.h"
#include "lib/fd.h"

#define KEY_ID "AKIAIOSFODNN7EXAMPLE"
#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

struct place {
	char path[64];
	int dir;
};

static int place_make(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	strcpy(place->path, "/tmp/thaw-keyring-XXXXXX");
	assert_non_null(mkdtemp(place->path));
	place->dir = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(place->dir >= 0);
	*state = place;
	return 0;
}

static int place_drop(void **state)
{
	static const char *const names[] = {"host.key", "host.key.new", "other"};
	struct place *place = *state;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlinkat(place->dir, names[i], 0);
	close(place->dir);
	/* Nothing else was left there. */
	assert_int_equal(rmdir(place->path), 0);
	free(place);
	return 0;
}

static void put(int dir, const char *name, const void *data, size_t size, mode_t mode)
{
	cleanup_close int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(thaw_write_full(fd, data, size), 0);
	assert_int_equal(fchmod(fd, mode), 0);
}

static void get(int dir, uint8_t key[32])
{
	cleanup_close int fd = openat(dir, "host.key", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(thaw_read_full(fd, key, 32), 0);
}

static void test_make(void **state)
{
	struct place *place = *state;
	struct thaw_keyring *keyring = NULL;
	struct thaw_error err = {0};
	uint8_t first[32], again[32], zero[32] = {0};
	struct stat st;

	assert_int_equal(thaw_keyring_open(&keyring, place->dir, false, &err), -ENOENT);
	assert_null(keyring);
	assert_non_null(strstr(err.message, "host.key"));
	mode_t before = umask(0);
	assert_int_equal(thaw_keyring_open(&keyring, place->dir, true, &err), 0);
	umask(before);
	thaw_keyring_close(keyring);
	assert_int_equal(fstatat(place->dir, "host.key", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(st.st_size, 32);
	get(place->dir, first);
	assert_memory_not_equal(first, zero, 32);
	/* It stays. */
	assert_int_equal(thaw_keyring_open(&keyring, place->dir, true, &err), 0);
	thaw_keyring_close(keyring);
	assert_int_equal(thaw_keyring_open(&keyring, place->dir, false, &err), 0);
	thaw_keyring_close(keyring);
	get(place->dir, again);
	assert_memory_equal(first, again, 32);
	assert_int_equal(faccessat(place->dir, "host.key.new", F_OK, 0), -1);
	thaw_keyring_close(NULL);
}

static void refused(struct place *place, int code)
{
	struct thaw_keyring *keyring = NULL;
	struct thaw_error err = {0};

	for (int make = 0; make < 2; make++) {
		assert_int_equal(thaw_keyring_open(&keyring, place->dir, make, &err), code);
		assert_null(keyring);
		assert_true(err.message[0]);
	}
}

static void test_refused(void **state)
{
	static const uint8_t key[33] = {1, 2, 3};
	struct place *place = *state;

	put(place->dir, "host.key", key, 31, 0600);
	refused(place, -EINVAL);
	put(place->dir, "host.key", key, 33, 0600);
	refused(place, -EINVAL);
	put(place->dir, "host.key", key, 0, 0600);
	refused(place, -EINVAL);
	static const mode_t bad[] = {0640, 0604, 0620, 0602, 0601, 0644, 0777};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put(place->dir, "host.key", key, 32, bad[i]);
		refused(place, -EPERM);
	}
	/* Links, symbolic (also one to nowhere: nothing may be made through it) and hard. */
	put(place->dir, "host.key", key, 32, 0600);
	assert_int_equal(linkat(place->dir, "host.key", place->dir, "other", 0), 0);
	refused(place, -ELOOP);
	assert_int_equal(unlinkat(place->dir, "host.key", 0), 0);
	assert_int_equal(symlinkat("other", place->dir, "host.key"), 0);
	refused(place, -ELOOP);
	assert_int_equal(unlinkat(place->dir, "other", 0), 0);
	refused(place, -ELOOP);
	assert_int_equal(faccessat(place->dir, "other", F_OK, 0), -1);
	assert_int_equal(unlinkat(place->dir, "host.key", 0), 0);
	assert_int_equal(mkfifoat(place->dir, "host.key", 0600), 0);
	refused(place, -ELOOP);
	assert_int_equal(unlinkat(place->dir, "host.key", 0), 0);
	assert_int_equal(mkdirat(place->dir, "host.key", 0700), 0);
	refused(place, -ELOOP);
	assert_int_equal(unlinkat(place->dir, "host.key", AT_REMOVEDIR), 0);
	if (geteuid() == 0) {
		put(place->dir, "host.key", key, 32, 0600);
		assert_int_equal(fchownat(place->dir, "host.key", 65534, 65534, 0), 0);
		refused(place, -EPERM);
	}
}

/* What a killed maker left is neither used nor in the way. */
static void test_unfinished(void **state)
{
	struct place *place = *state;
	struct thaw_keyring *keyring;
	uint8_t key[32], junk[40];
	struct stat st;

	memset(junk, 'x', sizeof(junk));
	put(place->dir, "host.key.new", junk, sizeof(junk), 0644);
	assert_int_equal(thaw_keyring_open(&keyring, place->dir, true, NULL), 0);
	thaw_keyring_close(keyring);
	get(place->dir, key);
	assert_memory_not_equal(key, junk, 32);
	assert_int_equal(fstatat(place->dir, "host.key", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(unlinkat(place->dir, "host.key", 0), 0);
	assert_int_equal(symlinkat("other", place->dir, "host.key.new"), 0);
	assert_int_equal(thaw_keyring_open(&keyring, place->dir, true, NULL), -ELOOP);
	assert_int_equal(faccessat(place->dir, "other", F_OK, 0), -1);
}

/* Many makers at once all get the same key. */
static void test_race(void **state)
{
	struct place *place = *state;

	for (int round = 0; round < 20; round++) {
		int results[2];
		uint8_t key[32], sealed[THAW_SEALED_MAX];
		char secret[THAW_SEALED_SECRET_MAX + 1];
		struct thaw_keyring *keyring;
		size_t size;

		assert_int_equal(pipe(results), 0);
		for (int i = 0; i < 8; i++) {
			pid_t child = fork();
			assert_true(child >= 0);
			if (child == 0) {
				size = 0;
				if (thaw_keyring_open(&keyring, place->dir, true, NULL) == 0)
					thaw_keyring_seal(keyring, KEY_ID, SECRET, strlen(SECRET),
							  sealed, &size, NULL);
				_exit(write(results[1], sealed, size) == (ssize_t)size ? 0 : 1);
			}
		}
		close(results[1]);
		for (int i = 0; i < 8; i++) {
			int status;
			assert_true(wait(&status) > 0);
			assert_int_equal(status, 0);
		}
		get(place->dir, key);
		assert_int_equal(thaw_keyring_open(&keyring, place->dir, false, NULL), 0);
		size_t one = strlen(SECRET) + THAW_SEALED_OVERHEAD;
		for (int i = 0; i < 8; i++) {
			assert_int_equal(thaw_read_full(results[0], sealed, one), 0);
			assert_int_equal(thaw_keyring_unseal(keyring, KEY_ID, sealed, one, secret,
							     &size, NULL),
					 0);
		}
		assert_int_equal(thaw_read_full(results[0], sealed, 1), -ENODATA);
		close(results[0]);
		thaw_keyring_close(keyring);
		assert_int_equal(unlinkat(place->dir, "host.key", 0), 0);
		assert_int_equal(faccessat(place->dir, "host.key.new", F_OK, 0), -1);
	}
}

static void test_seal(void **state)
{
	struct place *place = *state;
	struct thaw_keyring *keyring;
	struct thaw_error err = {0};
	uint8_t sealed[THAW_SEALED_MAX], other[THAW_SEALED_MAX];
	char secret[THAW_SEALED_SECRET_MAX + 1];
	size_t size, sealed_size, other_size;

	assert_int_equal(thaw_keyring_open(&keyring, place->dir, true, NULL), 0);
	assert_int_equal(thaw_keyring_seal(keyring, KEY_ID, SECRET, 40, sealed, &sealed_size, &err),
			 0);
	assert_int_equal(sealed_size, 69);
	assert_int_equal(sealed[0], 1);
	assert_null(memmem(sealed, sealed_size, SECRET, 8));
	assert_int_equal(
		thaw_keyring_unseal(keyring, KEY_ID, sealed, sealed_size, secret, &size, &err), 0);
	assert_int_equal(size, 40);
	assert_string_equal(secret, SECRET);
	/* Never the same twice. */
	assert_int_equal(thaw_keyring_seal(keyring, KEY_ID, SECRET, 40, other, &other_size, &err),
			 0);
	assert_memory_not_equal(sealed + 1, other + 1, 12);
	assert_memory_not_equal(sealed + 13, other + 13, 40);
	/* For this key id only. */
	assert_int_equal(thaw_keyring_unseal(keyring, "AKIAIOSFODNN7EXAMPLF", sealed, sealed_size,
					     secret, &size, &err),
			 -EBADMSG);
	assert_int_equal(secret[0], 0);
	/* Any bit of it. */
	for (size_t bit = 0; bit < sealed_size * 8; bit++) {
		sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
		memset(secret, 'x', sizeof(secret));
		int rc = thaw_keyring_unseal(keyring, KEY_ID, sealed, sealed_size, secret, &size,
					     &err);
		assert_int_equal(rc, sealed[0] > 1 ? -ENOTSUP : -EBADMSG);
		assert_null(memmem(secret, sizeof(secret), SECRET, 4));
		sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	/* Any shorter form, and a longer one. */
	for (size_t n = 0; n < sealed_size; n++)
		assert_int_equal(
			thaw_keyring_unseal(keyring, KEY_ID, sealed, n, secret, &size, &err),
			-EBADMSG);
	assert_int_equal(
		thaw_keyring_unseal(keyring, KEY_ID, sealed, sealed_size + 1, secret, &size, &err),
		-EBADMSG);
	thaw_keyring_close(keyring);
	/* Another host's key. */
	assert_int_equal(unlinkat(place->dir, "host.key", 0), 0);
	assert_int_equal(thaw_keyring_open(&keyring, place->dir, true, NULL), 0);
	assert_int_equal(
		thaw_keyring_unseal(keyring, KEY_ID, sealed, sealed_size, secret, &size, &err),
		-EBADMSG);
	thaw_keyring_close(keyring);
}

static void test_seal_limits(void **state)
{
	struct place *place = *state;
	struct thaw_keyring *keyring;
	uint8_t sealed[THAW_SEALED_MAX];
	char big[THAW_SEALED_SECRET_MAX + 1], secret[THAW_SEALED_SECRET_MAX + 1], id[130];
	size_t size, sealed_size;

	memset(big, 'b', sizeof(big));
	memset(id, 'A', sizeof(id));
	id[129] = 0;
	assert_int_equal(thaw_keyring_open(&keyring, place->dir, true, NULL), 0);
	assert_int_equal(thaw_keyring_seal(keyring, KEY_ID, big, 0, sealed, &sealed_size, NULL),
			 -EINVAL);
	assert_int_equal(thaw_keyring_seal(keyring, KEY_ID, big, 129, sealed, &sealed_size, NULL),
			 -EINVAL);
	assert_int_equal(thaw_keyring_seal(keyring, "", big, 1, sealed, &sealed_size, NULL),
			 -EINVAL);
	assert_int_equal(thaw_keyring_seal(keyring, id, big, 1, sealed, &sealed_size, NULL),
			 -EINVAL);
	id[128] = 0;
	for (size_t n = 1; n <= 128; n += 127) {
		assert_int_equal(thaw_keyring_seal(keyring, id, big, n, sealed, &sealed_size, NULL),
				 0);
		assert_int_equal(sealed_size, n + THAW_SEALED_OVERHEAD);
		assert_int_equal(
			thaw_keyring_unseal(keyring, id, sealed, sealed_size, secret, &size, NULL),
			0);
		assert_int_equal(size, n);
		assert_memory_equal(secret, big, n);
		assert_int_equal(secret[n], 0);
	}
	thaw_keyring_close(keyring);
}

static int text_order(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void test_access_keys(void **state)
{
	enum { COUNT = 4096 };
	static char ids[COUNT][THAW_ACCESS_KEY_ID], secrets[COUNT][THAW_ACCESS_KEY_SECRET];
	static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	static const char base64[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned int seen[256] = {0};

	(void)state;
	for (size_t i = 0; i < COUNT; i++) {
		assert_int_equal(thaw_access_key_make(ids[i], secrets[i], NULL), 0);
		assert_int_equal(strlen(ids[i]), 20);
		assert_memory_equal(ids[i], "AKIA", 4);
		assert_int_equal(strspn(ids[i] + 4, base32), 16);
		assert_int_equal(strlen(secrets[i]), 40);
		assert_int_equal(strspn(secrets[i], base64), 40);
		for (size_t j = 4; j < 20; j++)
			seen[(uint8_t)ids[i][j]]++;
	}
	/* Each letter 2048 times, give or take: 10 standard deviations are 445. */
	for (size_t i = 0; i < 32; i++)
		assert_in_range(seen[(uint8_t)base32[i]], 2048 - 445, 2048 + 445);
	qsort(ids, COUNT, sizeof(ids[0]), text_order);
	qsort(secrets, COUNT, sizeof(secrets[0]), text_order);
	for (size_t i = 1; i < COUNT; i++) {
		assert_string_not_equal(ids[i - 1], ids[i]);
		assert_string_not_equal(secrets[i - 1], secrets[i]);
	}
}

static void test_account_ids(void **state)
{
	unsigned int first[10] = {0};
	char id[THAW_ACCOUNT_ID];

	(void)state;
	for (size_t i = 0; i < 9000; i++) {
		assert_int_equal(thaw_account_id_make(id, NULL), 0);
		assert_int_equal(strlen(id), 12);
		assert_int_equal(strspn(id, "0123456789"), 12);
		first[id[0] - '0']++;
	}
	assert_int_equal(first[0], 0);
	for (size_t i = 1; i < 10; i++)
		assert_in_range(first[i], 700, 1300);
}

/* Against Python's hmac and hashlib. */
static void test_mac(void **state)
{
	static const uint8_t key[32] = {1, 2, 3};
	static const uint8_t expected[THAW_MAC_SIZE] = {
		0xd2, 0x4c, 0x98, 0x75, 0xb7, 0x42, 0xec, 0x9c, 0xb4, 0xf6, 0x7d,
		0xeb, 0xee, 0xf3, 0x09, 0xed, 0xc6, 0x0d, 0xcd, 0x85, 0xa9, 0x40,
		0x44, 0xc3, 0x19, 0x54, 0x0c, 0xfa, 0xfc, 0x4e, 0xc2, 0xc9};
	struct place *place = *state;
	struct thaw_keyring *keyring;
	uint8_t mac[THAW_MAC_SIZE], other[THAW_MAC_SIZE];

	put(place->dir, "host.key", key, 32, 0600);
	assert_int_equal(thaw_keyring_open(&keyring, place->dir, false, NULL), 0);
	assert_int_equal(thaw_keyring_mac(keyring, "purpose", "hello", 5, mac, NULL), 0);
	assert_memory_equal(mac, expected, sizeof(mac));
	assert_int_equal(thaw_keyring_mac(keyring, "purpose 2", "hello", 5, other, NULL), 0);
	assert_memory_not_equal(mac, other, sizeof(mac));
	assert_int_equal(thaw_keyring_mac(keyring, "purpose", "hello", 4, other, NULL), 0);
	assert_memory_not_equal(mac, other, sizeof(mac));
	thaw_keyring_close(keyring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_make, place_make, place_drop),
		cmocka_unit_test_setup_teardown(test_refused, place_make, place_drop),
		cmocka_unit_test_setup_teardown(test_unfinished, place_make, place_drop),
		cmocka_unit_test_setup_teardown(test_race, place_make, place_drop),
		cmocka_unit_test_setup_teardown(test_seal, place_make, place_drop),
		cmocka_unit_test_setup_teardown(test_seal_limits, place_make, place_drop),
		cmocka_unit_test_setup_teardown(test_mac, place_make, place_drop),
		cmocka_unit_test(test_access_keys),
		cmocka_unit_test(test_account_ids),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
