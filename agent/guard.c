/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guard.h"

#include <errno.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#define FIELD(name)  ((unsigned int)offsetof(struct seccomp_data, name))
#define LOAD(name)   BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(name))
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, (what))
#define FAIL(code)   RETURN(SECCOMP_RET_ERRNO | (code))
/* Answers system call `nr` with `code`, else falls through. */
#define DENY(nr, code) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), FAIL(code)

#define X32_BIT 0x40000000u

int thaw_guard_install(void)
{
	struct sock_filter code[] = {
		/* 32-bit system calls have other numbers: the guest kernel has none, and a filter
		 * that did not look would be no filter. */
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		RETURN(SECCOMP_RET_KILL_PROCESS),
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1),
		FAIL(ENOSYS),
		/* vsock is the way between host and agent: any process may make such a socket, none
		 * but the agent has business there. As on a kernel without it. */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 4),
		LOAD(args[0]),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_VSOCK, 0, 1),
		FAIL(EAFNOSUPPORT),
		RETURN(SECCOMP_RET_ALLOW),
		/* Programs in the kernel: by far the largest attack surface without privileges. */
		DENY(SYS_bpf, EPERM),
		/* A ring carries system calls past this filter, sockets of any family among them.
		 */
		DENY(SYS_io_uring_setup, ENOSYS),
		/* Faults answered by user space widen the window of every race in the kernel. */
		DENY(SYS_userfaultfd, EPERM),
		/* Counters of the whole machine: a side channel into the agent. */
		DENY(SYS_perf_event_open, EACCES),
		/* Key rings outlive processes and belong to the user id: state between invocations
		 * that nobody clears. */
		DENY(SYS_add_key, ENOSYS),
		DENY(SYS_request_key, ENOSYS),
		DENY(SYS_keyctl, ENOSYS),
		RETURN(SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {
		.len = sizeof(code) / sizeof(code[0]),
		.filter = code,
	};

	if (syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0)
		return -errno;
	return 0;
}
