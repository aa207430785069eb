/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev/kvm: the ioctls, and nothing more (Linux, Documentation/virt/kvm/api.rst).
 */
#ifndef THAW_VMM_KVM_H
#define THAW_VMM_KVM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct thaw_error;

/* ioctl(2) with a name for the error: "KVM_SET_MSRS: Invalid argument". Retries EINTR. Returns the
 * ioctl's result (>= 0) or a negative errno. */
int thaw_kvm_ioctl(int fd, unsigned long request, const char *name, const void *argument,
		   struct thaw_error *err);

#define THAW_KVM(fd, request, argument, err) thaw_kvm_ioctl(fd, request, #request, argument, err)

/* Checks that `kvm_fd` is a KVM of the version and with the capabilities that Thaw needs. */
int thaw_kvm_check(int kvm_fd, struct thaw_error *err);

/* Value of KVM_CHECK_EXTENSION; 0 when unknown. */
int thaw_kvm_capability(int fd, int capability);

/* Whether this KVM runs guest kernel code in an instruction emulator rather than on the processor:
 * a scratch machine executes one instruction that the emulator lacks. */
int thaw_kvm_probe_software(int kvm_fd, bool *software, struct thaw_error *err);

/* A machine of its own, with a memory slot, for as long as the descriptor is open. */
int thaw_kvm_create_vm(int kvm_fd, struct thaw_error *err);

/* Maps [host, host + size) at guest address gpa. */
int thaw_kvm_set_memory(int vm_fd, uint32_t slot, uint64_t gpa, uint64_t size, void *host,
			bool readonly, struct thaw_error *err);

#endif
