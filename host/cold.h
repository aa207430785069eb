/* SPDX-License-Identifier: Apache-2.0 */
/* What a cold boot needs, opened and owned together: kernel, initramfs, root image, code, /tmp. */
#ifndef THAW_HOST_COLD_H
#define THAW_HOST_COLD_H

#include "host/digest.h"
#include "host/environment.h"

struct thaw_host;

struct thaw_cold {
	struct thaw_machine machine;        /* its descriptors are owned here, but for `serial` */
	char code_digest[THAW_DIGEST_TEXT]; /* "" when the drive was given */
};

#define THAW_COLD_NONE                                                                             \
	{                                                                                          \
		.machine = THAW_MACHINE_NONE                                                       \
	}

/* `code` is a folder or a ZIP file (host/code.h); or NULL, and `code_drive` is the drive made of
 * one (its descriptor is duplicated). `kernel` NULL: Thaw's own. */
int thaw_cold_open(struct thaw_cold *cold, const struct thaw_host *host,
		   const struct thaw_function *function, const char *code, int code_drive,
		   const char *kernel, struct thaw_error *err);

/* A fresh /tmp for the next environment: no two may share one. */
int thaw_cold_renew_tmp(struct thaw_cold *cold, const struct thaw_host *host,
			const struct thaw_function *function, struct thaw_error *err);

void thaw_cold_close(struct thaw_cold *cold);

#endif
