/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots that somebody has tampered with: with each file, each value of the manifest, the seal,
 * the key, the notes of the image; and mixed with one another. No microVM is needed for that: none
 * may be started. */
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
#include "host/snapshot_store.h"
#include "lib/error.h"
#include "lib/fd.h"

static const char *const files[] = {"manifest.json", "state",      "index",
				    "working_set",   "event.json", "frames",
				    "code.erofs",    "tmp.img",    "layers.erofs"};
#define FILES (sizeof(files) / sizeof(files[0]))

static char root[64];
static struct thaw_host host;

static int setup(void **state)
{
	char path[128];

	(void)state;
	host = (struct thaw_host)THAW_HOST_NONE;
	strcpy(root, "/tmp/thaw-test-snapshots-XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(path, sizeof(path), "%s/state", root);
	assert_int_equal(thaw_state_open(&host.state, path, NULL), 0);
	assert_int_equal(thaw_state_open_key(&host.state, true, NULL), 0);
	strcpy(host.paths.vmm, "/nonexistent/thaw-vmm");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	thaw_host_close(&host);
	assert_int_equal(thaw_remove_tree(AT_FDCWD, root), 0);
	return 0;
}

/* --- one to tamper with --- */

/* As a new file: the old one may have other names. */
static void put(int dir, const char *name, const void *data, size_t size)
{
	assert_true(unlinkat(dir, name, 0) == 0 || errno == ENOENT);
	cleanup_close int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(thaw_write_full(fd, data, size), 0);
}

/* Of the same length for all. */
static void put_text(int dir, const char *name, const char *snapshot, char variant)
{
	char text[64];

	snprintf(text, sizeof(text), "%-16s %-16s %c\n", name, snapshot, variant);
	put(dir, name, text, strlen(text));
}

static void digest_of(int dir, const char *name, bool sparse, char digest[THAW_DIGEST_TEXT])
{
	cleanup_close int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

	assert_int_equal(sparse ? thaw_digest_sparse(fd, digest, NULL)
				: thaw_digest_file(fd, digest, NULL),
			 0);
}

static void fill_manifest(int dir, const char *name, struct thaw_manifest *m)
{
	thaw_manifest_init(m);
	snprintf(m->name, sizeof(m->name), "%s", name);
	strcpy(m->created, "2026-11-21T20:00:00Z");
	strcpy(m->thaw, THAW_VERSION);
	assert_int_equal(thaw_function_set_name(&m->function, "orders", NULL), 0);
	assert_int_equal(thaw_function_set_runtime(&m->function, "python3.11", NULL), 0);
	assert_int_equal(thaw_function_set_handler(&m->function, "app.handler", NULL), 0);
	m->cpu_template = 1;
	digest_of(dir, "state", false, m->code_digest);
	strcpy(m->layers_digest, m->code_digest);
	strcpy(m->root_digest, m->code_digest);
	strcpy(m->kernel_digest, m->code_digest);
	strcpy(m->initramfs_digest, m->code_digest);
	digest_of(dir, "code.erofs", false, m->code_drive_digest);
	digest_of(dir, "layers.erofs", false, m->layers_drive_digest);
	digest_of(dir, "tmp.img", true, m->tmp_drive_digest);
	m->state_size = m->index_size = m->frames_size = m->tmp_size = 36;
}

static void put_manifest(int dir, const struct thaw_manifest *m)
{
	cleanup_free char *text = thaw_manifest_format(m);

	assert_non_null(text);
	put(dir, "manifest.json", text, strlen(text));
}

static int open_dir(const char *name)
{
	int dir = openat(host.state.snapshots, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(dir >= 0);
	return dir;
}

static void put_seal(const char *name)
{
	cleanup_close int dir = open_dir(name);
	struct thaw_seal seal;

	assert_true(unlinkat(dir, "seal", 0) == 0 || errno == ENOENT);
	assert_int_equal(thaw_snapshot_seal(&host.state, dir, name, &seal, NULL), 0);
	assert_int_equal(thaw_seal_write(&seal, dir, "seal", host.state.key, NULL), 0);
}

static void make(const char *name, char variant)
{
	struct thaw_manifest manifest;

	assert_true(mkdirat(host.state.snapshots, name, 0700) == 0 || errno == EEXIST);
	cleanup_close int dir = open_dir(name);
	for (size_t i = 1; i < FILES; i++)
		put_text(dir, files[i], name, variant);
	fill_manifest(dir, name, &manifest);
	put_manifest(dir, &manifest);
	thaw_manifest_clear(&manifest);
	put_seal(name);
}

/* Opens it and checks all of it, as a restore with frames would. */
static int look(const char *name, struct thaw_error *err)
{
	struct thaw_snapshot snapshot;
	struct thaw_error own = {0};

	err = err ?: &own;
	int rc = thaw_snapshot_open(&host.state, name, &snapshot, err);
	if (rc < 0)
		return rc;
	assert_string_equal(snapshot.name, name);
	rc = thaw_snapshot_check_frames(&snapshot, &host.state, err);
	/* Where it is used (tools/invocation.c). */
	uint8_t *event = NULL;
	size_t size;
	cleanup_close int fd = openat(snapshot.dir, "event.json", O_RDONLY | O_CLOEXEC);
	if (rc == 0 && fd >= 0 && thaw_read_file(fd, 4096, &event, &size, NULL) == 0)
		rc = thaw_seal_check_bytes(&snapshot.seal, "event.json", event, size, err);
	free(event);
	thaw_snapshot_close(&snapshot);
	return rc;
}

static void assert_refused(const char *name, const char *why)
{
	struct thaw_error err = {0};
	int rc = look(name, &err);

	if (rc != -EKEYREJECTED && rc != -EBADMSG && rc != -ELOOP)
		fail_msg("%s: %d %s", why, rc, err.message);
	if (rc == -EKEYREJECTED && !strstr(err.message, "event.json")) {
		assert_non_null(strstr(err.message, name));
		assert_non_null(
			strstr(err.message, "make it again, or import it with \"thaw trust"));
	}
}

static void test_untouched(void **state)
{
	(void)state;
	make("orders", 'a');
	assert_int_equal(look("orders", NULL), 0);
	/* What is optional may be missing. */
	cleanup_close int dir = open_dir("orders");
	assert_int_equal(unlinkat(dir, "working_set", 0), 0);
	assert_int_equal(unlinkat(dir, "event.json", 0), 0);
	assert_int_equal(look("orders", NULL), 0);
}

/* --- files --- */

static void test_changed_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < FILES; i++) {
		make("orders", 'a');
		assert_int_equal(look("orders", NULL), 0);
		cleanup_close int dir = open_dir("orders");
		cleanup_close int fd = openat(dir, files[i], O_RDWR | O_CLOEXEC);
		char byte;
		for (off_t at = 0; at < 36; at += 5) {
			assert_int_equal(pread(fd, &byte, 1, at), 1);
			byte ^= 1;
			assert_int_equal(pwrite(fd, &byte, 1, at), 1);
			assert_refused("orders", files[i]);
			byte ^= 1;
			assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		}
		assert_int_equal(look("orders", NULL), 0);
		/* Cut short, made longer, empty. */
		struct stat st;
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(ftruncate(fd, st.st_size - 1), 0);
		assert_refused("orders", files[i]);
		assert_int_equal(ftruncate(fd, st.st_size + 1), 0);
		assert_refused("orders", files[i]);
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_refused("orders", files[i]);
	}
}

static void test_files_that_are_none(void **state)
{
	(void)state;
	for (size_t i = 0; i < FILES; i++) {
		make("orders", 'a');
		cleanup_close int dir = open_dir("orders");
		assert_int_equal(renameat(dir, files[i], dir, "other"), 0);
		if (strcmp(files[i], "working_set") != 0 && strcmp(files[i], "event.json") != 0)
			assert_refused("orders", "missing");
		if (strcmp(files[i], "event.json") == 0)
			continue;
		assert_int_equal(symlinkat("other", dir, files[i]), 0);
		assert_refused("orders", "a link");
		assert_int_equal(unlinkat(dir, files[i], 0), 0);
		assert_int_equal(mkfifoat(dir, files[i], 0600), 0);
		assert_refused("orders", "a pipe");
		assert_int_equal(unlinkat(dir, files[i], 0), 0);
		assert_int_equal(renameat(dir, "other", dir, files[i]), 0);
		assert_int_equal(look("orders", NULL), 0);
		/* Whoever may write to it could do so later. */
		assert_int_equal(fchmodat(dir, files[i], 0666, 0), 0);
		assert_refused("orders", "open to all");
	}
	make("orders", 'a');
	assert_int_equal(fchmodat(host.state.snapshots, "orders", 0777, 0), 0);
	assert_refused("orders", "a folder open to all");
}

/* From another snapshot of the same shape, or an older one of the same name. */
static void test_mixed_files(void **state)
{
	(void)state;
	make("orders", 'a');
	make("prices", 'a');
	cleanup_close int mine = open_dir("orders"), theirs = open_dir("prices");
	for (size_t i = 0; i <= FILES; i++) {
		const char *name = i < FILES ? files[i] : "seal";
		assert_int_equal(renameat2(mine, name, theirs, name, RENAME_EXCHANGE), 0);
		assert_refused("orders", name);
		assert_refused("prices", name);
		assert_int_equal(renameat2(mine, name, theirs, name, RENAME_EXCHANGE), 0);
		assert_int_equal(look("orders", NULL), 0);
	}
	/* All of them together: its seal is of another name. */
	assert_int_equal(renameat2(host.state.snapshots, "orders", host.state.snapshots, "prices",
				   RENAME_EXCHANGE),
			 0);
	assert_refused("orders", "exchanged");
	assert_refused("prices", "exchanged");
	assert_int_equal(renameat(host.state.snapshots, "prices", host.state.snapshots, "old"), 0);
	make("prices", 'b');
	cleanup_close int now = open_dir("prices"), old = open_dir("old");
	for (size_t i = 0; i < FILES; i++) {
		assert_int_equal(renameat2(now, files[i], old, files[i], RENAME_EXCHANGE), 0);
		assert_refused("prices", files[i]);
		assert_int_equal(renameat2(now, files[i], old, files[i], RENAME_EXCHANGE), 0);
	}
	assert_int_equal(look("prices", NULL), 0);
}

/* --- the manifest --- */

/* With a checksum of its own that is right. */
static void test_forged_manifests(void **state)
{
	(void)state;
	for (int field = 0; field < 18; field++) {
		struct thaw_manifest m;
		make("orders", 'a');
		cleanup_close int dir = open_dir("orders");
		fill_manifest(dir, "orders", &m);
		char *const digests[] = {m.code_digest,      m.code_drive_digest,
					 m.layers_digest,    m.layers_drive_digest,
					 m.tmp_drive_digest, m.root_digest,
					 m.kernel_digest,    m.initramfs_digest};
		uint64_t *const numbers[] = {&m.state_size, &m.index_size, &m.frames_size,
					     &m.tmp_size,   &m.pages,      &m.zero_pages,
					     &m.init_us};
		if (field < 8)
			digests[field][0] = digests[field][0] == '0' ? '1' : '0';
		else if (field < 15)
			(*numbers[field - 8])++;
		else if (field == 15)
			m.cpu_template = 2;
		else if (field == 16)
			m.software_kvm = true;
		else
			assert_int_equal(thaw_function_set_handler(&m.function, "other.one", NULL),
					 0);
		put_manifest(dir, &m);
		thaw_manifest_clear(&m);
		assert_refused("orders", "a forged manifest");
	}
}

/* --- keys --- */

static void test_keys(void **state)
{
	struct thaw_error err = {0};

	(void)state;
	make("orders", 'a');
	struct thaw_keyring *key = host.state.key;
	host.state.key = NULL;
	assert_refused("orders", "no key");
	assert_int_equal(unlinkat(host.state.root, THAW_KEYRING_FILE, 0), 0);
	assert_int_equal(thaw_state_open_key(&host.state, true, NULL), 0);
	assert_int_equal(look("orders", &err), -EKEYREJECTED);
	assert_non_null(strstr(err.message, "another host or key"));
	thaw_keyring_close(host.state.key);
	host.state.key = key;
	assert_int_equal(look("orders", NULL), 0);
	cleanup_close int dir = open_dir("orders");
	assert_int_equal(unlinkat(dir, "seal", 0), 0);
	assert_int_equal(look("orders", &err), -EKEYREJECTED);
	assert_non_null(strstr(err.message, "no seal"));
}

/* --- what is kept beside --- */

static void test_working_sets(void **state)
{
	struct thaw_snapshot snapshot;
	struct thaw_workdir work;

	(void)state;
	make("orders", 'a');
	assert_int_equal(thaw_snapshot_open(&host.state, "orders", &snapshot, NULL), 0);
	assert_int_equal(thaw_workdir_make(&work, &host.state, NULL), 0);
	put_text(work.fd, "working_set", "new", 'b');
	int fd = openat(work.fd, "working_set", O_RDONLY | O_CLOEXEC);
	assert_int_equal(thaw_snapshot_put_working_set(&host.state, &snapshot, &work, &fd, NULL),
			 0);
	assert_int_equal(fd, -1);
	thaw_workdir_drop(&work);
	thaw_snapshot_close(&snapshot);
	assert_int_equal(look("orders", NULL), 0);
	/* The old one is not its own any more. */
	cleanup_close int dir = open_dir("orders");
	put_text(dir, "working_set", "orders", 'a');
	assert_refused("orders", "the old working set");
}

/* Without a thaw-vmm an image that is not believed cannot be made again: that tells. */
static bool image_believed(const char *name)
{
	struct thaw_snapshot snapshot;

	assert_int_equal(thaw_snapshot_open(&host.state, name, &snapshot, NULL), 0);
	int rc = thaw_snapshot_open_image(&snapshot, &host, NULL, NULL);
	thaw_snapshot_close(&snapshot);
	return rc == 0;
}

static void put_image(const char *name, char variant)
{
	struct thaw_snapshot snapshot;
	cleanup_close int dir = open_dir(name);

	put_text(dir, "image.raw", name, variant);
	assert_int_equal(thaw_snapshot_open(&host.state, name, &snapshot, NULL), 0);
	assert_int_equal(thaw_snapshot_note_image(&host.state, dir, &snapshot.seal, NULL), 0);
	thaw_snapshot_close(&snapshot);
}

static void test_images(void **state)
{
	char note[512];

	(void)state;
	make("orders", 'a');
	make("prices", 'a');
	assert_false(image_believed("orders"));
	put_image("orders", 'a');
	put_image("prices", 'a');
	assert_true(image_believed("orders"));
	cleanup_close int mine = open_dir("orders"), theirs = open_dir("prices");
	/* Another's image, with its note. */
	assert_int_equal(renameat2(mine, "image.raw", theirs, "image.raw", RENAME_EXCHANGE), 0);
	assert_false(image_believed("orders"));
	assert_int_equal(renameat2(mine, "image.id", theirs, "image.id", RENAME_EXCHANGE), 0);
	assert_false(image_believed("orders"));
	/* Its own, written to and given back its time; open to all; with a note that was changed.
	 */
	put_image("orders", 'a');
	cleanup_close int image = openat(mine, "image.raw", O_RDWR | O_CLOEXEC);
	struct stat st;
	assert_int_equal(fstat(image, &st), 0);
	assert_int_equal(pwrite(image, "!", 1, 0), 1);
	assert_int_equal(futimens(image, (const struct timespec[]){st.st_atim, st.st_mtim}), 0);
	assert_false(image_believed("orders"));
	put_image("orders", 'a');
	assert_int_equal(fchmodat(mine, "image.raw", 0606, 0), 0);
	assert_false(image_believed("orders"));
	put_image("orders", 'a');
	cleanup_close int fd = openat(mine, "image.id", O_RDWR | O_CLOEXEC);
	ssize_t size = read(fd, note, sizeof(note));
	assert_true(size > 100);
	for (ssize_t at = 0; at < size; at += 3) {
		note[at] ^= 1;
		assert_int_equal(pwrite(fd, &note[at], 1, at), 1);
		assert_false(image_believed("orders"));
		note[at] ^= 1;
		assert_int_equal(pwrite(fd, &note[at], 1, at), 1);
	}
	assert_true(image_believed("orders"));
}

/* An import checks all it can before thaw-vmm has a look, and changes nothing when it fails. */
static void test_imports(void **state)
{
	struct thaw_error err = {0};

	(void)state;
	make("orders", 'a');
	cleanup_close int dir = open_dir("orders");
	assert_int_equal(unlinkat(dir, "seal", 0), 0);
	assert_true(thaw_snapshot_import(&host, "orders", &err) < 0);
	assert_non_null(strstr(err.message, "/nonexistent/thaw-vmm"));
	assert_int_not_equal(faccessat(dir, "seal", F_OK, 0), 0);
	put_text(dir, "code.erofs", "orders", 'b');
	assert_int_equal(thaw_snapshot_import(&host, "orders", &err), -EBADMSG);
	assert_non_null(strstr(err.message, "code.erofs"));
	put_text(dir, "code.erofs", "orders", 'a');
	assert_int_equal(fchmodat(dir, "state", 0666, 0), 0);
	assert_int_equal(thaw_snapshot_import(&host, "orders", &err), -EKEYREJECTED);
	assert_non_null(strstr(err.message, "state"));
	assert_int_equal(thaw_snapshot_import(&host, "none", &err), -ENOENT);
	assert_int_equal(thaw_snapshot_import(&host, "../x", &err), -EINVAL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_untouched),    T(test_changed_files),    T(test_files_that_are_none),
		T(test_mixed_files),  T(test_forged_manifests), T(test_keys),
		T(test_working_sets), T(test_images),           T(test_imports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
