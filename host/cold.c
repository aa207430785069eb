/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cold.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "host/archive.h"
#include "host/code.h"
#include "host/host.h"
#include "host/parts.h"
#include "host/tmp_drive.h"
#include "lib/error.h"
#include "lib/fd.h"

int thaw_cold_renew_tmp(struct thaw_cold *cold, const struct thaw_host *host,
			const struct thaw_function *function, struct thaw_error *err)
{
	thaw_cleanup_close(&cold->machine.tmp);
	cold->machine.tmp = -1;
	return thaw_tmp_drive_new(&host->state, function->ephemeral_mib, &cold->machine.tmp, err);
}

static int cold_make(struct thaw_cold *cold, const struct thaw_host *host,
		     const struct thaw_cold_code *code, struct thaw_error *err)
{
	struct thaw_unpack unpack = THAW_UNPACK_WHOLE; /* for all of them */

	int rc = thaw_code_drive_paths(&host->state, &code->path, 1, &unpack, &cold->machine.code,
				       cold->code_digest, err);
	if (rc == 0 && code->layer_count > 0)
		rc = thaw_code_drive_paths(&host->state, code->layer_paths, code->layer_count,
					   &unpack, &cold->machine.layers, cold->layers_digest,
					   err);
	return rc;
}

static int cold_take(int from, const char *digest, int *fd, char text[THAW_DIGEST_TEXT],
		     struct thaw_error *err)
{
	if (digest && !thaw_digest_valid(digest))
		return thaw_error_set(err, EINVAL, "\"%s\" is not the name of a drive", digest);
	*fd = fcntl(from, F_DUPFD_CLOEXEC, 3);
	if (*fd < 0)
		return thaw_error_errno(err, errno, "opening the code");
	if (digest)
		strcpy(text, digest);
	return 0;
}

static int cold_open(struct thaw_cold *cold, const struct thaw_host *host,
		     const struct thaw_function *function, const struct thaw_cold_code *code,
		     const char *kernel, struct thaw_error *err)
{
	struct thaw_machine *machine = &cold->machine;
	int rc;

	rc = machine->kernel = thaw_paths_open_kernel(&host->paths, kernel, err);
	if (rc >= 0)
		rc = machine->initramfs = thaw_paths_open_initramfs(&host->paths, err);
	if (rc >= 0)
		rc = machine->root = thaw_paths_open_image(&host->paths, function->runtime, err);
	if (rc < 0)
		return rc;
	/* A kernel that was named by hand is its user's business. */
	rc = kernel ? 0 : thaw_parts_check(host, THAW_PART_KERNEL, machine->kernel, err);
	if (rc == 0)
		rc = thaw_parts_check(host, THAW_PART_INITRAMFS, machine->initramfs, err);
	if (rc == 0)
		rc = thaw_parts_check_image(host, function->runtime, machine->root, err);
	if (rc < 0)
		return rc;
	if (code->path) {
		rc = cold_make(cold, host, code, err);
	} else {
		rc = cold_take(code->drive, code->digest, &machine->code, cold->code_digest, err);
		if (rc == 0 && code->layers >= 0)
			rc = cold_take(code->layers, code->layers_digest, &machine->layers,
				       cold->layers_digest, err);
	}
	return rc < 0 ? rc : thaw_cold_renew_tmp(cold, host, function, err);
}

int thaw_cold_open(struct thaw_cold *cold, const struct thaw_host *host,
		   const struct thaw_function *function, const struct thaw_cold_code *code,
		   const char *kernel, struct thaw_error *err)
{
	*cold = (struct thaw_cold)THAW_COLD_NONE;
	int rc = cold_open(cold, host, function, code, kernel, err);
	if (rc < 0)
		thaw_cold_close(cold);
	return rc;
}

void thaw_cold_close(struct thaw_cold *cold)
{
	thaw_cleanup_close(&cold->machine.kernel);
	thaw_cleanup_close(&cold->machine.initramfs);
	thaw_cleanup_close(&cold->machine.root);
	thaw_cleanup_close(&cold->machine.code);
	thaw_cleanup_close(&cold->machine.layers);
	thaw_cleanup_close(&cold->machine.tmp);
	*cold = (struct thaw_cold)THAW_COLD_NONE;
}
