/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that must not hold up the server's threads: a few threads, and a line before them. What one
 * account has in line and under way is bounded, and accounts take turns, so that none waits for
 * another's.
 */
#ifndef THAW_HOST_DAEMON_WORKS_H
#define THAW_HOST_DAEMON_WORKS_H

struct thaw_error;
struct thaw_works;

struct thaw_works *thaw_works_new(unsigned int threads, unsigned int line_per_account,
				  struct thaw_error *err);

/* Does all that is in line, then ends the threads. NULL is allowed. */
void thaw_works_free(struct thaw_works *works);

/* Calls perform(context) in some thread. -EAGAIN: the account has too much in line; -ENOMEM. */
int thaw_works_submit(struct thaw_works *works, const char *account, void (*perform)(void *context),
		      void *context);

#endif
