/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/boot.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "lib/error.h"
#include "lib/fd.h"

#define KERNEL_MAX     (256ull << 20)
#define BOOT_SEED_SIZE 64u

#define PAGE_PRESENT 1ull
#define PAGE_WRITE   2ull
#define PAGE_HUGE    0x80ull

#define CR0_PE   (1ull << 0)
#define CR0_MP   (1ull << 1)
#define CR0_ET   (1ull << 4)
#define CR0_NE   (1ull << 5)
#define CR0_WP   (1ull << 16)
#define CR0_PG   (1ull << 31)
#define CR4_PAE  (1ull << 5)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)

#define SELECTOR_CODE 0x10 /* __BOOT_CS and __BOOT_DS of the boot protocol */
#define SELECTOR_DATA 0x18

static int boot_load_kernel(const struct thaw_memory *memory, int fd,
			    struct thaw_boot_kernel *kernel, struct thaw_error *err)
{
	struct stat st;
	uint8_t magic[4], setup[4];

	if (fstat(fd, &st) < 0)
		return thaw_error_errno(err, errno, "looking at the file");
	if (!S_ISREG(st.st_mode))
		return thaw_error_set(err, ENOEXEC, "not a regular file");
	if ((uint64_t)st.st_size > KERNEL_MAX)
		return thaw_error_set(err, EFBIG, "%lld bytes are too many for a kernel",
				      (long long)st.st_size);
	if (thaw_pread_full(fd, magic, sizeof(magic), 0) == 0 && !memcmp(magic, "\177ELF", 4))
		return thaw_boot_load_elf(memory, fd, (uint64_t)st.st_size, kernel, err);
	if (thaw_pread_full(fd, setup, sizeof(setup), 0x202) == 0 && !memcmp(setup, "HdrS", 4))
		return thaw_boot_load_bzimage(memory, fd, (uint64_t)st.st_size, kernel, err);
	return thaw_error_set(err, ENOEXEC, "not a kernel: neither an ELF vmlinux nor a bzImage");
}

/* As high as it may be, so that it does not stand in the kernel's way. */
static int boot_load_initrd(const struct thaw_memory *memory, int fd,
			    const struct thaw_boot_kernel *kernel, struct setup_header *header,
			    struct thaw_error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return thaw_error_set(err, EINVAL, "not a regular file");
	uint64_t size = (uint64_t)st.st_size;
	uint64_t top = memory->size < THAW_MMIO_GAP ? memory->size : THAW_MMIO_GAP;
	if (top > kernel->initrd_max)
		top = kernel->initrd_max + 1;
	if (size == 0 || size > top ||
	    ((top - size) & ~(uint64_t)(THAW_PAGE_SIZE - 1)) < kernel->end)
		return thaw_error_set(err, ENOMEM,
				      "%llu bytes do not fit the guest's memory beside the kernel",
				      (unsigned long long)size);
	gpa_t at = (top - size) & ~(uint64_t)(THAW_PAGE_SIZE - 1);
	uint8_t *to = thaw_memory_range(memory, at, size);
	if (!to)
		return thaw_error_set(err, ENOMEM, "it does not fit the guest's memory");
	int rc = thaw_pread_full(fd, to, size, 0);
	if (rc < 0)
		return thaw_error_errno(err, -rc, "reading %llu bytes", (unsigned long long)size);
	header->ramdisk_image = (uint32_t)at;
	header->ramdisk_size = (uint32_t)size;
	return 0;
}

static void boot_memory_map(const struct thaw_memory *memory, struct boot_params *params)
{
	uint64_t low = memory->size < THAW_MMIO_GAP ? memory->size : THAW_MMIO_GAP;
	struct boot_e820_entry *map = params->e820_table;
	unsigned int n = 0;

	map[n++] = (struct boot_e820_entry){0, BOOT_BASE_END, 1};
	map[n++] = (struct boot_e820_entry){BOOT_BASE_END, BOOT_HIGH_MEMORY - BOOT_BASE_END, 2};
	map[n++] = (struct boot_e820_entry){BOOT_HIGH_MEMORY, low - BOOT_HIGH_MEMORY, 1};
	if (memory->size > low)
		map[n++] = (struct boot_e820_entry){THAW_MMIO_GAP_END, memory->size - low, 1};
	params->e820_entries = (uint8_t)n;
}

static int boot_page_tables(const struct thaw_memory *memory)
{
	enum { ENTRIES = 512, DIRECTORIES = 4 };
	const gpa_t pml4 = BOOT_PAGE_TABLES, pdpt = pml4 + THAW_PAGE_SIZE,
		    directories = pdpt + THAW_PAGE_SIZE;
	uint64_t entry = pdpt | PAGE_PRESENT | PAGE_WRITE;
	int rc = thaw_memory_write(memory, pml4, &entry, sizeof(entry));

	for (unsigned int d = 0; d < DIRECTORIES && rc == 0; d++) {
		uint64_t directory[ENTRIES];
		for (uint64_t i = 0; i < ENTRIES; i++)
			directory[i] =
				(d * ENTRIES + i) << 21 | PAGE_PRESENT | PAGE_WRITE | PAGE_HUGE;
		gpa_t at = directories + d * THAW_PAGE_SIZE;
		entry = at | PAGE_PRESENT | PAGE_WRITE;
		rc = thaw_memory_write(memory, pdpt + d * sizeof(entry), &entry, sizeof(entry));
		if (rc == 0)
			rc = thaw_memory_write(memory, at, directory, sizeof(directory));
	}
	return rc;
}

static int boot_descriptors(const struct thaw_memory *memory)
{
	static const uint64_t gdt[] = {
		0, 0, 0x00af9b000000ffff, /* code: 64-bit, present, ring 0 */
		0x00cf93000000ffff,       /* data */
	};

	return thaw_memory_write(memory, BOOT_GDT, gdt, sizeof(gdt));
}

/* Randomness for the guest's first moments, when it has gathered none (SETUP_RNG_SEED). The kernel
 * wipes it when it has taken it up. */
static int boot_seed(const struct thaw_memory *memory, struct thaw_error *err)
{
	uint8_t seed[BOOT_SEED_SIZE];
	struct setup_data head = {.type = SETUP_RNG_SEED, .len = sizeof(seed)};

	if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		return thaw_error_errno(err, errno, "drawing the guest's seed");
	int rc = thaw_memory_write(memory, BOOT_SETUP_DATA, &head, sizeof(head));
	if (rc == 0)
		rc = thaw_memory_write(memory, BOOT_SETUP_DATA + sizeof(head), seed, sizeof(seed));
	explicit_bzero(seed, sizeof(seed));
	return rc < 0 ? thaw_error_set(err, ENOMEM, "the guest has no base memory") : 0;
}

int thaw_boot_load(const struct thaw_memory *memory, int kernel_fd, int initrd_fd,
		   const struct thaw_boot *boot, gpa_t *entry, struct thaw_error *err)
{
	struct thaw_boot_kernel kernel = {0};
	struct boot_params params = {0};
	size_t length = strlen(boot->command_line) + 1;
	int rc;

	if (length > BOOT_COMMAND_LINE_MAX)
		return thaw_error_set(err, E2BIG,
				      "the kernel command line has %zu bytes, at most %u fit",
				      length - 1, BOOT_COMMAND_LINE_MAX - 1);
	rc = boot_load_kernel(memory, kernel_fd, &kernel, err);
	if (rc < 0)
		return thaw_error_wrap(err, "kernel");
	memcpy(&params.hdr, kernel.header, kernel.header_size);
	if (initrd_fd >= 0) {
		rc = boot_load_initrd(memory, initrd_fd, &kernel, &params.hdr, err);
		if (rc < 0)
			return thaw_error_wrap(err, "initrd");
	}
	params.hdr.boot_flag = 0xaa55;
	params.hdr.header = 0x53726448; /* HdrS */
	params.hdr.type_of_loader = 0xff;
	params.hdr.cmd_line_ptr = BOOT_COMMAND_LINE;
	params.hdr.cmdline_size = (uint32_t)length;
	params.hdr.setup_data = BOOT_SETUP_DATA;
	boot_memory_map(memory, &params);
	rc = boot_seed(memory, err);
	if (rc < 0)
		return rc;
	rc = thaw_boot_mp_table(memory, boot->vcpus, err);
	if (rc < 0)
		return rc;
	if (boot_page_tables(memory) < 0 || boot_descriptors(memory) < 0 ||
	    thaw_memory_write(memory, BOOT_COMMAND_LINE, boot->command_line, length) < 0 ||
	    thaw_memory_write(memory, BOOT_PARAMS, &params, sizeof(params)) < 0)
		return thaw_error_set(err, ENOMEM, "the guest has no base memory");
	*entry = kernel.entry;
	return 0;
}

void thaw_boot_registers(gpa_t entry, struct kvm_regs *regs, struct kvm_sregs *sregs)
{
	const struct kvm_segment data = {
		.limit = 0xffffffff,
		.selector = SELECTOR_DATA,
		.type = 3,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};

	*regs = (struct kvm_regs){
		.rip = entry,
		.rsi = BOOT_PARAMS,
		.rsp = BOOT_STACK,
		.rbp = BOOT_STACK,
		.rflags = 2,
	};
	sregs->cs = (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = SELECTOR_CODE,
		.type = 0xb,
		.present = 1,
		.s = 1,
		.l = 1,
		.g = 1,
	};
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->gdt = (struct kvm_dtable){.base = BOOT_GDT, .limit = 31};
	sregs->idt = (struct kvm_dtable){0};
	sregs->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	sregs->cr3 = BOOT_PAGE_TABLES;
	sregs->cr4 = CR4_PAE;
	sregs->efer = EFER_LME | EFER_LMA;
}
