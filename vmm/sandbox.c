/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/sandbox.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/error.h"
#include "vmm/sandbox_table.h"

#include "vmm/sandbox_filters.h"

#define FILTER_MAX 1024 /* instructions */

#define FILTER(n)                                                                                  \
	{                                                                                          \
		.len = sizeof(filter_##n) / sizeof(filter_##n[0]),                                 \
		.filter = (struct sock_filter *)filter_##n,                                        \
	}
static const struct sock_fprog filters[THAW_SANDBOX_KINDS] = {
	FILTER(0),
	FILTER(1),
	FILTER(2),
	FILTER(3),
};
_Static_assert(THAW_SANDBOX_KINDS == 4, "a filter for each kind of thread");

static bool entered;

struct sock_fprog thaw_sandbox_filter(unsigned int kind)
{
	return filters[kind];
}

/* The kernel keeps a copy of its own. */
static int filter_load(unsigned int kind)
{
	struct sock_filter program[FILTER_MAX];
	struct sock_fprog whole = {.len = filters[kind].len, .filter = program};

	if (whole.len > FILTER_MAX)
		return -E2BIG;
	memcpy(program, filters[kind].filter, whole.len * sizeof(program[0]));
	for (unsigned int i = 0; i < whole.len; i++) {
		if (BPF_CLASS(program[i].code) == BPF_JMP && program[i].k == THAW_SANDBOX_SELF)
			program[i].k = (uint32_t)getpid();
	}
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &whole) < 0 ? -errno : 0;
}

int thaw_sandbox_enter(struct thaw_error *err)
{
	int rc = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno
							    : filter_load(THAW_SANDBOX_START);

	if (rc < 0)
		return thaw_error_errno(err, -rc, "entering the sandbox");
	entered = true;
	return 0;
}

void thaw_sandbox_narrow(unsigned int kind)
{
	if (entered && filter_load(kind) < 0)
		abort();
}
