/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/service_telemetry_harness.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/error.h"
#include "lib/fd.h"

void logs_setup(struct logs_fixture *fixture, const struct thaw_logs_config *config)
{
	struct thaw_error err = {0};

	strcpy(fixture->path, "/tmp/thaw-logs-XXXXXX");
	assert_non_null(mkdtemp(fixture->path));
	fixture->data = open(fixture->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fixture->data >= 0);
	fixture->logs = thaw_logs_open(fixture->data, config, &err);
	assert_string_equal(err.message, "");
	assert_non_null(fixture->logs);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

void logs_teardown(struct logs_fixture *fixture)
{
	thaw_logs_close(fixture->logs);
	close(fixture->data);
	assert_int_equal(nftw(fixture->path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

struct thaw_log_stream *logs_stream(struct logs_fixture *fixture, const char *function,
				    const char *name)
{
	struct thaw_error err = {0};
	struct thaw_log_stream *stream =
		thaw_log_stream_open(fixture->logs, LOGS_ACCOUNT, function, name, &err);

	assert_string_equal(err.message, "");
	assert_non_null(stream);
	return stream;
}

void logs_print(struct thaw_log_stream *stream, const char *request_id, const char *text)
{
	thaw_log_stream_write(stream, THAW_LOG_KIND_FUNCTION, request_id, (const uint8_t *)text,
			      strlen(text));
}

const char *logs_path(struct logs_fixture *fixture, const char *function, const char *file)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/logs/" LOGS_ACCOUNT "/%s/%s", fixture->path, function,
		 file);
	return path;
}

bool logs_exists(struct logs_fixture *fixture, const char *function, const char *file)
{
	struct stat st;

	return lstat(logs_path(fixture, function, file), &st) == 0;
}

char *logs_read(struct logs_fixture *fixture, const char *function, const char *file)
{
	cleanup_close int fd = open(logs_path(fixture, function, file), O_RDONLY | O_CLOEXEC);
	struct thaw_error err = {0};
	uint8_t *data = NULL;
	size_t size;

	assert_true(fd >= 0);
	assert_int_equal(thaw_read_file(fd, 64u << 20, &data, &size, &err), 0);
	return (char *)data;
}

void logs_write(struct logs_fixture *fixture, const char *function, const char *file,
		const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/logs/" LOGS_ACCOUNT, fixture->path);
	(void)mkdir(path, 0700);
	strcat(strcat(path, "/"), function);
	(void)mkdir(path, 0700);
	cleanup_close int fd = open(logs_path(fixture, function, file),
				    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(thaw_write_full(fd, text, strlen(text)), 0);
}
