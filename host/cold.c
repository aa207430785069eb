/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cold.h"

#include <errno.h>
#include <fcntl.h>

#include "host/code.h"
#include "host/host.h"
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

static int cold_open(struct thaw_cold *cold, const struct thaw_host *host,
		     const struct thaw_function *function, const char *code, int code_drive,
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
	if (code) {
		rc = thaw_code_drive(&host->state, code, &machine->code, cold->code_digest, err);
	} else {
		rc = machine->code = fcntl(code_drive, F_DUPFD_CLOEXEC, 3);
		if (rc < 0)
			rc = thaw_error_errno(err, errno, "opening the code");
	}
	return rc < 0 ? rc : thaw_cold_renew_tmp(cold, host, function, err);
}

int thaw_cold_open(struct thaw_cold *cold, const struct thaw_host *host,
		   const struct thaw_function *function, const char *code, int code_drive,
		   const char *kernel, struct thaw_error *err)
{
	*cold = (struct thaw_cold)THAW_COLD_NONE;
	int rc = cold_open(cold, host, function, code, code_drive, kernel, err);
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
	thaw_cleanup_close(&cold->machine.tmp);
	*cold = (struct thaw_cold)THAW_COLD_NONE;
}
