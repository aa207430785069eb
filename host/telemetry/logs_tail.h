/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of one invocation's log, for the header X-Amz-Log-Result: the last THAW_LOG_TAIL_MAX
 * bytes of what is pushed, whole lines where there is a whole one, and valid UTF-8. The caller
 * encodes it in base64, so control characters stay as they are.
 */
#ifndef THAW_HOST_TELEMETRY_LOGS_TAIL_H
#define THAW_HOST_TELEMETRY_LOGS_TAIL_H

#include <stddef.h>
#include <stdint.h>

#define THAW_LOG_TAIL_MAX 4096u

struct thaw_log_tail {
	uint64_t total; /* bytes pushed */
	/* A ring, and one byte more: whether a line begins at the tail's beginning. */
	uint8_t ring[THAW_LOG_TAIL_MAX + 1];
};

/* Makes it empty: the beginning of an invocation. */
void thaw_log_tail_clear(struct thaw_log_tail *tail);

void thaw_log_tail_push(struct thaw_log_tail *tail, const uint8_t *data, size_t size);

/* What there is; its size. Bytes that are not UTF-8 read "?". Not terminated. */
size_t thaw_log_tail_read(const struct thaw_log_tail *tail, char text[THAW_LOG_TAIL_MAX]);

#endif
