/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels from anybody: an ELF or bzImage loader that believes a header writes where it likes. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "vmm/boot/boot.h"

#define MEMORY_SIZE (64u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct thaw_boot boot = {.command_line = "quiet", .vcpus = 2};
	struct thaw_memory memory;
	struct thaw_error err;
	gpa_t entry;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || thaw_pwrite_full(fd, data, size, 0) < 0 ||
	    thaw_memory_create(&memory, MEMORY_SIZE, false, &err) < 0)
		abort();
	/* The initrd is the same file: any bytes are one. */
	if (thaw_boot_load(&memory, fd, size ? fd : -1, &boot, &entry, &err) == 0 &&
	    !thaw_memory_range(&memory, entry, 1))
		abort();
	thaw_memory_destroy(&memory);
	close(fd);
	return 0;
}
