/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File descriptors: closing them by scope, whole reads and writes, and passing them to another
 * process. Descriptors made here are close-on-exec.
 */
#ifndef THAW_LIB_FD_H
#define THAW_LIB_FD_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

struct thaw_error;

static inline void thaw_cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void thaw_cleanup_free(void *p)
{
	free(*(void **)p);
}

#define cleanup_close __attribute__((cleanup(thaw_cleanup_close)))
#define cleanup_free  __attribute__((cleanup(thaw_cleanup_free)))

/* Gives a scoped descriptor away: returns it and leaves -1 behind. */
static inline int thaw_fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Reads or writes exactly `size` bytes, over EINTR and short counts (pread/pwrite: at `offset`).
 * 0, or a negative errno; -ENODATA when the file or stream ends early. */
int thaw_read_full(int fd, void *buffer, size_t size);
int thaw_write_full(int fd, const void *buffer, size_t size);
int thaw_pread_full(int fd, void *buffer, size_t size, off_t offset);
int thaw_pwrite_full(int fd, const void *buffer, size_t size, off_t offset);

/* The whole of a regular file from its beginning, at most `max` bytes, with a 0 byte after it
 * that `size` does not count. The caller frees `*data`. -EFBIG when it is longer. */
int thaw_read_file(int fd, size_t max, uint8_t **data, size_t *size, struct thaw_error *err);

#define THAW_FDS_MAX 32 /* descriptors in one message */

/* One packet of a SOCK_SEQPACKET socket with `count` descriptors attached (which stay the
 * caller's). 0 or a negative errno; a dead peer is -EPIPE, never a signal. */
int thaw_send_fds(int socket, const void *data, size_t size, const int *fds, size_t count);

/* Receives one packet and its descriptors. On success returns the packet's size (0: the peer has
 * closed) and the caller owns fds[0..*count). A packet longer than `size`, or with more than
 * THAW_FDS_MAX descriptors, is refused whole (-EMSGSIZE), its descriptors closed. */
ssize_t thaw_recv_fds(int socket, void *data, size_t size, int fds[THAW_FDS_MAX], size_t *count);

/* The descriptors that came with a message. What is not taken is closed by thaw_fds_close. */
struct thaw_fds {
	int fd[THAW_FDS_MAX];
	size_t count;
};

/* Descriptor number `number`, counted from 1, which is the caller's from now on; -EBADF when the
 * message has no such descriptor, or it was taken before. `what` names its use in the error. */
int thaw_fds_take(struct thaw_fds *fds, uint32_t number, const char *what, struct thaw_error *err);
void thaw_fds_close(struct thaw_fds *fds);

#endif
