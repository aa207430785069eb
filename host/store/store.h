/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a host remembers: DIR/thaw.db, an SQLite database (docs/store.md). One file beside this one
 * a resource: accounts, functions and versions, aliases, layers, policies, event_config,
 * provisioned, events, usage.
 *
 * A function that changes something has it on the disk when it returns 0 (write-ahead log,
 * synchronous=FULL), survives kill -9 and loss of power, and has changed nothing when it returns
 * an error (but for -EIO: whether a disk that failed to sync kept what it was given, only the
 * next start shows). Every function is safe from any thread: one connection behind one mutex.
 * Numbers are int64_t, times milliseconds since 1970 (names end in _ms) and the caller's; text is
 * UTF-8.
 *
 * Records are plain structs. What comes out of the store is owned by the struct, and freed by its
 * _clear function, which also makes it empty; lists by their _free function. What goes in stays
 * the caller's. An out parameter is written only on success, and need not be initialised.
 *
 * Lists come by page, ordered by name or number: those after the marker (NULL, or a number below
 * the first, for the beginning), at most `limit` (1..THAW_STORE_PAGE_MAX, else -EINVAL). They
 * return 1 when there are more, 0 when these were the last.
 *
 * Errors, everywhere: -ENOENT (no such thing, or what it refers to is missing), -EEXIST, -ESTALE
 * (it is not as the caller expected), -EBUSY (something refers to it), -EINVAL (a value that the
 * schema does not allow), -EMSGSIZE (over THAW_STORE_VALUE_MAX), -ENOSPC, -ENOMEM, -EROFS, and
 * -EIO (the disk failed or the file is damaged).
 */
#ifndef THAW_HOST_STORE_STORE_H
#define THAW_HOST_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thaw_error;
struct thaw_store;

#define THAW_STORE_PAGE_MAX  10000
#define THAW_STORE_VALUE_MAX (16 << 20) /* bytes of one text or blob */
#define THAW_STORE_UNSET     (-1)       /* a number that is not given, where a header allows it */
#define THAW_UUID_TEXT       37         /* 36 characters and a 0 */

/*
 * Opens the store in the directory `path`, making both (0700, 0600) when missing (the directory's
 * parent must be there), and brings an older database up to date. One process at a time: the
 * second gets -EBUSY and is told the first one's process id. The lock is an flock on DIR/lock and
 * dies with its holder (and with children that were forked without an exec). -ENOTSUP: a database
 * of a newer version, or of another program; -EPERM: the directory or a file in it belongs to
 * another user, or the directory is open to others; -EIO: damaged.
 */
int thaw_store_open(struct thaw_store **store, const char *path, struct thaw_error *err);

/* No other thread may be in the store. NULL is allowed. */
void thaw_store_close(struct thaw_store *store);

/* How often this store has been opened: tells apart what this process took from the queue of
 * events from what a predecessor had taken. */
int64_t thaw_store_epoch(const struct thaw_store *store);

/* Reads the whole database and checks its structure, indexes, constraints and references. 0, or
 * -EIO with the first fault. Others wait meanwhile. */
int thaw_store_check(struct thaw_store *store, struct thaw_error *err);

/*
 * Several calls as one: all of it is kept, or nothing. Between begin and the end of the scope
 * other threads wait, so nothing slow belongs there. Scopes nest; an inner one that is not
 * committed undoes only its own part.
 *
 *	cleanup_store_scope struct thaw_store_scope scope = THAW_STORE_SCOPE_NONE;
 *	int rc = thaw_store_begin(&scope, store, err);
 *	if (rc == 0)
 *		rc = thaw_events_finish(store, id, err);
 *	if (rc == 0)
 *		rc = thaw_events_enqueue(store, &next, err);
 *	if (rc == 0)
 *		rc = thaw_store_commit(&scope, err);
 */
struct thaw_store_scope {
	struct thaw_store *store; /* NULL: not begun, or over */
};

#define THAW_STORE_SCOPE_NONE                                                                      \
	{                                                                                          \
		.store = NULL                                                                      \
	}

int thaw_store_begin(struct thaw_store_scope *scope, struct thaw_store *store,
		     struct thaw_error *err);
/* Ends the scope, also when it fails: then nothing of it is kept. */
int thaw_store_commit(struct thaw_store_scope *scope, struct thaw_error *err);
/* Undoes what was not committed. Safe on THAW_STORE_SCOPE_NONE. */
void thaw_store_scope_end(struct thaw_store_scope *scope);

#define cleanup_store_scope __attribute__((cleanup(thaw_store_scope_end)))

/* A random UUID (RFC 9562, version 4), as revision ids and request ids are. */
int thaw_uuid_make(char uuid[THAW_UUID_TEXT], struct thaw_error *err);

#endif
