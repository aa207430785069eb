/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes. Those that come out of the store have a 0 after them that `size` does not count. */
#ifndef THAW_HOST_STORE_BLOB_H
#define THAW_HOST_STORE_BLOB_H

#include <stddef.h>
#include <stdint.h>

struct thaw_blob {
	uint8_t *data;
	size_t size;
};

#endif
