/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of logs as `thaw logs` finds it: each record that comes
 * out must keep its promises, and a record written from it must be read as the same one.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "host/telemetry/log_source.h"
#include "lib/fd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int right)
{
	if (!right)
		abort();
}

static void check_clean(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++)
		check((uint8_t)text[i] == '\t' ||
		      ((uint8_t)text[i] >= 0x20 && (uint8_t)text[i] != 0x7f));
	check(thaw_log_text_whole((const uint8_t *)text, size) == size);
	/* A clean text is clean. */
	char *again = malloc(THAW_LOG_CLEAN * size + 1);
	check(again != NULL);
	check(thaw_log_text_clean(again, (const uint8_t *)text, size) == size);
	check(size == 0 || memcmp(text, again, size) == 0);
	free(again);
}

/* Written as a line, it is read as the same record. */
static void check_record(const struct thaw_log_record *record)
{
	char *line = malloc(THAW_LOG_HEAD_MAX + THAW_LOG_CLEAN * record->text_size);
	struct thaw_log_record again;

	check(line != NULL);
	check(record->time_ms >= THAW_LOG_TIME_FIRST && record->time_ms <= THAW_LOG_TIME_LAST);
	check(strlen(record->request_id) <= THAW_LOG_REQUEST_MAX);
	check(record->kind < THAW_LOG_KINDS);
	size_t head = thaw_log_head_format(line, record->time_ms, record->request_id, record->kind);
	size_t text =
		thaw_log_text_clean(line + head, (const uint8_t *)record->text, record->text_size);
	check_clean(line + head, text);
	check(thaw_log_line_parse(line, head + text, &again) == 0);
	check(again.time_ms == record->time_ms && again.kind == record->kind);
	check(strcmp(again.request_id, record->request_id) == 0);
	check(again.text == line + head && again.text_size == text);
	free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct thaw_log_source source = {.fd = memfd_create("log", MFD_CLOEXEC)};
	size_t lines = 0, records = 0;
	int rc;

	check(source.fd >= 0 && thaw_write_full(source.fd, data, size) == 0);
	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	while ((rc = thaw_log_source_next(&source)) > 0) {
		check_record(&source.record);
		records++;
	}
	check(rc == 0 && records + source.damaged <= lines);
	/* Names of files come from the folder. */
	char name[THAW_LOG_FILE_TEXT + 2], stream[THAW_LOG_STREAM_TEXT], file[THAW_LOG_FILE_TEXT];
	bool before;
	size_t length = size < sizeof(name) ? size : sizeof(name) - 1;
	if (length)
		memcpy(name, data, length);
	name[length] = 0;
	if (thaw_log_name_stream(stream, name, &before) == 0) {
		check(thaw_log_name_file(file, stream) == 0);
		check(strncmp(file, name, strlen(file)) == 0);
	}
	thaw_log_source_clear(&source);
	return 0;
}
