/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of which each account has a copy of its own.
 *
 * Drives that guests map are shared: a page of a runtime is in the host's memory once, for all
 * accounts. Who shares a page can tell by the time that a read of it takes whether another has just
 * read it (Flush+Reload), and so learn which code of a shared library another account's function
 * runs. Where that is worth more than the memory, each account is given copies, whose pages are its
 * own.
 *
 * A copy is a file without a name in the state directory's tmp/. It lives as long as somebody has
 * it open, and here for THAW_PRIVATE_COPY_KEEP_S after it was last asked for. All functions may be
 * called from any thread.
 */
#ifndef THAW_HOST_PRIVATE_COPIES_H
#define THAW_HOST_PRIVATE_COPIES_H

#include <stdint.h>

#define THAW_PRIVATE_COPY_KEEP_S 900

struct thaw_error;
struct thaw_private_copies;
struct thaw_state;

/* `state` must outlive it. NULL: no memory. */
struct thaw_private_copies *thaw_private_copies_new(const struct thaw_state *state,
						    struct thaw_error *err);
/* NULL is allowed. */
void thaw_private_copies_free(struct thaw_private_copies *copies);

/* The account's copy of the file `fd`, which nobody writes to any more; the caller's, to read. Made
 * at the first time: others who ask meanwhile, for whatever, wait. -ENOSPC, ... */
int thaw_private_copies_get(struct thaw_private_copies *copies, const char *account, int fd,
			    int *copy, struct thaw_error *err);

/* Lets go of those that nobody has asked for in the time, as of `now_ns` (CLOCK_MONOTONIC). What is
 * asked for meanwhile does that too. */
void thaw_private_copies_expire(struct thaw_private_copies *copies, uint64_t now_ns);

#endif
