/* SPDX-License-Identifier: Apache-2.0 */
#include "host/telemetry/log_source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/fd.h"

#define FIRST_SPACE 8192u

/* Room for more behind what there is. */
static int source_room(struct thaw_log_source *source)
{
	if (source->start) {
		source->end -= source->start;
		memmove(source->data, source->data + source->start, source->end);
		source->start = 0;
	}
	if (source->end < source->space)
		return 0;
	if (source->space >= THAW_LOG_LINE_MAX) {
		/* No record is so long: the rest of the line goes too. */
		source->skipping = true;
		source->end = 0;
		return 0;
	}
	size_t space = source->space ? source->space * 2 : FIRST_SPACE;
	char *data = realloc(source->data, space);
	if (!data)
		return -ENOMEM;
	source->data = data;
	source->space = space;
	return 0;
}

/* Bytes read; 0: the end. */
static ssize_t source_fill(struct thaw_log_source *source)
{
	struct stat st;
	ssize_t n;

	int rc = source_room(source);
	if (rc < 0)
		return rc;
	do
		n = pread(source->fd, source->data + source->end, source->space - source->end,
			  source->offset);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	/* What a full disk took of a batch is taken back (logs_file.c). */
	if (n == 0 && fstat(source->fd, &st) == 0 && st.st_size < source->offset) {
		source->offset = st.st_size;
		source->start = source->end = 0;
		source->skipping = false;
	}
	source->end += (size_t)n;
	source->offset += n;
	return n;
}

int thaw_log_source_next(struct thaw_log_source *source)
{
	size_t seen = 0; /* of what there is, without a line feed */

	source->waiting = false;
	for (;;) {
		size_t size = source->end - source->start;
		const char *line = size ? source->data + source->start : NULL;
		const char *feed = size > seen ? memchr(line + seen, '\n', size - seen) : NULL;
		if (!feed) {
			seen = size;
			ssize_t n = source_fill(source);
			if (n <= 0)
				return (int)n;
			if (source->end - source->start < seen)
				seen = 0;
			continue;
		}
		size = (size_t)(feed - line);
		source->start += size + 1;
		seen = 0;
		bool skipped = source->skipping;
		source->skipping = false;
		if (!skipped && thaw_log_line_parse(line, size, &source->record) == 0) {
			source->waiting = true;
			return 1;
		}
		/* An empty line ends a record that a lost host left without its end. */
		if (size || skipped)
			source->damaged++;
	}
}

void thaw_log_source_clear(struct thaw_log_source *source)
{
	thaw_cleanup_close(&source->fd);
	free(source->data);
	*source = (struct thaw_log_source){.fd = -1};
}
