/* SPDX-License-Identifier: Apache-2.0 */
#include "host/forwarding.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"

static bool forwards(int directory, const char *name)
{
	char path[300], value = '0';

	snprintf(path, sizeof(path), "%s/forwarding", name);
	cleanup_close int fd = openat(directory, path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, &value, 1) == 1 && value == '1';
}

unsigned int thaw_forwarding_count(void)
{
	static const char *const others[] = {".", "..", "all", "default", "lo"};
	DIR *list = opendir("/proc/sys/net/ipv4/conf");
	unsigned int count = 0;

	if (!list)
		return 0;
	for (struct dirent *entry; (entry = readdir(list));) {
		bool other = strncmp(entry->d_name, "thaw", 4) == 0;
		for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
			other = other || strcmp(entry->d_name, others[i]) == 0;
		count += !other && forwards(dirfd(list), entry->d_name);
	}
	closedir(list);
	return count;
}
