/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serial port: restored from registers that may be anybody's, then driven by a guest that does
 * anything. The first byte says whether there is such a state; if so, its registers follow, as many
 * as a saved one has. The rest is accesses: a byte for the port, the direction and the width, and a
 * byte to write.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/snapshot.pb-c.h"
#include "vmm/devices/serial.h"

#define OUTPUT_MAX (1 << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int good)
{
	if (!good)
		abort();
}

static Thaw__Snapshot__Device *saved(const struct thaw_serial *serial)
{
	Thaw__Snapshot__Device *state = malloc(sizeof(*state));

	must(state != NULL);
	thaw__snapshot__device__init(state);
	must(thaw_serial_save(serial, state, NULL) == 0);
	return state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int out = memfd_create("out", MFD_CLOEXEC), irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct thaw_serial *serial;
	uint8_t bytes[8];

	must(out >= 0 && irq >= 0 && thaw_serial_create(&serial, out, irq, NULL) == 0);
	if (size && data[0] & 1) {
		Thaw__Snapshot__Device *state = saved(serial);
		size_t length = state->serial->registers.len;
		length = size - 1 < length ? size - 1 : length;
		memcpy(state->serial->registers.data, data + 1, length);
		/* Cut short, too. */
		if (data[0] & 2)
			state->serial->registers.len = length;
		thaw_serial_restore(serial, state, NULL);
		thaw__snapshot__device__free_unpacked(state, NULL);
		data += 1 + length;
		size -= 1 + length;
	}
	for (; size >= 2; data += 2, size -= 2) {
		unsigned int width = 1u << (data[0] >> 3 & 3), port = data[0] & 7;
		if (port + width > 8)
			width = 1;
		memset(bytes, data[1], sizeof(bytes));
		if (data[0] & 0x80)
			thaw_serial_bus_ops.read(serial, port, bytes, width);
		else
			thaw_serial_bus_ops.write(serial, port, bytes, width);
	}
	/* What is saved can be restored, whatever the guest did. */
	Thaw__Snapshot__Device *state = saved(serial);
	must(thaw_serial_restore(serial, state, NULL) == 0);
	thaw__snapshot__device__free_unpacked(state, NULL);
	thaw_serial_destroy(serial);
	must(lseek(out, 0, SEEK_END) <= OUTPUT_MAX * 16);
	close(out);
	close(irq);
	return 0;
}
