/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/error.h"
#include "lib/fd.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define OURS    "/boot_id" /* in the initramfs, which a handler does not see */

#define UUID_SIZE 37 /* with its line feed */

static int file = -1;

/* RFC 4122: version 4. */
static void uuid_text(const uint8_t raw[16], char text[UUID_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < 16; i++) {
		uint8_t byte = raw[i];
		if (i == 6)
			byte = (byte & 0x0f) | 0x40;
		else if (i == 8)
			byte = (byte & 0x3f) | 0x80;
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*text++ = '-';
		*text++ = digits[byte >> 4];
		*text++ = digits[byte & 15];
	}
	*text = '\n';
}

int thaw_identity_renew(struct thaw_error *err)
{
	uint8_t raw[16];
	char text[UUID_SIZE];

	if (file < 0)
		return 0;
	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return thaw_error_errno(err, errno, "drawing a boot id");
	uuid_text(raw, text);
	if (pwrite(file, text, sizeof(text), 0) != (ssize_t)sizeof(text))
		return thaw_error_errno(err, errno, "writing the boot id");
	return 0;
}

int thaw_identity_lay(const char *root, struct thaw_error *err)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s%s", root, BOOT_ID) >= (int)sizeof(path))
		return thaw_error_set(err, ENAMETOOLONG, "the place of the boot id");
	file = open(OURS, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (file < 0)
		return thaw_error_errno(err, errno, "making the boot id");
	int rc = thaw_identity_renew(err);
	if (rc == 0 && mount(OURS, path, NULL, MS_BIND, NULL) < 0)
		rc = thaw_error_errno(err, errno, "laying the boot id over the kernel's");
	return rc;
}
