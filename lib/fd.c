/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lib/error.h"

int thaw_read_full(int fd, void *buffer, size_t size)
{
	uint8_t *at = buffer;

	while (size) {
		ssize_t n = read(fd, at, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

int thaw_write_full(int fd, const void *buffer, size_t size)
{
	const uint8_t *at = buffer;

	while (size) {
		ssize_t n = write(fd, at, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

int thaw_pread_full(int fd, void *buffer, size_t size, off_t offset)
{
	uint8_t *at = buffer;

	while (size) {
		ssize_t n = pread(fd, at, size, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		at += n;
		offset += n;
		size -= (size_t)n;
	}
	return 0;
}

int thaw_pwrite_full(int fd, const void *buffer, size_t size, off_t offset)
{
	const uint8_t *at = buffer;

	while (size) {
		ssize_t n = pwrite(fd, at, size, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		offset += n;
		size -= (size_t)n;
	}
	return 0;
}

int thaw_read_file(int fd, size_t max, uint8_t **data, size_t *size, struct thaw_error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return thaw_error_errno(err, errno, "looking at the file");
	if (!S_ISREG(st.st_mode))
		return thaw_error_set(err, EINVAL, "not a regular file");
	if ((uint64_t)st.st_size > max)
		return thaw_error_set(err, EFBIG, "%lld bytes, more than the %zu allowed",
				      (long long)st.st_size, max);
	cleanup_free uint8_t *buffer = malloc((size_t)st.st_size + 1);
	if (!buffer)
		return thaw_error_errno(err, ENOMEM, "reading %lld bytes", (long long)st.st_size);
	int rc = thaw_pread_full(fd, buffer, (size_t)st.st_size, 0);
	if (rc < 0)
		return thaw_error_errno(err, -rc, "reading %lld bytes", (long long)st.st_size);
	buffer[st.st_size] = 0;
	*size = (size_t)st.st_size;
	*data = buffer;
	buffer = NULL;
	return 0;
}

int thaw_send_fds(int socket, const void *data, size_t size, const int *fds, size_t count)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int) * THAW_FDS_MAX)];
	} control;
	struct iovec iov = {.iov_base = (void *)data, .iov_len = size};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (count > THAW_FDS_MAX)
		return -EMSGSIZE;
	if (count) {
		memset(&control, 0, sizeof(control));
		message.msg_control = control.space;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
	}
	for (;;) {
		ssize_t n = sendmsg(socket, &message, MSG_NOSIGNAL);
		if (n >= 0)
			return (size_t)n == size ? 0 : -EMSGSIZE;
		if (errno != EINTR)
			return -errno;
	}
}

ssize_t thaw_recv_fds(int socket, void *data, size_t size, int fds[THAW_FDS_MAX], size_t *count)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int) * THAW_FDS_MAX)];
	} control;
	struct iovec iov = {.iov_base = data, .iov_len = size};
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	ssize_t n;

	*count = 0;
	do {
		n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h; h = CMSG_NXTHDR(&message, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		size_t got = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds + *count, CMSG_DATA(h), got * sizeof(int));
		*count += got;
	}
	if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		for (size_t i = 0; i < *count; i++)
			close(fds[i]);
		*count = 0;
		return -EMSGSIZE;
	}
	return n;
}

int thaw_fds_take(struct thaw_fds *fds, uint32_t number, const char *what, struct thaw_error *err)
{
	if (number == 0 || number > fds->count || fds->fd[number - 1] < 0)
		return thaw_error_set(err, EBADF, "%s: no descriptor came with the message", what);
	return thaw_fd_take(&fds->fd[number - 1]);
}

void thaw_fds_close(struct thaw_fds *fds)
{
	for (size_t i = 0; i < fds->count; i++)
		thaw_cleanup_close(&fds->fd[i]);
	fds->count = 0;
}
