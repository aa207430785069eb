/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First program of a boot that is being measured: writes the kernel's log to the serial port, all
 * of it now, so that no line cost anything while it mattered, and ends the machine.
 */
#include <fcntl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

#define SYSLOG_ACTION_READ_ALL 3 /* syslog(2) */

int main(void)
{
	static char log[1 << 18];

	if (mount("dev", "/dev", "devtmpfs", 0, NULL) == 0) {
		int port = open("/dev/ttyS0", O_WRONLY | O_NOCTTY);
		int left = klogctl(SYSLOG_ACTION_READ_ALL, log, sizeof(log));

		for (char *at = log; left > 0;) {
			ssize_t n = write(port, at, (size_t)left);

			if (n <= 0)
				break;
			at += n;
			left -= (int)n;
		}
	}
	reboot(RB_AUTOBOOT);
	return 1;
}
