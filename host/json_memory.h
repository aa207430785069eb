/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON that lacks a member for want of memory. To build a value takes many allocations, and jansson
 * leaves out what it has no memory for; whoever builds one would have to look after each member. So
 * it is noted that one has failed, and looked at once, before the value is used: a policy whose
 * condition is lost must not be written, nor a configuration without its variables.
 *
 * Each thread has its own note, which is taken only between begin and end.
 */
#ifndef THAW_HOST_JSON_MEMORY_H
#define THAW_HOST_JSON_MEMORY_H

#include <stdbool.h>

/* Nothing has failed yet. */
void thaw_json_memory_begin(void);
void thaw_json_memory_end(void);

/* Whether something has, since this thread's begin; false outside. */
bool thaw_json_memory_lost(void);

#endif
