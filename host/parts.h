/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which kernel, initramfs and root images are this host's: STATE/parts, a seal (seal.h) of their
 * checksums by the names that they have in the library directory (paths.h).
 *
 * What is there when a host has no such list yet becomes it: that is its set-up. From then on what
 * is not in the list is refused, until `thaw trust` imports it. Checksums come from the list that
 * was made when the parts were built (parts.sha256 beside guest/ and images/), where it is not
 * older than they are; each part is read before its first use.
 */
#ifndef THAW_HOST_PARTS_H
#define THAW_HOST_PARTS_H

#include "host/seal.h"

struct thaw_host;

#define THAW_PART_KERNEL    "guest/vmlinux"
#define THAW_PART_INITRAMFS "guest/initramfs.cpio"

/* Whether the part `name`, open as `fd`, is this host's. -EKEYREJECTED with what to do: it is not;
 * it must not be used. */
int thaw_parts_check(const struct thaw_host *host, const char *name, int fd,
		     struct thaw_error *err);
/* The same of a runtime's root image. */
int thaw_parts_check_image(const struct thaw_host *host, const char *runtime, int fd,
			   struct thaw_error *err);

/* Makes what lies in the library directory now this host's, reading all of it. *list (NULL
 * allowed) tells what it is. -ENOENT: a part is missing, and nothing has changed. */
int thaw_parts_import(const struct thaw_host *host, struct thaw_seal *list, struct thaw_error *err);

#endif
