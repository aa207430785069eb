/* SPDX-License-Identifier: Apache-2.0 */
/* One post to the collector. For traces.c; one thread uses it, but for traces_post_hurry. */
#ifndef THAW_HOST_TELEMETRY_TRACES_POST_H
#define THAW_HOST_TELEMETRY_TRACES_POST_H

#include <stddef.h>
#include <stdint.h>

struct thaw_error;
struct traces_post;

enum traces_post_result {
	TRACES_POST_DONE,
	TRACES_POST_AGAIN, /* the collector asks for another try, or cannot be reached */
	TRACES_POST_REFUSED,
};

struct traces_post_outcome {
	enum traces_post_result result;
	uint64_t retry_after_ms; /* 0: it has not said */
	uint64_t rejected;       /* spans of a batch that was else taken ("partial success") */
	char why[128];           /* not DONE: for people */
};

struct traces_post *traces_post_new(const char *url, uint32_t timeout_ms, struct thaw_error *err);
void traces_post_free(struct traces_post *post);

void traces_post_send(struct traces_post *post, const char *body, size_t size,
		      struct traces_post_outcome *outcome);

/* From any thread: no post lasts longer than until then (CLOCK_MONOTONIC), also the one under way.
 */
void traces_post_hurry(struct traces_post *post, uint64_t end_ns);

#endif
