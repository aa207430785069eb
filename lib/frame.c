/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Small frames are the rule; one read takes several. */
#define FRAME_SPACE_MIN 16384u

static uint32_t frame_length(const uint8_t *header)
{
	return (uint32_t)header[0] | (uint32_t)header[1] << 8 | (uint32_t)header[2] << 16 |
	       (uint32_t)header[3] << 24;
}

void thaw_frame_reader_clear(struct thaw_frame_reader *reader)
{
	free(reader->data);
	*reader = (struct thaw_frame_reader){0};
}

/* Bytes the buffer must hold for the frame that begins at `start`. */
static size_t frame_wanted(const struct thaw_frame_reader *reader)
{
	size_t held = reader->end - reader->start;

	if (held < THAW_FRAME_HEADER)
		return FRAME_SPACE_MIN;
	size_t wanted = THAW_FRAME_HEADER + frame_length(reader->data + reader->start);
	return wanted < FRAME_SPACE_MIN ? FRAME_SPACE_MIN : wanted;
}

ssize_t thaw_frame_fill(struct thaw_frame_reader *reader, int fd)
{
	size_t wanted = frame_wanted(reader);

	if (wanted > THAW_FRAME_HEADER + THAW_FRAME_MAX)
		return -EMSGSIZE;
	if (reader->start) {
		memmove(reader->data, reader->data + reader->start, reader->end - reader->start);
		reader->end -= reader->start;
		reader->start = 0;
	}
	/* Whole frames not yet taken may fill the buffer: then it must grow too. */
	if (reader->space - reader->end == 0 && wanted <= reader->space)
		wanted = reader->space + FRAME_SPACE_MIN;
	if (reader->space < wanted) {
		uint8_t *data = realloc(reader->data, wanted);
		if (!data)
			return -ENOMEM;
		reader->data = data;
		reader->space = wanted;
	}
	ssize_t n;
	do {
		n = read(fd, reader->data + reader->end, reader->space - reader->end);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	reader->end += (size_t)n;
	return n;
}

int thaw_frame_next(struct thaw_frame_reader *reader, const uint8_t **body, size_t *size)
{
	size_t held = reader->end - reader->start;

	if (held < THAW_FRAME_HEADER)
		return 0;
	uint32_t length = frame_length(reader->data + reader->start);
	if (length > THAW_FRAME_MAX)
		return -EMSGSIZE;
	if (held - THAW_FRAME_HEADER < length)
		return 0;
	*body = reader->data + reader->start + THAW_FRAME_HEADER;
	*size = length;
	reader->start += THAW_FRAME_HEADER + length;
	return 1;
}
