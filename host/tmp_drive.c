/* SPDX-License-Identifier: Apache-2.0 */
#include "host/tmp_drive.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "host/state.h"
#include "host/subprocess.h"
#include "lib/error.h"
#include "lib/fd.h"

static int tmp_template_make(const struct thaw_state *state, const char *name, uint32_t mib,
			     struct thaw_error *err)
{
	struct thaw_workdir work;
	char path[PATH_MAX];
	cleanup_close int fd = -1;

	int rc = thaw_workdir_make(&work, state, err);
	if (rc < 0)
		return rc;
	fd = openat(work.fd, "tmp", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)mib << 20) < 0)
		rc = thaw_error_errno(err, errno, "making a file of %u MiB", mib);
	if (rc == 0 && thaw_workdir_path(&work, "tmp", path, sizeof(path)) < 0)
		rc = thaw_error_set(err, ENAMETOOLONG, "the state directory's path is too long");
	if (rc == 0) {
		/* No journal: the file system never outlives a crash. The file is all zeros, so
		 * nothing need be written there, and the guest need not do it later. */
		char *const argv[] = {(char *)"mkfs.ext4",
				      (char *)"-q",
				      (char *)"-F",
				      (char *)"-m0",
				      (char *)"-b4096",
				      (char *)"-O^has_journal,^resize_inode",
				      (char *)"-Eassume_storage_prezeroed=1,root_owner=0:0",
				      path,
				      NULL};
		rc = thaw_subprocess_run(argv, "e2fsprogs", NULL, 0, err);
	}
	if (rc == 0 && (fchmod(fd, 0444) < 0 || fsync(fd) < 0 ||
			renameat(work.fd, "tmp", state->templates, name) < 0))
		rc = thaw_error_errno(err, errno, "keeping an empty file system");
	thaw_workdir_drop(&work);
	return rc;
}

/* A file without a name: it goes away with its last descriptor, however that ends. */
static int tmp_drive_nameless(const struct thaw_state *state, int *fd, struct thaw_error *err)
{
	struct thaw_workdir work;

	*fd = openat(state->tmp, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (*fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP)
		return thaw_error_errno(err, errno, "making a file");
	/* overlayfs before Linux 6.10: it has a name for a moment. */
	int rc = thaw_workdir_make(&work, state, err);
	if (rc < 0)
		return rc;
	*fd = openat(work.fd, "tmp", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (*fd < 0)
		rc = thaw_error_errno(err, errno, "making a file");
	thaw_workdir_drop(&work);
	return rc;
}

int thaw_tmp_drive_copy(const struct thaw_state *state, int source, int *fd, struct thaw_error *err)
{
	cleanup_close int copy = -1;

	int rc = tmp_drive_nameless(state, &copy, err);
	if (rc == 0)
		rc = thaw_copy_sparse(source, copy, err);
	if (rc < 0)
		return thaw_error_wrap(err, "making the drive for /tmp");
	*fd = thaw_fd_take(&copy);
	return 0;
}

int thaw_tmp_drive_new(const struct thaw_state *state, uint32_t mib, int *fd,
		       struct thaw_error *err)
{
	char name[48];

	snprintf(name, sizeof(name), "tmp-%u.ext4", mib);
	cleanup_close int template = openat(state->templates, name, O_RDONLY | O_CLOEXEC);
	if (template <0) {
		int rc = tmp_template_make(state, name, mib, err);
		if (rc < 0)
			return thaw_error_wrap(err, "making the drive for /tmp");
		template = openat(state->templates, name, O_RDONLY | O_CLOEXEC);
		if (template <0)
			return thaw_error_errno(err, errno, "making the drive for /tmp");
	}
	return thaw_tmp_drive_copy(state, template, fd, err);
}
