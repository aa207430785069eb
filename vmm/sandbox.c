/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/sandbox.h"

#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "lib/error.h"

/* System calls with any argument, and why. */
static const struct {
	int number;
	const char *reason;
} allowed[] = {
	{SCMP_SYS(ioctl), "KVM, userfaultfd: on descriptors the host gave"},
	{SCMP_SYS(read), "eventfds, host connections of vsock, files"},
	{SCMP_SYS(readv), "stream bytes straight into guest memory"},
	{SCMP_SYS(pread64), "kernel, snapshot files"},
	{SCMP_SYS(preadv), "block reads"},
	{SCMP_SYS(write), "eventfds, host connections, log"},
	{SCMP_SYS(writev), "stream bytes straight from guest memory"},
	{SCMP_SYS(pwrite64), "snapshot files"},
	{SCMP_SYS(pwritev), "block writes"},
	{SCMP_SYS(close), "descriptors the host gave"},
	{SCMP_SYS(fstat), "sizes and types of files"},
	{SCMP_SYS(newfstatat), "fstat of newer C libraries: with an empty path"},
	{SCMP_SYS(lseek), "sizes of drives"},
	{SCMP_SYS(ftruncate), "the size of a memory image"},
	{SCMP_SYS(fallocate), "discard of a block drive"},
	{SCMP_SYS(fdatasync), "flush of a block drive"},
	{SCMP_SYS(fsync), "snapshot files"},
	{SCMP_SYS(fcntl), "non-blocking host connections"},
	{SCMP_SYS(recvmsg), "requests of the host"},
	{SCMP_SYS(recvfrom), "host connections of vsock"},
	{SCMP_SYS(sendmsg), "connections of the guest to the host"},
	{SCMP_SYS(sendto), "replies, host connections of vsock"},
	{SCMP_SYS(accept4), "host connections of vsock"},
	{SCMP_SYS(shutdown), "half-closed vsock connections"},
	{SCMP_SYS(socketpair), "connections of the guest to the host"},
	{SCMP_SYS(getsockopt), "the state of a host connection"},
	{SCMP_SYS(setsockopt), "buffers of a host connection"},
	{SCMP_SYS(epoll_wait), "the event loop"},
	{SCMP_SYS(epoll_pwait), "the event loop"},
	{SCMP_SYS(epoll_ctl), "the event loop"},
	{SCMP_SYS(eventfd2), "kicks, interrupts"},
	{SCMP_SYS(io_uring_setup), "block drives, memory loading"},
	{SCMP_SYS(io_uring_enter), "block drives, memory loading"},
	{SCMP_SYS(io_uring_register), "block drives, memory loading"},
	{SCMP_SYS(mmap), "guest memory, images, drives"},
	{SCMP_SYS(munmap), "the same"},
	{SCMP_SYS(mremap), "growing buffers"},
	{SCMP_SYS(mprotect), "stacks of threads"},
	{SCMP_SYS(madvise), "advice about guest memory"},
	{SCMP_SYS(mincore), "which pages are there"},
	{SCMP_SYS(brk), "the heap"},
	{SCMP_SYS(futex), "locks"},
	{SCMP_SYS(set_robust_list), "new threads"},
	{SCMP_SYS(rseq), "new threads"},
	{SCMP_SYS(sched_getaffinity), "new threads"},
	{SCMP_SYS(sched_yield), "locks"},
	{SCMP_SYS(tgkill), "the kick that takes a vCPU out of the guest"},
	{SCMP_SYS(getpid), "the same"},
	{SCMP_SYS(gettid), "the same"},
	{SCMP_SYS(rt_sigaction), "the handler of that kick"},
	{SCMP_SYS(rt_sigprocmask), "new threads"},
	{SCMP_SYS(rt_sigreturn), "the end of a handler"},
	{SCMP_SYS(sigaltstack), "the end of a thread"},
	{SCMP_SYS(clock_gettime), "time, where the vDSO cannot tell it"},
	{SCMP_SYS(clock_nanosleep), "waiting"},
	{SCMP_SYS(gettimeofday), "the same"},
	{SCMP_SYS(getrandom), "virtio-rng, hash seeds"},
	{SCMP_SYS(getrusage), "page faults in statistics"},
	{SCMP_SYS(restart_syscall), "a wait that a stop signal interrupted"},
	{SCMP_SYS(exit), "the end of a thread"},
	{SCMP_SYS(exit_group), "the end"},
};

int thaw_sandbox_enter(struct thaw_error *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int rc = filter ? 0 : -ENOMEM;

	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]) && rc == 0; i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i].number, 0);
	/* A thread, but never a process. clone3 hides its flags in memory: the C library falls
	 * back to clone when it is told that there is none. */
	if (rc == 0)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				      SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	if (rc == 0)
		rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		rc = -errno;
	if (rc == 0)
		rc = seccomp_load(filter);
	seccomp_release(filter);
	return rc < 0 ? thaw_error_errno(err, -rc, "entering the sandbox") : 0;
}
