/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kind of KVM of this host, remembered: thaw-vmm finds out by making a VM, which takes longer
 * than a restore (2 ms on software KVM; on hardware the kernel waits for a grace period when a VM
 * goes).
 *
 * It is kept in the state directory as long as this boot, this /dev/kvm and the modules behind it
 * last. A wrong memory costs no safety: a guest of the wrong kind does not start.
 */
#ifndef THAW_HOST_KVM_KIND_H
#define THAW_HOST_KVM_KIND_H

#include <stdbool.h>

#include "proto/vmm.pb-c.h"

struct thaw_host;

/* KVM_KIND_UNKNOWN when it is not known. */
Thaw__Vmm__KvmKind thaw_kvm_kind_remembered(const struct thaw_host *host);

/* What thaw-vmm found. Failing to keep it is no error. */
void thaw_kvm_kind_remember(const struct thaw_host *host, bool software);

#endif
