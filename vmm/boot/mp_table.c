/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MP configuration table (Intel MultiProcessor Specification 1.4, chapter 4): processors, one
 * ISA bus, the I/O APIC that KVM emulates, and interrupt n of the bus on its pin n.
 */
#include <errno.h>
#include <string.h>

#include "lib/error.h"
#include "vmm/boot/boot.h"
#include "vmm/vcpu.h"

#define APIC_VERSION  0x14
#define LOCAL_APIC    0xfee00000u
#define IO_APIC       0xfec00000u
#define IO_APIC_PINS  24u
#define CPU_ENABLED   0x1
#define CPU_BOOTSTRAP 0x2

enum { ENTRY_PROCESSOR, ENTRY_BUS, ENTRY_IO_APIC, ENTRY_INTERRUPT, ENTRY_LOCAL_INTERRUPT };
enum { INTERRUPT_INT, INTERRUPT_NMI, INTERRUPT_SMI, INTERRUPT_EXT };

struct mp_floating {
	char signature[4];
	uint32_t table;
	uint8_t length; /* in 16 bytes */
	uint8_t revision, checksum, features[5];
} __attribute__((packed));

struct mp_header {
	char signature[4];
	uint16_t length;
	uint8_t revision, checksum;
	char oem[8], product[12];
	uint32_t oem_table;
	uint16_t oem_size, entries;
	uint32_t local_apic;
	uint32_t reserved;
} __attribute__((packed));

struct mp_processor {
	uint8_t type, apic_id, apic_version, flags;
	uint32_t signature, features, reserved[2];
} __attribute__((packed));

struct mp_bus {
	uint8_t type, id;
	char name[6];
} __attribute__((packed));

struct mp_io_apic {
	uint8_t type, id, version, flags;
	uint32_t address;
} __attribute__((packed));

struct mp_interrupt {
	uint8_t type, kind;
	uint16_t flags;
	uint8_t bus, irq, apic, pin;
} __attribute__((packed));

struct mp_table {
	struct mp_floating floating;
	struct mp_header header;
	uint8_t entries[THAW_VCPUS_MAX * sizeof(struct mp_processor) + sizeof(struct mp_bus) +
			sizeof(struct mp_io_apic) +
			(IO_APIC_PINS + 2) * sizeof(struct mp_interrupt)];
} __attribute__((packed));

_Static_assert(sizeof(struct mp_table) <= 1024, "the table fits the last kilobyte of base memory");

static uint8_t checksum(const void *data, size_t size)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)data)[i]);
	return (uint8_t)-sum;
}

static size_t mp_add(struct mp_table *table, size_t at, const void *entry, size_t size)
{
	memcpy(table->entries + at, entry, size);
	table->header.entries++;
	return at + size;
}

int thaw_boot_mp_table(const struct thaw_memory *memory, unsigned int vcpus, struct thaw_error *err)
{
	struct mp_table table = {
		.floating = {.signature = "_MP_",
			     .length = 1,
			     .revision = 4,
			     .table = BOOT_MP_TABLE + offsetof(struct mp_table, header)},
		.header = {.signature = "PCMP",
			   .revision = 4,
			   .oem = "THAW    ",
			   .product = "MICROVM     ",
			   .local_apic = LOCAL_APIC},
	};
	const uint8_t io_apic_id = (uint8_t)vcpus;
	size_t at = 0;

	for (unsigned int i = 0; i < vcpus; i++) {
		struct mp_processor processor = {
			.type = ENTRY_PROCESSOR,
			.apic_id = (uint8_t)i,
			.apic_version = APIC_VERSION,
			.flags = CPU_ENABLED | (i == 0 ? CPU_BOOTSTRAP : 0),
			.signature = 0x600,
			.features = 0x201,
		};
		at = mp_add(&table, at, &processor, sizeof(processor));
	}
	struct mp_bus bus = {.type = ENTRY_BUS, .name = {'I', 'S', 'A', ' ', ' ', ' '}};
	at = mp_add(&table, at, &bus, sizeof(bus));
	struct mp_io_apic io_apic = {.type = ENTRY_IO_APIC,
				     .id = io_apic_id,
				     .version = APIC_VERSION,
				     .flags = 1,
				     .address = IO_APIC};
	at = mp_add(&table, at, &io_apic, sizeof(io_apic));
	for (unsigned int pin = 0; pin < IO_APIC_PINS; pin++) {
		struct mp_interrupt interrupt = {.type = ENTRY_INTERRUPT,
						 .kind = INTERRUPT_INT,
						 .irq = (uint8_t)pin,
						 .apic = io_apic_id,
						 .pin = (uint8_t)pin};
		at = mp_add(&table, at, &interrupt, sizeof(interrupt));
	}
	struct mp_interrupt local = {.type = ENTRY_LOCAL_INTERRUPT, .kind = INTERRUPT_EXT};
	at = mp_add(&table, at, &local, sizeof(local));
	local = (struct mp_interrupt){
		.type = ENTRY_LOCAL_INTERRUPT, .kind = INTERRUPT_NMI, .apic = 0xff, .pin = 1};
	at = mp_add(&table, at, &local, sizeof(local));

	table.header.length = (uint16_t)(sizeof(table.header) + at);
	table.header.checksum = checksum(&table.header, table.header.length);
	table.floating.checksum = checksum(&table.floating, sizeof(table.floating));
	if (thaw_memory_write(memory, BOOT_MP_TABLE, &table, sizeof(table)) < 0)
		return thaw_error_set(err, ENOMEM, "the guest has no base memory");
	return 0;
}
