/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "vmm/memory.h"

int thaw_kvm_ioctl(int fd, unsigned long request, const char *name, const void *argument,
		   struct thaw_error *err)
{
	int rc;

	do {
		rc = ioctl(fd, request, argument);
	} while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return thaw_error_errno(err, errno, "%s", name);
	return rc;
}

int thaw_kvm_capability(int fd, int capability)
{
	int value = ioctl(fd, KVM_CHECK_EXTENSION, (unsigned long)capability);

	return value < 0 ? 0 : value;
}

int thaw_kvm_check(int kvm_fd, struct thaw_error *err)
{
	static const struct {
		int capability;
		const char *name;
	} needed[] = {
		{KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
		{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
		{KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"},
		{KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
		{KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
		{KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
		{KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
		{KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK"},
		{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
		{KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
		{KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS"},
		{KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
	};
	int version = ioctl(kvm_fd, KVM_GET_API_VERSION, 0);

	if (version < 0)
		return thaw_error_errno(err, errno, "the descriptor given as KVM is not /dev/kvm");
	if (version != KVM_API_VERSION)
		return thaw_error_set(err, ENOTSUP, "KVM speaks version %d, not %d", version,
				      KVM_API_VERSION);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (!thaw_kvm_capability(kvm_fd, needed[i].capability))
			return thaw_error_set(err, ENOTSUP, "this host's KVM lacks %s",
					      needed[i].name);
	}
	return 0;
}

int thaw_kvm_create_vm(int kvm_fd, struct thaw_error *err)
{
	return THAW_KVM(kvm_fd, KVM_CREATE_VM, NULL, err);
}

int thaw_kvm_set_memory(int vm_fd, uint32_t slot, uint64_t gpa, uint64_t size, void *host,
			bool readonly, struct thaw_error *err)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = readonly ? KVM_MEM_READONLY : 0,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};

	return THAW_KVM(vm_fd, KVM_SET_USER_MEMORY_REGION, &region, err);
}

/* Real mode: popcnt %eax, %ebx; hlt. The emulator has no POPCNT, every processor of this age has.
 */
static const uint8_t probe_code[] = {0x66, 0xf3, 0x0f, 0xb8, 0xd8, 0xf4};

static int probe_run(int vm_fd, int run_size, void *page, bool *software, struct thaw_error *err)
{
	cleanup_close int vcpu_fd = -1;
	struct kvm_sregs sregs;
	struct kvm_regs regs = {.rip = 0, .rflags = 2};
	int rc;

	rc = thaw_kvm_set_memory(vm_fd, 0, 0, THAW_PAGE_SIZE, page, false, err);
	if (rc < 0)
		return rc;
	vcpu_fd = THAW_KVM(vm_fd, KVM_CREATE_VCPU, NULL, err);
	if (vcpu_fd < 0)
		return vcpu_fd;
	rc = THAW_KVM(vcpu_fd, KVM_GET_SREGS, &sregs, err);
	if (rc < 0)
		return rc;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	rc = THAW_KVM(vcpu_fd, KVM_SET_SREGS, &sregs, err);
	if (rc < 0)
		return rc;
	rc = THAW_KVM(vcpu_fd, KVM_SET_REGS, &regs, err);
	if (rc < 0)
		return rc;
	struct kvm_run *run =
		mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd, 0);
	if (run == MAP_FAILED)
		return thaw_error_errno(err, errno, "mapping the vCPU");
	rc = THAW_KVM(vcpu_fd, KVM_RUN, NULL, err);
	*software = rc == 0 && run->exit_reason == KVM_EXIT_INTERNAL_ERROR;
	munmap(run, (size_t)run_size);
	return rc;
}

int thaw_kvm_probe_software(int kvm_fd, bool *software, struct thaw_error *err)
{
	cleanup_close int vm_fd = thaw_kvm_create_vm(kvm_fd, err);
	int run_size = THAW_KVM(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL, err);

	if (vm_fd < 0 || run_size < 0)
		return thaw_error_wrap(err, "probing KVM");
	void *page = mmap(NULL, THAW_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	if (page == MAP_FAILED)
		return thaw_error_errno(err, errno, "probing KVM");
	memcpy(page, probe_code, sizeof(probe_code));
	int rc = probe_run(vm_fd, run_size, page, software, err);
	munmap(page, THAW_PAGE_SIZE);
	return rc < 0 ? thaw_error_wrap(err, "probing KVM") : 0;
}
