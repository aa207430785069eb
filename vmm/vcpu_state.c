/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's registers, to a snapshot and back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "proto/snapshot.pb-c.h"
#include "vmm/kvm.h"
#include "vmm/vcpu.h"

#define MSRS_MAX 1024u

#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_TSC          0x10u

/* The registers that are one fixed structure and one pair of ioctls, in the order of loading:
 * sregs before the rest because they decide how the rest is read, LAPIC before the MSRs because
 * TSC_DEADLINE arms its timer. */
#define FIELD(member, name, type)                                                                  \
	{                                                                                          \
#name, offsetof(Thaw__Snapshot__Cpu, member), sizeof(type), KVM_GET_##name,        \
			KVM_SET_##name                                                             \
	}
static const struct cpu_field {
	const char *name;
	size_t offset; /* of the ProtobufCBinaryData */
	size_t size;
	unsigned long get, set;
} cpu_fields[] = {
	FIELD(sregs, SREGS, struct kvm_sregs),
	FIELD(regs, REGS, struct kvm_regs),
	FIELD(xsave, XSAVE, struct kvm_xsave),
	FIELD(xcrs, XCRS, struct kvm_xcrs),
	FIELD(debugregs, DEBUGREGS, struct kvm_debugregs),
	FIELD(lapic, LAPIC, struct kvm_lapic_state),
};
#undef FIELD

static int cpu_get(int fd, unsigned long request, const char *name, size_t size,
		   ProtobufCBinaryData *out, struct thaw_error *err)
{
	out->data = calloc(1, size);
	if (!out->data)
		return thaw_error_errno(err, ENOMEM, "saving a vCPU");
	out->len = size;
	int rc = thaw_kvm_ioctl(fd, request, name, out->data, err);
	return rc < 0 ? thaw_error_wrap(err, "saving a vCPU: reading") : 0;
}

static int cpu_set(int fd, unsigned long request, const char *name, size_t size,
		   const ProtobufCBinaryData *in, struct thaw_error *err)
{
	if (in->len != size)
		return thaw_error_set(err, EINVAL, "%s has %zu bytes, not %zu", name, in->len,
				      size);
	int rc = thaw_kvm_ioctl(fd, request, name, in->data, err);
	return rc < 0 ? thaw_error_wrap(err, "loading") : 0;
}

/* MSRs that belong to the host's or KVM's business: the list names some that cannot be read
 * back. KVM_GET_MSRS stops at the first of those, which is then left out. */
static int msrs_save(struct thaw_vcpu *vcpu, int kvm_fd, ProtobufCBinaryData *out,
		     struct thaw_error *err)
{
	cleanup_free struct kvm_msr_list *list =
		calloc(1, sizeof(*list) + MSRS_MAX * sizeof(list->indices[0]));
	cleanup_free struct kvm_msrs *msrs =
		calloc(1, sizeof(*msrs) + MSRS_MAX * sizeof(msrs->entries[0]));
	uint32_t from = 0, kept = 0, deadline = MSRS_MAX;
	int rc;

	if (!list || !msrs)
		return thaw_error_errno(err, ENOMEM, "saving a vCPU's MSRs");
	list->nmsrs = MSRS_MAX;
	rc = THAW_KVM(kvm_fd, KVM_GET_MSR_INDEX_LIST, list, err);
	if (rc < 0)
		return rc;
	/* Entries [0, kept) are read; each round reads as many of the rest as KVM can. */
	while (from < list->nmsrs) {
		uint32_t want = list->nmsrs - from;
		cleanup_free struct kvm_msrs *part =
			calloc(1, sizeof(*part) + want * sizeof(part->entries[0]));
		if (!part)
			return thaw_error_errno(err, ENOMEM, "saving a vCPU's MSRs");
		part->nmsrs = want;
		for (uint32_t i = 0; i < want; i++)
			part->entries[i].index = list->indices[from + i];
		rc = THAW_KVM(vcpu->fd, KVM_GET_MSRS, part, err);
		if (rc < 0)
			return rc;
		for (int i = 0; i < rc; i++) {
			if (part->entries[i].index == MSR_TSC_DEADLINE)
				deadline = kept;
			msrs->entries[kept++] = part->entries[i];
		}
		from += (uint32_t)rc + 1;
	}
	/* TSC_DEADLINE last: it is compared with the TSC that must be in place before. */
	if (deadline < kept) {
		struct kvm_msr_entry last = msrs->entries[deadline];
		memmove(&msrs->entries[deadline], &msrs->entries[deadline + 1],
			(kept - deadline - 1) * sizeof(last));
		msrs->entries[kept - 1] = last;
	}
	out->len = kept * sizeof(msrs->entries[0]);
	out->data = malloc(out->len ? out->len : 1);
	if (!out->data)
		return thaw_error_errno(err, ENOMEM, "saving a vCPU's MSRs");
	memcpy(out->data, msrs->entries, out->len);
	return 0;
}

/* A deadline of 0 means that none was armed; but one that fired while the machine was being
 * saved reads as 0 too, and a guest that waits for it would sleep for ever. The current TSC makes
 * it fire at once, which a guest without a timer takes for a spurious interrupt. */
static uint64_t deadline_now(struct thaw_vcpu *vcpu)
{
	_Alignas(struct kvm_msrs)
		uint8_t space[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)] = {0};
	struct kvm_msrs *msrs = (struct kvm_msrs *)space;

	msrs->nmsrs = 1;
	msrs->entries[0].index = MSR_TSC;
	if (ioctl(vcpu->fd, KVM_GET_MSRS, msrs) != 1)
		return 1;
	return msrs->entries[0].data;
}

static int msrs_restore(struct thaw_vcpu *vcpu, const ProtobufCBinaryData *in,
			struct thaw_error *err)
{
	uint32_t count = (uint32_t)(in->len / sizeof(struct kvm_msr_entry)), done = 0;
	int rc;

	if (in->len % sizeof(struct kvm_msr_entry) || count > MSRS_MAX)
		return thaw_error_set(err, EINVAL, "the MSRs have %zu bytes", in->len);
	cleanup_free struct kvm_msrs *msrs =
		calloc(1, sizeof(*msrs) + (count + 1) * sizeof(msrs->entries[0]));
	if (!msrs)
		return thaw_error_errno(err, ENOMEM, "loading MSRs");
	const struct kvm_msr_entry *entries = (const void *)in->data;
	while (done < count) {
		msrs->nmsrs = count - done;
		memcpy(msrs->entries, entries + done, msrs->nmsrs * sizeof(entries[0]));
		struct kvm_msr_entry *last = &msrs->entries[msrs->nmsrs - 1];
		if (last->index == MSR_TSC_DEADLINE && last->data == 0) {
			/* Two calls: the TSC must be loaded before it is read. */
			if (msrs->nmsrs > 1)
				msrs->nmsrs--;
			else
				last->data = deadline_now(vcpu);
		}
		rc = THAW_KVM(vcpu->fd, KVM_SET_MSRS, msrs, err);
		if (rc < 0)
			return rc;
		done += (uint32_t)rc;
		if ((uint32_t)rc == msrs->nmsrs)
			continue;
		/* Some MSRs can only be read. That one holds the same value here is enough. */
		struct kvm_msr_entry refused = msrs->entries[rc];
		msrs->nmsrs = 1;
		msrs->entries[0].index = refused.index;
		rc = THAW_KVM(vcpu->fd, KVM_GET_MSRS, msrs, err);
		if (rc != 1 || msrs->entries[0].data != refused.data)
			return thaw_error_set(err, ENOTSUP,
					      "this host's KVM does not take MSR 0x%x = 0x%llx",
					      refused.index, refused.data);
		done++;
	}
	return 0;
}

int thaw_vcpu_save(struct thaw_vcpu *vcpu, int kvm_fd, Thaw__Snapshot__Cpu *out,
		   struct thaw_error *err)
{
	struct kvm_mp_state mp;
	int rc;

	for (size_t i = 0; i < sizeof(cpu_fields) / sizeof(cpu_fields[0]); i++) {
		const struct cpu_field *f = &cpu_fields[i];
		rc = cpu_get(vcpu->fd, f->get, f->name, f->size,
			     (ProtobufCBinaryData *)((uint8_t *)out + f->offset), err);
		if (rc < 0)
			return rc;
	}
	rc = msrs_save(vcpu, kvm_fd, &out->msrs, err);
	if (rc < 0)
		return rc;
	rc = cpu_get(vcpu->fd, KVM_GET_VCPU_EVENTS, "VCPU_EVENTS", sizeof(struct kvm_vcpu_events),
		     &out->events, err);
	if (rc < 0)
		return rc;
	rc = THAW_KVM(vcpu->fd, KVM_GET_MP_STATE, &mp, err);
	if (rc < 0)
		return rc;
	out->mp_state = mp.mp_state;
	rc = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);
	out->tsc_khz = rc < 0 ? 0 : (uint32_t)rc;
	return 0;
}

int thaw_vcpu_restore(struct thaw_vcpu *vcpu, const Thaw__Snapshot__Cpu *in, struct thaw_error *err)
{
	struct kvm_mp_state mp = {.mp_state = in->mp_state};
	int rc = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);

	/* Only a host with another clock needs (and must be able) to scale. */
	if (in->tsc_khz && rc > 0 && (uint32_t)rc != in->tsc_khz) {
		rc = THAW_KVM(vcpu->fd, KVM_SET_TSC_KHZ, (void *)(uintptr_t)in->tsc_khz, err);
		if (rc < 0)
			return thaw_error_wrap(err, "a TSC of %u kHz, as where it was saved",
					       in->tsc_khz);
	}
	rc = THAW_KVM(vcpu->fd, KVM_SET_MP_STATE, &mp, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < sizeof(cpu_fields) / sizeof(cpu_fields[0]); i++) {
		const struct cpu_field *f = &cpu_fields[i];
		rc = cpu_set(vcpu->fd, f->set, f->name, f->size,
			     (const ProtobufCBinaryData *)((const uint8_t *)in + f->offset), err);
		if (rc < 0)
			return rc;
	}
	rc = msrs_restore(vcpu, &in->msrs, err);
	if (rc < 0)
		return rc;
	return cpu_set(vcpu->fd, KVM_SET_VCPU_EVENTS, "VCPU_EVENTS", sizeof(struct kvm_vcpu_events),
		       &in->events, err);
}
