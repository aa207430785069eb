/* SPDX-License-Identifier: Apache-2.0 */
/* vmlinux: an ELF executable whose segments say where they go. */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "vmm/boot/boot.h"

#define SEGMENTS_MAX 64u

static int elf_load_segment(const struct thaw_memory *memory, int fd, uint64_t size,
			    const Elf64_Phdr *segment, struct thaw_error *err)
{
	uint64_t end;

	if (segment->p_filesz > segment->p_memsz ||
	    __builtin_add_overflow(segment->p_offset, segment->p_filesz, &end))
		return thaw_error_set(err, ENOEXEC, "a segment's sizes make no sense");
	if (end > size)
		return thaw_error_set(
			err, ENOEXEC,
			"the file is cut short: a segment ends at %llu, the file at %llu",
			(unsigned long long)end, (unsigned long long)size);
	if (segment->p_paddr < BOOT_HIGH_MEMORY)
		return thaw_error_set(err, ENOEXEC, "a segment wants address 0x%llx, below 1 MiB",
				      (unsigned long long)segment->p_paddr);
	uint8_t *to = thaw_memory_range(memory, segment->p_paddr, segment->p_memsz);
	if (!to)
		return thaw_error_set(
			err, ENOMEM,
			"a segment of %llu bytes at 0x%llx does not fit the guest's memory",
			(unsigned long long)segment->p_memsz, (unsigned long long)segment->p_paddr);
	/* The rest of the segment is zero, as fresh memory is. */
	int rc = thaw_pread_full(fd, to, segment->p_filesz, (off_t)segment->p_offset);
	return rc < 0 ? thaw_error_errno(err, -rc, "reading a segment") : 0;
}

int thaw_boot_load_elf(const struct thaw_memory *memory, int fd, uint64_t size,
		       struct thaw_boot_kernel *kernel, struct thaw_error *err)
{
	Elf64_Ehdr header;
	Elf64_Phdr segments[SEGMENTS_MAX];
	int rc;

	rc = thaw_pread_full(fd, &header, sizeof(header), 0);
	if (rc < 0)
		return thaw_error_set(err, ENOEXEC, "the file is cut short in the ELF header");
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
	    header.e_machine != EM_X86_64)
		return thaw_error_set(err, ENOEXEC, "an ELF file, but not for 64-bit x86");
	if (header.e_type != ET_EXEC)
		return thaw_error_set(err, ENOEXEC, "an ELF file, but not a kernel (type %u)",
				      header.e_type);
	if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 ||
	    header.e_phnum > SEGMENTS_MAX)
		return thaw_error_set(err, ENOEXEC, "%u program headers of %u bytes",
				      header.e_phnum, header.e_phentsize);
	if (header.e_phoff > size || size - header.e_phoff < header.e_phnum * sizeof(Elf64_Phdr))
		return thaw_error_set(err, ENOEXEC, "the file is cut short in the program headers");
	rc = thaw_pread_full(fd, segments, header.e_phnum * sizeof(Elf64_Phdr),
			     (off_t)header.e_phoff);
	if (rc < 0)
		return thaw_error_errno(err, -rc, "reading the program headers");

	bool entered = false;
	for (unsigned int i = 0; i < header.e_phnum; i++) {
		const Elf64_Phdr *s = &segments[i];
		if (s->p_type != PT_LOAD || s->p_memsz == 0)
			continue;
		rc = elf_load_segment(memory, fd, size, s, err);
		if (rc < 0)
			return thaw_error_wrap(err, "program header %u", i);
		if (s->p_paddr + s->p_memsz > kernel->end)
			kernel->end = s->p_paddr + s->p_memsz;
		entered |=
			header.e_entry >= s->p_paddr && header.e_entry - s->p_paddr < s->p_filesz;
	}
	if (!entered)
		return thaw_error_set(err, ENOEXEC, "the entry point 0x%llx is in no segment",
				      (unsigned long long)header.e_entry);
	kernel->entry = header.e_entry;
	kernel->initrd_max = UINT32_MAX;
	kernel->header_size = 0;
	return 0;
}
