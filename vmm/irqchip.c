/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/irqchip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "proto/snapshot.pb-c.h"
#include "vmm/kvm.h"

/* Where KVM on Intel keeps its real-mode task state: three pages the guest has no RAM at. */
#define TSS_ADDRESS 0xfffbd000ul

static const struct chip {
	const char *name;
	uint32_t id;
	size_t offset; /* of the ProtobufCBinaryData in State */
} chips[] = {
	{"master PIC", KVM_IRQCHIP_PIC_MASTER, offsetof(Thaw__Snapshot__State, pic_master)},
	{"slave PIC", KVM_IRQCHIP_PIC_SLAVE, offsetof(Thaw__Snapshot__State, pic_slave)},
	{"I/O APIC", KVM_IRQCHIP_IOAPIC, offsetof(Thaw__Snapshot__State, ioapic)},
};

int thaw_irqchip_create(int vm_fd, struct thaw_error *err)
{
	int rc = THAW_KVM(vm_fd, KVM_SET_TSS_ADDR, (void *)TSS_ADDRESS, err);

	if (rc < 0)
		return rc;
	rc = THAW_KVM(vm_fd, KVM_CREATE_IRQCHIP, NULL, err);
	return rc < 0 ? rc : 0;
}

int thaw_irqchip_line(int vm_fd, unsigned int gsi, struct thaw_error *err)
{
	cleanup_close int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return thaw_error_errno(err, errno, "making an eventfd");
	struct kvm_irqfd irqfd = {.fd = (uint32_t)fd, .gsi = gsi};
	int rc = THAW_KVM(vm_fd, KVM_IRQFD, &irqfd, err);
	if (rc < 0)
		return rc;
	return thaw_fd_take(&fd);
}

int thaw_irqchip_save(int vm_fd, Thaw__Snapshot__State *out, struct thaw_error *err)
{
	struct kvm_clock_data clock;
	int rc;

	for (size_t i = 0; i < sizeof(chips) / sizeof(chips[0]); i++) {
		ProtobufCBinaryData *data =
			(ProtobufCBinaryData *)((uint8_t *)out + chips[i].offset);
		data->data = calloc(1, sizeof(struct kvm_irqchip));
		if (!data->data)
			return thaw_error_errno(err, ENOMEM, "saving the %s", chips[i].name);
		data->len = sizeof(struct kvm_irqchip);
		((struct kvm_irqchip *)data->data)->chip_id = chips[i].id;
		rc = THAW_KVM(vm_fd, KVM_GET_IRQCHIP, data->data, err);
		if (rc < 0)
			return thaw_error_wrap(err, "saving the %s", chips[i].name);
	}
	rc = THAW_KVM(vm_fd, KVM_GET_CLOCK, &clock, err);
	if (rc < 0)
		return rc;
	/* The guest's clocks go on from where they stood: no flags, so that KVM does not add the
	 * time that went by in between. The wall clock is set by the agent. */
	clock.flags = 0;
	out->clock.data = malloc(sizeof(clock));
	if (!out->clock.data)
		return thaw_error_errno(err, ENOMEM, "saving the clock");
	memcpy(out->clock.data, &clock, sizeof(clock));
	out->clock.len = sizeof(clock);
	return 0;
}

int thaw_irqchip_restore(int vm_fd, const Thaw__Snapshot__State *in, struct thaw_error *err)
{
	struct kvm_clock_data clock;
	int rc;

	for (size_t i = 0; i < sizeof(chips) / sizeof(chips[0]); i++) {
		const ProtobufCBinaryData *data =
			(const ProtobufCBinaryData *)((const uint8_t *)in + chips[i].offset);
		struct kvm_irqchip chip;
		if (data->len != sizeof(chip))
			return thaw_error_set(err, EINVAL, "the %s has %zu bytes, not %zu",
					      chips[i].name, data->len, sizeof(chip));
		memcpy(&chip, data->data, sizeof(chip));
		chip.chip_id = chips[i].id;
		rc = THAW_KVM(vm_fd, KVM_SET_IRQCHIP, &chip, err);
		if (rc < 0)
			return thaw_error_wrap(err, "loading the %s", chips[i].name);
	}
	if (in->clock.len != sizeof(clock))
		return thaw_error_set(err, EINVAL, "the clock has %zu bytes, not %zu",
				      in->clock.len, sizeof(clock));
	memcpy(&clock, in->clock.data, sizeof(clock));
	clock.flags = 0;
	rc = THAW_KVM(vm_fd, KVM_SET_CLOCK, &clock, err);
	return rc < 0 ? rc : 0;
}
