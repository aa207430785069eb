/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Part of the build: compiles the table (sandbox_table.h) to a filter for each kind of thread, as C
 * in the file that it is told. Building filters takes libseccomp as long as all else of a start of
 * thaw-vmm.
 */
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "vmm/sandbox_table.h"

#define PROGRAM_MAX (BPF_MAXINSNS * sizeof(struct sock_filter))

static int add_row(scmp_filter_ctx filter, const struct thaw_sandbox_row *row)
{
	struct scmp_arg_cmp compare[THAW_SANDBOX_CHECKS];
	unsigned int count = 0;

	for (unsigned int i = 0; i < THAW_SANDBOX_CHECKS; i++) {
		const struct thaw_sandbox_check *check = &row->checks[i];
		if (check->mask)
			compare[count++] = SCMP_CMP64(check->argument, SCMP_CMP_MASKED_EQ,
						      check->mask, check->value);
	}
	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, row->call, count, compare);
}

/* Every filter of a process is asked, and all threads have the first: it allows what any may. */
static bool row_counts(const struct thaw_sandbox_row *row, unsigned int kind)
{
	return kind == THAW_SANDBOX_START || (row->kinds & 1u << kind);
}

static int compile(unsigned int kind, int out)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int rc = filter ? 0 : -ENOMEM;

	/* Calls in a tree, not in a line. */
	if (rc == 0)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; rc == 0 && i < thaw_sandbox_row_count; i++) {
		if (row_counts(&thaw_sandbox_rows[i], kind))
			rc = add_row(filter, &thaw_sandbox_rows[i]);
		if (rc == -EEXIST) /* another row allows it already, for another reason */
			rc = 0;
	}
	if (rc == 0 && kind == THAW_SANDBOX_START)
		rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), THAW_SANDBOX_ABSENT, 0);
	if (rc == 0)
		rc = seccomp_export_bpf(filter, out);
	seccomp_release(filter);
	return rc;
}

static int print(unsigned int kind, FILE *out)
{
	cleanup_close int file = memfd_create("filter", MFD_CLOEXEC);
	cleanup_free struct sock_filter *program = malloc(PROGRAM_MAX);
	int rc = file < 0 || !program ? -ENOMEM : compile(kind, file);

	if (rc < 0)
		return rc;
	ssize_t size = pread(file, program, PROGRAM_MAX, 0);
	if (size <= 0 || (size_t)size % sizeof(program[0]))
		return -EIO;
	fprintf(out, "static const struct sock_filter filter_%u[] = {\n", kind);
	for (size_t i = 0; i < (size_t)size / sizeof(program[0]); i++)
		fprintf(out, "\t{0x%02x, %u, %u, 0x%08x},\n", program[i].code, program[i].jt,
			program[i].jf, program[i].k);
	fprintf(out, "};\n");
	return 0;
}

int main(int argc, char **argv)
{
	FILE *out = argc == 2 ? fopen(argv[1], "we") : NULL;
	int rc = out ? 0 : -EINVAL;

	if (out)
		fprintf(out, "/* Made by vmm/sandbox_compile.c of vmm/sandbox_table.c. */\n");
	for (unsigned int kind = 0; rc == 0 && kind < THAW_SANDBOX_KINDS; kind++)
		rc = print(kind, out);
	if (out && fclose(out) != 0 && rc == 0)
		rc = -EIO;
	if (rc < 0)
		fprintf(stderr, "compiling the sandbox: %s\n", strerror(-rc));
	return rc < 0;
}
