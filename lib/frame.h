/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Length-framed messages on a byte stream: a 32-bit little-endian length, then that many bytes
 * (docs/protocol.md). Used between host and guest, so both ends treat the other as hostile: a
 * length over THAW_FRAME_MAX ends the conversation before a byte of it is stored.
 */
#ifndef THAW_LIB_FRAME_H
#define THAW_LIB_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define THAW_FRAME_MAX    (1u << 20)
#define THAW_FRAME_HEADER 4u

/* An incremental reader: feed it what the stream gives, take out whole frames. */
struct thaw_frame_reader {
	uint8_t *data; /* owned; grows to what the current frame needs */
	size_t start;  /* first byte not yet taken */
	size_t end;    /* first byte not yet filled */
	size_t space;
};

/* Releases the buffer; the reader may be used again. */
void thaw_frame_reader_clear(struct thaw_frame_reader *reader);

/* Reads once from `fd` into the reader. The count read; 0 at the end of the stream; -EAGAIN,
 * -ENOMEM or another negative errno. */
ssize_t thaw_frame_fill(struct thaw_frame_reader *reader, int fd);

/* The next whole frame. 1: *body and *size are set, and stay valid until the next call of any
 * thaw_frame_* on this reader; 0: more bytes are needed; -EMSGSIZE: the length is over
 * THAW_FRAME_MAX and the stream cannot be used any more. */
int thaw_frame_next(struct thaw_frame_reader *reader, const uint8_t **body, size_t *size);

/* The header for a body of `size` bytes (at most THAW_FRAME_MAX). */
static inline void thaw_frame_header(uint8_t header[THAW_FRAME_HEADER], uint32_t size)
{
	for (unsigned int i = 0; i < THAW_FRAME_HEADER; i++)
		header[i] = (uint8_t)(size >> (8 * i));
}

#endif
