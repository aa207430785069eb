/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/uring.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/error.h"

/* liburing has names for these, which Debian's shared library does not export. */
static int ring_register(const struct io_uring *ring, unsigned int what, const void *argument,
			 unsigned int count)
{
	return syscall(SYS_io_uring_register, ring->ring_fd, what, argument, count) < 0 ? -errno
											: 0;
}

int thaw_uring_create(struct io_uring *ring, unsigned int entries, const uint8_t *operations,
		      size_t count, struct thaw_error *err)
{
	struct io_uring_restriction allowed[THAW_URING_OPERATIONS_MAX] = {{0}};

	if (count > THAW_URING_OPERATIONS_MAX)
		return thaw_error_errno(err, EINVAL, "making an io_uring");
	for (size_t i = 0; i < count; i++) {
		allowed[i].opcode = IORING_RESTRICTION_SQE_OP;
		allowed[i].sqe_op = operations[i];
	}
	int rc = io_uring_queue_init(entries, ring, IORING_SETUP_R_DISABLED);
	if (rc < 0)
		return thaw_error_errno(err, -rc, "making an io_uring");
	rc = ring_register(ring, IORING_REGISTER_RESTRICTIONS, allowed, (unsigned int)count);
	if (rc == 0)
		rc = ring_register(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (rc < 0) {
		io_uring_queue_exit(ring);
		return thaw_error_errno(err, -rc, "restricting an io_uring");
	}
	return 0;
}
