/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For LD_PRELOAD: a getrandom(2) whose bytes can be found again. Each 16 of them are "known-random"
 * and a number that no others have. Less than that is no secret: a name, which must not come twice.
 */
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define BLOCK 16u

ssize_t getrandom(void *buffer, size_t size, unsigned int flags)
{
	static _Atomic uint32_t count;
	uint8_t block[BLOCK + 1];

	if (size < BLOCK)
		return syscall(SYS_getrandom, buffer, size, flags);
	for (size_t at = 0; at < size; at += BLOCK) {
		uint32_t number = atomic_fetch_add(&count, 1);
		memcpy(block, "known-random", 12);
		memcpy(block + 12, &number, sizeof(number));
		memcpy((uint8_t *)buffer + at, block, size - at < BLOCK ? size - at : BLOCK);
	}
	return (ssize_t)size;
}
