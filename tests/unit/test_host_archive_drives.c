/* SPDX-License-Identifier: Apache-2.0 */
/* Drives made of archives, of one or of several layers. */
#include "tests/unit/host_archive_harness.h"

static struct thaw_state drive_state;

static int drive_setup(void **state)
{
	char path[128];

	setup(state);
	struct place *place = *state;
	snprintf(path, sizeof(path), "%s/in/state", place->root);
	assert_int_equal(thaw_state_open(&drive_state, path, NULL), 0);
	return 0;
}

static int drive_teardown(void **state)
{
	/* Nothing half-made, after success or failure (".lock" is the sweepers'). */
	assert_int_equal(count_names(drive_state.tmp), 1);
	thaw_state_close(&drive_state);
	return teardown(state);
}

static int drive_zip(struct place *place, struct zip *zip, size_t count,
		     char digest[THAW_DIGEST_TEXT])
{
	struct thaw_archive archives[4];
	int fd = -1;

	for (size_t i = 0; i < count; i++)
		archives[i] = (struct thaw_archive){.data = zip[i].data, .size = zip[i].size};
	int rc = thaw_code_drive_archives(&drive_state, archives, count, &place->unpack, &fd,
					  digest, &place->err);
	assert_int_equal(rc == 0, fd >= 0);
	if (fd >= 0)
		close(fd);
	return rc;
}

static void write_text(int dir, const char *name, const char *text)
{
	cleanup_close int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(thaw_write_full(fd, text, strlen(text)), 0);
}

/* A folder, an archive in memory and one in a file: one code, one drive. */
static void test_drive_is_the_folders(void **state)
{
	struct place *place = *state;
	char folder[THAW_DIGEST_TEXT], archive[THAW_DIGEST_TEXT], path[128];
	struct zip zip = {0};
	int fd;

	assert_int_equal(mkdirat(place->dir, "code", 0700), 0);
	assert_int_equal(mkdirat(place->dir, "code/lib", 0700), 0);
	write_text(place->dir, "code/app.py", "pass\n");
	write_text(place->dir, "code/lib/x.py", "");
	assert_int_equal(symlinkat("lib/x.py", place->dir, "code/y.py"), 0);
	snprintf(path, sizeof(path), "%s/in/code", place->root);
	assert_int_equal(thaw_code_drive(&drive_state, path, &fd, folder, NULL), 0);
	close(fd);

	zip_add(&zip, &(struct zip_entry){.name = "y.py", .mode = LINK, TEXT("lib/x.py")});
	zip_add(&zip, &(struct zip_entry){.name = "lib/x.py"});
	zip_add(&zip, &(struct zip_entry){.name = "app.py", TEXT("pass\n")});
	zip_end(&zip);
	assert_int_equal(drive_zip(place, &zip, 1, archive), 0);
	assert_string_equal(folder, archive);
	assert_int_equal(count_names(drive_state.code), 1);

	cleanup_close int file =
		openat(place->dir, "code.zip", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(thaw_write_full(file, zip.data, zip.size), 0);
	snprintf(path, sizeof(path), "%s/in/code.zip", place->root);
	assert_int_equal(thaw_code_drive(&drive_state, path, &fd, archive, NULL), 0);
	close(fd);
	assert_string_equal(folder, archive);
	zip_free(&zip);

	/* One that no folder was made before. */
	zip_add(&zip, &(struct zip_entry){.name = "app.py", TEXT("other\n")});
	zip_end(&zip);
	assert_int_equal(drive_zip(place, &zip, 1, archive), 0);
	assert_string_not_equal(folder, archive);
	assert_int_equal(count_names(drive_state.code), 2);
	zip_free(&zip);
}

static void test_drive_refused(void **state)
{
	struct place *place = *state;
	char digest[THAW_DIGEST_TEXT] = "", path[128];
	struct zip zip = {0};
	int fd;

	zip_add(&zip, &(struct zip_entry){.name = "ok", TEXT("x")});
	zip_add(&zip, &(struct zip_entry){.name = "../x", TEXT("x")});
	zip_end(&zip);
	assert_int_equal(drive_zip(place, &zip, 1, digest), -EINVAL);
	assert_int_equal(place->unpack.fault, THAW_ARCHIVE_REFUSED);
	zip_free(&zip);
	assert_int_equal(drive_zip(place, NULL, 0, digest), -EINVAL);
	assert_int_equal(place->unpack.fault, THAW_ARCHIVE_HOST);
	write_text(place->dir, "text.zip", "no archive");
	snprintf(path, sizeof(path), "%s/in/text.zip", place->root);
	assert_int_equal(thaw_code_drive(&drive_state, path, &fd, digest, &place->err), -EINVAL);
	assert_non_null(strstr(place->err.message, "text.zip\": it is not a ZIP archive"));
	assert_int_equal(thaw_code_drive(&drive_state, "/dev/null", &fd, digest, &place->err),
			 -ENOTDIR);
	assert_int_equal(count_names(drive_state.code), 0);
}

/* Layers: in order, over one another, under one limit that the function's code took from. */
static void test_drive_of_layers(void **state)
{
	struct place *place = *state;
	char layered[THAW_DIGEST_TEXT], plain[THAW_DIGEST_TEXT], other[THAW_DIGEST_TEXT];
	struct zip zip[3] = {0}, one = {0}, back[2];

	zip_add(&zip[0], &(struct zip_entry){.name = "lib/a", TEXT("aaa")});
	zip_add(&zip[0], &(struct zip_entry){.name = "lib/b", TEXT("first")});
	zip_add(&zip[1], &(struct zip_entry){.name = "lib/b", .mode = FILE_755, TEXT("second")});
	zip_add(&zip[1], &(struct zip_entry){.name = "bin/", .mode = FOLDER});
	zip_add(&zip[2], &(struct zip_entry){.name = "lib", TEXT("no folder")});
	zip_add(&one, &(struct zip_entry){.name = "lib/a", TEXT("aaa")});
	zip_add(&one, &(struct zip_entry){.name = "lib/b", .mode = FILE_755, TEXT("second")});
	zip_add(&one, &(struct zip_entry){.name = "bin/", .mode = FOLDER});
	for (int i = 0; i < 3; i++)
		zip_end(&zip[i]);
	zip_end(&one);
	back[0] = zip[1];
	back[1] = zip[0];
	assert_int_equal(drive_zip(place, zip, 2, layered), 0);
	assert_int_equal(drive_zip(place, &one, 1, plain), 0);
	assert_int_equal(drive_zip(place, back, 2, other), 0);
	assert_string_equal(layered, plain);
	assert_string_not_equal(layered, other);
	assert_int_equal(drive_zip(place, zip, 3, other), -EINVAL);
	assert_non_null(strstr(place->err.message, "archive 3: \"lib\" has the name of a folder"));

	/* "aaa", "first", "second": 14 bytes; the code before them took its part. */
	place->unpack = (struct thaw_unpack){.bytes = 9 + 14, .entries = 100};
	assert_int_equal(drive_zip(place, &one, 1, plain), 0);
	assert_int_equal(place->unpack.bytes, 14);
	assert_int_equal(drive_zip(place, zip, 2, layered), 0);
	assert_int_equal(place->unpack.bytes, 0);
	place->unpack.bytes = 13;
	assert_int_equal(drive_zip(place, zip, 2, layered), -EFBIG);
	assert_int_equal(place->unpack.fault, THAW_ARCHIVE_TOO_LARGE);
	for (int i = 0; i < 3; i++)
		zip_free(&zip[i]);
	zip_free(&one);
}

/* Whenever its maker is killed: the next to come finds drives that are whole, and nothing else. */
static void test_drive_maker_killed(void **state)
{
	struct place *place = *state;
	struct thaw_state again;
	struct stat st;
	char path[128];

	for (unsigned int ms = 0; ms < 60; ms += 5) {
		pid_t pid = fork();
		if (pid == 0) {
			for (unsigned int i = 0;; i++) {
				const unsigned int number[2] = {ms, i};
				char digest[THAW_DIGEST_TEXT];
				struct zip zip = {0};
				zip_add(&zip, &(struct zip_entry){.name = "a/b/c",
								  .data = number,
								  .size = sizeof(number)});
				zip_add(&zip, &(struct zip_entry){.name = "d", TEXT("d")});
				zip_end(&zip);
				if (drive_zip(place, &zip, 1, digest) < 0)
					_exit(1);
				zip_free(&zip);
			}
		}
		usleep(ms * 1000);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		snprintf(path, sizeof(path), "%s/in/state", place->root);
		/* A program that it had just started holds the lock until its own end. */
		for (int tries = 0, left = 2; left != 1; tries++) {
			assert_true(tries < 1000);
			assert_int_equal(thaw_state_open(&again, path, NULL), 0);
			left = (int)count_names(again.tmp);
			thaw_state_close(&again);
			usleep(1000);
		}
	}
	DIR *drives = fdopendir(openat(drive_state.code, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	for (struct dirent *entry; (entry = readdir(drives));) {
		if (entry->d_name[0] == '.')
			continue;
		assert_int_equal(fstatat(drive_state.code, entry->d_name, &st, 0), 0);
		assert_int_equal(st.st_mode, S_IFREG | 0444);
		assert_true(st.st_size > 0 && st.st_size % (2 << 20) == 0);
	}
	closedir(drives);
}

int main(void)
{
#define D(name) cmocka_unit_test_setup_teardown(name, drive_setup, drive_teardown)
	const struct CMUnitTest tests[] = {
		D(test_drive_is_the_folders),
		D(test_drive_refused),
		D(test_drive_of_layers),
		D(test_drive_maker_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
