/* SPDX-License-Identifier: Apache-2.0 */
#include "host/telemetry/logs_tail.h"

#include <string.h>

#include "host/telemetry/log_line.h"

#define RING (THAW_LOG_TAIL_MAX + 1)

void thaw_log_tail_clear(struct thaw_log_tail *tail)
{
	tail->total = 0;
}

void thaw_log_tail_push(struct thaw_log_tail *tail, const uint8_t *data, size_t size)
{
	if (size > RING) {
		tail->total += size - RING;
		data += size - RING;
		size = RING;
	}
	while (size) {
		size_t at = (size_t)(tail->total % RING);
		size_t take = size < RING - at ? size : RING - at;
		memcpy(tail->ring + at, data, take);
		tail->total += take;
		data += take;
		size -= take;
	}
}

size_t thaw_log_tail_read(const struct thaw_log_tail *tail, char text[THAW_LOG_TAIL_MAX])
{
	uint8_t straight[RING];
	size_t size = tail->total < RING ? (size_t)tail->total : RING;
	size_t at = (size_t)((tail->total - size) % RING);
	const uint8_t *from = straight;

	memcpy(straight, tail->ring + at, size < RING - at ? size : RING - at);
	if (size > RING - at)
		memcpy(straight + (RING - at), tail->ring, size - (RING - at));
	if (size == RING) {
		/* More was printed than fits: it begins behind a line feed, if one is followed by
		 * anything. */
		const uint8_t *feed = memchr(straight, '\n', RING - 1);
		if (feed) {
			from = feed + 1;
		} else {
			/* The rest of a character that began before. */
			for (int i = 0; i < 3 && (from[1] & 0xc0) == 0x80; i++)
				from++;
			from++;
		}
		size = (size_t)(straight + RING - from);
	}
	size_t used = 0;
	while (used < size) {
		size_t length = thaw_log_text_character(from + used, size - used);
		if (length == 0 || length > size - used) {
			text[used++] = '?';
			continue;
		}
		memcpy(text + used, from + used, length);
		used += length;
	}
	return size;
}
