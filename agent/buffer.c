/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SPACE_MIN 4096u

void thaw_buffer_clear(struct thaw_buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct thaw_buffer){0};
}

uint8_t *thaw_buffer_reserve(struct thaw_buffer *buffer, size_t size)
{
	size_t held = thaw_buffer_size(buffer);

	if (buffer->space - buffer->end >= size && buffer->data)
		return buffer->data + buffer->end;
	if (buffer->start) {
		memmove(buffer->data, buffer->data + buffer->start, held);
		buffer->start = 0;
		buffer->end = held;
	}
	if (buffer->space - held < size || !buffer->data) {
		size_t space = held + size;
		if (space < size)
			return NULL;
		if (space < SPACE_MIN)
			space = SPACE_MIN;
		if (space < 2 * held)
			space = 2 * held;
		uint8_t *data = realloc(buffer->data, space);
		if (!data)
			return NULL;
		buffer->data = data;
		buffer->space = space;
	}
	return buffer->data + buffer->end;
}

void thaw_buffer_commit(struct thaw_buffer *buffer, size_t size)
{
	buffer->end += size;
}

int thaw_buffer_append(struct thaw_buffer *buffer, const void *data, size_t size)
{
	if (size == 0)
		return 0;
	uint8_t *at = thaw_buffer_reserve(buffer, size);
	if (!at)
		return -ENOMEM;
	memcpy(at, data, size);
	buffer->end += size;
	return 0;
}

void thaw_buffer_consume(struct thaw_buffer *buffer, size_t size)
{
	buffer->start += size;
	if (buffer->start >= buffer->end)
		buffer->start = buffer->end = 0;
}

ssize_t thaw_buffer_write(struct thaw_buffer *buffer, int fd)
{
	size_t held = thaw_buffer_size(buffer);
	ssize_t n;

	if (held == 0)
		return 0;
	do {
		n = send(fd, thaw_buffer_bytes(buffer), held, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN)
		return -errno;
	if (n > 0)
		thaw_buffer_consume(buffer, (size_t)n);
	return (ssize_t)thaw_buffer_size(buffer);
}
