/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over every file of a corpus, without a fuzzer: corpus inputs stay fixed. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "lib/fd.h"

#define INPUT_MAX (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static int replay(int folder, const char *name)
{
	cleanup_close int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
	cleanup_free uint8_t *data = NULL;
	struct thaw_error err = {0};
	size_t size;

	if (fd < 0 || thaw_read_file(fd, INPUT_MAX, &data, &size, &err) < 0) {
		fprintf(stderr, "%s: %s\n", name, fd < 0 ? "cannot be opened" : err.message);
		return 1;
	}
	LLVMFuzzerTestOneInput(data, size);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned int count = 0;
	int failed = 0;

	if (argc != 2) {
		fprintf(stderr, "Usage: %s CORPUS\n", argv[0]);
		return 2;
	}
	if (LLVMFuzzerInitialize)
		LLVMFuzzerInitialize(&argc, &argv);
	DIR *folder = opendir(argv[1]);
	if (!folder) {
		perror(argv[1]);
		return 1;
	}
	for (struct dirent *entry; (entry = readdir(folder));) {
		if (entry->d_name[0] == '.')
			continue;
		failed |= replay(dirfd(folder), entry->d_name);
		count++;
	}
	closedir(folder);
	printf("%u inputs\n", count);
	return failed || count == 0;
}
