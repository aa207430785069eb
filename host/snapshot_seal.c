/* SPDX-License-Identifier: Apache-2.0 */
/* How a snapshot becomes this host's: sealed when it is made, when it is imported, and when it gets
 * another working set. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "host/host.h"
#include "host/snapshot_internal.h"
#include "lib/error.h"
#include "lib/fd.h"

static int seal_add(struct thaw_seal *seal, const struct thaw_state *state, int dir,
		    const char *name, struct thaw_error *err)
{
	const bool large = strcmp(name, "frames") == 0;
	const bool optional = strcmp(name, "working_set") == 0 || strcmp(name, "event.json") == 0;
	char digest[THAW_DIGEST_TEXT];
	struct stat st;

	cleanup_close int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT && optional)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return thaw_error_errno(err, errno, "sealing \"%s\"", name);
	int rc = large ? thaw_digest_file_cached(state, fd, digest, err)
		       : thaw_digest_file(fd, digest, err);
	return rc < 0 ? rc : thaw_seal_add(seal, name, (uint64_t)st.st_size, digest, err);
}

int thaw_snapshot_seal(const struct thaw_state *state, int dir, const char *name,
		       struct thaw_seal *seal, struct thaw_error *err)
{
	static const char *const names[] = {"manifest.json", "state",       "index",
					    "frames",        "working_set", "event.json"};
	int rc = 0;

	*seal = (struct thaw_seal){.count = 0};
	snapshot_subject(name, seal->subject);
	for (size_t i = 0; rc == 0 && i < sizeof(names) / sizeof(names[0]); i++)
		rc = seal_add(seal, state, dir, names[i], err);
	return rc;
}

/* Puts a seal into the place of what was there. */
static int seal_replace(const struct thaw_seal *seal, const struct thaw_state *state, int dir,
			struct thaw_error *err)
{
	struct thaw_workdir work;

	int rc = thaw_workdir_make(&work, state, err);
	if (rc < 0)
		return rc;
	rc = thaw_seal_write(seal, work.fd, THAW_SNAPSHOT_SEAL, state->key, err);
	if (rc == 0 && renameat(work.fd, THAW_SNAPSHOT_SEAL, dir, THAW_SNAPSHOT_SEAL) < 0)
		rc = thaw_error_errno(err, errno, "sealing");
	thaw_workdir_drop(&work);
	return rc;
}

static int snapshot_import(struct thaw_snapshot *snapshot, const struct thaw_host *host,
			   struct thaw_error *err)
{
	Thaw__Vmm__Reply *shape;

	int rc = thaw_seal_check_owner(snapshot->dir, snapshot->name, err);
	if (rc == 0)
		rc = snapshot_open_all(snapshot, &host->state, false, err);
	/* Its checksums are right; nothing else of it is looked at but by thaw-vmm. */
	if (rc == 0)
		rc = thaw_snapshot_seal(&host->state, snapshot->dir, snapshot->name,
					&snapshot->seal, err);
	if (rc == 0)
		rc = snapshot_check_files(snapshot, err);
	if (rc == 0 && (rc = thaw_snapshot_inspect(snapshot, host, true, &shape, err)) == 0)
		thaw__vmm__reply__free_unpacked(shape, NULL);
	if (rc == 0 && ((unlinkat(snapshot->dir, "image.raw", 0) < 0 && errno != ENOENT) ||
			(unlinkat(snapshot->dir, "image.id", 0) < 0 && errno != ENOENT)))
		rc = thaw_error_errno(err, errno, "removing its memory image");
	return rc < 0 ? rc : seal_replace(&snapshot->seal, &host->state, snapshot->dir, err);
}

int thaw_snapshot_import(const struct thaw_host *host, const char *name, struct thaw_error *err)
{
	struct thaw_snapshot snapshot;

	int rc = snapshot_open_dir(&snapshot, &host->state, name, err);
	if (rc == 0) {
		rc = snapshot_import(&snapshot, host, err);
		if (rc < 0)
			thaw_error_wrap(err, "importing snapshot \"%s\"", name);
	}
	thaw_snapshot_close(&snapshot);
	return rc;
}

int thaw_snapshot_put_working_set(const struct thaw_state *state, struct thaw_snapshot *snapshot,
				  const struct thaw_workdir *work, int *fd, struct thaw_error *err)
{
	int rc = thaw_seal_add_file(&snapshot->seal, "working_set", *fd, err);

	/* A snapshot may lack a working set, whatever its seal says; but it may have no other. */
	if (rc == 0 && unlinkat(snapshot->dir, "working_set", 0) < 0 && errno != ENOENT)
		rc = thaw_error_errno(err, errno, "keeping the working set");
	if (rc == 0)
		rc = seal_replace(&snapshot->seal, state, snapshot->dir, err);
	if (rc == 0 &&
	    (fsync(*fd) < 0 || renameat(work->fd, "working_set", snapshot->dir, "working_set") < 0))
		rc = thaw_error_errno(err, errno, "keeping the working set");
	if (rc < 0)
		return rc;
	thaw_cleanup_close(&snapshot->files.working_set);
	snapshot->files.working_set = thaw_fd_take(fd);
	return 0;
}
