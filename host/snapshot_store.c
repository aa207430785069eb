/* SPDX-License-Identifier: Apache-2.0 */
#include "host/snapshot_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "host/cgroup.h"
#include "host/host.h"
#include "host/kvm_kind.h"
#include "host/timeouts.h"
#include "host/vmm_client.h"
#include "lib/error.h"
#include "lib/fd.h"

#define MANIFEST_MAX       (256u << 10)
#define READER_MIB         512u
#define READER_THREADS_MAX 64

/* What it leaves in the page cache counts, and is not to be driven out: an image is to be mapped
 * next. */
int snapshot_reader_spawn(struct thaw_vmm *vmm, const struct thaw_snapshot *snapshot,
			  const struct thaw_host *host, struct thaw_error *err)
{
	const struct thaw_cgroup_limits limits = {
		.memory = (uint64_t)(thaw_function_guest_mib(&snapshot->manifest.function) +
				     READER_MIB)
			  << 20,
		.pids = READER_THREADS_MAX,
	};

	return thaw_vmm_spawn_in(vmm, host->paths.vmm, host->cgroups, &limits, err);
}

int thaw_snapshot_check_name(const char *name, struct thaw_error *err)
{
	if (thaw_name_valid(name))
		return 0;
	if (strchr(name, '/'))
		return thaw_error_set(err, EINVAL,
				      "\"%s\" is a path; a snapshot has a name, and lies in the "
				      "state directory (--state)",
				      name);
	return thaw_error_set(err, EINVAL,
			      "\"%s\" is not the name of a snapshot: 1 to %d letters, digits, "
			      "\"-\" and \"_\"",
			      name, THAW_FUNCTION_NAME_MAX);
}

int thaw_snapshot_exists(const struct thaw_state *state, const char *name)
{
	return faccessat(state->snapshots, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* --- opening --- */

static int snapshot_open_file(const struct thaw_snapshot *snapshot, const char *name, int64_t size,
			      int *fd, struct thaw_error *err)
{
	struct stat st;

	*fd = openat(snapshot->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (*fd < 0 && errno == ENOENT)
		return thaw_error_set(err, EBADMSG, "its file \"%s\" is missing", name);
	if (*fd < 0 || fstat(*fd, &st) < 0)
		return thaw_error_errno(err, errno, "opening \"%s\"", name);
	if (!S_ISREG(st.st_mode))
		return thaw_error_set(err, EBADMSG, "\"%s\" is not a regular file", name);
	if (size >= 0 && st.st_size != size)
		return thaw_error_set(err, EBADMSG,
				      "\"%s\" has %lld bytes, not the %lld it was "
				      "written with",
				      name, (long long)st.st_size, (long long)size);
	return thaw_seal_check_owner(*fd, name, err);
}

/* What clones have mapped, or copy: of the size that was saved it may still be other bytes. */
static int snapshot_check_drives(const struct thaw_snapshot *snapshot,
				 const struct thaw_state *state, struct thaw_error *err)
{
	const struct thaw_manifest *manifest = &snapshot->manifest;
	const struct {
		const char *name;
		int fd;
		bool sparse;
		const char *wanted;
	} drives[] = {
		{"code.erofs", snapshot->code, false, manifest->code_drive_digest},
		{"layers.erofs", snapshot->layers, false, manifest->layers_drive_digest},
		{"tmp.img", snapshot->tmp, true, manifest->tmp_drive_digest},
	};
	char digest[THAW_DIGEST_TEXT];

	for (size_t i = 0; i < sizeof(drives) / sizeof(drives[0]); i++) {
		if (drives[i].fd < 0)
			continue;
		int rc = drives[i].sparse
				 ? thaw_digest_sparse_cached(state, drives[i].fd, digest, err)
				 : thaw_digest_file_cached(state, drives[i].fd, digest, err);
		if (rc < 0)
			return rc;
		if (strcmp(digest, drives[i].wanted) != 0)
			return thaw_error_set(err, EBADMSG,
					      "\"%s\" is damaged: its checksum does not match",
					      drives[i].name);
	}
	return 0;
}

/* `sealed`: the manifest's bytes, and with them the drives that it names, are what the seal says.
 */
static int snapshot_read_manifest(struct thaw_snapshot *snapshot, bool sealed,
				  struct thaw_error *err)
{
	cleanup_free uint8_t *text = NULL;
	cleanup_close int fd = -1;
	size_t size;

	int rc = snapshot_open_file(snapshot, "manifest.json", -1, &fd, err);
	if (rc == 0 && (rc = thaw_read_file(fd, MANIFEST_MAX, &text, &size, err)) < 0)
		rc = thaw_error_wrap(err, "manifest.json");
	if (rc == 0 && sealed)
		rc = thaw_seal_check_bytes(&snapshot->seal, "manifest.json", text, size, err);
	if (rc == 0)
		rc = thaw_manifest_parse((const char *)text, size, &snapshot->manifest, err);
	return rc;
}

int snapshot_check_files(const struct thaw_snapshot *snapshot, struct thaw_error *err)
{
	int rc = thaw_seal_check(&snapshot->seal, "state", snapshot->files.state, err);

	if (rc == 0)
		rc = thaw_seal_check(&snapshot->seal, "index", snapshot->files.index, err);
	if (rc == 0 && snapshot->files.working_set >= 0)
		rc = thaw_seal_check(&snapshot->seal, "working_set", snapshot->files.working_set,
				     err);
	return rc;
}

int snapshot_open_all(struct thaw_snapshot *snapshot, const struct thaw_state *state, bool sealed,
		      struct thaw_error *err)
{
	struct thaw_manifest *manifest = &snapshot->manifest;

	int rc = snapshot_read_manifest(snapshot, sealed, err);
	if (rc < 0 ||
	    (rc = snapshot_open_file(snapshot, "state", (int64_t)manifest->state_size,
				     &snapshot->files.state, err)) < 0 ||
	    (rc = snapshot_open_file(snapshot, "index", (int64_t)manifest->index_size,
				     &snapshot->files.index, err)) < 0 ||
	    (rc = snapshot_open_file(snapshot, "frames", (int64_t)manifest->frames_size,
				     &snapshot->files.frames, err)) < 0 ||
	    (rc = snapshot_open_file(snapshot, "tmp.img", (int64_t)manifest->tmp_size,
				     &snapshot->tmp, err)) < 0 ||
	    (rc = snapshot_open_file(snapshot, "code.erofs", -1, &snapshot->code, err)) < 0 ||
	    (*manifest->layers_drive_digest &&
	     (rc = snapshot_open_file(snapshot, "layers.erofs", -1, &snapshot->layers, err)) < 0))
		return rc;
	if (faccessat(snapshot->dir, "working_set", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		rc = snapshot_open_file(snapshot, "working_set", -1, &snapshot->files.working_set,
					err);
	if (rc == 0 && sealed)
		rc = snapshot_check_files(snapshot, err);
	return rc < 0 ? rc : snapshot_check_drives(snapshot, state, err);
}

/* One error for all that is not ours, which says what to do. */
static int snapshot_rejected(const char *name, struct thaw_error *err)
{
	char why[256];

	snprintf(why, sizeof(why), "%.255s", err ? err->message : "");
	return thaw_error_set(err, EKEYREJECTED,
			      "snapshot \"%s\" is none that this host has made or imported (%s): "
			      "make it again, or import it with \"thaw trust %s\"",
			      name, why, name);
}

void snapshot_subject(const char *name, char subject[THAW_SEAL_SUBJECT])
{
	snprintf(subject, THAW_SEAL_SUBJECT, "snapshot %s", name);
}

int snapshot_open_dir(struct thaw_snapshot *snapshot, const struct thaw_state *state,
		      const char *name, struct thaw_error *err)
{
	*snapshot = (struct thaw_snapshot){
		.files = THAW_SNAPSHOT_FILES_NONE, .dir = -1, .code = -1, .layers = -1, .tmp = -1};
	thaw_manifest_init(&snapshot->manifest);
	int rc = thaw_snapshot_check_name(name, err);
	if (rc < 0)
		return rc;
	snprintf(snapshot->name, sizeof(snapshot->name), "%s", name);
	snapshot->dir =
		openat(state->snapshots, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (snapshot->dir < 0 && errno == ENOENT)
		return thaw_error_set(err, ENOENT, "there is no snapshot \"%s\" in \"%s\"", name,
				      state->path);
	if (snapshot->dir < 0)
		return thaw_error_errno(err, errno, "snapshot \"%s\"", name);
	return 0;
}

int thaw_snapshot_open(const struct thaw_state *state, const char *name,
		       struct thaw_snapshot *snapshot, struct thaw_error *err)
{
	char subject[THAW_SEAL_SUBJECT];
	struct thaw_error own = {0};

	err = err ?: &own;
	int rc = snapshot_open_dir(snapshot, state, name, err);
	if (rc < 0)
		return rc;
	snapshot_subject(name, subject);
	rc = thaw_seal_check_owner(snapshot->dir, name, err);
	if (rc == 0)
		rc = thaw_seal_read(snapshot->dir, THAW_SNAPSHOT_SEAL, state->key, subject,
				    &snapshot->seal, err);
	rc = rc == -ENOENT ? -EKEYREJECTED : rc;
	if (rc == 0)
		rc = snapshot_open_all(snapshot, state, true, err);
	if (rc < 0) {
		thaw_snapshot_close(snapshot);
		rc = rc == -EKEYREJECTED ? snapshot_rejected(name, err)
					 : thaw_error_wrap(err, "snapshot \"%s\"", name);
	}
	return rc;
}

int thaw_snapshot_check_frames(const struct thaw_snapshot *snapshot, const struct thaw_state *state,
			       struct thaw_error *err)
{
	const struct thaw_seal_file *sealed = thaw_seal_find(&snapshot->seal, "frames");
	char digest[THAW_DIGEST_TEXT];
	struct thaw_error own = {0};

	err = err ?: &own;
	int rc = thaw_digest_file_cached(state, snapshot->files.frames, digest, err);
	if (rc < 0)
		return thaw_error_wrap(err, "snapshot \"%s\": frames", snapshot->name);
	if (sealed && strcmp(sealed->digest, digest) == 0)
		return 0;
	thaw_error_set(err, EKEYREJECTED, "\"frames\" is not the file that it had");
	return snapshot_rejected(snapshot->name, err);
}

void thaw_snapshot_close(struct thaw_snapshot *snapshot)
{
	thaw_manifest_clear(&snapshot->manifest);
	thaw_cleanup_close(&snapshot->files.state);
	thaw_cleanup_close(&snapshot->files.index);
	thaw_cleanup_close(&snapshot->files.frames);
	thaw_cleanup_close(&snapshot->files.image);
	thaw_cleanup_close(&snapshot->files.working_set);
	thaw_cleanup_close(&snapshot->dir);
	thaw_cleanup_close(&snapshot->code);
	thaw_cleanup_close(&snapshot->layers);
	thaw_cleanup_close(&snapshot->tmp);
	snapshot->files = (struct thaw_snapshot_files)THAW_SNAPSHOT_FILES_NONE;
	snapshot->dir = snapshot->code = snapshot->layers = snapshot->tmp = -1;
}

int thaw_snapshot_open_root(const struct thaw_snapshot *snapshot, const struct thaw_host *host,
			    int *fd, struct thaw_error *err)
{
	const struct thaw_manifest *manifest = &snapshot->manifest;
	char digest[THAW_DIGEST_TEXT];

	int root = thaw_paths_open_image(&host->paths, manifest->function.runtime, err);
	if (root < 0)
		return root;
	int rc = thaw_digest_file_cached(&host->state, root, digest, err);
	if (rc == 0 && strcmp(digest, manifest->root_digest) != 0)
		rc = thaw_error_set(
			err, ESTALE,
			"snapshot \"%s\": the root image of runtime %s has changed since "
			"it was made: make the snapshot again",
			snapshot->name, manifest->function.runtime);
	if (rc < 0)
		close(root);
	else
		*fd = root;
	return rc;
}

/* `part` is taken: a descriptor, or a negative errno. */
static int check_part(const struct thaw_host *host, int part, const char *digest, const char *what,
		      struct thaw_error *err)
{
	cleanup_close int fd = part;
	char now[THAW_DIGEST_TEXT];

	if (fd < 0)
		return fd;
	int rc = thaw_digest_file_cached(&host->state, fd, now, err);
	if (rc == 0 && strcmp(now, digest) != 0)
		rc = thaw_error_set(err, ESTALE, "%s has changed since it was made", what);
	return rc;
}

int thaw_snapshot_check_current(const struct thaw_snapshot *snapshot, const struct thaw_host *host,
				struct thaw_error *err)
{
	const struct thaw_manifest *manifest = &snapshot->manifest;
	Thaw__Vmm__KvmKind kind = thaw_kvm_kind_remembered(host);
	bool software = kind == THAW__VMM__KVM_KIND__KVM_KIND_SOFTWARE;

	if (kind != THAW__VMM__KVM_KIND__KVM_KIND_UNKNOWN && software != manifest->software_kvm)
		return thaw_error_set(err, ESTALE, "the kind of KVM has changed since it was made");
	int rc = check_part(host, thaw_paths_open_kernel(&host->paths, NULL, err),
			    manifest->kernel_digest, "the guest kernel", err);
	if (rc == 0)
		rc = check_part(host, thaw_paths_open_initramfs(&host->paths, err),
				manifest->initramfs_digest, "the agent", err);
	if (rc == 0)
		rc = check_part(
			host, thaw_paths_open_image(&host->paths, manifest->function.runtime, err),
			manifest->root_digest, "the root image", err);
	return rc;
}

int thaw_snapshot_check_network(const struct thaw_snapshot *snapshot,
				const struct thaw_network *network, struct thaw_error *err)
{
	if (snapshot->manifest.network == (network != NULL))
		return 0;
	return thaw_error_set(
		err, ESTALE,
		network ? "its guest has no network device to give a network to"
			: "its guest has a network device: it must be given a network");
}

int thaw_snapshot_inspect(const struct thaw_snapshot *snapshot, const struct thaw_host *host,
			  bool verify, Thaw__Vmm__Reply **shape, struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Inspect inspect = THAW__VMM__INSPECT__INIT;
	int fds[4] = {snapshot->files.state, snapshot->files.index};
	size_t count = 2;
	struct thaw_vmm vmm;

	int rc = verify ? thaw_snapshot_check_frames(snapshot, &host->state, err) : 0;
	if (rc == 0)
		rc = snapshot_reader_spawn(&vmm, snapshot, host, err);
	if (rc < 0)
		return rc;
	inspect.state_fd = 1;
	inspect.index_fd = 2;
	if (verify) {
		fds[count++] = snapshot->files.frames;
		inspect.frames_fd = (uint32_t)count;
	}
	if (snapshot->files.working_set >= 0) {
		fds[count++] = snapshot->files.working_set;
		inspect.working_set_fd = (uint32_t)count;
	}
	request.body_case = THAW__VMM__REQUEST__BODY_INSPECT;
	request.inspect = &inspect;
	rc = thaw_vmm_call(&vmm, &request, fds, count, THAW__VMM__REPLY__BODY_INSPECT,
			   THAW_TIMEOUT_MEMORY, shape, err);
	thaw_vmm_close(&vmm);
	return rc < 0 ? thaw_error_wrap(err, "snapshot \"%s\"", snapshot->name) : 0;
}

int thaw_snapshot_remove(const struct thaw_state *state, const char *name, struct thaw_error *err)
{
	struct thaw_workdir work;

	int rc = thaw_snapshot_check_name(name, err);
	if (rc == 0)
		rc = thaw_workdir_make(&work, state, err);
	if (rc < 0)
		return rc;
	/* Gone for everyone at once; the work of removing follows. */
	if (renameat(state->snapshots, name, work.fd, "snapshot") < 0)
		rc = errno == ENOENT
			     ? thaw_error_set(err, ENOENT, "there is no snapshot \"%s\" in \"%s\"",
					      name, state->path)
			     : thaw_error_errno(err, errno, "removing \"%s\"", name);
	thaw_workdir_drop(&work);
	return rc;
}

static int name_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int thaw_snapshot_list(const struct thaw_state *state, char ***names, size_t *count,
		       struct thaw_error *err)
{
	char **list = NULL;
	size_t used = 0, room = 0;
	int fd = openat(state->snapshots, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;

	if (!stream) {
		thaw_cleanup_close(&fd);
		return thaw_error_errno(err, errno, "listing snapshots");
	}
	struct dirent *entry;
	while ((entry = readdir(stream))) {
		if (!thaw_name_valid(entry->d_name))
			continue;
		char **more = list;
		if (used == room) {
			room = 2 * room + 16;
			more = realloc(list, room * sizeof(*list));
		}
		char *name = more ? strdup(entry->d_name) : NULL;
		if (more)
			list = more;
		if (!name) {
			closedir(stream);
			while (used)
				free(list[--used]);
			free(list);
			return thaw_error_errno(err, ENOMEM, "listing snapshots");
		}
		list[used++] = name;
	}
	closedir(stream);
	if (used)
		qsort(list, used, sizeof(*list), name_order);
	*names = list;
	*count = used;
	return 0;
}
