// SPDX-License-Identifier: Apache-2.0
/*
 * What the self test of the emulated host asks of its kernel, one word a question:
 *
 *	probe kvm		a guest of two instructions runs: OUT, then HLT
 *	probe mmap FILE		private and shared mappings of FILE hold what read gives
 *	probe direct FILE	O_DIRECT reads of FILE give what buffered reads give
 *	probe uring FILE	io_uring reads of FILE likewise
 *	probe userfaultfd	a missing page is served through /dev/userfaultfd
 *
 * Exit status 0 where the answer is right; else 1 and one line that says what is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096UL
#define SPAN (256 * PAGE)

static int fail(const char *what)
{
	fprintf(stderr, "probe: %s: %s\n", what, errno ? strerror(errno) : "wrong answer");
	return 1;
}

static void *anonymous_pages(size_t size)
{
	void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return pages == MAP_FAILED ? NULL : pages;
}

static int probe_kvm(void)
{
	/* In real mode at address 0: mov $0x5a,%al; out %al,$0x10; hlt */
	static const unsigned char code[] = {0xb0, 0x5a, 0xe6, 0x10, 0xf4};
	unsigned char *memory = anonymous_pages(PAGE);
	struct kvm_userspace_memory_region slot = {
		.memory_size = PAGE,
		.userspace_addr = (unsigned long)memory,
	};
	struct kvm_regs regs = {.rflags = 2};
	struct kvm_sregs sregs;
	struct kvm_run *run;
	int kvm, vm, vcpu, size;

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0 || !memory)
		return fail("/dev/kvm");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		return fail("KVM_CREATE_VM");
	memcpy(memory, code, sizeof(code));
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
		return fail("KVM_SET_USER_MEMORY_REGION");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0)
		return fail("KVM_CREATE_VCPU");
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		return fail("mmap of the vCPU");
	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return fail("KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu, KVM_SET_REGS, &regs) < 0)
		return fail("KVM_SET_REGS");

	if (ioctl(vcpu, KVM_RUN, 0) < 0)
		return fail("KVM_RUN");
	errno = 0;
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != 0x10 ||
	    ((unsigned char *)run)[run->io.data_offset] != 0x5a)
		return fail("the guest's OUT");
	if (ioctl(vcpu, KVM_RUN, 0) < 0)
		return fail("KVM_RUN");
	errno = 0;
	return run->exit_reason == KVM_EXIT_HLT ? 0 : fail("the guest's HLT");
}

/* Opens path and reads its beginning the plain way. */
static int open_and_read(const char *path, char *data, size_t *length)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : pread(fd, data, SPAN, 0);

	if (got <= 0)
		return -1;
	*length = got;
	return fd;
}

static int probe_mmap(const char *path)
{
	char *plain = anonymous_pages(SPAN);
	static const int kinds[] = {MAP_PRIVATE, MAP_SHARED};
	size_t length;
	int fd = open_and_read(path, plain, &length);

	if (fd < 0)
		return fail(path);
	for (int i = 0; i < 2; i++) {
		char *map = mmap(NULL, length, PROT_READ, kinds[i], fd, 0);

		if (map == MAP_FAILED)
			return fail("mmap");
		errno = 0;
		if (memcmp(map, plain, length))
			return fail("mapped bytes");
	}
	return 0;
}

static int probe_direct(const char *path)
{
	char *plain = anonymous_pages(SPAN), *direct = anonymous_pages(SPAN);
	size_t length;
	ssize_t got;
	int fd = open_and_read(path, plain, &length);

	if (fd < 0)
		return fail(path);
	fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return fail("open O_DIRECT");
	got = pread(fd, direct, SPAN, 0);
	if (got < 0)
		return fail("read O_DIRECT");
	errno = 0;
	return (size_t)got == length && !memcmp(plain, direct, length)
		       ? 0
		       : fail("bytes read O_DIRECT");
}

static int probe_uring(const char *path)
{
	char *plain = anonymous_pages(SPAN), *read = anonymous_pages(SPAN);
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	size_t length, pieces;
	int fd = open_and_read(path, plain, &length);

	if (fd < 0)
		return fail(path);
	errno = -io_uring_queue_init(64, &ring, 0);
	if (errno)
		return fail("io_uring_setup");
	pieces = length / PAGE < 64 ? length / PAGE : 64;
	for (size_t i = 0; i < pieces; i++)
		io_uring_prep_read(io_uring_get_sqe(&ring), fd, read + i * PAGE, PAGE, i * PAGE);
	if (io_uring_submit(&ring) != (int)pieces)
		return fail("io_uring_enter");
	for (size_t i = 0; i < pieces; i++) {
		errno = -io_uring_wait_cqe(&ring, &cqe);
		if (errno)
			return fail("completion");
		if (cqe->res != (int)PAGE)
			return fail("io_uring read");
		io_uring_cqe_seen(&ring, cqe);
	}
	return memcmp(plain, read, pieces * PAGE) ? fail("bytes read by io_uring") : 0;
}

static void *serve_fault(void *argument)
{
	static char page[PAGE] __attribute__((aligned(4096))) = "served";
	int uffd = *(int *)argument;
	struct uffd_msg message;

	if (read(uffd, &message, sizeof(message)) == sizeof(message)) {
		struct uffdio_copy copy = {
			.dst = message.arg.pagefault.address & ~(PAGE - 1),
			.src = (unsigned long)page,
			.len = PAGE,
		};

		ioctl(uffd, UFFDIO_COPY, &copy);
	}
	return NULL;
}

static int probe_userfaultfd(void)
{
	char *pages = anonymous_pages(PAGE);
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register range = {
		.range = {.start = (unsigned long)pages, .len = PAGE},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	pthread_t thread;
	int device, uffd;

	device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (device < 0)
		return fail("/dev/userfaultfd");
	uffd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) < 0 ||
	    ioctl(uffd, UFFDIO_REGISTER, &range) < 0)
		return fail("userfaultfd");
	errno = pthread_create(&thread, NULL, serve_fault, &uffd);
	if (errno)
		return fail("thread");
	return strcmp(pages, "served") ? fail("the served page") : 0;
}

int main(int argc, char **argv)
{
	const char *question = argc > 1 ? argv[1] : "";

	if (argc == 2 && !strcmp(question, "kvm"))
		return probe_kvm();
	if (argc == 2 && !strcmp(question, "userfaultfd"))
		return probe_userfaultfd();
	if (argc == 3 && !strcmp(question, "mmap"))
		return probe_mmap(argv[2]);
	if (argc == 3 && !strcmp(question, "direct"))
		return probe_direct(argv[2]);
	if (argc == 3 && !strcmp(question, "uring"))
		return probe_uring(argv[2]);
	fprintf(stderr, "usage: probe kvm|userfaultfd|mmap FILE|direct FILE|uring FILE\n");
	return 2;
}
