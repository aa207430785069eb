/* SPDX-License-Identifier: Apache-2.0 */
/* What a cold boot needs, opened and owned together: kernel, initramfs, root image, code, layers,
 * /tmp. */
#ifndef THAW_HOST_COLD_H
#define THAW_HOST_COLD_H

#include "host/digest.h"
#include "host/environment.h"

struct thaw_host;

/* A function's code and layers: by their paths, or as the drives made of them before. */
struct thaw_cold_code {
	const char *path;               /* of the code: a folder or a ZIP file (host/code.h) */
	const char *const *layer_paths; /* the same, each over those before it */
	size_t layer_count;

	/* Where `path` is NULL: descriptors, which are duplicated, and what they are named by
	 * (NULL: not known, which is enough to boot, but not for a snapshot). */
	int drive;
	const char *digest;
	int layers; /* -1: none */
	const char *layers_digest;
};

struct thaw_cold {
	struct thaw_machine machine;          /* its descriptors are owned here, but for `serial` */
	char code_digest[THAW_DIGEST_TEXT];   /* "" when it is not known */
	char layers_digest[THAW_DIGEST_TEXT]; /* and when there are none */
};

#define THAW_COLD_NONE                                                                             \
	{                                                                                          \
		.machine = THAW_MACHINE_NONE                                                       \
	}

/* `kernel` NULL: Thaw's own. -EKEYREJECTED: a part is not this host's (parts.h). Code and layers
 * together may be as large as host/code.h has it. */
int thaw_cold_open(struct thaw_cold *cold, const struct thaw_host *host,
		   const struct thaw_function *function, const struct thaw_cold_code *code,
		   const char *kernel, struct thaw_error *err);

/* A fresh /tmp for the next environment: no two may share one. */
int thaw_cold_renew_tmp(struct thaw_cold *cold, const struct thaw_host *host,
			const struct thaw_function *function, struct thaw_error *err);

void thaw_cold_close(struct thaw_cold *cold);

#endif
