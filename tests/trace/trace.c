/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the place of thaw-vmm: runs the real one and writes down which rows of its table of system
 * calls (vmm/sandbox_table.h) its threads have needed.
 *
 *	trace --rows           the table: number, kinds of threads, "seldom" or "-", call, checks
 *	FOLDER/thaw-vmm ...    a copy of this program, beside which "vmm" is a link to the real one:
 *	                       appends lines "KIND ROW" to FOLDER/calls, "KIND ? CALL ARGUMENTS" for
 *what no row allows
 *
 * What kind a thread is, is told by the filter that it has loaded last. By then the calls of its
 * first steps are counted as those of the thread that made it, whose filter it had.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/sandbox.h"
#include "vmm/sandbox_table.h"

#define THREADS_MAX 64
#define ROWS_MAX    256
#define OUTSIDE     THAW_SANDBOX_KINDS /* no filter yet */
#define OPTIONS                                                                                    \
	(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC)

static const char *const kinds[] = {"START", "RUN", "VCPU", "MEMORY", "OUTSIDE"};

static struct thread {
	pid_t id;
	unsigned int kind;
	unsigned int next; /* kind, if the call under way succeeds */
} threads[THREADS_MAX];
static unsigned int inherited; /* what the thread that is being made begins as */
static bool seen[THAW_SANDBOX_KINDS][ROWS_MAX];
static int calls;
static pid_t self; /* thaw-vmm's, as it knows it */

static struct thread *thread_of(pid_t id)
{
	for (unsigned int i = 0; i < THREADS_MAX; i++) {
		if (threads[i].id == id)
			return &threads[i];
	}
	for (unsigned int i = 0; i < THREADS_MAX; i++) {
		if (!threads[i].id) {
			threads[i] = (struct thread){id, inherited, inherited};
			return &threads[i];
		}
	}
	fprintf(stderr, "trace: too many threads\n");
	exit(1);
}

static void note(const char *format, ...)
{
	char line[256];
	va_list args;

	va_start(args, format);
	int size = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (write(calls, line, (size_t)size) != size)
		exit(1);
}

static bool row_matches(const struct thaw_sandbox_row *row,
			const struct __ptrace_syscall_info *info)
{
	if ((uint64_t)row->call != info->entry.nr)
		return false;
	for (unsigned int i = 0; i < THAW_SANDBOX_CHECKS; i++) {
		const struct thaw_sandbox_check *check = &row->checks[i];
		uint64_t value = check->value == THAW_SANDBOX_SELF ? (uint64_t)self : check->value;
		if (check->mask && (info->entry.args[check->argument] & check->mask) != value)
			return false;
	}
	return true;
}

static void note_call(const struct thread *thread, const struct __ptrace_syscall_info *info)
{
	bool any = info->entry.nr == THAW_SANDBOX_ABSENT;

	for (size_t i = 0; i < thaw_sandbox_row_count; i++) {
		const struct thaw_sandbox_row *row = &thaw_sandbox_rows[i];
		if (!(row->kinds & 1u << thread->kind) || !row_matches(row, info))
			continue;
		any = true;
		if (!seen[thread->kind][i])
			note("%s %zu\n", kinds[thread->kind], i);
		seen[thread->kind][i] = true;
	}
	if (!any)
		note("%s ? %llu %llx %llx %llx %llx\n", kinds[thread->kind],
		     (unsigned long long)info->entry.nr, (unsigned long long)info->entry.args[0],
		     (unsigned long long)info->entry.args[1],
		     (unsigned long long)info->entry.args[2],
		     (unsigned long long)info->entry.args[3]);
}

/* The kind whose filter this is. */
static unsigned int kind_of_filter(pid_t id, uint64_t address)
{
	struct sock_fprog program;
	struct iovec here = {&program, sizeof(program)};
	struct iovec there = {(void *)(uintptr_t)address, sizeof(program)};

	if (process_vm_readv(id, &here, 1, &there, 1, 0) != sizeof(program))
		return OUTSIDE;
	for (unsigned int kind = 0; kind < THAW_SANDBOX_KINDS; kind++) {
		if (thaw_sandbox_filter(kind).len == program.len)
			return kind;
	}
	return OUTSIDE;
}

static void at_call(pid_t id)
{
	struct thread *thread = thread_of(id);
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, id, sizeof(info), &info) < 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
		thread->next = thread->kind;
		if (info.entry.nr == SYS_seccomp)
			thread->next = kind_of_filter(id, info.entry.args[2]);
		if (info.entry.nr == SYS_clone)
			inherited = thread->kind;
		if (thread->kind != OUTSIDE)
			note_call(thread, &info);
	} else if (info.op == PTRACE_SYSCALL_INFO_EXIT && !info.exit.is_error) {
		thread->kind = thread->next;
	}
}

/* How the process ended, as a status of ours. */
static int follow(pid_t process)
{
	for (;;) {
		int status;
		pid_t id = waitpid(-1, &status, __WALL);
		if (id < 0)
			return 1;
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			thread_of(id)->id = 0;
			if (id != process)
				continue;
			if (WIFSIGNALED(status))
				note("signal %d\n", WTERMSIG(status));
			return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		}
		int signal = WSTOPSIG(status), event = status >> 16;
		if (signal == (SIGTRAP | 0x80))
			at_call(id);
		if (signal == (SIGTRAP | 0x80) || event)
			signal = 0;
		/* A thread begins with a stop of its own. */
		if (signal == SIGSTOP && thread_of(id)->id)
			signal = 0;
		ptrace(PTRACE_SYSCALL, id, 0, signal);
	}
}

static int run(char **argv)
{
	char folder[PATH_MAX], path[PATH_MAX + 8];
	ssize_t size = readlink("/proc/self/exe", folder, sizeof(folder) - 1);
	int status;

	if (size <= 0)
		return 1;
	folder[size] = 0;
	*strrchr(folder, '/') = 0;
	snprintf(path, sizeof(path), "%s/calls", folder);
	calls = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (calls < 0)
		return 1;
	snprintf(path, sizeof(path), "%s/vmm", folder);
	pid_t process = fork();
	if (process == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execv(path, argv);
		_exit(127);
	}
	close(3); /* the other end must see when thaw-vmm is gone */
	inherited = OUTSIDE;
	if (process < 0 || waitpid(process, &status, 0) != process)
		return 1;
	self = process;
	thread_of(process);
	ptrace(PTRACE_SETOPTIONS, process, 0, OPTIONS);
	ptrace(PTRACE_SYSCALL, process, 0, 0);
	return follow(process);
}

static int print_rows(void)
{
	for (size_t i = 0; i < thaw_sandbox_row_count; i++) {
		const struct thaw_sandbox_row *row = &thaw_sandbox_rows[i];
		printf("%zu ", i);
		for (unsigned int kind = 0; kind < THAW_SANDBOX_KINDS; kind++) {
			if (row->kinds & 1u << kind)
				printf("%s%s", row->kinds & ((1u << kind) - 1) ? "," : "",
				       kinds[kind]);
		}
		printf(" %s %s %s\n", row->seldom ? "seldom" : "-", row->name, row->detail);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--rows") == 0)
		return print_rows();
	return run(argv);
}
