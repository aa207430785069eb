/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes in a queue: appended at the end, taken from the front. The memory stays when it runs
 * empty, so that a busy connection neither allocates nor faults; thaw_buffer_clear gives it back.
 */
#ifndef THAW_AGENT_BUFFER_H
#define THAW_AGENT_BUFFER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct thaw_buffer {
	uint8_t *data;
	size_t start; /* first byte held */
	size_t end;   /* one past the last */
	size_t space;
};

static inline size_t thaw_buffer_size(const struct thaw_buffer *buffer)
{
	return buffer->end - buffer->start;
}

/* NULL before the first byte came. */
static inline uint8_t *thaw_buffer_bytes(const struct thaw_buffer *buffer)
{
	return buffer->data ? buffer->data + buffer->start : NULL;
}

void thaw_buffer_clear(struct thaw_buffer *buffer);

/* Room for `size` more bytes in one piece; NULL when there is no memory. What is written there
 * counts after thaw_buffer_commit. */
uint8_t *thaw_buffer_reserve(struct thaw_buffer *buffer, size_t size);
void thaw_buffer_commit(struct thaw_buffer *buffer, size_t size);

/* 0 or -ENOMEM. */
int thaw_buffer_append(struct thaw_buffer *buffer, const void *data, size_t size);

/* Forgets `size` bytes at the front (at most what is held). */
void thaw_buffer_consume(struct thaw_buffer *buffer, size_t size);

/* One write(2) of what is held. The bytes left, or a negative errno; -EAGAIN does not show: all
 * are left then. */
ssize_t thaw_buffer_write(struct thaw_buffer *buffer, int fd);

#endif
