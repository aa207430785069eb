/* SPDX-License-Identifier: Apache-2.0 */
/* The raw image of a snapshot's memory: made of its frames, and known again. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "host/host.h"
#include "host/keyring.h"
#include "host/snapshot_internal.h"
#include "host/timeouts.h"
#include "lib/error.h"
#include "lib/fd.h"

#define IMAGE_NOTE_MAX 320
#define IMAGE_PURPOSE  "thaw image note 1"

/* Whoever writes to the image, or puts another in its place, changes one of these (ctime is the
 * kernel's); and who has not the host's key cannot write the HMAC behind them, nor use the note of
 * another snapshot's image, as the snapshot's index is under it too. */
static int image_note(const struct thaw_state *state, const struct thaw_seal *seal, int fd,
		      char text[IMAGE_NOTE_MAX])
{
	const struct thaw_seal_file *index = thaw_seal_find(seal, "index");
	uint8_t mac[THAW_MAC_SIZE];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || !index || !state->key)
		return -EBADMSG;
	int used = snprintf(text, IMAGE_NOTE_MAX, "%llu %llu %llu %lld.%09ld %lld.%09ld %s ",
			    (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
			    (unsigned long long)st.st_size, (long long)st.st_mtim.tv_sec,
			    st.st_mtim.tv_nsec, (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec,
			    index->digest);
	int rc = thaw_keyring_mac(state->key, IMAGE_PURPOSE, text, (size_t)used, mac, NULL);
	for (size_t i = 0; i < THAW_MAC_SIZE; i++)
		used += snprintf(text + used, 3, "%02x", mac[i]);
	strcpy(text + used, "\n");
	return rc;
}

int thaw_snapshot_note_image(const struct thaw_state *state, int dir, const struct thaw_seal *seal,
			     struct thaw_error *err)
{
	char text[IMAGE_NOTE_MAX];
	cleanup_close int image = openat(dir, "image.raw", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (image < 0)
		return thaw_error_errno(err, errno, "the memory image");
	if (unlinkat(dir, "image.id", 0) < 0 && errno != ENOENT)
		return thaw_error_errno(err, errno, "noting the memory image");
	/* One that nothing can be told of is made again. */
	if (!thaw_digest_settle(image))
		return 0;
	int rc = image_note(state, seal, image, text);
	if (rc < 0)
		return thaw_error_errno(err, -rc, "the memory image");
	cleanup_close int fd =
		openat(dir, "image.id", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	rc = fd < 0 ? -errno : thaw_write_full(fd, text, strlen(text));
	return rc < 0 ? thaw_error_errno(err, -rc, "noting the memory image") : 0;
}

/* The image that was made, or -1. */
static int image_open(const struct thaw_snapshot *snapshot, const struct thaw_state *state)
{
	char wanted[IMAGE_NOTE_MAX], noted[IMAGE_NOTE_MAX];
	cleanup_close int note =
		openat(snapshot->dir, "image.id", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	cleanup_close int image =
		openat(snapshot->dir, "image.raw", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (note < 0 || image < 0 || thaw_seal_check_owner(image, "image.raw", NULL) < 0 ||
	    image_note(state, &snapshot->seal, image, wanted) < 0)
		return -1;
	ssize_t n = read(note, noted, sizeof(noted));
	if (n != (ssize_t)strlen(wanted) || CRYPTO_memcmp(noted, wanted, (size_t)n) != 0)
		return -1;
	return thaw_fd_take(&image);
}

bool thaw_snapshot_image_is_good(const struct thaw_snapshot *snapshot,
				 const struct thaw_state *state)
{
	cleanup_close int fd = image_open(snapshot, state);

	return fd >= 0;
}

static int image_materialise(const struct thaw_snapshot *snapshot, const struct thaw_host *host,
			     int image, struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Materialise materialise = THAW__VMM__MATERIALISE__INIT;
	const int fds[] = {snapshot->files.index, snapshot->files.frames, image};
	struct thaw_vmm vmm;

	int rc = snapshot_reader_spawn(&vmm, snapshot, host, err);
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

/* *image can only be read, unlike what it was made by. */
static int image_make(const struct thaw_snapshot *snapshot, const struct thaw_host *host,
		      int *image, struct thaw_error *err)
{
	struct thaw_workdir work;
	struct stat made, named;

	int rc = thaw_snapshot_check_frames(snapshot, &host->state, err);
	if (rc == 0)
		rc = thaw_workdir_make(&work, &host->state, err);
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
		rc = thaw_snapshot_note_image(&host->state, snapshot->dir, &snapshot->seal, err);
	if (rc == 0) {
		*image = openat(snapshot->dir, "image.raw", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (*image < 0 || fstat(fd, &made) < 0 || fstat(*image, &named) < 0)
			rc = thaw_error_errno(err, errno, "opening it");
		else if (made.st_ino != named.st_ino || made.st_dev != named.st_dev)
			rc = thaw_error_set(err, EAGAIN, "another has taken its place");
	}
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
	cleanup_close int fd = image_open(snapshot, &host->state);
	if (fd < 0) {
		/* One maker at a time; who waited finds it made. */
		if (flock(snapshot->dir, LOCK_EX) < 0)
			return thaw_error_errno(err, errno, "locking the snapshot");
		int rc = 0;
		fd = image_open(snapshot, &host->state);
		if (fd < 0)
			rc = image_make(snapshot, host, &fd, err);
		flock(snapshot->dir, LOCK_UN);
		if (rc < 0)
			return rc;
	}
	if (direct && *direct) {
		*direct = !file_is_cached(fd);
		int flags = *direct ? fcntl(fd, F_GETFL) : 0;
		/* Not every file system can: then it is read through the cache. */
		if (*direct && fcntl(fd, F_SETFL, flags | O_DIRECT) < 0)
			*direct = false;
	}
	thaw_cleanup_close(&snapshot->files.image);
	snapshot->files.image = thaw_fd_take(&fd);
	return 0;
}
