/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What thaw-vmm does inside its sandbox, and what the sandbox is for: each kind of thread, and each
 * call that it must not make. That what it may make is what it needs,
 * tests/integration/test_sandbox.py finds out.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/error.h"
#include "lib/log.h"
#include "vmm/sandbox.h"
#include "vmm/sandbox_table.h"
#include "vmm/uring.h"

/* The wait status of a process that calls `work` in the sandbox; what it logs goes to `log`. */
static int sandboxed(void (*work)(const void *), const void *opaque, unsigned int kind, int log)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct rlimit none = {0, 0};
		struct thaw_error err;
		setrlimit(RLIMIT_CORE, &none);
		/* As thaw-vmm is started: nothing says which time zone it is. */
		clearenv();
		thaw_log_setup("test", THAW_LOG_WARN, false, log);
		if (thaw_sandbox_enter(&err) < 0)
			_exit(2);
		if (kind != THAW_SANDBOX_START)
			thaw_sandbox_narrow(kind);
		work(opaque);
		/* Not every kind may end the process. */
		syscall(SYS_write, log, "", 0);
		for (;;)
			syscall(SYS_exit_group, 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void warn(const void *opaque)
{
	thaw_log(THAW_LOG_WARN, "the guest broke %s", (const char *)opaque);
}

/* The first line of the log made the C library look for the time zone, which was the end: any guest
 * that broke a rule of virtio ended its thaw-vmm by a signal. */
static void test_log(void **state)
{
	char text[256] = "";
	int pipe_fds[2];

	(void)state;
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_int_equal(sandboxed(warn, "a rule", THAW_SANDBOX_RUN, pipe_fds[1]), 0);
	close(pipe_fds[1]);
	assert_true(read(pipe_fds[0], text, sizeof(text) - 1) > 0);
	close(pipe_fds[0]);
	assert_non_null(strstr(text, "Z warn test: the guest broke a rule\n"));
}

struct call {
	const char *name;
	long number;
	unsigned long arguments[6];
	unsigned int kinds; /* which must not; 0: all */
};

#define NO_FD 1000000ul /* a call that is let through fails, and does no harm */
#define START (1u << THAW_SANDBOX_START)
#define LATER (~START)

static const struct call forbidden[] = {
	{"open", SYS_open, {(unsigned long)"/dev/null", O_RDONLY}, 0},
	{"openat", SYS_openat, {(unsigned long)AT_FDCWD, (unsigned long)"/", O_RDONLY}, 0},
	{"openat2", SYS_openat2, {(unsigned long)AT_FDCWD, (unsigned long)"/", 0, 0}, 0},
	{"open_by_handle_at", SYS_open_by_handle_at, {NO_FD}, 0},
	{"creat", SYS_creat, {(unsigned long)"", 0}, 0},
	{"unlink", SYS_unlink, {(unsigned long)""}, 0},
	{"stat", SYS_stat, {(unsigned long)"/", 0}, 0},
	{"newfstatat of a path", SYS_newfstatat, {NO_FD, (unsigned long)"/", 0, 0}, 0},
	{"execve", SYS_execve, {(unsigned long)"", 0, 0}, 0},
	{"execveat", SYS_execveat, {NO_FD, (unsigned long)"", 0, 0, AT_EMPTY_PATH}, 0},
	{"fork", SYS_fork, {0}, 0},
	{"vfork", SYS_vfork, {0}, 0},
	{"clone of a process", SYS_clone, {SIGCHLD}, 0},
	{"clone of a thread", SYS_clone, {CLONE_THREAD}, LATER},
	{"ptrace", SYS_ptrace, {PTRACE_TRACEME}, 0},
	{"process_vm_readv", SYS_process_vm_readv, {1}, 0},
	{"process_vm_writev", SYS_process_vm_writev, {1}, 0},
	{"process_madvise", SYS_process_madvise, {NO_FD}, 0},
	{"pidfd_open", SYS_pidfd_open, {1}, 0},
	{"pidfd_getfd", SYS_pidfd_getfd, {NO_FD}, 0},
	{"kill", SYS_kill, {1, 0}, 0},
	{"tkill", SYS_tkill, {1, 0}, 0},
	{"tgkill of another", SYS_tgkill, {1, 1, 0}, 0},
	{"rt_sigqueueinfo", SYS_rt_sigqueueinfo, {1, 0, 0}, 0},
	{"socket", SYS_socket, {AF_INET, SOCK_STREAM, 0}, 0},
	{"socket of Unix", SYS_socket, {AF_UNIX, SOCK_STREAM, 0}, 0},
	{"socketpair of TIPC", SYS_socketpair, {AF_TIPC, SOCK_STREAM, 0, 0}, 0},
	{"connect", SYS_connect, {NO_FD}, 0},
	{"bind", SYS_bind, {NO_FD}, 0},
	{"listen", SYS_listen, {NO_FD}, 0},
	{"setsockopt", SYS_setsockopt, {NO_FD}, 0},
	{"getsockopt of the peer", SYS_getsockopt, {NO_FD, SOL_SOCKET, SO_PEERCRED}, 0},
	{"bpf", SYS_bpf, {0}, 0},
	{"perf_event_open", SYS_perf_event_open, {0}, 0},
	{"userfaultfd", SYS_userfaultfd, {0}, 0},
	{"memfd_create", SYS_memfd_create, {(unsigned long)"", 0}, 0},
	{"keyctl", SYS_keyctl, {0}, 0},
	{"add_key", SYS_add_key, {0}, 0},
	{"mount", SYS_mount, {(unsigned long)"", (unsigned long)""}, 0},
	{"umount2", SYS_umount2, {(unsigned long)""}, 0},
	{"fsopen", SYS_fsopen, {(unsigned long)""}, 0},
	{"move_mount", SYS_move_mount, {NO_FD}, 0},
	{"pivot_root", SYS_pivot_root, {(unsigned long)"", (unsigned long)""}, 0},
	{"chroot", SYS_chroot, {(unsigned long)""}, 0},
	{"chdir", SYS_chdir, {(unsigned long)""}, 0},
	{"setns", SYS_setns, {NO_FD, 0}, 0},
	{"unshare", SYS_unshare, {CLONE_NEWUSER}, 0},
	{"setuid", SYS_setuid, {0}, 0},
	{"setresuid", SYS_setresuid, {0, 0, 0}, 0},
	{"capset", SYS_capset, {0, 0}, 0},
	{"prctl", SYS_prctl, {0}, 0},
	{"personality", SYS_personality, {0xffffffff}, 0},
	{"modify_ldt", SYS_modify_ldt, {0}, 0},
	{"init_module", SYS_init_module, {0}, 0},
	{"kexec_load", SYS_kexec_load, {0}, 0},
	{"reboot", SYS_reboot, {0}, 0},
	{"setrlimit", SYS_setrlimit, {0, 0}, 0},
	{"prlimit64", SYS_prlimit64, {0}, 0},
	{"ioperm", SYS_ioperm, {0, 0, 0}, 0},
	{"iopl", SYS_iopl, {0}, 0},
	{"shmget", SYS_shmget, {0}, 0},
	{"msgget", SYS_msgget, {0}, 0},
	{"dup2", SYS_dup2, {NO_FD, NO_FD}, 0},
	{"fcntl of a lock", SYS_fcntl, {NO_FD, F_SETLK, 0}, 0},
	{"fcntl of an owner", SYS_fcntl, {NO_FD, F_SETOWN, 0}, 0},
	{"fcntl of flags", SYS_fcntl, {NO_FD, F_SETFL, 0}, LATER},
	{"mmap of code", SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, NO_FD}, 0},
	{"mprotect of code", SYS_mprotect, {0, 4096, PROT_READ | PROT_EXEC}, 0},
	{"pkey_mprotect", SYS_pkey_mprotect, {0, 4096, PROT_READ, 0}, 0},
	{"madvise that poisons", SYS_madvise, {0, 0, MADV_HWPOISON}, 0},
	{"madvise of KSM", SYS_madvise, {0, 0, MADV_MERGEABLE}, 0},
	{"ioctl of a terminal", SYS_ioctl, {NO_FD, 0x5412 /* TIOCSTI */}, 0},
	{"ioctl of a tap", SYS_ioctl, {NO_FD, 0x400454ca /* TUNSETIFF */}, 0},
	{"ioctl beyond 32 bits", SYS_ioctl, {NO_FD, 0x100005412ul}, 0},
	{"ioctl of the devices", SYS_ioctl, {NO_FD, KVM_CREATE_DEVICE}, 0},
	{"ioctl of a machine", SYS_ioctl, {NO_FD, KVM_CREATE_VM}, LATER},
	{"ioctl of memory", SYS_ioctl, {NO_FD, KVM_SET_USER_MEMORY_REGION}, LATER},
	{"ioctl of a userfaultfd", SYS_ioctl, {NO_FD, USERFAULTFD_IOC_NEW}, LATER},
	{"io_uring_setup", SYS_io_uring_setup, {0, 0}, LATER},
	{"io_uring_register of files", SYS_io_uring_register, {NO_FD, IORING_REGISTER_FILES}, 0},
	{"io_uring_register", SYS_io_uring_register, {NO_FD, IORING_REGISTER_ENABLE_RINGS}, LATER},
	{"seccomp of a listener",
	 SYS_seccomp,
	 {SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, 0},
	 0},
	{"seccomp", SYS_seccomp, {SECCOMP_SET_MODE_FILTER, 0, 0}, LATER},
};

static void make_call(const void *opaque)
{
	const struct call *call = opaque;
	const unsigned long *a = call->arguments;

	syscall(call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
	/* It was let through. SIGKILL is not what a filter ends a process with. */
	syscall(SYS_write, STDERR_FILENO, call->name, strlen(call->name));
	syscall(SYS_write, STDERR_FILENO, "\n", 1);
}

/* Whether a sandboxed process that did not call anything forbidden would have ended well is of no
 * interest: one that did must have ended by SIGSYS before it said so. */
static void test_forbidden(void **state)
{
	(void)state;
	for (unsigned int kind = 0; kind < THAW_SANDBOX_KINDS; kind++) {
		for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
			const struct call *call = &forbidden[i];
			char said[64] = "";
			int out[2];
			if (call->kinds && !(call->kinds & 1u << kind))
				continue;
			assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
			int saved = dup(STDERR_FILENO);
			dup2(out[1], STDERR_FILENO);
			int status = sandboxed(make_call, call, kind, STDERR_FILENO);
			dup2(saved, STDERR_FILENO);
			close(saved);
			ssize_t n = read(out[0], said, sizeof(said) - 1);
			close(out[0]);
			close(out[1]);
			if (n > 0 || !WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
				fail_msg("kind %u may call %s", kind, call->name);
		}
	}
}

/* clone3 is not there, so that the C library takes clone, whose flags can be seen. */
static void call_clone3(const void *opaque)
{
	(void)opaque;
	if (syscall(SYS_clone3, NULL, 0) != -1 || errno != ENOSYS)
		abort();
}

static void test_no_clone3(void **state)
{
	(void)state;
	assert_int_equal(sandboxed(call_clone3, NULL, THAW_SANDBOX_START, STDERR_FILENO), 0);
}

static void signal_self(const void *opaque)
{
	(void)opaque;
	signal(SIGUSR1, SIG_IGN);
	if (syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1) < 0)
		abort();
}

/* The process's own id is put into the filter when it is loaded. */
static void test_own_signal(void **state)
{
	(void)state;
	assert_int_equal(sandboxed(signal_self, NULL, THAW_SANDBOX_START, STDERR_FILENO), 0);
}

/* What the system would do for a ring is not seen by the filter: the ring itself refuses. */
static void test_ring(void **state)
{
	static const uint8_t operations[] = {IORING_OP_NOP};
	struct io_uring ring;
	struct io_uring_cqe *cqe;
	struct thaw_error err;

	(void)state;
	assert_int_equal(thaw_uring_create(&ring, 4, operations, sizeof(operations), &err), 0);
	io_uring_prep_nop(io_uring_get_sqe(&ring));
	assert_int_equal(io_uring_submit_and_wait(&ring, 1), 1);
	assert_int_equal(io_uring_wait_cqe(&ring, &cqe), 0);
	assert_int_equal(cqe->res, 0);
	io_uring_cqe_seen(&ring, cqe);
	io_uring_prep_openat(io_uring_get_sqe(&ring), AT_FDCWD, "/dev/null", O_RDONLY, 0);
	assert_int_equal(io_uring_submit(&ring), 1);
	assert_int_equal(io_uring_wait_cqe(&ring, &cqe), 0);
	assert_int_equal(cqe->res, -EACCES);
	io_uring_cqe_seen(&ring, cqe);
	/* No flags either: this one would take its descriptor from a table. */
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	io_uring_prep_nop(sqe);
	sqe->flags |= IOSQE_FIXED_FILE;
	assert_int_equal(io_uring_submit(&ring), 1);
	assert_int_equal(io_uring_wait_cqe(&ring, &cqe), 0);
	assert_int_equal(cqe->res, -EACCES);
	io_uring_cqe_seen(&ring, cqe);
	/* And it stays so. */
	int fd = STDERR_FILENO;
	assert_int_equal(io_uring_register_files(&ring, &fd, 1), -EACCES);
	io_uring_queue_exit(&ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log),       cmocka_unit_test(test_forbidden),
		cmocka_unit_test(test_no_clone3), cmocka_unit_test(test_own_signal),
		cmocka_unit_test(test_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
