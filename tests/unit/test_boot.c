/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels and initrds into memory: good ones where they belong, bad ones nowhere. */
#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "vmm/boot/boot.h"

#define MEMORY_SIZE (64u << 20)

struct kernel {
	Elf64_Ehdr header;
	Elf64_Phdr segments[2];
	uint8_t code[4096];
};

static const struct kernel good = {
	.header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		   .e_type = ET_EXEC,
		   .e_machine = EM_X86_64,
		   .e_entry = 0x1000010,
		   .e_phoff = offsetof(struct kernel, segments),
		   .e_phentsize = sizeof(Elf64_Phdr),
		   .e_phnum = 2},
	.segments = {{.p_type = PT_LOAD,
		      .p_offset = offsetof(struct kernel, code),
		      .p_paddr = 0x1000000,
		      .p_filesz = 4096,
		      .p_memsz = 8192},
		     {.p_type = PT_NOTE, .p_offset = UINT64_MAX}},
	.code = {0xf4, 1, 2, 3},
};

static int file_of(const void *data, size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(thaw_pwrite_full(fd, data, size, 0), 0);
	return fd;
}

static int load(const void *data, size_t size, const void *initrd, size_t initrd_size,
		struct thaw_memory *memory, gpa_t *entry, struct thaw_error *err)
{
	const struct thaw_boot boot = {.command_line = "quiet", .vcpus = 3};
	int fd = file_of(data, size), initrd_fd = initrd ? file_of(initrd, initrd_size) : -1;

	assert_int_equal(thaw_memory_create(memory, MEMORY_SIZE, false, err), 0);
	int rc = thaw_boot_load(memory, fd, initrd_fd, &boot, entry, err);
	close(fd);
	if (initrd)
		close(initrd_fd);
	return rc;
}

static void a_kernel_and_its_tables_are_where_they_belong(void **state)
{
	struct thaw_memory memory;
	struct thaw_error err;
	struct boot_params params;
	uint8_t initrd[5000] = {7, 8, 9}, back[5000];
	uint8_t mp[1024], sum = 0;
	gpa_t entry;

	(void)state;
	assert_int_equal(load(&good, sizeof(good), initrd, sizeof(initrd), &memory, &entry, &err),
			 0);
	assert_int_equal(entry, 0x1000010);
	assert_memory_equal(memory.base + 0x1000000, good.code, 4096);
	assert_string_equal((char *)memory.base + BOOT_COMMAND_LINE, "quiet");
	assert_int_equal(thaw_memory_read(&memory, BOOT_PARAMS, &params, sizeof(params)), 0);
	assert_int_equal(params.hdr.header, 0x53726448);
	assert_int_equal(params.hdr.ramdisk_size, sizeof(initrd));
	assert_int_equal(params.hdr.ramdisk_image % THAW_PAGE_SIZE, 0);
	assert_int_equal(thaw_memory_read(&memory, params.hdr.ramdisk_image, back, sizeof(back)),
			 0);
	assert_memory_equal(back, initrd, sizeof(initrd));
	assert_int_equal(params.e820_entries, 3);
	assert_int_equal(params.e820_table[2].addr + params.e820_table[2].size, MEMORY_SIZE);
	assert_int_equal(thaw_memory_read(&memory, BOOT_MP_TABLE, mp, sizeof(mp)), 0);
	assert_memory_equal(mp, "_MP_", 4);
	assert_memory_equal(mp + 16, "PCMP", 4);
	for (size_t i = 0; i < (size_t)(mp[20] | mp[21] << 8); i++)
		sum = (uint8_t)(sum + mp[16 + i]);
	assert_int_equal(sum, 0);
	thaw_memory_destroy(&memory);
}

static void elf_files_that_are_no_kernels_are_refused(void **state)
{
	struct thaw_memory memory;
	struct thaw_error err;
	gpa_t entry;

	(void)state;
#define REFUSED(member, value, text)                                                               \
	do {                                                                                       \
		struct kernel k = good;                                                            \
		k.member = value;                                                                  \
		assert_true(load(&k, sizeof(k), NULL, 0, &memory, &entry, &err) < 0);              \
		thaw_memory_destroy(&memory);                                                      \
		if (!strstr(err.message, text))                                                    \
			fail_msg("\"%s\" does not say \"%s\"", err.message, text);                 \
	} while (0)
	REFUSED(header.e_ident[0], 0, "not a kernel");
	REFUSED(header.e_ident[EI_CLASS], ELFCLASS32, "64-bit x86");
	REFUSED(header.e_machine, EM_AARCH64, "64-bit x86");
	REFUSED(header.e_type, ET_DYN, "not a kernel");
	REFUSED(header.e_phentsize, 1, "program headers");
	REFUSED(header.e_phnum, 0, "program headers");
	REFUSED(header.e_phnum, 65535, "program headers");
	REFUSED(header.e_phoff, UINT64_MAX - 8, "cut short");
	REFUSED(header.e_phoff, sizeof(struct kernel) - 8, "cut short");
	REFUSED(header.e_entry, 0x2000000, "entry point");
	REFUSED(segments[0].p_filesz, 8193, "make no sense");
	REFUSED(segments[0].p_offset, UINT64_MAX - 100, "make no sense");
	REFUSED(segments[0].p_offset, 4096, "cut short");
	REFUSED(segments[0].p_paddr, 0x1000, "below 1 MiB");
	REFUSED(segments[0].p_paddr, MEMORY_SIZE - 4096, "does not fit");
	REFUSED(segments[0].p_paddr, UINT64_MAX - 4096, "does not fit");
	REFUSED(segments[0].p_paddr, 0xd0000000, "does not fit");
	REFUSED(segments[0].p_memsz, UINT64_MAX, "does not fit");
#undef REFUSED
}

static void every_cut_of_a_kernel_is_refused(void **state)
{
	struct thaw_memory memory;
	struct thaw_error err;
	gpa_t entry;

	(void)state;
	for (size_t size = 0; size < sizeof(good); size += size < 300 ? 1 : 333) {
		assert_true(load(&good, size, NULL, 0, &memory, &entry, &err) < 0);
		assert_non_null(strstr(err.message, "kernel: "));
		thaw_memory_destroy(&memory);
	}
}

static void bzimages_are_told_and_checked(void **state)
{
	static uint8_t image[8192];
	struct setup_header *header = (void *)(image + 0x1f1);
	struct thaw_memory memory;
	struct thaw_error err;
	gpa_t entry;

	(void)state;
	memcpy(image + 0x202, "HdrS", 4);
	header->version = 0x20f;
	header->xloadflags = XLF_KERNEL_64;
	header->setup_sects = 3;
	header->pref_address = 0x1000000;
	header->init_size = 1u << 20;
	header->syssize = (sizeof(image) - 2048) / 16;
	header->initrd_addr_max = 0x7fffffff;
	image[2048] = 0x42;
	assert_int_equal(load(image, sizeof(image), NULL, 0, &memory, &entry, &err), 0);
	assert_int_equal(entry, 0x1000200);
	assert_int_equal(memory.base[0x1000000], 0x42);
	thaw_memory_destroy(&memory);
#define REFUSED(member, value, text)                                                               \
	do {                                                                                       \
		struct setup_header saved = *header;                                               \
		header->member = value;                                                            \
		assert_true(load(image, sizeof(image), NULL, 0, &memory, &entry, &err) < 0);       \
		thaw_memory_destroy(&memory);                                                      \
		if (!strstr(err.message, text))                                                    \
			fail_msg("\"%s\" does not say \"%s\"", err.message, text);                 \
		*header = saved;                                                                   \
	} while (0)
	REFUSED(version, 0x20b, "64-bit entry point");
	REFUSED(xloadflags, 0, "64-bit entry point");
	REFUSED(setup_sects, 60, "cut short");
	REFUSED(syssize, 100000, "cut short");
	REFUSED(pref_address, 0x1000, "makes no sense");
	REFUSED(init_size, 100, "makes no sense");
	REFUSED(init_size, MEMORY_SIZE, "which the guest's memory does not have");
	REFUSED(pref_address, UINT64_MAX - 5, "which the guest's memory does not have");
#undef REFUSED
}

static void initrds_and_command_lines_that_do_not_fit_are_refused(void **state)
{
	struct thaw_boot boot = {.vcpus = 1};
	char line[BOOT_COMMAND_LINE_MAX + 1];
	struct thaw_memory memory;
	struct thaw_error err;
	uint8_t *initrd = calloc(1, MEMORY_SIZE);
	gpa_t entry;

	(void)state;
	assert_int_equal(
		load(&good, sizeof(good), initrd, MEMORY_SIZE - (16u << 20), &memory, &entry, &err),
		-ENOMEM);
	assert_non_null(strstr(err.message, "initrd: "));
	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = 0;
	boot.command_line = line;
	int fd = file_of(&good, sizeof(good));
	assert_int_equal(thaw_boot_load(&memory, fd, -1, &boot, &entry, &err), -E2BIG);
	line[sizeof(line) - 2] = 0;
	assert_int_equal(thaw_boot_load(&memory, fd, -1, &boot, &entry, &err), 0);
	close(fd);
	free(initrd);
	thaw_memory_destroy(&memory);
}

static void ranges_end_where_memory_ends(void **state)
{
	/* Addresses only: nothing is touched, so nothing need be there. */
	struct thaw_memory small = {(void *)0x10000, 64u << 20};
	struct thaw_memory large = {(void *)0x10000, THAW_MMIO_GAP + (1ull << 30)};

	(void)state;
	assert_non_null(thaw_memory_range(&small, 0, 64u << 20));
	assert_null(thaw_memory_range(&small, 0, (64u << 20) + 1));
	assert_null(thaw_memory_range(&small, 64u << 20, 1));
	assert_null(thaw_memory_range(&small, UINT64_MAX, 2));
	assert_null(thaw_memory_range(&small, 5, UINT64_MAX));
	assert_null(thaw_memory_range(&small, 0, 0));
	assert_null(thaw_memory_range(&small, THAW_MMIO_GAP_END, 1));
	assert_null(thaw_memory_range(&large, THAW_MMIO_GAP - 1, 2));
	assert_null(thaw_memory_range(&large, THAW_MMIO_GAP, 1));
	assert_null(thaw_memory_range(&large, THAW_MMIO_GAP_END - 1, 1));
	assert_ptr_equal(thaw_memory_range(&large, THAW_MMIO_GAP_END, 1 << 30),
			 large.base + THAW_MMIO_GAP);
	assert_null(thaw_memory_range(&large, THAW_MMIO_GAP_END, (1 << 30) + 1));
	assert_int_equal(thaw_memory_gpa(THAW_MMIO_GAP), THAW_MMIO_GAP_END);
	assert_int_equal(thaw_memory_end(&large), THAW_MMIO_GAP_END + (1ull << 30));
	assert_int_equal(thaw_memory_end(&small), THAW_MMIO_GAP_END);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kernel_and_its_tables_are_where_they_belong),
		cmocka_unit_test(elf_files_that_are_no_kernels_are_refused),
		cmocka_unit_test(every_cut_of_a_kernel_is_refused),
		cmocka_unit_test(bzimages_are_told_and_checked),
		cmocka_unit_test(initrds_and_command_lines_that_do_not_fit_are_refused),
		cmocka_unit_test(ranges_end_where_memory_ends),
	};

	return cmocka_run_group_tests_name("boot", tests, NULL, NULL);
}
