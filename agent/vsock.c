/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/vsock.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "lib/error.h"
#include "lib/fd.h"

int thaw_vsock_listen(unsigned int port, struct thaw_error *err)
{
	struct sockaddr_vm address = {
		.svm_family = AF_VSOCK,
		.svm_port = port,
		.svm_cid = VMADDR_CID_ANY,
	};
	cleanup_close int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return thaw_error_errno(err, errno, "making a vsock socket");
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return thaw_error_errno(err, errno, "binding vsock port %u", port);
	if (listen(fd, 4) < 0)
		return thaw_error_errno(err, errno, "listening on vsock port %u", port);
	return thaw_fd_take(&fd);
}

int thaw_vsock_accept(int listener)
{
	struct sockaddr_vm peer = {0};
	socklen_t size = sizeof(peer);
	int fd = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (size < sizeof(peer) || peer.svm_family != AF_VSOCK || peer.svm_cid != VMADDR_CID_HOST) {
		close(fd);
		return -EPERM;
	}
	return fd;
}
