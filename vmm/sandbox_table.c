/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/sandbox_table.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define START  (1u << THAW_SANDBOX_START)
#define RUN    (1u << THAW_SANDBOX_RUN)
#define VCPU   (1u << THAW_SANDBOX_VCPU)
#define MEMORY (1u << THAW_SANDBOX_MEMORY)

/* Tables. */
/* clang-format off */
/* Checks. Of what the kernel takes as an int, it looks at 32 bits only. */
#define ANY               {{0}}
#define IS_(n, v)         {n, 0xffffffffu, (uint32_t)(v)}
#define IS(n, v)          {IS_(n, v)}
#define IS2(n, v, n2, v2) {IS_(n, v), IS_(n2, v2)}
#define ONLY(n, bits)     {{n, ~(uint64_t)(bits), 0}}
#define WITH(n, bits)     {{n, bits, bits}}

/* A call with any arguments; with its arguments as they must be. SELDOM: no test can make it happen. */
#define CALL(call, kinds, reason)                        {SYS_##call, #call, "", ANY, kinds, false, reason}
#define SELDOM(call, kinds, reason)                      {SYS_##call, #call, "", ANY, kinds, true, reason}
#define WHEN(call, kinds, reason, detail, ...)           {SYS_##call, #call, detail, __VA_ARGS__, kinds, false, reason}
#define SELDOM_WHEN(call, kinds, reason, detail, ...)    {SYS_##call, #call, detail, __VA_ARGS__, kinds, true, reason}
#define IOCTL(request, kinds, reason)                    {SYS_ioctl, "ioctl", #request, IS(1, request), kinds, false, reason}
#define SELDOM_IOCTL(request, kinds, reason)             {SYS_ioctl, "ioctl", #request, IS(1, request), kinds, true, reason}

const struct thaw_sandbox_row thaw_sandbox_rows[] = {
	/* --- KVM: the host, the machine --- */
	IOCTL(KVM_GET_API_VERSION,           START,                   "is it KVM?"),
	IOCTL(KVM_CHECK_EXTENSION,           START,                   "what can it do?"),
	IOCTL(KVM_GET_SUPPORTED_CPUID,       START,                   "what a guest may see of the CPU"),
	IOCTL(KVM_GET_VCPU_MMAP_SIZE,        START,                   "the size of the page shared with KVM"),
	IOCTL(KVM_GET_MSR_INDEX_LIST,        RUN,                     "which registers a snapshot has"),
	IOCTL(KVM_CREATE_VM,                 START,                   "the machine; the probe for software KVM"),
	IOCTL(KVM_ENABLE_CAP,                START,                   "tell the bytes of what cannot be emulated"),
	IOCTL(KVM_SET_USER_MEMORY_REGION,    START,                   "guest memory, mapped drives"),
	IOCTL(KVM_SET_TSS_ADDR,              START,                   "what KVM wants on Intel"),
	IOCTL(KVM_CREATE_IRQCHIP,            START,                   "interrupt controllers"),
	IOCTL(KVM_IRQFD,                     START,                   "interrupts by eventfd"),
	IOCTL(KVM_IOEVENTFD,                 START,                   "kicks by eventfd"),
	IOCTL(KVM_GET_IRQCHIP,               RUN,                     "snapshot"),
	IOCTL(KVM_SET_IRQCHIP,               START,                   "restore"),
	IOCTL(KVM_GET_CLOCK,                 RUN,                     "snapshot"),
	IOCTL(KVM_SET_CLOCK,                 START,                   "restore"),

	/* --- KVM: a processor --- */
	IOCTL(KVM_CREATE_VCPU,               START,                   "the processor; the probe for software KVM"),
	IOCTL(KVM_SET_CPUID2,                START,                   "what the guest sees of the CPU"),
	IOCTL(KVM_RUN,                       START | VCPU,            "the guest runs; START: the probe"),
	IOCTL(KVM_GET_REGS,                  RUN | VCPU,              "snapshot; VCPU: where did it fail?"),
	IOCTL(KVM_SET_REGS,                  START,                   "boot, restore"),
	IOCTL(KVM_GET_SREGS,                 START | RUN | VCPU,      "boot; snapshot; VCPU: where did it fail?"),
	IOCTL(KVM_SET_SREGS,                 START,                   "boot, restore"),
	IOCTL(KVM_GET_XSAVE,                 RUN,                     "snapshot"),
	IOCTL(KVM_SET_XSAVE,                 START,                   "restore"),
	IOCTL(KVM_GET_XCRS,                  RUN,                     "snapshot"),
	IOCTL(KVM_SET_XCRS,                  START,                   "restore"),
	IOCTL(KVM_GET_DEBUGREGS,             RUN,                     "snapshot"),
	IOCTL(KVM_SET_DEBUGREGS,             START,                   "restore"),
	IOCTL(KVM_GET_LAPIC,                 RUN,                     "snapshot"),
	IOCTL(KVM_SET_LAPIC,                 START,                   "restore"),
	IOCTL(KVM_GET_VCPU_EVENTS,           RUN,                     "snapshot"),
	IOCTL(KVM_SET_VCPU_EVENTS,           START,                   "restore"),
	IOCTL(KVM_GET_MP_STATE,              RUN,                     "snapshot"),
	IOCTL(KVM_SET_MP_STATE,              START,                   "restore"),
	IOCTL(KVM_GET_MSRS,                  START | RUN,
		"snapshot; restore: the time of day of its CPU"),
	IOCTL(KVM_SET_MSRS,                  START,                   "restore"),
	IOCTL(KVM_GET_TSC_KHZ,               START | RUN,             "snapshot; restore: is it as it was?"),
	SELDOM_IOCTL(KVM_SET_TSC_KHZ,        START,
		"restore, of a snapshot of a faster or slower host"),
	IOCTL(KVM_KVMCLOCK_CTRL,             RUN,
		"resume: the guest did not hang, it was paused"),

	/* --- userfaultfd --- */
	IOCTL(USERFAULTFD_IOC_NEW,           START,                   "restore mode uffd"),
	IOCTL(UFFDIO_API,                    START,                   "the same"),
	IOCTL(UFFDIO_REGISTER,               START,                   "the same: guest memory"),
	IOCTL(UFFDIO_COPY,                   MEMORY,                  "pages of the image"),
	IOCTL(UFFDIO_ZEROPAGE,               MEMORY,                  "pages that are empty"),
	SELDOM_IOCTL(UFFDIO_WAKE,            MEMORY,                  "pages that came while they were fetched"),

	/* --- files, sockets, events: on descriptors the host gave --- */
	CALL(read,                           START | RUN | MEMORY,
		"eventfds; START: stale frames of a tap; MEMORY: page faults"),
	CALL(write,                          RUN | VCPU | MEMORY,     "eventfds: interrupts, kicks; console; log"),
	SELDOM(write,                        START,                   "log"),
	CALL(pread64,                        START,                   "kernel, snapshot files"),
	CALL(pwrite64,                       START | RUN,             "snapshot files"),
	CALL(close,                          START | RUN | VCPU,
		"descriptors the host gave; VCPU: reset of vsock"),
	CALL(lseek,                          START,                   "sizes of drives"),
	CALL(ftruncate,                      START | RUN,             "the size of a memory image"),
	WHEN(newfstatat,                     START,
		"sizes and types of files", "AT_EMPTY_PATH", IS(3, AT_EMPTY_PATH)),
	SELDOM(fstat,                        START,                   "the same in other C libraries"),
	WHEN(fcntl,                          START,
		"is the drive writable?", "F_GETFL", IS(1, F_GETFL)),
	WHEN(fcntl,                          START,
		"sockets that do not block", "F_SETFL", IS(1, F_SETFL)),
	CALL(recvmsg,                        START | RUN,             "requests of the host; RUN: vsock"),
	CALL(recvfrom,                       START | RUN,             "vsock: the host's greeting"),
	CALL(sendmsg,                        RUN,                     "vsock; the guest's connections, to the host"),
	CALL(sendto,                         START | RUN | VCPU,      "answers and events; vsock: has it hung up?"),
	SELDOM(sendto,                       MEMORY,                  "an event: the image cannot be read any more"),
	CALL(accept4,                        RUN,                     "vsock: the host's connections"),
	CALL(shutdown,                       RUN,                     "vsock: half-closed connections"),
	WHEN(socketpair,                     RUN,
		"vsock: the guest's connections", "AF_UNIX", IS(0, AF_UNIX)),
	WHEN(getsockopt,                     START | RUN,
		"vsock: is it a stream?", "SOL_SOCKET, SO_TYPE", IS2(1, SOL_SOCKET, 2, SO_TYPE)),
	CALL(eventfd2,                       START,                   "interrupts, kicks"),
	CALL(epoll_wait,                     START | RUN,             "the event loop"),
	CALL(epoll_ctl,                      START | RUN | VCPU,      "the event loop; VCPU: reset of vsock"),

	/* --- io_uring: what a ring may do is restricted when it is made (uring.h) --- */
	CALL(io_uring_setup,                 START,                   "drives, loading of memory"),
	WHEN(io_uring_register,              START,
		"what the ring may do", "RESTRICTIONS", IS(1, IORING_REGISTER_RESTRICTIONS)),
	WHEN(io_uring_register,              START,
		"the ring begins", "ENABLE_RINGS", IS(1, IORING_REGISTER_ENABLE_RINGS)),
	CALL(io_uring_enter,                 START | RUN | MEMORY,    "reads and writes of drives, of memory"),
	SELDOM(io_uring_enter,               VCPU,
		"reset of a drive: waits for what is under way"),

	/* --- memory: nothing that is written can be executed --- */
	WHEN(mmap,                           START | RUN,
		"guest memory, drives, rings, buffers", "no PROT_EXEC", ONLY(2, PROT_READ | PROT_WRITE)),
	SELDOM_WHEN(mmap,                    VCPU | MEMORY,
		"the heap, where it cannot grow by brk", "no PROT_EXEC", ONLY(2, PROT_READ | PROT_WRITE)),
	CALL(munmap,                         START | RUN,             "guest memory, drives, rings, buffers"),
	SELDOM(munmap,                       VCPU | MEMORY,           "free gives back memory"),
	SELDOM(mremap,                       RUN,                     "snapshot: lists of a large memory that grow"),
	SELDOM(mremap,                       MEMORY,                  "a long line of faults, or record of them"),
	WHEN(mprotect,                       START,
		"stacks of threads", "no PROT_EXEC", ONLY(2, PROT_READ | PROT_WRITE)),
	WHEN(madvise,                        START,
		"guest memory is not for core files", "MADV_DONTDUMP", IS(2, MADV_DONTDUMP)),
	WHEN(madvise,                        START,
		"guest memory of small pages", "MADV_NOHUGEPAGE", IS(2, MADV_NOHUGEPAGE)),
	WHEN(madvise,                        START,
		"guest memory of huge pages", "MADV_HUGEPAGE", IS(2, MADV_HUGEPAGE)),
	WHEN(madvise,                        VCPU | MEMORY,
		"the stack of a thread that ends", "MADV_DONTNEED", IS(2, MADV_DONTNEED)),
	CALL(mincore,                        START,                   "restore mode uffd: what is there already"),
	CALL(brk,                            START | RUN,             "the heap"),
	SELDOM(brk,                          VCPU | MEMORY,           "free gives back memory; a long line of faults"),

	/* --- threads --- */
	CALL(futex,                          START | RUN | VCPU,      "locks"),
	SELDOM(futex,                        MEMORY,                  "the lock of the heap"),
	WHEN(clone,                          START,
		"threads, and no process", "CLONE_THREAD", WITH(0, CLONE_THREAD)),
	CALL(rseq,                           START,                   "a thread begins"),
	CALL(set_robust_list,                START,                   "a thread begins"),
	CALL(rt_sigprocmask,                 START | RUN | VCPU | MEMORY,   "a thread begins, is kicked, ends"),
	WHEN(seccomp,                        START,
		"a thread leaves what it does not need", "SET_MODE_FILTER, 0", IS2(0, SECCOMP_SET_MODE_FILTER, 1, 0)),
	CALL(rt_sigaction,                   START,                   "the kick that takes a vCPU out of the guest"),
	CALL(rt_sigreturn,                   VCPU,                    "the end of the kick"),
	SELDOM(rt_sigreturn,                 START,                   "the same, of a vCPU that is just beginning"),
	WHEN(tgkill,                         START | RUN | VCPU,
		"the kick", "its own process", IS(0, THAW_SANDBOX_SELF)),
	CALL(getpid,                         START | RUN | VCPU,      "the kick"),
	CALL(gettid,                         VCPU,                    "the kick, of itself"),
	SELDOM(gettid,                       START | RUN | MEMORY,    "abort, in place of something worse"),
	CALL(exit,                           VCPU | MEMORY,           "a thread ends"),
	CALL(exit_group,                     START | RUN,             "the end"),

	/* --- the rest --- */
	CALL(getrandom,                      START | RUN,             "seeds; RUN: virtio-rng"),
	WHEN(getrusage,                      START | RUN,
		"page faults, in statistics", "RUSAGE_SELF", IS(0, RUSAGE_SELF)),
	SELDOM(clock_gettime,                START | RUN | VCPU | MEMORY,
		"where the clock source is none that user space can read"),

#ifdef __SANITIZE_ADDRESS__
#define ANYWHERE (START | RUN | VCPU | MEMORY)
	SELDOM_WHEN(mmap, ANYWHERE, "the sanitizers", "no PROT_EXEC", ONLY(2, PROT_READ | PROT_WRITE)),
	SELDOM_WHEN(mprotect, ANYWHERE, "the sanitizers", "no PROT_EXEC", ONLY(2, PROT_READ | PROT_WRITE)),
	SELDOM_WHEN(madvise, ANYWHERE, "the sanitizers", "MADV_DONTDUMP", IS(2, MADV_DONTDUMP)),
	SELDOM_WHEN(madvise, ANYWHERE, "the sanitizers", "MADV_NOHUGEPAGE", IS(2, MADV_NOHUGEPAGE)),
	SELDOM_WHEN(madvise, ANYWHERE, "the sanitizers", "MADV_DONTNEED", IS(2, MADV_DONTNEED)),
	SELDOM_WHEN(madvise, ANYWHERE, "the sanitizers", "MADV_FREE", IS(2, MADV_FREE)),
	SELDOM(munmap, ANYWHERE, "the sanitizers"),
	SELDOM(futex, ANYWHERE, "the sanitizers"),
	SELDOM(sched_yield, ANYWHERE, "the sanitizers"),
	SELDOM(sigaltstack, ANYWHERE, "the sanitizers"),
	SELDOM(getpid, ANYWHERE, "the sanitizers"),
	SELDOM(sched_getaffinity, ANYWHERE, "the sanitizers"),
	SELDOM(readlink, ANYWHERE, "the sanitizers"),
	SELDOM(rt_sigaction, ANYWHERE, "the sanitizers"),
	SELDOM(close, ANYWHERE, "the sanitizers"),
	SELDOM(exit_group, ANYWHERE, "the sanitizers"),
	SELDOM(write, ANYWHERE, "the sanitizers"),
#endif
};
/* clang-format on */

const size_t thaw_sandbox_row_count = sizeof(thaw_sandbox_rows) / sizeof(thaw_sandbox_rows[0]);
