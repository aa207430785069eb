/* SPDX-License-Identifier: Apache-2.0 */
#include "host/spawn.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>

#define STACK_SIZE 16384

/* clone or clone3: the C library lets nobody call them with memory that is shared and a stack that
 * is not. What it lacks is the step onto the new stack. */
static long spawn_call(long number, uintptr_t first, uintptr_t second, void (*child)(void *),
		       void *opaque)
{
	long result = number;
	register void (*function)(void *) __asm__("r12") = child;
	register void *argument __asm__("r13") = opaque;
	register long fourth __asm__("r10") = 0;
	register long fifth __asm__("r8") = 0;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r13, %%rdi\n\t"
			 "call *%%r12\n\t"
			 "hlt\n"
			 "1:"
			 : "+a"(result)
			 : "D"(first), "S"(second), "d"(0l), "r"(fourth), "r"(fifth), "r"(function),
			   "r"(argument)
			 : "rcx", "r11", "memory", "cc");
	return result;
}

pid_t thaw_spawn(struct thaw_spawn *spawn, void (*child)(void *opaque), void *opaque)
{
	char stack[STACK_SIZE] __attribute__((aligned(16)));
	const uint64_t flags = CLONE_VM | CLONE_VFORK | (spawn->pid_namespace ? CLONE_NEWPID : 0);
	struct clone_args args = {
		.flags = flags,
		.exit_signal = SIGCHLD,
		.stack = (uintptr_t)stack,
		.stack_size = sizeof(stack),
	};

	if (spawn->cgroup >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)spawn->cgroup;
	}
	spawn->placed = true;
	long pid = spawn_call(SYS_clone3, (uintptr_t)&args, sizeof(args), child, opaque);
	if (pid != -ENOSYS)
		return (pid_t)pid;
	/* Containers' filters of system calls, and systemd's RestrictNamespaces=, hide it. */
	spawn->placed = spawn->cgroup < 0;
	return (pid_t)spawn_call(SYS_clone, flags | SIGCHLD, (uintptr_t)(stack + sizeof(stack)),
				 child, opaque);
}
