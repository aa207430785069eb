/* SPDX-License-Identifier: Apache-2.0 */
#include "host/json_memory.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>

static _Thread_local bool watched, lost;

static void *json_memory_get(size_t size)
{
	void *memory = malloc(size);

	lost |= !memory && watched;
	return memory;
}

static void json_memory_set(void)
{
	json_set_alloc_funcs(json_memory_get, free);
}

void thaw_json_memory_begin(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, json_memory_set);
	watched = true;
	lost = false;
}

void thaw_json_memory_end(void)
{
	watched = lost = false;
}

bool thaw_json_memory_lost(void)
{
	return lost;
}
