/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/mark.h"

#include <fcntl.h>
#include <unistd.h>

#define MARK_PORT  0x510
#define CLOCK_PORT 0x518

static int port_fd = -1;

void thaw_mark_open(void)
{
	port_fd = open("/dev/port", O_RDWR | O_CLOEXEC);
}

void thaw_mark(enum thaw_mark mark)
{
	uint8_t byte = (uint8_t)mark;

	/* A host that does not look loses nothing but a number in a table. */
	if (port_fd >= 0 && pwrite(port_fd, &byte, 1, MARK_PORT) != 1)
		return;
}

uint64_t thaw_host_clock(void)
{
	uint64_t ns;

	if (port_fd < 0 || pread(port_fd, &ns, sizeof(ns), CLOCK_PORT) != (ssize_t)sizeof(ns))
		return 0;
	/* Ports that nobody answers at read as all ones. */
	return ns == UINT64_MAX ? 0 : ns;
}
