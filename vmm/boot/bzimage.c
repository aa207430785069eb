/* SPDX-License-Identifier: Apache-2.0 */
/* bzImage: the compressed kernel that distributions ship, entered at its 64-bit entry point. */
#include <asm/bootparam.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "vmm/boot/boot.h"

#define SETUP_OFFSET    0x1f1u
#define PROTOCOL_MIN    0x020cu /* xloadflags */
#define ENTRY_64_OFFSET 0x200u
#define SECTOR          512u

_Static_assert(sizeof(struct setup_header) <= sizeof(((struct thaw_boot_kernel *)0)->header),
	       "the setup header fits");

int thaw_boot_load_bzimage(const struct thaw_memory *memory, int fd, uint64_t size,
			   struct thaw_boot_kernel *kernel, struct thaw_error *err)
{
	struct setup_header header;
	int rc;

	rc = thaw_pread_full(fd, &header, sizeof(header), SETUP_OFFSET);
	if (rc < 0)
		return thaw_error_set(err, ENOEXEC, "the file is cut short in the setup header");
	if (header.version < PROTOCOL_MIN || !(header.xloadflags & XLF_KERNEL_64))
		return thaw_error_set(
			err, ENOEXEC,
			"a bzImage without a 64-bit entry point (boot protocol %u.%02u)",
			header.version >> 8, header.version & 0xff);
	uint64_t setup = ((header.setup_sects ? header.setup_sects : 4u) + 1u) * SECTOR;
	if (setup >= size)
		return thaw_error_set(err, ENOEXEC, "the file is cut short in the setup code");
	/* syssize counts 16-byte units of the code that follows. */
	uint64_t code = size - setup, said = (uint64_t)header.syssize * 16;
	if (said > code + 15)
		return thaw_error_set(err, ENOEXEC,
				      "the file is cut short: %llu bytes of kernel, %llu are meant",
				      (unsigned long long)code, (unsigned long long)said);
	if (header.pref_address < BOOT_HIGH_MEMORY || header.init_size < code)
		return thaw_error_set(err, ENOEXEC, "the setup header makes no sense");
	uint8_t *to = thaw_memory_range(memory, header.pref_address, header.init_size);
	if (!to)
		return thaw_error_set(err, ENOMEM,
				      "the kernel needs %u bytes at 0x%llx, which the guest's "
				      "memory does not have",
				      header.init_size, (unsigned long long)header.pref_address);
	rc = thaw_pread_full(fd, to, code, (off_t)setup);
	if (rc < 0)
		return thaw_error_errno(err, -rc, "reading the kernel");
	kernel->entry = header.pref_address + ENTRY_64_OFFSET;
	kernel->end = header.pref_address + header.init_size;
	kernel->initrd_max = header.initrd_addr_max;
	kernel->header_size = sizeof(header);
	memcpy(kernel->header, &header, sizeof(header));
	return 0;
}
