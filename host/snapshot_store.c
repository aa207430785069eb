/* SPDX-License-Identifier: Apache-2.0 */
#include "host/snapshot_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "host/host.h"
#include "host/kvm_kind.h"
#include "host/timeouts.h"
#include "lib/error.h"
#include "lib/fd.h"

#define MANIFEST_MAX       (256u << 10)
#define IMAGE_ID_MAX       128
#define READER_MIB         512u
#define READER_THREADS_MAX 64

/* A thaw-vmm that reads a snapshot's files, which may be anybody's, and has no machine. What it
 * leaves in the page cache counts, and is not to be driven out: an image is to be mapped next. */
static int reader_spawn(struct thaw_vmm *vmm, const struct thaw_snapshot *snapshot,
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

static int snapshot_open_file(const struct thaw_snapshot *snapshot, const char *name, int64_t size,
			      int *fd, struct thaw_error *err)
{
	struct stat st;

	*fd = openat(snapshot->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
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
	return 0;
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

static int snapshot_read(struct thaw_snapshot *snapshot, const struct thaw_state *state,
			 struct thaw_error *err)
{
	struct thaw_manifest *manifest = &snapshot->manifest;
	cleanup_free uint8_t *text = NULL;
	cleanup_close int fd = -1;
	size_t size;

	int rc = snapshot_open_file(snapshot, "manifest.json", -1, &fd, err);
	if (rc == 0 && (rc = thaw_read_file(fd, MANIFEST_MAX, &text, &size, err)) < 0)
		rc = thaw_error_wrap(err, "manifest.json");
	if (rc == 0)
		rc = thaw_manifest_parse((const char *)text, size, manifest, err);
	if (rc < 0)
		return rc;
	if ((rc = snapshot_open_file(snapshot, "state", (int64_t)manifest->state_size,
				     &snapshot->files.state, err)) < 0 ||
	    (rc = snapshot_open_file(snapshot, "index", (int64_t)manifest->index_size,
				     &snapshot->files.index, err)) < 0 ||
	    (rc = snapshot_open_file(snapshot, "frames", (int64_t)manifest->frames_size,
				     &snapshot->files.frames, err)) < 0 ||
	    (rc = snapshot_open_file(snapshot, "tmp.img", (int64_t)manifest->tmp_size,
				     &snapshot->tmp, err)) < 0 ||
	    (rc = snapshot_open_file(snapshot, "code.erofs", -1, &snapshot->code, err)) < 0 ||
	    (*manifest->layers_drive_digest &&
	     (rc = snapshot_open_file(snapshot, "layers.erofs", -1, &snapshot->layers, err)) < 0) ||
	    (rc = snapshot_check_drives(snapshot, state, err)) < 0)
		return rc;
	if (faccessat(snapshot->dir, "working_set", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		rc = snapshot_open_file(snapshot, "working_set", -1, &snapshot->files.working_set,
					err);
	return rc;
}

int thaw_snapshot_open(const struct thaw_state *state, const char *name,
		       struct thaw_snapshot *snapshot, struct thaw_error *err)
{
	*snapshot = (struct thaw_snapshot){
		.files = THAW_SNAPSHOT_FILES_NONE, .dir = -1, .code = -1, .layers = -1, .tmp = -1};
	thaw_manifest_init(&snapshot->manifest);
	int rc = thaw_snapshot_check_name(name, err);
	if (rc < 0)
		return rc;
	snapshot->dir =
		openat(state->snapshots, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (snapshot->dir < 0 && errno == ENOENT)
		return thaw_error_set(err, ENOENT, "there is no snapshot \"%s\" in \"%s\"", name,
				      state->path);
	if (snapshot->dir < 0)
		return thaw_error_errno(err, errno, "snapshot \"%s\"", name);
	rc = snapshot_read(snapshot, state, err);
	if (rc < 0) {
		thaw_snapshot_close(snapshot);
		thaw_error_wrap(err, "snapshot \"%s\"", name);
	}
	return rc;
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

/* --- the raw image --- */

/* Whoever writes to the image, or puts another in its place, changes one of these. */
static int image_id(int dir, char text[IMAGE_ID_MAX])
{
	struct stat st;

	if (fstatat(dir, "image.raw", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	snprintf(text, IMAGE_ID_MAX, "%llu %llu %lld.%09ld %lld.%09ld\n",
		 (unsigned long long)st.st_ino, (unsigned long long)st.st_size,
		 (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (long long)st.st_ctim.tv_sec,
		 st.st_ctim.tv_nsec);
	return 0;
}

int thaw_snapshot_note_image(int dir, struct thaw_error *err)
{
	char text[IMAGE_ID_MAX];

	int rc = image_id(dir, text);
	if (rc < 0)
		return thaw_error_errno(err, -rc, "the memory image");
	if (unlinkat(dir, "image.id", 0) < 0 && errno != ENOENT)
		return thaw_error_errno(err, errno, "noting the memory image");
	cleanup_close int fd =
		openat(dir, "image.id", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	rc = fd < 0 ? -errno : thaw_write_full(fd, text, strlen(text));
	return rc < 0 ? thaw_error_errno(err, -rc, "noting the memory image") : 0;
}

static bool image_is_good(int dir)
{
	char wanted[IMAGE_ID_MAX], noted[IMAGE_ID_MAX];
	cleanup_close int fd = openat(dir, "image.id", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || image_id(dir, wanted) < 0)
		return false;
	ssize_t n = read(fd, noted, sizeof(noted) - 1);
	if (n <= 0)
		return false;
	noted[n] = 0;
	return strcmp(wanted, noted) == 0;
}

bool thaw_snapshot_image_is_good(const struct thaw_snapshot *snapshot)
{
	return image_is_good(snapshot->dir);
}

static int image_materialise(const struct thaw_snapshot *snapshot, const struct thaw_host *host,
			     int image, struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Materialise materialise = THAW__VMM__MATERIALISE__INIT;
	const int fds[] = {snapshot->files.index, snapshot->files.frames, image};
	struct thaw_vmm vmm;

	int rc = reader_spawn(&vmm, snapshot, host, err);
	if (rc < 0)
		return rc;
	materialise.index_fd = 1;
	materialise.frames_fd = 2;
	materialise.image_fd = 3;
	request.body_case = THAW__VMM__REQUEST__BODY_MATERIALISE;
	request.materialise = &materialise;
	rc = thaw_vmm_call(&vmm, &request, fds, 3, THAW__VMM__REPLY__BODY_DONE, THAW_TIMEOUT_MEMORY,
			   NULL, err);
	thaw_vmm_close(&vmm);
	return rc;
}

static int image_make(const struct thaw_snapshot *snapshot, const struct thaw_host *host,
		      struct thaw_error *err)
{
	struct thaw_workdir work;

	int rc = thaw_workdir_make(&work, &host->state, err);
	if (rc < 0)
		return rc;
	cleanup_close int fd =
		openat(work.fd, "image.raw", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		rc = thaw_error_errno(err, errno, "making a file for the memory image");
	if (rc == 0)
		rc = image_materialise(snapshot, host, fd, err);
	if (rc == 0 && (fchmod(fd, 0400) < 0 || fsync(fd) < 0 ||
			renameat(work.fd, "image.raw", snapshot->dir, "image.raw") < 0))
		rc = thaw_error_errno(err, errno, "keeping the memory image");
	if (rc == 0)
		rc = thaw_snapshot_note_image(snapshot->dir, err);
	thaw_workdir_drop(&work);
	return rc < 0 ? thaw_error_wrap(err, "making the memory image") : 0;
}

/* Whether most of a file is in the page cache. */
static bool file_is_cached(int fd)
{
	struct stat st;
	size_t cached = 0, pages;

	if (fstat(fd, &st) < 0 || st.st_size == 0)
		return false;
	pages = ((size_t)st.st_size + 4095) / 4096;
	void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	cleanup_free unsigned char *there = malloc(pages);
	if (map != MAP_FAILED && there && mincore(map, (size_t)st.st_size, there) == 0) {
		for (size_t i = 0; i < pages; i++)
			cached += there[i] & 1;
	}
	if (map != MAP_FAILED)
		munmap(map, (size_t)st.st_size);
	/* Holes are never cached, and take no time either way. */
	return cached * 4096 * 2 > (size_t)st.st_blocks * 512;
}

void thaw_file_drop_cache(int fd)
{
	if (fd < 0)
		return;
	fdatasync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

int thaw_snapshot_open_image(struct thaw_snapshot *snapshot, const struct thaw_host *host,
			     bool *direct, struct thaw_error *err)
{
	if (!image_is_good(snapshot->dir)) {
		/* One maker at a time; who waited finds it made. */
		if (flock(snapshot->dir, LOCK_EX) < 0)
			return thaw_error_errno(err, errno, "locking the snapshot");
		int rc = image_is_good(snapshot->dir) ? 0 : image_make(snapshot, host, err);
		flock(snapshot->dir, LOCK_UN);
		if (rc < 0)
			return rc;
	}
	int fd = openat(snapshot->dir, "image.raw", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return thaw_error_errno(err, errno, "opening the memory image");
	if (direct && *direct) {
		*direct = !file_is_cached(fd);
		int flags = *direct ? fcntl(fd, F_GETFL) : 0;
		/* Not every file system can: then it is read through the cache. */
		if (*direct && fcntl(fd, F_SETFL, flags | O_DIRECT) < 0)
			*direct = false;
	}
	thaw_cleanup_close(&snapshot->files.image);
	snapshot->files.image = fd;
	return 0;
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
			manifest->name, manifest->function.runtime);
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

	int rc = reader_spawn(&vmm, snapshot, host, err);
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
	return rc < 0 ? thaw_error_wrap(err, "snapshot \"%s\"", snapshot->manifest.name) : 0;
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
