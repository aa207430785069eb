/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest.json of a snapshot: what it was made of, for people and for the checks before a restore
 * (docs/snapshot-format.md). Untrusted when it is read: wrong types, missing members, values out
 * of their ranges and a checksum that does not match are errors.
 */
#ifndef THAW_HOST_MANIFEST_H
#define THAW_HOST_MANIFEST_H

#include <stdbool.h>

#include "host/digest.h"
#include "host/function.h"
#include "host/phases.h"

#define THAW_MANIFEST_FORMAT 3

struct thaw_manifest {
	char name[THAW_FUNCTION_NAME_MAX + 1];
	char created[32]; /* ISO 8601, UTC */
	char thaw[32];    /* version of Thaw that made it */
	struct thaw_function function;
	uint32_t cpu_template; /* thaw.vmm.CpuTemplate */
	bool software_kvm;
	bool network; /* the guest has a network device: its clones must be given one */
	char code_digest[THAW_DIGEST_TEXT];       /* of the code */
	char code_drive_digest[THAW_DIGEST_TEXT]; /* of the file code.erofs */
	/* Of the layers and of the file layers.erofs; both "" when the function has none. */
	char layers_digest[THAW_DIGEST_TEXT];
	char layers_drive_digest[THAW_DIGEST_TEXT];
	char tmp_drive_digest[THAW_DIGEST_TEXT]; /* of the file tmp.img: sparse */
	char root_digest[THAW_DIGEST_TEXT];
	char kernel_digest[THAW_DIGEST_TEXT];
	char initramfs_digest[THAW_DIGEST_TEXT]; /* the agent, before all */
	uint64_t state_size, index_size, frames_size, tmp_size;
	uint64_t pages, zero_pages, frames;
	uint64_t init_us;          /* of the function, as the agent measured it */
	struct thaw_phases phases; /* of the making */
};

void thaw_manifest_init(struct thaw_manifest *manifest);
void thaw_manifest_clear(struct thaw_manifest *manifest);

/* As text that ends with a newline; the caller frees it. NULL: no memory. */
char *thaw_manifest_format(const struct thaw_manifest *manifest);

/* -EBADMSG: damaged or not a manifest; -ENOTSUP: of a format this version does not know. */
int thaw_manifest_parse(const char *text, size_t size, struct thaw_manifest *manifest,
			struct thaw_error *err);

/* "host", "software-kvm" or "unknown". */
const char *thaw_cpu_template_name(uint32_t cpu_template);

#endif
