/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seals and manifests of snapshots from anybody. The first byte says how far the forger has come:
 * what it wrote is taken as it is; or gets the HMAC that only the host's key can give, so that what
 * lies behind it is reached; or is a manifest, which gets its checksum where it is JSON.
 */
#include <fcntl.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/keyring.h"
#include "host/manifest.h"
#include "host/seal.h"
#include "lib/error.h"
#include "lib/fd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct thaw_keyring *key;

static void must(int good)
{
	if (!good)
		abort();
}

/* The same key in every run. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[] = "/tmp/thaw-fuzz-XXXXXX";

	(void)argc;
	(void)argv;
	must(mkdtemp(path) != NULL);
	cleanup_close int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int fd = openat(dir, THAW_KEYRING_FILE, O_WRONLY | O_CREAT | O_EXCL, 0600);
	must(fd >= 0 && thaw_write_full(fd, "0123456789abcdef0123456789abcdef", 32) == 0);
	must(thaw_keyring_open(&key, dir, false, NULL) == 0);
	must(unlinkat(dir, THAW_KEYRING_FILE, 0) == 0 && rmdir(path) == 0);
	return 0;
}

/* What is read as a seal is written as the text that it was. */
static void try_seal(const char *text, size_t size)
{
	struct thaw_error err = {0};
	struct thaw_seal seal;

	int rc = thaw_seal_parse(text, size, key, "snapshot orders", &seal, &err);
	if (rc < 0) {
		must(seal.count == 0 && err.code == -rc && err.message[0]);
		return;
	}
	cleanup_free char *again = thaw_seal_format(&seal, key);
	must(again && strlen(again) == size && memcmp(again, text, size) == 0);
}

static void try_sealed(const char *body, size_t size)
{
	cleanup_free char *text = malloc(size + 128);
	uint8_t mac[THAW_MAC_SIZE];

	must(text && thaw_keyring_mac(key, "thaw seal 1", body, size, mac, NULL) == 0);
	memcpy(text, body, size);
	size += (size_t)sprintf(text + size, "hmac ");
	for (size_t i = 0; i < sizeof(mac); i++)
		size += (size_t)sprintf(text + size, "%02x", mac[i]);
	text[size++] = '\n';
	try_seal(text, size);
}

static void try_manifest(const char *text, size_t size)
{
	struct thaw_manifest manifest, twice;
	char digest[THAW_DIGEST_TEXT];
	struct thaw_error err = {0};

	json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(root)) {
		json_object_del(root, "sha256");
		cleanup_free char *dump = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
		struct thaw_digest *sum = thaw_digest_new();
		must(dump && sum);
		thaw_digest_add(sum, dump, strlen(dump));
		thaw_digest_finish(sum, digest);
		json_object_set_new(root, "sha256", json_string(digest));
	}
	cleanup_free char *sealed = root ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	if (sealed) {
		text = sealed;
		size = strlen(sealed);
	}
	if (thaw_manifest_parse(text, size, &manifest, &err) < 0) {
		must(err.code && err.message[0]);
		return;
	}
	/* What it makes of a manifest is one, and the same. */
	cleanup_free char *first = thaw_manifest_format(&manifest);
	must(first && thaw_manifest_parse(first, strlen(first), &twice, NULL) == 0);
	cleanup_free char *second = thaw_manifest_format(&twice);
	must(second && strcmp(first, second) == 0);
	thaw_manifest_clear(&twice);
	thaw_manifest_clear(&manifest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	/* A copy of the exact size: a read beyond it is seen. */
	cleanup_free char *text = malloc(size);
	must(text != NULL);
	memcpy(text, data + 1, --size);
	if (data[0] % 3 == 0)
		try_seal(text, size);
	else if (data[0] % 3 == 1)
		try_sealed(text, size);
	else
		try_manifest(text, size);
	return 0;
}
