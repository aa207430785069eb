/* SPDX-License-Identifier: Apache-2.0 */
/* PID 1 of the test with a stock kernel: says on the console what it finds, and resets. */
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

int main(void)
{
	struct utsname name;
	struct sysinfo info;

	mkdir("/proc", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	uname(&name);
	sysinfo(&info);
	printf("\nstock-guest: Linux %s, %d CPUs, %lu MiB\n", name.release, get_nprocs(),
	       info.totalram * info.mem_unit >> 20);
	fflush(stdout);
	sync();
	reboot(RB_AUTOBOOT);
	return 1;
}
