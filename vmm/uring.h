/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings of io_uring that can do no more than they are made for. What a ring does is no system call
 * of the thread that asks for it: seccomp does not see it. So each ring is told, before it begins,
 * which operations it takes (IORING_REGISTER_RESTRICTIONS, Linux 5.10), for ever; and none can be
 * made once a guest runs (sandbox_table.c).
 */
#ifndef THAW_VMM_URING_H
#define THAW_VMM_URING_H

#include <liburing.h>
#include <stddef.h>
#include <stdint.h>

struct thaw_error;

#define THAW_URING_OPERATIONS_MAX 8

/* A ring of so many entries for these operations (IORING_OP_*), without flags; the caller ends it
 * with io_uring_queue_exit. */
int thaw_uring_create(struct io_uring *ring, unsigned int entries, const uint8_t *operations,
		      size_t count, struct thaw_error *err);

#endif
