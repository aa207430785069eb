/* SPDX-License-Identifier: Apache-2.0 */
#include "host/timeouts.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

#include "lib/clock.h"

/* In an emulated host (tests/host) everything takes about so much longer. */
#define EMULATED_SCALE 10.0

static double scale = 1.0;

/* Once: every wait of an invocation asks. */
static void scale_read(void)
{
	const char *text = getenv("THAW_TIMEOUT_SCALE");
	char *end;

	if (!text || !*text) {
		scale = getenv("THAW_EMULATED_HOST") ? EMULATED_SCALE : 1.0;
		return;
	}
	double given = strtod(text, &end);
	if (!*end && given >= 0.01 && given <= 1000.0)
		scale = given;
}

static double timeout_scale(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, scale_read);
	return scale;
}

uint32_t thaw_timeout_ms(uint32_t milliseconds)
{
	double scaled = milliseconds * timeout_scale();

	if (scaled < 1.0)
		return 1;
	return scaled >= INT_MAX ? INT_MAX : (uint32_t)scaled;
}

uint64_t thaw_deadline(uint32_t milliseconds)
{
	return thaw_monotonic_ns() + (uint64_t)thaw_timeout_ms(milliseconds) * 1000000u;
}

int thaw_deadline_left(uint64_t deadline)
{
	uint64_t now = thaw_monotonic_ns();

	if (now >= deadline)
		return 0;
	uint64_t left = (deadline - now + 999999u) / 1000000u;
	return left > INT_MAX ? INT_MAX : (int)left;
}
