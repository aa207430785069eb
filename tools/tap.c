/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "tools/tool.h"

static int tap_attach(const char *name, int *fd, struct thaw_error *err)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};

	memcpy(request.ifr_name, name, strlen(name));
	/* TUNSETIFF would make one that does not exist. */
	if (if_nametoindex(name) == 0)
		return thaw_error_errno(err, errno, "tap \"%s\"", name);
	cleanup_close int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tun < 0)
		return thaw_error_errno(err, errno, "opening /dev/net/tun");
	if (ioctl(tun, TUNSETIFF, &request) < 0)
		return thaw_error_errno(err, errno, "opening tap \"%s\"", name);
	*fd = thaw_fd_take(&tun);
	return 0;
}

int tap_open(const char *name, int *fd)
{
	struct thaw_error err = {0};

	if (!name)
		return TOOL_OK;
	if (!*name || strlen(name) >= IFNAMSIZ)
		return tool_usage("--network wants the name of a tap, not \"%s\"", name);
	return tap_attach(name, fd, &err) < 0 ? tool_fail(TOOL_HOST, &err) : TOOL_OK;
}

const struct thaw_network *tap_network(struct thaw_network *network, int fd)
{
	*network = (struct thaw_network){.tap = fd};
	return fd < 0 ? NULL : network;
}
